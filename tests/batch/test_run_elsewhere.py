"""Notebooks executed by workers that share nothing with us: any executor, and a Dask cluster of processes."""

import contextlib
import json
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from distributed import LocalCluster
from projects import ASK, CLOSE, OPEN, Ended, Notes, plan_in, workbook

from netra_probe.batch import dask as clusters
from netra_probe.batch.execution import Execution, Order
from netra_probe.batch.remote import unpack
from netra_probe.batch.run import run
from netra_probe.cli.main import app
from netra_probe.clients.rate_limit import SHARE_VARIABLE, RateLimiter, Share
from netra_probe.results.results import compute

SAYS_WHERE = "import os; print(os.getppid(), os.environ['NETRA_PROBE_RUN'], os.environ['NETRA_PROBE_SHARE'])"


@pytest.fixture(scope="module")
def dask() -> Iterator[LocalCluster]:
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as started:
        yield started


@pytest.fixture(scope="module")
def spread(dask: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Three notebooks on the two workers of a cluster; one raises."""
    place = tmp_path_factory.mktemp("cluster")
    healthy = (SAYS_WHERE, OPEN, ASK, CLOSE)
    folder = workbook(place / "workbook", {"A1": healthy, "A2": healthy, "A3": ("broken",)})
    watcher = Notes()
    with contextlib.chdir(folder), clusters.cluster(dask.scheduler_address) as workers:
        plan = replace(plan_in(folder, output=place / "run"), jobs=workers.jobs)
        directory, results = run(plan, executor=workers, watcher=watcher)
    return Ended(folder=folder, directory=directory, results=results, watcher=watcher)


def printed(run: Path, id: str) -> list[str]:
    notebook = json.loads((run / "notebooks" / f"{id}-small.ipynb").read_text())
    (text,) = [
        out["text"] for cell in notebook["cells"] for out in cell.get("outputs", []) if out.get("name") == "stdout"
    ]
    return "".join(text).split()


@pytest.mark.nightly
def test_a_cluster_executes_what_comes_back_as_if_it_had_been_executed_here(spread: Ended) -> None:
    assert {one["id"]: one["verdict"] for one in spread.results["scenarios"]} == {
        "A1": "pass", "A2": "pass", "A3": "inconclusive",
    }  # fmt: skip
    assert "raised NameError" in spread.scenario("A3")["cases"][-1]["reason"]
    assert compute(spread.directory) == spread.results
    for id in ("A1", "A2", "A3"):
        assert (spread.directory / "history" / f"{id}.jsonl.gz").is_file() == (id != "A3")
        assert (spread.directory / "notebooks" / f"{id}-small.ipynb").is_file()
        assert (spread.directory / "logs" / f"{id}.log").is_file()


def test_the_work_is_spread_and_no_worker_writes_into_the_run_directory(spread: Ended) -> None:
    (first, first_place, share), (second, second_place, _) = (printed(spread.directory, id) for id in ("A1", "A2"))
    assert first != second
    assert first_place != second_place
    assert not Path(first_place).exists()
    assert str(spread.directory) not in (first_place, second_place)
    assert Share.read(share) == Share(rate=2, most=3)
    assert set(map(tuple, spread.watcher.cases.values())) == {("running elsewhere",)}


def test_the_command_line_reaches_a_cluster_and_says_when_there_is_none(
    dask: LocalCluster, ended: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ended.folder)
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 0.5)
    parameters = tmp_path / "recorded.yaml"
    recording = ended.directory / "history" / "A1.jsonl.gz"
    parameters.write_text(f"environment: recorded\ntarget: {{replay: {recording}}}\nusers: 2\nrounds: 1\n")
    arguments = ["run", "A1", "--parameters", str(parameters), "--output", str(tmp_path / "run"), "--scheduler"]
    nobody = CliRunner().invoke(app, [*arguments, "tcp://127.0.0.1:9"], standalone_mode=False)
    assert "no Dask scheduler answers there" in str(nobody.exception)
    assert not (tmp_path / "run").exists()
    called = CliRunner().invoke(app, [*arguments, dask.scheduler_address], standalone_mode=False)
    assert (called.return_value, called.exception) == (0, None), called.output


def test_without_dask_the_command_that_brings_it_is_named(ended: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ended.folder)
    monkeypatch.setitem(sys.modules, "distributed", None)
    refused = CliRunner().invoke(app, ["run", "A1", "--scheduler", "tcp://127.0.0.1:9"], standalone_mode=False)
    assert str(refused.exception) == "--scheduler needs Dask: pip install -c requirements.lock -e '.[dask]'"


def test_any_executor_will_do_and_one_that_loses_its_work_costs_only_that(tmp_path: Path) -> None:
    class Forgetful(ThreadPoolExecutor):
        """Takes A2 and never says more of it than that it was cancelled; takes nothing any more afterwards."""

        taken = 0

        def submit(self, *arguments, **options):  # type: ignore[no-untyped-def]
            self.taken += 1
            if self.taken == 1:
                return super().submit(*arguments, **options)
            if self.taken > 2:
                raise RuntimeError("cannot schedule new futures after shutdown")
            lost: Future[object] = Future()
            lost.cancel()
            lost.set_running_or_notify_cancel()
            return lost

    folder = workbook(tmp_path / "workbook", {"A1": ("6 * 7",), "A2": ("1",), "A3": ("1",)})
    with contextlib.chdir(folder), Forgetful() as executor:
        directory, results = run(plan_in(folder, output=tmp_path / "run"), executor=executor)
    assert '"42"' in (directory / "notebooks" / "A1-small.ipynb").read_text()
    reasons = {one["id"]: one["cases"][-1]["reason"] for one in results["scenarios"]}
    assert reasons["A1"] == "not run: it left no history"
    assert "its worker was lost (CancelledError)" in reasons["A2"]
    assert "no worker took it (RuntimeError: cannot schedule new futures" in reasons["A3"]


def test_what_comes_back_is_put_into_the_run_directory_and_nowhere_else(tmp_path: Path) -> None:
    run = tmp_path / "run"
    order = Order(
        id="A1",
        source=tmp_path,
        output=tmp_path,
        parameters={},
        variables={},
        timeout=1,
        log=run / "logs" / "x",
        sockets=tmp_path,
    )
    kept = {"history/A1.jsonl": b"{}\n", "../outside": b"no", "/tmp/outside-of-a-run": b"no"}
    assert unpack(order, Execution(id="A1", status="completed", files=kept)).files == {}
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == [
        "run/history/A1.jsonl"
    ]
    assert not Path("/tmp/outside-of-a-run").exists()


def test_caps_are_divided_among_those_who_cannot_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (RateLimiter(rate=50.0, most=900).rate, RateLimiter(rate=50.0, most=900).most) == (50.0, 900)
    monkeypatch.setenv(SHARE_VARIABLE, str(Share(rate=4, most=18)))
    assert (RateLimiter(rate=50.0, most=900).rate, RateLimiter(rate=50.0, most=900).most) == (12.5, 50)
    assert (RateLimiter().rate, RateLimiter(most=3).most) == (None, 1)


@pytest.mark.nightly
def test_when_a_cluster_goes_what_came_back_is_kept_and_the_rest_is_inconclusive(
    dask: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ends(Notes):
        """Ends the cluster while the second notebook is being executed."""

        def look(self) -> None:
            if self.ended_ids == ["A1"] and self.started_ids[-1] == "A2":
                dask.close()

    monkeypatch.setattr(clusters, "LOST_SECONDS", 0.5)
    folder = workbook(tmp_path / "workbook", {"A1": ("6 * 7",), "A2": ("import time; time.sleep(20)",), "A3": ("1",)})
    plan = plan_in(folder, output=tmp_path / "run", jobs=1)
    with contextlib.chdir(folder), clusters.cluster(dask.scheduler_address) as workers:
        directory, results = run(plan, executor=workers, watcher=Ends())
    assert '"42"' in (directory / "notebooks" / "A1-small.ipynb").read_text()
    assert results["verdict"] == "inconclusive"
    for scenario in results["scenarios"][1:]:
        assert scenario["cases"][0]["reason"] == "not run: the cluster's scheduler cannot be reached any more"
    assert compute(directory) == results
