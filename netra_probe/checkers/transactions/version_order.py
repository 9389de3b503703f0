"""What transactions read and wrote, and the order of versions that follows from it, key by key.

The inference is Elle's (K. Kingsbury and P. Alvaro, "Elle: Inferring Isolation Anomalies from Experimental
Observations", VLDB 2020): a list that is only appended to shows its whole past to every reader; a register shows it
where a transaction read a version and then replaced it, or where the target said which version it replaced.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Version: TypeAlias = Hashable


class _Mark:
    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


#: The version of a list before anything was appended.
EMPTY = _Mark("[]")
#: Nothing is known of the version that a write replaced.
UNKNOWN = _Mark("unknown")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One micro-operation: ``r`` (value: what was read), ``w`` (a register's new value) or ``append``.

    ``replaced`` is the version that a write is known to have replaced, where the target says so
    (``UPDATE … RETURNING old.value``, an ``ETag``).
    """

    act: str
    key: str
    value: Any
    replaced: Any = UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """What one transaction did.

    Arguments:
        index: of its completion in the history; names it.
        began: index of its ``invoke``.
        user: who ran it.
        outcome: ``ok`` (committed), ``fail`` (surely aborted) or ``info`` (may have committed).
        steps: its micro-operations in order.
    """

    index: int
    began: int
    user: str | None = None
    outcome: str = "ok"
    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        steps = ", ".join(f"{step.act} {step.key}={shown(step.value)}" for step in self.steps)
        return f"#{self.index} ({self.user or 'nobody'}: {steps})"

    def writes(self) -> Iterator[Step]:
        return (step for step in self.steps if step.act != "r")

    def outside_reads(self) -> Iterator[Step]:
        """What it read before it wrote the same key itself, with its own appends taken off the end of a list."""
        own: dict[str, set[Version]] = defaultdict(set)
        for step in self.steps:
            if step.act != "r":
                own[step.key].add(step.value)
            elif isinstance(step.value, tuple):
                elements = step.value
                while elements and elements[-1] in own[step.key]:
                    elements = elements[:-1]
                yield Step(act="r", key=step.key, value=elements)
            elif step.key not in own:
                yield step


@dataclass
class Key:
    """What is known of one key.

    Arguments:
        appends: whether it is a list.
        writers: version → the transaction that wrote it, and whether that was its last write of the key.
        ambiguous: versions that more than one write (or a write and the initial state) may have made.
        after: version → versions that replaced it directly.
        readers: version → transactions that read it from outside.
        longest, latest: the longest list that was read, and the one read by the transaction that began last.
    """

    appends: bool = False
    writers: dict[Version, tuple[Transaction, bool]] = field(default_factory=dict)
    ambiguous: set[Version] = field(default_factory=set)
    after: dict[Version, set[Version]] = field(default_factory=lambda: defaultdict(set))
    readers: dict[Version, list[Transaction]] = field(default_factory=lambda: defaultdict(list))
    longest: tuple[Version, ...] = ()
    longest_reader: Transaction | None = None
    latest: tuple[Version, ...] = ()
    latest_reader: Transaction | None = None

    def writer(self, version: Version) -> Transaction | None:
        """The one transaction that wrote this version and may have committed."""
        if version in self.ambiguous or version not in self.writers:
            return None
        writer = self.writers[version][0]
        return None if writer.outcome == "fail" else writer


def frozen(value: Any) -> Any:
    """A JSON value that can be a dictionary key: lists become tuples, mappings sorted tuples of pairs."""
    if isinstance(value, list | tuple):
        return tuple(frozen(element) for element in value)
    if isinstance(value, dict):
        return tuple(sorted((str(name), frozen(element)) for name, element in value.items()))
    return value


def shown(value: object) -> str:
    """A version as a witness shows it: short, lists in brackets."""
    text = repr(list(value)) if isinstance(value, tuple) else repr(value)
    return text if len(text) <= 40 else f"{text[:18]}…{text[-18:]}"


def index_keys(transactions: Sequence[Transaction]) -> dict[str, Key]:
    """All keys with their versions in order; linear in the number of micro-operations and of elements read."""
    keys: dict[str, Key] = defaultdict(Key)
    for transaction in transactions:
        _index_writes(transaction, keys)
    happened = [transaction for transaction in transactions if transaction.outcome != "fail"]
    for transaction in happened:
        for step in transaction.outside_reads():
            _index_read(transaction, step, keys[step.key])
    for transaction in happened:
        _order_registers(transaction, keys)
    for key in keys.values():
        _chain(key, (EMPTY, *key.longest) if key.appends else ())
    return keys


def _index_writes(transaction: Transaction, keys: dict[str, Key]) -> None:
    last = {step.key: step.value for step in transaction.writes()}
    for step in transaction.writes():
        key = keys[step.key]
        key.appends |= step.act == "append"
        if step.value in key.writers and key.writers[step.value][0] is not transaction:
            key.ambiguous.add(step.value)
        key.writers[step.value] = (transaction, last[step.key] == step.value)


def _index_read(transaction: Transaction, step: Step, key: Key) -> None:
    if not isinstance(step.value, tuple):
        version: Version = step.value
        if version in key.writers and key.writers[version][0].began > transaction.index:
            # Read before it was written: the initial state had this value, too.
            key.ambiguous.add(version)
        key.readers[version].append(transaction)
        return
    key.appends = True
    elements = step.value
    key.readers[elements[-1] if elements else EMPTY].append(transaction)
    if len(elements) > len(key.longest) or key.longest_reader is None:
        key.longest, key.longest_reader = elements, transaction
    if key.latest_reader is None or transaction.began >= key.latest_reader.began:
        key.latest, key.latest_reader = elements, transaction


def _order_registers(transaction: Transaction, keys: dict[str, Key]) -> None:
    current: dict[str, Version] = {}
    for step in transaction.steps:
        key = keys[step.key]
        if key.appends:
            continue
        if step.act == "w":
            before = step.replaced if step.replaced is not UNKNOWN else current.get(step.key, UNKNOWN)
            if before is not UNKNOWN and before != step.value:
                key.after[before].add(step.value)
        current[step.key] = step.value


def _chain(key: Key, versions: Iterable[Version]) -> None:
    previous: Version = UNKNOWN
    for version in versions:
        if previous is not UNKNOWN:
            key.after[previous].add(version)
        previous = version
