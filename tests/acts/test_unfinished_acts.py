"""What an act planned and did not do bounds its case; an exception is never called "not applicable"."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from netra_probe import Investigation, investigate, workloads
from netra_probe.checkers import canary
from netra_probe.checkers.judging import judge_history
from netra_probe.checkers.verdict import Verdict
from netra_probe.history.store import History
from netra_probe.investigation.users import User
from netra_probe.plans.budget import Budget
from netra_probe.workloads.outcome import Outcome
from netra_probe.workloads.permissions import workload


@pytest.fixture
async def probe() -> AsyncIterator[Investigation]:
    probe = await investigate("C4", users=2)
    yield probe
    await probe.close()


@workload()
async def divide(probe: Investigation, user: User, by: object) -> Outcome:
    """An act with a defect, or on a target that it does not know."""
    shares = 1 // by  # type: ignore[operator]
    return Outcome(users=(user.name,), counts={"shares": shares})


@pytest.mark.parametrize(("by", "said"), [(0, "ZeroDivisionError: integer"), ("two", "TypeError: unsupported operand")])
@pytest.mark.parametrize("registered", [True, False])
async def test_an_exception_leaves_the_case_undecided_and_says_what_it_was(
    probe: Investigation, by: object, said: str, registered: bool
) -> None:
    alice, _ = probe.users
    known = alice.id
    alice.id = known if registered else ""
    outcome = await divide(probe, alice, by)
    alice.id = known
    assert not outcome and not outcome.missing
    assert repr(outcome).startswith(f"Divide (alice): ended early ({said}")
    case = probe.check("C4.2")
    assert (case.verdict, case.result.reason) == (Verdict.INCONCLUSIVE, f"divide broke off: {outcome.broke}")
    await probe.close()
    again = judge_history(History.open(probe.history.path))
    run = [(case.id, case.verdict, case.reason) for case in again.cases if case.was_run]
    assert run == [("C4.2", case.verdict, case.result.reason)]


async def test_an_exception_tells_no_secret(probe: Investigation) -> None:
    alice, _ = probe.users
    assert alice.auth.access is not None
    token = alice.auth.access.reveal()

    @workload()
    async def tell(probe: Investigation) -> Outcome:
        raise ValueError(f"Bearer {token} is no good")

    outcome = await tell(probe)
    assert token not in repr(outcome) + "".join(probe.notes.limits)
    assert outcome.broke.startswith("ValueError: ")


async def test_a_break_outweighs_what_was_withheld(probe: Investigation) -> None:
    probe.notes.withhold("mode probe: forging tokens needs mode attack")
    await divide(probe, probe.users[0], 0)
    assert probe.check("C4.2").verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("act", [workloads.saturate, workloads.borrow_in_turn])
async def test_an_act_without_the_reads_that_it_needs_says_so(probe: Investigation, act: object) -> None:
    probe.routes = type(probe.routes)(auth=probe.routes.auth, backend=frozenset({("POST", "/api/reports")}))
    outcome = await act(probe)  # type: ignore[operator]
    assert outcome.missing.startswith("a read of one's own: none of GET /api/threads")


async def test_what_was_made_and_not_read_for_want_of_budget_is_no_pass(probe: Investigation) -> None:
    outcome = await workloads.create_and_read_all(probe, budget=Budget(requests=40))
    assert outcome.counts["made"] > outcome.counts["read back"] > 0
    case = probe.check("C4.2", canary())
    assert case.verdict is Verdict.INCONCLUSIVE
    assert case.result.reason.startswith("create_and_read_all: its budget of 40 requests or 120 s was spent before")


async def test_with_enough_of_a_budget_everything_is_found_again(probe: Investigation) -> None:
    outcome = await workloads.create_and_read_all(probe)
    assert outcome.counts["made"] == outcome.counts["read back"] > 0
    assert probe.notes.limits == []
