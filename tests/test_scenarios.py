"""A scenario is declared in its notebook alone: the committed ones are consistent, a new one needs no other file."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from netra_probe import lab
from netra_probe.batch.notebooks import markdown_of
from netra_probe.batch.refresh import normalise
from netra_probe.batch.selection import GUIDES, START, select
from netra_probe.catalogue.folders import PROJECT
from netra_probe.catalogue.scenarios import SCENARIOS, Scenarios, cases_by_id
from netra_probe.cli.detect import claims_of
from netra_probe.cli.main import app
from netra_probe.cli.notebooks import scenarios
from netra_probe.cli.plans import Options, plans_of
from netra_probe.detection.trials import orders
from netra_probe.display.coverage import coverage
from netra_probe.errors import ParameterError
from netra_probe.report.alerts import Alerts
from netra_probe.target.parameters import environment_file, read_parameters

#: What the five cases of every notebook A to D claim.
CLAIMS = (
    "works end to end for one user",
    "users stay isolated when concurrent",
    "stays isolated under faults and attacks",
    "resources are released",
    "stays isolated under load",
)
#: Words of a file name that its title may leave out.
FILLERS = {"and"}
DIFFICULTIES = ("medium", "high", "very high", "maximum")
MOST_WORDS = 8


def problems(folder: Path) -> Iterator[str]:
    """What is wrong with the notebooks of a folder, one sentence each."""
    try:
        declared = dict(Scenarios(folder))
    except ParameterError as error:
        yield str(error)
        return
    for id, path in Scenarios(folder).files().items():
        scenario = declared[id]
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        headings = re.findall(r"^# (.+)$", "\n".join(prose), re.MULTILINE)
        if headings != [f"{id} — {scenario.title}"]:
            yield f"{path.name}: the title is {scenario.title!r}, the headings are {headings}"
        title = scenario.title.casefold()
        if missing := [w for w in path.stem.split("-")[1:] if w not in FILLERS and w.rstrip("s") not in title]:
            yield f"{path.name}: the title lacks {missing} of the file name"
        sections = re.findall(r"^## ([A-Z]\d+\S*) (.+)$", "\n".join(prose), re.MULTILINE)
        if sections != list(scenario.cases.items()):
            yield f"{path.name}: the sections {sections} are not the declared cases {list(scenario.cases.items())}"
        if (checked := re.findall(r'probe\.check\(\s*"([^"]+)"', code)) != list(scenario.cases):
            yield f"{path.name}: the code checks {checked}, the metadata declares {list(scenario.cases)}"
        for heading in re.findall(r"^## (.+)$", "\n".join(prose), re.MULTILINE):
            if len(heading.split()) - (heading.split()[0] in scenario.cases) > MOST_WORDS:
                yield f"{path.name}: the heading {heading!r} has more than {MOST_WORDS} words"
        if scenario.difficulty not in DIFFICULTIES:
            yield f"{path.name}: the difficulty {scenario.difficulty!r} is none of {', '.join(DIFFICULTIES)}"
        introduction = prose[0]
        for word in (*scenario.components, *scenario.needs, f"*Difficulty:* {scenario.difficulty}."):
            if word not in introduction:
                yield f"{path.name}: the introduction does not name {word!r}"


def test_the_committed_notebooks_and_their_metadata_agree() -> None:
    assert list(problems(PROJECT / "notebooks")) == []


def test_the_start_notebook_links_notebooks_by_their_titles() -> None:
    text = json.dumps(json.loads((PROJECT / "notebooks" / START).read_text(encoding="utf-8")), ensure_ascii=False)
    files = {path.name: f"{id} — {SCENARIOS[id].title}" for id, path in SCENARIOS.files().items()}
    for path in (PROJECT / "notebooks").glob(GUIDES):
        files[path.name] = markdown_of(path).splitlines()[0].removeprefix("# ")
    links = re.findall(r"\[([^\[\]]+)\]\(([^)]+\.ipynb)\)", text)
    assert {file for _, file in links} == set(files)
    for shown, file in links:
        assert shown == files[file]


def test_every_case_of_the_interplays_makes_the_claim_of_its_number_and_is_proved_by_faults() -> None:
    for id, scenario in SCENARIOS.items():
        if id[0] in "ABCD":
            assert tuple(case.claim for case in scenario.declared) == CLAIMS, id
    known = lab.known_faults(kinds=("defect", "component"))
    for case in cases_by_id(SCENARIOS).values():
        assert set(case.faults) <= known.keys(), case.id
        assert case.faults or case.id.startswith("S2."), case.id  # hygiene issues turn no case red


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    edit(notebook)
    path.write_text(json.dumps(notebook, ensure_ascii=False), encoding="utf-8")


def declared(notebook: dict[str, Any]) -> dict[str, Any]:
    scenario: dict[str, Any] = notebook["metadata"]["netra_probe"]
    return scenario


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the workbook's notebooks and parameters, in which the test works."""
    for name in ("notebooks", "parameters"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


C4 = "C4-multi-user-websocket-isolation.ipynb"


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda one: one["metadata"].pop("netra_probe"), "missing required field `netra_probe`"),
        (lambda one: declared(one)["cases"][1].pop("claim"), "missing required field `claim`"),
        (lambda one: declared(one)["cases"][1].update(claim=""), "length >= 1"),
        (lambda one: declared(one)["cases"].clear(), "length >= 1"),
        (lambda one: declared(one).update(titel="x"), "unknown field `titel`"),
        (lambda one: declared(one)["cases"][0].update(id="C5.1"), '"C5.1" is no case of C4'),
        (lambda one: declared(one)["cases"][0].update(id="C4.2"), '"C4.2" is declared twice'),
        (lambda one: declared(one).update(id="C9"), 'that of scenario "C9"'),
        (lambda one: declared(one)["cases"].pop(), "are not the declared cases"),
        (lambda one: declared(one)["cases"][0].update(title="Another title"), "are not the declared cases"),
        (lambda one: declared(one).update(title="Another title"), "the headings are ['C4 — Multi-user"),
        (lambda one: one["cells"][3].update(source=["## C4.7 Not declared\n"]), "('C4.7', 'Not declared')"),
    ],
)
def test_what_a_notebook_declares_wrongly_is_one_error_that_names_it(
    project: Path, edit: Callable[[dict[str, Any]], object], told: str
) -> None:
    change(project / "notebooks" / C4, edit)
    (found, *_) = problems(project / "notebooks")
    assert C4 in found
    assert told in found


