"""The planner covers every pair that can occur, stays within its budget, and says what it leaves out and why."""

from __future__ import annotations

import time
from itertools import combinations, product

import pytest

from netra_probe.openapi.document import Route, read_interface
from netra_probe.plans.dimensions import DIMENSIONS, excluded, harm, possible
from netra_probe.plans.explorer import explore, pairs
from netra_probe.plans.offers import Offer, Offers, offers_of, socket_offers
from netra_probe.plans.steps import Listeners, Place, Principal, Role, Timing

ALL = frozenset({"attack", "login", "logout", "registration", "websocket", "sse"})


def offers(*names: str) -> tuple[Offer, ...]:
    routes = []
    for name in names:
        method, _, path = name.partition(" ")
        routes.append(Route(service="backend", method=method, path=path))
    return offers_of(routes, withheld=lambda route: "", fields=lambda route: {"title"} if not route.reads else set())


SMALL = Offers(
    offers=(
        *offers("GET /things", "POST /things", "GET /things/{thing_id}", "DELETE /things/{thing_id}"),
        *socket_offers(),
    ),
    backends=2,
    has=ALL,
)
ENDLESS = 10**9


def coverable(offer: Offer, target: Offers) -> set[tuple[str, ...]]:
    """By brute force: every pair of values that stands in some full combination which nothing excludes."""
    values, _ = possible(offer, target)
    names = list(values)
    found: set[tuple[str, ...]] = set()

    def fill(row: dict[str, object], left: list[str]) -> bool:
        if excluded(row):
            return False
        return not left or any(fill({**row, left[0]: value}, left[1:]) for value in values[left[0]])

    for one, other in combinations(names, 2):
        for first, second in product(values[one], values[other]):
            row = {one: first, other: second}
            if fill(row, [name for name in names if name not in row]):
                found.add((one, str(first), other, str(second)))
    return found


@pytest.mark.parametrize("seed", [1, 7])
def test_each_operation_gets_every_pair_of_values_that_can_occur(seed: int) -> None:
    plan = explore(SMALL, seed=seed, budget=ENDLESS).plan
    for offer in SMALL.offers:
        steps = plan.where(operation=offer.name)
        wanted = coverable(offer, SMALL)
        assert wanted and wanted <= pairs(steps), offer.name
        assert not [step for step in steps if excluded({name: getattr(step, name) for name in DIMENSIONS})]


def test_the_number_of_pairs_is_that_of_a_plan_that_leaves_nothing_out() -> None:
    whole = explore(SMALL, seed=7, budget=ENDLESS)
    assert whole.pairs == len(pairs(whole.plan)) == explore(SMALL, seed=7, budget=1).pairs


def test_operation_credential_and_principal_are_covered_three_by_three() -> None:
    covered = pairs(explore(SMALL, seed=7, budget=ENDLESS).plan)
    for offer in SMALL.offers:
        for _, principal, _, channel in (
            p for p in coverable(offer, SMALL) if p[0] == "principal" and p[2] == "channel"
        ):
            assert (offer.name, principal, channel) in covered


def test_equal_seeds_give_equal_plans_and_other_seeds_others() -> None:
    one, same, other = (explore(SMALL, seed=seed, budget=300).plan.to_json() for seed in (7, 7, 8))
    assert one == same != other


@pytest.mark.parametrize("budget", [0, 1, 2, 40, 400])
def test_a_plan_stays_within_its_budget_and_counts_what_it_leaves_out(budget: int) -> None:
    whole = explore(SMALL, seed=7, budget=ENDLESS)
    some = explore(SMALL, seed=7, budget=budget)
    assert some.plan.cost <= budget
    assert len(some.plan) + len(some.left_out) == len(whole.plan) and not whole.left_out
    assert some.as_record()["left_out"]["steps"] == len(some.left_out)
    if budget == 1:
        assert len(some.plan) == 1


def test_a_small_budget_gives_each_operation_its_ordinary_use_first() -> None:
    plan = explore(SMALL, seed=7, budget=16).plan
    ordinary = plan.where(principal=Principal.OWNER)
    assert {step.operation for step in ordinary} >= {offer.name for offer in SMALL.offers if offer.surface == "rest"}


def test_what_was_done_is_left_out_and_the_rest_goes_on_where_it_stopped() -> None:
    whole = {step.id for step in explore(SMALL, seed=7, budget=ENDLESS).plan}
    done: set[str] = set()
    for _ in range(10_000):
        more = explore(SMALL, seed=7, budget=60, done=done)
        assert more.done == len(done) and not {step.id for step in more.plan} & done
        done |= {step.id for step in more.plan}
        if not more.left_out:
            break
    assert done == whole


