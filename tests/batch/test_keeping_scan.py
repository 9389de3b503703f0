"""Secrets are found wherever a run or a workbook can hold them, addressed, and never repeated."""

from __future__ import annotations

import gzip
import html
import json
import secrets
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import record_run

from netra_probe.batch.progress import Place
from netra_probe.catalogue.folders import PROJECT
from netra_probe.cli.main import app
from netra_probe.history.redaction import Redactor
from netra_probe.report.publish import publish
from netra_probe.results.secret_scan import Known, all_parameters, known_secrets, scan_path

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJlc2lnbmF0dXJl"
SECRETS = {
    "token": f"a {TOKEN} b",
    "bearer": "Authorization: Bearer abcdefgh12345678ijkl",
    "credential": "Authorization: Basic bmV0cmE6aHVudGVyMmh1bnRlcjI=",
    "connection": "connect postgresql://netra:hunter2hunter2@db/netra",
    "key": "-----BEGIN RSA PRIVATE KEY-----",
    "webhook": "https://hooks.slack.com/services/T0123456/B0123456/abcdefghijklmnop",
    "field": '{"password": "correct horse"}',
}


def found(path: Path, known: Known | None = None) -> list[str]:
    return [str(hit).removeprefix(f"{path if path.is_dir() else path.parent}/") for hit in scan_path(path, known)]


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize(
    ("name", "write", "place"),
    [
        ("run.log", lambda path, text: path.write_text(f"fine\n{text}\n"), "line 2"),
        ("x.jsonl", lambda path, text: path.write_text(json.dumps({"payload": text}) + "\n"), "line 1"),
        ("x.jsonl.gz", lambda path, text: path.write_bytes(gzip.compress(b"\n" + json.dumps(text).encode())), "line 2"),
        ("report.html", lambda path, text: path.write_text(f"<p>\n{html.escape(text)}</p>"), "line 2"),
        ("junit.xml", lambda path, text: path.write_text(f"<a>\n<b><![CDATA[{text}]]></b></a>"), "line 2"),
    ],
)
def test_every_kind_of_secret_is_found_in_every_kind_of_file(
    tmp_path: Path, kind: str, name: str, write: Callable[[Path, str], object], place: str
) -> None:
    write(tmp_path / name, SECRETS[kind])
    assert found(tmp_path) == [f"{name}, {place}: looks like a {kind}"]


def test_a_notebook_is_looked_through_cell_by_cell(tmp_path: Path) -> None:
    shown = nbformat.v4.new_output("display_data", data={"text/html": f"<b>{TOKEN}</b>", "image/png": TOKEN})  # type: ignore[no-untyped-call]
    cells = [
        nbformat.v4.new_code_cell("x = 1", outputs=[shown]),  # type: ignore[no-untyped-call]
        nbformat.v4.new_markdown_cell(SECRETS["connection"]),  # type: ignore[no-untyped-call]
        nbformat.v4.new_code_cell("y", metadata={"papermill": {"value": TOKEN}}),  # type: ignore[no-untyped-call]
    ]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"papermill": {"parameters": {"key": TOKEN}}})  # type: ignore[no-untyped-call]
    nbformat.write(notebook, tmp_path / "leaky.ipynb")  # type: ignore[no-untyped-call]
    assert found(tmp_path) == [
        "leaky.ipynb, metadata: looks like a token",
        "leaky.ipynb, cell 1, output 1: looks like a token",
        "leaky.ipynb, cell 2, source: looks like a connection",
        "leaky.ipynb, cell 3, metadata: looks like a token",
    ]


def test_an_archive_is_looked_through_file_by_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evidence.zip", "w") as archive:
        archive.writestr("run/logs/C4.log", SECRETS["bearer"])
        archive.writestr("run/history/C4.jsonl.gz", gzip.compress(SECRETS["field"].encode()))
    assert found(tmp_path) == [
        "evidence.zip, run/logs/C4.log, line 1: looks like a bearer",
        "evidence.zip, run/history/C4.jsonl.gz, line 1: looks like a field",
    ]


def test_a_page_whose_colours_cut_a_secret_into_pieces_is_found_out(tmp_path: Path) -> None:
    header, payload, signature = TOKEN.split(".")
    (tmp_path / "a.html").write_text(f"<pre><b>{header}</b>.<i>{payload}</i>.{signature}</pre>")
    (tmp_path / "b.html").write_text(f'<a href="https://x/?access_token={signature}">x</a>')
    assert found(tmp_path) == ["a.html, line 1: looks like a token", "b.html, line 1: looks like a field"]


