"""C9: transactions that no serial order explains are found, and named by the cycle that they form."""

from __future__ import annotations

from itertools import count, pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netra_probe.checkers import transactions
from netra_probe.checkers.base import Window
from netra_probe.checkers.transactions.anomalies import find_anomalies
from netra_probe.checkers.transactions.version_order import Step, Transaction
from netra_probe.checkers.verdict import Verdict
from netra_probe.history.operation import Operation

from .story import Story


def kinds(story: Story, level: str = "serializable") -> list[str]:
    return [finding.kind for finding in transactions(level=level)(story.operations).findings]


# Registers


def test_two_updates_of_the_same_version_lose_one_of_them() -> None:
    story = Story("alice", "bob")
    first = story.begin_txn("alice")
    second = story.begin_txn("bob")
    story.txn("alice", ["r", "balance", 100], ["w", "balance", 40], began=first)
    story.txn("bob", ["r", "balance", 100], ["w", "balance", 70], began=second)
    (finding,) = transactions()(story.operations).findings
    assert finding.kind == "lost update"
    assert finding.victims == ("alice", "bob")
    assert finding.witness == (2, 3, 4, 5)
    assert "both read balance=100 and both replaced it" in finding.explanation


def test_one_unit_granted_twice_is_a_double_spend() -> None:
    story = Story("alice")
    first = story.begin_txn("alice", ["spend", "refresh token", "r1"])
    second = story.begin_txn("alice", ["spend", "refresh token", "r1"])
    story.txn("alice", ["spend", "refresh token", "r1"], began=first)
    story.txn("alice", ["spend", "refresh token", "r1"], began=second)
    assert kinds(story) == ["double spend"]


def test_one_unit_granted_once_and_refused_once_is_in_order() -> None:
    story = Story("alice")
    first = story.begin_txn("alice", ["spend", "voucher", 1])
    second = story.begin_txn("alice", ["spend", "voucher", 1])
    story.txn("alice", ["spend", "voucher", 1], began=first)
    story.complete(second, "fail")
    assert transactions()(story.operations).verdict is Verdict.PASS


def test_what_was_rolled_back_must_not_be_read() -> None:
    story = Story("alice", "bob")
    rolled_back = story.begin_txn("alice", ["w", "x", 1])
    story.txn("bob", ["r", "x", 1])
    story.complete(rolled_back, "fail")
    assert kinds(story) == ["aborted read (G1a)"]


def test_what_a_transaction_itself_replaces_must_not_be_read() -> None:
    story = Story("alice", "bob")
    call = story.begin_txn("alice", ["w", "x", 1], ["w", "x", 2])
    story.txn("bob", ["r", "x", 1])
    story.txn("alice", ["w", "x", 1], ["w", "x", 2], began=call)
    assert kinds(story) == ["intermediate read (G1b)"]


def test_two_transactions_that_read_each_other_are_circular() -> None:
    story = Story("alice", "bob")
    first, second = story.begin_txn("alice"), story.begin_txn("bob")
    story.txn("alice", ["w", "x", 1], ["r", "y", 2], began=first)
    story.txn("bob", ["w", "y", 2], ["r", "x", 1], began=second)
    assert kinds(story) == ["circular information flow (G1c)"]


def test_write_skew_needs_two_keys_and_shows_as_two_anti_dependencies() -> None:
    story = Story("alice", "bob")
    first, second = story.begin_txn("alice"), story.begin_txn("bob")
    story.txn("alice", ["r", "x", 10], ["r", "y", 20], ["w", "x", 11], began=first)
    story.txn("bob", ["r", "x", 10], ["r", "y", 20], ["w", "y", 21], began=second)
    assert kinds(story) == ["write skew (G2)"]
    assert kinds(story, level="repeatable read") == []


def test_a_read_that_sees_half_of_a_transaction_is_skewed() -> None:
    story = Story("alice", "bob")
    first = story.begin_txn("alice")
    story.txn("bob", ["r", "x", 10], ["r", "y", 20], ["w", "x", 12], ["w", "y", 18])
    story.txn("alice", ["r", "x", 10], ["r", "y", 18], began=first)
    assert kinds(story) == ["read skew (G-single)"]
    assert kinds(story, level="read committed") == []


def test_seeing_a_transaction_and_then_missing_it_is_reported_even_at_read_committed() -> None:
    story = Story("alice", "bob")
    first = story.begin_txn("alice")
    story.txn("bob", ["r", "x", 10], ["r", "y", 20], ["w", "x", 12], ["w", "y", 18])
    story.txn("alice", ["r", "y", 18], ["r", "x", 10], began=first)
    assert kinds(story, level="read committed") == ["observed transaction vanishes (OTV)"]


