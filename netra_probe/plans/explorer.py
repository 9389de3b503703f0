"""From what a target offers to a plan that combines it systematically: pure, the same for the same seed.

For each operation every pair of values of all dimensions occurs in some step, so that operation, credential and
principal are covered three by three. The covering arrays come from covertable (Apache-2.0, releases throughout 2026;
allpairspy has had none since July 2023, and knows constraints but no mixed strength).
Source: Kuhn, Wallace, Gallo, "Software fault interactions and implications for software testing", IEEE TSE 30:6, 2004:
nearly all failures come about by one, two or three values together.

Where the budget does not pay for everything each operation gets its first steps, then each its second, and so on; what
is then done is put in order by the harm that it can do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from itertools import chain, product, zip_longest
from typing import Any

from covertable.main import Controller

from netra_probe.checkers.coverage import NOT_SEARCHED
from netra_probe.checkers.coverage import pairs as counted
from netra_probe.plans.dimensions import DIMENSIONS, EXCLUDED, excluded, harm, possible
from netra_probe.plans.offers import Offer, Offers
from netra_probe.plans.steps import Place, Plan, Principal, Step

#: Who is tried first where the budget is small: whoever the commonest defects let in.
TELLING = (Principal.OTHER, Principal.NOBODY, Principal.ENDED)
#: One array: the rows, each a value for each dimension.
Rows = tuple[Mapping[str, StrEnum], ...]


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """A plan, and everything that it leaves out.

    Arguments:
        done: how many steps were left out because they had been taken before.
        left_out: the steps that the budget does not pay for.
        impossible: (operation, dimension, value) → why there is no such step.
        withheld: operation → why it is not sent at all.
        pairs: how many pairs of values there are, with and without operations, as the coverage counts them.
    """

    plan: Plan
    budget: int
    done: int
    left_out: tuple[Step, ...]
    impossible: Mapping[tuple[str, str, str], str]
    withheld: Mapping[str, str]
    unlisted: tuple[str, ...]
    pairs: int

    def only(self, plan: Plan) -> Exploration:
        """The same with a part of its plan: what is left out and impossible is said of the whole."""
        return replace(self, plan=plan)

    def as_record(self) -> dict[str, Any]:
        """What the history keeps of it; the steps themselves stand there one by one."""
        reasons: dict[tuple[str, str], list[str]] = {}
        for (operation, _, value), why in sorted(self.impossible.items()):
            reasons.setdefault((value, why), []).append(operation)
        values = {name: Counter(str(getattr(step, name)) for step in self.left_out) for name in DIMENSIONS}
        return {
            "seed": self.plan.seed,
            "budget": self.budget,
            "planned": len(self.plan),
            "pairs": self.pairs,
            "left_out": {
                "steps": len(self.left_out),
                "operations": dict(sorted(Counter(step.operation for step in self.left_out).items())),
                "values": {name: dict(sorted(counts.items())) for name, counts in values.items() if counts},
            },
            "impossible": [
                {"value": value, "why": why, "operations": len(operations), "example": operations[0]}
                for (value, why), operations in sorted(reasons.items())
            ],
            "withheld": dict(sorted(self.withheld.items())),
            "not_searched": [what for what in NOT_SEARCHED if what not in self.unlisted],
        }


def explore(target: Offers, *, seed: int, budget: int, done: Collection[str] = ()) -> Exploration:
    """A plan for a target, as much of it as the budget pays for.

    >>> explore(Offers(), seed=7, budget=100).plan.steps
    ()

    Arguments:
        budget: requests, messages and handshakes.
        done: ids of steps that need not be taken again.
    """
    impossible: dict[tuple[str, str, str], str] = {}
    queues: list[list[Step]] = []
    beside: set[tuple[str, ...]] = set()
    with_operation = 0
    for offer in target.offers:
        if offer.withheld:
            continue
        values, gone = possible(offer, target)
        impossible |= {(offer.name, _dimension_of(value), str(value)): why for value, why in gone}
        rows = covering(tuple((name, tuple(among)) for name, among in values.items()), seed)
        queues.append(list(dict.fromkeys(_step(offer, row) for row in rows)))
        told, number = _pairs_beside_the_operation(tuple(tuple(row[name] for name in DIMENSIONS) for row in rows))
        beside |= told
        with_operation += number
    chosen: list[Step] = []
    left_out: list[Step] = []
    known, spent, before = set(done), 0, 0
    for row in zip_longest(*queues):
        for step in row:
            if step is None:
                continue
            if step.id in known:
                before += 1
            elif spent + step.cost <= budget:
                chosen.append(step)
                spent += step.cost
            else:
                left_out.append(step)
    return Exploration(
        plan=Plan(tuple(sorted(chosen, key=harm)), seed=seed),
        budget=budget,
        done=before,
        left_out=tuple(left_out),
        impossible=impossible,
        withheld={offer.name: offer.withheld for offer in target.offers if offer.withheld},
        unlisted=target.unlisted,
        pairs=len(beside) + with_operation,
    )


@lru_cache(maxsize=256)
def covering(values: tuple[tuple[str, tuple[StrEnum, ...]], ...], seed: int) -> Rows:
    """Rows in which every pair of values occurs that can occur at all: the ordinary first, then plain and odd in turns.

    The rows of one set of values are the same for all operations that have it, and are found once.
    """
    if any(not among for _, among in values):
        return ()
    factors = {name: list(among) for name, among in values}
    controller = Controller(factors, strength=2, salt=str(seed), constraints=list(_constraints(factors)))
    rows: dict[tuple[StrEnum, ...], None] = {}
    covered: set[tuple[str, ...]] = set()
    # In turns, so that a small budget pays for both: two plain ones for each odd one.
    plain, odd = [*_plain(factors)], controller.make()
    for row in filter(None, chain([plain[0]], *zip_longest(plain[1::2], plain[2::2], odd))):
        new = counted([{name: str(row[name]) for name in factors}])
        if not new <= covered:
            rows[tuple(row[name] for name in factors)] = None
            covered |= new
    return tuple(dict(zip(factors, row, strict=True)) for row in rows)


def _plain(factors: Mapping[str, list[StrEnum]]) -> Iterator[dict[str, StrEnum]]:
    """The ordinary use, then everybody at every place where it is possible, with nothing else out of the ordinary."""
    ordinary = {name: among[0] for name, among in factors.items()}
    yield ordinary
    telling = [*(one for one in TELLING if one in factors["principal"]), *factors["principal"]]
    named = [*(place for place in factors["place"] if place is not Place.NOWHERE), Place.NOWHERE]
    for principal, place in product(dict.fromkeys(telling), named):
        row = {**ordinary, "place": place, "principal": principal}
        if not excluded(row):
            yield row


def _constraints(factors: Mapping[str, list[StrEnum]]) -> Iterator[dict[str, Any]]:
    """What is excluded, as the library wants it: for each two dimensions the pairs that may not be."""
    barred: dict[tuple[str, str], set[tuple[StrEnum, StrEnum]]] = {}
    for one in EXCLUDED:
        first, second = one.fields
        found = {pair for pair in product(factors[first], factors[second]) if one.holds(*pair)}
        if found:
            barred.setdefault(one.fields, set()).update(found)
    for (first, second), found in barred.items():
        yield {
            "operator": "fn",
            "requires": [first, second],
            "evaluate": lambda row, a=first, b=second, among=found: (row[a], row[b]) not in among,
        }


def pairs(steps: Iterable[Step]) -> set[tuple[str, ...]]:
    """What steps cover, as the coverage counts it."""
    return counted({name: str(getattr(step, name)) for name in ("operation", *DIMENSIONS)} for step in steps)


@lru_cache(maxsize=256)
def _pairs_beside_the_operation(rows: tuple[tuple[StrEnum, ...], ...]) -> tuple[frozenset[tuple[str, ...]], int]:
    """The pairs of values in these rows, and how many an operation makes with them by itself."""
    found = counted(dict(zip(DIMENSIONS, map(str, row), strict=True)) for row in rows)
    beside = frozenset(pair for pair in found if len(pair) == 4)
    return beside, len(found) - len(beside)


def _step(offer: Offer, row: Mapping[str, Any]) -> Step:
    return Step(
        operation=offer.name,
        role=offer.role,
        surface=offer.surface,
        kind=offer.kind,
        removal=offer.removal,
        **row,
    )


def _dimension_of(value: StrEnum) -> str:
    return next(name for name, kind in DIMENSIONS.items() if isinstance(value, kind))
