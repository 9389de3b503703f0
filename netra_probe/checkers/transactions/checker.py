"""What concurrent transactions did has a serial explanation: no lost update, no dirty read, no double spend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netra_probe.checkers.base import Checker, CheckerRun, Window
from netra_probe.checkers.principals import witness
from netra_probe.checkers.transactions.anomalies import LEVELS, PREVENTED_BY, SPENT, Anomaly, find_anomalies
from netra_probe.checkers.transactions.books import Books
from netra_probe.checkers.transactions.version_order import Step, Transaction, frozen, index_keys
from netra_probe.checkers.verdict import Finding, Judgement, Pair, Place
from netra_probe.history import actions
from netra_probe.history.operation import Operation, Outcome

_ACTS = frozenset(("r", "w", "append", "spend"))


class TransactionChecker(Checker):
    """The outcomes of concurrent transactions are those of some serial order, and balances are the sums of entries.

    A transaction is an operation ``txn`` whose ``detail.txn`` lists micro-operations: ``["r", key, value]``,
    ``["w", key, value]`` (with the replaced version as a fourth element where the target tells it),
    ``["append", key, value]`` with reads of whole lists, and ``["spend", key, unit]`` for what can be had once (a
    refresh token, a voucher, a credit). Values must be unique per key; ambiguous ones are left out and counted.
    Readings of a ledger (``ledger``) must add up (``netra_probe.checkers.transactions.books``).

    >>> def txn(index, type, steps, call=None):
    ...     return Operation(index=index, time=index, type=type, action="txn", user="alice", call=call, surface="rest",
    ...                      detail={"txn": steps})
    >>> TransactionChecker()([
    ...     txn(0, "invoke", [["spend", "credit", 1]]), txn(1, "invoke", [["spend", "credit", 1]]),
    ...     txn(2, "ok", [["spend", "credit", 1]], call=0), txn(3, "ok", [["spend", "credit", 1]], call=1),
    ... ]).findings[0].kind
    'double spend'

    Arguments:
        level: the isolation that is promised: ``read committed``, ``repeatable read`` (snapshot isolation, as
            PostgreSQL implements it) or ``serializable``; anomalies that it allows are counted and not reported.
    """

    id = "C9"
    guarantee = (
        "The outcomes of concurrent transactions are those of some serial order of them (or of the level given); what "
        "is left of a balance is what there was and its user's own entries, one for each own act."
    )
    source = (
        "A. Adya, Weak Consistency, MIT 1999; Kingsbury and Alvaro, Elle, VLDB 2020; the Hermitage tests; "
        "OWASP ASVS 5.0 2.3.3 and 2.3.4"
    )
    complexity = (
        "time O(micro-operations + elements read), plus at most 800 breadth-first searches in each strongly connected "
        "component; memory O(micro-operations in the window)"
    )
    inconclusive_when = (
        "there was no committed transaction, none overlapped another, none read what another wrote, "
        "or the outcome of most is unknown"
    )

    def __init__(self, *, level: str = "serializable") -> None:
        if level not in LEVELS:
            raise ValueError(f"level={level!r}: give one of {', '.join(LEVELS)}")
        self.level = level

    @property
    def options(self) -> Mapping[str, Any]:
        return {} if self.level == "serializable" else {"level": self.level}

    def begin(self, window: Window) -> CheckerRun:
        return _TransactionPass(window.start, self.level)


class _TransactionPass(CheckerRun):
    def __init__(self, start: int, level: str) -> None:
        self._start = start
        self._level = level
        self._open: dict[int, Operation] = {}
        self._transactions: list[Transaction] = []
        self._surfaces: set[str] = set()
        self._overlapping = 0
        self._malformed = 0
        self._books = Books(start)

    def wants(self, surface: str, action: str, type: Outcome) -> bool:
        return action in (actions.TXN, actions.LEDGER)

    def feed(self, operation: Operation) -> None:
        if operation.action == actions.LEDGER:
            self._books.feed(operation)
            return
        if operation.index < self._start:
            return
        if operation.type == "invoke":
            self._open[operation.index] = operation
            return
        call = self._open.pop(operation.call, None) if operation.call is not None else None
        self._overlapping += bool(self._open)
        self._surfaces.add(operation.surface)
        # What a failed or uncertain transaction read is unknown, and what it wrote stands in its invoke.
        told = operation.detail.get("txn")
        steps = self._steps(told if told is not None or call is None else call.detail.get("txn"), operation)
        if operation.type != "ok":
            steps = tuple(step for step in steps if step.act != "r")
        self._transactions.append(
            Transaction(
                index=operation.index,
                began=operation.index if call is None else call.index,
                user=operation.user,
                outcome=operation.type,
                steps=steps,
            )
        )

    def _steps(self, given: Any, operation: Operation) -> tuple[Step, ...]:
        steps: list[Step] = []
        for entry in given if isinstance(given, list | tuple) else ():
            if not (isinstance(entry, list | tuple) and len(entry) >= 3 and str(entry[0]) in _ACTS):
                self._malformed += 1
                continue
            act, key, value = str(entry[0]), str(entry[1]), frozen(entry[2])
            if act == "spend":
                # Spending is replacing "not spent" by oneself: two of the same unit are two updates of one version.
                unit = f"{SPENT}{key}/{value}"
                steps += [
                    Step(act="r", key=unit, value=None),
                    Step(act="w", key=unit, value=("spent by", operation.index)),
                ]
            elif act != "r" and len(entry) > 3:
                steps.append(Step(act=act, key=key, value=value, replaced=frozen(entry[3])))
            else:
                steps.append(Step(act=act, key=key, value=value))
        return tuple(steps)

    def finish(self) -> Judgement:
        transactions = self._transactions
        # Those that never completed may have happened, too.
        transactions += [
            Transaction(
                index=call.index,
                began=call.index,
                user=call.user,
                outcome="info",
                steps=tuple(step for step in self._steps(call.detail.get("txn"), call) if step.act != "r"),
            )
            for call in self._open.values()
        ]
        allowed = LEVELS.index(self._level)
        keys = index_keys(transactions)
        anomalies = find_anomalies(transactions, keys)
        reported = [anomaly for anomaly in anomalies if LEVELS.index(PREVENTED_BY[anomaly.kind]) <= allowed]
        committed = sum(transaction.outcome == "ok" for transaction in transactions)
        uncertain = sum(transaction.outcome == "info" for transaction in transactions)
        shared = sum(
            1
            for key in keys.values()
            for version, readers in key.readers.items()
            if version in key.writers and any(reader is not key.writers[version][0] for reader in readers)
        )
        rivals = sum(1 for name, key in keys.items() if name.startswith(SPENT) and len(key.writers) > 1)
        doubts = []
        if not committed:
            doubts.append("no transaction was committed")
        elif committed > 1 and not self._overlapping:
            doubts.append("no transaction overlapped another: a serial history has no anomalies to show")
        if committed and not shared and not rivals:
            doubts.append("no transaction read what another had written: the history ties them in no order")
        if uncertain > committed:
            doubts.append(f"the outcome of {uncertain} of {len(transactions)} transactions is unknown")
        if self._malformed:
            doubts.append(f"{self._malformed} micro-operations could not be read")
        return Judgement(
            checker=TransactionChecker.id,
            findings=(*_findings(reported, min(self._surfaces, default="")), *self._books.findings()),
            doubts=tuple(doubts),
            evidence={
                "transactions": len(transactions),
                "committed transactions": committed,
                "overlapping transactions": self._overlapping,
                "ambiguous versions": sum(len(key.ambiguous) for key in keys.values()),
                "anomalies that the level allows": len(anomalies) - len(reported),
                **({"ledger readings compared": self._books.compared} if self._books.compared else {}),
            },
        )


def _findings(anomalies: list[Anomaly], surface: str) -> tuple[Finding, ...]:
    """One finding per kind and users: the one with the fewest transactions, and the number of keys."""
    groups: dict[tuple[str, tuple[str, ...]], list[Anomaly]] = {}
    for anomaly in anomalies:
        users = tuple(sorted({transaction.user for transaction in anomaly.transactions if transaction.user}))
        groups.setdefault((anomaly.kind, users), []).append(anomaly)
    findings = []
    for (kind, users), group in groups.items():
        least = min(group, key=lambda anomaly: len(anomaly.transactions))
        keys = sorted({key for anomaly in group for key in _keys(anomaly)})
        over = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more keys" if len(keys) > 3 else "")
        between = " and ".join(users) or "nobody named"
        indices = [transaction.index for transaction in least.transactions]
        begun = [transaction.began for transaction in least.transactions]
        findings.append(
            Finding(
                checker=TransactionChecker.id,
                kind=kind,
                summary=f"{kind} between transactions of {between} over {over}",
                operations=tuple(_place(key, [one for one in group if key in _keys(one)], users) for key in keys),
                victims=users,
                recipients=users,
                surface=surface,
                witness=witness(*indices, *begun),
                explanation=_explanation(least),
            )
        )
    return tuple(findings)


def _keys(anomaly: Anomaly) -> set[str]:
    return {key.removeprefix(SPENT) for key in anomaly.keys}


def _place(key: str, anomalies: Sequence[Anomaly], users: tuple[str, ...]) -> Place:
    """What happened to one key: how often, between whom, and the last transaction of the first time."""
    example = anomalies[0].transactions[-1].index
    owner, recipient = (users[0] if users else "", users[-1] if users else "")
    return Place(operation=key, pairs=(Pair(owner=owner, recipient=recipient, count=len(anomalies), example=example),))


def _explanation(anomaly: Anomaly) -> str:
    if len(anomaly.why) == 1:
        return f"{anomaly.why[0][0].upper()}{anomaly.why[0][1:]}: no serial order allows that."
    names = "; ".join(f"T{number} = {transaction}" for number, transaction in enumerate(anomaly.transactions, start=1))
    return f"Let {names}. Then {'; '.join(anomaly.why)}: a contradiction, each would have to come before the others."