def test_the_values_behind_references_are_found_however_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = 'Tr0ub4dor/ä"&3'
    monkeypatch.setenv("PROBE_TEST_SECRET", secret)
    monkeypatch.setenv("PROBE_TEST_SHORT", "abc")
    (tmp_path / "staging.yaml").write_text(
        "target: {service_secret: env:PROBE_TEST_SECRET, headers: [env:PROBE_TEST_SHORT, env:PROBE_TEST_NOT_SET]}"
    )
    known = known_secrets(*all_parameters(tmp_path))
    assert dict(known.values) == {"env:PROBE_TEST_SECRET": secret}
    assert secret not in repr(known)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a.log").write_text(f"x {secret} y")
    (folder / "b.json").write_text(json.dumps([secret]))
    (folder / "c.html").write_text(f"<p>{html.escape(secret)}</p>")
    (folder / "d.log").write_text("GET /?q=Tr0ub4dor%2F%C3%A4%22%263")
    (folder / "e.log").write_text("abc")
    assert [line.partition(", ")[0] for line in found(folder, known)] == ["a.log", "b.json", "c.html", "d.log"]
    assert all(line.endswith("the value of env:PROBE_TEST_SECRET") for line in found(folder, known))


@given(st.binary(min_size=9, max_size=40), st.sampled_from(["password", "access_token", "client_secret"]))
def test_what_the_redactor_has_replaced_is_no_secret_any_more(value: bytes, name: str) -> None:
    redactor = Redactor()
    texts = [
        json.dumps({name: value.hex()}),
        f"Bearer {value.hex()}",
        f"x://u:{value.hex()}@h",
        f"?{name}={value.hex()}",
    ]
    for text in texts:
        assert list(scan_text(text)), text
        assert not list(scan_text(redactor.clean(text))), redactor.clean(text)


def scan_text(text: str) -> list[str]:
    from netra_probe.results.secret_scan import _kinds

    return list(_kinds(text, Known()))


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("{'access_token': 'abcdef123456'}", True),
        (json.dumps(json.dumps(json.dumps({"password": "abcdef123456"}))), True),
        ("https://x/?a=1&refresh_token=abcdef123456", True),
        ("redis://:abcdef@cache", True),
        ("jwt.ZXlKaGJHY2lPaUpJVXpJMU5pSjkuZXlKemRXSWlPaUoxTVNKOS5jMmxuYm1GMGRYSmw", True),
        ("{'password': password}", False),
        ('{"password": "env:STAGING_PASSWORD"}', False),
        ('{"password": "[password:0f3a9c12]"}', False),
        ("https://api.example.org:8443/threads/alice@example.org", False),
        ("a basic understanding, Basic authentication and Bearer tokens", False),
        ('{"POST /api/auth/update/password": "accounts that existed before are never changed"}', False),
        ('{"user_password": "abcdef123456"}', True),
        ("the tokens that eyJ begins", False),
        ("-----BEGIN CERTIFICATE-----", False),
    ],
)
def test_what_is_a_secret_and_what_only_speaks_of_one(text: str, is_one: bool) -> None:
    assert bool(scan_text(text)) == is_one


def test_a_damaged_file_is_not_clean(tmp_path: Path) -> None:
    packed = gzip.compress(secrets.token_bytes(4000))
    (tmp_path / "a.jsonl.gz").write_bytes(packed[:2000])
    (tmp_path / "b.zip").write_bytes(b"PK no")
    (tmp_path / "c.ipynb").write_text('{"cells": [' + SECRETS["connection"])
    assert found(tmp_path) == [
        "a.jsonl.gz, the whole: cannot be looked through (damaged)",
        "b.zip, the whole: cannot be looked through (damaged)",
        "c.ipynb, line 1: looks like a connection",
    ]
    gone = tmp_path / "d.log"  # between being listed and being read
    assert found(gone) == ["d.log, the whole: cannot be looked through (No such file or directory)"]


def test_what_is_committed_holds_no_secret() -> None:
    assert [str(hit) for name in ("notebooks", "parameters") for hit in scan_path(PROJECT / name)] == []


def test_a_run_with_a_secret_in_it_says_so_aloud_keeps_its_results_and_ends_in_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = record_run(tmp_path, {"C4.1": "pass"})
    before = (run / "results.json").read_bytes()
    assert publish(Place(run)).exit_status == 0
    (run / "logs" / "C4.log").write_text(f"\n{SECRETS['connection']}\n")
    assert app.main(["report", str(run)], standalone_mode=False) == 1
    told = capsys.readouterr().out
    assert f"SECRET    {run / 'logs' / 'C4.log'}, line 2: looks like a connection" in told
    assert "SECRET    1 found: show this run to nobody" in told
    assert "hunter2" not in told
    assert (run / "results.json").read_bytes() == before
