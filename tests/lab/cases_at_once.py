"""All cases of a component notebook that act on classes alone, performed in one process: cheap, for a row of faults.

What the cells expect of the classes is collected instead of recorded, and their acts are called where they stand.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from netra_probe.clients.component_process import Carried, Undecided


class Collector:
    """Stands where the investigation does in the cells of one case."""

    def __init__(self, classes: Mapping[str, Any]) -> None:
        self._classes = classes
        self.broken: list[str] = []

    async def apart(self, act: Any, *names: str, arguments: Sequence[Any] = (), **_: Any) -> Carried:
        """Call the act, and take its result, its exception and its log as a process would give them."""
        told = io.StringIO()
        handler = logging.StreamHandler(told)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)
        try:
            value = act(*(self._classes[name] for name in names), *arguments)
            value = await value if inspect.isawaitable(value) else value
            return Carried(value=value, log=tuple(told.getvalue().splitlines()))
        except Exception as error:
            return Carried(raised=f"{type(error).__name__}: {error}", log=tuple(told.getvalue().splitlines()))
        finally:
            logging.getLogger().removeHandler(handler)

    def expect(self, promise: str, observed: Any, expected: Any = True, *, about: str = "works") -> None:
        """Note it where it does not hold."""
        if isinstance(observed, Undecided) or observed != expected:
            self.broken.append(f"{promise}: {observed!r} instead of {expected!r}")

    def promises(self) -> None:
        """Nothing is shown here."""


def all_cases(*classes: Any, names: list[str], cells: dict[str, str], header: str) -> dict[str, list[str]]:
    """Carry out the cells of each case; what does not hold, by case.

    Arguments:
        classes: the classes under investigation, whose names are ``names``.
        cells: case → its code, without the check.
        header: what comes before: parameters and imports.
    """
    found = {}
    for case, source in cells.items():
        probe = Collector(dict(zip(names, classes, strict=True)))
        known: dict[str, Any] = {"probe": probe, "__name__": "of_the_notebook"}
        exec(compile(header, "<header>", "exec"), known)
        code = compile(source, f"<{case}>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

        async def perform(code: Any = code, known: dict[str, Any] = known) -> None:
            running = eval(code, known)
            if inspect.isawaitable(running):
                await running

        asyncio.run(perform())
        found[case] = probe.broken
    return found
