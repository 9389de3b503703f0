"""Four id spaces that never look alike: notebooks and cases, faults, checkers, requirements. Every id leads somewhere.

What people read (notebooks with their outputs, README, papers, rendered findings) names checkers in words and says
*fault* where it means one; docstrings and comments name nothing that is not there.
"""

import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from netra_probe.catalogue.folders import PROJECT
from netra_probe.catalogue.scenarios import SCENARIOS, cases_by_id
from netra_probe.checkers.verdict import CHECKER_NAMES
from netra_probe.lab.shared.faults import known_faults

_ID = re.compile(r"(?<![\w./#-])[A-Z]\d{1,2}(?:\.\d{1,2})?(?![\w-])")
_FAULT = re.compile(r"fault|detect|red\b|\| red on|LAB_FAULTS", re.IGNORECASE)
CASES = set(cases_by_id(SCENARIOS))
FAULTS = set(known_faults())
PACKAGE = PROJECT / "netra_probe"


def rows(paper: str) -> set[str]:
    """Ids in the first column of a paper's tables."""
    return set(
        re.findall(r"^\| ([A-Z]\d{1,2}) \|", (PACKAGE / "docs" / paper).read_text(encoding="utf-8"), re.MULTILINE)
    )


ROWS = rows("requirements.md")
#: Written alike, and no ids of ours: file → tokens with what they are.
OTHERS = {
    "README.md": {"S3", "Z1"},  # the object store; the example of a fault of one's own
    "CONTRIBUTING.md": {"C4.6"},  # the example of a new case
    "CHANGELOG.md": {"R1", "R2"},  # faults that are gone
    "controls.py": {"C0", "C1"},  # control characters
    "cycles.py": {"G0", "G2"},  # Adya's phenomena
}
#: The papers that define the ids of checkers, and of faults that are not built yet.
DEFINES = {"fault-catalogue.md", "glossary.md", "architecture.md"}


def unresolved(text: str, *, others: frozenset[str] = frozenset()) -> list[str]:
    """Lines of a text for people with an id that leads nowhere, or to a fault or a checker without saying so."""
    wrong = []
    for paragraph in re.split(r"\n\s*\n", text):
        tells_faults = _FAULT.search(paragraph) is not None
        for line in paragraph.splitlines():
            for token in set(_ID.findall(line)) - others:
                if token not in CASES | set(SCENARIOS) | ROWS and not (token in FAULTS and tells_faults):
                    wrong.append(f"{token}: {line.strip()}")
    return wrong


def papers() -> Iterator[Path]:
    yield PROJECT / "README.md"
    yield from sorted((PROJECT / ".github").glob("*.md"))
    yield from sorted((PACKAGE / "docs").glob("*.md"))


def commentary(path: Path) -> Iterator[str]:
    """Comments and docstrings of a module."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.string.startswith('"""')):
            yield token.string


@pytest.mark.parametrize("path", list(papers()), ids=lambda path: path.name)
def test_every_id_in_a_paper_leads_somewhere(path: Path) -> None:
    others = OTHERS.get(path.name, set()) | (rows(path.name) | set(CHECKER_NAMES) if path.name in DEFINES else set())
    assert unresolved(path.read_text(encoding="utf-8"), others=frozenset(others)) == []


def test_every_id_in_a_notebook_leads_somewhere() -> None:
    wrong, read = [], 0
    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_bytes())["cells"]:
            texts = ["".join(cell["source"])] if cell["cell_type"] == "markdown" else []
            for output in cell.get("outputs", ()):
                shown = output.get("text") or output.get("data", {}).get("text/plain") or ""
                texts.append("".join(shown).replace("\n\n", "\n"))
            read += len(texts)
            wrong += [f"{path.name}: {line}" for text in texts for line in unresolved(text)]
    assert read > 20 * len(SCENARIOS)
    assert wrong == []


def test_every_id_in_a_docstring_or_comment_leads_somewhere() -> None:
    known = CASES | set(SCENARIOS) | FAULTS | ROWS | set(CHECKER_NAMES)
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        others = OTHERS.get(path.name, set())
        for text in commentary(path):
            wrong += [f"{path.relative_to(PROJECT)}: {token}" for token in set(_ID.findall(text)) - known - others]
    assert wrong == []


def test_every_claimed_fault_is_published() -> None:
    claimed = {fault: case.id for case in cases_by_id(SCENARIOS).values() for fault in case.faults}
    assert {fault: case for fault, case in claimed.items() if fault not in FAULTS} == {}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("See C4.9.", "C4.9"),
        ("Compare E4 with F19.", "F19"),
        ("The answer came late (W1).", "W1"),
        ("Judged by C6.", "C6"),
        ("Row H9 of the table.", "H9"),
    ],
)
def test_an_id_that_leads_nowhere_is_seen(text: str, wrong: str) -> None:
    assert [line.partition(":")[0] for line in unresolved(text)] == [wrong]