def test_harm_grows_in_the_course_of_a_plan() -> None:
    steps = [*explore(SMALL, seed=7, budget=ENDLESS).plan]
    assert [harm(step) for step in steps] == sorted(harm(step) for step in steps)
    roles = list(dict.fromkeys(step.role for step in steps))
    assert roles[0] is Role.CREATE and roles.index(Role.LIST) < roles.index(Role.STOP) < roles.index(Role.DELETE)
    reads = [step for step in steps if step.operation == "GET /things/{thing_id}"]
    assert reads[0].principal is Principal.OWNER and not reads[-1].principal.is_owner


def test_what_has_an_effect_is_never_done_unheard() -> None:
    plan = explore(SMALL, seed=7, budget=ENDLESS).plan
    effects = plan.where(lambda step: step.role.has_effect)
    assert len(effects) and not len(effects.where(listeners=Listeners.ABSENT))
    assert {step.listeners for step in effects} == {Listeners.IDLE, Listeners.ACTIVE, Listeners.SSE}


def test_what_is_impossible_is_said_with_its_reason() -> None:
    few = Offers(offers=offers("GET /things", "GET /things/{thing_id}"), has=frozenset({"attack"}))
    bare = explore(few, seed=7, budget=ENDLESS)
    why = {(entry["value"], entry["why"]) for entry in bare.as_record()["impossible"]}
    assert ("other backend", "there is one backend") in why
    assert ("ended session", "a session cannot be logged out") in why
    assert ("after the object's end", "what it names cannot be deleted") in why
    assert {step.listeners for step in bare.plan} == {Listeners.ABSENT}
    assert {step.timing for step in bare.plan} == {Timing.IN_TURN, Timing.SAME_INSTANT}
    assert bare.as_record()["not_searched"]


def test_where_attack_is_not_allowed_owners_keep_to_themselves() -> None:
    plan = explore(Offers(offers=SMALL.offers, backends=2, has=ALL - {"attack"}), seed=7, budget=ENDLESS).plan
    assert len(plan) and {step.principal for step in plan} == {Principal.OWNER, Principal.SESSION}


def test_what_may_not_be_sent_is_named_and_planned_nowhere() -> None:
    routes = [
        Route(service="backend", method="POST", path="/index/rebuild"),
        Route(service="backend", method="GET", path="/x"),
    ]
    target = Offers(
        offers=offers_of(
            routes, withheld=lambda route: "" if route.reads else "not understood", fields=lambda route: set()
        )
    )
    found = explore(target, seed=7, budget=ENDLESS)
    assert found.withheld == {"POST /index/rebuild": "not understood"}
    assert {step.operation for step in found.plan} == {"GET /x"}


def test_a_target_that_documents_nothing_still_has_its_sockets_and_none_of_it_has_nothing() -> None:
    assert not len(explore(Offers(), seed=7, budget=ENDLESS).plan)
    plan = explore(Offers(offers=socket_offers(), has=ALL), seed=7, budget=ENDLESS).plan
    assert {step.surface for step in plan} == {"websocket"} and {Place.MESSAGE, Place.NOWHERE} <= {
        s.place for s in plan
    }


def test_a_thousand_operations_of_a_document_that_refers_to_itself_are_planned_in_seconds() -> None:
    node = {
        "type": "object",
        "properties": {"child": {"$ref": "#/components/schemas/Node"}, "parent_id": {"type": "string"}},
    }
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Node"}}}}
    paths = {}
    for number in range(250):
        paths[f"/kind{number}s"] = {"get": {}, "post": {"requestBody": body}}
        paths[f"/kind{number}s/{{id}}"] = {"get": {}, "delete": {}}
    document = {"openapi": "3.1.0", "paths": paths, "components": {"schemas": {"Node": node}}}
    interface = read_interface("backend", document)
    assert interface is not None and len(interface.routes) == 1000
    begin = time.process_time()
    found = explore(
        Offers(
            offers=offers_of(interface.routes, withheld=lambda route: "", fields=lambda route: {"parent_id"}),
            backends=2,
            has=ALL,
        ),
        seed=7,
        budget=3000,
    )
    assert time.process_time() - begin < 15
    assert 2500 < found.plan.cost <= 3000
    assert len(found.as_record()["left_out"]["operations"]) == 1000
