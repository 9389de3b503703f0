"""What a run leaves for people: a report and pages that say it all, fetch nothing, and run nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml
from recordings import record_run

from netra_probe.batch.progress import Place
from netra_probe.catalogue.scenarios import SCENARIOS, cases_by_id
from netra_probe.checkers.judging import judge_history
from netra_probe.cli.main import app
from netra_probe.cli.summary import summary
from netra_probe.display.views import CaseView
from netra_probe.errors import ParameterError
from netra_probe.history.store import History
from netra_probe.report.dashboard import dashboard_page
from netra_probe.report.notebooks import sanitised
from netra_probe.report.pages import copying
from netra_probe.report.publish import publish
from netra_probe.results.results import compute, find_history, judge_scenario
from netra_probe.results.runs import earlier, read_run
from netra_probe.results.schema import basis

HOSTILE = """</title></script><script>document.title = 'taken'</script><svg onload="document.title='taken'"></svg>
{{ 7 * 191 }} \x00\x1b[31m \u202e <img src=x onerror="document.title='taken'">"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of a night: C4.1 was fine before, C4.2 was red, C4.3 was never decided."""
    outputs = tmp_path_factory.mktemp("outputs")
    record_run(outputs, {"C4.1": "pass", "C4.2": "fail", "C4.3": "inconclusive"}, name="20261101T010000Z-aaaaaa")
    record_run(outputs, {"C4.1": "fail", "C4.2": "pass", "C4.3": "inconclusive"}, name="20261102T010000Z-bbbbbb")
    record_run(outputs, {"C4.1": "fail"}, name="20261103T010000Z-cccccc", said=HOSTILE)
    for run in sorted((outputs / "lab").iterdir()):
        assert not [line for line in publish(Place(run)).lines if line.startswith("warning")]
    return outputs


def page(outputs: Path, which: int) -> str:
    return (sorted((outputs / "lab").iterdir())[which] / "report.html").read_text()


def text(html: str) -> str:
    """What one reads, without markup."""
    body = html.partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_a_report_begins_with_the_verdict_and_tells_what_is_new(outputs: Path) -> None:
    told = text(page(outputs, 1))
    assert told.startswith("fail 1 of 3 cases failed. Isolation on lab , 02 November 2026, 01:00 UTC")
    news = told.partition("Changes")[2].partition("Verdicts")[0]
    assert "New failures C4.1 violated: foreign canary: pass → fail. New: canary · foreign canary (websocket)." in news
    assert "Recovered C4.2 what C4.2 claims: fail → pass. Gone: canary · foreign canary (websocket)." in news
    assert "C4.3" not in news


def test_a_first_run_has_only_new_failures(outputs: Path) -> None:
    news = text(page(outputs, 0)).partition("Changes")[2].partition("Verdicts")[0]
    assert "There is no earlier run of lab" in news
    assert "C4.2 violated: foreign canary: first result: fail." in news
    assert "C4.1" not in news


def test_what_fails_as_before_and_what_was_left_behind_is_told_at_the_top(tmp_path: Path) -> None:
    for number in (1, 2):
        run = record_run(tmp_path, {"C4.1": "fail"}, name=f"2026110{number}T010000Z-aaaaaa", cleanup="inconclusive")
        publish(Place(run))
    told = text((run / "report.html").read_text()).partition("Verdicts")[0]
    assert "Clean-up: inconclusive, left C4: account of bob." in told
    assert "1 case fails as before: C4.1 ." in told


def test_a_red_case_shows_who_leaked_to_whom_with_the_steps_that_show_it(outputs: Path) -> None:
    told = text(page(outputs, 1)).partition("Findings")[2]
    assert "owner \\ recipient alice bob alice 1 ! 1 bob 0 1" in told
    assert "canary · foreign canary: alice's data reached bob over websocket through thread (1 frame, 1 secret)" in told
    assert "Surface: websocket. Owner: alice. Received by: bob." in told
    assert re.search(r"#\d+ bob/ws-1 ← .*CANARY", told)


def test_a_report_says_what_it_is_worth_and_with_what_it_was_made(outputs: Path) -> None:
    told = text(page(outputs, 1))
    for said in (
        f"3 of {len(cases_by_id(SCENARIOS))} claims were looked at in this run",
        f"{SCENARIOS['A1'].title} — not run",
        "0 agent runs, 0 events delivered; no bound",
        "nothing is left",
        "looked at rest, websocket",
        "Netra backend 2.3.4",
        "python 3.11.9",
        "2 users, seed 7",
    ):
        assert said in told, said


def test_each_link_of_a_report_leads_to_a_file_or_place_that_is_there(outputs: Path) -> None:
    for run in (outputs / "lab").iterdir():
        html = (run / "report.html").read_text()
        places = set(re.findall(r'id="([^"]+)"', html))
        links = re.findall(r'(?:href|src)="([^"]+)"', html)
        assert any(link.startswith("notebooks/") and link.endswith(".html") for link in links)
        for link in links:
            if link.startswith("data:image/svg+xml;base64,"):
                continue  # a picture that is in the page
            assert (link[1:] in places) if link.startswith("#") else (run / link).is_file(), link


def test_an_id_stands_once_in_a_page(outputs: Path) -> None:
    for run in (outputs / "lab").iterdir():
        places = re.findall(r'id="([^"]+)"', (run / "report.html").read_text())
        assert len(places) == len(set(places))


def test_nothing_that_a_user_was_sent_is_markup(outputs: Path) -> None:
    run = sorted((outputs / "lab").iterdir())[2]
    for file in (run / "report.html", *(run / "notebooks").glob("*.html")):
        page = BeautifulSoup(file.read_text(), "html.parser")
        assert page.find_all(["svg", "iframe", "object", "form", "link", "base"]) == []
        # The one script copies tickets; the page allows it by its digest, and so no other.
        scripts = [str(one.string) for one in page.find_all("script")]
        assert scripts == ([copying()["copy_script"]] if file.name == "report.html" else [])
        digest = base64.b64encode(hashlib.sha256("".join(scripts).encode()).digest()).decode()
        allowed = f"script-src 'sha256-{digest}'; " if scripts else ""
        for image in page.find_all(src=True):
            kind, _, data = str(image["src"]).partition(";base64,")
            assert (image.name, kind) == ("img", "data:image/svg+xml")
            drawn = ElementTree.fromstring(base64.b64decode(data))
            assert {element.tag.rpartition("}")[2] for element in drawn.iter()} <= {
                "svg",
                "rect",
                "line",
                "polygon",
                "circle",
                "text",
            }
        acts = [name for tag in page.find_all(True) for name in tag.attrs if name.startswith("on")]
        assert acts == []
        assert "1337" not in page.text
        (policy,) = page.find_all("meta", {"http-equiv": "Content-Security-Policy"})
        rest = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
        assert policy["content"] == f"default-src 'none'; {allowed}{rest}"
    shown = BeautifulSoup((run / "report.html").read_text(), "html.parser").find(class_="steps").text
    assert """<img src=x onerror=\\"document.title='taken'\\">""" in shown


def test_a_page_of_a_notebook_keeps_tables_and_colours_and_nothing_that_acts() -> None:
    assert sanitised('<td style="color:#8f1111;position:fixed" onclick="f()">! 2</td>') in (
        '<td style="color:#8f1111">! 2</td>',
        "! 2",  # a cell without its table
    )
    table = '<table><tr><td style="color:#8f1111;position:fixed" onclick="f()">! 2</td></tr></table>'
    assert 'style="color:#8f1111"' in sanitised(table)
    for bad in ("<script>f()</script>", '<a href="javascript:f()">', '<img src="https://x/y">', "<form>", "<iframe>"):
        cleaned = sanitised(bad + "words")
        assert not re.search(r"script|https|form|iframe", cleaned), cleaned


def test_sarif_has_a_result_for_each_finding_and_a_rule_for_each_kind(outputs: Path) -> None:
    run = sorted((outputs / "lab").iterdir())[1]
    told = json.loads((run / "results.sarif").read_text())
    (scan,) = told["runs"]
    found = [f for s in read_run(run).results["scenarios"] for case in s["cases"] for f in case["findings"]]
    assert told["version"] == "2.1.0" and len(scan["results"]) == len(found) > 0
    assert {one["ruleId"] for one in scan["results"]} == {rule["id"] for rule in scan["tool"]["driver"]["rules"]}
    assert all(rule["fullDescription"]["text"] for rule in scan["tool"]["driver"]["rules"])
    leak = next(one for one in scan["results"] if one["ruleId"] == "canary/foreign canary")
    assert leak["level"] == "error" and leak["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]
    again = json.loads((sorted((outputs / "lab").iterdir())[2] / "results.sarif").read_text())
    prints = {one["partialFingerprints"]["finding/v1"] for one in again["runs"][0]["results"]}
    assert prints & {one["partialFingerprints"]["finding/v1"] for one in scan["results"]}


def test_junit_times_each_case_by_its_own_part_of_the_recording(outputs: Path) -> None:
    (suite,) = list(JUnitXml.fromfile(str(sorted((outputs / "lab").iterdir())[1] / "junit.xml")))
    assert all(case.time > 0 for case in suite)


def test_a_terminal_of_eighty_columns_gets_no_longer_line(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told = summary(read_run(sorted((outputs / "lab").iterdir())[1]).results)
    assert max(map(len, told.splitlines())) <= 80 and told.endswith("FAIL")
    first = told.splitlines()[0]
    assert "finding" in first and "C4" in first


def test_junit_has_a_suite_for_a_scenario_and_tells_what_is_not_green(outputs: Path) -> None:
    document = JUnitXml.fromfile(str(sorted((outputs / "lab").iterdir())[1] / "junit.xml"))
    (suite,) = list(document)
    assert (suite.name, suite.tests, suite.failures, suite.errors) == ("C4 the C4", 3, 1, 1)
    results = {case.name: case.result for case in suite}
    (failure,) = results["C4.1 what C4.1 claims"]
    assert isinstance(failure, Failure)
    assert "alice's data reached bob" in (failure.message or "")
    assert "CANARY" in (failure.text or "")
    assert results["C4.2 what C4.2 claims"] == []
    assert isinstance(results["C4.3 what C4.3 claims"][0], Error)


def test_junit_of_hostile_text_is_valid_xml(outputs: Path) -> None:
    document = JUnitXml.fromfile(str(sorted((outputs / "lab").iterdir())[2] / "junit.xml"))
    assert document.failures == 1


def test_nothing_that_was_recorded_steers_a_terminal_a_browser_or_a_notebook(outputs: Path) -> None:
    run = sorted((outputs / "lab").iterdir())[2]
    history = History.open(next((run / "history").iterdir()))
    _, result = judge_scenario(run, read_run(run).plan["scenarios"][0])
    assert result is not None
    named = CaseView(replace(result.cases[0], reason=f"the server calls itself {HOSTILE}"), history)
    shown = {
        "report.html": (run / "report.html").read_text(),
        "junit.xml": (run / "junit.xml").read_text(),
        "repr": repr(named),
        **named._repr_mimebundle_(),
    }
    for name, text in shown.items():
        assert not set("\x00\x1b\u202e") & set(text), name
    assert r"\x1b[31m" in shown["text/plain"]


def test_what_a_scenario_leaves_behind_is_red_in_junit_too(tmp_path: Path) -> None:
    run = record_run(tmp_path, {"C4.1": "pass"}, cleanup="fail")
    publish(Place(run))
    (suite,) = list(JUnitXml.fromfile(str(run / "junit.xml")))
    ending = [case for case in suite if case.name == "C4 ends as it should"]
    assert [case.result[0].message for case in ending] == ["C4: account of bob"]
    assert "see the clean-up" in (run / "report.html").read_text()


def test_a_report_is_made_without_a_history_and_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = record_run(tmp_path, {"C4.1": "fail"})
    (run / "history" / "C4.jsonl.gz").unlink()
    assert app.main(["report", str(run)], standalone_mode=False) == 0
    told = capsys.readouterr()
    assert f"report    {run / 'report.html'}\njunit     {run / 'junit.xml'}\n" in told.out
    assert told.err == ""
    assert "alice's data reached bob" in text((run / "report.html").read_text())


def test_a_report_of_a_run_that_is_not_over_says_what_to_do(tmp_path: Path) -> None:
    run = record_run(tmp_path, {"C4.1": "pass"})
    (run / "results.json").unlink()
    with pytest.raises(ParameterError, match=r"results\.json: missing; `netra-probe recheck .*` makes it"):
        app.main(["report", str(run)], standalone_mode=False)
    assert not (run / "report.html").exists()


def test_one_thing_that_cannot_be_written_does_not_keep_the_others_from_being_there(tmp_path: Path) -> None:
    run = record_run(tmp_path, {"C4.1": "pass"})
    (run / "report.html").mkdir()
    lines = publish(Place(run)).lines
    assert any(line.startswith("warning   report.html: could not be written (") for line in lines)
    assert (run / "junit.xml").is_file()


def test_runs_are_ordered_by_when_they_began_and_damaged_ones_passed_over(tmp_path: Path) -> None:
    old = record_run(tmp_path, {"C4.1": "pass"}, name="20261101T010000Z-zzzzzz")
    new = record_run(tmp_path, {"C4.1": "pass"}, name="20261102T010000Z-aaaaaa")
    broken = record_run(tmp_path, {"C4.1": "pass"}, name="20261101T020000Z-aaaaaa")
    (broken / "results.json").write_text("{}")
    assert [run.path for run in earlier(read_run(new))] == [old]
    assert earlier(read_run(old)) == []


def places(value: object, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Every place in nested JSON, as the keys that lead there."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, one in inner for place in places(one, (*at, key)))]


@settings(deadline=None, max_examples=25)
@given(draw=st.data())
def test_whatever_has_become_of_an_earlier_run_the_next_one_is_reported(
    draw: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outputs = tmp_path_factory.mktemp("outputs")
    old = record_run(outputs, {"C4.1": "fail"}, name="20261101T010000Z-aaaaaa")
    file = old / draw.draw(st.sampled_from(["run.json", "results.json"]))
    content = json.loads(file.read_text())
    place = draw.draw(st.sampled_from(places(content)[1:]))
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = draw.draw(st.sampled_from([None, [], {}, "", -1, "x", [[]], {"id": 1}]))
    file.write_text(json.dumps(content))
    new = record_run(outputs, {"C4.1": "pass"}, name="20261102T010000Z-bbbbbb")
    assert not [line for line in publish(Place(new)).lines if line.startswith("warning")]
    dashboard_page(outputs)
    try:
        run = read_run(old)
        if run.has_results:
            assert not [line for line in publish(Place(old)).lines if line.startswith("warning")]
    except ParameterError:
        pass  # it says so


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema": 9}', '{"schema": 1, "run": "x"}', "null"])
def test_a_damaged_plan_is_named(tmp_path: Path, content: str) -> None:
    run = record_run(tmp_path, {"C4.1": "pass"})
    (run / "run.json").write_text(content)
    with pytest.raises(ParameterError, match=r"run\.json"):
        read_run(run)


@pytest.mark.parametrize("damage", ['{"schema": 1, "verdict": "perhaps"}', '{"schema": 2}', "[", '{"schema": 1}'])
def test_damaged_results_are_named_and_not_taken_for_none(tmp_path: Path, damage: str) -> None:
    run = record_run(tmp_path, {"C4.1": "pass"})
    (run / "results.json").write_text(damage)
    with pytest.raises(ParameterError, match=r"results\.json: (damaged|another schema)"):
        _ = read_run(run).results
    assert json.loads((run / "run.json").read_text())["run"]


def test_a_terminal_shows_numbers_that_a_notebook_must_leave_out() -> None:
    case: dict[str, Any] = {
        "verdict": "pass",
        "reason": "3 users watched · runs completed · 2 disturbances",
        "findings": [],
    }
    assert basis(case) == case["reason"]  # of a run from before numbers were kept
    case["evidence"] = {"users looking": 3, "runs ended": 12, "canaries planted": 9, "deliveries": 0}
    assert basis(case) == "3 users watched · 12 runs completed · 2 disturbances"
    assert basis({**case, "verdict": "fail"}) == case["reason"]


def test_results_hold_the_numbers_of_each_case_and_the_verdict_in_a_notebook_does_not(tmp_path: Path) -> None:
    run = record_run(tmp_path, {"C4.1": "pass"})
    (case,) = [one for one in compute(run)["scenarios"][0]["cases"] if one["id"] == "C4.1"]
    assert case["evidence"]["own canaries seen"] == 2
    history = find_history(run, "C4")
    assert history is not None
    assert all("evidence" not in one for one in judge_history(history).as_record()["cases"])
