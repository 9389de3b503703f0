"""What a selector means: ids, patterns, components, requirements, symptoms and changes."""

import subprocess
from pathlib import Path

import pytest
from projects import PASSES, notebook, workbook

from netra_probe.batch.notebooks import all_notebooks
from netra_probe.batch.plan import Plan, parameters_of_each
from netra_probe.batch.selection import select, symptoms
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.errors import ParameterError
from netra_probe.target.parameters import environment_file, read_parameters


def ids(*selectors: str, since: str = "") -> list[str]:
    return [notebook.id for notebook in select(selectors, since=since)]


def test_an_id_a_pattern_a_requirement_and_a_component_each_name_notebooks() -> None:
    everything = [notebook.id for notebook in all_notebooks()]
    assert ids() == everything
    assert ids("C4") == ids("c4") == ids("C4.2") == ["C4"]
    assert ids("B*") == [id for id in everything if id.startswith("B")]
    assert ids("[AD]1", "S?") == ["A1", "D1", "S1", "S2"]
    for one in all_notebooks():
        assert (one.id in ids("unifiedtooldispatcher")) == ("UnifiedToolDispatcher" in SCENARIOS[one.id].components)
    assert {"B1", "B2", "B5"} <= set(ids("unifiedtooldispatcher"))
    assert {"C4", "D5"} <= set(ids("websocket core"))
    assert ids("hygiene") == ["S2"]


def test_a_notebook_that_is_meant_twice_is_run_once_in_the_usual_order() -> None:
    assert ids("C4", "A1", "C4.3", "C*", "A1") == [id for id in ids() if id[0] == "C" or id == "A1"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("another user's report", "C4"),
        ("Another User’s report", "C4"),
        ("it came twice", "A3"),
        ("slow", "D5"),
        ("logged out connected", "A3"),
    ],
)
def test_words_of_a_symptom_lead_to_its_notebooks(words: str, expected: str) -> None:
    rows = [sorted(file.partition("-")[0] for file in row.files) for row in symptoms()]
    assert expected in ids(words)
    assert ids(words) in rows


def test_every_symptom_of_the_start_notebook_leads_somewhere() -> None:
    for symptom in symptoms():
        assert ids(symptom.text), symptom


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("C44", 'unknown scenario "C44"; did you mean "C4"?'),
        ("00", "execute it with `netra-probe refresh 00`"),
        ("A1.9", 'unknown requirement "A1.9"; did you mean "A1'),
        ("Z*", 'no scenario is called "Z*"; known: A1, '),
        ("UnifiedToolDispatch", 'did you mean "UnifiedToolDispatcher"?'),
        ("twice", "fits several symptoms; say more of one of them: "),
        ("the printer is on fire", "fits no symptom of 00-start-here.ipynb; it lists: "),
        ("", 'unknown scenario or component ""; known: '),
    ],
)
def test_what_means_nothing_or_too_much_is_answered_with_what_it_could_mean(selector: str, message: str) -> None:
    with pytest.raises(ParameterError) as raised:
        select([selector])
    assert message in str(raised.value)


def test_changes_since_a_revision_are_those_of_git_and_what_git_does_not_know_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workbook(tmp_path / "clone", {"A1": PASSES, "A2": PASSES, "A3": PASSES})
    monkeypatch.chdir(folder)
    with pytest.raises(ParameterError, match="is not in a git clone"):
        select(since="HEAD")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert ids(since="HEAD") == []
    notebook(folder / "notebooks" / "A2-small.ipynb", ("changed = True",), id="A2")
    notebook(folder / "notebooks" / "A4-small.ipynb", PASSES, id="A4")
    assert ids(since="HEAD") == ["A2", "A4"]
    assert ids("A1", "A2", since="HEAD") == ["A2"]
    for wrong in ("nowhere", "--output=x"):
        with pytest.raises(ParameterError, match=r"git knows no revision|not a git revision"):
            select(since=wrong)


def git(*arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments], check=True, capture_output=True
    )


def test_two_files_with_one_id_are_both_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = workbook(tmp_path / "clone", {"A1": PASSES})
    notebook(folder / "notebooks" / "A1-small-Copy1.ipynb", PASSES, id="A1")
    monkeypatch.chdir(folder)
    with pytest.raises(ParameterError, match=r"A1-small-Copy1.ipynb and A1-small.ipynb both claim scenario A1"):
        select()


def test_a_notebook_without_a_parameters_cell_is_named_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workbook(tmp_path / "clone", {"A1": PASSES})
    notebook(folder / "notebooks" / "A2-small.ipynb", PASSES, id="A2", parameters="")
    monkeypatch.chdir(folder)
    plan = Plan(notebooks=select(), parameters=read_parameters(environment_file("lab")))
    with pytest.raises(ParameterError, match=r'A2-small.ipynb: no cell is tagged "parameters"'):
        parameters_of_each(plan)
