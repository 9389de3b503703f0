"""Anomalies of transactions: what no serial order of them explains, with the shortest contradiction.

Names and classes are those of A. Adya ("Weak Consistency", MIT 1999) and P. Bailis et al. ("Highly Available
Transactions", VLDB 2013); which isolation level of PostgreSQL prevents which is M. Kleppmann's Hermitage table
(https://github.com/ept/hermitage), against which this module is verified on the real server.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from netra_probe.checkers.transactions.cycles import Edge, dependencies, find_cycles
from netra_probe.checkers.transactions.version_order import Key, Step, Transaction, Version, index_keys, shown

LEVELS = ("read committed", "repeatable read", "serializable")
#: Each anomaly, the gravest first, with the weakest isolation level of PostgreSQL that prevents it.
PREVENTED_BY = {
    "dirty write (G0)": "read committed",
    "aborted read (G1a)": "read committed",
    "intermediate read (G1b)": "read committed",
    "circular information flow (G1c)": "read committed",
    "impossible read": "read committed",
    "observed transaction vanishes (OTV)": "read committed",
    "double spend": "repeatable read",
    "lost update": "repeatable read",
    "lost append": "repeatable read",
    "read skew (G-single)": "repeatable read",
    "write skew (G2)": "serializable",
}
_CYCLES = {
    "G0": "dirty write (G0)",
    "G1c": "circular information flow (G1c)",
    "G-single": "read skew (G-single)",
    "G2": "write skew (G2)",
}
#: Keys of objects that can be used once; two that used the same are a double spend.
SPENT = "spent:"


@dataclass(frozen=True, kw_only=True)
class Anomaly:
    """One contradiction: its kind, its transactions, the keys, and why, sentence by sentence."""

    kind: str
    transactions: tuple[Transaction, ...]
    keys: tuple[str, ...]
    why: tuple[str, ...]


def find_anomalies(transactions: Sequence[Transaction], keys: Mapping[str, Key] | None = None) -> list[Anomaly]:
    """All anomalies of a set of transactions, one per kind and set of keys: the one with the fewest transactions.

    ``keys`` is their index, where it has been made already.

    Near linear: every micro-operation is looked at a constant number of times; the search for cycles stays within
    strongly connected components, of which a healthy history has none.

    >>> first = Transaction(index=1, began=0, steps=(Step(act="r", key="x", value=0), Step(act="w", key="x", value=1)))
    >>> other = Transaction(index=3, began=2, steps=(Step(act="r", key="x", value=0), Step(act="w", key="x", value=2)))
    >>> [anomaly.kind for anomaly in find_anomalies([first, other])]
    ['lost update']
    """
    keys = keys if keys is not None else index_keys(transactions)
    found: dict[tuple[str, tuple[str, ...]], Anomaly] = {}
    updates: list[frozenset[str]] = []
    for anomaly in _direct(transactions, keys):
        found.setdefault((anomaly.kind, anomaly.keys), anomaly)
        if anomaly.kind in ("lost update", "double spend"):
            updates.append(frozenset(anomaly.keys))
    members = {transaction.index: transaction for transaction in transactions}
    for name, cycle in find_cycles(dependencies(keys)):
        anomaly = _of_cycle(name, cycle, members)
        # Two lost updates show up again as a cycle of anti-dependencies over the same key.
        if name in ("G-single", "G2") and any(set(anomaly.keys) <= known for known in updates):
            continue
        place = (anomaly.kind, anomaly.keys)
        if place not in found or len(anomaly.transactions) < len(found[place].transactions):
            found[place] = anomaly
    order = {kind: position for position, kind in enumerate(PREVENTED_BY)}
    return sorted(found.values(), key=lambda anomaly: (order[anomaly.kind], anomaly.keys))


def _anomaly(kind: str, transactions: Sequence[Transaction], key: str, why: str) -> Anomaly:
    return Anomaly(kind=kind, transactions=tuple(transactions), keys=(key,), why=(why,))


def _of_cycle(name: str, cycle: Sequence[Edge], members: Mapping[int, Transaction]) -> Anomaly:
    keys = tuple(sorted({edge.key for edge in cycle}))
    transactions = tuple(members[edge.source] for edge in cycle)
    kind = _CYCLES[name]
    if name == "G-single" and len(cycle) == 2 and len(keys) == 1:
        kind = "lost update" if all(_updates(one, keys[0]) for one in transactions) else kind
    return Anomaly(kind=kind, transactions=transactions, keys=keys, why=tuple(map(str, cycle)))


def _updates(transaction: Transaction, key: str) -> bool:
    """Whether the transaction read the key and then wrote it."""
    acts = [step.act for step in transaction.steps if step.key == key]
    return "r" in acts and any(act != "r" for act in acts[acts.index("r") :])


def _direct(transactions: Sequence[Transaction], keys: Mapping[str, Key]) -> Iterator[Anomaly]:
    for transaction in transactions:
        if transaction.outcome != "fail":
            yield from _own_writes(transaction)
            yield from _sources(transaction, keys)
            yield from _vanished(transaction, keys)
    yield from _lost_updates(transactions, keys)
    yield from _lost_appends(keys)


def _own_writes(transaction: Transaction) -> Iterator[Anomaly]:
    """A transaction sees its own writes."""
    own: dict[str, Version] = {}
    for step in transaction.steps:
        if step.act == "w":
            own[step.key] = step.value
        elif step.act == "r" and step.key in own and own[step.key] != step.value:
            why = f"{transaction} wrote {step.key}={shown(own[step.key])} and then read {shown(step.value)}"
            yield _anomaly("impossible read", [transaction], step.key, why)


def _sources(transaction: Transaction, keys: Mapping[str, Key]) -> Iterator[Anomaly]:
    """What it read was committed, final, and one past of an append-only list."""
    for step in transaction.outside_reads():
        key = keys[step.key]
        elements = step.value if isinstance(step.value, tuple) else (step.value,)
        for position, version in enumerate(elements):
            if version in key.ambiguous or version not in key.writers:
                continue
            writer, final = key.writers[version]
            if writer is transaction:
                continue
            if writer.outcome == "fail":
                why = f"{transaction} read {step.key}={shown(version)}, which {writer} wrote and never committed"
                yield _anomaly("aborted read (G1a)", [writer, transaction], step.key, why)
            elif not final and position == len(elements) - 1:
                why = f"{transaction} read {step.key}={shown(version)}, which {writer} itself went on to replace"
                yield _anomaly("intermediate read (G1b)", [writer, transaction], step.key, why)
        if isinstance(step.value, tuple):
            yield from _impossible_lists(transaction, step, key)


def _impossible_lists(transaction: Transaction, step: Step, key: Key) -> Iterator[Anomaly]:
    elements = step.value
    if len(set(elements)) < len(elements):
        why = f"{transaction} read {step.key}={shown(elements)}: an element that was appended once stands there twice"
        yield _anomaly("impossible read", [transaction], step.key, why)
    elif key.longest[: len(elements)] != elements and key.longest_reader is not None:
        why = (
            f"{transaction} read {step.key}={shown(elements)} and {key.longest_reader} read {shown(key.longest)}: "
            "a list that is only appended to cannot have been both"
        )
        yield _anomaly("impossible read", [key.longest_reader, transaction], step.key, why)


def _vanished(transaction: Transaction, keys: Mapping[str, Key]) -> Iterator[Anomaly]:
    """Having seen one write of another transaction, it does not afterwards miss another one."""
    observed: dict[int, tuple[Transaction, str]] = {}
    for step in transaction.outside_reads():
        key = keys[step.key]
        version = (step.value[-1] if step.value else None) if isinstance(step.value, tuple) else step.value
        for successor in key.after.get(version, ()):
            writer = key.writer(successor)
            if writer is not None and writer is not transaction and writer.index in observed:
                seen = observed[writer.index][1]
                why = (
                    f"{transaction} first read {seen}, which {writer} wrote, and then {step.key}={shown(version)}, "
                    f"which the same transaction had replaced by {shown(successor)}"
                )
                yield _anomaly("observed transaction vanishes (OTV)", [writer, transaction], step.key, why)
        source = key.writer(version)
        if source is not None:
            observed.setdefault(source.index, (source, f"{step.key}={shown(version)}"))


def _lost_updates(transactions: Sequence[Transaction], keys: Mapping[str, Key]) -> Iterator[Anomaly]:
    """No two committed transactions read the same version of a register and both replaced it."""
    rivals: dict[tuple[str, Version], list[Transaction]] = defaultdict(list)
    for transaction in transactions:
        if transaction.outcome != "ok":
            continue
        first: dict[str, Version] = {}
        for step in transaction.steps:
            if keys[step.key].appends:
                continue
            if step.act == "r":
                first.setdefault(step.key, step.value)
            elif step.key in first:
                version = first.pop(step.key)
                if version not in keys[step.key].ambiguous:
                    rivals[(step.key, version)].append(transaction)
    for (name, version), group in rivals.items():
        pair = [group[0], next((one for one in group if one is not group[0]), group[0])]
        if pair[0] is pair[1]:
            continue
        rest = f"; {len(group) - 2} more did, too" if len(group) > 2 else ""
        if name.startswith(SPENT):
            why = f"{pair[0]} and {pair[1]} were both granted what can be had once{rest}"
            yield _anomaly("double spend", pair, name, why)
        else:
            why = f"{pair[0]} and {pair[1]} both read {name}={shown(version)} and both replaced it{rest}"
            yield _anomaly("lost update", pair, name, why)


def _lost_appends(keys: Mapping[str, Key]) -> Iterator[Anomaly]:
    """A committed append is there for the transaction that began last, if that was after the commit."""
    for name, key in keys.items():
        reader = key.latest_reader
        if not key.appends or reader is None:
            continue
        present = {*key.latest, *key.longest}
        for version, (writer, _) in key.writers.items():
            lost = writer.outcome == "ok" and writer.index < reader.began and version not in present
            if lost and version not in key.ambiguous:
                why = f"{writer} committed {name}+{shown(version)} before {reader} began, which did not see it"
                yield _anomaly("lost append", [writer, reader], name, why)
