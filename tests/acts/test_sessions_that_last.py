"""Sessions are renewed before they expire, but never those whose end is what is looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from performing import leaks, perform, verdicts

from netra_probe import Investigation, investigate, workloads
from netra_probe.checkers import canary, delivery
from netra_probe.checkers.verdict import Verdict
from netra_probe.clients.replies import Refused
from netra_probe.investigation.users import User
from netra_probe.lab import Lab, start_lab
from netra_probe.target.lab import as_target

#: Seconds that a token lives here: a case outlives several of them.
SHORT = 8


@pytest.fixture
async def probe() -> AsyncIterator[Investigation]:
    probe = await investigate("C4", users=2)
    yield probe
    await probe.close()


def age(user: User, share: float) -> None:
    """So much of the life of the user's token goes by."""
    user.auth._since -= share * user.auth.lifetime


def logins(probe: Investigation, user: User) -> int:
    return sum(op.type == "ok" and op.action == "POST /auth/login" and op.user == user.name for op in probe.history)


async def test_a_token_is_renewed_when_less_than_half_of_its_life_is_left(probe: Investigation) -> None:
    alice, _ = probe.users
    first = alice.auth.access
    age(alice, 0.4)
    assert await alice.rest.threads() and alice.auth.access is first
    age(alice, 0.2)
    assert all(await probe.together(alice.rest.threads() for _ in range(3)))
    assert alice.auth.access is not first and alice.auth.left > 0.9
    assert logins(probe, alice) == 1


async def test_whoever_still_holds_the_old_token_gets_the_new_one(probe: Investigation) -> None:
    alice, _ = probe.users
    held = alice.auth.access
    age(alice, 0.6)
    await alice.rest.threads()
    assert await alice.token_for(held) is alice.auth.access
    other = await alice.another_session()
    assert other is not None and await alice.token_for(other.access) is other.access
    await other.http.close()


async def test_what_is_to_be_refused_is_sent_with_the_token_as_it_is(probe: Investigation) -> None:
    alice, _ = probe.users
    first = alice.auth.access
    age(alice, 0.9)
    await alice.auth.http.request("GET", "/auth/me", attempt={"attempt": "after expiry", "expect": "refused"})
    assert alice.auth.access is first


async def test_a_session_that_was_ended_on_purpose_is_not_renewed(probe: Investigation) -> None:
    alice, _ = probe.users
    assert await alice.auth.logout()
    age(alice, 0.9)
    assert isinstance(await alice.auth.me(), Refused)
    assert logins(probe, alice) == 0
    await alice.login()


async def test_an_expiry_and_a_rate_limit_that_were_met_are_named(probe: Investigation) -> None:
    alice, _ = probe.users
    assert await alice.auth.logout()
    age(alice, 1.1)
    assert isinstance(await alice.auth.me(), Refused)
    alice.refused("GET /api/threads", 429)
    case = probe.check("C4.2", canary())
    assert (case.verdict, case.result.reason) == (
        Verdict.INCONCLUSIVE,
        "alice's token had expired: GET /auth/me was refused; "
        "the target asked alice to slow down (429): GET /api/threads was not served",
    )
    await alice.login()


async def test_a_socket_whose_token_is_about_to_expire_is_replaced_between_two_questions(probe: Investigation) -> None:
    alice, bob = probe.users
    async with probe.sockets():
        first = alice.socket
        assert first is not None and await alice.ask("Where do I overspend?")
        alice._good_until[first.name] = 0.0
        age(alice, 0.9)
        assert await alice.ask("Where do I overspend?") and await bob.ask("Where do I overspend?")
        assert alice.socket is not first and first.closed is not None
    assert probe.check("C4.2", canary(), delivery()).verdict is Verdict.PASS


@pytest.fixture(scope="module")
def hasty() -> Iterator[Lab]:
    """A lab whose access tokens live a few seconds."""
    with start_lab(settings={"ACCESS_TOKEN_SECONDS": str(SHORT)}) as lab:
        yield lab


@pytest.mark.nightly
async def test_a_run_outlives_its_tokens_and_cleans_up(hasty: Lab) -> None:
    result = await perform("C4", only=("C4.1", "C4.2"), target=as_target(hasty), rounds=12)
    assert (leaks(result), set(verdicts(result).values())) == ([], {Verdict.PASS})
    assert (result.cleanup.verdict, result.cleanup.left) == (Verdict.PASS, ())


@pytest.mark.nightly
async def test_what_is_judged_of_an_end_stays_the_session_that_was_ended(hasty: Lab) -> None:
    probe = await investigate("C4", users=2, target=as_target(hasty))
    alice, _ = probe.users
    outcome = await workloads.log_out(probe, alice)
    await probe.close()
    assert outcome.counts["refused"] == outcome.counts["uses afterwards"] > 0
