"""A planted secret is seen by its owner and by nobody else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from netra_probe.checkers.base import Checker, CheckerRun, Window, judge
from netra_probe.checkers.findings import CROSSED, FindingSet, Spot, natural, place_of
from netra_probe.checkers.principals import witness
from netra_probe.checkers.recipients import ANONYMOUS, Recipients, Shares
from netra_probe.checkers.runs.liveness import Liveness
from netra_probe.checkers.verdict import Judgement
from netra_probe.history import actions
from netra_probe.history.canary import PREFIX, Canary, CanarySearch, Sighting
from netra_probe.history.frames import Frame
from netra_probe.history.operation import PROBE, Operation, Outcome

#: Canaries of unknown origin that are kept apart; a hostile target could make up any number.
MOST_STRANGE = 1_000
#: Answers that give a credential out, and how one looks in a history: redacted, and the same wherever it stands.
_ISSUES = ("/login", "/register", "/refresh", "/callback")
_CREDENTIAL = re.compile(r"\[(?:jwt|access-token|refresh-token|token):[0-9a-f]{8}\]")
#: Rows and keys have no recipient: whose they are is the business of `store`.
STORES = frozenset({"database", "cache"})


class CanaryChecker(Checker):
    """Whoever did not plant a secret, nor send it, never receives it, raw or encoded.

    >>> from netra_probe.history.operation import Operation
    >>> token = "CANARYABCDEFGHIJKLMNOP"
    >>> history = [
    ...     Operation(index=0, time=0, type="ok", action="mint", user="alice", detail={"token": token}),
    ...     Operation(index=1, time=1, type="ok", action="receive", user="bob", surface="websocket", payload=token),
    ... ]
    >>> [finding.summary for finding in CanaryChecker()(history).findings]
    ["alice's data reached bob over websocket through a frame of unknown type (1 frame, 1 secret)"]
    """

    id = "C1"
    guarantee = "A secret that a user planted is seen by that user and by no other, on any surface and in any encoding."
    source = (
        "honeytokens (Spitzner, 2003); OWASP WSTG-ATHZ-04 insecure direct object references; OWASP ASVS 5.0 8.2.2 and "
        "8.4.1; the ChatGPT incident of 20 March 2023"
    )
    complexity = "time O(bytes of payload), memory O(canaries + connections)"
    inconclusive_when = (
        "no canary was planted, nothing was delivered, nobody else was looking, an owner did not see what they "
        "planted, an open socket gave no sign of life after the others' deliveries, only the beginning of a canary was "
        "seen, or a canary of unknown origin"
    )

    def begin(self, window: Window) -> CheckerRun:
        return CanaryPass(window.start)


_SUMMARY = "{victim}'s data reached {recipient} over {surface}"
_SUMMARIES = {
    "foreign canary": _SUMMARY,
    "control canary": _SUMMARY,
    "another user's credential": "a credential of {victim} reached {recipient} over {surface}",
    "canary of another investigation": "data of another investigation reached {recipient} over {surface}",
}


class CanaryPass(CheckerRun):
    """Searches every payload once; remembers who planted, who quoted, who saw."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._search = CanarySearch()
        self._minted: dict[str, int] = {}
        self._life = Liveness(self, start)
        #: (user, token) → first request in which the user put somebody else's canary.
        self._quoted: dict[tuple[str, str], int] = {}
        #: token → where its owner first put it into a request.
        self._planted: dict[str, int] = {}
        self._planters: set[str] = set()
        #: user → first sighting of an own canary in the window.
        self._own: dict[str, int] = {}
        self.users: dict[str, None] = {}
        #: user → frames and responses in the window with secrets of their own.
        self.own: Counter[str] = Counter()
        #: credential → who was given it first, and where; what users sent of them; acts that present any on purpose.
        self._issued: dict[str, tuple[str, int]] = {}
        self._presented: set[tuple[str, str]] = set()
        self._trials: set[int] = set()
        self._own_last = -1
        #: index → whose data a frame or response gave somebody else, and the operation; kept where one is to show it.
        self.foreign: dict[int, set[str]] | None = None
        self.shown: dict[int, Operation] = {}
        self._recipients = Recipients()
        #: Requests that read what was shared on purpose.
        self._shares = Shares()
        self._by_link: set[int] = set()
        self._observers: set[str] = set()
        self._deliveries = 0
        self._frames = 0
        self._leaks = FindingSet("C1", _SUMMARIES, unit="delivery")
        self._partial: dict[tuple[str, str], int] = {}
        self._controls: dict[str, int] = {}
        self._strange: dict[str, int] = {}
        #: Users whose accounts are older than this investigation: what earlier ones planted there is their own.
        self._existing: set[str] = set()

    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        if surface == PROBE:
            return action in (actions.MINT, actions.PRINCIPAL)
        # What an ``ask`` says is in the frame that sends it, and what it ends with in those that were received.
        # A process of the investigator's has no user who could see anything.
        others = (actions.GAUGE, actions.ASK, actions.PROCESS, actions.EXPECT)
        return surface not in STORES and action not in others

    def feed(self, operation: Operation) -> None:
        action = operation.action
        if action == actions.MINT:
            self._mint(operation)
        elif action == actions.PRINCIPAL:
            self._recipients.principal(operation)
            if operation.user:
                self.users[operation.user] = None
            if operation.detail.get("existing"):
                self._existing.add(operation.user or "")
        elif operation.type == "invoke":
            if action == actions.SEND:
                self._life.feed(operation)
            else:
                self._shares.feed(operation)
                if self._shares.opens(operation):
                    self._by_link.add(operation.index)
            self._request(operation)
        elif action in (actions.CONNECT, actions.CLOSED):
            self._life.feed(operation)
        elif action != actions.SEND:
            self._observe(operation)
        elif operation.call is None:
            self._request(operation)

    def frame(self, operation: Operation, frame: Frame) -> None:
        if operation.index >= self._start:
            self._frames += 1
            for sighting in self._search.find(operation.payload):
                self._sighted(operation, operation.user or ANONYMOUS, sighting)
            if self._issued and "[jwt:" in operation.payload:
                self._credentials(operation, operation.user or ANONYMOUS)

    def _credentials(self, operation: Operation, recipient: str) -> None:
        """A token that was given to one user must not come to another, who could then act as the first."""
        gives = operation.type == "ok" and operation.action.endswith(_ISSUES)
        for credential in dict.fromkeys(_CREDENTIAL.findall(operation.payload)):
            owner, given = self._issued.get(credential, ("", -1))
            if not owner:
                if gives and recipient != ANONYMOUS:
                    self._issued[credential] = (recipient, operation.index)
            elif owner != recipient and (recipient, credential) not in self._presented:
                self._credential(operation, recipient, credential, owner, given)

    def _credential(self, operation: Operation, recipient: str, credential: str, owner: str, given: int) -> None:
        if operation.index < self._start:
            return
        kind, spot = "another user's credential", Spot(operation.index, place_of(operation), credential)
        if self._leaks.count(kind, owner, recipient, operation.surface, spot=spot):
            return
        explanation = (
            f"Let g = #{given} give a token to {owner}, and r = #{operation.index} in which {recipient}, who never "
            f"sent it, receives the same one. A token is its owner's alone, and who has it acts as {owner}: "
            "a contradiction."
        )
        shown = witness(given, operation.index, operation.call)
        self._leaks.add(kind, owner, recipient, operation.surface, shown, explanation, spot=spot)

    def _mint(self, operation: Operation) -> None:
        detail = operation.detail
        token = str(detail.get("token", ""))
        if len(token) < len(PREFIX) or operation.user is None:
            return
        self._search.add(
            Canary(
                token=token,
                user=operation.user,
                field=str(detail.get("field", "")),
                surface=str(detail.get("surface", "")),
                control=bool(detail.get("control")),
            )
        )
        self._minted[token] = operation.index

    def _request(self, operation: Operation) -> None:
        """What a user sends may come back to them: remember it, whosever it is."""
        user = operation.user
        if user is None:
            return
        self._recipients.sent(operation)
        if operation.payload:
            self._sent(user, operation.index, operation.payload)
        detail = operation.detail
        if "attempt" in detail:
            self._trials.add(operation.index)
        if self._issued and "[" in operation.payload:
            self._presented |= {(user, sent) for sent in _CREDENTIAL.findall(operation.payload)}
        if "path" in detail:
            self._sent(user, operation.index, f"{detail['path']} {detail.get('query', '')}")

    def _sent(self, user: str, index: int, text: str) -> None:
        for sighting in self._search.find(text):
            if sighting.canary is None:
                continue
            if sighting.canary.user == user:
                self._planted.setdefault(sighting.canary.token, index)
                if index >= self._start:
                    self._planters.add(user)
            else:
                self._quoted.setdefault((user, sighting.canary.token), index)

    def _observe(self, operation: Operation) -> None:
        index = operation.index
        self._shares.feed(operation)
        recipient = self._recipients.of(operation)
        if operation.call in self._trials:
            self._trials.discard(operation.call or -1)
        elif operation.surface in ("auth", "rest") and "[" in operation.payload:
            self._credentials(operation, recipient)
        if index < self._start:
            return
        if operation.type != "info" or operation.payload:
            self._deliveries += 1
            self._observers.add(recipient)
        if operation.call in self._by_link:
            return
        for sighting in self._search.find(operation.payload):
            self._sighted(operation, recipient, sighting)

    def _sighted(self, operation: Operation, recipient: str, sighting: Sighting) -> None:
        canary, index = sighting.canary, operation.index
        if canary is None:
            self._astray(operation, recipient, sighting)
        elif canary.user == recipient:
            if canary.control:
                self._controls.setdefault(canary.user, index)
            elif sighting.whole:
                if index != self._own_last:
                    self.own[recipient] += 1
                    self._own_last = index
                if recipient not in self._own:
                    self._own[recipient] = index
        elif (recipient, canary.token) in self._quoted:
            pass
        elif not sighting.whole:
            self._partial.setdefault((canary.user, recipient), index)
        else:
            self._leak(operation, recipient, canary, sighting.form)

    def _note(self, operation: Operation, owner: str) -> None:
        if self.foreign is not None:
            self.foreign.setdefault(operation.index, set()).add(owner)
            self.shown[operation.index] = operation

    def _astray(self, operation: Operation, recipient: str, sighting: Sighting) -> None:
        """What nobody here has minted is somebody else's, unless it may stand in an account since an earlier time."""
        if recipient in self._existing or (recipient == ANONYMOUS and self._existing):
            if len(self._strange) < MOST_STRANGE:
                self._strange.setdefault(sighting.token, operation.index)
            return
        kind, note = "canary of another investigation", "" if sighting.form == "raw" else sighting.form
        spot = Spot(operation.index, place_of(operation), sighting.token)
        self._note(operation, "")
        if self._leaks.count(kind, "", recipient, operation.surface, note, spot=spot):
            return
        explanation = (
            f"Let r = #{operation.index} in which {recipient} receives a secret ({sighting.form}) that was minted for "
            f"one user alone, and for none of this investigation. {recipient} has no account from before it, so r can "
            "only have it from another user's data: a contradiction."
        )
        shown = witness(operation.index, operation.call)
        self._leaks.add(kind, "", recipient, operation.surface, shown, explanation, note, spot=spot)

    def _leak(self, operation: Operation, recipient: str, canary: Canary, form: str) -> None:
        kind = "control canary" if canary.control else "foreign canary"
        note = "" if form == "raw" else form
        spot = Spot(operation.index, place_of(operation), canary.token)
        self._note(operation, canary.user)
        if self._leaks.count(kind, canary.user, recipient, operation.surface, note, spot=spot):
            return
        minted, planted = self._minted[canary.token], self._planted.get(canary.token)
        own = self._own.get(canary.user)
        steps = [f"Let m = #{minted} mint a secret for {canary.user} alone ({canary.field or 'a field'})"]
        if planted is not None:
            steps.append(f"p = #{planted} in which {canary.user} plants it")
        if own is not None:
            steps.append(f"s = #{own} in which {canary.user} sees a secret of their own, as they should")
        steps.append(f"r = #{operation.index} in which {recipient} receives it ({form})")
        explanation = (
            f"{', '.join(steps)}. {recipient} never sent it before r, so r can only have it from {canary.user}'s data, "
            "although only its owner may see a secret: a contradiction."
        )
        shown = witness(minted, operation.index, planted, own, operation.call)
        self._leaks.add(kind, canary.user, recipient, operation.surface, shown, explanation, note, spot=spot)

    def finish(self) -> Judgement:
        self._deliveries += self._frames
        self._observers |= self._life.observers()
        return Judgement(
            checker="C1",
            findings=self._leaks.findings(),
            doubts=tuple(self._doubts()),
            evidence={
                "canaries planted": len(self._search),
                "deliveries": self._deliveries,
                "own canaries seen": sum(self.own.values()),
                "users looking": len(self._observers),
            },
        )

    def _doubts(self) -> list[str]:
        doubts = []
        if not len(self._search):
            doubts.append("no canary was planted")
        elif not self._deliveries:
            doubts.append("nothing was delivered to anybody")
        elif not self._own:
            doubts.append("no owner saw a canary of their own: there is no positive control")
        elif not any(self._observers - {victim} for victim in self._own):
            doubts.append("nobody but the owner was looking")
        for user in sorted(self._planters - self._own.keys()):
            if self._own:
                doubts.append(f"{user} planted a canary and never saw it: no positive control for {user}")
        if self._frames:
            doubts += self._life.silent(self._own)
        for (victim, recipient), index in sorted(self._partial.items()):
            doubts.append(
                f"{recipient} saw the beginning of a canary of {victim} (#{index}): cut short, so not certain"
            )
        for user, index in sorted(self._controls.items()):
            doubts.append(
                f"the control canary of {user}, planted nowhere, was seen (#{index}): the search proves nothing"
            )
        if self._strange:
            first = min(self._strange.values())
            doubts.append(f"{len(self._strange)} canaries of another investigation were seen, first in #{first}")
        return doubts


