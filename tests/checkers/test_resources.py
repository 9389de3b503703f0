"""C10: what a target holds on to is the same after every cycle; a leak is a slope that lasts."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from netra_probe.checkers import Window, resources
from netra_probe.checkers.resources import MOST_CYCLES
from netra_probe.checkers.verdict import Verdict

from .story import Story


def cycles(*values: float, name: str = "PostgreSQL connections") -> Story:
    story = Story("alice")
    for cycle, value in enumerate(values):
        story.gauge(name, value, cycle)
    return story


def test_a_level_gauge_passes_even_with_an_odd_reading() -> None:
    judgement = resources()(cycles(5, 5, 9, 5, 6, 5).operations)
    assert judgement.verdict is Verdict.PASS
    assert judgement.evidence == {"gauges": 1, "cycles": 6}


def test_a_gauge_that_grows_with_every_cycle_leaks() -> None:
    story = cycles(5, 7, 9, 11, 13, 15, 17, 19)
    (finding,) = resources()(story.operations).findings
    assert finding.kind == "resource leak"
    assert finding.summary == "PostgreSQL connections grew by 2 in each of 8 cycles: 5 → 19"
    assert len(finding.witness) == 6
    again = resources()([op for op in story.operations if op.index in finding.witness])
    assert [found.kind for found in again.findings] == ["resource leak"]


def test_three_cycles_are_enough_and_two_are_not() -> None:
    assert resources()(cycles(1, 2, 3).operations).verdict is Verdict.FAIL
    assert resources()(cycles(1, 2).operations).doubts == ("PostgreSQL connections: read in 2 of at least 3 cycles",)


def test_a_pool_that_warms_up_is_no_leak() -> None:
    for values in ((1, 5, 5), (1, 3, 5, 5, 5, 5), (0, 4, 8, 10, 10, 10, 10, 10)):
        assert resources()(cycles(*values).operations).verdict is Verdict.PASS


def test_of_several_readings_in_a_cycle_the_last_one_counts() -> None:
    story = Story("alice")
    for cycle in range(4):
        story.gauge("tasks", 10 + 5 * cycle, cycle)
        story.gauge("tasks", 10, cycle)
    assert resources()(story.operations).verdict is Verdict.PASS


def test_gauges_of_two_backends_are_two_gauges() -> None:
    story = Story("alice")
    for cycle in range(4):
        story.gauge("tasks", 10 + cycle, cycle, backend="backend-1")
        story.gauge("tasks", 10, cycle, backend="backend-2")
    (finding,) = resources()(story.operations).findings
    assert finding.summary.startswith("tasks of backend-1 grew by 1")


def test_without_gauges_or_with_unreadable_ones_there_is_doubt() -> None:
    assert resources()(Story("alice").operations).doubts == ("nothing was measured: no gauge was read",)
    story = cycles(1, 1, 1)
    story.write("ok", "gauge", surface="cache", detail={"name": "x", "value": "many", "cycle": None})
    assert resources()(story.operations).doubts == ("1 readings were no numbers",)


def test_readings_before_the_window_do_not_count() -> None:
    story = cycles(1, 2, 3, 4)
    assert resources()(story.operations, Window(start=len(story.operations))).verdict is Verdict.INCONCLUSIVE


@given(seed=st.integers(0, 2**32), base=st.integers(0, 50), length=st.integers(4, 40))
@settings(max_examples=150, deadline=None)
def test_a_gauge_that_returns_is_never_accused(seed: int, base: int, length: int) -> None:
    random = Random(seed)
    values = [base + random.choice((0, 0, 0, 1)) for _ in range(length)]
    assert resources()(cycles(*values).operations).findings == ()


@given(seed=st.integers(0, 2**32), slope=st.integers(2, 9), length=st.integers(5, 40))
@settings(max_examples=150, deadline=None)
def test_a_steady_leak_is_found_through_noise(seed: int, slope: int, length: int) -> None:
    random = Random(seed)
    values = [10 + slope * cycle + random.choice((0, 0, 1)) for cycle in range(length)]
    assert resources()(cycles(*values).operations).findings


def test_thousands_of_cycles_are_thinned_out_evenly() -> None:
    story = cycles(*range(5 * MOST_CYCLES))
    (finding,) = resources()(story.operations).findings
    assert "grew by 1 in each of 2000 cycles" in finding.summary
