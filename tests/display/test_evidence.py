"""Evidence says everything in text, the same in every run; HTML only dresses it and survives an untrusted viewer."""

import itertools
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from IPython.core.formatters import DisplayFormatter

from netra_probe.checkers.judging import scenario_result
from netra_probe.checkers.verdict import CaseResult, CleanUp, Confidence, Finding, Judgement, Verdict
from netra_probe.display.browser import HistoryBrowser, browse
from netra_probe.display.controls import folded
from netra_probe.display.difference import Difference
from netra_probe.display.evidence import EventTable, LeakMatrix
from netra_probe.display.tables import Table
from netra_probe.display.timeline import PALETTE, Timeline
from netra_probe.display.views import VERDICT_MIME, CaseView, ScenarioView, View
from netra_probe.history.canary import mint
from netra_probe.history.operation import Operation

EVENTS = ("agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed")


def story(*, leak: bool = False, users: Sequence[str] = ("alice", "bob")) -> list[Operation]:
    """Everybody asks once and gets their own five events; with ``leak`` the last event of alice's reaches bob, too."""
    operations: list[Operation] = []

    def write(**fields: object) -> None:
        operations.append(Operation(index=len(operations), time=len(operations) * 1_000_000, type="ok", **fields))  # type: ignore[arg-type]

    write(action="open", detail={"scenario": "C4", "title": "Multi-user", "environment": "lab", "seed": 7})
    secrets = {}
    for user in users:
        secrets[user] = mint(seed=7, identity=f"{user}@x", user=user, field="question", surface="websocket").token
        write(action="principal", user=user, ids={"user_id": f"id-of-{user}"})
        write(action="mint", user=user, detail={"token": secrets[user], "field": "question", "surface": "websocket"})
    for user in users:
        for name in EVENTS:
            frame = json.dumps({"type": name, "run_id": f"run-of-{user}", "payload": {"text": secrets[user]}})
            write(action="receive", user=user, connection=f"{user}/ws-1", surface="websocket", payload=frame)
    if leak:
        frame = json.dumps({"type": "agent_completed", "run_id": "run-of-alice", "payload": {"text": secrets["alice"]}})
        write(action="receive", user="bob", connection="bob/ws-1", surface="websocket", payload=frame)
    write(action="cleanup", detail={"verdict": "pass", "left": []})
    return operations


def judged(operations: list[Operation], *findings: Finding) -> CaseResult:
    return CaseResult(
        id="C4.2",
        title="concurrent users stay apart",
        verdict=Verdict.FAIL if findings else Verdict.PASS,
        reason="because <b>of</b> it",
        judgements=(Judgement(checker="C1", findings=findings),),
    )


def whole(case: CaseResult) -> tuple[CaseResult, ...]:
    """The case, and the others of its scenario, which pass."""
    others = ("C4.1", "C4.2", "C4.3", "C4.4", "C4.5")
    return tuple(case if id == case.id else replace(judged([]), id=id) for id in others)


LEAK = Finding(
    checker="C1",
    kind="foreign canary",
    summary="bob received the secret of alice <script>",
    victims=("alice",),
    recipients=("bob",),
    surface="websocket",
    witness=(2, 15),
    explanation="Let m = #2 …: a contradiction.",
)


def views() -> list[View]:
    operations = story(leak=True)
    case = judged(operations, LEAK)
    return [
        LeakMatrix.of(operations),
        EventTable.of(operations),
        Timeline.of(operations),
        CaseView(case, operations),
        ScenarioView(scenario_result(operations, operations[0], (case,), operations[-1])),
        Difference.of(story(), operations),
        HistoryBrowser(operations),
    ]


def test_the_leak_matrix_shows_the_diagonal_and_marks_what_is_off_it() -> None:
    assert LeakMatrix.of(story()).text().splitlines() == [
        "Frames and responses by owner of the data (rows) and recipient (columns); off the diagonal: leaks",
        "owner \\ recipient  alice  bob",
        "─────────────────  ─────  ───",
        "alice                  5    0",
        "bob                    0    5",
        "No leaks. 2 of 2 users saw their own secrets (10 frames and responses).",
    ]
    leaking = LeakMatrix.of(story(leak=True))
    assert "alice                  5  ! 1" in leaking.text()
    assert leaking.leaks == 1


