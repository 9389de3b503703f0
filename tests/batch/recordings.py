"""Run directories as runs leave them, recorded in milliseconds: real histories, really judged, of very little."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import nbformat

from netra_probe.history.canary import mint
from netra_probe.history.store import Recorder
from netra_probe.results.results import PLAN, RESULTS, SCHEMA, compute, write_json

NOTEBOOKS = {"C4": "C4-multi-user-websocket-isolation.ipynb", "A1": "A1-authentication-and-context.ipynb"}


def record_run(
    outputs: Path,
    cases: Mapping[str, str],
    *,
    name: str = "20261101T010000Z-aaaaaa",
    environment: str = "lab",
    said: str = "the figures of this quarter",
    cleanup: str = "pass",
) -> Path:
    """A run directory in which each case got its verdict: ``{"C4.1": "pass", "C4.2": "fail"}``.

    Arguments:
        cases: what to record; ``fail`` has bob receive a secret of alice, ``inconclusive`` nobody anything.
        said: text around each secret, as an agent might say it.
        cleanup: how the clean-up ended.
    """
    run = outputs / environment / name
    for folder in ("history", "notebooks", "logs"):
        (run / folder).mkdir(parents=True)
    scenarios: dict[str, dict[str, str]] = {}
    for case, verdict in cases.items():
        scenarios.setdefault(case.partition(".")[0], {})[case] = verdict
    for scenario, wanted in scenarios.items():
        _record(run / "history" / f"{scenario}.jsonl", scenario, wanted, environment, said, cleanup)
        (run / "logs" / f"{scenario}.log").touch()
        _notebook(run / "notebooks" / NOTEBOOKS[scenario], said)
    started = f"{name[:4]}-{name[4:6]}-{name[6:8]}T{name[9:11]}:{name[11:13]}:{name[13:15]}Z"
    write_json(
        run / PLAN,
        {
            "schema": SCHEMA,
            "run": name,
            "environment": environment,
            "seed": 7,
            "users": 2,
            "faults": [],
            "pid": 0,
            "started": started,
            "versions": {"python": "3.11.9", "netra-probe": "0.1.0"},
            "scenarios": [
                {
                    "id": id,
                    "title": f"the {id}",
                    "cases": {case: f"what {case} claims" for case in wanted},
                    "notebook": NOTEBOOKS[id],
                    "status": "completed",
                    "reason": "",
                }
                for id, wanted in scenarios.items()
            ],
        },
    )
    results = compute(run)
    write_json(run / RESULTS, results)
    judged = {case["id"]: case["verdict"] for scenario in results["scenarios"] for case in scenario["cases"]}
    assert judged == dict(cases)
    return run


def _record(path: Path, scenario: str, cases: Mapping[str, str], environment: str, said: str, cleanup: str) -> None:
    recorder = Recorder(path)
    opening = {"schema": 1, "scenario": scenario, "title": f"the {scenario}", "environment": environment, "seed": 7}
    opening["cases"] = {case: f"what {case} claims" for case in cases}
    recorder.observe("open", detail={**opening, "surfaces": ["rest", "websocket"], "versions": {"python": "3.11.9"}})
    asked = recorder.invoke("GET /openapi.json", connection="nobody/probe")
    about = {"info": {"title": "Netra backend", "version": "2.3.4"}}
    recorder.complete(asked, "ok", status=200, payload=json.dumps(about))
    for user in ("alice", "bob"):
        recorder.observe("principal", user=user, ids={"user_id": f"id-of-{user}"})
    for number, (case, verdict) in enumerate(cases.items()):
        start = len(recorder)
        for user in ("alice", "bob"):
            canary = mint(seed=number, identity=user, user=user, field="title", surface="rest")
            recorder.observe("mint", user=user, detail={"token": canary.token, "field": "title", "surface": "rest"})
            sent = {"user": user, "connection": f"{user}/rest", "surface": "rest"}
            body = json.dumps({"title": f"{said} {canary.token}"})
            call = recorder.invoke("POST /api/threads", **sent, payload=body, detail={"path": "/api/threads"})
            recorder.complete(call, "ok", status=200, payload="{}")
            if verdict == "inconclusive":
                continue
            for reader in ("alice", "bob") if verdict == "fail" and user == "alice" else (user,):
                frame = json.dumps({"type": "thread", "payload": {"title": f"{said} {canary.token}"}})
                at = {"user": reader, "connection": f"{reader}/ws-1", "surface": "websocket"}
                recorder.observe("receive", **at, payload=frame)
        for user in ("alice", "bob"):  # silence means something of those only who are still there
            at = {"user": user, "connection": f"{user}/ws-1", "surface": "websocket"}
            recorder.observe("receive", **at, payload='{"type": "pong"}')
        checked = {"case": case, "claim": f"what {case} claims", "start": start}
        recorder.observe("check", detail={**checked, "checkers": [{"id": "C1", "options": {}}]})
    recorder.observe("cleanup", detail={"verdict": cleanup, "left": [] if cleanup == "pass" else ["account of bob"]})
    recorder.close()


def _notebook(path: Path, said: str) -> None:
    shown = nbformat.v4.new_output("display_data", data={"text/plain": said, "text/html": f"<p>{said}</p>"})  # type: ignore[no-untyped-call]
    cells = [
        nbformat.v4.new_markdown_cell(f"# A title\n\n{said}"),  # type: ignore[no-untyped-call]
        nbformat.v4.new_code_cell("probe.matrix()", outputs=[shown]),  # type: ignore[no-untyped-call]
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)  # type: ignore[no-untyped-call]
