"""Tables as text and as HTML, from the same rows.

Text is the contract: it is what nbval compares and what one pastes into a ticket. HTML uses inline styles only,
because an untrusted JupyterLab and GitHub drop everything else.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len

from netra_probe.checkers.verdict import Verdict

#: Foreground and background for each verdict; the word always stands beside the colour.
COLOURS = {
    Verdict.PASS: ("#0b5d1e", "#e3f4e6"),
    Verdict.FAIL: ("#8f1111", "#fbe3e3"),
    Verdict.INCONCLUSIVE: ("#7a4b00", "#fdf1d7"),
    Verdict.NOT_APPLICABLE: ("#4a4a4a", "#eeeeee"),
}
_CELL = "padding:4px 10px;border:1px solid #c8c8c8;text-align:{align};vertical-align:top"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under headings.

    Arguments:
        caption: what the table shows, in a sentence.
        marks: (row, column) of cells to stress in HTML; in text such cells carry their own sign.
        numeric: columns that are aligned to the right.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    marks: dict[tuple[int, int], Verdict] = field(default_factory=dict)

    def text(self) -> str:
        widths = [
            max(cell_len(row[column]) for row in (self.headings, *self.rows)) for column in range(len(self.headings))
        ]

        def line(cells: Sequence[str]) -> str:
            padded = []
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
                gap = " " * (width - cell_len(cell))
                padded.append(gap + cell if column in self.numeric else cell + gap)
            return "  ".join(padded).rstrip()

        rule = "  ".join("─" * width for width in widths)
        return "\n".join([self.caption, line(self.headings), rule, *(line(row) for row in self.rows)])

    def html(self) -> str:
        def cell(tag: str, row: int, column: int, text: str) -> str:
            style = _CELL.format(align="right" if column in self.numeric else "left")
            if len(text) <= 24:
                style += ";white-space:nowrap"
            if (row, column) in self.marks:
                colour, background = COLOURS[self.marks[row, column]]
                style += f";color:{colour};background:{background};font-weight:bold"
            return f'<{tag} style="{style}">{html.escape(text)}</{tag}>'

        head = "".join(cell("th", -1, column, text) for column, text in enumerate(self.headings))
        body = "".join(
            "<tr>" + "".join(cell("td", row, column, text) for column, text in enumerate(cells)) + "</tr>"
            for row, cells in enumerate(self.rows)
        )
        return (
            '<table style="border-collapse:collapse;font-size:13px">'
            f'<caption style="text-align:left;padding:4px 0;caption-side:top">{html.escape(self.caption)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


def badge(verdict: Verdict, word: str = "") -> str:
    """A verdict as an HTML badge, readable without colour; with another word where it is none yet."""
    colour, background = COLOURS[verdict]
    style = f"color:{colour};background:{background};padding:2px 10px;border-radius:4px;border:1px solid {colour}"
    return f'<b style="{style}">{html.escape(word or str(verdict).upper())}</b>'
