"""The model platform for non-interference: one script, performed alone, among others, and among others' new secrets."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import ClassVar

from netra_probe.history.canary import mint

from .model import World
from .model_faults import Fault
from .model_wire import History, Json, Run, Script, Settings

VARIANTS = ("alone", "with others", "other secrets")


class Variants(World):
    """A correct platform, asked the same three times; only who else is there differs."""

    repeats: ClassVar[int] = 1

    def __init__(self, random: Random, settings: Settings | None = None) -> None:
        plain = replace(
            settings or Settings(),
            tabs=1,
            reconnects=False,
            deadlines=False,
            attempts=False,
            quotes=False,
            cancels=False,
        )
        super().__init__(random, plain)
        self.present: tuple[str, ...] = ()

    def events(self, run: Run) -> list[tuple[str, Json]]:
        return [
            ("agent_started", {"status": "started"}),
            ("agent_thinking", {"thought": f"about {run.prompt}", "execution_time_ms": self.random.randint(1, 900)}),
            ("agent_completed", {"status": "completed", "result": self.answer(run)}),
        ]

    def live(self, user: str, scripts: list[Script]) -> Script:
        tab = self.connect(user)
        thread = yield from self.make_thread(user)
        for _ in range(self.settings.runs):
            yield from self.ask(tab, thread, scripts)
            yield from self.overview(user)
        yield from self.look(user, thread)
        self.threads.pop(thread.id)
        self.close(tab)

    def play(self) -> History:
        self.introduce()
        start = len(self.operations)
        for variant in VARIANTS:
            for _ in range(self.repeats):
                if variant == VARIANTS[2]:
                    self.remint()
                self.present = self.names[:1] if variant == VARIANTS[0] else self.names
                self.record("ok", "variant", detail={"variant": variant})
                self.interleave(self.present)
        return History(tuple(self.operations), start)

    def remint(self) -> None:
        """The others get new secrets; the one who is watched keeps theirs."""
        for name in self.names[1:]:
            for field in ("title", "prompt", "profile"):
                made = mint(seed=7, identity=self.user_ids[name], user=name, field=field, surface="rest", epoch=1)
                self.canaries[name, field] = made.token
                self.record("ok", "mint", user=name, detail={"token": made.token, "field": field})


class Totals(Fault, Variants):
    """D3: a count over everybody's rows: no secret and no id, and yet it tells that others are there."""

    id = "D3"
    caught_by = frozenset({"C11"})
    kinds = frozenset({"depends on presence"})

    def summary(self, user: str) -> Json:
        return {**super().summary(user), "threads": len(self.threads) + len(self.present)}


class SecretLength(Fault, Variants):
    """G5: an answer that varies with somebody else's prompt, without showing it."""

    id = "G5"
    caught_by = frozenset({"C11"})
    kinds = frozenset({"depends on secrets"})

    def answer(self, run: Run) -> str:
        others = [self.canaries[name, "prompt"] for name in self.names if name != run.user]
        return f"{super().answer(run)} {sum(map(ord, ''.join(others)))}"


class Starved(Fault, Variants):
    """P4: while others hold the pool, a user waits."""

    id = "P4"
    caught_by = frozenset({"C11"})
    kinds = frozenset({"wait depends on presence"})
    needs: ClassVar[dict[str, object]] = {"runs": 10, "users": 2}

    def overview(self, user: str) -> Script:
        call = self.request(user, "GET", "/api/users/me/summary", "/api/users/me/summary")
        yield
        self.clock += 2_000_000_000 if len(self.present) > 1 else 0
        self.respond(call, 200, self.summary(user))


VARIANT_FAULTS: tuple[type[Fault], ...] = (Totals, SecretLength, Starved)
