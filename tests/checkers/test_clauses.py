"""The table of clauses: current, complete, and pointing at faults that exist."""

from __future__ import annotations

from netra_probe.catalogue.folders import PROJECT
from netra_probe.checkers.clauses import paper, rows
from netra_probe.checkers.hygiene import RULES
from netra_probe.forgery import ATTEMPTS
from netra_probe.lab import known_faults

PAPER = PROJECT / "netra_probe" / "docs" / "clauses.md"


def test_the_paper_is_what_the_rules_say_today() -> None:
    assert PAPER.read_text(encoding="utf-8") == paper(), f"python -m netra_probe.checkers.clauses > {PAPER}"


def test_no_rule_and_no_forgery_that_names_a_clause_is_missing() -> None:
    told = {rule for row in rows() for rule in (row.rule, *row.rule.split(" · "))}
    named = {"RFC", "ASVS", "WSTG"}
    assert {rule.kind for rule in RULES if any(word in rule.clause for word in named)} <= told
    assert {one.name for one in ATTEMPTS if any(word in one.source for word in named)} <= told


def test_each_published_fault_that_a_row_names_exists_and_each_checker_has_one() -> None:
    published = set(known_faults())
    named = {fault for row in rows() for fault in row.faults.split(", ") if fault in published}
    assert {fault.id for fault in known_faults().values() if set(fault.checkers) - {"C3", "C4"}} <= named
    assert all(row.faults for row in rows())
