"""Signs of damage: what cannot be in a history that was recorded and then left alone.

A cut recording, a copy with an error in it, two recordings in one file, an edited line: each may hide a leak, and a
verdict must not rest on it. The recorder stores a running digest of the file at each marker (the opening, the checks,
the clean-up, the end), which any later change breaks. Recordings made before there were digests are held against what
the recorder guarantees and what the probe writes. None of this stops somebody who rewrites the whole recording.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal

import msgspec

from netra_probe.history import actions
from netra_probe.history.canary import mint
from netra_probe.history.frames import read_frame
from netra_probe.history.operation import Operation

#: The operations that carry the digest of everything before them.
MARKERS = frozenset((actions.OPEN, actions.CHECK, actions.SKIP, actions.CLEANUP, actions.END))
#: Where the digest stands in the detail of a marker: it comes last, so that all that stands before it is covered.
CHAIN = "chain"
_BEFORE = f'"{CHAIN}":"'.encode()
_AFTER = b'"}}\n'
_DIGITS = 32
#: Signs that a message names; the first is the one to look at.
MOST_SIGNS = 3
#: How a case is skipped: for surfaces that the target does not have.
_SKIPPED = re.compile(r"the target has (no \w+(?: and no \w+)*) surface")


class Chain:
    """The running digest of a recording, line by line.

    >>> chain = Chain()
    >>> line = chain.seal(b'{"index":0,"detail":{"chain":""}}')
    >>> Chain().accepts(line), Chain().accepts(line.replace(b'0', b'1', 1))
    (True, False)
    """

    def __init__(self) -> None:
        self._state = hashlib.blake2b(digest_size=_DIGITS // 2)
        #: Takes in the next line of which nothing is asked.
        self.update = self._state.update

    def seal(self, line: bytes) -> bytes:
        """The encoded marker, which ends in an empty digest, with the digest of all lines so far and of itself."""
        self.update(line[: 1 - len(_AFTER)])
        sealed = self._state.hexdigest().encode() + _AFTER
        self.update(sealed)
        return line[: 1 - len(_AFTER)] + sealed

    def accepts(self, line: bytes) -> bool:
        """Take in a line that ends in a digest; whether it is the digest of what was taken in."""
        start = len(line) - len(_AFTER) - _DIGITS
        self.update(line[:start])
        right = line[:start].endswith(_BEFORE) and line[start:] == self._state.hexdigest().encode() + _AFTER
        self.update(line[start:])
        return right


class Opening(msgspec.Struct):
    """What the first line must say."""

    scenario: str
    environment: str
    seed: int
    title: str = ""
    surfaces: list[str] = []


class CheckerRecord(msgspec.Struct):
    """A checker, as a check line names it."""

    id: str
    options: dict[str, Any] = {}


class Check(msgspec.Struct):
    """What a check line must say."""

    case: str
    claim: str
    checkers: list[CheckerRecord]
    start: int = 0
    steady: bool = True
    withheld: list[str] = []
    limits: list[str] = []


class Skip(msgspec.Struct):
    """What the line of a skipped case must say."""

    case: str
    claim: str
    reason: str


class CleanUpRecord(msgspec.Struct):
    """What the clean-up line must say."""

    verdict: Literal["pass", "fail", "inconclusive", "not applicable"]
    left: list[str]


_SHAPES: dict[str, type[msgspec.Struct]] = {
    actions.OPEN: Opening,
    actions.CHECK: Check,
    actions.SKIP: Skip,
    actions.CLEANUP: CleanUpRecord,
}
_COPIED = ("action", "user", "connection", "backend", "surface", "nonce")


def is_well_formed(marker: Operation) -> bool:
    """Whether a marker says what it must, in the right types."""
    shape = _SHAPES.get(marker.action)
    try:
        return shape is None or bool(msgspec.convert(marker.detail, shape))
    except (msgspec.ValidationError, RecursionError):
        return False


class Examination:
    """Looks at each line of a stored history as it is read, and collects signs of damage.

    ``digest`` is that of the end mark, which stands for the whole recording; "" where there is none.
    """

    def __init__(self) -> None:
        self.digest = ""
        self._signs: dict[str, str] = {}
        self._chain = Chain()
        self._chained = False
        self._lines = self._time = 0
        self._open: dict[int, Operation] = {}
        self._opening: Opening | None = None
        self._cases: set[str] = set()
        self._marker: int | None = None
        self._cleaned = self._ended = False
        #: Signs that show only where no digest speaks for the recording: they rest on how the probe writes.
        self._unusual: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        self._mints: list[Operation] = []

    def take(self, line: bytes, operation: Operation) -> None:
        """The next line, and what it was read as."""
        number = self._lines = self._lines + 1
        marker = operation.action in MARKERS
        if marker and CHAIN in operation.detail:
            self._chained = self._chained or number == 1
            if not self._chain.accepts(line):
                self._sign("chain", f"lines up to {number} differ from what was recorded (wrong digest)")
            elif not self._chained:
                self._sign("chain", f"line {number} has a digest, and the first line has none")
            self.digest = str(operation.detail[CHAIN]) if operation.action == actions.END else ""
        else:
            self._chain.update(line)
            if marker and self._chained:
                self._sign("chain", f"the digest of line {number} is missing")
        if operation.index != number - 1:
            self._sign("index", f"line {number} has the number {operation.index}: lines are missing, moved or doubled")
        if operation.time < self._time:
            self._sign("time", f"line {number} is earlier than the line before it")
        self._time = max(self._time, operation.time)
        if self._ended:
            self._sign("end", f"it goes on after its end, in line {number}")
        if operation.type == "invoke":
            self._open[operation.index] = operation
        elif operation.call is not None:
            self._completion(number, operation)
        if marker:
            self._take_marker(number, operation)
        elif not self._chained:
            self._look_closer(number, operation)

    def _sign(self, kind: str, sentence: str) -> None:
        self._signs.setdefault(kind, sentence)

    def _completion(self, number: int, operation: Operation) -> None:
        call = self._open.pop(operation.call or 0, None)
        if call is None:
            self._sign("call", f"line {number} ends an act that did not begin, or had ended")
        elif any(getattr(call, name) != getattr(operation, name) for name in _COPIED):
            self._sign("call", f"line {number} ends an act of somebody else")

    def _take_marker(self, number: int, marker: Operation) -> None:
        detail, action = marker.detail, marker.action
        if (action == actions.OPEN) != (number == 1):
            what = "a second investigation begins" if action == actions.OPEN else "no investigation has begun"
            self._sign("open", f"{what} in line {number}")
        if not is_well_formed(marker):
            self._sign("shape", f'line {number}: "{action}" without what belongs to it')
        elif action == actions.OPEN:
            self._opening = msgspec.convert(detail, Opening)
        elif action in (actions.CHECK, actions.SKIP):
            self._take_case(number, marker)
        elif action == actions.CLEANUP:
            if self._cleaned:
                self._sign("cleanup", f"a second clean-up in line {number}")
            if detail["verdict"] == "pass" and detail["left"]:
                self._sign("cleanup", f"line {number}: the clean-up contradicts itself")
            self._cleaned = True
        if action == actions.END:
            if detail.get("operations") != number - 1:
                told = detail.get("operations")
                self._sign("end", f"its end speaks of {told!r:.20} lines before it, where {number - 1} are")
            self._ended = True

    def _take_case(self, number: int, marker: Operation) -> None:
        case = marker.detail["case"]
        if case in self._cases and not marker.detail.get("again"):
            self._sign("case", f"{case} is judged twice, again in line {number}")
        self._cases.add(case)
        # A case may name its area: E1c.2.
        if self._opening is not None and not re.match(rf"{re.escape(self._opening.scenario)}[a-z]?\.", case):
            self._sign("case", f"{case} in line {number} is no case of {self._opening.scenario}")
        if self._cleaned:
            self._sign("case", f"{case} is judged after the clean-up, in line {number}")
        if marker.action == actions.CHECK:
            start = marker.detail.get("start", 0)
            if not 0 <= start <= marker.index or (self._marker is not None and start <= self._marker):
                self._sign("window", f"{case} in line {number} is judged on what belongs to another case")
            elif self._marker is not None and start != self._marker + 1:
                self._unusual.setdefault("window", f"{case} in line {number} leaves out what came before it")
        elif not self._chained:
            told = _SKIPPED.fullmatch(marker.detail["reason"])
            there = self._opening.surfaces if self._opening is not None else []
            if told is None or any(name in there for name in told[1].removeprefix("no ").split(" and no ")):
                self._unusual.setdefault("skip", f"{case} in line {number} is skipped without a reason that holds")
        self._marker = marker.index

    def _look_closer(self, number: int, operation: Operation) -> None:
        user, connection, detail = operation.user, operation.connection, operation.detail
        if user is not None and connection is not None:
            other = connection.partition("/")[0]
            if other != user and other in self._addresses:
                self._unusual.setdefault("user", f"line {number}: {user} on a connection of {other}")
        if operation.action == actions.RECEIVE and read_frame(operation.payload).ids != operation.ids:
            self._unusual.setdefault("ids", f"line {number}: the ids are not those of the frame")
        elif operation.action == actions.PRINCIPAL and user is not None:
            if user in self._addresses:
                self._unusual.setdefault("user", f"line {number}: {user} is registered a second time")
            self._addresses[user] = str(detail.get("email", ""))
        elif operation.action == actions.MINT:
            self._mints.append(operation)

    def _forged_mint(self) -> int | None:
        """The line of a canary that the seed does not give for its user; ``None`` where all are right."""
        for operation in self._mints:
            user, detail = operation.user or "", operation.detail
            if self._opening is None or not self._addresses.get(user):
                continue
            made = mint(
                seed=self._opening.seed,
                identity=self._addresses[user],
                user=user,
                field=str(detail.get("field")),
                surface=str(detail.get("surface")),
                epoch=detail.get("epoch", 0),
                control=bool(detail.get("control")),
            )
            if made.token != detail.get("token"):
                return operation.index + 1
        return None

    def signs(self) -> tuple[str, ...]:
        """What speaks for damage, after the last line; nothing where nothing does."""
        if self._chained:
            return tuple(self._signs.values())
        if (line := self._forged_mint()) is not None:
            self._unusual.setdefault("mint", f"line {line}: the secret is not the one that was planted")
        return (*self._signs.values(), *self._unusual.values())
