"""The composition root of the language model service, and what the model says."""

from __future__ import annotations

import asyncio
import bisect
import hashlib
import hmac
import itertools
import json
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field
from starlette.routing import Route

from netra_probe.lab.shared.faults import Parts, install_faults
from netra_probe.lab.shared.isolated_environment import get_env
from netra_probe.lab.shared.operator_routes import OPERATOR_HEADER, state_route

OPENING = "This follows from what you told me."
PIECES = 3
"""Streamed answers come in this many pieces whatever their length, so that runs can be compared event by event."""
PREFIX = 2_000
"""Characters of a prefix; shorter requests are read at once."""
PREFILL_SECONDS = 0.1
"""The pause before the first piece of an answer to a prefix that is new."""
MOST_PREFIXES = 10_000


class PrefixCache:
    """Prefixes that the model has read already: a request that begins with one is answered sooner.

    As in engines that keep whole blocks of a prompt, only a long beginning of the first line counts: what follows is
    the user's own data. Whoever sends another ``cache_salt`` shares nothing (CVE-2025-46570, and its remedy in vLLM).
    """

    def __init__(self) -> None:
        self._read: OrderedDict[str, str] = OrderedDict()

    def place(self, salt: str, prefix: str) -> str:
        """Where a prefix is kept."""
        return hashlib.sha256(json.dumps([salt, prefix]).encode("utf-8", "surrogatepass")).hexdigest()

    async def read(self, salt: str, system: str, request: str) -> str | None:
        """Read the beginning of a request, which takes a moment; at once, and whose it was, where it is known."""
        line = request.partition("\n")[0]
        if len(line) < PREFIX:
            return None
        place = self.place(salt, f"{system}\n{line[:PREFIX]}")
        known = self._read.get(place)
        if known is None:
            await asyncio.sleep(PREFILL_SECONDS)
            self._read[place] = salt
            if len(self._read) > MOST_PREFIXES:
                self._read.popitem(last=False)
        return known


@dataclass(frozen=True, kw_only=True)
class ChatMessage:
    """One message of the context."""

    role: str
    content: str


def complete(messages: Sequence[ChatMessage]) -> str:
    """The answer: deterministic, and holding every character of the context."""
    echo = "\n".join(f"[{message.role}] {message.content}" for message in messages)
    return f"{OPENING}\n{echo}"


