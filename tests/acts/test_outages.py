"""A service of the lab is away for a block and back after it; elsewhere nothing is paused, and the case says so."""

from __future__ import annotations

from composing import Composed

from netra_probe import investigate, workloads
from netra_probe.checkers import promises
from netra_probe.clients.replies import Silent
from netra_probe.history import actions
from netra_probe.target.lab import as_target


async def test_a_frozen_service_is_silent_and_answers_again(compose: Composed) -> None:
    # On a lab of this worker's own: whoever else is on the session's would find its auth service silent, too.
    probe = await investigate("C4", users=2, target=as_target(compose()))
    (alice, _) = probe.users
    async with workloads.paused(probe, "auth") as away:
        assert away and isinstance(await alice.auth.me(), Silent)
    assert await alice.auth.me()
    told = [one.detail for one in probe.history if one.action == actions.DISTURB]
    assert told == [{"what": "frozen", "target": "auth"}, {"what": "back", "target": "auth"}]
    await probe.close()


async def test_a_setting_holds_for_a_block(compose: Composed) -> None:
    probe = await investigate("F6", users=2, target=as_target(compose()))
    (alice, _) = probe.users
    await alice.connect()
    async with workloads.paused(probe, "llm") as away, workloads.configured(probe, {"RUN_SECONDS": 1}) as changed:
        assert away and changed
        late = await alice.ask("Where do I overspend?", new_thread=True)
    assert late.events[-1].frame.body["error_code"] == "RUN_OVERDUE"
    async with workloads.paused(probe, "llm"):
        asking = probe.start([alice.ask("Where do I overspend?", new_thread=True)])
        await alice.socket.until(lambda frame: frame.name == "tool_completed", within=15)
    assert [bool(run) for run in await asking] == [True]
    told = [one.detail["what"] for one in probe.history if one.action == actions.DISTURB]
    assert told == ["frozen", "configured", "back", "back", "frozen", "back"]
    await probe.close()


async def test_another_deployment_is_left_alone() -> None:
    probe = await investigate("C4", users=2)
    there = probe.target
    probe.target = there.model_copy(update={"auth_url": "https://auth.example.invalid"})
    async with workloads.paused(probe, "auth") as away:
        assert not away and await probe.users[0].auth.me()
    case = probe.check("C4.1", promises())
    assert case.verdict == "not applicable" and "embedded lab only" in case.result.reason
    probe.target = there
    await probe.close()
