"""Users that the probe creates: their accounts, canaries, verbs and removal."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from netra_probe.clients.agent import Run, ask
from netra_probe.clients.auth import AuthClient
from netra_probe.clients.policy import slowed_down
from netra_probe.clients.replies import Answered, Closed, Refused, Reply, Silent, Unreachable, body_of, why_not
from netra_probe.clients.rest import BackendClient
from netra_probe.clients.route import NetworkRoute
from netra_probe.clients.websocket import Handshake, Opened, Received, Socket
from netra_probe.errors import ParameterError, TargetError
from netra_probe.history import actions
from netra_probe.history.canary import mint
from netra_probe.history.runs import Following
from netra_probe.history.secret import Secret
from netra_probe.investigation.context import InvestigationContext
from netra_probe.target.deployment import Mode

_NAMES = (
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "kim", "liam", "mallory",
    "nina", "olivia", "peggy", "quinn", "rupert", "sybil", "trent", "uma", "victor", "wendy", "xavier", "yara", "zoe",
)  # fmt: skip

#: The status of a request that came too early, and the seconds that one may be kept waiting for an account in all.
TOO_MANY, LONGEST_QUEUE = 429, 60.0

#: A session is renewed when less than this share of its access token's life is left.
RENEW_BELOW = 0.5

#: Questions whose runs a new one does not take for its own.
KEPT_QUESTIONS = 50


def alias(number: int) -> str:
    """The name by which evidence calls the user: ``alice``, ``bob``, … ``zoe``, ``user-27``, …"""
    return _NAMES[number] if number < len(_NAMES) else f"user-{number + 1}"


class User:
    """One account on the target, its clients and what it can do.

    >>> run = await alice.ask("Where do I overspend?")   # doctest: +SKIP

    Arguments of note: ``name`` is the alias; ``id`` the target's user id; ``socket`` the open connection, if any.
    """

    def __init__(
        self,
        probe: InvestigationContext,
        *,
        name: str,
        email: str,
        password: Secret,
        backend: int,
        existing: bool = False,
    ) -> None:
        self.name = name
        #: Whether the account was there before the probe, which therefore never removes it.
        self.existing = existing
        #: Threads that the user had before, and those that the probe has made.
        self.threads_before: frozenset[str] = frozenset()
        self.threads_made: list[str] = []
        self._questions_asked: deque[Following] = deque(maxlen=KEPT_QUESTIONS)
        #: Whether a registration went out whose outcome is not known: the account may be there.
        self.unsure = False
        self.email = email
        #: What makes the user's canaries different from everybody else's, also from a former user's of the address.
        self.identity = email
        self.id = ""
        self.socket: Socket | None = None
        self.opened: Opened | None = None
        self._detour: NetworkRoute | None = None
        self._probe = probe
        self._password = password
        target = probe.target
        #: Position of the user's backend in ``target.backend_urls``.
        self.backend_number = backend % len(target.backend_urls)
        self._sessions = itertools.count(1)
        self.auth = self.new_session()
        self.auth.http.keeper = self
        self._renewing = asyncio.Lock()
        #: Tokens of the main session that were renewed: whoever still holds one means the session.
        self._former: set[str] = set()
        #: Socket → the time of our clock at which the token that it was opened with expires.
        self._good_until: dict[str, float] = {}
        #: Socket → questions that are open on it.
        self._asking: dict[str, int] = {}
        self.rest = BackendClient(probe.wire.http(self.backend_url, surface="rest", user=name, backend=self.backend))
        if probe.wire.live:
            self.rest.http.keeper = self
        self._epochs: dict[str, itertools.count[int]] = {}
        self._connections = itertools.count(1)
        self._questions = itertools.count(1)
        self._thread = ""

    @property
    def backend(self) -> str:
        return f"backend-{self.backend_number + 1}"

    @property
    def backend_url(self) -> str:
        return self._probe.target.backend_urls[self.backend_number]

    @property
    def detour(self) -> NetworkRoute | None:
        """The way that the user's next requests and connections take, such as through the nemesis; None is straight."""
        return self._detour

    @detour.setter
    def detour(self, detour: NetworkRoute | None) -> None:
        self._detour = self.auth.http.detour = self.rest.http.detour = detour

    def canary(self, field: str, surface: str) -> str:
        """A fresh canary of this user for a field and a surface; each call is a new epoch."""
        epoch = next(self._epochs.setdefault(f"{field}|{surface}", itertools.count()))
        canary = mint(
            seed=self._probe.seed, identity=self.identity, user=self.name, field=field, surface=surface, epoch=epoch
        )
        self._probe.history.observe(
            actions.MINT,
            user=self.name,
            detail={"token": canary.token, "field": field, "surface": surface, "epoch": epoch, "control": False},
        )
        return canary.token

    async def register(self) -> Reply:
        """Create the account through the real route; its display name is the first canary."""
        self._probe.history.redactor.know(self._password.reveal(), "password")
        name = f"{self.name.title()} {self.canary('name', 'auth')}"
        self.unsure = True
        reply = await self.in_time(lambda: self.auth.register(email=self.email, password=self._password, name=name))
        self.unsure = (
            not reply and not isinstance(reply, Refused) and not (isinstance(reply, Unreachable) and not reply.sent)
        )
        if reply:
            self._adopt()
        return reply

    def forget(self) -> None:
        """The account is gone, and there is nothing of it to be removed any more."""
        self.id, self.unsure = "", False
        self.auth.access = self.auth.refreshing = self.rest.http.token = None

    async def login(self) -> Reply:
        """Log in again; the clients use the new tokens from now on."""
        self._probe.history.redactor.know(self._password.reveal(), "password")
        reply = await self.in_time(lambda: self.auth.login(email=self.email, password=self._password))
        if reply:
            self._adopt()
        return reply

    async def token_for(self, held: Secret | None) -> Secret | None:
        """The token to send now by a client that holds this one: the main session's, renewed before it expires.

        Another session's token stays what it is, and so does that of a session that was ended on purpose.
        """
        if held is None or not self._is_main(held):
            return held
        await self.renew()
        return self.auth.access

    def _is_main(self, token: Secret) -> bool:
        access = self.auth.access
        return access is not None and (token.reveal() == access.reveal() or token.reveal() in self._former)

    async def renew(self) -> None:
        """Log in again if less than half of the access token's life is left, so that no case outlives its token."""
        auth = self.auth
        if auth.left >= RENEW_BELOW or auth.ended or not self._probe.wire.live:
            return
        async with self._renewing:
            if auth.left >= RENEW_BELOW or auth.access is None:
                return
            before = auth.access.reveal()
            if await self.login() or (auth.refreshing is not None and await auth.refresh()):
                self._adopt()
                self._former.add(before)

    def refused(self, action: str, status: int) -> None:
        """Note where an ordinary request was refused for a reason that is the probe's own."""
        if status == TOO_MANY:
            self._probe.notes.limit(slowed_down(self.name, action))
        elif self.auth.seconds_left <= 0:
            self._probe.notes.limit(f"{self.name}'s token had expired: {action} was refused")

    async def in_time(self, ask: Callable[[], Awaitable[Reply]]) -> Reply:
        """The reply; where the target says that it is too early (429) the time that it names is waited for."""
        waited = 0.0
        while True:
            reply = await ask()
            pause = reply.retry_after if isinstance(reply, Refused) and reply.status == TOO_MANY else None
            if pause is None or waited + pause > LONGEST_QUEUE:
                return reply
            waited += max(pause, 1.0)
            await self._probe.wire.pause(pause)

    async def another_session(self) -> AuthClient | None:
        """Log in once more, beside the session that the clients use; ``None`` when the target lets nobody."""
        self._probe.history.redactor.know(self._password.reveal(), "password")
        auth = self.new_session()
        if await self.in_time(lambda: auth.login(email=self.email, password=self._password)):
            return auth
        await auth.http.close()
        return None

    def new_session(self) -> AuthClient:
        """A client for a further session of this user, which holds no token yet."""
        http = self._probe.wire.http(self._probe.target.auth_url, surface="auth", user=self.name)
        return AuthClient(http, credential=f"{self.name}-{next(self._sessions)}")

    def connection_name(self) -> str:
        """A name for a further connection of this user: ``alice/ws-2``."""
        return f"{self.name}/ws-{next(self._connections)}"

    def _adopt(self) -> None:
        self.rest.http.token = self.auth.access
        known = self.id
        self.id = self.auth.user_id or known
        if self.id and not known:
            if (gate := self._probe.wire.gate) is not None:
                gate.belongings.know(self.name, email=self.email, id=self.id)
            detail = {"email": self.email} | ({"existing": True} if self.existing else {})
            self._probe.history.observe(actions.PRINCIPAL, user=self.name, ids={"user_id": self.id}, detail=detail)

    async def connect(
        self,
        *,
        backend: int | None = None,
        token: Secret | None = None,
        attempt: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Opened:
        """Open a WebSocket with the user's own token (or the one given) and keep it as ``socket``.

        ``query`` is what the URL says besides, such as where to resume.
        """
        if token is None:
            await self.renew()
        opened = await self._probe.wire.open(
            Handshake(
                name=self.connection_name(),
                user=self.name,
                backend=self.backend_number if backend is None else backend % len(self._probe.target.backend_urls),
                token=token or self.auth.access,
                attempt={**(self.auth.mark if token is None else {}), **(attempt or {})},
                query=query,
                detour=self._detour,
            )
        )
        if isinstance(opened, Socket):
            self.socket = opened
            if token is None:
                self._good_until[opened.name] = time.monotonic() + self.auth.seconds_left
        self.opened = opened
        return opened

    async def ask(
        self,
        question: str,
        *,
        thread: str | None = None,
        new_thread: bool = False,
        socket: Socket | None = None,
        nonce: str | None = None,
        claims: Mapping[str, Any] | None = None,
        attempt: Mapping[str, Any] | None = None,
    ) -> Run:
        """Put a question to the agent over the user's socket and follow the run to its end.

        The question carries a fresh canary; it goes into the user's current thread, or one made for it.

        Arguments:
            socket: over this connection instead of the user's last one.
            nonce: the question's own id instead of a fresh one.
            claims: what the message says besides, such as somebody else's ids.
            attempt: marks a question that must not reach what it claims.
        """
        socket = socket or await self._lasting_socket()
        if socket is None:
            if self.opened is None and self._probe.target.mode is Mode.OBSERVE and self._probe.wire.live:
                self._probe.notes.withhold("mode observe: asking an agent needs mode probe")
            return Run(user=self.name, outcome=Closed(code=1006, error="no socket"), run_id="", thread_id="", events=())
        if (gate := self._probe.wire.gate) is not None:
            await gate.step_in()
        canary = self.canary("question", "websocket")
        if thread is None:
            if new_thread or not self._thread:
                self._thread = await self.new_thread()
            thread = self._thread
        self._asking[socket.name] = self._asking.get(socket.name, 0) + 1
        try:
            run = await ask(
                self._probe.history,
                socket,
                f"{question} [{canary}]",
                nonce=nonce or f"{self.name}-question-{next(self._questions)}",
                thread_id=thread,
                kind=self._probe.generator,
                patience=self._probe.patience,
                beside=self._questions_asked,
                claims=claims,
                attempt=attempt,
            )
        finally:
            self._asking[socket.name] -= 1
        if isinstance(run.outcome, Closed) and self._expired(socket):
            self._probe.notes.limit(f"{self.name}'s token had expired: {socket.name} was closed in the middle of a run")
        return run

    def _expired(self, socket: Socket) -> bool:
        """Whether the token that a socket was opened with has expired."""
        return time.monotonic() >= self._good_until.get(socket.name, math.inf)

    async def _lasting_socket(self) -> Socket | None:
        """The user's socket; another one in its place where its token has expired, or will before a run is over."""
        socket = self.socket
        if socket is None or self._asking.get(socket.name) or not self._probe.wire.live:
            return socket
        soon = time.monotonic() + min(self._probe.timeouts.run, self.auth.lifetime * RENEW_BELOW)
        if soon < self._good_until.get(socket.name, math.inf):
            return socket
        if socket.closed is not None and not self._expired(socket):
            return socket  # it was closed for another reason, which is what one wants to see
        number = int((socket.backend or "backend-1").rpartition("-")[2]) - 1
        opened = await self.connect(backend=number)
        if isinstance(opened, Socket):
            await socket.close()
            return opened
        return socket

    async def until_event(self, name: str) -> Received | Silent | Closed:
        """Wait until the user's socket has received such an event."""
        if self.socket is None:
            return Closed(code=1006, error="no socket")
        return await self.socket.until(lambda frame: frame.name == name, within=self._probe.timeouts.run)

    async def cut(self) -> None:
        """Cut the user's connection as a dying client does; the disturbance is part of the history."""
        if self.socket is not None:
            self._probe.history.observe(
                actions.DISTURB,
                user=self.name,
                connection=self.socket.name,
                detail={"what": "cut", "target": self.socket.name},
            )
            await self.socket.abort()

    async def new_thread(self) -> str:
        """Create a thread whose title is a canary; returns its id, or "" when the target makes none over REST."""
        reply = await self.rest.create_thread(f"Budget {self.canary('title', 'rest')}")
        made = str(body_of(reply).get("id", ""))
        self.threads_made += [made] if made else []
        return made

    async def close(self) -> None:
        """Close the socket and the HTTP connections; the account stays."""
        if self.socket is not None:
            await self.socket.close()
            self.socket = None
        await self.auth.http.close()
        await self.rest.http.close()

    def __repr__(self) -> str:
        return f"<User {self.name}>"


async def log_in_accounts(probe: InvestigationContext, number: int, *, first: int, known: Sequence[User]) -> list[User]:
    """The next of the target's existing accounts, logged in: all that are left where there are not enough.

    Raises ParameterError when there are not enough for the users that a run begins with, and TargetError when one of
    them cannot log in.
    """
    named = len(probe.target.accounts)
    if first + number > named:
        reason = f"target.accounts names {named} account(s), {first + number} users are needed"
        if first == 0:
            raise ParameterError(f"{reason}; add accounts, or lower the parameter `users`.")
        probe.notes.withhold(reason)
    users = [
        User(
            probe,
            name=alias(position),
            email=probe.target.accounts[position].email,
            password=probe.target.account_password(position),
            backend=position,
            existing=True,
        )
        for position in range(first, min(first + number, named))
    ]
    try:
        for position, user in enumerate(users, start=first):
            await _log_in(probe, user, position, [*known, *users[: position - first]])
    except BaseException:
        for user in users:
            await user.close()
        raise
    return users


async def _log_in(probe: InvestigationContext, user: User, position: int, others: list[User]) -> None:
    """Log in to an existing account and note what is in it."""
    reply = await user.login()
    if not reply:
        why = why_not(reply, "POST /auth/login") or repr(reply)
        if isinstance(reply, Refused):
            why += " Check that account's e-mail and password."
        raise TargetError(
            f"{probe.target.auth_url} did not let {user.name} in, who is target.accounts.{position}: {why}"
        )
    if any(user.id and user.id == other.id for other in others):
        raise TargetError(
            f"target.accounts.{position} is the same user as another one; name accounts of different users."
        )
    user.threads_before = frozenset(thread_ids(await user.rest.threads()))


def thread_ids(listed: Reply) -> list[str]:
    """The ids in a list of threads, however it is wrapped."""
    threads: Any = listed.body if isinstance(listed, Answered) else []
    if isinstance(threads, dict):
        threads = threads.get("threads") or threads.get("items") or threads.get("data") or []
    ids = [thread.get("id") for thread in threads if isinstance(thread, dict)] if isinstance(threads, list) else []
    return [id for id in ids if isinstance(id, str)]