def test_a_transaction_sees_its_own_writes() -> None:
    story = Story("alice", "bob")
    story.txn("alice", ["w", "x", 1], ["r", "x", 0])
    assert kinds(story) == ["impossible read"]


# Lists


def test_writes_that_interleave_over_two_lists_are_dirty() -> None:
    story = Story("alice", "bob")
    first, second = story.begin_txn("alice"), story.begin_txn("bob")
    story.txn("alice", ["append", "x", 1], ["append", "y", 1], began=first)
    story.txn("bob", ["append", "x", 2], ["append", "y", 2], began=second)
    story.txn("alice", ["r", "x", [1, 2]], ["r", "y", [2, 1]])
    assert "dirty write (G0)" in kinds(story)


def test_a_list_has_one_past() -> None:
    story = Story("alice", "bob", "carol")
    for user, value in (("alice", 1), ("bob", 2)):
        story.txn(user, ["append", "x", value])
    story.txn("bob", ["r", "x", [1, 2]])
    story.txn("carol", ["r", "x", [2, 1]])
    assert "impossible read" in kinds(story)


def test_an_append_that_was_acknowledged_stays() -> None:
    story = Story("alice", "bob", "carol")
    story.txn("alice", ["append", "x", 1])
    story.txn("bob", ["append", "x", 2])
    story.txn("carol", ["r", "x", [2]])
    (finding,) = transactions()(story.operations).findings
    assert finding.kind == "lost append"
    assert finding.victims == ("alice", "carol")


def test_an_append_of_unknown_outcome_may_be_there_or_not() -> None:
    for seen in ([1], [1, 2]):
        story = Story("alice", "bob", "carol")
        unknown = story.begin_txn("bob", ["append", "x", 2])
        story.txn("alice", ["append", "x", 1])
        story.complete(unknown, "info")
        story.txn("carol", ["r", "x", seen])
        assert transactions()(story.operations).verdict is Verdict.PASS


def test_two_appends_after_the_same_reading_lost_one_decision() -> None:
    story = Story("alice", "bob")
    first, second = story.begin_txn("alice"), story.begin_txn("bob")
    story.txn("alice", ["r", "x", []], ["append", "x", 1], began=first)
    story.txn("bob", ["r", "x", []], ["append", "x", 2], began=second)
    story.txn("alice", ["r", "x", [1, 2]])
    assert kinds(story) == ["lost update"]


# What would prove nothing


def test_without_transactions_without_overlap_or_without_ties_there_is_doubt() -> None:
    nothing = Story("alice")
    assert transactions()(nothing.operations).doubts == ("no transaction was committed",)
    serial = Story("alice")
    serial.txn("alice", ["w", "x", 1])
    serial.txn("alice", ["r", "x", 1])
    assert "no transaction overlapped another" in transactions()(serial.operations).doubts[0]
    apart = Story("alice", "bob")
    first = apart.begin_txn("alice")
    apart.txn("bob", ["w", "y", 1])
    apart.txn("alice", ["w", "x", 1], began=first)
    assert "ties them in no order" in transactions()(apart.operations).doubts[0]


def test_a_value_that_returns_is_ambiguous_and_accuses_nobody() -> None:
    story = Story("alice", "bob")
    story.txn("alice", ["r", "x", 100], ["w", "x", 40])
    story.txn("bob", ["r", "x", 40], ["w", "x", 100])
    overlapping = story.begin_txn("bob")
    story.txn("alice", ["r", "x", 100], ["w", "x", 30])
    story.txn("bob", ["r", "x", 30], ["w", "x", 31], began=overlapping)
    judgement = transactions()(story.operations)
    assert judgement.verdict is Verdict.PASS
    assert judgement.evidence["ambiguous versions"] == 1


def test_what_lies_before_the_window_is_not_accused_again() -> None:
    story = Story("alice", "bob")
    first, second = story.begin_txn("alice"), story.begin_txn("bob")
    story.txn("alice", ["r", "x", 0], ["w", "x", 1], began=first)
    story.txn("bob", ["r", "x", 0], ["w", "x", 2], began=second)
    assert transactions()(story.operations, Window(start=len(story.operations))).findings == ()


@pytest.mark.parametrize("given_steps", [None, "x", [["r"]], [[1, 2, 3]], [["w", "x"]], [{}], [["spend", None]]])
def test_malformed_transactions_are_a_doubt_and_no_error(given_steps: object) -> None:
    story = Story("alice")
    call = story.write("invoke", "txn", user="alice", surface="rest", detail={"txn": given_steps})
    story.complete(call, "ok", detail={"txn": given_steps})
    assert transactions()(story.operations).verdict is Verdict.INCONCLUSIVE


