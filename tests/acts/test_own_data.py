"""Which rows a recommendation names, and what is said where a target has none."""

from __future__ import annotations

import pytest

from netra_probe.clients.component_process import Undecided
from netra_probe.workloads.rest.own_data import NO_ROWS, OwnRows, SpendRow

ROWS = OwnRows(
    rows=[SpendRow(id="1", service="idle-gpus", amount=1200.0), SpendRow(id="2", service="backups", amount=9.5)]
)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Review idle-gpus: it costs 1200.00 USD.", True),
        ("Review idle-gpus: it costs 1,200.00 USD.", True),
        ("Review idle-gpus: it costs 1200 USD.", True),
        ('{"service":"idle-gpus","amount_usd":1200.0,"note":""}', True),
        ("Review idle-gpus: it costs 4800.00 USD.", False),
        ("Review vector-search: it costs 1200.00 USD.", False),
    ],
)
def test_a_row_is_named_by_its_service_and_its_amount(text: str, named: bool) -> None:
    assert ROWS.rows[0].is_named_in(text) is named
    assert ROWS.unfounded([text]) == ([] if named else [text])
    assert ROWS.largest_is_named([text]) is named


def test_a_smaller_row_is_a_foundation_and_not_the_largest() -> None:
    text = "Review backups: it costs 9.50 USD."
    assert ROWS.unfounded([text]) == []
    assert ROWS.largest_is_named([text]) is False


def test_a_target_without_rows_leaves_it_undecided() -> None:
    rows = OwnRows(missing=NO_ROWS)
    for seen in (
        rows.unfounded(["anything"]),
        rows.largest_is_named(["anything"]),
        rows.lacking(ROWS),
        ROWS.lacking(rows),
    ):
        assert isinstance(seen, Undecided)
        assert "no spend records" in seen.reason


def test_rows_are_compared_by_service_and_amount() -> None:
    other = OwnRows(rows=[ROWS.rows[0], SpendRow(id="", service="backups", amount=10.0)])
    assert ROWS.lacking(other) == other.lacking(ROWS) == ["backups"]
    assert ROWS.lacking(ROWS) == []
