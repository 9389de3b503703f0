"""One pass for all checkers: each sees what it wants, a broken one doubts itself, and nothing breaks the pass."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from netra_probe import checkers
from netra_probe.checkers import REGISTRY, Checker, CheckerRun, Window, from_options, judge
from netra_probe.checkers.verdict import Judgement
from netra_probe.history.frames import Frame
from netra_probe.history.operation import Operation, Outcome

from .model import World
from .model_fuzz import operations
from .model_wire import Settings


class Seeing(Checker):
    """Writes down what it is shown."""

    id = "T1"
    guarantee = source = complexity = inconclusive_when = "-"

    def __init__(self, kind: type[SeeingPass]) -> None:
        self.kind = kind
        self.passes: list[SeeingPass] = []

    def begin(self, window: Window) -> CheckerRun:
        self.passes.append(self.kind())
        return self.passes[-1]

    @property
    def seen(self) -> list[str]:
        return self.passes[-1].seen


class SeeingPass(CheckerRun):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def feed(self, operation: Operation) -> None:
        self.seen.append(operation.action)

    def finish(self) -> Judgement:
        return Judgement(checker="T1")


class Choosy(SeeingPass):
    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        return surface == "rest" or (action == "receive" and bool(self.seen))

    def feed(self, operation: Operation) -> None:
        super().feed(operation)
        self.reconsider()


class Framed(SeeingPass):
    def frame(self, operation: Operation, frame: Frame) -> None:
        self.seen.append(f"{frame.name} after {self.last_frames[operation.connection].index}")


class Breaking(SeeingPass):
    def feed(self, operation: Operation) -> None:
        if len(self.seen) == 2:
            raise ZeroDivisionError
        super().feed(operation)


class BreakingLate(SeeingPass):
    def finish(self) -> Judgement:
        raise KeyError


def history() -> Iterator[Operation]:
    for index, (surface, action) in enumerate(
        (("websocket", "receive"), ("rest", "GET /a"), ("websocket", "receive"), ("probe", "own"))
    ):
        yield Operation(
            index=index, time=0, type="ok", action=action, surface=surface, connection="c", payload='{"type":"pong"}'
        )


def test_everything_unless_it_says_otherwise() -> None:
    checker = Seeing(SeeingPass)
    judge([checker], history(), Window())
    assert checker.seen == ["receive", "GET /a", "receive", "own"]


def test_what_is_wanted_may_change() -> None:
    checker = Seeing(Choosy)
    judge([checker], history(), Window())
    assert checker.seen == ["GET /a", "receive"]


def test_frames_are_read_for_those_who_take_them() -> None:
    checker = Seeing(Framed)
    judge([checker], history(), Window())
    assert checker.seen == ["pong after 0", "GET /a", "pong after 2", "own"]


def test_nothing_beyond_the_window_is_seen() -> None:
    checker = Seeing(SeeingPass)
    judge([checker], history(), Window(end=2))
    assert len(checker.seen) == 2


@pytest.mark.parametrize(("kind", "where"), [(Breaking, "at operation 2"), (BreakingLate, "at the end of the history")])
def test_a_broken_checker_doubts_itself_and_disturbs_nobody(kind: type[SeeingPass], where: str) -> None:
    whole = Seeing(SeeingPass)
    broken, sound = judge([Seeing(kind), whole], history(), Window())
    assert broken.verdict == "inconclusive"
    assert where in broken.doubts[0]
    assert sound.verdict == "pass"
    assert len(whole.seen) == 4


def test_a_checker_can_be_called_on_its_own() -> None:
    told = World(Random(1), Settings()).play()
    together = judge([checker() for checker in REGISTRY.values()], told.operations, Window(start=told.start))
    alone = [checker()(told.operations, Window(start=told.start)) for checker in REGISTRY.values()]
    assert together == alone


def test_every_checker_explains_itself() -> None:
    for id, checker in REGISTRY.items():
        assert checker.id == id
        assert checker.__doc__
        for text in (checker.guarantee, checker.source, checker.complexity, checker.inconclusive_when):
            assert len(text) > 20


def test_checkers_are_rebuilt_from_what_is_stored() -> None:
    for id, checker in REGISTRY.items():
        assert repr(from_options(id, checker().options)) == repr(checker())
    with pytest.raises(KeyError, match="C99"):
        from_options("C99", {})


def test_the_names_for_notebooks() -> None:
    names = {
        "canary", "envelope", "delivery", "automaton", "authorisation", "tokens", "lifecycle", "pairing",
        "transactions", "resources", "noninterference", "store", "conversations", "promises",
        "hygiene",
    }  # fmt: skip
    assert names <= set(checkers.__all__)
    assert {getattr(checkers, name)().id for name in names} == set(REGISTRY)


def test_no_checker_breaks_over_what_a_hostile_target_sends() -> None:
    for seed in range(60):
        told = list(operations(Random(seed), 200))
        for judgement in judge([checker() for checker in REGISTRY.values()], told, Window(start=seed % 20)):
            assert not [doubt for doubt in judgement.doubts if " broke: " in doubt], seed
