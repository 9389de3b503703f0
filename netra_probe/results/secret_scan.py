"""Looking for secrets in what is about to be published, addressed by file, line or cell, and never repeated.

Notebooks are looked through cell by cell, histories and logs line by line, pages as markup and as the text that one
reads, archives file by file. Beside what has the form of a secret, the values are looked for that parameter files refer
to, wherever they can be looked up.
"""

from __future__ import annotations

import gzip
import html
import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from netra_probe.errors import ParameterError
from netra_probe.history.limits import check_archive, lines, whole
from netra_probe.history.redaction import SHORTEST, Redactor, parts_of
from netra_probe.target.parameters import ParameterFile
from netra_probe.target.secret_references import is_reference, look_up

_NAMES = (
    *("password", "passwd", "access_token", "refresh_token", "id_token", "api_key"),
    *("client_secret", "service_secret", "jwt_secret"),
)
#: (kind, what each of them contains, the whole form). Each form begins with what it contains, so that a history of a
#: hundred megabytes, which holds almost none of them, is gone through in a second or two.
_FORMS = [
    (kind, part, re.compile(re.escape(part) + form))
    for kind, part, form in (
        # a JSON Web Token, also encoded once more as a WebSocket sub-protocol carries it
        ("token", "eyJ", r"[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
        ("token", "ZXlK", r"[A-Za-z0-9_-]{40,}"),
        ("bearer", "earer ", r"(?!\[)[A-Za-z0-9._~+/-]{16,}"),
        ("credential", "asic ", r"(?!\[)(?=[A-Za-z+/]*[0-9A-Z])[A-Za-z0-9+/]{16,}={0,2}"),
        # credentials in a URL: scheme://user:password@
        ("connection", "://", r"[^\s/:@\"'\\<>\[]*:(?!\[|…|\*|\{)[^\s/@\"'\\\[<>]+@"),
        ("key", "PRIVATE KEY-----", ""),
        ("key", "AKIA", r"[0-9A-Z]{16}\b"),
        *(("key", f"gh{letter}_", r"[A-Za-z0-9]{36}") for letter in "pousr"),
        ("webhook", "hooks.slack.com/services/", r"T[A-Za-z0-9/]{20,}"),
        # a field of JSON, however often that JSON is quoted, of a Python dictionary, of a query or form;
        # not the end of a path, as in {"POST /update/password": "not sent"}
        *(
            (
                "field",
                name,
                rf"(?:(?<!/{name})\\*[\"']\s*:\s*\\*[\"'](?!\[|env:|keyring:)[^\"'\\]{{6,}}"
                rf"|(?<=[?&]{name})=(?!\[)[^&\s\"'\\]{{6,}})",
            )
            for name in _NAMES
        ),
    )
]
_TEXT = {".json", ".jsonl", ".gz", ".ipynb", ".html", ".xml", ".md", ".log", ".txt", ".yaml", ".yml", ".csv", ".toml"}
_ARCHIVES = {".zip"}
#: What the modules for compressed files raise over what is damaged, encrypted, or unknown to them.
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile, lzma.LZMAError, RuntimeError)
_UNSEEN = "cannot be looked through"
#: Characters of text that are looked at together.
_BLOCK = 1 << 20
#: Characters of a part of a secret that are no coincidence.
SHORTEST_PART = 8


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A secret, by place and kind; its value is not repeated. ``inside`` names a file of an archive."""

    path: Path
    place: str
    kind: str
    inside: str = ""

    @property
    def is_secret(self) -> bool:
        """Whether something was found, rather than that one could not look."""
        return not self.kind.startswith(_UNSEEN)

    def __str__(self) -> str:
        return f"{self.path}{f', {self.inside}' if self.inside else ''}, {self.place}: {self.kind}"


@dataclass(frozen=True, kw_only=True, repr=False)
class Known:
    """Secrets that are looked for by value: where each is kept, and the value."""

    values: Mapping[str, str] = field(default_factory=dict)

    def find(self, text: str) -> Iterator[str]:
        """What a text holds of the secrets, in words: each whole (plain, JSON, URL) or in part."""
        for reference, (wholes, parts) in self._forms.items():
            if any(form in text for form in wholes):
                yield f"the value of {reference}"
            elif any(part in text for part in parts):
                yield f"a part of the value of {reference}"

    @cached_property
    def _forms(self) -> dict[str, tuple[set[str], set[str]]]:
        forms = {}
        for reference, value in self.values.items():
            wholes = {value, json.dumps(value)[1:-1], quote(value, safe="")}
            parts = {
                form
                for part in parts_of(value)
                if len(part) >= SHORTEST_PART
                for form in (part, json.dumps(part)[1:-1])
            }
            forms[reference] = wholes, parts - wholes
        return forms


def known_secrets(*given: Any) -> Known:
    """What is behind the references in parameters, wherever in them they stand, as far as it can be looked up here."""
    values: dict[str, str] = {}
    for reference in dict.fromkeys(_references(list(given))):
        try:
            value = look_up(reference).reveal()
        except LookupError:
            continue
        if len(value) >= SHORTEST:
            values[reference] = value
    return Known(values=values)


def redactor_of(*given: Any) -> Redactor:
    """A redactor for texts that somebody else wrote, such as exceptions: it knows what is behind these references."""
    redactor = Redactor()
    for value in known_secrets(*given).values.values():
        redactor.know_parts(value, "secret")
    return redactor


def all_parameters(folder: Path) -> Iterator[Any]:
    """What the parameter files of a folder hold; those that cannot be read are for others to complain of."""
    yield from (parameters_in(path) for path in sorted(folder.glob("*.yaml")))


def parameters_in(path: Path) -> dict[str, Any]:
    """What a parameter file holds; nothing where it cannot be read."""
    try:
        return ParameterFile.read(path).values
    except ParameterError:
        return {}


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, str) and is_reference(value):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _references(inner)


def scan_path(path: Path, known: Known | None = None) -> Iterator[Hit]:
    """Every hit in a file, or in all text files and archives below a folder.

    Raises TooLargeError when a file takes more memory or time than anything that a run leaves.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        if ".ipynb_checkpoints" in file.parts:
            continue
        if path.is_dir() and file.suffix not in _TEXT | _ARCHIVES:
            continue
        try:
            with open(file, "rb") as stream:
                for place, kind, inside in _scan(stream, str(file), known or Known(), file.stat().st_size):
                    yield Hit(path=file, place=place, kind=kind, inside=inside)
        except OSError as error:
            yield Hit(path=file, place="the whole", kind=f"{_UNSEEN} ({error.strerror})")


