"""Stores that cannot be used, or not wholly: no part of a password is told, and less permission is lived with."""

import gzip
import json
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import redis.asyncio as redis
from deployments import netra_probe, write_parameters

from netra_probe.clients.cache import CacheClient
from netra_probe.clients.database import DatabaseClient
from netra_probe.clients.replies import Timeouts
from netra_probe.errors import ParameterError, ProbeError, TargetError
from netra_probe.history import actions
from netra_probe.history.redaction import Redactor
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder
from netra_probe.results.secret_scan import known_secrets, scan_path
from netra_probe.target.deployment import Target
from netra_probe.target.lab import find_or_start
from netra_probe.target.parameters import check_references

PASSWORD = "p@ss:w/ord%25x#y-Zulu77"
QUOTED = quote(PASSWORD, safe="")
#: All that is long enough to mean something, as it was given and as a library may have read it.
WINDOWS = {
    text[start : start + 6]
    for text in (PASSWORD, QUOTED, PASSWORD.replace("%25", "%"))
    for start in range(len(text) - 5)
}
UNUSABLE = {
    "unparsable": f"{{scheme}}://user:{PASSWORD}@{{host}}/0",
    "no user": f"{{scheme}}://:{PASSWORD}@{{host}}/0",
    "bad port": f"{{scheme}}://user:{QUOTED}@127.0.0.1:{PASSWORD}/0",
    "port too high": f"{{scheme}}://user:{QUOTED}@127.0.0.1:99999/0",
    "other scheme": f"http://user:{QUOTED}@{{host}}/0",
    "no URL": PASSWORD,
}
REFUSED = {
    "unknown host": f"{{scheme}}://user:{QUOTED}@no-such-host.invalid:1/0",
    "nobody there": f"{{scheme}}://user:{QUOTED}@127.0.0.1:9/0",
    "wrong password": f"{{scheme}}://user:{QUOTED}@{{host}}/0",
}


@pytest.fixture
def history(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "history.jsonl")
    yield recorder
    recorder.abandon()


def leaked(text: str) -> list[str]:
    return sorted(window for window in WINDOWS if window in text)


def store_url(name: str, form: str) -> str:
    url = find_or_start().secret(name)
    assert url is not None
    host = urlsplit(url.reveal()).netloc.rpartition("@")[2]
    return form.replace("{scheme}", "redis" if name == "redis_url" else "postgresql").replace("{host}", host)


async def open_store(name: str, url: str, history: Recorder) -> Any:
    timeouts = Timeouts(connect=5.0)
    if name == "redis_url":
        return await CacheClient.open(history, Secret(url), timeouts)
    return await DatabaseClient.open(history, Secret(url), timeouts)


@pytest.mark.parametrize("name", ["redis_url", "database_url"])
@pytest.mark.parametrize("how", [*UNUSABLE, *REFUSED])
async def test_no_part_of_a_password_is_told_when_a_store_cannot_be_used(
    history: Recorder, name: str, how: str
) -> None:
    url = store_url(name, {**UNUSABLE, **REFUSED}[how])
    with pytest.raises(TargetError) as told:
        await open_store(name, url, history)
    assert f"target.{name}: cannot connect (" in str(told.value)
    assert leaked("".join(traceback.format_exception(told.value))) == []
    assert told.value.__suppress_context__


@pytest.mark.parametrize("name", ["redis_url", "database_url"])
@pytest.mark.parametrize("how", UNUSABLE)
def test_a_store_url_that_is_none_is_wrong_use_before_anything_is_sent(
    name: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBE_TEST_URL", store_url(name, UNUSABLE[how]))
    lab = find_or_start()
    values = {"auth_url": lab.auth_url, "backend_urls": list(lab.backend_urls), name: "env:PROBE_TEST_URL"}
    with pytest.raises(ParameterError) as told:
        check_references(Target.model_validate(values), lambda keys: "x.yaml, line 3")
    assert str(told.value).startswith(f'x.yaml, line 3: what is behind "target.{name}" ')
    assert leaked(str(told.value)) == []


@pytest.mark.nightly
def test_a_run_whose_store_refuses_the_password_holds_no_part_of_it(tmp_path: Path) -> None:
    url = store_url("redis_url", REFUSED["wrong password"])
    parameters = write_parameters(tmp_path, target={"redis_url": "env:PROBE_TEST_URL"})
    run = tmp_path / "run"
    ended = netra_probe(
        "run", "C4", "--parameters", str(parameters), "--output", str(run), PROBE_TEST_URL=url, NETRA_PROBE_LAB=""
    )
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "target.redis_url: cannot connect (AuthenticationError)" in ended.stdout
    texts = {"terminal": ended.stdout + ended.stderr}
    for path in (path for path in run.rglob("*") if path.is_file()):
        data = path.read_bytes()
        texts[path.name] = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "replace")
    assert {"results.json", "report.html", "junit.xml"} <= set(texts)
    assert {name: found for name, text in texts.items() if (found := leaked(text))} == {}


