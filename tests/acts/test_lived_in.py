"""Where people live: nothing of theirs is changed, what is made is gone again or named, and a target that suffers is let be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from strange_platform import HARMFUL, LivedInPlatform, served

from netra_probe import Investigation, Verdict, acts, investigate
from netra_probe.effects import Rules, fits
from netra_probe.history.secret import Secret
from netra_probe.target import Target

PEOPLE = {"a@example.org": "correct horse battery", "b@example.org": "staple the horses"}


@asynccontextmanager
async def living(platform: LivedInPlatform, **changes: Any) -> AsyncIterator[tuple[Investigation, list[str]]]:
    """An investigation as two people who live there; their user ids."""
    ids = [platform.move_in(email, password) for email, password in PEOPLE.items()]
    accounts = [{"email": email, "password": Secret(password)} for email, password in PEOPLE.items()]
    with served(platform) as url:
        target = Target.model_validate({"auth_url": url, "backend_urls": [url], "accounts": accounts, **changes})
        probe = await investigate("D3", users=2, target=target)
        try:
            yield probe, ids
        finally:
            await probe.close()


def writes(platform: LivedInPlatform) -> set[str]:
    return {f"{method} {path}" for method, path, _ in platform.served if method != "GET"}


async def test_what_people_had_is_the_same_to_the_byte_and_what_was_made_is_gone() -> None:
    platform = LivedInPlatform()
    async with living(platform) as (probe, ids):
        before = platform.snapshot(*ids)
        kept = await acts.keep_everything(probe, rounds=1)
        assert platform.snapshot(*ids) != before
        deleted = await acts.delete_everything(probe)
        await acts.trespass(probe, owner=probe.users[0], intruder=probe.users[1])
        await acts.equal_content(probe) if hasattr(acts, "equal_content") else None
        cleaned = await probe.close()
        assert platform.snapshot(*ids) == before
    assert (cleaned.verdict, cleaned.left) == (Verdict.PASS, ())
    assert kept.counts["made"] == kept.counts["found again"] == 6
    assert deleted.counts["deleted"] == 6
    harmful = {f"{method} {path}" for method, path in HARMFUL}
    assert not {f"{method} {path}" for method, path, _ in platform.served} & harmful
    assert {"POST /api/v1/chats/new", "DELETE /api/v1/notes/{note_id}", "PUT /api/v1/folders/{folder_id}"} <= writes(
        platform
    )