def test_a_damaged_notebook_is_named_and_only_its_own_scenario_is_lost(project: Path) -> None:
    (project / "notebooks" / C4).write_text('{"cells": [')
    assert CliRunner().invoke(app, ["--help"]).exit_code == 0
    assert "C4" in SCENARIOS
    assert len(SCENARIOS["A1"].cases) == 5
    with pytest.raises(ParameterError, match=rf"{re.escape(C4)}: not a notebook with a scenario in its metadata"):
        select(["WebSocket core"])


def test_two_notebooks_with_one_id_are_both_named(project: Path) -> None:
    shutil.copy(project / "notebooks" / C4, project / "notebooks" / "C4-another.ipynb")
    (found,) = problems(project / "notebooks")
    assert f"C4-another.ipynb and {C4} both claim scenario C4" in found


def test_adding_a_notebook_is_all_that_a_new_scenario_takes(project: Path) -> None:
    path = project / "notebooks" / "Q1-new-component.ipynb"
    assert "Q1" not in SCENARIOS
    shutil.copy(project / "notebooks" / C4, path)

    def rename(notebook: dict[str, Any]) -> None:
        declared(notebook).update(
            id="Q1",
            title="New component",
            components=["BrandNewComponent"],
            tags=["brand-new"],
            cases=[{"id": "Q1.1", "title": "One case", "claim": "stays isolated", "faults": ["W1", "G1"]}],
        )

    change(path, rename)
    listed = {one["id"]: one for one in json.loads(CliRunner().invoke(scenarios, ["--json"]).output)}
    assert listed["Q1"]["title"] == "New component"
    assert listed["Q1"]["requirements"] == ["Q1", "Q1.1"]
    for selector in ("Q1", "q1.1", "BrandNewComponent", "brand-new", "Q*"):
        assert [one.id for one in select([selector])] == ["Q1"], selector
    (plan,) = plans_of(asked("Q1"))
    assert [one.path.name for one in plan.notebooks] == [path.name]
    assert ("Q1.1", "One case", "stays isolated", "W1 G1") in coverage().rows
    claims = claims_of(select(["Q1", "A4"]))
    assert claims["Q1.1"] == ("W1", "G1")
    (trial,) = orders(
        faults=["W1"],
        notebooks=select(["Q1", "A4"]),
        claims=claims,
        parameters=read_parameters(environment_file("lab")),
        output=project / "trials",
        rate=1.0,
        repeat=1,
        modules=[],
        variants=[],
    )
    assert [one.id for one in trial.notebooks] == ["Q1"]


def asked(*selectors: str) -> Options:
    return Options(
        selectors=selectors,
        since="",
        environments=(),
        parameters=None,
        faults=(),
        modules=(),
        jobs=1,
        cell_timeout=None,
        scheduler=None,
        output=None,
        resume=None,
        yes=True,
        verbose=False,
        alerts=Alerts(),
        pairs=(),
    )


def test_a_scenario_that_has_changed_is_read_again(project: Path) -> None:
    assert SCENARIOS["C4"].title == "Multi-user WebSocket isolation"
    change(project / "notebooks" / C4, lambda one: declared(one).update(title="Changed"))
    assert SCENARIOS["C4"].title == "Changed"


def test_refreshing_a_notebook_keeps_what_it_declares() -> None:
    import nbformat

    notebook = nbformat.read(PROJECT / "notebooks" / C4, as_version=4)  # type: ignore[no-untyped-call]
    before = json.loads(json.dumps(notebook.metadata["netra_probe"]))
    notebook.metadata["papermill"] = {"duration": 1.0}
    after = normalise(notebook).metadata
    assert after["netra_probe"] == before
    assert "papermill" not in after
