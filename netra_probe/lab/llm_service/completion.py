"""What the model says: a fixed opening and the whole context, in a fixed number of pieces."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

OPENING = "This follows from what you told me."
PIECES = 3
"""Streamed answers come in this many pieces whatever their length, so that runs can be compared event by event."""


@dataclass(frozen=True, kw_only=True)
class ChatMessage:
    """One message of the context."""

    role: str
    content: str


def complete(messages: Sequence[ChatMessage]) -> str:
    """The answer: deterministic, and holding every character of the context."""
    echo = "\n".join(f"[{message.role}] {message.content}" for message in messages)
    return f"{OPENING}\n{echo}"


def pieces_of(text: str, count: int = PIECES) -> list[str]:
    """`text` in exactly `count` pieces that concatenate to it, cut at blanks so that no word is torn."""
    cuts = [0]
    for number in range(1, count):
        target = max(len(text) * number // count, cuts[-1])
        blank = text.find(" ", target)
        cuts.append(len(text) if blank < 0 else blank)
    cuts.append(len(text))
    return [text[start:end] for start, end in itertools.pairwise(cuts)]


def tokens_of(text: str) -> int:
    """A plausible token count: words."""
    return len(text.split())
