"""Looking for secrets in what is about to be published, addressed by file, line or cell."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SECRETS = re.compile(
    r"(?P<token>\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)"
    r"|(?P<connection>[a-z][a-z0-9+.-]*://[^\s/:@\"'\\]+:(?!\[|…|\*|\{)[^\s@\"'\\\[]+@)"
    r"|(?P<bearer>\b[Bb]earer (?!\[)[A-Za-z0-9._~+/-]{16,})"
    r"|(?P<key>-----BEGIN [A-Z ]*PRIVATE KEY-----)"
    r"|(?P<field>\\?\"(?:password|access_token|refresh_token|client_secret|service_secret|jwt_secret|api_key)\\?\"\s*:\s*"
    r"\\?\"(?!\[|env:|keyring:)[^\"\\]{6,})"
)
_TEXT = {".json", ".jsonl", ".gz", ".ipynb", ".html", ".xml", ".md", ".log", ".txt", ".yaml", ".yml", ".csv"}


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A secret, by place and kind; its value is not repeated."""

    path: Path
    place: str
    kind: str

    def __str__(self) -> str:
        return f"{self.path}, {self.place}: looks like a {self.kind}"


def scan_path(path: Path) -> Iterator[Hit]:
    """Every hit in a file, or in all text files below a folder."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        if file.suffix in _TEXT and ".ipynb_checkpoints" not in file.parts:
            yield from _scan_file(file)


def _scan_file(path: Path) -> Iterator[Hit]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    text = data.decode("utf-8", "replace")
    if path.suffix == ".ipynb":
        try:
            notebook = json.loads(text)
            yield from _scan_notebook(path, notebook)
            return
        except (ValueError, AttributeError, TypeError):
            pass
    for number, line in enumerate(text.splitlines(), start=1):
        yield from _hits(path, f"line {number}", line)


def _scan_notebook(path: Path, notebook: dict[str, Any]) -> Iterator[Hit]:
    yield from _hits(path, "metadata", json.dumps(notebook.get("metadata", {})))
    for number, cell in enumerate(notebook.get("cells", []), start=1):
        source = cell.get("source", "")
        yield from _hits(path, f"cell {number}, source", source if isinstance(source, str) else "".join(source))
        yield from _hits(path, f"cell {number}, metadata", json.dumps(cell.get("metadata", {})))
        for position, output in enumerate(cell.get("outputs", []), start=1):
            yield from _hits(path, f"cell {number}, output {position}", json.dumps(output))


def _hits(path: Path, place: str, text: str) -> Iterator[Hit]:
    for match in _SECRETS.finditer(text):
        yield Hit(path=path, place=place, kind=str(match.lastgroup))
