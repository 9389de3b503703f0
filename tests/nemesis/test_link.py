"""The nemesis between a real user and the real lab: disturbances strike where they are meant to, and are recorded."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from netra_probe import Investigation, ParameterError, Verdict, investigate, nemesis
from netra_probe.checkers import automaton, canary, delivery, envelope, pairing
from netra_probe.clients.account_ledger import Ledger
from netra_probe.clients.replies import Unreachable
from netra_probe.clients.websocket import Socket
from netra_probe.history import actions
from netra_probe.investigation.context import InvestigationContext
from netra_probe.target.deployment import Mode
from netra_probe.target.lab import find_or_start


@pytest.fixture
async def probe() -> AsyncIterator[Investigation]:
    opened = await investigate("C4", users=2)
    yield opened
    await opened.close()


def disturbances(probe: Investigation) -> list[str]:
    return [str(operation.detail["what"]) for operation in probe.history if operation.action == actions.DISTURB]


async def test_a_run_survives_tiny_segments_and_latency_unharmed(probe: Investigation) -> None:
    alice, bob = probe.users
    async with nemesis.between(probe, alice) as link:
        await link.slice(5)
        await link.delay(0.002)
        async with probe.sockets():
            runs = await probe.together(user.ask("Where do I overspend?") for user in (alice, bob))
    assert all(runs)
    via = {operation.user for operation in probe.history if operation.detail.get("via") == "nemesis of alice"}
    assert via == {"alice"}
    assert disturbances(probe) == ["slice both", "delay both"]
    assert probe.check("C4.2", canary(), envelope(), delivery(), automaton(), pairing()).verdict is Verdict.PASS


async def test_a_request_is_cut_between_its_arrival_and_its_reply(probe: Investigation) -> None:
    alice, _ = probe.users
    async with nemesis.between(probe, alice) as link:
        await link.hold_replies(alice.rest.http)
        asking = asyncio.ensure_future(alice.rest.create_thread("Budget"))
        assert await link.reply_held(alice.rest.http)
        assert not asking.done()
        await link.cut(alice.rest.http)
        outcome = await asking
        await link.resume()
        listed = await alice.rest.threads()
    assert isinstance(outcome, Unreachable)
    assert outcome.sent
    assert len(listed.body) == 1  # type: ignore[union-attr]
    assert disturbances(probe) == ["hold replies", "cut (reset)", "resume"]


async def test_one_socket_is_frozen_while_the_other_lives(probe: Investigation) -> None:
    alice, _ = probe.users
    async with nemesis.between(probe, alice) as link:
        frozen, lively = await alice.connect(), await alice.connect()
        assert isinstance(frozen, Socket)
        assert isinstance(lively, Socket)
        await link.freeze(frozen)
        run = await alice.ask("Where do I overspend?", socket=lively)
        assert run
        assert not any(seen.frame.run for seen in frozen.received)
        await link.resume(frozen)
        await frozen.until(lambda frame: frame.name == "final_report", within=probe.timeouts.run)
        assert [seen.frame.name for seen in frozen.received if seen.frame.run] == list(run.names)
        await probe.together(socket.close() for socket in (frozen, lively))


async def test_a_cut_socket_ends_without_a_closing_handshake(probe: Investigation) -> None:
    alice, _ = probe.users
    async with nemesis.between(probe, alice) as link:
        socket = await alice.connect()
        assert isinstance(socket, Socket)
        await link.cut(socket)
        ended = await socket.until(lambda frame: False, within=probe.timeouts.close)
        assert repr(ended) == "Closed(code=1006)"
    assert await alice.connect()
    assert alice.socket is not None
    await alice.socket.close()


async def test_a_deployment_elsewhere_is_disturbed_only_with_leave(probe: Investigation, tmp_path: Path) -> None:
    alice, _ = probe.users
    elsewhere = InvestigationContext(
        target=find_or_start().model_copy(
            update={"backend_urls": ["https://netra.example"], "auth_url": "https://auth.netra.example"}
        ),
        history=probe.history,
        ledger=Ledger(tmp_path / "accounts.jsonl"),
        seed=1,
        timeouts=probe.timeouts,
    )
    with pytest.raises(ParameterError, match=r"not allowed in mode probe; set `mode: attack` and `authorised_by`"):
        async with nemesis.between(elsewhere, alice):  # type: ignore[arg-type]
            pass
    probe.target = find_or_start().model_copy(update={"mode": Mode.OBSERVE})
    with pytest.raises(ParameterError, match="not allowed in mode observe; set `mode: probe`"):
        async with nemesis.between(probe, alice):
            pass
