"""The ids that a user is shown are the user's own."""

from __future__ import annotations

import re
from collections import deque

import msgspec

from netra_probe.checkers.base import Checker, CheckerRun, Window
from netra_probe.checkers.findings import FindingSet, Spot, place_of
from netra_probe.checkers.principals import witness
from netra_probe.checkers.recipients import Recipients, Shares
from netra_probe.checkers.runs.liveness import Liveness
from netra_probe.checkers.runs.questions import KEPT_IDS, KEPT_RUN_IDS, Recent
from netra_probe.checkers.verdict import Judgement
from netra_probe.history import actions
from netra_probe.history.canary import PREFIX
from netra_probe.history.frames import Frame
from netra_probe.history.operation import PROBE, Operation, Outcome

#: Ids of nested objects (``"thread_id": "…"``, ``"id":"…"``) and ids inside longer texts (``user:<uuid>:inbox``).
_NESTED = re.compile(r'id": ?"([^"\\]{4,})"')
_DASHES_OF_A_TIME = 3
_UUID = re.compile(r"-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-")
_STORES = frozenset({"database", "cache"})
#: Texts of requests that may come back as ids.
_ID_LENGTHS = range(4, 80)


class EnvelopeChecker(Checker):
    """User, thread, run and message ids in frames and responses belong to the principal of the connection.

    >>> from netra_probe.history.operation import Operation
    >>> frame = '{"type":"agent_started","thread_id":"thread_a","payload":{}}'
    >>> history = [
    ...     Operation(index=0, time=0, type="ok", action="own", user="alice", ids={"thread_id": "thread_a"}),
    ...     Operation(index=1, time=1, type="ok", action="receive", user="bob", surface="websocket", payload=frame),
    ... ]
    >>> [finding.summary for finding in EnvelopeChecker()(history).findings]
    ['bob was sent the thread id of alice over websocket (1 time)']
    """

    id = "C2"
    guarantee = "Every user, thread, run and message id that a user is sent belongs to that user."
    source = (
        "OWASP WSTG-ATHZ-02 bypassing authorization schema; OWASP ASVS 5.0 8.2.2 and 8.4.1; netra-wire §4 (welcome)"
    )
    complexity = "time O(bytes of payload), memory O(ids), at most 250,000"
    inconclusive_when = (
        "no account is known, nothing was delivered, nobody was sent an id of their own, nobody else was looking, or "
        "an open socket gave no sign of life after the others' deliveries"
    )

    def begin(self, window: Window) -> CheckerRun:
        return EnvelopePass(window.start)


class Owned(msgspec.Struct, frozen=True, gc=False):
    """Whose an id is, what it names, and the operation that says so; where that follows from a thread, whose it is."""

    user: str
    kind: str
    index: int
    thread: int | None = None


#: What is made, or listed as one's own, comes in an answer.
OWN_ANSWER = "an answer that lists one's own"
_SUMMARIES = {
    "": "{recipient} was sent the {what} of {victim} over {surface}",
    "identity not bound": "{recipient}'s connection was welcomed as somebody else",
}


