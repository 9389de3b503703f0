"""The append-only history: written as it happens, read again as often as one likes."""

from __future__ import annotations

import gzip
import os
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from netra_probe.errors import ParameterError
from netra_probe.history import actions
from netra_probe.history.damage import CHAIN, MARKERS, Chain, Examination
from netra_probe.history.limits import lines
from netra_probe.history.operation import PROBE, Operation, Outcome
from netra_probe.history.redaction import Clean, Redactor
from netra_probe.history.untrusted import UNDECODABLE

if TYPE_CHECKING:
    import pandas

#: Version of the line format; a reader refuses a newer one.
SCHEMA = 1
#: The step of a plan that this task is taking: everything that is begun for it is noted with its id.
STEP: ContextVar[str] = ContextVar("step", default="")


class HistoryError(ParameterError):
    """A history cannot be read or written; the message names the file and what to do."""


class History:
    """A recorded history on disk: iterate over it, as often as needed, in constant memory.

    >>> for operation in History.open("outputs/lab/…/history/C4.jsonl.gz"): ...   # doctest: +SKIP

    ``truncated`` is true when the recording was cut (a killed kernel): everything up to the cut is there. ``damage``
    tells what was changed in it after it had been recorded: it is read as far as that goes, and proves nothing. Reading
    raises TooLargeError where it takes more memory or time than a recording ever does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._truncated: bool | None = None
        #: What keeps it from being read on.
        self._broken = ""
        self._examined: tuple[tuple[str, ...], str] | None = None

    @staticmethod
    def open(path: str | os.PathLike[str]) -> History:
        """Open a stored history, plain or compressed."""
        file = Path(path)
        if not file.is_file():
            raise HistoryError(f"no history at {file}; give a .jsonl or .jsonl.gz file that a run has left")
        return History(file)

    def __iter__(self) -> Iterator[Operation]:
        return self._read()

    def _read(self, take: Callable[[bytes, Operation], None] | None = None) -> Iterator[Operation]:
        """The operations as far as they can be read; each is shown to ``take`` first, with its line."""
        decode = msgspec.json.Decoder(Operation).decode
        last: Operation | None = None
        number = 0
        self._broken = ""
        opener: Any = gzip.open if self.path.suffix == ".gz" else open
        try:
            with opener(self.path, "rb") as stream:
                packed = self.path.stat().st_size if self.path.suffix == ".gz" else None
                for line in lines(stream, self.path, packed=packed):
                    number += 1
                    if not line.endswith(b"\n"):
                        last = None
                        break
                    last = decode(line)
                    if last.action == actions.OPEN:
                        self._check_schema(last)
                    if take is not None:
                        take(line, last)
                    yield last
        except UNDECODABLE as error:
            if number <= 1:
                raise HistoryError(f"{self.path}, line {number}: not an operation of a history ({error})") from None
            self._broken = f"line {number} is not an operation of a history ({error})"
        except EOFError:
            last = None
        except (gzip.BadGzipFile, zlib.error):
            if number == 0:
                raise HistoryError(f"{self.path}: not a compressed history; restore it, or run again") from None
            self._broken = f"the compressed file is damaged behind line {number}"
        except OSError as error:
            raise HistoryError(f"{self.path}: cannot be read ({error.strerror}); make it readable") from None
        self._truncated = bool(self._broken) or last is None or last.action != actions.END

    def _check_schema(self, opening: Operation) -> None:
        schema = opening.detail.get("schema", SCHEMA)
        if not isinstance(schema, int) or schema > SCHEMA:
            raise HistoryError(
                f"{self.path} has schema {schema!r:.20}, this version reads up to {SCHEMA}; "
                "read it with the netra-probe that wrote it"
            )

    @property
    def truncated(self) -> bool:
        if self._truncated is None:
            for _ in self:
                pass
        return bool(self._truncated)

    @property
    def damage(self) -> tuple[str, ...]:
        """What was changed after it had been recorded, in one phrase each; nothing where nothing shows.

        Raises HistoryError when it cannot be read at all.
        """
        return self._examine()[0]

    @property
    def digest(self) -> str:
        """The digest in its end mark, which stands for the whole; "" where it has none."""
        return self._examine()[1]

    def _examine(self) -> tuple[tuple[str, ...], str]:
        if self._examined is None:
            examination = Examination()
            for _ in self._read(examination.take):
                pass
            broken = (self._broken,) if self._broken else ()
            self._examined = ((*broken, *examination.signs()), examination.digest)
        return self._examined

    def to_dataframe(self) -> pandas.DataFrame:
        """The history as a table, one row an operation.

        Columns: ``time`` (seconds since the beginning), ``type``, ``action``, ``user``, ``connection``, ``backend``,
        ``surface``, ``call``, ``status``, ``nonce``, ``payload``, ``detail``, and one column for each id seen
        (``user_id``, ``thread_id``, ``run_id``, …); the index is the sequence number.
        """
        import pandas

        rows = [
            {
                "index": operation.index,
                "time": operation.time / 1e9,
                **{name: getattr(operation, name) for name in _COLUMNS},
                **operation.ids,
            }
            for operation in self
        ]
        return pandas.DataFrame(rows, columns=None if rows else ["index", "time", *_COLUMNS]).set_index("index")

    def __repr__(self) -> str:
        return f"History({self.path.name!r})"


_COLUMNS = (
    "type",
    "action",
    "user",
    "connection",
    "backend",
    "surface",
    "call",
    "status",
    "nonce",
    "payload",
    "detail",
)


def _cleaned(value: Any, clean: Clean) -> Any:
    """A detail without secrets, also inside of mappings such as a query."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {name: _cleaned(inner, clean) for name, inner in value.items()}
    return value