# A store that is serial by construction, and the same store with one rule broken


State = dict[str, Any]


def play(random: Random, *, lists: bool, users: int, txns: int, lose: bool = False) -> Story:
    """Clients whose transactions overlap in time and take effect at one point each: strictly serializable.

    With ``lose`` two transactions act on the same state and both commit, as check-then-act does.
    """
    names = ["alice", "bob", "carol", "dave"][:users]
    story, values = Story(*names), count(1)
    state: State = {}
    pending: list[tuple[Operation, str]] = []
    for number in range(txns):
        user = random.choice(names)
        pending.append((story.begin_txn(user), user))
        while pending and (len(pending) > users or number == txns - 1 or random.random() < 0.5):
            call, user = pending.pop(random.randrange(len(pending)))
            outcome = random.choice(("ok", "ok", "ok", "info", "fail"))
            happened = outcome == "ok" or (outcome == "info" and random.random() < 0.5)
            steps = effect(state, random.sample(("x", "y", "z"), 2), lists, values, apply=happened)
            story.complete(call, outcome, detail={"txn": steps})
    if lose:
        first, second = story.begin_txn(names[0]), story.begin_txn(names[-1])
        before = list(state.get("x", [])) if lists else state.get("x")
        act = "append" if lists else "w"
        one, other = next(values), next(values)
        story.txn(names[0], ["r", "x", before], [act, "x", one], began=first)
        story.txn(names[-1], ["r", "x", before], [act, "x", other], began=second)
        story.txn(names[0], ["r", "x", [*before, one, other] if lists else other])
    return story


def effect(state: State, keys: list[str], lists: bool, values: count[int], *, apply: bool) -> list[list[Any]]:
    """What one transaction reads and writes, all at once."""
    steps: list[list[Any]] = []
    draft = dict(state)
    for key in keys:
        value, before = next(values), draft.get(key, [] if lists else None)
        steps += [["r", key, before], ["append" if lists else "w", key, value]]
        draft[key] = [*before, value] if lists else value
    if apply:
        state.update(draft)
    return steps


seeds = st.integers(0, 2**32)


@given(seed=seeds, lists=st.booleans(), users=st.integers(1, 4), txns=st.integers(1, 25))
@settings(max_examples=150, deadline=None)
def test_a_serial_store_is_never_accused(seed: int, lists: bool, users: int, txns: int) -> None:
    story = play(Random(seed), lists=lists, users=users, txns=txns)
    assert transactions()(story.operations).findings == ()


@given(seed=seeds, lists=st.booleans(), txns=st.integers(0, 25))
@settings(max_examples=100, deadline=None)
def test_a_lost_update_is_found_in_any_history_and_its_witness_suffices(seed: int, lists: bool, txns: int) -> None:
    story = play(Random(seed), lists=lists, users=3, txns=txns, lose=True)
    found = [finding for finding in transactions()(story.operations).findings if finding.kind == "lost update"]
    assert found
    kept = {*found[0].witness}
    if lists:  # the order of two appends is known from whoever reads both
        kept |= {len(story.operations) - 2, len(story.operations) - 1}
    alone = [operation for operation in story.operations if operation.index in kept]
    assert "lost update" in {finding.kind for finding in transactions()(alone).findings}


@given(length=st.integers(2, 12))
@settings(max_examples=11, deadline=None)
def test_the_witness_is_the_shortest_cycle_and_at_most_six_operations(length: int) -> None:
    """A ring of write skews: each transaction reads what the next one replaces."""
    ring = [
        Transaction(
            index=number,
            began=-1,
            user="alice",
            steps=(
                Step(act="r", key=f"k{number}", value=0),
                Step(act="w", key=f"k{(number - 1) % length}", value=number + 1, replaced=0),
            ),
        )
        for number in range(length)
    ]
    (anomaly,) = find_anomalies(ring)
    assert anomaly.kind == "write skew (G2)"
    assert len(anomaly.transactions) == length
    indices = [transaction.index for transaction in anomaly.transactions]
    assert all(after == (before + 1) % length for before, after in pairwise(indices))
    story = Story("alice")
    calls = [story.begin_txn("alice") for _ in ring]
    for call, transaction in zip(calls, ring, strict=True):
        read, written = transaction.steps
        story.txn("alice", ["r", read.key, 0], ["w", written.key, written.value, 0], began=call)
    (finding,) = transactions()(story.operations).findings
    assert len(finding.witness) <= 6