@dataclass(frozen=True, kw_only=True)
class Crossings:
    """Whose data came to whom in a window, counted in frames and responses: what matrix, timeline and headings show.

    Arguments:
        pairs: (owner, recipient) → frames and responses with data of the owner; the diagonal are owners who saw their
            own. "" owns what belongs to another investigation.
        foreign: index of a frame or response → whose data it gave somebody else; ``shown`` are these operations.
        users: everybody who has an account.
        secrets: how many different secrets were seen by somebody else.
    """

    pairs: Counter[tuple[str, str]]
    foreign: dict[int, set[str]]
    shown: dict[int, Operation]
    users: tuple[str, ...]
    secrets: int

    @staticmethod
    def of(history: Iterable[Operation], *, start: int = 0, end: int | None = None) -> Crossings:
        """As C1 judges the window: what it accuses is what is shown, to the frame."""
        watching = _Watching()
        (judgement,) = judge([watching], history, Window(start=start, end=end))
        running = watching.running
        pairs = Counter({(user, user): count for user, count in running.own.items()})
        leaks = [finding for finding in judgement.findings if finding.kind in CROSSED]
        for finding in leaks:
            for place in finding.operations:
                for pair in place.pairs:
                    pairs[pair.owner, pair.recipient] += pair.count
        secrets = {secret for finding in leaks for secret in finding.secrets}
        users = tuple(sorted(running.users, key=natural))
        foreign = running.foreign or {}
        return Crossings(pairs=pairs, foreign=foreign, shown=running.shown, users=users, secrets=len(secrets))

    @property
    def leaks(self) -> int:
        """Frames and responses with another user's data; one with data of two users counts for each."""
        return sum(count for (owner, recipient), count in self.pairs.items() if owner != recipient)


class _Watching(CanaryChecker):
    """C1, whose pass can be asked afterwards."""

    running: CanaryPass

    def begin(self, window: Window) -> CheckerRun:
        self.running = CanaryPass(window.start)
        self.running.foreign = {}
        return self.running
