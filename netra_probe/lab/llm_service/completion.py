"""What the model says: a fixed opening and the whole context, in a fixed number of pieces."""

from __future__ import annotations

import bisect
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
    """`text` in exactly `count` pieces that concatenate to it, cut at blanks near equal lengths.

    No piece is empty and no word is torn, unless the text has too few blanks to cut at.
    """
    blanks = [position for position, character in enumerate(text) if character == " " and position > 0]
    if len(blanks) < count - 1:
        return [text[len(text) * number // count : len(text) * (number + 1) // count] for number in range(count)]
    cuts, first = [0], 0
    for number in range(1, count):
        latest = len(blanks) - (count - number)  # leave one blank for each cut that is still to come
        chosen = min(max(bisect.bisect_left(blanks, len(text) * number // count), first), latest)
        cuts.append(blanks[chosen])
        first = chosen + 1
    cuts.append(len(text))
    return [text[start:end] for start, end in itertools.pairwise(cuts)]


def tokens_of(text: str) -> int:
    """A plausible token count: words."""
    return len(text.split())
