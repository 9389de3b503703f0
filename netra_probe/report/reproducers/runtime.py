"""What every reproducer carries with it: users, requests, sockets, and how a leak is told from none.

The text below the line is copied into each reproducer as it stands, so that one needs nothing but httpx and websockets.
"""

from __future__ import annotations

# ---- what follows is the same in every reproducer ----------------------------------------------------------------
import asyncio
import base64
import hashlib
import hmac
import json
import os
import secrets
import ssl
import sys
import urllib.parse
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import httpx
import websockets

LEAKS, FIXED, CANNOT_TELL = 1, 0, 3
#: Seconds that an answer, and the end of a run, may take.
TIMEOUT = float(os.environ.get("TIMEOUT", "20"))
#: Seconds in which the end of a session has to reach every service.
GRACE = 2.5
ENDS = ("agent_completed", "agent_error", "agent_cancelled", "agent_stopped", "final_report", "agent_response_complete")
LEAVE = ("error", "error_message", "auth_error", "session_expired", "session_ended", "token_expired")
IDS = ("run_id", "thread_id", "turn_id", "message_id", "user_id")


class CannotTell(Exception):
    """Nothing follows from what was seen: the target is unreachable, or the positive control is missing."""


def forms(secret: str) -> set[str]:
    """How a secret may look: as it is, in small letters, URL-, hex- and base64-encoded."""
    raw = secret.encode()
    found = {secret, secret.lower(), urllib.parse.quote(secret), "".join(f"%{byte:02X}" for byte in raw)}
    found |= {raw.hex(), raw.hex().upper()}
    for lead in range(3):  # base64 looks different depending on where in a group of three the secret begins
        text = base64.b64encode(b"\0" * lead + raw).decode()
        middle = text[-(-lead * 8 // 6) : (lead + len(raw)) * 8 // 6]
        found |= {middle, middle.replace("+", "-").replace("/", "_")}
    return found


def shows(text: str, secret: str) -> bool:
    """Whether a text holds a secret, in whatever form."""
    return any(form in text for form in forms(secret))


def fresh_secret() -> str:
    """A canary: whoever sees it and is not its owner sees what is not theirs."""
    return "CANARY" + base64.b32encode(secrets.token_bytes(10)).decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def b64(data: bytes | str) -> str:
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(token: str) -> dict[str, Any]:
    """What a JSON Web Token says."""
    try:
        return dict(json.loads(unb64(token.split(".")[1])))
    except (ValueError, IndexError):
        raise CannotTell("the token is no JSON Web Token: it cannot be forged in this way") from None


def forge(header: str, body: dict[str, Any], key: bytes | None = None, signature: str = "", dot: str = ".") -> str:
    """A JSON Web Token as an attacker makes it: signed with ``key``, or with this signature."""
    text = f"{b64(header)}.{b64(json.dumps(body, separators=(',', ':')))}"
    if key is not None:
        signature = b64(hmac.new(key, text.encode(), hashlib.sha256).digest())
    return f"{text}{dot}{signature}"


def tampered(token: str) -> str:
    """A valid token with another signature."""
    head, dot, signature = token.rpartition(".")
    return head + dot + "".join("B" if one == "A" else "A" for one in signature)


class Answer:
    """What a request was answered."""

    def __init__(self, status: int, text: str) -> None:
        self.status, self.text = status, text
        try:
            self.json: Any = json.loads(text)
        except ValueError:
            self.json = None

    @property
    def granted(self) -> bool:
        """Whether the request was done: a 200 may say no in its body."""
        said = self.text.replace(" ", "").lower()
        no = any(f'"{word}":false' in said for word in ("valid", "success", "authenticated", "active"))
        return self.status < 400 and not no

    def at(self, *path: str | int) -> str:
        """A value in the body, such as the id of what was made."""
        value = self.json
        try:
            for step in path:
                value = value[step]
        except (KeyError, IndexError, TypeError):
            raise CannotTell(f"answer {self.status} has no {'.'.join(map(str, path))}: {self.text[:120]}") from None
        return str(value)


class Frame:
    """A frame of any dialect: the event's name, and the ids in its root, its body and its user context."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            root = json.loads(text)
        except ValueError:
            root = None
        self.root: dict[str, Any] = root if isinstance(root, dict) else {}
        bodies = [one for name in ("payload", "data") if isinstance(one := self.root.get(name), dict)]
        context = self.root.get("user_context")
        inner = next((str(body["event"]) for body in bodies if body.get("event")), "")
        kind = str(self.root.get("type") or self.root.get("event_type") or "")
        wrapper = kind in ("", "system_message", "agent_progress", "agent_update", "message", "event")
        self.name = str(self.root.get("event") or (inner if wrapper and inner else kind))
        self.ids: dict[str, str] = {}
        for place in (self.root, *bodies, *([context] if isinstance(context, dict) else [])):
            for name in IDS:
                if place.get(name):
                    self.ids.setdefault(name, str(place[name]))


class Run:
    """A question, and the run that answers it."""

    def __init__(self, message: dict[str, Any]) -> None:
        payload = message.get("payload")
        body: dict[str, Any] = payload if isinstance(payload, dict) else {}
        self.known = {name: str(body.get(name) or message.get(name) or "") for name in ("turn_id", "thread_id")}
        self.known["message_id"] = str(message.get("message_id") or "")
        self.frames: list[Frame] = []
        self._run = ""

    @property
    def run_id(self) -> str:
        if not self._run:
            raise CannotTell("no event named the run of a question")
        return self._run

    def mine(self, frame: Frame) -> bool:
        """Whether a frame is of this run; one that names nothing may be."""
        named = [frame.ids[name] == known for name, known in self.known.items() if known and name in frame.ids]
        if self._run and "run_id" in frame.ids:
            named.append(frame.ids["run_id"] == self._run)
        mine = all(named)
        if mine and not self._run and named and frame.ids.get("run_id"):
            self._run = frame.ids["run_id"]
        if mine and (frame.name.startswith(("agent_", "tool_", "partial_")) or frame.name in ENDS):
            self.frames.append(frame)
        return mine

    def is_over(self, frame: Frame) -> bool:
        return self.mine(frame) and (frame.name in ENDS or frame.name in ("error", "error_message"))


class Socket:
    """A WebSocket of one user; everything that comes over it is kept."""

    def __init__(self, user: User, connection: Any) -> None:
        self.user, self.closed = user, False
        self.frames: list[Frame] = []
        self._connection, self._news = connection, asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for message in self._connection:
                text = message if isinstance(message, str) else message.decode("utf-8", "replace")
                frame = Frame(text)
                self.frames.append(frame)
                self.user.received(f"a frame {frame.name}", text)
                self._tell()
                if frame.name == "ping":
                    await self._connection.send('{"type":"pong"}')
        except websockets.ConnectionClosed:
            pass
        finally:
            self.closed = True
            self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def until(
        self, wanted: str | Callable[[Frame], bool], start: int = 0, within: float = TIMEOUT, count: int = 1
    ) -> bool:
        """Wait for so many frames of this name, or that fit; false when they do not come, or the socket closes."""
        fits = wanted if callable(wanted) else lambda frame: frame.name == wanted
        position = start
        try:
            async with asyncio.timeout(within):
                while True:
                    news = self._news
                    while position < len(self.frames):
                        position += 1
                        count -= fits(self.frames[position - 1])
                        if count <= 0:
                            return True
                    if self.closed:
                        return False
                    await news.wait()
        except TimeoutError:
            return False

    async def send(self, message: dict[str, Any]) -> None:
        text = json.dumps(message)
        self.user.sent.append(text)
        try:
            await self._connection.send(text)
        except websockets.ConnectionClosed:
            self.closed = True

    async def ask(self, message: dict[str, Any]) -> Run:
        """Put a question to an agent and wait for the end of its run, and a moment for its report."""
        run, start = Run(message), len(self.frames)
        await self.send(message)
        if await self.until(run.is_over, start) and not any(frame.name == "final_report" for frame in run.frames):
            await self.until(lambda frame: frame.name == "final_report" and run.mine(frame), start, within=1.0)
        return run

    async def answers(self) -> bool:
        """Whether it answers a ping: a silent socket shows nothing."""
        start = len(self.frames)
        await self.send({"type": "ping"})
        return await self.until("pong", start, within=5.0)

    def value(self, event: str, name: str) -> str:
        """An id in the last frame of this name."""
        for frame in reversed(self.frames):
            if frame.name == event and name in frame.ids:
                return frame.ids[name]
        raise CannotTell(f"no frame {event} with {name} came to {self.user.alias}")

    @property
    def text(self) -> str:
        """All that came over it."""
        return "\n".join(frame.text for frame in self.frames)

    async def close(self) -> None:
        await self._connection.close()
        await self._reader

    async def cut(self) -> None:
        """Go as a dying client does: without a word."""
        self._connection.transport.abort()
        await self._reader


class User:
    """One account with one session; ``world.nobody`` has neither."""

    def __init__(self, world: World, alias: str, like: User | None = None) -> None:
        self.world, self.alias = world, alias
        self.email, self.password, self.id, self.token, self.refresh_token = "", "", "", "", ""
        self.registered = False
        #: What was sent, and what came: (where, text). All sessions of one user share it.
        self.sent: list[str] = like.sent if like else []
        self.seen: list[tuple[str, str]] = like.seen if like else []
        self.sockets: list[Socket] = like.sockets if like else []

    def received(self, where: str, text: str) -> None:
        self.seen.append((where, text))

    async def call(
        self,
        method: str,
        path: str,
        *,
        backend: int = 0,
        auth: bool = False,
        line: str = "",
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> Answer:
        """A request with the own token; ``line`` names a TCP connection that several users share."""
        urls = self.world.backends
        url = (self.world.auth if auth else urls[backend % len(urls)]) + path
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        self.sent.append(f"{path} {json.dumps(body)}")
        answer = await self.world.send(line, method, url, headers={**sent, **(headers or {})}, **body)
        self.received(f"{method} {path.partition('?')[0]}", answer.text)
        return answer

    async def open(
        self, *, backend: int = 0, path: str = "/ws", headers: dict[str, str] | None = None, protocols: Any = None
    ) -> Socket:
        """A WebSocket with the own token; one that is refused is closed."""
        urls = self.world.backends
        url = "ws" + urls[backend % len(urls)].removeprefix("http") + path
        sent = {"Authorization": f"Bearer {self.token}"} if self.token and not protocols else {}
        try:
            connection = await websockets.connect(
                url, additional_headers={**self.world.headers, **sent, **(headers or {})}, subprotocols=protocols,
                open_timeout=TIMEOUT, max_size=2**24, compression=None, ping_interval=None, proxy=None,
                ssl=self.world.trust if url.startswith("wss") else None,
            )  # fmt: skip
        except websockets.InvalidStatus as error:
            if error.response.status_code >= 500:
                raise CannotTell(f"{url.partition('?')[0]} answered {error.response.status_code}") from None
            return Refused(self)
        socket = Socket(self, connection)
        self.sockets.append(socket)
        await socket.until(lambda frame: frame.name in ("connection_established", "connect", *LEAVE), within=5.0)
        if any(frame.name in LEAVE for frame in socket.frames):
            await socket.until(lambda frame: False, within=2.0)
        return socket

    async def session(self) -> User:
        """Log in once more, beside the session that one has."""
        other = User(self.world, self.alias, like=self)
        other.email, other.password = self.email, self.password
        await other.login()
        return other

    async def login(self) -> None:
        answer = await User(self.world, self.alias).call(
            "POST", "/auth/login", auth=True, json={"email": self.email, "password": self.password}
        )
        if answer.status >= 400:
            raise CannotTell(f"{self.alias} cannot log in: {answer.status}")
        self.adopt(answer)

    def adopt(self, answer: Answer) -> None:
        self.token, self.id = answer.at("access_token"), answer.at("user", "id")
        self.refresh_token = str((answer.json or {}).get("refresh_token") or "")


class Refused(Socket):
    """A handshake that was refused: nothing ever comes of it."""

    def __init__(self, user: User) -> None:
        self.user, self.frames, self.closed = user, [], True

    async def send(self, message: dict[str, Any]) -> None:
        self.user.sent.append(json.dumps(message))

    async def until(
        self, wanted: str | Callable[[Frame], bool], start: int = 0, within: float = TIMEOUT, count: int = 1
    ) -> bool:
        return False

    async def close(self) -> None:
        pass

    async def cut(self) -> None:
        pass


class World:
    """The target, its users, and the judgement."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        try:
            self.auth = os.environ["AUTH_URL"].rstrip("/")
            self.backends = [url.strip().rstrip("/") for url in os.environ["BACKEND_URLS"].split(",")]
            self.headers: dict[str, str] = json.loads(os.environ.get("HEADERS", "{}"))
        except (KeyError, ValueError) as error:
            raise CannotTell(f"set AUTH_URL and BACKEND_URLS (and HEADERS, as JSON, if needed): {error}") from None
        # SSL_CERT_FILE names a certificate authority of one's own.
        self.trust = ssl.create_default_context()
        if os.environ.get("VERIFY_TLS") == "no":
            self.trust.check_hostname, self.trust.verify_mode = False, ssl.CERT_NONE
        self.lines: dict[str, httpx.AsyncClient] = {}
        self.users: list[User] = []
        self.nobody = User(self, "nobody")
        self.mark = secrets.token_hex(4)

    async def send(self, line: str, method: str, url: str, **request: Any) -> Answer:
        if line not in self.lines:
            limits = httpx.Limits(max_connections=1) if line else httpx.Limits()
            self.lines[line] = httpx.AsyncClient(
                limits=limits, timeout=TIMEOUT, headers=self.headers, trust_env=False, verify=self.trust
            )
        answer = await self.lines[line].request(method, url, **request)
        return Answer(answer.status_code, answer.text)

    async def user(self, alias: str, name: str = "") -> User:
        """A registered user; or, where USER_1 and PASSWORD_1, USER_2, … are set, the next of those, logged in."""
        user, number = User(self, alias), len(self.users) + 1
        self.users.append(user)
        if email := os.environ.get(f"USER_{number}"):
            user.email, user.password = email, os.environ.get(f"PASSWORD_{number}", "")
            await user.login()
            return user
        user.email = f"probe+{self.mark}.{alias}@netra-probe.example"
        user.password = f"{secrets.token_urlsafe(18)}-Aa1"
        body = {"email": user.email, "password": user.password, "name": name or alias.title()}
        answer = await user.call("POST", "/auth/register", auth=True, json=body)
        if answer.status >= 400:
            raise CannotTell(f"{alias} cannot register ({answer.status}): set USER_{number} and PASSWORD_{number}")
        user.registered = True
        user.adopt(answer)
        return user

    async def begin(self, act: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
        """Begin an act that goes on beside others; in every second round it is done first, which a cache needs."""
        pending = asyncio.ensure_future(act)
        await (asyncio.wait([pending]) if self.number % 2 else asyncio.sleep(0))
        return pending

    async def grace(self) -> None:
        """The time in which the end of a session may still be on its way."""
        await asyncio.sleep(GRACE)

    async def settle(self, *owners: User) -> None:
        """Wait until what is on its way has come, and see that everybody's sockets are alive."""
        await asyncio.sleep(1.0)
        for user in self.users:
            for socket in user.sockets:
                if not socket.closed and not await socket.answers() and not socket.closed:
                    raise CannotTell(f"a socket of {user.alias} answers no ping: what it does not show proves nothing")

    # Judgements: true while the leak is there. Each first asks for its positive control.

    async def reached(
        self, owner: User, others: list[User], marks: list[str], what: str = "secret", control: Answer | None = None
    ) -> bool:
        """Whether anything of the owner's, of these secrets or ids, came to somebody who never sent it.

        ``control`` is what the others may do anyhow, where the owner's secret comes to nobody once all is well.
        """
        await self.settle()
        for other in others:
            for where, text in other.seen:
                if any(shows(text, mark) and not any(shows(said, mark) for said in other.sent) for mark in marks):
                    print(f"{owner.alias}'s {what} reached {other.alias} through {where}")
                    return True
        seen = any(shows(text, mark) for _, text in owner.seen for mark in marks)
        if not seen and (control is None or not control.granted):
            raise CannotTell(f"{owner.alias} does not see the own {what} either: no positive control")
        return False

    def changed(self, owner: User, before: Answer, after: Answer, marks: list[str]) -> bool:
        """Whether the owner's object is another one, or gone, after what somebody else did to it."""
        if not before.granted:
            raise CannotTell(f"{owner.alias} cannot read the own object ({before.status}): no positive control")
        if after.status in (404, 410) or any(shows(after.text, mark) for mark in marks):
            print(f"{owner.alias}'s object was changed by another user ({after.status})")
            return True
        if after.status >= 400:
            raise CannotTell(f"{owner.alias} could not read the object again ({after.status})")
        return False

    def taken_for(self, victim: str, control: str, own: str, shown: str) -> bool:
        """Whether somebody with a forged credential was taken for the victim; ``control``: what a valid one shows."""
        if own not in control:
            raise CannotTell("a valid token is not answered with its owner's id: no positive control")
        if victim in shown:
            print("a forged credential was accepted")
        return victim in shown

    def works(self, before: Answer, after: Answer) -> bool:
        """Whether a credential that was ended is still accepted."""
        if not before.granted:
            raise CannotTell(f"the credential did not work before its end ({before.status}): no positive control")
        if after.granted:
            print(f"the credential was accepted after its end ({after.status})")
        return after.granted

    async def alive(self, socket: Socket, since: int) -> bool:
        """Whether a socket whose session is over goes on; ``since``: how many frames it had when that was so."""
        if not since:
            raise CannotTell("the socket was never served: no positive control")
        alive = not socket.closed and await socket.answers()
        late = [frame.name for frame in socket.frames[since:] if frame.name not in LEAVE]
        if alive or late:
            print(f"the socket went on after the end: {', '.join(late[-3:])}")
        return alive or bool(late)

    async def leave(self) -> list[str]:
        """Remove what was registered; what is left is named."""
        left = []
        for user in self.users:
            for socket in user.sockets:
                await socket.close()
            if user.registered and not await self._removed(user):
                left.append(user.email)
        for client in self.lines.values():
            await client.aclose()
        return left

    async def _removed(self, user: User) -> bool:
        try:
            await user.login()
            for path in ("/api/users/me", "/api/user/me"):
                if (await user.call("DELETE", path)).status < 400:
                    break
            for path in (f"/auth/users/{user.id}", "/auth/users/me", "/auth/me", "/auth/account"):
                if (await user.call("DELETE", path, auth=True)).granted:
                    return True
        except (CannotTell, httpx.HTTPError):
            pass
        return False


async def repeat(reproduce: Callable[[World], Awaitable[bool]], rounds: int) -> bool:
    """Whether it is seen in one of so many rounds: what happens at the same moment does not always meet."""
    for number in range(int(os.environ.get("ROUNDS", rounds))):
        world = World(number)
        try:
            if await reproduce(world):
                return True
        finally:
            for email in await world.leave():
                print(f"left: the account {email}; remove it by hand", file=sys.stderr)
    return False


def main(reproduce: Callable[[World], Awaitable[bool]], rounds: int) -> int:
    try:
        leaks = asyncio.run(repeat(reproduce, rounds))
    except CannotTell as error:
        print(f"could not tell: {error}")
        return CANNOT_TELL
    except Exception as error:  # nothing that goes wrong here may look like a leak
        print(f"could not tell: {type(error).__name__} ({str(error)[:200]})")
        return CANNOT_TELL
    print("still leaks" if leaks else "fixed")
    return LEAKS if leaks else FIXED
