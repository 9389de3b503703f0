"""Which clause of which standard is checked by which rule, and which fault of the lab turns that red.

Nothing is listed here: checkers, rules of hygiene and forgeries each say what they rest on, faults say which checker
sees them, and attribution says which forgery speaks for which fault. ``python -m netra_probe.checkers.clauses`` prints
the paper ``netra_probe/docs/clauses.md``.

>>> [row.rule for row in rows() if row.clause == "RFC 6455 §10.2"]
['foreign origin accepted']
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from netra_probe.checkers import REGISTRY
from netra_probe.checkers.attribution.attribution import weigh
from netra_probe.checkers.attribution.features import Features
from netra_probe.checkers.hygiene import RULES
from netra_probe.checkers.verdict import CHECKER_NAMES
from netra_probe.forgery import ATTEMPTS
from netra_probe.lab import known_faults

_STANDARD = re.compile(r"RFC (?P<rfc>\d{4})|(?P<asvs>ASVS 5\.0)|(?P<wstg>WSTG-[A-Z]+-\d+)|(?P<api>API\d+:\d{4})")
#: A number of a section, or a span of them, behind the name of its standard.
_SECTION = re.compile(r"(?:§|section )?(\d+(?:\.\d+)+)(?: to §?(\d+(?:\.\d+)+))?")
#: Where hygiene is proved: its rules have defects of their own in the tests, since none leaks anything.
_OF_TESTS = "a defect in `tests/hygiene`"
_NONE = "none of the published"


@dataclass(frozen=True, kw_only=True, order=True)
class Clause:
    """One clause, what is checked of it, where, and the faults that turn it red."""

    clause: str
    where: str
    rule: str
    faults: str


def clauses_of(source: str) -> Iterator[str]:
    """The clauses of RFCs and of OWASP that a text names.

    >>> list(clauses_of("RFC 8725 §3.8 and §3.9; CWE-697; OWASP ASVS 5.0 9.1.1 and 11.2.1; WSTG-SESS-10"))
    ['RFC 8725 §3.8', 'RFC 8725 §3.9', 'OWASP ASVS 5.0 9.1.1', 'OWASP ASVS 5.0 11.2.1', 'OWASP WSTG-SESS-10']
    """
    for match in _STANDARD.finditer(source):
        following = _STANDARD.search(source, match.end())
        rest = source[match.end() : following.start() if following else None].partition(";")[0]
        sections = [" to §".join(filter(None, span.groups())) for span in _SECTION.finditer(rest)]
        if match["wstg"] or match["api"]:
            yield f"OWASP {match[0]}"
        elif match["asvs"]:
            yield from (f"OWASP ASVS 5.0 {section.replace('§', '')}" for section in sections)
        else:
            yield from (f"RFC {match['rfc']} §{section}" for section in sections)
            if not sections:
                yield f"RFC {match['rfc']}"


def rows() -> list[Clause]:
    """Every clause that is checked, in order; forgeries that speak for the same faults stand in one row."""
    found: list[Clause] = []
    for id, checker in REGISTRY.items():
        faults = ", ".join(sorted(fault.id for fault in known_faults().values() if id in fault.checkers))
        if id != "H1":
            found += _each(str(getattr(checker, "source", "")), CHECKER_NAMES[id], "the checker as a whole", faults)
    for rule in RULES:
        found += _each(rule.clause, CHECKER_NAMES["H1"], rule.kind, _OF_TESTS)
    together: dict[tuple[str, str], list[str]] = {}
    for attempt in ATTEMPTS:
        for clause in clauses_of(attempt.source):
            together.setdefault((clause, _faults_of(attempt.name)), []).append(attempt.name)
    for (clause, faults), names in together.items():
        told = " · ".join(dict.fromkeys(names))
        found.append(Clause(clause=clause, where=CHECKER_NAMES["C6"], rule=told, faults=faults))
    return sorted(set(found), key=lambda row: (_in_order(row.clause), row))


def _each(source: str, where: str, rule: str, faults: str) -> Iterator[Clause]:
    return (Clause(clause=clause, where=where, rule=rule, faults=faults) for clause in clauses_of(source))


def _faults_of(forgery: str) -> str:
    """The faults that attribution names first where this forgery alone is accepted."""
    accepted = Features(
        kinds=frozenset({("C6", "forged credential accepted")}), said=(f'forged credential accepted: "{forgery}" at',)
    )
    return ", ".join(next((group.faults for group in weigh(accepted)), ())) or _NONE


def _in_order(clause: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", clause)]


def paper() -> str:
    """The table as a paper in Markdown."""
    lines = [
        "# Clauses and rules",
        "",
        "Which clause of an RFC or of OWASP is checked, by what, and which published fault turns it red. Printed by",
        "`python -m netra_probe.checkers.clauses` from what checkers, rules and forgeries declare; not edited by hand.",
        "",
        "| clause | where it is checked | rule | fault that turns it red |",
        "|---|---|---|---|",
        *(f"| {row.clause} | {row.where} | {row.rule} | {row.faults} |" for row in rows()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(paper(), end="")
