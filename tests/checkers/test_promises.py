"""Promises: what was expected of a component against what was observed."""

from __future__ import annotations

import pytest

from netra_probe.checkers import promises
from netra_probe.checkers.verdict import Verdict
from netra_probe.history.operation import Operation


def expectation(index: int, **detail: object) -> Operation:
    told = {"promise": "a set beats the file", "about": "works", **detail}
    return Operation(index=index, time=index, type="ok", action="expect", surface="component", detail=told)


def test_a_broken_promise_is_named_with_both_values() -> None:
    judged = promises()([expectation(0, expected="a", observed="a"), expectation(1, expected=["a"], observed=None)])
    assert [finding.summary for finding in judged.findings] == ['a set beats the file: observed null instead of ["a"]']
    assert judged.findings[0].witness == (1,) and judged.evidence == {"promises": 2}


def test_what_a_deployment_may_do_otherwise_is_noted_and_turns_nothing_red() -> None:
    judged = promises()([expectation(0, expected=1, observed=2, about="noted")])
    assert [(finding.kind, finding.severity) for finding in judged.findings] == [
        ("differs from the contract", "hygiene")
    ]


@pytest.mark.parametrize(
    ("options", "history", "doubt"),
    [
        ({}, [], "nothing was expected"),
        ({}, [expectation(0, undecided="no class")], "no class"),
        ({"boundary": True}, [expectation(0, expected=1, observed=1)], "what still works for others"),
        ({"boundary": True}, [expectation(0, expected=1, observed=1, about="contained")], "what an operator sees"),
    ],
)
def test_what_was_not_observed_is_no_pass(options: dict[str, bool], history: list[Operation], doubt: str) -> None:
    judged = promises(**options)(history)
    assert judged.verdict is Verdict.INCONCLUSIVE and any(doubt in one for one in judged.doubts)


def test_a_boundary_that_says_both_passes() -> None:
    history = [expectation(n, expected=1, observed=1, about=about) for n, about in enumerate(("contained", "visible"))]
    assert promises(boundary=True)(history).verdict is Verdict.PASS
