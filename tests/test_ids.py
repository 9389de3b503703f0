"""Four id spaces that never look alike: notebooks and cases, faults, checkers, requirements. Every id leads somewhere.

What people read (notebooks with their outputs, README, papers, reports, the terminal) names checkers in words and says
*fault* where it means one; docstrings and comments name nothing that is not there.
"""

import gzip
import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner

from netra_probe.batch.progress import Place
from netra_probe.catalogue.folders import PROJECT
from netra_probe.catalogue.scenarios import SCENARIOS, cases_by_id
from netra_probe.checkers.verdict import CHECKER_NAMES
from netra_probe.cli.main import app
from netra_probe.lab.shared.faults import known_faults
from netra_probe.report.publish import publish
from netra_probe.results.results import PLAN, SCHEMA, write_json

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
    "CONTRIBUTING.md": {"N1", "N1.1", "Z1"},  # the examples of a new scenario and of a fault of one's own
    "guide-add-a-scenario.ipynb": {"N1", "N1.1"},
    "guide-troubleshooting.ipynb": {"C44"},  # an id that is no scenario, and the error that says so
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
            others = frozenset(OTHERS.get(path.name, ()))
            wrong += [f"{path.name}: {line}" for text in texts for line in unresolved(text, others=others)]
    assert read > 20 * len(SCENARIOS)
    assert wrong == []


def recorded_run(folder: Path) -> Path:
    """A run of two notebooks that found something, as it was recorded: real histories of labs with a fault."""
    run = folder / "lab" / "20261101T010000Z-aaaaaa"
    (run / "history").mkdir(parents=True)
    recordings = Path(__file__).parent / "history" / "recordings"
    scenarios = []
    for id, recording in (("C4", "C4-W1"), ("B5", "B5-G6")):
        recorded = gzip.decompress((recordings / f"{recording}.jsonl.gz").read_bytes())
        (run / "history" / f"{id}.jsonl").write_bytes(recorded)
        cases = {case.id: case.claim for case in SCENARIOS[id].declared}
        planned = {"id": id, "title": SCENARIOS[id].title, "cases": cases, "notebook": ""}
        scenarios.append({**planned, "status": "completed", "reason": ""})
    plan = {"schema": SCHEMA, "run": run.name, "environment": "lab", "seed": 7, "users": 3, "faults": ["W1"], "pid": 0}
    started = {"started": "2026-11-01T01:00:00Z", "versions": {"python": "3.11.9", "netra-probe": "0.1.0"}}
    write_json(run / PLAN, {**plan, **started, "scenarios": scenarios})
    return run


def test_every_id_in_a_report_and_on_the_terminal_leads_somewhere(tmp_path: Path) -> None:
    run = recorded_run(tmp_path)
    judged = CliRunner().invoke(app, ["recheck", str(run)])
    assert "canary · foreign canary" in judged.output
    assert unresolved(judged.output) == []
    publish(Place(run))
    page = BeautifulSoup((run / "report.html").read_text(encoding="utf-8"), "html.parser")
    assert page.body is not None
    for unread in page.body(["script", "style"]):
        unread.decompose()
    blocks = page.body(["h1", "h2", "h3", "h4", "p", "li", "tr", "summary", "pre", "dt", "dd", "figcaption"])
    told = [block.get_text(" ", strip=True) for block in blocks]
    assert len(told) > 100
    assert [line for text in told for line in unresolved(text)] == [], run


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
    known = known_faults(kinds=("defect", "component"))
    assert {fault: case for fault, case in claimed.items() if fault not in known} == {}


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
