"""Acts on connections and pools: nothing is found on the healthy lab, and each of their faults is on a faulty one."""

import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from composing import Composed
from judged import findings, kinds

from netra_probe import Investigation, investigate, workloads
from netra_probe.history import actions
from netra_probe.target.deployment import Mode, Target
from netra_probe.target.lab import as_target
from netra_probe.workloads.database.pools import borrow_in_turn

Act = Callable[[Investigation], Awaitable[object]]

ACTS: dict[str, tuple[Act, str]] = {
    "storm": (
        lambda probe: workloads.reconnect_storm(probe, probe.users[0]),
        "Reconnect storm (alice): 9 connected, 5 answered",
    ),
    "late close": (lambda probe: workloads.late_close(probe, probe.users[0]), "Late close (alice): 6 answered"),
    "tabs": (
        lambda probe: workloads.two_tabs(probe, probe.users[0], backends=(0, 1)),
        "Two tabs (alice): 7 answered, 8 copies",
    ),
    "leave": (
        lambda probe: workloads.leave_and_join(probe, probe.users[0]),
        "Leave and join (alice, bob, carol): 2 joined, 2 answered, 1 ended",
    ),
    "resume by cursor": (
        lambda probe: workloads.cut_and_resume(probe, probe.users[0]),
        "Cut and resume (alice): 2 cut, 2 resumed, 2 ended, 2 answered",
    ),
    "resume by sequence": (
        lambda probe: workloads.cut_and_resume(probe, probe.users[0], by="sequence", backends=(0, 1)),
        "Cut and resume (alice): 2 cut, 2 resumed, 2 ended, 2 answered",
    ),
    "backends": (workloads.across_backends, "Runs at every backend (alice, bob, carol): 9 answered"),
    "slow reader": (
        lambda probe: workloads.slow_reader(probe, probe.users[0]),
        "Slow reader (alice, bob, carol): 10 answered, 10 answered late",
    ),
    "killed peer": (
        lambda probe: workloads.killed_peer(probe, probe.users[0]),
        "Killed peer (alice, bob, carol): 12 answered",
    ),
    "frozen peer": (
        lambda probe: workloads.frozen_peer(probe, probe.users[0]),
        "Frozen peer (alice, bob, carol): 6 answered, 10 answered late",
    ),
    "claims": (
        lambda probe: workloads.claim_identity(probe, probe.users[0], probe.users[1]),
        "Claimed identity (alice, bob): 3 answered, 2 answered as the caller, 0 accepted in the thread",
    ),
    "foreign thread": (
        lambda probe: workloads.follow_foreign(probe, probe.users[0], probe.users[1]),
        "Subscriptions to another user's thread (alice, bob): 0 granted, 4 refused, 2 answered",
    ),
    "stop": (
        lambda probe: workloads.stop_own_run(probe, probe.users[0]),
        "Stop of one's own run (alice, bob, carol): 1 ended, 2 answered",
    ),
    "foreign stop": (
        lambda probe: workloads.stop_foreign_run(probe, probe.users[0], probe.users[1]),
        "Stop of another user's run (alice, bob): 1 tried, 2 answered",
    ),
    "equal ids": (workloads.equal_ids, "Equal ids (alice, bob, carol): 9 answered, 18 read"),
    "burst": (workloads.burst, "Burst (alice, bob, carol): 18 answered"),
    "shared line": (
        workloads.share_a_line,
        "Shared keep-alive connection (alice, bob, carol): 12 read, 12 refused, 12 large bodies",
    ),
    "cancel": (
        lambda probe: workloads.cancel_then_read(probe, probe.users[0]),
        "Cancelled requests, then reads (alice, bob, carol): 20 aborted, 195 read",
    ),
    "cut replies": (
        lambda probe: workloads.cut_replies(probe, probe.users[0]),
        "Cut replies (alice, bob, carol): 3 cut, 18 read",
    ),
    "half done": (workloads.half_done, "Aborted batch writes (alice, bob, carol): 2 committed"),
    "turns": (borrow_in_turn, "Pooled connections in turn (alice, bob, carol): 36 read"),
    "saturate": (workloads.saturate, "More requests than connections (alice, bob, carol): 102 read"),
    "churn": (workloads.churn, "Churn (alice, bob, carol): 4 cycles, 45 connected, 10 answered"),
}

#: Faults that do not disturb each other share a lab: fault → the act that triggers it, and what must be found.
FAULTY: dict[tuple[str, ...], dict[str, tuple[str, str]]] = {
    ("X2", "W9", "P2", "W6"): {
        "X2": ("shared line", "C1 foreign canary"),
        "W9": ("resume by cursor", "C3 duplicate"),
        "P2": ("half done", "C9 intermediate read (G1b)"),
        "W6": ("leave", "C1 foreign canary"),
    },
    ("W3", "W2", "P1"): {
        "W3": ("late close", "C3 lost"),
        "W2": ("claims", "C5 foreign stream"),
        "P1": ("turns", "C1 foreign canary"),
    },
    ("W8", "P3", "P4", "W4"): {
        "W8": ("slow reader", "C3"),
        "P3": ("cancel", "C1 foreign canary"),
        "P4": ("churn", "C10 resource leak"),
        "W4": ("foreign thread", "C5 foreign stream"),
    },
    ("W13", "F4"): {"W13": ("killed peer", "C3"), "F4": ("backends", "C3 lost")},
    ("X6", "W5"): {"X6": ("burst", "C8 mixed"), "W5": ("equal ids", "C1 foreign canary")},
}
#: Seconds a run may take where some never end, on a busy machine as well.
DEADLINE = 15.0
#: Seconds that one waits for a target to let go of what it will never let go of.
RELEASE = 0.3


