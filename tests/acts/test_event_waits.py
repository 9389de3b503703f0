"""Waits of runs are judged against their windows, unless the whole target was slow."""

from __future__ import annotations

from netra_probe.clients.component_process import Undecided
from netra_probe.workloads.websocket.event_waits import EventWaits, RunWaits


def waits(*first_signs: float | None, ordinary: float | None = 0.01) -> EventWaits:
    runs = [
        RunWaits(user=user, seconds={"first sign": seconds, "next event": 0.1, "answer": 2.0})
        for user, seconds in zip(("alice", "bob", "carol"), first_signs, strict=False)
    ]
    return EventWaits(runs=runs, ordinary=ordinary)


def test_late_and_missing_events_name_whose_run_it_was() -> None:
    assert waits(0.2, 1.1, None).late("first sign", within=1.0) == ["bob", "carol"]
    assert waits(0.2, 0.9).late("first sign", within=1.0) == []


def test_nothing_is_called_late_while_ordinary_requests_take_as_long() -> None:
    slow = waits(0.2, 1.1, ordinary=0.8).late("first sign", within=1.0)
    assert isinstance(slow, Undecided)
    assert "0.8 s" in slow.reason
    assert waits(0.2, 0.9, ordinary=0.8).late("first sign", within=1.0) == []


def test_the_table_shows_each_wait_beside_its_window() -> None:
    shown = waits(0.2, 1.1, None).table(first_sign=1.0, answer=10.0).text()
    assert "first sign       1     2   0.650  1.055    1.100" in shown
    assert "answer          10     3   2.000  2.000    2.000" in shown
