"""Control characters in recorded text, written out: they steer terminals, turn lines around and damage XML."""

from __future__ import annotations

import re
import textwrap

#: C0 (but for tabs and line ends), DEL, C1, separators that break lines, what changes the direction of writing, and
#: what is no character: halves of surrogate pairs, and what no XML may hold.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def visible(text: str) -> str:
    r"""The text with each control character as an escape.

    >>> visible("red \x1b[31m")
    'red \\x1b[31m'
    """
    return _CONTROLS.sub(_escaped, text) if _CONTROLS.search(text) else text


#: Columns of a line of text.
COLUMNS = 120


def folded(text: str) -> str:
    """The text with each line that is longer than ``COLUMNS`` going on below itself, further in.

    >>> folded("  " + "word " * 30).splitlines()[1]
    '        word word word word word word word'
    """
    return "\n".join(map(_folded, text.split("\n"))) if len(text) > COLUMNS else text


def _folded(line: str) -> str:
    from rich.cells import cell_len  # a command that shows its help has no use for it

    if cell_len(line) <= COLUMNS:
        return line
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line.strip(), COLUMNS, initial_indent=indent, subsequent_indent=indent + " " * 6, break_on_hyphens=False
    )


def _escaped(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