@pytest.fixture(scope="module")
async def healthy() -> AsyncIterator[Investigation]:
    probe = await investigate("C4", users=3)
    yield probe
    await probe.close()


#: One act of each kind. By day the notebooks say the same of all of them on the same lab.
BY_DAY = ("late close", "resume by sequence", "claims", "shared line", "burst")


@pytest.mark.parametrize("act", [pytest.param(act, marks=() if act in BY_DAY else pytest.mark.nightly) for act in ACTS])
async def test_the_healthy_lab_passes_and_the_act_says_the_same_every_time(healthy: Investigation, act: str) -> None:
    do, said = ACTS[act]
    start = len(healthy.history)
    outcome = await do(healthy)
    await healthy.look()
    assert [str(finding.summary) for finding in findings(healthy, start=start)] == []
    assert repr(outcome) == said
    assert all(user.socket is None and user.detour is None for user in healthy.users)


#: By day: one lab, and three checkers. Of the others it is shown then that the lab has them, over the wire (tests/lab).
FAULTS_BY_DAY = ("W9", "P2", "W6")


@pytest.mark.parametrize(
    ("group", "fault"),
    [
        pytest.param(group, fault, marks=() if fault in FAULTS_BY_DAY else pytest.mark.nightly)
        for group in FAULTY
        for fault in FAULTY[group]
    ],
)
@pytest.mark.nightly
async def test_the_fault_is_triggered_and_found(compose: Composed, group: tuple[str, ...], fault: str) -> None:
    act, expected = FAULTY[group][fault]
    faulty = compose(group)
    probe = await investigate("C4", users=3, target=as_target(faulty), deadline=DEADLINE)
    probe.timeouts = replace(probe.timeouts, release=RELEASE)
    try:
        await ACTS[act][0](probe)
        found = kinds(probe)
    finally:
        await probe.close()
    assert faulty.status()["faults"][fault]["triggered"] > 0
    assert [kind for kind in found if kind.startswith(expected)]


@pytest.mark.nightly
async def test_a_replay_goes_through_the_same_acts_without_a_target() -> None:
    probe = await investigate("C4", users=3)
    names = ("late close", "resume by cursor", "shared line", "slow reader", "stop", "burst")
    said = [repr(await ACTS[name][0](probe)) for name in names]
    probe.check("C4.1")
    await probe.close()
    again = await investigate("C4", users=3, target={"replay": str(probe.history.path)})
    assert [repr(await ACTS[name][0](again)) for name in names] == said
    await again.close()


async def test_a_replay_finds_a_run_of_which_one_event_came_before_the_cut() -> None:
    probe = await investigate("C4", users=3)
    said = repr(await ACTS["resume by cursor"][0](probe))
    probe.check("C4.1")
    await probe.close()
    with gzip.open(probe.history.path, "rt") as stored:
        lines = stored.readlines()
    operations = [json.loads(line) for line in lines]
    cut = {done["connection"] for done in operations if done["action"] == "closed" and done["status"] != 1000}
    begun: set[str] = set()
    kept = []
    for line, operation in zip(lines, operations, strict=True):
        received = operation["action"] == "receive"
        if received and operation["connection"] in begun:
            continue
        if received and operation["connection"] in cut and '"agent_started"' in operation["payload"]:
            begun.add(operation["connection"])
        kept.append(line)
    assert begun == cut and len(cut) == 2
    with gzip.open(probe.history.path, "wt") as stored:
        stored.writelines(kept)
    again = await investigate("C4", users=3, target={"replay": str(probe.history.path)})
    assert repr(await ACTS["resume by cursor"][0](again)) == said
    await again.close()


async def test_a_target_with_one_backend_and_few_routes_is_not_offered_some_acts(healthy: Investigation) -> None:
    target = healthy.target
    alone = Target.model_validate(
        {**{name: getattr(target, name) for name in Target.model_fields}, "backend_urls": target.backend_urls[:1]}
    )
    probe = await investigate("C4", users=2, target=alone)
    try:
        probe.routes = type(probe.routes)(auth=probe.routes.auth, backend=frozenset({("GET", "/api/threads")}))
        assert repr(await workloads.across_backends(probe)) == (
            "Runs at every backend (alice, bob): not run; missing: a route that starts a run"
        )
        assert not await workloads.half_done(probe)
        before = len(probe.history)
        assert await workloads.share_a_line(probe)
        probe.patience.learn(answered=False, seconds=1.0)
        assert repr(await workloads.two_tabs(probe, probe.users[0])) == (
            "Two tabs (alice, bob): not run; missing: runs that are answered"
        )
        actions_done = {op.action for op in list(probe.history)[before:] if op.surface == "rest"}
        assert not any("users/me" in action for action in actions_done)
    finally:
        await probe.close()


async def test_who_may_only_look_sends_nothing_that_disturbs(healthy: Investigation) -> None:
    probe = await investigate("C4", users=2, target=healthy.target.model_copy(update={"mode": Mode.PROBE}))
    # Somebody's platform: neither on this machine nor a lab, where nothing of anybody's could be disturbed.
    probe.target = probe.target.model_copy(update={"backend_urls": ["https://netra.example"]})
    probe.rules.lab = False
    try:
        before = len(probe.history)
        for act in ("late close", "claims", "foreign thread", "cancel", "half done", "churn", "foreign stop"):
            outcome = await ACTS[act][0](probe)
            assert not outcome
            assert outcome.missing.startswith("mode probe: ")
            assert outcome.missing.endswith(" needs mode attack")
        assert [op for op in list(probe.history)[before:] if op.action != actions.GAUGE] == []
    finally:
        probe.target, probe.rules.lab = healthy.target, True
        await probe.close()
