"""A credential that was ended is dead everywhere: on REST, and on sockets that were opened with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from netra_probe.checkers.base import Checker, CheckerRun, Window
from netra_probe.checkers.findings import place_of, plain, told
from netra_probe.checkers.principals import witness
from netra_probe.checkers.verdict import Finding, Judgement, Pair, Place
from netra_probe.history import actions
from netra_probe.history.frames import read_frame
from netra_probe.history.operation import PROBE, Operation, Outcome

#: Frames that say nothing of anybody's business; after the end they show that the socket still lives.
_SIGNS_OF_LIFE = frozenset(("pong", "ping", "heartbeat", "heartbeat_ack", "ack"))
#: Frames by which a target takes leave.
_LEAVE = frozenset(("error", "auth_error", "session_expired", "session_ended", "token_expired", "connection_closed"))
#: A normal closure is what the probe itself does when it leaves: it says nothing of the target.
_NORMAL = 1000
_OUTLIVES = "socket outlives its credential"
_ALIVE = "socket alive after the end"


class LifecycleChecker(Checker):
    """After logout, revocation or expiry, and a moment of grace, neither requests nor live sockets go on.

    The end of a credential is an operation ``revoke``, ``expire``, ``logout``, ``disable`` or ``delete`` of the user
    (``detail.credential`` names it where the user has several), or an answered ``POST …/logout``. What comes after it
    with ``detail`` ``attempt`` and ``expect: "refused"`` (and the same ``credential``) must be refused; sockets that
    were open then must close, or at least fall silent.

    >>> def op(index, type, action, surface="rest", **more):
    ...     return Operation(index=index, time=index * 10**9, type=type, action=action, surface=surface, user="alice",
    ...                      connection="alice/rest", **more)
    >>> history = [
    ...     op(0, "invoke", "GET /auth/me"), op(1, "ok", "GET /auth/me", call=0, status=200),
    ...     op(2, "ok", "revoke", surface="probe"),
    ...     op(9, "invoke", "GET /auth/me", detail={"attempt": "after revoke", "expect": "refused"}),
    ...     op(10, "ok", "GET /auth/me", call=9, status=200),
    ... ]
    >>> LifecycleChecker()(history).findings[0].summary
    "alice's credential was accepted after revoke through GET /auth/me (1 answer)"

    Arguments:
        grace: seconds that an end may take to reach every service and every socket.
    """

    id = "C7"
    guarantee = "A credential that was ended is refused by every service and ends the sockets that were opened with it."
    source = "OWASP WSTG-SESS-06 and WSTG-SESS-07; OWASP ASVS 5.0 7.4.1 and 7.4.2; CWE-613"
    complexity = "time O(n), memory O(sockets + ends + open requests)"
    inconclusive_when = (
        "no credential was ended, it was not shown to work before, it was not used after the grace where one is "
        "needed, or a socket of it was neither closed nor gave any sign afterwards"
    )

    def __init__(self, *, grace: float = 2.0) -> None:
        self.grace = grace

    @property
    def options(self) -> Mapping[str, Any]:
        return {} if self.grace == 2.0 else {"grace": self.grace}

    def begin(self, window: Window) -> CheckerRun:
        return _LifecyclePass(window.start, self.grace)


@dataclass
class _End:
    """The end of one credential (or of all of a user's, where ``credential`` is ``None``)."""

    index: int
    begun: int | None
    time: int
    user: str
    how: str
    credential: str | None
    in_window: bool
    worked: int | None
    #: Sockets that were open then: name → index of the first operation that settled what became of them.
    sockets: dict[str, int | None] = field(default_factory=dict)
    refused: int = 0
    answered: int = 0

    def means(self, call: Operation) -> bool:
        """Whether an attempt uses the credential that was ended, and not a forgery or another session's."""
        given, attempt = call.detail.get("credential"), str(call.detail.get("attempt", ""))
        if given is None and attempt in actions.ATTEMPTS_WITH_ENDED_TOKENS:
            return True
        if self.credential is not None:
            return bool(given == self.credential)
        return given is not None or attempt.startswith("after ")


@dataclass
class _Group:
    witness: tuple[int, ...]
    surface: str
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    connections: set[str] = field(default_factory=set)


@dataclass
class _Socket:
    user: str
    credential: str | None
    opened: int
    #: Whether it was opened with a credential that must be refused: what lives on it is for `tokens` to say.
    tried: bool = False


class _LifecyclePass(CheckerRun):
    def __init__(self, start: int, grace: float) -> None:
        self._start = start
        self._grace = int(grace * 1e9)
        self._open: dict[int, Operation] = {}
        self._sockets: dict[str, _Socket] = {}
        #: (user, credential) → the last operation that showed it working.
        self._worked: dict[tuple[str, str | None], int] = {}
        self._ends: dict[str, list[_End]] = {}
        #: (kind, user, how) → what shows it first; and by operation the first that shows it, and how many did.
        self._groups: dict[tuple[str, str, str], _Group] = {}
        self._closed = 0
        #: Requests that are answered without any credential, too: their answers say nothing of one.
        self._public: set[str] = set()
        #: Uses of a credential after its end that were answered: they count once it is known what needs a credential.
        self._used_late: list[tuple[_End, Operation, Operation]] = []
        #: User → the sockets that the target has closed, the last one last, with when it did.
        self._dismissed: dict[str, list[tuple[str, _Socket, Operation]]] = {}

    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        if surface == PROBE:
            return action in actions.ENDINGS or action == actions.DISTURB
        # An attempt is recorded again as the request that it consists of, whose body may say no with a 200.
        return surface in ("auth", "rest", "websocket") and action != actions.ATTEMPT

    def feed(self, operation: Operation) -> None:
        if operation.user is None:
            self._anonymous(operation)
            return
        action = operation.action
        if action == actions.RECEIVE:
            if self._ends and operation.user in self._ends:
                self._frame(operation, operation.user)
        elif action == actions.CONNECT:
            self._connected(operation, operation.user)
        elif action == actions.CLOSED:
            self._left(operation, operation.user)
        elif operation.type == "invoke":
            self._open[operation.index] = operation
        elif operation.surface == PROBE:
            what = str(operation.detail.get("what", "")) if action == actions.DISTURB else action
            if what in actions.ENDINGS and operation.type == "ok":
                self._ended(operation, operation.user, what, operation.detail.get("credential"))
        elif operation.call is not None:
            call = self._open.pop(operation.call, None)
            if call is not None and call.surface != "websocket":
                self._answered(call, operation, operation.user)

    def _anonymous(self, operation: Operation) -> None:
        """Note which requests need no credential; one with a forged one shows nothing of that."""
        if operation.surface not in ("auth", "rest"):
            return
        if operation.type == "invoke":
            name = operation.detail.get("attempt")
            if name is None or str(name).startswith("no token"):
                self._open[operation.index] = operation
        elif operation.call is not None:
            call = self._open.pop(operation.call, None)
            if call is not None and operation.type == "ok" and not _says_no(operation):
                self._public.add(_what(call))

    # -- credentials ----------------------------------------------------------------------------------------------

    def _ended(
        self, operation: Operation, user: str, how: str, credential: object, *, begun: int | None = None
    ) -> None:
        name = str(credential) if credential is not None else None
        worked = self._worked.get((user, name), self._worked.get((user, None)))
        end = _End(
            index=operation.index,
            begun=begun,
            time=operation.time,
            user=user,
            how=how,
            credential=name,
            in_window=operation.index >= self._start,
            worked=worked,
            sockets={
                socket_name: None
                for socket_name, socket in self._sockets.items()
                if socket.user == user and not socket.tried and name in (None, socket.credential)
            },
        )
        # A quick target closes them before it has answered the request that ends the credential.
        for socket_name, socket, closed in reversed(self._dismissed.get(user, [])):
            if closed.index < begun if begun is not None else closed.time < operation.time - self._grace:
                break
            if name is None or socket.credential == name:
                end.sockets[socket_name] = closed.index
                self._closed += end.in_window
        self._ends.setdefault(user, []).append(end)

    def _answered(self, call: Operation, done: Operation, user: str) -> None:
        credential = call.detail.get("credential")
        name = str(credential) if credential is not None else None
        expected = call.detail.get("expect")
        if done.type == "ok" and expected is None:
            self._worked[(user, name)] = done.index
            self._worked[(user, None)] = done.index
            if call.action.endswith("/logout"):
                self._ended(done, user, "logout", name, begun=call.index)
            return
        if expected != "refused" or "owner" in call.detail:
            return
        for end in self._ends.get(user, ()):
            if not end.means(call) or call.time < end.time + self._grace or not end.in_window:
                continue
            if done.type == "ok" and not _says_no(done):
                self._used_late.append((end, call, done))
            elif done.type != "info":
                end.refused += 1

    # -- sockets ---------------------------------------------------------------------------------------------------

    def _connected(self, operation: Operation, user: str) -> None:
        name = operation.connection or ""
        if operation.type == "invoke":
            self._open[operation.index] = operation
            return
        call = self._open.pop(operation.call, None) if operation.call is not None else None
        given = (call or operation).detail.get("credential", operation.detail.get("credential"))
        expected = (call or operation).detail.get("expect")
        if operation.type == "ok":
            credential = str(given) if given is not None else None
            tried = expected == "refused"
            self._sockets[name] = _Socket(user=user, credential=credential, opened=operation.index, tried=tried)
            if expected is None:
                self._worked[(user, credential)] = operation.index
                self._worked[(user, None)] = operation.index
        if expected == "refused" and call is not None:
            for end in self._ends.get(user, ()):
                late = call.time >= end.time + self._grace and end.in_window and end.means(call)
                if late and operation.type == "fail":
                    end.refused += 1
                elif late and operation.type == "ok":
                    # Accepted is not yet taken for anybody: the welcome, judged as a frame, decides.
                    end.sockets[name] = None

    def _left(self, operation: Operation, user: str) -> None:
        name = operation.connection or ""
        socket = self._sockets.pop(name, None)
        by_target = operation.status != _NORMAL or operation.detail.get("by") == "target"
        if socket is not None and by_target:
            self._dismissed.setdefault(user, []).append((name, socket, operation))
        for end in self._ends.get(user, ()):
            if name in end.sockets and end.sockets[name] is None and by_target:
                end.sockets[name] = operation.index
                self._closed += end.in_window

    def _frame(self, operation: Operation, user: str) -> None:
        name = operation.connection or ""
        for end in self._ends[user]:
            if name not in end.sockets or operation.time < end.time + self._grace:
                continue
            frame = read_frame(operation.payload)
            if frame.name in _LEAVE:
                continue
            if end.sockets[name] is None:
                end.sockets[name] = operation.index
            if end.in_window and operation.index >= self._start:
                kind = (
                    "socket alive after the end" if frame.name in _SIGNS_OF_LIFE else "socket outlives its credential"
                )
                socket = self._sockets.get(name)
                opened = socket.opened if socket else None
                self._group((kind, user, end.how), place_of(operation, frame), end, operation, opened=opened)

    def _group(
        self, place: tuple[str, str, str], named: str, end: _End, *operations: Operation, opened: int | None = None
    ) -> None:
        shown = operations[-1]
        group = self._groups.get(place)
        if group is None:
            indices = (end.worked, end.begun, end.index, opened, *(operation.index for operation in operations))
            group = self._groups[place] = _Group(witness(*indices), shown.surface)
        first, count = group.places.get(named, (shown.index, 0))
        group.places[named] = (first, count + 1)
        group.connections.add(shown.connection or "")

    def finish(self) -> Judgement:
        for end, call, done in self._used_late:
            if _what(call) not in self._public:
                end.answered += 1
                self._group(("credential works after its end", end.user, end.how), plain(call.action), end, call, done)
        ends = [end for user_ends in self._ends.values() for end in user_ends if end.in_window]
        # A socket that carries events is alive, too: that is said once.
        carrying = {
            (place[1:], connection)
            for place, group in self._groups.items()
            if place[0] == _OUTLIVES
            for connection in group.connections
        }
        findings = [
            _finding(place, group)
            for place, group in sorted(self._groups.items(), key=lambda item: item[0])
            if place[0] != _ALIVE or any((place[1:], connection) not in carrying for connection in group.connections)
        ]
        doubts = [] if ends else ["no credential was ended"]
        for end in ends:
            what = f"{end.how} of {end.user} (#{end.index})"
            if end.worked is None:
                doubts.append(f"{what}: nothing shows that the credential worked before")
            if not end.refused and not end.answered and not end.sockets:
                doubts.append(f"{what}: the credential was not used afterwards")
            silent = sorted(name for name, settled in end.sockets.items() if settled is None)
            if silent:
                doubts.append(f"{what}: {', '.join(silent)} neither was closed nor gave any sign")
        return Judgement(
            checker=LifecycleChecker.id,
            findings=tuple(findings),
            doubts=tuple(doubts),
            evidence={
                "credentials ended": len(ends),
                "uses refused after the end": sum(end.refused for end in ends),
                "sockets closed after the end": self._closed,
            },
        )


def _what(call: Operation) -> str:
    """A request as one tells it from others: by method and path."""
    return f"{call.action.partition(' ')[0]} {call.detail.get('path', call.action)}"


def _says_no(done: Operation) -> bool:
    """A refusal in the body of a 200: ``valid``, ``success`` or ``authenticated`` false."""
    text = done.payload.replace(" ", "").lower()
    return any(f'"{word}":false' in text for word in ("valid", "success", "authenticated", "active"))


_STORIES = {
    "credential works after its end": ("{owner}'s credential was accepted after HOW", "answer"),
    _OUTLIVES: ("{owner}'s socket went on receiving after HOW", "frame"),
    _ALIVE: ("{owner}'s socket stayed open and answered after HOW", "frame"),
}
_WHY = {
    "credential works after its end": "the answer grants what nobody may have any more",
    _OUTLIVES: "the socket goes on carrying the user's events",
    _ALIVE: "the socket still answers",
}


def _finding(place: tuple[str, str, str], group: _Group) -> Finding:
    kind, user, how = place
    story, unit = _STORIES[kind]
    return told(
        Finding(
            checker=LifecycleChecker.id,
            kind=kind,
            summary=kind,
            story=story.replace("HOW", how),
            unit=unit,
            victims=(user,),
            recipients=(user,),
            surface=group.surface,
            operations=tuple(
                Place(operation=name, pairs=(Pair(owner=user, recipient=user, count=count, example=first),))
                for name, (first, count) in sorted(group.places.items())
            ),
            witness=group.witness,
            explanation=(
                f"Let e be the {how} of {user}. It ended the credential; after the grace {_WHY[kind]}: a contradiction."
            ),
        )
    )
