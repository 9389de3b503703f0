"""Which notebooks are meant: by id, pattern, component, tag, requirement, symptom, or by what has changed."""

from __future__ import annotations

import fnmatch
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from netra_probe.batch.notebooks import Notebook, all_notebooks, markdown_of
from netra_probe.catalogue.components import COMPONENTS
from netra_probe.catalogue.folders import folder
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.errors import ParameterError, did_you_mean

#: The notebook whose table leads from symptoms to notebooks.
START = "00-start-here.ipynb"
#: Looks like the id of a scenario, an area or a case, so that it is none of the words of a symptom.
_ID = re.compile(r"(?P<scenario>[A-Z]\d+)(?P<rest>[a-j]?(\.\d+)?)", re.IGNORECASE)
#: What the other notebooks that investigate nothing are called.
GUIDES = "guide-*.ipynb"
_LINK = re.compile(r"\]\((?P<file>[^)]+\.ipynb)\)")
_WORD = re.compile(r"[\w’']+")


def select(selectors: Sequence[str] = (), *, since: str = "") -> list[Notebook]:
    """The notebooks that any of the selectors means, each once; all of them when none is given.

    >>> select(["A*", "UnifiedToolDispatcher", "C4.2", "another user's report"], since="main")   # doctest: +SKIP

    Arguments:
        selectors: ids, patterns, components, tags, ids of requirements, or words of a symptom of the start notebook.
        since: a git revision; only notebooks that have changed since are taken, which may be none.

    Raises ParameterError that names the selector and the nearest known one, or those that it could mean.
    """
    known = {notebook.id: notebook for notebook in all_notebooks()}
    if not known:
        raise ParameterError(
            f"there are no notebooks in {folder('notebooks')}; run this in a checkout of the workbook."
        )
    chosen = {id for selector in selectors for id in _meant(selector.strip(), known)} if selectors else set(known)
    changed = _changed_since(since) if since else None
    return [one for one in known.values() if one.id in chosen and (changed is None or one.path.name in changed)]


def pages() -> dict[str, Path]:
    """Notebooks that are read and run and investigate nothing, by name: ``00`` is the start, the others are guides."""
    place = folder("notebooks")
    return {START[:2]: place / START} | {path.stem: path for path in sorted(place.glob(GUIDES))}


def _meant(selector: str, known: dict[str, Notebook]) -> list[str]:
    """The ids that one selector means."""
    if any(mark in selector for mark in "*?["):
        found = [id for id in known if fnmatch.fnmatchcase(id, selector.upper())]
        if not found:
            raise ParameterError(f'no scenario is called "{selector}"; known: {", ".join(known)}.')
        return found
    if selector in pages():
        raise ParameterError(
            f'"{selector}" is read and investigates nothing, so there is no verdict to run for; open it, or '
            f"execute it with `netra-probe refresh {selector}`."
        )
    if match := _ID.fullmatch(selector):
        return [_of_requirement(selector, match["scenario"].upper(), match["rest"].lower(), known)]
    words = {id: _words_of(id) for id in known}
    if found := [id for id in known if selector.casefold() in (word.casefold() for word in words[id])]:
        return found
    return _of_symptom(selector, known, sorted(set().union(*words.values())))


def _of_requirement(selector: str, id: str, rest: str, known: dict[str, Notebook]) -> str:
    """The notebook that answers for an id such as ``C4``, ``E1a`` or ``C4.2``."""
    if id not in known:
        raise ParameterError(f'unknown scenario "{selector}"; {did_you_mean(selector, known)}')
    cases = SCENARIOS[id].cases
    if rest and not any(case == id + rest or case.startswith(f"{id}{rest}.") for case in cases):
        raise ParameterError(f'unknown requirement "{selector}"; {did_you_mean(selector, [*cases, id])}')
    return id


def _words_of(id: str) -> frozenset[str]:
    """The components and tags that select a scenario."""
    return frozenset((*SCENARIOS[id].components, *SCENARIOS[id].tags))


# Symptoms


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """A row of the start notebook's table: what somebody has seen, and the notebooks that ask about it."""

    text: str
    files: tuple[str, ...]


def symptoms() -> list[Symptom]:
    """What the start notebook lists."""
    path = folder("notebooks") / START
    rows = []
    for line in markdown_of(path).splitlines() if path.is_file() else ():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) >= 2 and (files := tuple(_LINK.findall(cells[1]))):
            rows.append(Symptom(text=cells[0], files=files))
    return rows


def _of_symptom(words: str, known: dict[str, Notebook], others: Iterable[str]) -> list[str]:
    """The notebooks for the one symptom that these words fit best.

    A row fits best that has the words as they stand; else one that has a word beginning with each of them.
    """
    rows = symptoms()
    phrase = _plain(words)
    found = [row for row in rows if phrase and phrase in _plain(row.text)]
    if not found:
        wanted = phrase.split()
        found = [
            row
            for row in rows
            if wanted and all(any(have.startswith(word) for have in _plain(row.text).split()) for word in wanted)
        ]
    if len(found) == 1:
        return [one.id for one in known.values() if one.path.name in found[0].files]
    if found:
        listed = "; ".join(row.text for row in found)
        raise ParameterError(f'"{words}" fits several symptoms; say more of one of them: {listed}.')
    if " " in words:
        listed = "; ".join(row.text for row in rows)
        raise ParameterError(f'"{words}" fits no symptom of {START}; it lists: {listed}.')
    if name := {name.casefold(): name for name in COMPONENTS}.get(words.casefold()):
        raise ParameterError(f"no notebook is about {name} by name yet; the sweep, S1, reaches every component.")
    raise ParameterError(f'unknown scenario or component "{words}"; {did_you_mean(words, [*known, *others])}')


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold().replace("’", "'")))


# Changes


def _changed_since(revision: str) -> set[str]:
    """Names of the notebooks that differ from a git revision, and of those that git does not know yet."""
    place = folder("notebooks")
    if revision.startswith("-"):
        raise ParameterError(f'--since "{revision}": not a git revision; give a commit, branch or tag.')
    if not place.is_dir() or _git(place, "rev-parse", "--is-inside-work-tree") is None:
        raise ParameterError(f"--since: {place} is not in a git clone; run it in one, or name the notebooks.")
    if _git(place, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") is None:
        raise ParameterError(f'--since: git knows no revision "{revision}" here; fetch it, or give another one.')
    changed = _git(place, "diff", "--name-only", "--relative", revision, "--", ".") or ""
    fresh = _git(place, "ls-files", "--others", "--exclude-standard", ".") or ""
    return {*changed.splitlines(), *fresh.splitlines()}


def _git(place: Path, *arguments: str) -> str | None:
    """What git prints, or ``None`` when it refuses or is not installed."""
    try:
        ended = subprocess.run(
            ["git", "-c", "core.quotePath=false", *arguments], cwd=place, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return ended.stdout if ended.returncode == 0 else None
