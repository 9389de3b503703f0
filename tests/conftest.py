"""Library tests talk to real labs: one for the session, shared by all workers, and one for each worker to recompose."""

import itertools
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from composing import Composed

from netra_probe import testing

#: Folders whose tests compute more than they wait, a module in seconds: they fill up the workers at the end.
QUICK = {"checkers", "display", "history"}


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # xdist would begin with the modules that have most tests; see below
    # Tests start hundreds of processes. Each would compile all of us again: 0.9 of 2.9 CPU seconds of a lab's services.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # Under nohup, or as a job in the background, everything inherits that hang-ups and interrupts are ignored.
    for number, handler in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    testing.start(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread each folder among the others: what stands together waits for one lab, one run or each other's turn.

    Folders are begun from behind: the longest module of all, notebook S1, would otherwise be the last to end.
    """
    folders: dict[Path, list[list[pytest.Item]]] = {}
    for path, module in itertools.groupby(items, key=lambda item: item.path):
        folders.setdefault(path.parent, []).append(list(module))
    spread = [
        (folder.name in QUICK, number / len(modules), module)
        for folder, modules in folders.items()
        for number, module in enumerate(reversed(modules))
    ]
    ordered = [module for *_, module in sorted(spread, key=lambda placed: placed[:2])]
    items[:] = itertools.chain.from_iterable(ordered)


def pytest_unconfigure() -> None:
    testing.stop()


@pytest.fixture(scope="session")
def compose() -> Iterator[Composed]:
    """A lab with whatever faults and in whatever variant a test asks for; another test may ask for another."""
    composed = Composed()
    yield composed
    composed.stop()