class EnvelopePass(CheckerRun):
    """Learns whose each id is; what is shown before its owner is known waits until it is."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._life = Liveness(self, start)
        self._recipients = Recipients()
        self._account: dict[str, str] = {}
        self._owned: dict[str, Owned] = {}
        #: Runs and other objects in the order they became known: the first is the first to be forgotten.
        self._runs: deque[str] = deque()
        self._objects: deque[str] = deque()
        #: id → user → where it was first shown, and the question that the user had open then, for ids that nobody is
        #: known to own yet.
        self._waiting = Recent[dict[str, tuple[str, Spot, int | None]]](KEPT_RUN_IDS)
        self._quoted: set[tuple[str, str]] = set()
        #: "user text" for what users have sent, known as an id or not, and where first: an echo of it says nothing.
        self._sent = Recent[int](KEPT_IDS)
        #: User → how many of their questions are open; connections that were opened with a credential under trial.
        self._asking: dict[str, int] = {}
        #: User → their last question: what comes while it is open is shown with it.
        self._question: dict[str, int] = {}
        self._tried: set[str | None] = set()
        #: Requests that read what was shared on purpose.
        self._shares = Shares()
        self._by_link: set[int] = set()
        self._own: dict[str, int] = {}
        #: connection → the ids of its last frame, if all of them were its user's.
        self._last_own: dict[str | None, dict[str, str]] = {}
        self._compared = 0
        self._deliveries = 0
        self._frames = 0
        #: Frames that fit no envelope: searched like all others, and counted for whoever reads the verdict.
        self._shapeless = 0
        self._observers: set[str] = set()
        self._found = FindingSet("C2", _SUMMARIES, unit="delivery")

    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        if surface == PROBE:
            return action in (actions.PRINCIPAL, actions.OWN)
        return surface not in _STORES and action != actions.GAUGE

    def feed(self, operation: Operation) -> None:
        action = operation.action
        if action == actions.PRINCIPAL:
            self._principal(operation)
        elif action == actions.OWN:
            self._own_object(operation)
        elif operation.type == "invoke":
            if action == actions.SEND:
                self._life.feed(operation)
            elif action == actions.CONNECT:
                if "attempt" in operation.detail and not operation.detail.get("control"):
                    self._tried.add(operation.connection)
            elif action != actions.ASK:
                self._shares.feed(operation)
                if self._shares.opens(operation):
                    self._by_link.add(operation.index)
            self._request(operation)
        elif action == actions.ASK:
            self._asked(operation)
        elif action in (actions.CONNECT, actions.CLOSED):
            self._life.feed(operation)
            self._last_own.pop(operation.connection, None)
        elif action != actions.SEND:
            self._response(operation)

    def _principal(self, operation: Operation) -> None:
        self._recipients.principal(operation)
        user, account = operation.user, operation.ids.get("user_id")
        if user and account:
            self._account[user] = account
            self._learn(account, Owned(user, "user", operation.index))

    def _own_object(self, operation: Operation) -> None:
        kind = str(operation.detail.get("kind", ""))
        named = {name.removesuffix("_id"): id for name, id in operation.ids.items()}
        identifier = operation.detail.get("id")
        if isinstance(identifier, str) and identifier not in named.values():
            named[kind or "object"] = identifier
        if operation.user:
            for kind, id in named.items():
                if kind != "user":
                    self._learn(id, Owned(operation.user, kind, operation.index))

    def _request(self, operation: Operation) -> None:
        self._recipients.sent(operation)
        user = operation.user
        if user is None:
            return
        owned = self._owned
        for id in operation.ids.values():
            self._say(user, id, operation.index)
            if id in owned:
                self._quote(user, id)
        if operation.action == actions.ASK:
            self._asking[user] = self._asking.get(user, 0) + 1
            self._question[user] = operation.index
            return  # The question itself is in the frame that sends it.
        detail = operation.detail
        if "path" in detail:
            for id in str(detail["path"]).split("/"):
                self._say(user, id, operation.index)
                if id in owned:
                    self._quote(user, id)
        for mentioned in (detail.get("object"), detail.get("query")) if detail else ():
            for id in mentioned.values() if isinstance(mentioned, dict) else ():
                self._say(user, str(id), operation.index)
                self._quote(user, str(id))
        text = operation.payload
        if text:
            for id in text.split('"'):
                self._say(user, id, operation.index)
                if id in owned:
                    self._quote(user, id)
            if text.count("-") > _DASHES_OF_A_TIME:
                for id in _accounts(text):
                    self._quote(user, id)

    def _say(self, user: str, text: str, index: int) -> None:
        if len(text) in _ID_LENGTHS and f"{user} {text}" not in self._sent:
            self._sent.keep(f"{user} {text}", index)

    def _named_by(self, user: str, id: str) -> bool:
        """Whether the user had named the id themselves, so that to be sent it is an echo."""
        return (user, id) in self._quoted or f"{user} {id}" in self._sent

    def _named_before(self, user: str, id: str, index: int) -> bool:
        """Whether the user had named the id before they were sent it; who stops a run that they were sent has not."""
        said = self._sent.get(f"{user} {id}")
        return (user, id) in self._quoted or (said is not None and said < index)

    def _quote(self, user: str, id: str) -> None:
        owned = self._owned.get(id)
        if owned is not None and owned.user != user:
            self._quoted.add((user, id))

    def _asked(self, operation: Operation) -> None:
        """The end of an ask names the run and thread that became the user's."""
        user = operation.user
        if user is None:
            return
        self._asking[user] = self._asking.get(user, 0) - 1
        for name in ("run_id", "thread_id"):
            id = operation.ids.get(name)
            if id is None:
                continue
            owned = self._owned.get(id)
            if owned is None:
                self._learn(id, Owned(user, name.removesuffix("_id"), operation.index))
            elif owned.user != user and operation.index >= self._start and not self._named_by(user, id):
                self._mismatch(operation, user, owned)

    def _learn(self, id: str, owned: Owned) -> None:
        if PREFIX in id.upper():
            return  # a secret that the probe put where an id belongs: whose it is, is a question for C1
        known = self._owned.get(id)
        if known is not None and known.user != owned.user and owned.kind != "user":
            # Two users were given one id: the first keeps it, the second was sent it.
            if owned.index >= self._start and not self._named_by(owned.user, id):
                self._record(known, owned.user, "rest", Spot(owned.index, OWN_ANSWER), None)
            return
        if known is None and owned.kind != "user":
            order, most = (self._runs, KEPT_RUN_IDS) if owned.kind == "run" else (self._objects, KEPT_IDS)
            order.append(id)
            if len(order) > most:
                self._owned.pop(order.popleft(), None)
        self._owned[id] = owned
        for user, (surface, spot, question) in self._waiting.pop(id, {}).items():
            if user == owned.user:
                self._compared += 1
                self._own.setdefault(user, spot.at)
            elif not self._named_before(user, id, spot.at):
                # Where its thread says whose it is, that is enough; an open question would leave it in doubt again.
                self._record(owned, user, surface, spot, question if owned.thread is None else None)

    def frame(self, operation: Operation, frame: Frame) -> None:
        user = operation.user
        if user is None or operation.index < self._start:
            return
        self._frames += 1
        self._shapeless += frame.shape == "unknown"
        if frame.name == "connection_established" and operation.connection in self._tried:
            return  # whom a credential under trial makes one is for `tokens` to say
        ids = frame.ids
        # Nearly every frame names what the one before it on the same connection named.
        if ids == self._last_own.get(operation.connection):
            self._compared += 1
        else:
            self._named(operation, user, frame)
        # More ids than the reader found where ids belong, or enough dashes for a UUID: look into every corner.
        text = operation.payload
        if text.count('id"') > len(ids) or text.count("-") > _DASHES_OF_A_TIME:
            self._scan(operation, user, ids)

    def _named(self, operation: Operation, user: str, frame: Frame) -> None:
        all_own = True
        for name, id in frame.ids.items():
            owned = self._owned.get(id)
            if owned is None and name in ("run_id", "thread_id"):
                self._unknown(operation, user, name, frame)
                owned = self._owned.get(id)
            elif owned is not None:
                self._compare(operation, user, id, owned)
            all_own = all_own and owned is not None and owned.user == user
        if all_own and frame.ids:
            self._last_own[operation.connection] = frame.ids
        if frame.name == "connection_established":
            self._welcome(operation, user, frame)

    def _unknown(self, operation: Operation, user: str, name: str, frame: Frame) -> None:
        """An id seen for the first time: its thread says whose it is, or it waits until somebody does.

        Where the user has a question open the run may be the answer, whoever the thread belongs to: then the end of the
        question says whose it is.
        """
        id, thread = frame.ids[name], frame.ids.get("thread_id", "")
        owner = self._owned.get(thread)
        if owner is None or self._asking.get(user, 0) > 0 or self._named_by(user, thread):
            self._wait(id, user, operation.surface, Spot(operation.index, place_of(operation, frame)))
        else:
            owned = Owned(owner.user, "run", operation.index, owner.index)
            self._learn(id, owned)
            self._compare(operation, user, id, owned)

    def _response(self, operation: Operation) -> None:
        self._shares.feed(operation)
        if operation.index < self._start:
            return
        recipient = self._recipients.of(operation)
        if operation.payload:
            self._deliveries += 1
            self._observers.add(recipient)
            if operation.call not in self._by_link:
                self._scan(operation, recipient, {})

    def _scan(self, operation: Operation, recipient: str, known: dict[str, str]) -> None:
        """Look at every id anywhere in the raw text: many shapes carry theirs in a corner."""
        text = operation.payload
        ids = _NESTED.findall(text)
        if text.count("-") > _DASHES_OF_A_TIME:
            ids += _accounts(text)
        for id in ids:
            owned = self._owned.get(id)
            if owned is not None and id not in known.values():
                self._compare(operation, recipient, id, owned)

    def _compare(self, operation: Operation, recipient: str, id: str, owned: Owned) -> None:
        if owned.user == recipient:
            self._compared += 1
            self._own.setdefault(recipient, operation.index)
        elif not self._named_by(recipient, id):
            self._mismatch(operation, recipient, owned)

    def _wait(self, id: str, user: str, surface: str, spot: Spot) -> None:
        waiting = self._waiting.get(id)
        if waiting is None:
            waiting = {}
            self._waiting.keep(id, waiting)
        waiting.setdefault(user, (surface, spot, self._question.get(user) if self._asking.get(user, 0) > 0 else None))

    def _welcome(self, operation: Operation, user: str, frame: Frame) -> None:
        """The welcome says who the target takes the connection for; some say only the first characters."""
        account, said = self._account.get(user), frame.ids.get("user_id", "").rstrip(".…*")
        if not account or not said or said in self._owned:
            return
        if account == said or (len(said) >= 8 and account.startswith(said)):
            return
        place = ("identity not bound", user, user, operation.surface)
        spot = Spot(operation.index, place_of(operation, frame))
        if not self._found.count(*place, spot=spot):
            explanation = (
                f"Let c = #{operation.index} welcome {user}'s connection under an id that is not {user}'s. Whoever "
                f"else is welcomed so shares {user}'s identity, so the connection is not bound to its token: "
                "a contradiction."
            )
            self._found.add(*place, (operation.index,), explanation, spot=spot)

    def _mismatch(self, operation: Operation, recipient: str, owned: Owned) -> None:
        spot = Spot(operation.index, place_of(operation))
        self._record(owned, recipient, operation.surface, spot, operation.call)

    def _record(self, owned: Owned, recipient: str, surface: str, spot: Spot, call: int | None) -> None:
        kind, index = f"foreign {owned.kind} id", spot.at
        if self._found.count(kind, owned.user, recipient, surface, spot=spot):
            return
        explanation = (
            f"Let o = #{owned.index} by which {owned.kind} t is {owned.user}'s, and r = #{index} in which {recipient} "
            f"is sent the id of t. {recipient} never named t before r, so r carries what is {owned.user}'s: "
            "a contradiction."
        )
        shown = witness(owned.thread, owned.index, index, call)
        self._found.add(kind, owned.user, recipient, surface, shown, explanation, spot=spot)

    def finish(self) -> Judgement:
        self._deliveries += self._frames
        self._observers |= self._life.observers()
        return Judgement(
            checker="C2",
            findings=self._found.findings(),
            doubts=tuple(self._doubts()),
            evidence={
                "deliveries": self._deliveries,
                "own ids seen": self._compared,
                "users looking": len(self._observers),
                **({"frames of unknown shape": self._shapeless} if self._shapeless else {}),
            },
        )

    def _doubts(self) -> list[str]:
        doubts = []
        if not self._owned:
            doubts.append("no account, thread or run is known: there is nothing to compare with")
        elif not self._deliveries:
            doubts.append("nothing was delivered to anybody")
        elif not self._own:
            doubts.append("nobody was sent an id of their own: there is no positive control")
        elif not any(self._observers - {user} for user in self._own):
            doubts.append("nobody but the owner was looking")
        if self._frames:
            doubts += self._life.silent(self._own)
        return doubts


def _accounts(text: str) -> list[str]:
    """Every UUID in a text; user ids look like that wherever they are put."""
    return [text[max(match.start() - 8, 0) : match.end() + 12] for match in _UUID.finditer(text)]
