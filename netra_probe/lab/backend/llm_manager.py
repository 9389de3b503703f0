"""LLMManager: language-model calls of one user, with a similarity cache that no other user can read.

llm = LLMManager(context, client=client, redis=redis, limits=limits)
answer = await llm.ask_llm("Where do I overspend?")
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
from redis.exceptions import RedisError

from netra_probe.lab.backend.circuit_breakers import ModelBreaker
from netra_probe.lab.backend.errors import DependencyDown
from netra_probe.lab.backend.settings import Limits
from netra_probe.lab.backend.user_execution_context import UserExecutionContext

MODEL = "netra-deterministic-1"
DEFAULT_SYSTEM = "You are an assistant for the optimisation of AI workloads."


#: Words that change nothing in a question.
FILLERS = frozenset(("a", "an", "and", "kindly", "me", "please", "tell", "the"))
_WORD = re.compile(r"\w+")


def likeness(question: str) -> str:
    """What a question has in common with all that ask the same: its words, in whatever order, case and punctuation.

    >>> likeness("Please tell me: where do I overspend?") == likeness("Where do I overspend")
    True
    """
    return " ".join(sorted(set(_WORD.findall(question.casefold())) - FILLERS))


class ModelUnavailable(DependencyDown):
    """The language model does not answer."""

    code = "MODEL_UNAVAILABLE"


class LLMManager:
    """Bound to one context; answers are kept under ``user:{uid}:llm:{digest}`` for a short time."""

    def __init__(
        self,
        user_context: UserExecutionContext,
        *,
        client: httpx.AsyncClient,
        redis: Any,
        limits: Limits,
        breaker: ModelBreaker,
    ) -> None:
        self.user_context = user_context
        self._client = client
        self._redis = redis
        self._limits = limits
        self._breaker = breaker

    async def ask_llm(self, prompt: str, *, system: str = DEFAULT_SYSTEM) -> str:
        """The whole answer to `prompt`.

        Raises:
            ModelUnavailable
        """
        return "".join([piece async for piece in self.stream_llm(prompt, system=system)])

    async def stream_llm(self, prompt: str, *, system: str = DEFAULT_SYSTEM) -> AsyncIterator[str]:
        """The answer in the pieces in which the model gives it; a kept answer comes in the same pieces."""
        key = self.cache_key(prompt, system)
        kept = await self._kept(key)
        if kept is not None:
            for piece in kept:
                yield piece
            return
        pieces: list[str] = []
        async for piece in self._request(prompt, system):
            pieces.append(piece)
            yield piece
        await self._keep(key, pieces)

    def cache_key(self, prompt: str, system: str) -> str:
        """Where the answer to this question or one like it is kept, of this user and about exactly the same data."""
        question, _, data = prompt.partition("\n")
        digest = hashlib.sha256(json.dumps([MODEL, system, likeness(question), data]).encode()).hexdigest()
        return f"user:{self.user_context.user_id}:llm:{digest}"

    async def _request(self, prompt: str, system: str) -> AsyncIterator[str]:
        body = {
            "model": MODEL,
            "stream": True,
            "cache_salt": hashlib.sha256(self.user_context.user_id.encode()).hexdigest(),
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": prompt}],
        }
        complete = False
        if not self._breaker.may_ask():
            raise ModelUnavailable("The language model is away; ask again in a moment.", code="MODEL_CIRCUIT_OPEN")
        try:
            async with self._client.stream("POST", "/v1/chat/completions", json=body) as response:
                self._breaker.reached()
                if response.status_code != 200:
                    raise ModelUnavailable("The language model could not answer; ask again in a moment.")
                async for line in response.aiter_lines():
                    if not line.startswith("data: "):
                        continue
                    if line == "data: [DONE]":
                        complete = True
                        break
                    piece = json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content")
                    if piece:
                        yield piece
        except httpx.ConnectError as error:
            self._breaker.unreachable()
            raise ModelUnavailable("The language model cannot be reached; ask again in a moment.") from error
        except httpx.HTTPError as error:
            raise ModelUnavailable("The language model broke off; ask again in a moment.") from error
        if not complete:
            raise ModelUnavailable("The language model stopped in the middle of its answer; ask again in a moment.")

    async def _kept(self, key: str) -> list[str] | None:
        try:
            kept = await self._redis.get(key)
        except (RedisError, OSError):
            return None
        return None if kept is None else list(json.loads(kept))

    async def _keep(self, key: str, pieces: list[str]) -> None:
        try:
            await self._redis.set(key, json.dumps(pieces), ex=self._limits.cache_seconds)
        except (RedisError, OSError):
            # an answer that is not kept is merely asked for again
            return
