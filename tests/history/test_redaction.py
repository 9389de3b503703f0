"""Secrets are replaced before they are stored; equality stays visible."""

import copy
import json
import pickle
from pathlib import Path

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_probe.history.canary import mint
from netra_probe.history.redaction import Redactor
from netra_probe.history.secret import Secret
from netra_probe.history.store import Recorder

TOKEN = jwt.encode({"sub": "u1", "aud": "netra-platform"}, "k" * 32, algorithm="HS256")


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"access_token": TOKEN, "token_type": "Bearer"}),
        json.dumps({"refresh_token": "opaque-refresh-value"}),
        json.dumps({"error_message": f"bad header: Bearer {TOKEN}"}),
        json.dumps({"error_message": f"bad header: Bearer {TOKEN[:24]}..."}),
        json.dumps(
            {"detail": {"headers": {"Cookie": "session=opaque-refresh-value", "cookie": "a=opaque-refresh-value"}}}
        ),
        f"https://front.example/login#access_token={TOKEN}&refresh_token=opaque-refresh-value",
        "postgresql://netra:hunter2hunter2@db.example/netra refused",
        "redis://:hunter2hunter2@cache.example/0",
        "Authorization: Basic aHVudGVyMmh1bnRlcjI=",
        json.dumps({"email": "a@example.org", "password": "hunter2hunter2"}),
        f"jwt-auth, jwt.{TOKEN.encode().hex()}",
    ],
)
def test_each_kind_of_secret_is_replaced(text: str) -> None:
    clean = Redactor().clean(text)
    for secret in (
        TOKEN,
        TOKEN[:24],
        "opaque-refresh-value",
        "hunter2hunter2",
        "aHVudGVyMmh1bnRlcjI",
        TOKEN.encode().hex(),
    ):
        assert secret not in clean
    assert "[" in clean


def test_equal_secrets_stay_equal_and_different_ones_different() -> None:
    redactor = Redactor()
    other = jwt.encode({"sub": "u2"}, "k" * 32, algorithm="HS256")
    assert redactor.clean(f"Bearer {TOKEN}") == redactor.clean(f"Bearer {TOKEN}")
    assert redactor.clean(f"Bearer {TOKEN}") != redactor.clean(f"Bearer {other}")
    in_a_field = redactor.clean(json.dumps({"token": TOKEN}))
    assert redactor.fingerprint(TOKEN, "jwt") in in_a_field


def test_a_fingerprint_cannot_be_recomputed_without_the_key() -> None:
    assert Redactor().fingerprint("hunter2", "password") != Redactor().fingerprint("hunter2", "password")


def test_a_known_secret_is_found_wherever_it_stands() -> None:
    redactor = Redactor()
    redactor.know("correct horse", "password")
    redactor.know("correct horse battery", "password")
    clean = redactor.clean("they typed correct horse battery into the chat")
    assert "correct" not in clean
    assert "battery" not in clean


def test_a_secret_too_short_to_redact_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        Redactor().know("abc", "password")


def test_json_stays_json_and_canaries_stay_visible() -> None:
    canary = mint(seed=7, identity="a@example.org", user="alice", field="name", surface="auth").token
    text = json.dumps({"name": f"Alice {canary}", "password": 'pa"ss\\word', "tokens": [TOKEN, "x"]})
    clean = json.loads(Redactor().clean(text))
    assert clean["name"] == f"Alice {canary}"
    assert clean["tokens"][1] == "x"
    assert clean["password"].startswith("[")


@given(st.text())
def test_text_without_secrets_passes_unchanged_or_shorter_but_never_fails(text: str) -> None:
    redactor = Redactor()
    assert redactor.clean(redactor.clean(text)) == redactor.clean(text)


def test_the_recorder_cleans_payloads_and_details(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "x.jsonl")
    recorder.observe("receive", payload=json.dumps({"token": TOKEN}), detail={"location": f"/cb?access_token={TOKEN}"})
    recorder.close()
    import gzip

    assert TOKEN not in gzip.decompress(recorder.path.read_bytes()).decode()


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret("hunter2hunter2")
    for shown in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r}",
        f"{secret:>30}",
        str([secret]),
        str({"a": secret}),
    ):
        assert "hunter2" not in shown
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.deepcopy({"a": secret})
    assert secret == Secret("hunter2hunter2")
    assert secret.reveal() == "hunter2hunter2"
