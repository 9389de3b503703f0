"""No operation on anybody's object succeeds for anybody else: users × operations × objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from netra_probe.checkers.authorisation.owner_reads import Readings
from netra_probe.checkers.authorisation.trials import Outcome, Reading, Trial, weigh
from netra_probe.checkers.base import Checker, CheckerRun, Window
from netra_probe.checkers.findings import plain, told
from netra_probe.checkers.json_bodies import values
from netra_probe.checkers.principals import PrincipalIndex, times, witness
from netra_probe.checkers.recipients import Shares
from netra_probe.checkers.severity import HYGIENE, severity_of
from netra_probe.checkers.verdict import Finding, Judgement, Pair, Place
from netra_probe.history import actions
from netra_probe.history.canary import Canary, CanarySearch
from netra_probe.history.frames import RUN_EVENTS, read_frame
from netra_probe.history.operation import PROBE, Operation
from netra_probe.history.operation import Outcome as Completion

#: Frames that answer anything without granting it.
_NO_GRANT = frozenset(("error", "agent_error", "ack", "pong", "ping", "heartbeat_ack"))


class AuthorisationChecker(Checker):
    """Reads show nothing of others, writes change nothing of others, and what is deleted is gone.

    Every request with ``detail.attempt`` (``object``, ``owner``, ``expect``) is a trial; the owner's ordinary request
    of the same operation on the same object is its positive control. A trial that writes is judged by what the owner
    reads afterwards, whatever status it was answered with.

    >>> def op(index, type, user, payload="", status=None, **detail):
    ...     return Operation(index=index, time=index, type=type, action="GET /api/threads/{id}", surface="rest",
    ...                      user=user, call=index - 1 if type != "invoke" else None, payload=payload,
    ...                      status=status, detail={"path": "/api/threads/t1", **detail})
    >>> body = '{"id": "t1", "title": "Costs of the new cluster"}'
    >>> history = [
    ...     op(0, "invoke", "alice"), op(1, "ok", "alice", body, 200),
    ...     op(2, "invoke", "bob", attempt="foreign id", object={"kind": "thread", "id": "t1"}, owner="alice",
    ...        expect="refused"), op(3, "ok", "bob", body, 200),
    ... ]
    >>> AuthorisationChecker()(history).findings[0].summary
    'foreign read: GET /api/threads/{id} by bob on the thread of alice (1 attempt)'

    Arguments:
        oracle: also report, as hygiene, where a foreign object is refused with another status than a missing one.
            The platform's contract says 403 and 404, so that this is counted and not reported unless asked for.
    """

    id = "C5"
    guarantee = "No user reads, changes, deletes or follows what belongs to another, and nobody what was deleted."
    source = "OWASP WSTG-ATHZ-02 and WSTG-ATHZ-04; OWASP ASVS 5.0 8.2.1 to 8.2.3; OWASP API1:2023; CWE-639"
    complexity = "time O(n + bytes of the bodies of trials), memory O(objects + trials)"
    inconclusive_when = (
        "no foreign attempt was made, one lacks the owner's positive control, an attempted write was not re-read by "
        "the owner, or attempts went unanswered"
    )

    def __init__(self, *, oracle: bool = False) -> None:
        self.oracle = oracle

    @property
    def options(self) -> Mapping[str, Any]:
        return {"oracle": True} if self.oracle else {}

    def begin(self, window: Window) -> CheckerRun:
        return _AuthorisationPass(window.start, self.oracle)


class _AuthorisationPass(CheckerRun):
    def __init__(self, start: int, oracle: bool) -> None:
        self._start = start
        self._oracle = oracle
        self._roster = PrincipalIndex()
        self._search = CanarySearch()
        self._open: dict[int, Operation] = {}
        self._trials: list[Trial] = []
        self._running: dict[int, Trial] = {}
        self._readings = Readings(start)
        self._shares = Shares()
        #: connection → object → trial; object → first frame by which its owner was granted the same.
        self._sockets: dict[str, dict[str, Trial]] = defaultdict(dict)
        self._granted: dict[str, int] = {}

    def wants(self, surface: str, action: str, type: Completion) -> bool:
        if surface == PROBE:
            return action in (actions.PRINCIPAL, actions.MINT, actions.OWN)
        if surface == "websocket":
            return action in (actions.SEND, actions.RECEIVE) or (action == actions.ASK and type == "ok")
        return surface in ("auth", "rest") and action != actions.ATTEMPT

    def feed(self, operation: Operation) -> None:
        if operation.action == actions.RECEIVE:
            self._frame(operation)
        elif operation.action == actions.ASK:
            # Some dialects name no thread in their events; that the owner's question in it was answered says as much.
            self._grant(operation)
        elif self._roster.learn(operation):
            token = operation.detail.get("token")
            if operation.action == actions.MINT and isinstance(token, str) and operation.user is not None:
                self._search.add(Canary(token=token, user=operation.user, field="", surface=""))
        elif operation.type == "invoke":
            self._shares.feed(operation)
            self._invoked(operation)
        elif operation.call is not None:
            self._shares.feed(operation)
            trial = self._running.pop(operation.call, None)
            if trial is not None:
                self._tried(trial, operation)
                return
            call = self._open.pop(operation.call, None)
            if call is not None and operation.user is not None:
                self._readings.ordinary(call, operation, operation.user)

    # -- trials ------------------------------------------------------------------------------------------------------

    def _invoked(self, call: Operation) -> None:
        if "attempt" not in call.detail or call.index < self._start:
            if call.action != actions.SEND:
                self._open[call.index] = call
            return
        aim, owner = call.detail.get("object"), call.detail.get("owner")
        target = str(aim.get("id", "")) if isinstance(aim, dict) else ""
        known = self._roster.objects.get(target)
        kind = str(aim.get("kind", "object")) if isinstance(aim, dict) else "account"
        trial = Trial(
            call=call, owner=str(owner) if owner is not None else known[1] if known else None, target=target, kind=kind
        )
        if trial.owner is not None:
            trial.before.update(self._readings.before(trial.owner, target))
        if call.user is not None:
            trial.own = self._readings.own(call.action, call.user)
        self._running[call.index] = trial

    def _tried(self, trial: Trial, done: Operation) -> None:
        trial.done = done
        self._trials.append(trial)
        if trial.call.surface == "websocket":
            if trial.target and done.type == "ok":
                self._sockets[done.connection or ""][trial.target] = trial
        else:
            self._readings.expect(trial)

    # -- sockets -----------------------------------------------------------------------------------------------------

    def _frame(self, operation: Operation) -> None:
        trials = self._sockets.get(operation.connection or "") if self._sockets else None
        if trials:
            ids = operation.ids.values()
            for target, trial in trials.items():
                if target in ids or (not operation.ids and target in operation.payload):
                    frame = read_frame(operation.payload)
                    refused = frame.name in _NO_GRANT or frame.body.get("success") is False
                    # What an agent does with a question repeats what stood in it.
                    repeated = target not in ids and frame.name in RUN_EVENTS
                    tells = frame.name in RUN_EVENTS or self._tells(operation, trial)
                    if tells and not refused and not repeated and not trial.after:
                        trial.after["frame"] = Reading(call=operation, done=operation)
            return
        self._grant(operation)

    def _tells(self, operation: Operation, trial: Trial) -> bool:
        """Whether a frame holds more of the owner's than the sender has just named: an acknowledgement does not."""
        sent, owner = trial.call.payload, trial.owner
        secrets = (
            found.whole and found.canary is not None and found.canary.user == owner and found.canary.token not in sent
            for found in self._search.find(operation.payload)
        )
        if any(secrets):
            return True
        objects = self._roster.objects
        return any(
            value in objects and objects[value][1] == owner and value not in sent and value != trial.target
            for _, value in values(operation.payload)
        )

    def _grant(self, operation: Operation) -> None:
        """Note what a user was shown to have of their own."""
        objects, granted = self._roster.objects, self._granted
        for target in operation.ids.values():
            if target in objects and target not in granted and objects[target][1] == operation.user:
                granted[target] = operation.index

    # -- judgement ---------------------------------------------------------------------------------------------------

    def finish(self) -> Judgement:
        groups: dict[tuple[str, str, str, str], tuple[list[Outcome], Trial]] = {}
        doubts: dict[tuple[str, str], int] = defaultdict(int)
        counts = {"foreign attempts": 0, "attempts refused": 0, "attempts with positive control": 0, "re-reads": 0}
        statuses: dict[str, tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
        for trial in self._trials:
            counts["foreign attempts"] += trial.owner != trial.call.user
            counts["re-reads"] += bool(trial.after) and not trial.reads and trial.call.surface != "websocket"
            control = self._controlled(trial)
            counts["attempts with positive control"] += control
            outcome = self._weighed(trial)
            if outcome.doubt:
                doubts[(trial.call.action, outcome.doubt)] += 1
            elif outcome.kind:
                place = (outcome.kind, trial.call.action, trial.owner or "", trial.actor)
                groups.setdefault(place, ([], trial))[0].append(outcome)
            else:
                counts["attempts refused"] += 1
                self._note_status(trial, statuses)
            if not control and trial.owner is not None and (not outcome.kind or severity_of(outcome.kind) == HYGIENE):
                doubts[(trial.call.action, "has no positive control of the owner")] += 1
        findings = [_finding(place, outcomes, trial) for place, (outcomes, trial) in sorted(groups.items(), key=_place)]
        findings += list(self._uses_after_delete())
        oracles = [action for action, (foreign, missing) in sorted(statuses.items()) if foreign and missing - foreign]
        if self._oracle:
            findings += [self._oracle_finding(action) for action in oracles]
        said = [f"{action} {doubt} ({times(count, 'attempt')})" for (action, doubt), count in sorted(doubts.items())]
        if not counts["foreign attempts"]:
            said.insert(0, "no foreign attempt was made")
        evidence = {**counts, "existence oracles": len(oracles)}
        return Judgement(
            checker=AuthorisationChecker.id, findings=tuple(findings), doubts=tuple(said), evidence=evidence
        )

    def _weighed(self, trial: Trial) -> Outcome:
        assert trial.done is not None
        if trial.call.surface == "websocket":
            if trial.after:
                shows = witness(trial.call.index, trial.after["frame"].done.index, self._granted.get(trial.target))
                return Outcome(kind="foreign stream", why="frames about the object come to somebody else", shows=shows)
            return Outcome() if trial.done.type != "info" else Outcome(doubt="went unanswered or broke")
        if self._shares.opens(trial.call):
            return Outcome()  # it was made for others to read
        owner, user = trial.owner or "", trial.call.user or ""
        own = self._readings.own(trial.call.action, user)
        served = trial.call.detail.get("expect") not in (None, "refused")
        # What one's own ordinary request shows as well has not come of the attempt.
        usual = own.done.payload if own is not None and served else ""
        sent = f"{trial.call.payload} {trial.call.detail.get('path', '')} {trial.call.detail.get('query', '')}"
        secrets = any(
            sighting.whole and sighting.canary is not None and sighting.canary.user == owner and owner != user
            and sighting.canary.token not in sent and sighting.canary.token not in usual
            for sighting in self._search.find(trial.done.payload)
        )  # fmt: skip
        return weigh(
            trial,
            control=self._readings.answer(trial.call.action, owner, trial.target),
            own=own,
            secrets=secrets,
            owner_id=self._roster.user_id_of.get(owner),
            open_list=trial.kind == "list" and self._shows_to(trial, user),
        )

    def _shows_to(self, trial: Trial, user: str) -> bool:
        """Whether the owner was shown something of the user's before the attempt: the list is everybody's."""
        return any(
            sighting.canary is not None and sighting.canary.user == user
            for reading in trial.before.values()
            for sighting in self._search.find(reading.done.payload)
        )

    def _controlled(self, trial: Trial) -> bool:
        if trial.call.surface == "websocket":
            return trial.target in self._granted
        return self._readings.control(trial)

    def _note_status(self, trial: Trial, statuses: dict[str, tuple[set[int], set[int]]]) -> None:
        status = trial.done.status if trial.done is not None else None
        if status is not None and trial.owner is not None and trial.owner != trial.call.user:
            statuses[trial.call.action][0].add(status)
        elif status is not None and trial.owner is None and trial.target:
            statuses[trial.call.action][1].add(status)

    def _uses_after_delete(self) -> Iterator[Finding]:
        for (user, action), indices in sorted(self._readings.reused.items()):
            yield Finding(
                checker=AuthorisationChecker.id,
                kind="use after delete",
                summary=f"use after delete: {action} still shows {user} what {user} deleted",
                victims=(user,),
                recipients=(user,),
                surface="rest",
                operations=(
                    Place(operation=plain(action), pairs=(Pair(owner=user, recipient=user, example=indices[2]),)),
                ),
                witness=witness(*indices),
                explanation=f"Let d = #{indices[0]} delete the object, then #{indices[2]} shows it: a contradiction.",
            )

    def _oracle_finding(self, action: str) -> Finding:
        trials = [trial for trial in self._trials if trial.call.action == action and trial.done is not None]
        foreign = next(trial for trial in trials if trial.owner is not None and trial.owner != trial.call.user)
        missing = next(trial for trial in trials if trial.owner is None and trial.target)
        assert foreign.done is not None and missing.done is not None
        return Finding(
            checker=AuthorisationChecker.id,
            kind="existence oracle",
            summary=(
                f"{action} tells a foreign object (status {foreign.done.status}) from a missing one "
                f"(status {missing.done.status})"
            ),
            surface="rest",
            operations=(Place(operation=plain(action), pairs=(Pair(example=foreign.done.index),)),),
            witness=witness(foreign.call.index, foreign.done.index, missing.call.index, missing.done.index),
            explanation="Two refusals that differ tell whoever guesses ids which of them exist.",
        )


def _place(item: tuple[tuple[str, ...], Any]) -> tuple[bool, tuple[str, ...]]:
    """Isolation before hygiene, then by kind and people."""
    return severity_of(item[0][0]) == HYGIENE, item[0]


_STORIES = {
    "foreign read": "{recipient} could read {owner}'s data",
    "foreign write": "{recipient} could change {owner}'s data",
    "foreign write accepted": "{recipient} was told to have changed {owner}'s data",
    "refused write took effect": "{recipient} was refused and changed {owner}'s data all the same",
    "foreign stream": "{recipient} could follow {owner}'s events",
    "answered without credentials": "an answer was given without credentials",
    "use after delete": "{recipient} still got what was deleted",
    "wrong parent": "{recipient} got an object under a parent that it does not belong to",
    "not refused": "what {recipient} must be refused was answered with success",
    "refusal as server error": "a refusal came as a server error",
}
_BY_ID = frozenset(("foreign read", "foreign write", "foreign write accepted", "foreign stream"))


def _finding(place: tuple[str, ...], outcomes: list[Outcome], trial: Trial) -> Finding:
    kind, action, owner, actor = place
    first = outcomes[0]
    assert trial.done is not None
    status = f" with status {trial.done.status}" if trial.done.status is not None else ""
    pair = Pair(owner=owner, recipient=actor, count=len(outcomes), example=trial.done.index)
    return told(
        Finding(
            checker=AuthorisationChecker.id,
            kind=kind,
            summary=kind,
            story=_STORIES.get(kind, f"{kind}: by {{recipient}}")
            + (" by id" if trial.target and kind in _BY_ID else ""),
            unit="attempt",
            operations=(Place(operation=plain(action), pairs=(pair,)),),
            victims=(owner,) if owner else (),
            recipients=(actor,),
            surface=trial.call.surface,
            witness=first.shows,
            explanation=(
                f'Let r1 = #{trial.call.index} ("{trial.name}") by {actor}, answered by #{trial.done.index}{status}; '
                f"then {first.why}, though it must be refused: a contradiction."
            ),
        )
    )
