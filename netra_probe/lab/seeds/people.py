"""Ten people in every state an account can be in, with what they said, what to ask, and their passwords and tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from netra_probe.lab.auth_service.tokens import ALGORITHM, AUDIENCES, ISSUER

DOMAIN = "seed.netra-lab.example"
SINCE = datetime(2025, 7, 1, 9, tzinfo=UTC)
"""When all of them registered."""
PROVIDER = "google"


def seed_id(kind: str, name: str) -> str:
    """An id that looks like any other and is the same in every lab."""
    return str(uuid.UUID(bytes=hashlib.sha256(f"netra-lab-seed|{kind}|{name}".encode()).digest()[:16], version=4))


@dataclass(frozen=True, kw_only=True)
class SeedUser:
    """One person.

    Arguments:
        state: which of the ten states the account is in; unique, so it is also how a person is found.
        login: what logging in with the right password answers: an HTTP status.
        project: the word that all of this person's texts contain, and nobody else's.
        threads: how many threads of history the person has.
        devices: the sessions that are open, by the user agent that opened them.
    """

    state: str
    name: str
    project: str
    login: int = 200
    threads: int = 0
    has_password: bool = True
    is_active: bool = True
    is_verified: bool = True
    is_admin: bool = False
    is_locked: bool = False
    has_logged_in: bool = True
    devices: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return seed_id("user", self.state)

    @property
    def email(self) -> str:
        return f"{self.state}@{DOMAIN}"

    @property
    def subject(self) -> str:
        """The name under which the identity provider knows an OAuth-only person."""
        return f"seed-{self.state}"

    @property
    def permissions(self) -> tuple[str, ...]:
        """What the account may do."""
        return ("read", "write", "admin") if self.is_admin else ("read", "write")


PEOPLE: tuple[SeedUser, ...] = (
    SeedUser(state="active", name="Ada Active", project="heron", threads=3),
    SeedUser(state="unverified", name="Ulla Unverified", project="kestrel", login=403, is_verified=False),
    SeedUser(state="disabled", name="Dora Disabled", project="plover", login=403, threads=1, is_active=False),
    SeedUser(state="locked", name="Lena Locked", project="curlew", login=403, is_locked=True),
    SeedUser(state="expired-token", name="Emil Expired", project="bittern", threads=1),
    SeedUser(state="revoked-token", name="Rita Revoked", project="dunlin", threads=1),
    SeedUser(state="oauth-only", name="Otto OAuth", project="avocet", login=401, threads=1, has_password=False),
    SeedUser(state="admin", name="Anna Admin", project="osprey", threads=1, is_admin=True),
    SeedUser(
        state="two-device", name="Theo Two", project="sanderling", threads=2, devices=("Netra/phone", "Netra/laptop")
    ),
    SeedUser(state="fresh", name="Fritz Fresh", project="wigeon", has_logged_in=False),
)


COST, PERFORMANCE, GENERAL = "cost_specialist", "performance_specialist", "general_specialist"


@dataclass(frozen=True, kw_only=True)
class SeedPrompt:
    """One question; `answered_by` is the agent that triage hands it to."""

    text: str
    answered_by: str


PROMPTS: tuple[SeedPrompt, ...] = tuple(
    SeedPrompt(text=text, answered_by=specialist)
    for specialist, texts in {
        COST: (
            "Where do I overspend?",
            "Which of my services has the worst price for what it does?",
            "Cut my monthly bill by a fifth without touching inference.",
            "What did vector search cost me, and is that too much?",
            "Compare my spend on training with my spend on inference.",
            "Which savings would caching bring me?",
            "Draft a budget for next quarter from my own figures.",
        ),
        PERFORMANCE: (
            "Why is my inference slow in the evening?",
            "Bring the latency of my chat model under half a second.",
            "What limits the throughput of my batch jobs?",
            "Which of my workloads would run fast on smaller machines?",
            "Find the performance bottleneck of my retrieval pipeline.",
            "Does a larger batch raise throughput or only latency?",
            "At which speed does my training pay off?",
        ),
        GENERAL: (
            "Summarise what you know about my workloads.",
            "What should I look at first this week?",
            "Explain my last recommendation to a manager.",
            "Which model family fits my data?",
            "List the risks of moving my training elsewhere.",
            "What did I ask you before?",
        ),
    }.items()
    for text in texts
)


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


PASSWORD_RULE = 'base32(HMAC-SHA256(service_secret, "netra-lab-seed|" + email)), lower case, first 24 characters'


def password_of(email: str, service_secret: str) -> str:
    """The password of a seeded person in the lab with this service secret."""
    digest = hmac.new(service_secret.encode(), f"netra-lab-seed|{email}".encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode().lower()[:24]


def token_of(claims: Mapping[str, Any], jwt_secret: str) -> str:
    """The token with these claims in the lab with this signing key."""
    return jwt.encode(dict(claims), jwt_secret, algorithm=ALGORITHM)


def claims_of(
    user: SeedUser, kind: str, *, name: str, issued_at: int, seconds: int, service_id: str, environment: str
) -> dict[str, Any]:
    """The claims of a seeded token, in the shape in which the auth service issues them; `name` makes its ids."""
    claims: dict[str, Any] = {
        "sub": user.id,
        "iat": issued_at,
        "nbf": issued_at,
        "exp": issued_at + seconds,
        "token_type": kind,
        "type": kind,
        "iss": ISSUER,
        "aud": AUDIENCES[kind],
        "jti": seed_id(f"{kind} token", f"{user.state}/{name}"),
        "sid": seed_id("session", f"{user.state}/{name}"),
        "env": environment,
        "svc_id": service_id,
    }
    if kind == "access":
        claims |= {"email": user.email, "permissions": list(user.permissions)}
    return claims
