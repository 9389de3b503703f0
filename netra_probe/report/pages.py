"""Templates of the package, filled in: what comes from a run is escaped, and nothing may run in a browser."""

from __future__ import annotations

import base64
import hashlib
import secrets
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from netra_probe.checkers.verdict import Verdict, checker_name
from netra_probe.display.controls import visible
from netra_probe.results.results import case_heading
from netra_probe.results.schema import basis, operations_of

#: What cells of a few characters say, beside their colour.
SHORT = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "FAIL",
    Verdict.INCONCLUSIVE: "?",
    Verdict.NOT_APPLICABLE: "n/a",
}


def render(template: str, **values: Any) -> str:
    """A page, from a template of this package."""
    return visible(_environment().get_template(template).render(**values))


def write_page(path: Path, text: str) -> None:
    """Write in one step, under a name of its own first: two writers at once leave one whole page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        fresh.write_text(text, encoding="utf-8", errors="replace")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


@cache
def copying() -> dict[str, str]:
    """The one script of a report, which copies a ticket, and the digest by which the page allows it and no other."""
    script = files("netra_probe.report").joinpath("templates/copy.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"copy_script": script, "copy_hash": f"sha256-{digest}"}


def style(verdict: object) -> str:
    """The name of a verdict as a CSS class: ``not-applicable``."""
    return str(verdict).replace(" ", "-")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("netra_probe.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "style": style,
        "checker_name": checker_name,
        "short": lambda verdict: SHORT[Verdict(verdict)],
        "operations": operations_of,
        "basis": basis,
        "heading": case_heading,
    }
    return environment
