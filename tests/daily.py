"""Which of many like tests run by day: enough to see that their kind works; all of them run every night."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def one_in(number: int, values: Iterable[Any]) -> list[Any]:
    """The values as parameters: every ``number``-th by day, the first among them, the others marked ``nightly``."""
    return [
        value if position % number == 0 else pytest.param(value, marks=pytest.mark.nightly)
        for position, value in enumerate(values)
    ]
