"""What was done to a recording after it was made never turns what it showed into a pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import pytest
from reds import CRAFTY, FREE, Lines, breaks_a_rule, lines_of, reads_by_id, renumber, store

from netra_probe.checkers.judging import ScenarioResult, judge_history
from netra_probe.checkers.verdict import Verdict
from netra_probe.history.operation import Operation
from netra_probe.history.store import History, HistoryError, Recorder

RECORDINGS = Path(__file__).parent / "recordings"
#: Investigations that found something: another user's secret, lost, repeated and mixed-up events, access by id.
FOUND = ("W1", "G1", "K1", "X1", "F4", "W8", "W9", "W10", "W3", "G2", "G4", "X6", "D1")
UNDECIDED = {Verdict.FAIL, Verdict.INCONCLUSIVE}
Mutation = Callable[[Lines, Random], None]

number_of_mutations = pytest.mark.parametrize(
    "number", [300, pytest.param(2000, marks=pytest.mark.nightly)], ids=["some", "many"]
)


def red(fault: str, *, chained: bool) -> Lines:
    return lines_of(_operations(fault), chained=chained)


@cache
def _operations(fault: str) -> list[Operation]:
    return reads_by_id() if fault == "D1" else breaks_a_rule(fault, 3)


def judged(path: Path) -> ScenarioResult | None:
    """The verdict on a stored history, or ``None`` where it is refused as a whole."""
    try:
        return judge_history(History.open(path))
    except HistoryError:
        return None


def hides(result: ScenarioResult | None, *cases: str) -> bool:
    """Whether a scenario or a case of it that was red is let off."""
    if result is None:
        return False
    return result.verdict not in UNDECIDED or any(
        case.verdict not in UNDECIDED for case in result.cases if case.id in cases
    )


@pytest.mark.parametrize("fault", FOUND)
@pytest.mark.parametrize("chained", [True, False], ids=["with digests", "without"])
def test_an_untouched_recording_is_judged_as_it_was(fault: str, chained: bool, tmp_path: Path) -> None:
    history = History.open(store(tmp_path / "x.jsonl.gz", red(fault, chained=chained)))
    result = judge_history(history)
    assert (result.damage, result.truncated, bool(history.digest)) == ((), False, chained)
    assert [case.verdict for case in result.cases] == [Verdict.FAIL, Verdict.NOT_APPLICABLE]


@number_of_mutations
def test_no_change_to_a_recording_lets_it_off(number: int, tmp_path: Path) -> None:
    random, let_off = Random(number), Counter[str]()
    for turn in range(number):
        mutation: Mutation = random.choice([*FREE, *CRAFTY])
        lines = red(random.choice(FOUND), chained=True)
        before = list(lines)
        mutation(lines, random)
        careful = random.random() < 0.3
        if careful:
            renumber(lines, random)
        if lines == before:
            continue
        result = judged(store(tmp_path / f"{turn}.jsonl{random.choice(['', '.gz'])}", lines))
        if hides(result, "C4.2", "D3.3") or (result and not (result.damage or result.truncated)):
            let_off[f"{mutation.__name__}{', renumbered' * careful}"] += 1
    assert let_off == Counter()


@number_of_mutations
def test_without_digests_what_was_lost_moved_or_added_lets_nothing_off(number: int, tmp_path: Path) -> None:
    random, let_off = Random(number), Counter[str]()
    for turn in range(number):
        mutation: Mutation = random.choice(FREE)
        lines = red(random.choice(FOUND), chained=False)
        mutation(lines, random)
        if hides(judged(store(tmp_path / f"{turn}.jsonl{random.choice(['', '.gz'])}", lines)), "C4.2", "D3.3"):
            let_off[mutation.__name__] += 1
    assert let_off == Counter()


@number_of_mutations
def test_a_damaged_file_lets_nothing_off(number: int, tmp_path: Path) -> None:
    random, let_off = Random(number), Counter[str]()
    for turn in range(number):
        path = store(tmp_path / f"{turn}.jsonl.gz", red(random.choice(FOUND), chained=random.random() < 0.5))
        data = path.read_bytes()
        kind = random.choice(["cut", "flip", "junk in it", "junk behind it", "a second one behind it"])
        place = random.randrange(12, len(data))
        if kind == "cut":
            data = data[:place]
        elif kind == "flip":
            data = data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]
        elif kind == "junk in it":
            data = data[:place] + random.randbytes(8) + data[place + 8 :]
        elif kind == "junk behind it":
            data = data + random.randbytes(20)
        else:
            data = data + data
        path.write_bytes(data)
        if hides(judged(path), "C4.2", "D3.3"):
            let_off[kind] += 1
    assert let_off == Counter()


@pytest.mark.parametrize(
    ("name", "verdicts"),
    [
        ("C4-healthy", ["pass"] * 5),
        ("C4-W1", ["fail", "fail", "fail", "pass", "fail"]),
        ("B5-G6", ["pass", "pass", "fail", "pass", "fail"]),
    ],
)
def test_a_recording_from_before_digests_is_judged_as_it_was(name: str, verdicts: list[str]) -> None:
    history = History.open(RECORDINGS / f"{name}.jsonl.gz")
    result = judge_history(history)
    assert (result.damage, result.truncated, history.digest) == ((), False, "")
    assert [case.verdict for case in result.cases] == verdicts


def test_a_case_may_name_its_area_and_no_other_scenario(tmp_path: Path) -> None:
    def whole(case: str, name: str) -> tuple[str, ...]:
        history = Recorder(tmp_path / name)
        history.observe("open", surface="probe", detail={"scenario": "E1", "environment": "lab", "seed": 7})
        history.observe("check", surface="probe", detail={"case": case, "claim": "", "start": 0, "checkers": []})
        history.close()
        return tuple(sign for sign in History.open(history.path).damage if "no case of" in sign)

    assert whole("E1c.2", "own.jsonl") == ()
    assert len(whole("E10.2", "other.jsonl")) == len(whole("E1cc.2", "none.jsonl")) == 1
