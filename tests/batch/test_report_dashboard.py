"""The dashboard: every environment, every requirement, run by run, whatever else lies around."""

from __future__ import annotations

import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from recordings import record_run

from netra_probe.batch.progress import Place
from netra_probe.report.dashboard import MOST_RUNS, dashboard_page, write_dashboard
from netra_probe.report.publish import publish
from netra_probe.results.compare import last_verdicts

SHORT = {"pass": "pass", "FAIL": "fail", "?": "inconclusive", "n/a": "not applicable", "·": None}


def strips(page: str, environment: str) -> dict[str, list[str | None]]:
    """Scenario or case → what its cells say, newest first."""
    grid = BeautifulSoup(page, "html.parser").find(id=environment).find_next(class_="grid")
    return {
        row.find("b").text: [SHORT[cell.text] for cell in row.find(class_="strip").find_all(class_="cell")]
        for row in grid.find_all(class_="row")[1:]
    }


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETRA_PROBE_OUTPUTS", str(tmp_path))
    record_run(tmp_path, {"C4.1": "pass", "C4.2": "fail"}, name="20261101T010000Z-aaaaaa")
    record_run(tmp_path, {"C4.1": "pass", "A1.1": "pass"}, name="20261102T010000Z-bbbbbb")
    record_run(tmp_path, {"A1.1": "inconclusive"}, name="20261103T010000Z-cccccc", environment="staging")
    return tmp_path


def test_each_requirement_has_its_trend_in_each_environment_newest_first(outputs: Path) -> None:
    page = dashboard_page(outputs)
    assert strips(page, "lab") == {
        "A1": ["pass", None],
        "A1.1": ["pass", None],
        "C4": ["pass", "fail"],
        "C4.1": ["pass", "pass"],
        "C4.2": [None, "fail"],
    }
    assert strips(page, "staging") == {"A1": ["inconclusive"], "A1.1": ["inconclusive"]}


def test_each_cell_leads_to_its_run(outputs: Path) -> None:
    for run in sorted(outputs.glob("*/*")):
        publish(Place(run))
    page = (outputs / "index.html").read_text()
    links = re.findall(r'href="([^"]+)"', page)
    assert "lab/20261101T010000Z-aaaaaa/report.html#case-C4.2" in links
    for link in links:
        file, _, place = link.partition("#")
        assert f'id="{place}"' in (outputs / file).read_text() if place else (outputs / file).is_file()


def test_what_is_damaged_or_foreign_is_named_and_the_rest_is_shown(outputs: Path) -> None:
    (outputs / "lab" / "20261104T010000Z-damaged").mkdir()
    (outputs / "lab" / "20261104T010000Z-damaged" / "run.json").write_text("{")
    (outputs / "lab" / "holiday pictures").mkdir()
    (outputs / "lab" / "by-hand" / "history").mkdir(parents=True)
    cut = record_run(outputs, {"C4.1": "pass"}, name="20261105T010000Z-eeeeee")
    (cut / "results.json").write_text('{"schema": 99}')
    going_on = record_run(outputs, {"C4.1": "pass"}, name="20261106T010000Z-ffffff")
    (going_on / "results.json").unlink()
    (outputs / "a file").write_text("of somebody")
    page = dashboard_page(outputs)
    footnote = page.partition("Not shown")[2]
    for name in ("20261104T010000Z-damaged/run.json", "holiday pictures", "20261105T010000Z-eeeeee/results.json"):
        assert f"lab/{name}" in footnote
    assert "by-hand" not in page
    assert "ffffff" not in footnote
    assert strips(page, "lab")["C4"] == [None, None, "pass", "fail"]


def test_only_so_many_runs_are_shown_and_the_others_counted(outputs: Path) -> None:
    for number in range(MOST_RUNS):
        record_run(outputs, {"A1.1": "pass"}, name=f"20261103T0{number // 10}000{number % 10}Z-abcdef")
    page = dashboard_page(outputs)
    assert len(strips(page, "lab")["A1"]) == MOST_RUNS
    assert "2 older runs not shown" in page


def test_an_empty_folder_and_one_that_is_not_there_give_a_page_that_says_so(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert "Nothing has been run yet" in dashboard_page(folder)


def test_runs_that_end_at_once_leave_one_whole_page(outputs: Path) -> None:
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(write_dashboard, [outputs] * 6))
    assert (outputs / "index.html").read_text() == dashboard_page(outputs)
    assert [path.name for path in outputs.iterdir() if "partial" in path.name] == []


def test_a_run_that_is_kept_elsewhere_leaves_the_dashboard_alone(
    outputs: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = record_run(tmp_path_factory.mktemp("elsewhere"), {"C4.1": "pass"})
    publish(Place(elsewhere))
    assert not (outputs / "index.html").exists()


def test_the_last_verdicts_are_those_of_the_latest_runs(outputs: Path) -> None:
    assert last_verdicts(outputs) == {"A1": {"lab": "pass", "staging": "inconclusive"}, "C4": {"lab": "pass"}}
