"""Which checkers have anything to judge on a target: not every deployment lends its stores or its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netra_probe.checkers import Checker
from netra_probe.checkers.resources import ResourceChecker
from netra_probe.checkers.store import StoreChecker

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation

_SURFACES: dict[str, frozenset[str]] = {
    StoreChecker.id: frozenset({"database", "cache"}),
    ResourceChecker.id: frozenset({"database", "cache", "operator"}),
}


def applicable_checkers(probe: Investigation, *checkers: Checker) -> list[Checker]:
    """Those of the checkers whose evidence this target lends, or all of them where it lends none of it.

    >>> probe.check("A1.1", *applicable_checkers(probe, tokens(), store()))   # doctest: +SKIP

    A case that is judged by what users see, and by the stores as well where one may look, is then judged everywhere;
    one that only the stores could answer stays inconclusive without them.
    """
    surfaces = probe.target.surfaces
    seen = [checker for checker in checkers if not (needed := _SURFACES.get(checker.id)) or needed & surfaces]
    return seen or list(checkers)
