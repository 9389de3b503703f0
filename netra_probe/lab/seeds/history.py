"""A hundred messages over ten threads: what the seeded people and their agents said to each other last summer."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from netra_probe.lab.seeds.people import PEOPLE, SeedUser, seed_id
from netra_probe.lab.seeds.prompts import PROMPTS

BEGIN = datetime(2025, 8, 1, 8, tzinfo=UTC)
MESSAGES = 10
"""In each thread, questions and answers in turn."""


@dataclass(frozen=True, kw_only=True)
class SeedMessage:
    """One message."""

    id: str
    role: str
    text: str
    created_at: int


@dataclass(frozen=True, kw_only=True)
class SeedThread:
    """One thread of one person."""

    id: str
    user: SeedUser
    title: str
    messages: tuple[SeedMessage, ...]

    @property
    def created_at(self) -> int:
        return self.messages[0].created_at

    @property
    def updated_at(self) -> int:
        return self.messages[-1].created_at


def _thread(number: int, user: SeedUser, turn: int) -> SeedThread:
    begin = BEGIN + timedelta(days=number)
    texts = list(
        itertools.chain.from_iterable(
            (
                f"{question} This is about project {user.project}.",
                f"For project {user.project}, step {step} of conversation {turn}: start with what costs or waits most.",
            )
            for step, question in enumerate(_prompts(number), start=1)
        )
    )
    return SeedThread(
        id=f"thread_{seed_id('thread', f'{user.state}/{turn}').replace('-', '')}",
        user=user,
        title=f"Project {user.project}, conversation {turn}",
        messages=tuple(
            SeedMessage(
                id=f"msg_{seed_id('message', f'{user.state}/{turn}/{place}').replace('-', '')}",
                role="assistant" if place % 2 else "user",
                text=text,
                created_at=int((begin + timedelta(minutes=place)).timestamp()),
            )
            for place, text in enumerate(texts)
        ),
    )


def _prompts(number: int) -> list[str]:
    start = number * MESSAGES // 2
    return [PROMPTS[(start + offset) % len(PROMPTS)].text for offset in range(MESSAGES // 2)]


def _threads() -> list[SeedThread]:
    owners = [(user, turn) for user in PEOPLE for turn in range(1, user.threads + 1)]
    return [_thread(number, user, turn) for number, (user, turn) in enumerate(owners)]


THREADS: tuple[SeedThread, ...] = tuple(_threads())
