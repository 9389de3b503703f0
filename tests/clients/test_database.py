"""Whose row it is: as the parameters say, where a deployment's tables are not those of netra-wire §8."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from netra_probe.checkers import store
from netra_probe.checkers.base import Window, judge
from netra_probe.clients.database import DatabaseClient
from netra_probe.clients.replies import Timeouts
from netra_probe.errors import ParameterError
from netra_probe.history import actions
from netra_probe.history.canary import mint
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder
from netra_probe.lab.infrastructure.directories import LabDirectory
from netra_probe.lab.infrastructure.postgres import DATABASE, SUPERUSER, command, prepare
from netra_probe.lab.infrastructure.processes import HOST, Child, hold, port_of
from netra_probe.target.deployment import Ownership

TABLES = """
CREATE SCHEMA books;
CREATE TABLE books.people (number int PRIMARY KEY, subject text);
CREATE TABLE books.drafts (id text PRIMARY KEY, author int, body text);
CREATE TABLE books.lines (id text PRIMARY KEY, draft text, body text);
CREATE TABLE books.notes (ref text PRIMARY KEY, settings jsonb);
CREATE TABLE books.plain (id text PRIMARY KEY, user_id text);
CREATE TABLE public.drafts (id text PRIMARY KEY, user_id text);
INSERT INTO books.people VALUES (1, 'uid-a'), (2, 'uid-b');
INSERT INTO books.drafts VALUES ('d1', 1, 'of a'), ('d2', 2, 'of b');
INSERT INTO books.lines VALUES ('l1', 'd1', 'first of a'), ('l2', 'd2', 'first of b');
INSERT INTO books.notes VALUES ('n1', '{"who": {"sub": "uid-b"}}');
INSERT INTO books.plain VALUES ('p1', 'uid-a');
INSERT INTO public.drafts VALUES ('other', 'uid-a');
"""
OWNERSHIP: dict[str, dict[str, str]] = {
    "people": {"owner": "subject", "key": "number"},
    "drafts": {"owner": "author", "through": "people"},
    "lines": {"owner": "draft", "through": "drafts"},
    "notes": {"owner": "settings.who.sub", "key": "ref"},
}
USERS = {"uid-a": "alice", "uid-b": "bob"}


@pytest.fixture(scope="module")
async def database() -> AsyncIterator[Secret]:
    """The URL of a PostgreSQL of our own, with the tables above."""
    directory = LabDirectory()
    cluster = await asyncio.to_thread(prepare, directory.path / "postgres", directory.path / "cache")
    with hold("postgres") as held:
        port = port_of(held)
    child = Child.start(command(cluster, port, directory.log("postgres")))
    url = Secret(f"postgresql://{SUPERUSER}:{cluster.password}@{HOST}:{port}/{DATABASE}?sslmode=disable")
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    connection = await asyncpg.connect(url.reveal())
                    break
                except (OSError, asyncpg.CannotConnectNowError):
                    await asyncio.wait([child.ended], timeout=0.02)
                    assert not child.ended.done(), child.last_words()
        await connection.execute(TABLES)
        await connection.close()
        yield url
    finally:
        await child.stop(5.0)
        shutil.rmtree(directory.path, ignore_errors=True)


def described(ownership: Mapping[str, Any]) -> dict[str, Ownership]:
    return {name: Ownership.model_validate(given) for name, given in ownership.items()}


@pytest.fixture
def history(tmp_path: Path) -> Any:
    recorder = Recorder(tmp_path / "history.jsonl")
    yield recorder
    recorder.abandon()


async def opened(history: Recorder, url: Secret, ownership: Mapping[str, Any], schema: str | None) -> DatabaseClient:
    return await DatabaseClient.open(history, url, Timeouts(), schema=schema, ownership=described(ownership))


def rows(history: Recorder) -> set[tuple[str, str, str]]:
    return {
        (operation.detail["table"].partition(".")[2].strip('"'), operation.detail["key"], operation.detail["owner"])
        for operation in history
        if operation.action == actions.ROW
    }


async def test_rows_are_whose_the_parameters_say(history: Recorder, database: Secret) -> None:
    client = await opened(history, database, OWNERSHIP, "books")
    try:
        assert await client.rows(USERS) == 8
        assert rows(history) == {
            ("people", "1", "alice"), ("people", "2", "bob"),
            ("drafts", "d1", "alice"), ("drafts", "d2", "bob"),
            ("lines", "l1", "alice"), ("lines", "l2", "bob"),
            ("notes", "n1", "bob"), ("plain", "p1", "alice"),
        }  # fmt: skip
        assert await client.count({"uid-a": "alice"}) == {
            '"books"."people"': 1, '"books"."drafts"': 1, '"books"."lines"': 1, '"books"."plain"': 1,
        }  # fmt: skip
    finally:
        await client.close()


async def test_without_a_schema_all_are_looked_at_and_tables_are_described_by_their_full_name(
    history: Recorder, database: Secret
) -> None:
    full = {f"books.{name}": dict(given) for name, given in OWNERSHIP.items()}
    for given in full.values():
        if "through" in given:
            given["through"] = f"books.{given['through']}"
    client = await opened(history, database, full, None)
    try:
        await client.rows(USERS)
        assert ("drafts", "other", "alice") in {
            (operation.detail["table"].partition(".")[2].strip('"'), operation.detail["key"], operation.detail["owner"])
            for operation in history
            if operation.detail.get("table") == '"public"."drafts"'
        }
        assert ("lines", "l2", "bob") in rows(history)
    finally:
        await client.close()


async def test_the_store_oracle_finds_a_secret_in_a_row_of_somebody_else(history: Recorder, database: Secret) -> None:
    secret = mint(seed=7, identity="alice@x", user="alice", field="draft", surface="rest", epoch=0).token
    for id, name in USERS.items():
        history.observe(actions.PRINCIPAL, user=name, ids={"user_id": id})
    history.observe(actions.MINT, user="alice", detail={"token": secret, "field": "draft", "surface": "rest"})
    connection = await asyncpg.connect(database.reveal())
    await connection.execute("UPDATE books.lines SET body = $1 WHERE id = 'l2'", secret)
    await connection.close()
    client = await opened(history, database, OWNERSHIP, "books")
    try:
        await client.rows(USERS)
    finally:
        await client.close()
    (judgement,) = judge([store()], list(history), Window())
    assert [finding.victims for finding in judgement.findings] == [("alice",)]


@pytest.mark.parametrize(
    ("ownership", "schema", "message"),
    [
        (OWNERSHIP, "boks", r'target\.database_schema: the database has no schema "boks"; did you mean "books"\?'),
        ({"draughts": {"owner": "author"}}, "books", r'has no table "draughts"; did you mean "drafts"\?'),
        (
            {"drafts": {"owner": "autor"}},
            "books",
            r'target\.ownership\.drafts\.owner: table "drafts" has no column "autor"; did you mean "author"\?',
        ),
        ({"notes": {"owner": "settings.who"}}, "books", r'ownership\.notes\.key: table "notes" has no column "id"'),
        (
            {"drafts": {"owner": "id", "through": "lines"}, "lines": {"owner": "draft", "through": "drafts"}},
            "books",
            r"the tables lead back to each other",
        ),
    ],
)
async def test_what_is_not_in_the_database_is_named_with_the_nearest(
    history: Recorder, database: Secret, ownership: Mapping[str, Any], schema: str, message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        await opened(history, database, ownership, schema)
