"""Alerts: told once, to a real server and a real command, without a secret, and never in the way of a verdict."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from recordings import record_run

from netra_probe.cli.main import app
from netra_probe.errors import ParameterError
from netra_probe.report.alerts import ATTEMPTS, Alerts, send_alerts
from netra_probe.results.runs import earlier, read_run

SECRET_PATH = "T0secretsecretsecret"


class Hook(HTTPServer):
    """A webhook that answers as it is told to, and keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int] = []
        self.posts: list[dict[str, object]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/{SECRET_PATH}"


class Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.answers.pop(0) if self.server.answers else 200
        if self.path.endswith(SECRET_PATH):
            self.server.posts.append({"status": status, **body})
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("ALERT_URL", server.url)
        yield server
        server.shutdown()
        thread.join()


def night(outputs: Path, number: int, cases: dict[str, str], alerts: Alerts, **said: str) -> list[str]:
    """One more run, and what is told of it."""
    run = read_run(record_run(outputs, cases, name=f"202611{number:02}T010000Z-aaaaaa", **said))
    return send_alerts(run, earlier(run), alerts)


def test_a_failure_is_told_once_and_so_is_its_end(hook: Hook, tmp_path: Path) -> None:
    alerts = Alerts(webhook="env:ALERT_URL")
    nights = ["pass", "fail", "fail", "inconclusive", "fail", "pass", "pass", "fail"]
    told = [bool(night(tmp_path, number, {"C4.1": verdict}, alerts)) for number, verdict in enumerate(nights, start=1)]
    assert told == [False, True, False, False, False, True, False, True]
    assert [[case["case"] for case in post["new_failures"]] for post in hook.posts] == [["C4.1"], [], ["C4.1"]]
    assert [[case["case"] for case in post["recovered"]] for post in hook.posts] == [[], ["C4.1"], []]


def test_a_failure_that_goes_on_is_told_again_only_on_request(hook: Hook, tmp_path: Path) -> None:
    alerts = Alerts(webhook="env:ALERT_URL", always=True)
    for number, verdict in enumerate(["fail", "fail", "pass", "pass"], start=1):
        night(tmp_path, number, {"C4.1": verdict}, alerts)
    assert [len(post["still_failing"]) for post in hook.posts] == [0, 1, 0]
    assert "1 still failing" in hook.posts[1]["text"]


def test_an_alert_says_what_where_and_why_as_text_and_as_fields(hook: Hook, tmp_path: Path) -> None:
    night(tmp_path, 1, {"C4.1": "fail", "C4.2": "pass"}, Alerts(webhook="env:ALERT_URL"), environment="staging")
    (post,) = hook.posts
    assert post["text"].splitlines()[:2] == [
        "netra-probe: staging FAIL: 1 new failure(s)",
        "• C4.1 violated: foreign canary: alice's data reached bob: 1 frame or response, 1 secret",
    ]
    assert post["environment"] == "staging"
    assert post["verdict"] == "fail"
    assert post["report"] == str(tmp_path / "staging" / "20261101T010000Z-aaaaaa" / "report.html")


def test_what_a_user_was_sent_mentions_nobody_and_no_secret_goes_out(hook: Hook, tmp_path: Path) -> None:
    path = record_run(tmp_path, {"C4.1": "fail"})
    results = json.loads((path / "results.json").read_text())
    case = results["scenarios"][0]["cases"][0]
    case["reason"] = (
        "<!channel> Bearer abcdefghijklmnop eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJl " + "x" * 2000
    )
    (path / "results.json").write_text(json.dumps(results))
    send_alerts(read_run(path), [], Alerts(webhook="env:ALERT_URL"))
    (post,) = hook.posts
    assert "&lt;!channel&gt;" in post["text"]
    assert len(post["text"]) < 1000
    assert "abcdefghijklmnop" not in json.dumps(post)
    assert "eyJhbGci" not in json.dumps(post)


def test_a_webhook_is_tried_again_while_it_is_in_trouble(hook: Hook, tmp_path: Path) -> None:
    hook.answers = [503, 429]
    lines = night(tmp_path, 1, {"C4.1": "fail"}, Alerts(webhook="env:ALERT_URL", pause=0.01))
    assert lines == ["alert     env:ALERT_URL"]
    assert [post["status"] for post in hook.posts] == [503, 429, 200]


@pytest.mark.parametrize(("answers", "posts", "said"), [([404], 1, "404"), ([500] * 9, ATTEMPTS, "500")])
def test_an_alert_that_is_refused_is_a_warning(
    hook: Hook, tmp_path: Path, answers: list[int], posts: int, said: str
) -> None:
    hook.answers = answers
    lines = night(tmp_path, 1, {"C4.1": "fail"}, Alerts(webhook="env:ALERT_URL", pause=0.001))
    assert lines == [f"warning   alert: env:ALERT_URL was not told: it answered {said}"]
    assert len(hook.posts) == posts


def test_a_webhook_that_is_not_there_is_a_warning_without_its_url(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOBODY_URL", f"http://127.0.0.1:9/{SECRET_PATH}")
    caplog.set_level(logging.DEBUG)
    for name in ("NOBODY_URL", "ALERT_URL"):
        (line,) = night(tmp_path / name, 1, {"C4.1": "fail"}, Alerts(webhook=f"env:{name}", pause=0.001))
        assert SECRET_PATH not in line
    assert SECRET_PATH not in caplog.text
    assert len(hook.posts) == 1


def test_a_command_gets_the_alert_on_its_input_and_in_its_environment(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    program = "import json, os, sys; alert = json.load(sys.stdin); alert['variables'] = dict(os.environ); "
    program += f"json.dump(alert, open({str(kept)!r}, 'w'))"
    alerts = Alerts(command=f'{sys.executable} -c "{program}"')
    assert night(tmp_path, 1, {"C4.1": "fail", "C4.2": "fail"}, alerts) == [f"alert     {sys.executable}"]
    told = json.loads(kept.read_text())
    assert [case["case"] for case in told["new_failures"]] == ["C4.1", "C4.2"]
    given = {name: value for name, value in told["variables"].items() if name.startswith("NETRA_PROBE_ALERT_")}
    assert given["NETRA_PROBE_ALERT_NEW_FAILURES"] == "C4.1 C4.2"
    assert given["NETRA_PROBE_ALERT_ENVIRONMENT"] == "lab"
    assert given["NETRA_PROBE_ALERT_VERDICT"] == "fail"
    assert set(told["variables"]) >= set(os.environ)


@pytest.mark.parametrize(
    ("command", "said"),
    [("/nowhere/program --flag", "could not be started (No such file or directory)"), ("false", "ended with status 1")],
)
def test_a_command_that_fails_is_a_warning(tmp_path: Path, command: str, said: str) -> None:
    (line,) = night(tmp_path, 1, {"C4.1": "fail"}, Alerts(command=command))
    assert line == f"warning   alert: {command.partition(' ')[0]} {said}"


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    (line,) = night(tmp_path, 1, {"C4.1": "fail"}, Alerts(command="sleep 60", seconds=0.1))
    assert line == "warning   alert: sleep took longer than 0.1 s and was ended"


@pytest.mark.parametrize(
    ("webhook", "command", "said"),
    [
        (f"https://hooks.example/{SECRET_PATH}", "", "give a reference"),
        ("env:NOT_SET_ANYWHERE", "", "the environment variable NOT_SET_ANYWHERE is not set"),
        ("env:NO_URL", "", "env:NO_URL holds no http"),
        ("", 'notify "now', "check its quotes"),
        ("", "  ", "there is no command in it"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_run(
    monkeypatch: pytest.MonkeyPatch, webhook: str, command: str, said: str
) -> None:
    monkeypatch.setenv("NO_URL", SECRET_PATH)
    with pytest.raises(ParameterError) as raised:
        app.main(["run", "C4", "--alert-webhook", webhook, "--alert-command", command], standalone_mode=False)
    assert said in str(raised.value)
    assert SECRET_PATH not in str(raised.value)


def test_report_tells_what_a_run_would_have_told(
    hook: Hook, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = record_run(tmp_path, {"C4.1": "fail"})
    assert app.main(["report", str(run), "--alert-webhook", "env:ALERT_URL"], standalone_mode=False) == 0
    assert "alert     env:ALERT_URL" in capsys.readouterr().out
    assert len(hook.posts) == 1
