"""Repeated POST requests: with an ``Idempotency-Key`` the first answer is given again, and nothing is done twice.

Source: draft-ietf-httpapi-idempotency-key-header. Whether a repetition says the same is left to its sender.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from fastapi.responses import JSONResponse
from redis.exceptions import RedisError
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netra_probe.lab.backend.errors import BackendError
from netra_probe.lab.backend.unified_authentication_service import bearer_token

HEADER = "idempotency-key"
KEPT_SECONDS = 60
LONGEST_KEY = 255


class KeptAnswers:
    """Answers of one user's requests, under ``user:{uid}:idempotency:{digest}``."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis

    def place(self, user_id: str, path: str, key: str) -> str:
        """Where the answer to this request of this user is kept."""
        digest = hashlib.sha256(json.dumps([path, key]).encode()).hexdigest()
        return f"user:{user_id}:idempotency:{digest}"

    async def begin(self, user_id: str, path: str, key: str) -> dict[str, Any] | None:
        """The kept answer, which is empty while the first request is going on; None for the first one."""
        place = self.place(user_id, path, key)
        if await self._redis.set(place, "{}", nx=True, ex=KEPT_SECONDS):
            return None
        return dict(json.loads(await self._redis.get(place) or "{}"))

    async def keep(self, user_id: str, path: str, key: str, answer: dict[str, Any] | None) -> None:
        """Keep the answer; None gives the key free again."""
        place = self.place(user_id, path, key)
        if answer is None:
            await self._redis.delete(place)
        else:
            await self._redis.set(place, json.dumps(answer), ex=KEPT_SECONDS)


class IdempotentPosts:
    """Looks into requests with a key, and lets all others pass."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = Headers(scope=scope).get(HEADER, "") if scope["type"] == "http" and scope["method"] == "POST" else ""
        if not 0 < len(key) <= LONGEST_KEY:
            await self._app(scope, receive, send)
            return
        services = scope["app"].state.services
        try:
            token = bearer_token(Headers(scope=scope).get("authorization"))
            user_id = (await services.authentication.authenticate_token(token)).user_id
            kept = await services.kept_answers.begin(user_id, scope["path"], key)
        except (BackendError, RedisError, OSError):
            # who may not ask is refused as ever, and without the store every request is the first
            await self._app(scope, receive, send)
            return
        if kept is None:
            await self._first(scope, receive, send, services.kept_answers, (user_id, scope["path"], key))
        elif not kept:
            body = {"detail": "The first request with this key is still going on.", "error_code": "IN_PROGRESS"}
            await JSONResponse(body, status_code=409)(scope, receive, send)
        else:
            await _again(kept)(scope, receive, send)

    async def _first(
        self, scope: Scope, receive: Receive, send: Send, answers: KeptAnswers, place: tuple[str, str, str]
    ) -> None:
        status, kind, body = 0, "", b""

        async def keeping(message: Message) -> None:
            nonlocal status, kind, body
            if message["type"] == "http.response.start":
                status, kind = message["status"], MutableHeaders(scope=message).get("content-type", "")
            elif kind.startswith("application/json"):
                body += message.get("body", b"")
            await send(message)

        try:
            await self._app(scope, receive, keeping)
        finally:
            done = 200 <= status < 300 and kind.startswith("application/json")
            answer = {"status": status, "kind": kind, "body": base64.b64encode(body).decode()} if done else None
            await answers.keep(*place, answer)


def _again(kept: dict[str, Any]) -> Response:
    headers = {"Idempotent-Replayed": "true"}
    return Response(base64.b64decode(kept["body"]), kept["status"], headers, media_type=kept["kind"])
