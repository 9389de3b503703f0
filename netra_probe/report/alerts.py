"""Telling somebody: a webhook or a command, when a case fails that did not, or has recovered.

A case is compared with the last run of the same environment that decided it, so that a failure is reported once however
often it is seen again, and an undecided night in between changes nothing.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netra_probe.batch.progress import is_url
from netra_probe.checkers.verdict import Verdict
from netra_probe.errors import ParameterError
from netra_probe.history.redaction import Redactor
from netra_probe.history.secret import Secret
from netra_probe.results.compare import Change, Kind, since_last_decided
from netra_probe.results.results import case_heading
from netra_probe.results.runs import REPORT, Run, cases_of
from netra_probe.target.secret_references import is_reference, look_up

#: Seconds that one delivery may take, and how often a webhook is tried.
POST_SECONDS = 10.0
COMMAND_SECONDS = 30.0
ATTEMPTS = 4
#: Cases that the text names, and characters of the reason of each; the fields hold all.
MOST_CASES = 10
MOST_CHARACTERS = 300
#: What an answer says that may be another one a moment later.
_LATER = frozenset((408, 425, 429, 500, 502, 503, 504))


@dataclass(frozen=True, kw_only=True)
class Alerts:
    """Whom to tell.

    Arguments:
        webhook: where to post, by reference (``env:NAME``): whoever knows such a URL can write there.
        command: what to start, with the alert as JSON on standard input.
        always: also report failures that were reported before.
        pause: seconds before a webhook is tried again; they double each time.
        seconds: what a command may take.
    """

    webhook: str = ""
    command: str = ""
    always: bool = False
    pause: float = 0.5
    seconds: float = COMMAND_SECONDS

    def __post_init__(self) -> None:
        """Raise ParameterError for what can be seen to be wrong before anything has been run."""
        if self.webhook:
            self.url()
        if self.command:
            try:
                words = shlex.split(self.command)
            except ValueError as error:
                raise ParameterError(f"--alert-command: not a command ({error}); check its quotes.") from None
            if not words:
                raise ParameterError("--alert-command: there is no command in it; name a program.")

    def url(self) -> Secret:
        """Where the webhook is. Raises ParameterError when nothing, or no URL, is behind the reference."""
        if not is_reference(self.webhook):
            raise ParameterError(
                "--alert-webhook: give a reference (env:NAME or keyring:service/name) and not the URL itself, "
                "because whoever knows it can post there."
            )
        try:
            url = look_up(self.webhook)
        except LookupError as error:
            raise ParameterError(f"--alert-webhook: {error.args[0]}") from None
        if not url.reveal().startswith(("https://", "http://")):
            raise ParameterError(f"--alert-webhook: {self.webhook} holds no http(s) URL; correct its value.")
        return url


def send_alerts(run: Run, earlier: Sequence[Run], alerts: Alerts, *, shown: Callable[[Path], str] = str) -> list[str]:
    """Tell of what is new in a run, if anything is; returns lines for a terminal.

    An alert that cannot be delivered is such a line too: it never changes a verdict.
    """
    if not (alerts.webhook or alerts.command):
        return []
    told = alert(run, since_last_decided(run, earlier), report=_link(run.path / REPORT, shown))
    if not (told["new_failures"] or told["recovered"] or (alerts.always and told["still_failing"])):
        return []
    lines = []
    if alerts.webhook:
        problem = _post(alerts, told)
        lines.append(f"warning   alert: {alerts.webhook} {problem}" if problem else f"alert     {alerts.webhook}")
    if alerts.command:
        program = shlex.split(alerts.command)[0]
        problem = _start(alerts, told)
        lines.append(f"warning   alert: {program} {problem}" if problem else f"alert     {program}")
    return lines


def alert(run: Run, news: Sequence[Change], *, report: str) -> dict[str, Any]:
    """What an alert says: ``text`` as Slack understands it, and the same as fields."""
    cases = cases_of(run.results)
    failing = [change.case for change in news if change.kind is Kind.NEW_FAILURE]
    recovered = [change.case for change in news if change.kind is Kind.RECOVERED]
    still = [id for id, case in cases.items() if case["verdict"] == Verdict.FAIL and id not in failing]
    told = {
        "environment": run.environment,
        "run": run.name,
        "started": run.started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "verdict": str(run.verdict),
        "new_failures": [_told(cases[id]) for id in failing],
        "recovered": [_told(cases[id]) for id in recovered],
        "still_failing": [_told(cases[id]) for id in still],
        "report": report,
    }
    cleaned: dict[str, Any] = _cleaned({"text": _text(told), **told}, Redactor())
    return cleaned


def _link(report: Path, shown: Callable[[Path], str]) -> str:
    """Where somebody on another machine begins to look."""
    return shown(report) if is_url(shown(report)) else str(report.resolve())


def _told(case: dict[str, Any]) -> dict[str, str]:
    return {"case": str(case["id"]), "title": case_heading(case), "reason": str(case["reason"])}


def _text(told: dict[str, Any]) -> str:
    kinds = ("new_failures", "recovered", "still_failing")
    names = {"new_failures": "new failure(s)", "recovered": "recovered", "still_failing": "still failing"}
    counts = ", ".join(f"{len(told[kind])} {names[kind]}" for kind in kinds if told[kind])
    lines = [f"netra-probe: {told['environment']} {told['verdict'].upper()}: {counts}"]
    for kind in kinds[:2]:
        for case in told[kind][:MOST_CASES]:
            reason = case["reason"] if kind == "new_failures" else "passes again"
            reason = reason if len(reason) <= MOST_CHARACTERS else f"{reason[:MOST_CHARACTERS]}…"
            lines.append(f"• {case['case']} {case['title']}: {reason}")
        if len(told[kind]) > MOST_CASES:
            lines.append(f"• and {len(told[kind]) - MOST_CASES} more")
    lines.append(told["report"])
    # What a user was sent must not become a mention of everybody in the channel.
    return "\n".join(lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cleaned(value: Any, redactor: Redactor) -> Any:
    if isinstance(value, str):
        return redactor.clean(value)
    if isinstance(value, dict):
        return {name: _cleaned(inner, redactor) for name, inner in value.items()}
    return [_cleaned(inner, redactor) for inner in value]


def _post(alerts: Alerts, told: dict[str, Any]) -> str:
    """Post an alert; returns what went wrong, without the URL, or nothing."""
    import httpx
    import tenacity

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential(multiplier=alerts.pause),
        retry=tenacity.retry_if_exception_type(httpx.TransportError)
        | tenacity.retry_if_result(lambda answer: answer.status_code in _LATER),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )
    try:
        with _unlogged("httpx", "httpcore"):
            answer = retrying(httpx.post, alerts.url().reveal(), json=told, timeout=POST_SECONDS)
    except (ParameterError, LookupError) as error:
        return f"was not told: {error}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:  # their texts can hold the URL
        return f"was not told: {type(error).__name__}"
    return "" if answer.is_success else f"was not told: it answered {answer.status_code}"


@contextmanager
def _unlogged(*names: str) -> Iterator[None]:
    """Some libraries log each URL that they ask: not this one, whatever the logging of the process is set to."""
    before = {name: logging.getLogger(name).disabled for name in names}
    for name in names:
        logging.getLogger(name).disabled = True
    try:
        yield
    finally:
        for name, disabled in before.items():
            logging.getLogger(name).disabled = disabled


def _start(alerts: Alerts, told: dict[str, Any]) -> str:
    """Start the command once, with the alert on its standard input; returns what went wrong, or nothing."""
    variables = {
        "ENVIRONMENT": told["environment"],
        "RUN": told["run"],
        "VERDICT": told["verdict"],
        "NEW_FAILURES": " ".join(case["case"] for case in told["new_failures"]),
        "RECOVERED": " ".join(case["case"] for case in told["recovered"]),
        "REPORT": told["report"],
    }
    try:
        ended = subprocess.run(
            shlex.split(alerts.command),
            input=json.dumps(told, ensure_ascii=False),
            encoding="utf-8",
            errors="replace",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=alerts.seconds,
            check=False,
            env={**os.environ, **{f"NETRA_PROBE_ALERT_{name}": value for name, value in variables.items()}},
        )
    except subprocess.TimeoutExpired:
        return f"took longer than {alerts.seconds:g} s and was ended"
    except OSError as error:
        return f"could not be started ({error.strerror})"
    return "" if ended.returncode == 0 else f"ended with status {ended.returncode}"
