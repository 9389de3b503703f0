"""Tables as text and as HTML, from the same rows.

Text is the contract: it is what nbval compares and what one pastes into a ticket. HTML uses inline styles only,
because an untrusted JupyterLab and GitHub drop everything else.
"""

from __future__ import annotations

import html
import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len

from netra_probe.checkers.verdict import Verdict
from netra_probe.display.controls import COLUMNS

#: Foreground and background for each verdict; the word always stands beside the colour.
COLOURS = {
    Verdict.PASS: ("#0b5d1e", "#e3f4e6"),
    Verdict.FAIL: ("#8f1111", "#fbe3e3"),
    Verdict.INCONCLUSIVE: ("#7a4b00", "#fdf1d7"),
    Verdict.NOT_APPLICABLE: ("#4a4a4a", "#eeeeee"),
}
#: What no column of a table is made narrower than.
NARROWEST = 12
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

    def text(self, most: int = COLUMNS) -> str:
        """The table in at most so many columns, where its cells can be folded into that."""
        columns = range(len(self.headings))
        widths = [max(cell_len(row[column]) for row in (self.headings, *self.rows)) for column in columns]
        while sum(widths) + 2 * (len(widths) - 1) > most and max(widths) > NARROWEST:
            widths[widths.index(max(widths))] -= 1

        def lines(cells: Sequence[str]) -> list[str]:
            folded = [_folded(cell, width) for cell, width in zip(cells, widths, strict=True)]
            told = []
            for parts in itertools.zip_longest(*folded, fillvalue=""):
                gaps = [" " * (width - cell_len(part)) for part, width in zip(parts, widths, strict=True)]
                padded = [gaps[n] + parts[n] if n in self.numeric else parts[n] + gaps[n] for n in columns]
                told.append("  ".join(padded).rstrip())
            return told

        rule = "  ".join("─" * width for width in widths)
        body = [line for row in self.rows for line in lines(row)]
        return "\n".join([self.caption, *lines(self.headings), rule, *body])

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


def _folded(text: str, width: int) -> list[str]:
    if cell_len(text) <= width:
        return [text]
    return textwrap.wrap(text, width, break_on_hyphens=False)


def badge(verdict: Verdict, word: str = "") -> str:
    """A verdict as an HTML badge, readable without colour; with another word where it is none yet."""
    colour, background = COLOURS[verdict]
    style = f"color:{colour};background:{background};padding:2px 10px;border-radius:4px;border:1px solid {colour}"
    return f'<b style="{style}">{html.escape(word or str(verdict).upper())}</b>'


def first_of(names: Sequence[str], most: int, *, between: str = ", ") -> str:
    """The first so many of some names, and how many there are beside them.

    >>> first_of(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more
