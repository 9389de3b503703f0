"""What each scenario is, read from the metadata of its notebook: title, components, cases, claims, known faults.

The notebook is the only place that says it, so that adding a scenario touches one file. Ids never change: notebooks,
results, reports and the coverage table use them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from string import ascii_lowercase
from typing import Annotated

import msgspec

from netra_probe.catalogue.folders import folder
from netra_probe.errors import ParameterError

#: Names a folder of notebooks to use instead of the project's: a worker on another machine has one notebook only.
NOTEBOOKS_VARIABLE = "NETRA_PROBE_NOTEBOOKS"
_FILE = re.compile(r"^(?P<id>[A-Z]\d+)-[\w-]+\.ipynb$")
_Text = Annotated[str, msgspec.Meta(min_length=1)]


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One case of a scenario.

    Arguments:
        title: the heading of its section.
        claim: what a pass claims, in words that the same case of other scenarios may share.
        faults: published faults of the lab that have turned it red, the most telling first. A case that no fault
            turns red proves nothing; ``netra-probe detect --claimed`` checks these.
        amounts: what it made and tried on the lab when the notebook was last refreshed; ``netra-probe refresh`` counts.
    """

    id: _Text
    title: _Text
    claim: _Text
    faults: tuple[str, ...] = ()
    amounts: dict[str, int] = {}


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of the requirements, as the metadata of its notebook says it.

    Arguments:
        id: such as ``C4``.
        title: of the notebook.
        components: what it investigates.
        tags: further words that select it.
        needs: what a target must offer.
        areas: letter → title, where its cases are grouped by area: ``E1c.2`` is the second case of area c.
        declared: its cases; ``cases`` in the metadata.
    """

    id: _Text
    title: _Text
    components: tuple[_Text, ...]
    difficulty: _Text
    declared: Annotated[tuple[Case, ...], msgspec.Meta(min_length=1)] = msgspec.field(name="cases")
    tags: tuple[_Text, ...] = ()
    needs: tuple[_Text, ...] = ()
    areas: dict[_Text, _Text] = {}

    @property
    def cases(self) -> dict[str, str]:
        """Case id → title."""
        return {case.id: case.title for case in self.declared}

    def claim(self, case: str) -> str:
        """What a pass of the case claims; "" for a case that the notebook does not declare."""
        return next((one.claim for one in self.declared if one.id == case), "")


class Scenarios(Mapping[str, Scenario]):
    """Id → scenario, one for each notebook of a folder; a notebook is read when it is asked for, and kept.

    Arguments:
        place: the folder; that of the project when left out, which depends on the current directory.
    """

    def __init__(self, place: Path | None = None) -> None:
        self._place = place

    def files(self) -> dict[str, Path]:
        """Id → notebook, in order of id. Raises ParameterError when two notebooks have the same id."""
        place = self._place or Path(os.environ.get(NOTEBOOKS_VARIABLE) or folder("notebooks"))
        found: dict[str, Path] = {}
        for path in sorted(place.glob("*.ipynb")):
            if match := _FILE.match(path.name):
                other = found.setdefault(match["id"], path)
                if other is not path:
                    raise ParameterError(f"{other.name} and {path.name} both claim scenario {match['id']}; rename one.")
        return found

    def __getitem__(self, id: str) -> Scenario:
        path = self.files()[id]
        state = path.stat()
        return _read(path, state.st_mtime_ns, state.st_size)

    def __contains__(self, id: object) -> bool:
        return id in self.files()

    def __iter__(self) -> Iterator[str]:
        return iter(self.files())

    def __len__(self) -> int:
        return len(self.files())


#: The scenarios of the project.
SCENARIOS = Scenarios()


def cases_by_id(scenarios: Mapping[str, Scenario]) -> dict[str, Case]:
    """Every case of these scenarios, by id."""
    return {case.id: case for scenario in scenarios.values() for case in scenario.declared}


def scenario_of(case: str) -> str:
    """The scenario that a case belongs to: ``C4`` for ``C4.2``, ``E1`` for ``E1c.2``."""
    return case.partition(".")[0].rstrip(ascii_lowercase)


class _Metadata(msgspec.Struct):
    netra_probe: Scenario


class _Notebook(msgspec.Struct):
    """What is decoded of a notebook; its cells and outputs are skipped."""

    metadata: _Metadata


@lru_cache(maxsize=256)
def _read(path: Path, changed: int, size: int) -> Scenario:
    """The scenario that a notebook declares, read again when the file has changed. Raises ParameterError."""
    try:
        scenario = msgspec.json.decode(path.read_bytes(), type=_Notebook).metadata.netra_probe
    except (OSError, msgspec.DecodeError) as error:
        raise ParameterError(
            f"{path}: not a notebook with a scenario in its metadata ({error}); restore it, or add the metadata "
            '"netra_probe" as in another notebook.'
        ) from None
    if not path.name.startswith(f"{scenario.id}-"):
        raise ParameterError(f'{path}: its metadata is that of scenario "{scenario.id}"; rename the file or mend it.')
    known: set[str] = set()
    for case in scenario.declared:
        if not re.fullmatch(rf"{scenario.id}[a-z]?\.\d+", case.id) or case.id in known:
            why = "declared twice" if case.id in known else f"no case of {scenario.id}"
            raise ParameterError(f'{path}: metadata netra_probe.cases: "{case.id}" is {why}.')
        known.add(case.id)
    return scenario
