"""How much of what nobody has thought of is found: the lab's own parts, changed by rule, and explored."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import mutations
import pytest
from composing import Composed

from netra_probe import investigate, workloads
from netra_probe.checkers import authorisation, automaton, canary, delivery, envelope, lifecycle, pairing, store
from netra_probe.checkers.base import Window, judge
from netra_probe.target.lab import as_target

CHECKERS = (authorisation, automaton, canary, delivery, envelope, lifecycle, pairing, store)
MODULE = Path(mutations.__file__)
#: One in so many of all mutations, so that a night has an estimate by kind and not all night.
ONE_IN = 4


def test_the_rules_fit_many_places_and_each_is_one_fault() -> None:
    kinds = Counter(id.split("-")[1] for id in mutations.IDS)
    assert len(mutations.IDS) == len(set(mutations.IDS)) >= 60
    assert set(kinds) == set(mutations.RULES) and min(kinds.values()) >= 5


async def explored(compose: Composed, id: str) -> tuple[bool, bool]:
    """Whether a mutation did any wrong, and whether anything of it was found."""
    lab = compose([id], [MODULE], anew=True)
    probe = await investigate("C4", users=3, target=as_target(lab))
    start = len(probe.history)
    try:
        owner, other, *_ = probe.users
        await workloads.explore(probe, owner=owner, other=other)
        await probe.look()
        judgements = judge([checker() for checker in CHECKERS], list(probe.history), Window(start=start))
        found = any(finding.is_isolation_failure for one in judgements for finding in one.findings)
        return lab.status()["faults"][id]["triggered"] > 0, found
    finally:
        await probe.close()


@pytest.mark.nightly
async def test_most_mutations_that_do_wrong_are_found_by_exploring_alone(compose: Composed) -> None:
    scores: dict[str, Counter[str]] = {rule: Counter() for rule in mutations.RULES}
    missed = []
    for id in sorted(mutations.IDS)[::ONE_IN]:
        triggered, found = await explored(compose, id)
        scores[id.split("-")[1]][("found" if found else "missed") if triggered else "never wrong"] += 1
        missed += [id] if triggered and not found else []
    wrong = sum(score["found"] + score["missed"] for score in scores.values())
    caught = sum(score["found"] for score in scores.values())
    print(f"{caught} of {wrong} found", {rule: dict(score) for rule, score in scores.items()}, "missed:", missed)
    assert caught >= 0.6 * wrong, missed
