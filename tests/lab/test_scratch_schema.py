"""A schema of the probe's own: made, the only place of whoever is given it, removed, also after a killed owner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from netra_probe import investigate
from netra_probe.checkers import promises
from netra_probe.checkers.verdict import Verdict
from netra_probe.clients.component_process import Undecided
from netra_probe.clients.replies import Timeouts
from netra_probe.history.secret import Secret
from netra_probe.investigation.scratch_database import ScratchSchema
from netra_probe.lab import Lab
from netra_probe.target.lab import find_or_start


async def schemas(lab: Lab) -> set[str]:
    connection = await asyncpg.connect(lab.parameters["scratch_database_url"])
    try:
        rows = await connection.fetch("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'netra_probe_')")
    finally:
        await connection.close()
    return {row["nspname"] for row in rows}


async def opened(lab: Lab, mark: str) -> ScratchSchema:
    schema = await ScratchSchema.open(Secret(lab.parameters["scratch_database_url"]), mark, Timeouts())
    assert isinstance(schema, ScratchSchema), schema
    return schema


async def test_it_is_the_only_place_and_goes_with_all_that_is_in_it(lab: Lab) -> None:
    schema = await opened(lab, "t1")
    inside = await asyncpg.connect(schema.url.reveal())
    assert await inside.fetchval("SHOW search_path") == "netra_probe_t1"
    await inside.execute("CREATE TABLE notes (body text)")
    transaction = inside.transaction()
    await transaction.start()
    await inside.execute("INSERT INTO notes VALUES ('still here')")
    assert await schema.remove(), "although somebody holds on to a table in it"
    assert "netra_probe_t1" not in await schemas(lab)
    inside.terminate()


async def test_it_is_no_table_of_the_targets_for_anybody_beside(lab: Lab) -> None:
    schema = await opened(lab, "t5")
    inside = await asyncpg.connect(schema.url.reveal())
    try:
        await inside.execute("CREATE TABLE notes (id text, user_id text)")
        await inside.execute("GRANT USAGE ON SCHEMA netra_probe_t5 TO PUBLIC; GRANT SELECT ON notes TO PUBLIC")
        beside = await investigate("C4", users=2)
    finally:
        await inside.close()
        assert await schema.remove()
    # What was seen at the beginning is read later, when the other investigation has removed its schema.
    await beside.look()
    assert beside.database is not None and not [one for one in beside.database.tables if "notes" in one.name]
    await beside.close()


async def test_what_a_killed_investigation_left_is_removed_by_the_next_and_a_running_one_keeps_its_own(
    lab: Lab,
) -> None:
    killed, running = await opened(lab, "t2"), await opened(lab, "t3")
    await killed._connection.close()
    another = await opened(lab, "t4")
    found = await schemas(lab)
    assert "netra_probe_t2" not in found and {"netra_probe_t3", "netra_probe_t4"} <= found
    assert await running.remove() and await another.remove()


async def test_where_there_is_none_the_reason_says_why_and_no_secret(lab: Lab) -> None:
    reading = await ScratchSchema.open(Secret(lab.parameters["database_url"]), "t5", Timeouts())
    assert reading == "the role of the target's scratch_database_url may not create a schema"
    wrong = lab.parameters["scratch_database_url"].replace("netra_scratch:", "netra_scratch:x")
    refused = await ScratchSchema.open(Secret(wrong), "t6", Timeouts())
    assert refused == "the target's scratch_database_url cannot be used (InvalidPasswordError)"


async def test_the_url_reaches_the_process_and_nothing_else(lab: Lab) -> None:
    def act(DatabaseManager: Any) -> dict[str, Any]:
        import os

        print("the URL is", os.environ["DATABASE_URL"])
        return {"url": os.environ["DATABASE_URL"]}

    probe = await investigate("C4", users=2)
    url = await probe.scratch_database()
    assert isinstance(url, Secret)
    seen = await probe.apart(act, "DatabaseManager", secrets={"DATABASE_URL": url}, seconds=30)
    password = lab.parameters["scratch_database_url"].split("@")[0].rpartition(":")[2]
    assert seen and seen["url"] and password not in str(seen["url"]) and password not in "".join(seen.log)
    cleaned = await probe.close()
    assert not [item for item in cleaned.left if "schema" in item]
    assert not any(password in operation.payload or password in str(operation.detail) for operation in probe.history)


async def test_without_one_the_case_is_not_applicable(tmp_path: Path) -> None:
    target = find_or_start().model_copy(update={"scratch_database_url": None})
    probe = await investigate("C4", users=2, target=target)
    try:
        url = await probe.scratch_database()
        assert isinstance(url, Undecided)
        seen = await probe.apart(print, "DatabaseManager", secrets={"DATABASE_URL": url})
        assert "no scratch_database_url" in seen.absent
        case = probe.check("C4.1", promises(), needs=["scratch database"])
        assert case.verdict is Verdict.NOT_APPLICABLE and "no scratch_database_url" in case.result.reason
    finally:
        await probe.close()


@pytest.mark.parametrize("given", ["database_url"])
async def test_a_role_without_the_right_makes_the_case_not_applicable(given: str) -> None:
    target = find_or_start()
    target = target.model_copy(update={"scratch_database_url": getattr(target, given)})
    probe = await investigate("C4", users=2, target=target)
    try:
        await probe.scratch_database()
        case = probe.check("C4.1", promises(), needs=["scratch database"])
        assert case.verdict is Verdict.NOT_APPLICABLE and "may not create a schema" in case.result.reason
    finally:
        await probe.close()
