"""A history is written as it happens, and read again on any machine."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_probe.history import actions
from netra_probe.history.lines import line
from netra_probe.history.operation import Operation
from netra_probe.history.store import History, HistoryError, Recorder

WRITER = """
import sys, time
from pathlib import Path
from netra_probe.history.store import Recorder
recorder = Recorder(Path(sys.argv[1]))
for number in range(1000):
    recorder.observe("receive", user="alice", surface="websocket", payload=f"frame {number}")
print("written", flush=True)
time.sleep(60)
"""


def record(path: Path, *payloads: str) -> Recorder:
    recorder = Recorder(path)
    for payload in payloads:
        recorder.observe(actions.RECEIVE, user="alice", surface="websocket", payload=payload)
    return recorder


def test_what_was_recorded_is_read_back_unchanged(tmp_path: Path) -> None:
    recorder = record(tmp_path / "C4.jsonl", '{"type":"pong"}', "not json", "")
    call = recorder.invoke("GET /api/threads", user="bob", surface="rest", nonce="n-1")
    recorder.complete(call, "fail", status=403, payload="{}", ids={"user_id": "u1"})
    recorder.close()
    read = list(History.open(recorder.path))
    assert read == list(recorder)
    assert [operation.index for operation in read] == list(range(len(read)))
    refused = read[4]
    assert (refused.call, refused.user, refused.surface, refused.nonce, refused.status) == (
        3,
        "bob",
        "rest",
        "n-1",
        403,
    )


def test_closing_compresses_and_marks_the_end(tmp_path: Path) -> None:
    recorder = record(tmp_path / "C4.jsonl", "x")
    path = recorder.close()
    assert path == tmp_path / "C4.jsonl.gz"
    assert [file.name for file in tmp_path.iterdir()] == ["C4.jsonl.gz"]
    assert list(History.open(path))[-1].action == actions.END
    assert not History.open(path).truncated
    assert recorder.close() == path


def test_a_killed_process_loses_nothing_it_had_recorded(tmp_path: Path) -> None:
    path = tmp_path / "C4.jsonl"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        os.kill(process.pid, signal.SIGKILL)
    history = History.open(path)
    assert [operation.payload for operation in history] == [f"frame {number}" for number in range(1000)]
    assert history.truncated


def test_half_a_line_at_the_end_is_left_out_and_said_to_be_truncated(tmp_path: Path) -> None:
    recorder = record(tmp_path / "cut.jsonl", "one", "two")
    recorder.abandon()
    with open(recorder.path, "ab") as file:
        file.write(b'{"index":2,"time":5,"ty')
    history = History.open(recorder.path)
    assert [operation.payload for operation in history] == ["one", "two"]
    assert history.truncated


def test_a_cut_archive_gives_what_is_readable(tmp_path: Path) -> None:
    recorder = record(tmp_path / "C4.jsonl", *(os.urandom(200).hex() for _ in range(200)))
    data = recorder.close().read_bytes()
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(data[: len(data) // 2])
    history = History.open(cut)
    assert 0 < len(list(history)) < 200
    assert history.truncated


def test_a_history_is_never_overwritten(tmp_path: Path) -> None:
    record(tmp_path / "C4.jsonl", "kept").abandon()
    with pytest.raises(HistoryError, match="never overwritten"):
        Recorder(tmp_path / "C4.jsonl")
    assert [operation.payload for operation in History.open(tmp_path / "C4.jsonl")] == ["kept"]


def test_a_missing_file_and_a_foreign_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"no history at .*nowhere"):
        History.open(tmp_path / "nowhere.jsonl")
    (tmp_path / "other.jsonl").write_text("hello\n")
    with pytest.raises(HistoryError, match=r"other\.jsonl, line 1: not an operation"):
        list(History.open(tmp_path / "other.jsonl"))


def test_a_history_of_a_newer_schema_is_refused(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "C4.jsonl")
    recorder.observe(actions.OPEN, detail={"schema": 99})
    with pytest.raises(HistoryError, match="schema 99"):
        list(History.open(recorder.close()))


def test_the_frame_has_a_row_per_operation_and_a_column_per_id(tmp_path: Path) -> None:
    recorder = record(tmp_path / "C4.jsonl", "a")
    recorder.observe(actions.RECEIVE, user="bob", surface="websocket", ids={"run_id": "r1"}, payload="b")
    table = recorder.to_dataframe()
    recorder.abandon()
    assert list(table.index) == [0, 1]
    assert table.loc[1, "run_id"] == "r1"
    assert list(table["user"]) == ["alice", "bob"]
    assert list(History.open(recorder.path).to_dataframe().columns) == list(table.columns)


def test_an_empty_history_still_has_its_columns(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "C4.jsonl")
    recorder.abandon()
    assert "payload" in recorder.to_dataframe().columns


@given(
    payload=st.text(), status=st.none() | st.integers(0, 65535), ids=st.dictionaries(st.text(), st.text(), max_size=3)
)
def test_any_text_survives_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, payload: str, status: int | None, ids: dict[str, str]
) -> None:
    recorder = Recorder(tmp_path_factory.mktemp("history") / "x.jsonl")
    text = payload.encode("utf-8", "replace").decode()
    clean = {
        key.encode("utf-8", "replace").decode(): value.encode("utf-8", "replace").decode() for key, value in ids.items()
    }
    written = recorder.observe(actions.RECEIVE, payload=text, status=status, ids=clean)
    (read, _) = History.open(recorder.close())
    assert read == written


def test_an_operation_reads_as_one_line() -> None:
    operation = Operation(
        index=7, time=0, type="ok", action="receive", user="alice", connection="alice/ws-1", payload="line\n" * 100
    )
    assert repr(operation) == "<#7 alice/ws-1 ok receive>"
    assert "\n" not in line(operation)
    assert len(line(operation)) <= 112
