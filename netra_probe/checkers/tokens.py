"""No credential makes anybody somebody else, judged by who the target says one is."""

from __future__ import annotations

from dataclasses import dataclass, field

from netra_probe.checkers.base import Checker, CheckerRun, Window
from netra_probe.checkers.findings import plain, told
from netra_probe.checkers.principals import PrincipalIndex, listed, times, witness
from netra_probe.checkers.verdict import Finding, Judgement, Pair, Place
from netra_probe.forgery import BY_NAME, REFUSED, SELF
from netra_probe.history import actions
from netra_probe.history.operation import PROBE, Operation, Outcome
from netra_probe.history.untrusted import decoded

#: Answers that say who one is: for an ordinary request the answer must name the one who asked.
_KNOWN = "token signed with a known key"
_FORGED, _TWICE = "forged credential accepted", "single-use credential accepted twice"
_WHO_AM_I = ("/me", "/verify", "/refresh", "/login", "/register", "/callback")


class TokenChecker(Checker):
    """Every forged, expired, wrongly typed or foreign credential is refused; a valid one makes one oneself.

    An attempt is an operation ``attempt`` with ``detail`` ``attempt`` (its name in the playbook), ``expect``
    (``refused``, ``self``, or an alias), ``control`` (a valid credential, to show that the way is open) and ``phase``;
    its completion carries in ``ids.user_id`` who the target took the bearer for, and none where it refused. Status
    codes are not looked at: a 200 may say ``valid: false``. Attempts with one ``single_use`` mark share one credential
    that works once.

    >>> def op(index, type, user_id="", **detail):
    ...     return Operation(index=index, time=index, type=type, action="attempt", surface="rest", user="bob",
    ...                      call=index - 1 if type != "invoke" else None, ids={"user_id": user_id} if user_id else {},
    ...                      detail=detail)
    >>> alice = Operation(index=0, time=0, type="ok", action="principal", user="alice", ids={"user_id": "u-1"})
    >>> forged = [op(1, "invoke", attempt="alg none", expect="refused"), op(2, "ok", "u-1")]
    >>> TokenChecker()([alice, *forged]).findings[0].summary
    'bob with a forged credential was taken for alice over rest through "alg none" (1 attempt)'
    """

    id = "C6"
    guarantee = "Nobody is taken for somebody else, or for anybody with a credential that is not valid."
    source = "RFC 8725; OWASP WSTG-SESS-10 and WSTG-ATHN-04; OWASP ASVS 5.0 9.1.1 to 9.2.3"
    complexity = "time O(n), memory O(accounts + attempts)"
    inconclusive_when = (
        "no forged credential was tried, no valid one was accepted on the same surface and in the same phase, a valid "
        "one was refused afterwards (locked out), or attempts went unanswered"
    )

    def begin(self, window: Window) -> CheckerRun:
        return _TokenPass(window.start)


@dataclass
class _Phase:
    """One surface in one phase: what the controls showed, and how many attempts rest on them."""

    good: int = 0
    bad: int | None = None
    attempts: int = 0
    unanswered: list[str] = field(default_factory=list)


@dataclass
class _Group:
    """What shows it first, and by operation the index of its first answer and how many there were."""

    name: str
    call: int
    done: int
    earlier: int | None
    places: dict[str, tuple[int, int]] = field(default_factory=dict)


