"""Standard output and standard error that cannot end a command, and let nothing recorded reach the terminal's controls.

A reader that has gone (``| head -1``), a full disk or an encoding that lacks a character must not change a verdict's
exit status. What a deployment has answered may hold escape sequences; they are shown as text.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import sys
from typing import Any

from netra_probe.display.controls import visible

#: What our own texts are written with, as far as ASCII has something like it.
_IN_ASCII = str.maketrans(
    {"─": "-", "│": "|", "–": "-", "—": "-", "−": "-", "·": "-", "…": "...", "’": "'", "“": '"', "”": '"', "×": "x"}
    | {"→": "->", "←": "<-"}
)


class _Descriptor(io.FileIO):
    """A file descriptor whose writes never fail: what cannot be written is lost, once with a word about it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.lost: OSError | None = None

    def write(self, data: Any) -> int:
        size = len(memoryview(data).cast("B"))
        if self.lost is not None:
            return size
        try:
            return super().write(data) or 0
        except OSError as error:
            self.lost = error
            return size


class _Visible(io.TextIOWrapper):
    """Text in which control characters, and characters that the encoding lacks, are written out.

    Arguments:
        charset: the encoding. Where it is ASCII the base class is not told: click would go around this object then.
    """

    def __init__(self, buffer: Any, *, charset: str, line_buffering: bool) -> None:
        is_ascii = codecs.lookup(charset).name == "ascii"
        encoding = "utf-8" if is_ascii else charset
        super().__init__(buffer, encoding=encoding, errors="backslashreplace", line_buffering=line_buffering)
        self._is_ascii = is_ascii

    def write(self, text: str) -> int:
        shown = visible(text)
        if self._is_ascii:
            shown = shown.translate(_IN_ASCII).encode("ascii", "backslashreplace").decode("ascii")
        super().write(shown)
        return len(text)


def make_safe() -> None:
    """Replace standard output and standard error of this process."""
    sys.stdout, sys.stderr = _safe(sys.stdout), _safe(sys.stderr, by_line=True)


def _safe(stream: Any, *, by_line: bool = False) -> Any:
    try:
        descriptor, encoding = stream.fileno(), stream.encoding
    except (AttributeError, OSError, ValueError):
        return stream  # closed, or no file at all
    with contextlib.suppress(OSError):
        stream.flush()
    raw = _Descriptor(descriptor)
    return _Visible(io.BufferedWriter(raw), charset=encoding, line_buffering=by_line or raw.isatty())


def drawing() -> Any:
    """Standard output for what draws with control sequences of its own, and writes recorded text out by itself."""
    if not isinstance(sys.stdout, _Visible):
        return sys.stdout
    sys.stdout.flush()
    return io.TextIOWrapper(
        sys.stdout.buffer, encoding=sys.stdout.encoding, errors="backslashreplace", line_buffering=True
    )


def flush() -> None:
    """Write what is buffered; say so if standard output could not take it, unless its reader has just gone."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    lost = raw.lost if isinstance(raw, _Descriptor) else None
    if lost is not None and lost.errno != errno.EPIPE:
        print(f"netra-probe: standard output cannot be written ({lost.strerror}).", file=sys.stderr)