def test_a_big_crowd_is_summed_up_without_hiding_a_leak() -> None:
    crowd = ["bob", "alice", *(f"user-{number}" for number in range(27, 60))]
    matrix = LeakMatrix.of(story(leak=True, users=crowd))
    assert "! 1" in matrix.text()
    assert "more users are not shown, none of them in a leak" in matrix.text()
    assert len(matrix.text().splitlines()) < 20


def test_the_event_table_names_runs_per_user_in_order_of_appearance() -> None:
    rows = EventTable.of(story()).rows
    assert [row[:4] for row in rows] == [["alice", "run-1", "own", "5"], ["bob", "run-1", "own", "5"]]
    assert rows[0][4] == " · ".join(EVENTS)


def test_evidence_of_a_window_leaves_out_what_came_before() -> None:
    operations = story(leak=True)
    assert LeakMatrix.of(operations, start=len(operations) - 2).counts == {("alice", "bob"): 1}
    assert EventTable.of(operations, start=len(operations) - 2).rows[0][0] == "bob"


def test_the_timeline_is_a_picture_with_its_contents_in_words() -> None:
    timeline = Timeline.of(story(leak=True))
    assert timeline.png().startswith(b"\x89PNG")
    assert "bob/ws-1" in timeline.text()
    assert "! 1 frame with data of alice" in timeline.text()
    assert re.search(r'<img alt="[^"]*! 1 frame', timeline.html())


@pytest.mark.parametrize("view", views(), ids=lambda view: type(view).__name__)
def test_each_view_survives_an_untrusted_viewer(view: View) -> None:
    page = view.html()
    for forbidden in ("<script", "<style", "<svg", "class=", "href="):
        assert forbidden not in page.lower()
    assert "0x" not in view.text()
    assert repr(view) == folded(view.text())


@pytest.mark.parametrize("view", views(), ids=lambda view: type(view).__name__)
def test_each_view_shows_the_same_for_the_same_history(view: View) -> None:
    again = next(other for other in views() if type(other) is type(view))
    assert again.text() == view.text()
    assert again.html() == view.html()


def test_text_from_the_target_cannot_become_markup() -> None:
    page = CaseView(judged([], LEAK), []).html()
    assert "&lt;b&gt;" in page
    assert "<script>" not in page
    table = Table(caption="<i>", headings=["<u>"], rows=[["<a onclick=1>"]])
    assert "<i>" not in table.html()
    assert "<a " not in table.html()


def test_a_finding_is_shown_with_its_steps_and_its_explanation() -> None:
    text = CaseView(judged(story(leak=True), LEAK), story(leak=True)).text()
    assert text.startswith("FAIL  C4.2 violated: foreign canary")
    assert "#2 alice plants a secret in question: CANARY" in text
    assert "#15 bob/ws-1 ← agent_completed" in text
    assert "a contradiction" in text


def test_the_final_verdict_carries_itself_as_data() -> None:
    operations = story()
    result = scenario_result(operations, operations[0], whole(judged(operations)), operations[-1])
    data, _ = DisplayFormatter().format(ScenarioView(result))  # type: ignore[no-untyped-call]
    assert data[VERDICT_MIME]["verdict"] == "pass"
    assert data[VERDICT_MIME]["cases"][1]["id"] == "C4.2"
    assert "reason" not in data[VERDICT_MIME]
    assert "seconds" not in data[VERDICT_MIME]
    assert "clean-up: pass, nothing is left" in data["text/plain"]


def test_two_histories_differ_only_in_what_a_user_observed() -> None:
    assert Difference.of(story(), story()).rows == ()
    (row,) = Difference.of(story(), story(leak=True)).rows
    assert row[:2] == ("bob", "agent_completed")
    assert row[3:] == (0, 1)


