"""Carrying a reproducer out: in a process of its own, with the target's addresses in its environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from netra_probe.checkers.verdict import Finding
from netra_probe.history.secret import Secret
from netra_probe.report.reproducers.slicing import NoReproducerError, Slice, needed_by_others, slice_of
from netra_probe.report.reproducers.writing import Author
from netra_probe.target.deployment import Target
from netra_probe.target.environment import scratch

LEAKS, FIXED, CANNOT_TELL = 1, 0, 3
WORDS = {LEAKS: "still leaks", FIXED: "fixed", CANNOT_TELL: "could not tell"}
#: Seconds after which a script that does not end could not tell.
LONGEST = 600.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a script said: its exit status, and the line before its verdict."""

    status: int
    said: str = ""

    @property
    def words(self) -> str:
        return WORDS[self.status]


def environment_of(target: Target) -> dict[str, Secret]:
    """The variables by which a script reaches a target; none is ever shown."""
    values = {"AUTH_URL": target.auth_url, "BACKEND_URLS": ",".join(target.backend_urls)}
    if headers := target.header_values():
        values["HEADERS"] = json.dumps(headers)
    if target.ca_bundle is not None:
        values["SSL_CERT_FILE"] = str(target.ca_bundle)
    if not target.verify_tls:
        values["VERIFY_TLS"] = "no"
    for number, account in enumerate(target.accounts, start=1):
        values[f"USER_{number}"] = account.email
        values[f"PASSWORD_{number}"] = target.account_password(number - 1).reveal()
    return {name: Secret(value) for name, value in values.items()}


def carry_out(text: str, variables: Mapping[str, Secret]) -> Outcome:
    """Run a script. One that is broken, killed or endless could not tell."""
    given = {**os.environ, **{name: value.reveal() for name, value in variables.items()}}
    with scratch("netra-probe-work-") as folder:
        script = folder / "reproducer.py"
        script.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, str(script)], env=given, capture_output=True, text=True, timeout=LONGEST, check=False
            )
        except subprocess.TimeoutExpired:
            return Outcome(status=CANNOT_TELL, said=f"it did not end within {LONGEST:g} s")
    lines = [line for line in done.stdout.splitlines() if line not in WORDS.values()]
    status = done.returncode if done.returncode in WORDS else CANNOT_TELL
    said = (lines or [""])[-1].removeprefix("could not tell: ")
    return Outcome(status=status, said=said or (f"exit status {done.returncode}" if status != done.returncode else ""))


def minimise(author: Author, finding: Finding, *, case: str, variables: Mapping[str, Secret]) -> Slice | None:
    """Leave acts out, one after the other, the last first, as long as the finding stays; None where it does not show.

    An act that others rest on goes only after them. Each trial is carried out on the target.
    """
    tape = author.tape
    made = slice_of(tape, finding)

    def shows(trial: Slice) -> bool:
        try:
            text = author.text(trial, finding, case=case, name="trial.py")
        except (NoReproducerError, KeyError, StopIteration):
            return False
        return carry_out(text, variables).status == LEAKS

    if not shows(made):
        return None
    changed = True
    while changed:
        changed = False
        for act in sorted(made.acts, reverse=True):
            smaller = replace(made, acts=made.acts - {act})
            if not needed_by_others(tape, made, act) and shows(smaller):
                made, changed = smaller, True
    return made