#: A place, what is there, and in which file of an archive.
Found = tuple[str, str, str]


def _scan(stream: IO[bytes], name: str, known: Known, size: int) -> Iterator[Found]:
    """What is found in a file of this name and size; an archive's own name stands before that of a file in it."""
    suffix = Path(name).suffix
    try:
        if suffix in _ARCHIVES:
            yield from _scan_archive(stream, name, known)
        elif suffix == ".ipynb":
            yield from _scan_notebook(stream, name, known)
        elif suffix == ".html":
            yield from _scan_page(stream, name, known)
        elif suffix == ".gz":
            with gzip.open(stream) as unpacked:
                yield from _scan_lines(lines(unpacked, name, packed=size), known)
        else:
            yield from _scan_lines(lines(stream, name), known)
    except _DAMAGED:
        # What cannot be looked through is not clean.
        yield "the whole", f"{_UNSEEN} (damaged)", ""


def _scan_archive(stream: IO[bytes], name: str, known: Known) -> Iterator[Found]:
    with zipfile.ZipFile(stream) as archive:
        check_archive(name, archive)
        for member in archive.infolist():
            if Path(member.filename).suffix in _TEXT | _ARCHIVES:
                with archive.open(member) as unpacked:
                    for place, kind, inside in _scan(unpacked, f"{name}, {member.filename}", known, member.file_size):
                        yield place, kind, ", ".join(filter(None, (member.filename, inside)))


def _scan_notebook(stream: IO[bytes], name: str, known: Known) -> Iterator[Found]:
    data = whole(stream, name)
    try:
        notebook = json.loads(data)
        parts = list(_parts(notebook))
    except (ValueError, AttributeError, TypeError, RecursionError):
        yield from _scan_lines(iter(io.BytesIO(data)), known)
        return
    for place, text in parts:
        yield from ((place, kind, "") for kind in _kinds(text, known))


def _parts(notebook: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The parts of a notebook that have an address, as text."""
    yield "metadata", json.dumps(notebook.get("metadata", {}), ensure_ascii=False)
    for number, cell in enumerate(notebook.get("cells", []), start=1):
        source = cell.get("source", "")
        yield f"cell {number}, source", source if isinstance(source, str) else "".join(source)
        yield f"cell {number}, metadata", json.dumps(cell.get("metadata", {}), ensure_ascii=False)
        if cell.get("attachments"):
            yield f"cell {number}, attachments", json.dumps(cell["attachments"], ensure_ascii=False)
        for position, output in enumerate(cell.get("outputs", []), start=1):
            # Pictures are long and hold no text.
            shown = {**output, "data": {k: v for k, v in output.get("data", {}).items() if k != "image/png"}}
            yield f"cell {number}, output {position}", json.dumps(shown, ensure_ascii=False)


def _scan_page(stream: IO[bytes], name: str, known: Known) -> Iterator[Found]:
    for number, line in enumerate(_decoded(lines(stream, name)), start=1):
        if 'src="data:image/' in line:
            line = re.sub(r'src="data:image/[^"]*"', "", line)
        # An attribute may hold one as well as the text that is read, which colours may have cut into pieces.
        kinds = {*_kinds(html.unescape(line), known), *_kinds(html.unescape(re.sub(r"<[^>]*>", "", line)), known)}
        yield from ((f"line {number}", kind, "") for kind in sorted(kinds))


def _scan_lines(given: Iterator[bytes], known: Known) -> Iterator[Found]:
    first, block, size = 1, list[str](), 0
    for line in _decoded(given):
        block.append(line)
        size += len(line)
        if size >= _BLOCK:
            yield from _scan_block(block, first, known)
            first, block, size = first + len(block), [], 0
    yield from _scan_block(block, first, known)


def _decoded(given: Iterator[bytes]) -> Iterator[str]:
    return (line.decode("utf-8", "replace") for line in given)


def _scan_block(block: list[str], first: int, known: Known) -> Iterator[Found]:
    text = "".join(block)
    if next(_kinds(text, known), None) is None:
        return
    for number, line in enumerate(block, start=first):
        yield from ((f"line {number}", kind, "") for kind in _kinds(line, known))


def _kinds(text: str, known: Known) -> Iterator[str]:
    """What secrets a text holds, in words, each kind once."""
    seen = set()
    for kind, part, form in _FORMS:
        if kind not in seen and part in text and form.search(text):
            seen.add(kind)
            yield f"looks like a {kind}"
    yield from known.find(text)
