"""Attribution of answers that are off by one, as redis-py 4.5.1 gives them after a cancelled command."""

from __future__ import annotations

from netra_probe.checkers.attribution.attribution import weigh
from netra_probe.checkers.attribution.features import Features
from netra_probe.checkers.attribution.leak_tracker import Sighting


def handed_on(
    owner: str, recipient: str, *, cancelled: bool, previous: bool = True, after_cancel: bool = True
) -> Sighting:
    """A list of the owner's that they had read before, in the answer to the recipient's request after theirs."""
    return Sighting(
        index=1,
        owner=owner,
        recipient=recipient,
        surface="rest",
        action="GET /api/threads",
        secret=f"CANARY-{owner}",
        copied=True,
        previous=previous,
        cancelled=cancelled,
        after_cancel=after_cancel,
    )


def first_group(*sightings: Sighting, one_owner: bool) -> str:
    circumstances = Features(sightings=sightings, one_owner=one_owner, kinds=frozenset({("C1", "foreign canary")}))
    return str(next(iter(weigh(circumstances)), "")).partition(":")[0]


def test_answers_that_move_on_from_user_to_user_after_a_cancel_are_those_of_a_pool_out_of_step() -> None:
    shifted = (handed_on("alice", "bob", cancelled=True), handed_on("bob", "carol", cancelled=False))
    assert first_group(*shifted, one_owner=False) == "P3"


def test_the_first_ones_answer_for_everybody_is_still_that_of_a_cache() -> None:
    kept = (
        handed_on("alice", "bob", cancelled=False, after_cancel=False),
        handed_on("alice", "carol", cancelled=False, previous=False),
    )
    assert first_group(*kept, one_owner=True) == "K1 or K3"