class _TokenPass(CheckerRun):
    def __init__(self, start: int) -> None:
        self._start = start
        self._roster = PrincipalIndex()
        self._open: dict[int, Operation] = {}
        self._phases: dict[tuple[str, str], _Phase] = {}
        self._groups: dict[tuple[str, ...], _Group] = {}
        self._used: dict[str, list[tuple[int, int, str]]] = {}
        self._refreshed: dict[str, tuple[int, str | None]] = {}
        self._refused = 0
        self._controls = 0

    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        if surface == PROBE:
            return action in (actions.PRINCIPAL, actions.TOKEN)
        return action == actions.ATTEMPT or (surface == "auth" and action.endswith(_WHO_AM_I))

    def feed(self, operation: Operation) -> None:
        if self._roster.learn(operation) or operation.index < self._start:
            return
        if operation.action == actions.TOKEN:
            if operation.detail.get("offline") and operation.detail.get("known_key"):
                user = operation.user or "nobody"
                self._group((_KNOWN, user, user, "auth"), operation, operation, name=str(operation.detail.get("kind")))
            return
        if operation.type == "invoke":
            self._open[operation.index] = operation
            return
        call = self._open.pop(operation.call, None) if operation.call is not None else None
        if call is None:
            return
        if operation.action == actions.ATTEMPT:
            self._attempted(call, operation)
        elif operation.type == "ok":
            self._answered(call, operation)

    def _attempted(self, call: Operation, done: Operation) -> None:
        detail = call.detail
        name, expect = str(detail.get("attempt", "a forgery")), str(detail.get("expect", REFUSED))
        phase = self._phases.setdefault((call.surface, str(detail.get("phase", ""))), _Phase())
        actor = call.user or "nobody"
        right = actor if expect == SELF else expect
        likely = actor if right == REFUSED and detail.get("control") else right
        who = self._roster.who(done.ids.get("user_id"), likely=likely)
        if done.type == "info" and who is None:
            phase.unanswered.append(name)
            return
        if detail.get("control"):
            self._control(phase, call, done, who, likely)
            return
        phase.attempts += 1
        once = detail.get("single_use")
        if isinstance(once, str) and who is not None:
            self._used.setdefault(once, []).append((call.index, done.index, who))
        elif who is None:
            self._refused += 1
        elif expect == REFUSED or who != right:
            self._group((_FORGED, actor, who, call.surface), call, done, name=name)

    def _control(self, phase: _Phase, call: Operation, done: Operation, who: str | None, right: str) -> None:
        self._controls += 1
        if who is None:
            phase.bad = done.index
        elif who == right:
            phase.good += 1
        else:
            self._group(("valid credential answered as another", right, who, call.surface), call, done)

    def _answered(self, call: Operation, done: Operation) -> None:
        """Ordinary requests to the auth service: the answer names the one who asked, a refresh token works once."""
        user = call.user
        who = self._roster.alias_of.get(done.ids.get("user_id", ""))
        if user is not None and who is not None and who != user and not call.detail.get("attempt"):
            self._group(("valid credential answered as another", user, who, call.surface), call, done)
        if call.action.endswith("/refresh") and call.payload:
            body = decoded(done.payload)
            if isinstance(body, dict) and not body.get("access_token"):
                return
            before = self._refreshed.get(call.payload)
            if before is None:
                self._refreshed[call.payload] = (done.index, user)
            else:
                place = (_TWICE, user or "nobody", user or "nobody", call.surface)
                self._group(place, call, done, before[0], name="refresh token")

    def _group(
        self, place: tuple[str, ...], call: Operation, done: Operation, earlier: int | None = None, *, name: str = ""
    ) -> None:
        group = self._groups.setdefault(place, _Group(name, call.index, done.index, earlier))
        where = str(call.detail.get("phase", "")) if call.action == actions.ATTEMPT else call.action
        operation = " at ".join(filter(None, (f'"{name}"' if name else "", plain(where))))
        first, count = group.places.get(operation, (done.index, 0))
        group.places[operation] = (first, count + 1)

    def finish(self) -> Judgement:
        findings = [_finding(place, group) for place, group in sorted(self._groups.items())]
        findings += [_used_twice(name, uses) for name, uses in sorted(self._used.items()) if len(uses) > 1]
        attempts = sum(phase.attempts for phase in self._phases.values())
        doubts = [] if attempts else ["no forged credential was tried"]
        for (surface, name), phase in sorted(self._phases.items()):
            where = f"{surface} ({name})" if name else surface
            if phase.attempts and not phase.good:
                doubts.append(f"{where}: no valid credential was accepted, so that the refusals prove nothing")
            elif phase.bad is not None:
                doubts.append(f"{where}: a valid credential was refused at #{phase.bad}: locked out, or out of order")
            if phase.unanswered:
                some = ", ".join(sorted(set(phase.unanswered))[:3])
                doubts.append(f"{where}: {times(len(phase.unanswered), 'attempt')} went unanswered ({some})")
        return Judgement(
            checker=TokenChecker.id,
            findings=tuple(findings),
            doubts=tuple(doubts),
            evidence={
                "forged credentials": attempts,
                "forged credentials refused": self._refused,
                "valid credentials accepted": sum(phase.good for phase in self._phases.values()),
            },
        )


def _finding(place: tuple[str, ...], group: _Group) -> Finding:
    kind, actor, who, surface = place
    call, done, earlier, name = group.call, group.done, group.earlier, group.name
    stranger, themselves = who == "a stranger", who == actor
    victims: tuple[str, ...] = () if stranger or (themselves and kind == _FORGED) else (who,)
    if kind == _FORGED:
        known = BY_NAME.get(name)
        source = f" ({known.description}; {known.source})" if known else ""
        whom = "a stranger" if stranger else "themselves" if themselves else "{owner}"
        story = f"{{recipient}} with a forged credential was taken for {whom} over {surface}"
        why = (
            f'Let r1 = #{call} with the credential "{name}"{source}, then #{done} answers as {who}, '
            "though nothing valid says so: a contradiction."
        )
    elif kind == _KNOWN:
        story = "the tokens of {owner} are signed with a key that stands in published lists"
        why = (
            f"#{call} notes that the {name} verifies under such a key: whoever has the list issues tokens for anybody."
        )
    elif kind == _TWICE:
        story = f"a credential of {{owner}} that works once was accepted again over {surface}"
        why = f"Let r1 = #{earlier}, which used the {name} up, then #{done} accepts the same one: a contradiction."
    else:
        whom = "a stranger" if stranger else "{owner}"
        story = f"the valid credential of {{recipient}} was answered as {whom} over {surface}"
        why = f"Let r1 = #{call} by {actor}, then #{done} answers that one is {who}: a contradiction."
    owner = victims[0] if victims else "" if stranger else who
    return told(
        Finding(
            checker=TokenChecker.id,
            kind=kind,
            summary=kind,
            story=story,
            unit="attempt",
            victims=victims,
            recipients=(actor,),
            surface=surface,
            operations=tuple(
                Place(operation=name, pairs=(Pair(owner=owner, recipient=actor, count=count, example=example),))
                for name, (example, count) in sorted(group.places.items())
            ),
            witness=witness(earlier, call, done),
            explanation=why,
        )
    )


def _used_twice(name: str, uses: list[tuple[int, int, str]]) -> Finding:
    people = tuple(sorted({who for _, _, who in uses}))
    (first, first_done, _), (second, second_done, _) = uses[:2]
    return Finding(
        checker=TokenChecker.id,
        kind=_TWICE,
        operations=(
            Place(
                operation=plain(name),
                pairs=tuple(Pair(owner=p, recipient=p, count=len(uses), example=second_done) for p in people),
            ),
        ),
        summary=f"{name} was accepted {times(len(uses), 'time')}, each time for {listed(people)}",
        victims=people,
        recipients=people,
        surface="auth",
        witness=witness(first, second, first_done, second_done),
        explanation=(
            f"Let r1 = #{first} and r2 = #{second} use {name}, which works once; both #{first_done} and #{second_done} "
            "grant it: a contradiction."
        ),
    )
