"""The language model speaks the OpenAI protocol, repeats its whole context, and shows its calls to the operator."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from backend_client import PATIENCE

from netra_probe.lab import Lab
from netra_probe.lab.llm_service.composition import PIECES

MESSAGES = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "first words\nsecond words " * 500}]


@pytest.fixture
async def model(lab: Lab) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the language model."""
    async with httpx.AsyncClient(base_url=lab.state["operator"]["urls"]["llm"], timeout=PATIENCE) as client:
        yield client


async def test_an_answer_is_the_same_each_time_whole_or_streamed_and_holds_the_context(
    model: httpx.AsyncClient,
) -> None:
    whole = (await model.post("/v1/chat/completions", json={"messages": MESSAGES})).json()
    again = (await model.post("/v1/chat/completions", json={"messages": MESSAGES})).json()
    streamed = await model.post("/v1/chat/completions", json={"messages": MESSAGES, "stream": True})
    lines = [line.removeprefix("data: ") for line in streamed.text.splitlines() if line]
    chunks = [json.loads(line) for line in lines[:-1]]
    text = whole["choices"][0]["message"]["content"]
    assert whole == again and lines[-1] == "[DONE]"
    assert all(message["content"] in text for message in MESSAGES)
    assert len(chunks) == PIECES + 1
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == text


async def test_only_the_operator_reads_the_calls(lab: Lab, model: httpx.AsyncClient) -> None:
    marked = [{"role": "user", "content": "for the operator to see"}]
    await model.post("/v1/chat/completions", json={"messages": marked})
    assert (await model.get("/lab/calls")).status_code == 404
    calls = await model.get("/lab/calls", headers={"X-Lab-Operator": lab.state["operator"]["token"]})
    assert marked in [call["messages"] for call in calls.json()["calls"]]


async def test_a_failing_model_says_so_and_nonsense_is_refused(model: httpx.AsyncClient) -> None:
    broken = {"messages": [{"role": "user", "content": "#model-error#"}]}
    assert (await model.post("/v1/chat/completions", json=broken)).status_code == 500
    assert (await model.post("/v1/chat/completions", json={"messages": []})).status_code == 422
