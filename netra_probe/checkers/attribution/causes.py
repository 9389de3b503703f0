"""From many findings to few causes: which fault explains most of them, what speaks for it, and what it leaves over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A fault, or a group of faults that the evidence does not tell apart, with the findings that it explains.

    Arguments:
        faults: ids of the catalogue; nothing where none of the known ones fits.
        explains: number of findings.
        because: what speaks for it.
        rival: the next candidate for the same findings, and how many of them it explains.
    """

    faults: tuple[str, ...]
    explains: int
    because: str = ""
    rival: tuple[str, ...] = ()
    rival_explains: int = 0


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A finding as far as its cause is concerned.

    Arguments:
        attribution: the faults that could be behind it, likeliest first.
        shape: checker, kind and surface: a finding to which nothing points goes with the others of its shape.
    """

    attribution: tuple[str, ...]
    shape: tuple[str, ...]


def causes(
    findings: Iterable[Explained],
    *,
    ranking: Sequence[Sequence[str]] = (),
    reasons: Mapping[tuple[str, ...], str] | None = None,
) -> tuple[Cause, ...]:
    """The causes that together explain all findings, the likeliest first.

    >>> leak = ("canary", "foreign canary", "rest")
    >>> found = [Explained(attribution=("W1", "D3"), shape=leak),
    ...          Explained(attribution=(), shape=leak),
    ...          Explained(attribution=(), shape=("delivery", "lost event", "websocket"))]
    >>> [(cause.faults, cause.explains, cause.rival) for cause in causes(found)]
    [(('W1',), 2, ('D3',)), ((), 1, ())]

    Arguments:
        ranking: groups of faults, the likeliest for all findings together first; by the findings alone where left out.
        reasons: group → what speaks for it.
    """
    left = list(findings)
    votes: dict[str, float] = defaultdict(float)
    for finding in left:
        for position, fault in enumerate(finding.attribution, start=1):
            votes[fault] += 1 / position
    groups = [tuple(group) for group in ranking] or [(fault,) for fault in sorted(votes, key=lambda one: -votes[one])]
    found = []
    for position, group in enumerate(groups):
        named = [one for one in left if set(group) & set(one.attribution)]
        if not named:
            continue
        shapes = {one.shape for one in named}
        explained = [one for one in left if one in named or (not one.attribution and one.shape in shapes)]
        left = [one for one in left if one not in explained]
        rival = next((other for other in groups[position + 1 :] if _number_of(other, explained)), ())
        found.append(
            Cause(
                faults=group,
                explains=len(explained),
                because=(reasons or {}).get(group, ""),
                rival=rival,
                rival_explains=_number_of(rival, explained),
            )
        )
    if left:
        found.append(Cause(faults=(), explains=len(left)))
    return tuple(found)


def _number_of(group: Sequence[str], findings: Sequence[Explained]) -> int:
    return sum(bool(set(group) & set(finding.attribution)) for finding in findings)