class Recorder(History):
    """A history that is being made: append, and it is on its way to disk before ``append`` returns.

    Each operation is one ``write`` to the file, so that a killed process loses nothing that it had appended. Payloads
    and details pass the redactor first. Markers carry the digest of all lines so far (``netra_probe.history.damage``).
    ``close`` adds the end mark and compresses.
    """

    def __init__(self, path: Path, *, redactor: Redactor | None = None) -> None:
        super().__init__(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = open(path, "xb", buffering=0)  # noqa: SIM115 - lives as long as the recording
        except FileExistsError:
            raise HistoryError(f"{path} exists: a history is never overwritten; choose another output folder") from None
        self.redactor = redactor or Redactor()
        self._lock = threading.Lock()
        self._encoder = msgspec.json.Encoder()
        self._begin = time.monotonic_ns()
        self._operations: list[Operation] = []
        self._chain = Chain()

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._operations)

    def __len__(self) -> int:
        return len(self._operations)

    def __getitem__(self, index: int) -> Operation:
        return self._operations[index]

    @property
    def truncated(self) -> bool:
        return False

    def _examine(self) -> tuple[tuple[str, ...], str]:
        return (), ""

    def append(self, *, type: Outcome, action: str, payload: str = "", **fields: Any) -> Operation:
        """Record one operation; ``fields`` are those of ``Operation``."""
        clean = self.redactor.clean
        if payload:
            payload = clean(payload)
        if detail := fields.get("detail"):
            fields["detail"] = {name: _cleaned(value, clean) for name, value in detail.items()}
        if type == "invoke" and (step := STEP.get()):
            fields["detail"] = {**fields.get("detail", {}), "step": step}
        with self._lock:
            operation = Operation(
                index=len(self._operations),
                time=time.monotonic_ns() - self._begin,
                type=type,
                action=action,
                payload=payload,
                **fields,
            )
            if action in MARKERS:
                operation, line = self._sealed(operation)
            else:
                line = self._encoder.encode(operation) + b"\n"
                self._chain.update(line)
            self._operations.append(operation)
            if not self._file.closed:
                self._file.write(line)
        return operation

    def _sealed(self, marker: Operation) -> tuple[Operation, bytes]:
        """A marker with its digest, and its line."""
        detail = {name: value for name, value in marker.detail.items() if name != CHAIN}
        line = self._chain.seal(self._encoder.encode(structs.replace(marker, detail={**detail, CHAIN: ""})))
        return msgspec.json.decode(line, type=Operation), line

    def invoke(self, action: str, **fields: Any) -> Operation:
        """An act begins."""
        return self.append(type="invoke", action=action, **fields)

    def complete(
        self,
        call: Operation,
        type: Outcome,
        *,
        status: int | None = None,
        payload: str = "",
        ids: Mapping[str, str] | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> Operation:
        """An act ends; who did what and where is taken from its ``invoke``."""
        return self.append(
            type=type,
            action=call.action,
            user=call.user,
            connection=call.connection,
            backend=call.backend,
            surface=call.surface,
            call=call.index,
            status=status,
            nonce=call.nonce,
            payload=payload,
            ids=dict(ids or {}),
            detail=dict(detail or {}),
        )

    def observe(self, action: str, **fields: Any) -> Operation:
        """Something was seen that nobody asked for, or that describes the investigation."""
        return self.append(type="ok", action=action, **fields)

    def abandon(self) -> None:
        """Stop recording without the end mark: what is on disk stays, and a reader will say that it is truncated."""
        self._file.close()

    def close(self) -> Path:
        """Write the end mark and compress; returns the path of the finished file. Closing twice is harmless."""
        if self._file.closed:
            return self.path
        self.observe(actions.END, surface=PROBE, detail={"operations": len(self._operations)})
        self._file.close()
        packed = self.path.with_name(self.path.name + ".gz")
        partial = packed.with_name(packed.name + ".partial")
        with open(self.path, "rb") as plain, gzip.GzipFile(partial, "wb", compresslevel=6, mtime=0) as compressed:
            shutil.copyfileobj(plain, compressed)
        partial.replace(packed)
        self.path.unlink()
        self.path = packed
        return packed