@pytest.mark.parametrize(
    "text", ["Port could not be cast: 'ord%25x#y-Zulu77'", f"{QUOTED}", "…y-Zulu77…", json.dumps({"x": PASSWORD})]
)
def test_a_part_of_a_password_is_redacted_and_found_by_a_scan(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBE_TEST_URL", f"redis://user:{PASSWORD}@cache:6379/0")
    redactor = Redactor()
    redactor.know_parts(f"redis://user:{PASSWORD}@cache:6379/0", "redis-url")
    assert leaked(redactor.clean(text)) == []
    assert "cache:6379" in redactor.clean("cache:6379")
    (tmp_path / "C4.log").write_text(text)
    (hit,) = scan_path(tmp_path, known_secrets({"redis_url": "env:PROBE_TEST_URL"}))
    assert "value of env:PROBE_TEST_URL" in str(hit)
    assert leaked(str(hit)) == []


@pytest.mark.parametrize(
    "stored",
    [
        "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b",
        "$2b$12$KIXQ4v9kY8m0cJ5nq1w3euXoE5b6a7d8f9g0h1i2j3k4l5m6n7o8p",
        "pbkdf2_sha256$600000$c29tZXNhbHQ$Y2hlY2tzdW1jaGVja3N1bQ==",
        "$pbkdf2-sha512$25000$c29tZXNhbHQ$Y2hlY2tzdW1jaGVja3N1bQ",
        "scrypt:32768:8:1$c29tZXNhbHQ$" + "0f" * 32,
        "an-unknown-form-of-hash",
    ],
)
def test_password_hashes_of_rows_are_fingerprints(stored: str, history: Recorder) -> None:
    for name in ("hashed_password", "password_hash", "notes") if "$" in stored else ("hashed_password",):
        row = json.dumps({"id": 1, "email": "a@example.org", name: stored})
        seen = history.observe(actions.ROW, surface="database", payload=row)
        kept = json.loads(seen.payload or "")
        assert kept["email"] == "a@example.org"
        assert stored.rpartition("$")[2] not in kept[name], kept
        assert history.redactor.clean(row) == seen.payload, "equal hashes stay equal"


@pytest.fixture
async def admin() -> AsyncIterator[redis.Redis]:
    """The session lab's Redis, as somebody who may make users."""
    url = find_or_start().secret("redis_url")
    assert url is not None
    client = redis.Redis.from_url(url.reveal(), db=0)
    await client.set("probe-test:uid-a", "a value")
    yield client
    await client.delete("probe-test:uid-a")
    await client.acl_deluser("probe-test")
    await client.aclose()


@pytest.mark.parametrize(
    ("rules", "counts"),
    [
        ("+@read", False),  # no PING, no CLIENT, no SELECT
        ("+@all -client", False),
        ("+@read +@connection +client|list", True),
    ],
)
async def test_a_redis_user_who_may_only_read_is_enough(
    admin: redis.Redis, rules: str, counts: bool, history: Recorder
) -> None:
    await admin.execute_command("ACL", "SETUSER", "probe-test", "reset", "on", f">{PASSWORD}", "~*", *rules.split())
    url = store_url("redis_url", f"redis://probe-test:{QUOTED}@{{host}}")
    cache = await CacheClient.open(history, Secret(url), Timeouts())
    try:
        assert await cache.keys({"uid-a": "alice"}) == 1
        assert await cache.naming({"uid-a": "alice"}) == ["probe-test:uid-a"]
        assert (await cache.clients() is not None) == counts
    finally:
        await cache.close()


async def test_a_redis_user_who_may_not_read_what_there_is_is_told_what_is_missing(
    admin: redis.Redis, history: Recorder
) -> None:
    await admin.execute_command("ACL", "SETUSER", "probe-test", "reset", "on", f">{PASSWORD}", "~other:*", "+@read")
    url = store_url("redis_url", f"redis://probe-test:{QUOTED}@{{host}}")
    cache = await CacheClient.open(history, Secret(url), Timeouts())
    try:
        with pytest.raises(ProbeError, match=r"allow it \+@read on all keys"):
            await cache.keys({"uid-a": "alice"})
    finally:
        await cache.close()
