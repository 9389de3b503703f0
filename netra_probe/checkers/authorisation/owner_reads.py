"""What owners do and see with their own objects: positive controls, readings before and after a trial, deletions."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache

from netra_probe.checkers.authorisation.trials import MOST_READINGS, READS, Reading, Trial
from netra_probe.checkers.json_bodies import marked_deleted
from netra_probe.history.operation import Operation


def named(call: Operation) -> list[str]:
    """The objects that a request is about: what fills the braces of its route; "" where it is about none.

    >>> named(Operation(index=0, time=0, type="invoke", action="GET /api/threads/{id}/messages",
    ...                 detail={"path": "/api/threads/t1/messages"}))
    ['t1']
    """
    found = list(_filled(call.action, str(call.detail.get("path", ""))))
    aim = call.detail.get("object")
    if isinstance(aim, dict) and "id" in aim:
        found.append(str(aim["id"]))
    return list(dict.fromkeys(found)) or [""]


@lru_cache(maxsize=10_000)
def _filled(action: str, path: str) -> tuple[str, ...]:
    route, given = action.partition(" ")[2].split("/"), path.partition("?")[0].split("/")
    return tuple(part for template, part in zip(route, given, strict=False) if template.startswith("{") and part)


class Readings:
    """The owners' side of the matrix; memory is one entry per user, operation and object."""

    def __init__(self, start: int) -> None:
        self._start = start
        #: (action, user, object) → the last success; (action, user) → likewise, of any object.
        self._successes: dict[tuple[str, str, str], Reading] = {}
        self._common: dict[tuple[str, str], Reading] = {}
        self._works: set[str] = set()
        #: (user, path) → the last reading; (user, object) → the paths that name the object.
        self._last: dict[tuple[str, str], Reading] = {}
        self._paths: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        #: (owner, object) → trials to be re-read; (owner, object, path) → how many of them have been.
        self._waiting: dict[tuple[str, str], list[Trial]] = defaultdict(list)
        self._served: dict[tuple[str, str, str], int] = defaultdict(int)
        #: What its owner deleted: (user, object) → index.
        self._deleted: dict[tuple[str, str], int] = {}
        #: (user, action) → deletion, request and answer that show a deleted object.
        self.reused: dict[tuple[str, str], tuple[int, int, int]] = {}

    def before(self, owner: str, target: str) -> dict[str, Reading]:
        """What the owner last read of the object, by path."""
        paths = list(self._paths.get((owner, target), ()))[:MOST_READINGS]
        return {path: self._last[(owner, path)] for path in paths}

    def expect(self, trial: Trial) -> None:
        """From now on look for the owner's re-reading of what this trial aimed at."""
        if trial.owner is not None and (trial.owner, trial.target) not in self._deleted:
            self._waiting[(trial.owner, trial.target)].append(trial)

    def ordinary(self, call: Operation, done: Operation, user: str) -> None:
        """Take in one ordinary request of a user and its completion."""
        reading, targets = Reading(call=call, done=done), named(call)
        method = call.action.partition(" ")[0]
        if done.type == "ok":
            self._works.add(call.action)
            self._common[(call.action, user)] = reading
            for target in targets:
                self._successes[(call.action, user, target)] = reading
        if method in READS:
            if done.type != "info":
                self._read(reading, user, targets)
        elif done.type == "ok":
            for target in targets:
                if method == "DELETE" and target:
                    self._deleted[(user, target)] = done.index
                elif method == "PUT":
                    self._deleted.pop((user, target), None)
            if method == "POST":
                self._given_out_again(done)

    def _given_out_again(self, done: Operation) -> None:
        """Numbers may be given out a second time after what had them was deleted; other ids are not."""
        for user, target in [place for place in self._deleted if place[1].isdigit()]:
            if re.search(rf"(?<![\w-]){target}(?![\w-])", done.payload):
                del self._deleted[user, target]

    def _read(self, reading: Reading, user: str, targets: list[str]) -> None:
        call, done = reading.call, reading.done
        path = str(call.detail.get("path", call.action))
        self._last[(user, path)] = reading
        for target in targets:
            self._paths[(user, target)][path] = None
            deleted = self._deleted.get((user, target))
            if deleted is None:
                self._reread(reading, (user, target, path))
            elif done.type == "ok" and done.index >= self._start and _shows(done.payload, target):
                self.reused.setdefault((user, call.action), (deleted, call.index, done.index))

    def _reread(self, reading: Reading, place: tuple[str, str, str]) -> None:
        """Give the reading to every trial that was over before it and has none of this path yet."""
        waiting = self._waiting.get(place[:2], [])
        while self._served[place] < len(waiting):
            trial = waiting[self._served[place]]
            if trial.done is None or trial.done.index > reading.call.index:
                break
            if len(trial.after) < MOST_READINGS:
                trial.after[place[2]] = reading
            self._served[place] += 1

    def answer(self, action: str, owner: str, target: str) -> Reading | None:
        """The owner's own success of the same operation on the same object, whenever it was."""
        return self._successes.get((action, owner, target))

    def own(self, action: str, user: str) -> Reading | None:
        """The last success of a user with an operation, on whatever object."""
        return self._common.get((action, user))

    def control(self, trial: Trial) -> bool:
        """Whether it is shown that the owner could do in this window what the trial tried."""
        action = trial.call.action
        if trial.owner is None:
            return action in self._works
        answer = self.answer(action, trial.owner, trial.target)
        if answer is not None and answer.done.index >= self._start:
            return True
        # What destroys cannot be done first: it works for somebody, and the object was there.
        alive = any(reading.done.type == "ok" for reading in (*trial.before.values(), *trial.after.values()))
        return trial.method == "DELETE" and action in self._works and alive


def _shows(body: str, target: str) -> bool:
    """Whether a body holds an object as if it were there; a list that holds nothing of it does not name it."""
    return target in body and not marked_deleted(body)
