"""How much is taken out of a compressed file, or held of any file at once: more is no recording, and fills a memory."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from gzip import GzipFile
from typing import IO

from netra_probe.errors import ParameterError

#: Bytes of one line, or of a file that is read as a whole; the largest frame (16 MiB) fits in, however it is escaped.
MOST_AT_ONCE = 128 << 20
#: Bytes that one file, or all files of an archive, may have when they are unpacked, and files of an archive.
MOST_BYTES, MOST_FILES = 4_000_000_000, 10_000
#: What is packed more tightly than this was made to fill memories; smaller files may be packed as they like.
TIGHTEST, SMALL = 200, 256 << 20


class TooLargeError(ParameterError):
    """A file would take more memory or time than a recording ever does; the message names it."""


def lines(stream: IO[bytes] | GzipFile, name: object, *, packed: int | None = None) -> Iterator[bytes]:
    """The lines of a stream, as far as they stay within the limits.

    Arguments:
        packed: the size of the compressed file that the stream comes out of.

    Raises TooLargeError where one is too long, or all of them are.
    """
    size = 0
    while line := stream.readline(MOST_AT_ONCE + 1):
        size += len(line)
        if len(line) > MOST_AT_ONCE:
            raise TooLargeError(f"{name}: a line of more than {MOST_AT_ONCE >> 20} MiB; restore it, or take it away.")
        if packed is not None:
            check_size(name, size, packed)
        yield line


def whole(stream: IO[bytes], name: object) -> bytes:
    """All of a stream. Raises TooLargeError where that is more than may be held at once."""
    data = stream.read(MOST_AT_ONCE + 1)
    if len(data) > MOST_AT_ONCE:
        raise TooLargeError(f"{name}: more than {MOST_AT_ONCE >> 20} MiB; restore it, or take it away.")
    return data


def check_size(name: object, size: int, packed: int) -> None:
    """Raises TooLargeError where a file unpacks to more than any recording."""
    if size > MOST_BYTES or (size > SMALL and size > TIGHTEST * packed):
        raise TooLargeError(
            f"{name}: unpacks to more than {size / 1e6:.0f} MB out of {packed / 1e6:.1f} MB, which no recording does; "
            "restore it, or take it away."
        )


def check_archive(name: object, archive: zipfile.ZipFile) -> None:
    """What an archive says of its sizes is kept to when it is unpacked: entries are read no further.

    Raises TooLargeError.
    """
    entries = archive.infolist()
    size = sum(entry.file_size for entry in entries)
    if size > MOST_BYTES or len(entries) > MOST_FILES:
        raise TooLargeError(
            f"{name}: {len(entries)} files of {size / 1e9:.1f} GB, more than a bundle may have "
            f"({MOST_FILES}, {MOST_BYTES / 1e9:.0f} GB); if it is one, unpack it, and give the directory."
        )
    for entry in entries:
        check_size(f"{name}, {entry.filename}", entry.file_size, entry.compress_size)