def pieces_of(text: str, count: int = PIECES) -> list[str]:
    """`text` in exactly `count` pieces that concatenate to it, cut at blanks near equal lengths.

    No piece is empty and no word is torn, unless the text has too few blanks to cut at.
    """
    blanks = [position for position, character in enumerate(text) if character == " " and position > 0]
    if len(blanks) < count - 1:
        return [text[len(text) * number // count : len(text) * (number + 1) // count] for number in range(count)]
    cuts, first = [0], 0
    for number in range(1, count):
        latest = len(blanks) - (count - number)  # leave one blank for each cut that is still to come
        chosen = min(max(bisect.bisect_left(blanks, len(text) * number // count), first), latest)
        cuts.append(blanks[chosen])
        first = chosen + 1
    cuts.append(len(text))
    return [text[start:end] for start, end in itertools.pairwise(cuts)]


def tokens_of(text: str) -> int:
    """A plausible token count: words."""
    return len(text.split())


CALLS_PATH = "/lab/calls"
KEPT_CALLS = 1000
PAUSE_SECONDS = 0.01
"""Before each piece: a model that answers at once would hide every race between asking and answering."""

FAIL, STALL = "#model-error#", "#model-stall#"
"""A request with one of these words makes the model fail or stall, so that failures can be investigated."""
STALL_SECONDS = 30.0


class Turn(BaseModel):
    """One message of the context."""

    role: Annotated[str, Field(max_length=20)]
    content: str


class CompletionBody(BaseModel):
    """The part of the OpenAI request that has a meaning here."""

    model: str = "netra-deterministic-1"
    messages: Annotated[list[Turn], Field(min_length=1, max_length=200)]
    stream: bool = False
    cache_salt: Annotated[str, Field(max_length=200)] = ""


def healthy_parts() -> Parts:
    """Every replaceable part in its healthy form."""
    return Parts({"complete": complete, "pieces_of": pieces_of, "PrefixCache": PrefixCache})


class Model:
    """Answers, and remembers the last calls for the operator."""

    def __init__(self, parts: Parts) -> None:
        self._complete = parts["complete"]
        self._pieces_of = parts["pieces_of"]
        self._prefixes = parts["PrefixCache"]()
        self.calls: deque[dict[str, Any]] = deque(maxlen=KEPT_CALLS)

    async def answer(self, body: CompletionBody) -> Response:
        """``POST /v1/chat/completions``."""
        messages = [ChatMessage(role=turn.role, content=turn.content) for turn in body.messages]
        text: str = self._complete(messages)
        self.calls.append({"messages": [turn.model_dump() for turn in body.messages], "stream": body.stream})
        request = _request_line(messages)
        if FAIL in request:
            return JSONResponse({"error": {"message": "the model failed", "type": "server_error"}}, status_code=500)
        if STALL in request:
            await asyncio.sleep(STALL_SECONDS)
        system = "".join(message.content for message in messages if message.role == "system")
        await self._prefixes.read(body.cache_salt, system, request)
        identifier = "chatcmpl-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        if body.stream:
            return StreamingResponse(self._stream(identifier, body.model, text), media_type="text/event-stream")
        await asyncio.sleep(PAUSE_SECONDS)
        return JSONResponse(_whole(identifier, body.model, text, messages))

    async def _stream(self, identifier: str, model: str, text: str) -> AsyncIterator[str]:
        for piece in self._pieces_of(text):
            await asyncio.sleep(PAUSE_SECONDS)
            yield _chunk(identifier, model, {"role": "assistant", "content": piece}, None)
        yield _chunk(identifier, model, {}, "stop")
        yield "data: [DONE]\n\n"


def create_app() -> FastAPI:
    """The application, with the faults that the environment selects."""
    parts = healthy_parts()
    faults = install_faults(parts, "llm_service")
    model = Model(parts)
    app = FastAPI(title="Netra language model", version="1.0.0")
    app.add_api_route("/v1/chat/completions", model.answer, methods=["POST"], response_model=None)
    for path in ("/health", "/health/ready"):
        app.add_api_route(path, _health, methods=["GET"])
    app.router.routes.append(state_route("llm_service", faults, lambda: {"calls": len(model.calls)}))
    app.router.routes.append(_calls_route(model.calls))
    return app


async def _health() -> dict[str, str]:
    """The service answers; it depends on nothing."""
    return {"status": "healthy", "service": "llm_service", "version": "1.0.0"}


def _calls_route(calls: deque[dict[str, Any]]) -> Route:
    async def show(request: Request) -> Response:
        token = get_env().get("LAB_OPERATOR_TOKEN") or ""
        given = request.headers.get(OPERATOR_HEADER, "")
        if not token or not hmac.compare_digest(token.encode(), given.encode()):
            return JSONResponse({"detail": "Not Found"}, status_code=404)
        return JSONResponse({"calls": list(calls)})

    return Route(CALLS_PATH, show, methods=["GET"], include_in_schema=False)


def _request_line(messages: Sequence[ChatMessage]) -> str:
    """The first line of the newest user message: what was asked, without remembered context."""
    asked = [message.content for message in messages if message.role == "user"]
    return asked[-1].partition("\n")[0] if asked else ""


def _whole(identifier: str, model: str, text: str, messages: Sequence[ChatMessage]) -> dict[str, Any]:
    prompt = sum(tokens_of(message.content) for message in messages)
    answer = tokens_of(text)
    return {
        "id": identifier,
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer},
    }


def _chunk(identifier: str, model: str, delta: dict[str, str], finish: str | None) -> str:
    chunk = {
        "id": identifier,
        "object": "chat.completion.chunk",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return f"data: {json.dumps(chunk)}\n\n"