def test_the_browser_filters_by_user_and_text() -> None:
    browser = HistoryBrowser(story(leak=True))
    assert browser.users == ["alice", "bob"]
    assert "6 operation(s)" in browser.select(user="bob").caption
    assert "3 operation(s)" in browser.select(text="agent_completed").caption
    assert "0 operation(s), page 1 of 1" in browser.select(text="nowhere", page=99).caption


def test_the_controls_redraw_the_table_without_touching_the_history() -> None:
    form = browse(story(leak=True))
    (choice, search, page), shown = form.children[0].children, form.children[1]
    assert "11 operation(s)" in shown.value
    choice.value = "bob"
    assert "6 operation(s)" in shown.value
    search.value = "agent_started"
    assert "1 operation(s)" in shown.value
    page.value = 1
    assert "1 operation(s)" in shown.value


def test_a_finding_needs_a_witness_of_at_most_six() -> None:
    with pytest.raises(ValueError, match="one to six witness operations"):
        Finding(checker="C1", kind="x", summary="x", witness=())
    with pytest.raises(ValueError, match="one to six witness operations"):
        Finding(checker="C1", kind="x", summary="x", witness=tuple(range(7)))


@pytest.mark.parametrize(("runs", "bound"), [(59, 0.05), (299, 0.01)])
def test_the_confidence_bound_is_exact_and_near_the_rule_of_three(runs: int, bound: float) -> None:
    confidence = Confidence.of(runs=runs, deliveries=0, leaks=0)
    assert confidence.upper_bound == pytest.approx(bound, rel=0.01)
    assert confidence.upper_bound == pytest.approx(3 / runs, rel=0.03)
    assert Confidence.of(runs=runs, deliveries=0, leaks=1).upper_bound == 1.0


def test_fail_outweighs_inconclusive_outweighs_pass() -> None:
    assert Verdict.worst([Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL]) is Verdict.FAIL
    assert Verdict.worst([Verdict.PASS, Verdict.INCONCLUSIVE]) is Verdict.INCONCLUSIVE
    assert Verdict.worst([Verdict.NOT_APPLICABLE, Verdict.PASS]) is Verdict.PASS
    assert Verdict.worst([]) is Verdict.INCONCLUSIVE
    assert [verdict.exit_status for verdict in Verdict] == [0, 1, 3, 3]
    assert CleanUp(verdict=Verdict.PASS).left == ()


#: Linear RGB as people see it who lack one kind of cone (F. Viénot, H. Brettel, J. D. Mollon, Color Res. Appl. 24:243,
#: 1999).
VISION = {
    "protanopia": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
    "deuteranopia": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
}


def least_difference(colours: Sequence[str], matrix: Sequence[Sequence[float]]) -> float:
    """The smallest distance between two of the colours as they are seen, black to white being √3."""
    seen = []
    for colour in colours:
        linear = [(int(colour[at : at + 2], 16) / 255) ** 2.2 for at in (1, 3, 5)]
        mixed = [sum(weight * part for weight, part in zip(row, linear, strict=True)) for row in matrix]
        seen.append([max(0.0, part) ** (1 / 2.2) for part in mixed])
    return min(math.dist(one, other) for one, other in itertools.combinations(seen, 2))


@pytest.mark.parametrize("vision", VISION)
def test_owners_are_told_apart_by_everybody(vision: str) -> None:
    assert least_difference(PALETTE, VISION[vision]) > 0.14
    olive = {"protanopia": "#5a4400", "deuteranopia": "#5a7500"}[vision]
    assert least_difference(("#c00000", olive), VISION[vision]) < 0.14, "red and olive are what nobody should take"


def test_behind_each_leaking_cell_of_the_matrix_are_its_frames() -> None:
    page = LeakMatrix.of(story(leak=True)).html()
    (fold,) = re.findall(r"<details.*?</details>", page, re.DOTALL)
    assert "alice → bob" in fold and "×1" in fold and "CANARY" in fold and "first at" in fold
    assert "<details" not in LeakMatrix.of(story()).html()
