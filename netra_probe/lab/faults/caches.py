"""Faults of caches (K1 to K3): whose answer is kept, and for whom."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netra_probe.lab.shared.faults import Fault, Parts, register

CARD_SECONDS = 30
KEPT_SECONDS = 2.0
SHARED_PATHS = frozenset({"/api/threads", "/api/users/me", "/api/chat/messages", "/api/spend", "/api/search"})


@register
class KeyWithoutUser(Fault):
    """K1: answers are cached under their name alone.

    Incident: ``@cached("threads")`` around a function that takes its user from the request; the shape of several
        published leaks of account pages after a caching change.
    """

    id = "K1"
    layer = "caches"
    title = "cache key lacks the user"
    breaks = "UserCache"
    trigger = (
        "A: GET /api/threads (or GET /api/users/me after a PUT of name or preferences); then B the same; nobody writes "
        "between"
    )
    symptom = "the first requester's body for all"
    checkers = ("C1",)

    def install(self, parts: Parts) -> None:
        """Replace the cache by one whose keys are the same for all users."""
        fault = self
        healthy: type[Any] = parts["UserCache"]

        class SharedCache(healthy):  # type: ignore[misc]
            def __init__(self, redis: Any, user_id: str, *, seconds: int) -> None:
                super().__init__(redis, user_id, seconds=seconds)
                self._own = healthy(redis, user_id, seconds=seconds)

            def key(self, name: str) -> str:
                return f"cache:{name}"

            @property
            def _generation_key(self) -> str:
                return "cache_generation"

            async def get_or_load(self, name: str, load: Callable[[], Awaitable[Any]]) -> Any:
                fault.reached()
                if not fault.fires():
                    return await self._own.get_or_load(name, load)
                loaded = False

                async def loading() -> Any:
                    nonlocal loaded
                    loaded = True
                    return await load()

                answer = await super().get_or_load(name, loading)
                if answer and not loaded and self._user_id not in json.dumps(answer):
                    fault.triggered()
                return answer

            async def invalidate(self) -> None:
                await super().invalidate()
                await self._own.invalidate()

        parts["UserCache"] = SharedCache


@register
class KeyByPattern(Fault):
    """K2: profiles are cached under the part of an address before its @, and looked up by the pattern ``name*``.

    Incident: ``KEYS user:1*``, meant to find all variants of one user's entry, which finds user 10's as well.
    """

    id = "K2"
    layer = "caches"
    title = "cache looked up by the pattern user:1*"
    breaks = "GET /api/users/me, PUT /api/users/me"
    trigger = (
        "register two users whose e-mail names (before the @) begin alike, as x.ann@d and x.anna@d; x.anna makes "
        "GET /api/users/me, then x.ann makes GET /api/users/me"
    )
    symptom = "crafted pairs leak: x.ann gets x.anna's profile"
    checkers = ("C1",)

    def install(self, parts: Parts) -> None:
        """Replace both handlers by ones with a cache of their own."""
        fault = self
        read, write = "GET /api/users/me", "PUT /api/users/me"
        healthy_read, healthy_write = parts[read], parts[write]

        async def entries(caller: Any, name: str) -> list[str]:
            pattern = f"profile:{_literally(name)}*"
            return sorted([key async for key in caller.services.redis.scan_iter(match=pattern, count=1000)])

        @functools.wraps(healthy_read)
        async def get_me(request: Any, caller: Any) -> Any:
            fault.reached()
            redis, name = caller.services.redis, _handle(caller)
            try:
                found = (await entries(caller, name))[-1:] if fault.fires() else []
                kept = await redis.get(found[0]) if found else None
            except (RedisError, OSError):
                kept = None
            if kept is not None:
                profile = json.loads(kept)
                if profile["user_id"] != caller.principal.user_id:
                    fault.triggered()
                return profile
            answer = await healthy_read(request, caller)
            await redis.set(f"profile:{name}:json", json.dumps(answer, default=str), ex=CARD_SECONDS)
            return answer

        @functools.wraps(healthy_write)
        async def update_me(caller: Any, body: Any) -> Any:
            answer = await healthy_write(caller, body)
            for key in await entries(caller, _handle(caller)):
                await caller.services.redis.delete(key)
            return answer

        parts[read], parts[write] = get_me, update_me


@register
class SharedHttpCache(Fault):
    """K3: a cache in front of the application keeps answers by address, for whoever asks next.

    Incident: a content delivery network that ignores ``Cache-Control`` and does not vary by ``Authorization``: Steam's
        store on 25 December 2015.
    """

    id = "K3"
    layer = "caches"
    title = "HTTP cache of an authenticated GET"
    breaks = "middleware"
    trigger = (
        "A: GET /api/threads, /api/users/me, /api/spend, /api/chat/messages or /api/search?q=…; within 2 s B, or "
        "nobody (no Authorization), the same on the same backend"
    )
    symptom = "a hit for another user, or for an anonymous one"
    checkers = ("C1",)

    def install(self, parts: Parts) -> None:
        """Put a shared cache around everything."""
        fault = self

        class HttpCache:
            def __init__(self, app: ASGIApp) -> None:
                self._app = app
                self._kept: dict[tuple[str, bytes], _KeptAnswer] = {}

            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                path = scope.get("path", "")
                if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
                    # what was changed below a path is stale (RFC 9111 section 4.4)
                    self._kept = {key: kept for key, kept in self._kept.items() if not path.startswith(key[0])}
                if scope["type"] != "http" or scope["method"] != "GET" or path not in SHARED_PATHS:
                    await self._app(scope, receive, send)
                    return
                fault.reached()
                asker = Headers(scope=scope).get("authorization", "")
                kept = self._kept.get((path, scope["query_string"]))
                if kept is not None and kept.until > time.monotonic() and (kept.asker == asker or fault.fires()):
                    if kept.asker != asker:
                        fault.triggered()
                    for message in kept.messages:
                        await send(dict(message))
                    return
                await self._forward(scope, receive, send, asker)

            async def _forward(self, scope: Scope, receive: Receive, send: Send, asker: str) -> None:
                messages: list[Message] = []

                async def keeping(message: Message) -> None:
                    messages.append(dict(message))
                    await send(message)

                await self._app(scope, receive, keeping)
                if messages and messages[0].get("status") == 200:
                    answer = _KeptAnswer(messages=tuple(messages), asker=asker, until=time.monotonic() + KEPT_SECONDS)
                    self._kept[scope["path"], scope["query_string"]] = answer

        parts["middleware"] = [HttpCache, *parts["middleware"]]


@dataclass(frozen=True, kw_only=True)
class _KeptAnswer:
    messages: tuple[Message, ...]
    asker: str
    until: float


def _handle(caller: Any) -> str:
    name: str = caller.principal.email.partition("@")[0]
    return name


def _literally(name: str) -> str:
    return "".join(f"\\{character}" if character in "*?[]\\" else character for character in name)


@register
class SharedPrefixes(Fault):
    """K6: prefixes are kept for all tenants together, so that the time to the first piece tells what others asked.

    Incident: prefix caching in vLLM before ``cache_salt`` (CVE-2025-46570): one can guess others' prompts block by
        block, by how soon the answer begins.
    """

    id = "K6"
    layer = "caches"
    service = "llm_service"
    title = "prefix cache shared by tenants"
    breaks = "PrefixCache.place"
    trigger = "A asks a question of 2,000 characters or more; B asks one that begins with the same 2,000"
    symptom = "B's first partial_result comes 0.1 s sooner than for a question that nobody has asked"
    checkers = ("C11",)

    def install(self, parts: Parts) -> None:
        """Leave the salt out."""
        fault = self
        healthy: type[Any] = parts["PrefixCache"]

        class UnsaltedPrefixes(healthy):  # type: ignore[misc]
            def place(self, salt: str, prefix: str) -> str:
                fault.reached()
                return str(super().place("" if fault.fires() else salt, prefix))

            async def read(self, salt: str, system: str, request: str) -> str | None:
                known: str | None = await super().read(salt, system, request)
                if known not in (None, salt):
                    fault.triggered()
                return known

        parts["PrefixCache"] = UnsaltedPrefixes


@register
class KeyOfEverybody(Fault):
    """K5: the first answer is kept under the path and the client's key, whoever the client is.

    Incident: an idempotency store keyed by the header alone, although clients choose their keys and some choose
        ``order-1`` (devlink#773, arun0009/idempotent#217).
    """

    id = "K5"
    layer = "caches"
    title = "idempotency key stored without the user"
    breaks = "KeptAnswers"
    trigger = "A: POST /api/threads with Idempotency-Key: k; then B the same within 60 s, any backend"
    symptom = "B gets A's stored answer, and what B wanted is not done"
    checkers = ("C1", "C2", "C5")

    def install(self, parts: Parts) -> None:
        """Keep answers under keys without a user, and beside each whose it is, to count honestly."""
        fault = self
        healthy: type[Any] = parts["KeptAnswers"]

        class SharedAnswers(healthy):  # type: ignore[misc]
            def place(self, user_id: str, path: str, key: str) -> str:
                if not fault.fires():
                    return str(super().place(user_id, path, key))
                return f"idempotency:{hashlib.sha256(f'{path} {key}'.encode()).hexdigest()}"

            async def begin(self, user_id: str, path: str, key: str) -> dict[str, Any] | None:
                fault.reached()
                kept: dict[str, Any] | None = await super().begin(user_id, path, key)
                if kept and kept["whose"] != user_id:
                    fault.triggered()
                return kept

            async def keep(self, user_id: str, path: str, key: str, answer: dict[str, Any] | None) -> None:
                whose = None if answer is None else {**answer, "whose": user_id}
                await super().keep(user_id, path, key, whose)

        parts["KeptAnswers"] = SharedAnswers
