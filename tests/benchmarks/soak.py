"""Runs many notebooks in a row on one lab, and looks whether anything is left of them.

    python tests/benchmarks/soak.py --runs 20          # of ten short notebooks each

Counted after each run: open files and children of this process, open files, sockets and connections of the lab's
services, PostgreSQL backends, Redis clients, accounts on the books. What grows from run to run leaks.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import redis

from netra_probe import lab
from netra_probe.batch.plan import Plan
from netra_probe.batch.run import run
from netra_probe.batch.selection import select
from netra_probe.clients.account_ledger import Ledger
from netra_probe.target.lab import LAB_VARIABLE
from netra_probe.target.parameters import environment_file, read_parameters

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "batch"))
from projects import PASSES, workbook

IDS = ("A1", "A2", "A3", "A4", "A5", "B1", "B2", "B3", "B4", "B5")


def counted(running: lab.Lab) -> dict[str, int]:
    """Everything that a run could leave behind."""
    me = psutil.Process()
    services = [one for one in _family(running) if one.is_running()]
    backends = asyncio.run(_backends(str(running.parameters["database_url"])))
    with redis.Redis.from_url(str(running.parameters["redis_url"])) as cache:
        clients = len(cache.client_list())
    return {
        "own files": me.num_fds(),
        "own children": len(me.children(recursive=True)) - len(services),
        "lab files": sum(one.num_fds() for one in services),
        "lab sockets": sum(len(one.net_connections()) for one in services),
        "lab MB": sum(one.memory_info().rss for one in services) // 2**20,
        "PostgreSQL": backends,
        "Redis": clients,
        "accounts": sum(entry.auth_url == running.parameters["auth_url"] for entry in Ledger().entries()),
    }


def _family(running: lab.Lab) -> list[psutil.Process]:
    """The processes of the lab's services: those that carry its directory, or descend from one that does."""
    mark = str(running.state_file.parent)
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if (
                mark in " ".join([*process.cmdline(), *process.environ().values()])
                and process.pid != psutil.Process().pid
            ):
                found[process.pid] = process
    return list(found.values())


async def _backends(url: str) -> int:
    connection: Any = await asyncpg.connect(url)
    try:
        return int(
            await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        )
    finally:
        await connection.close()


def soak(runs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="netra-probe-soak-") as folder, lab.start_lab() as running:
        place = workbook(Path(folder) / "workbook", dict.fromkeys(IDS, PASSES))
        with contextlib.chdir(place):
            notebooks = select()
            parameters = read_parameters(environment_file("lab"))
            seen = []
            for number in range(1, runs + 1):
                plan = Plan(
                    notebooks=notebooks,
                    parameters=parameters,
                    output=Path(folder) / f"run-{number}",
                    variables={LAB_VARIABLE: str(running.state_file)},
                )
                _, results = run(plan)
                seen.append(counted(running))
                if number == 1:
                    print(f"{'run':>4} {'verdict':13}" + "".join(f"{name:>13}" for name in seen[0]))
                if number in (1, 2) or number % 5 == 0 or results["verdict"] != "pass":
                    print(
                        f"{number:4} {results['verdict']:13}" + "".join(f"{value:13}" for value in seen[-1].values()),
                        flush=True,
                    )
        print(f"\n{runs * len(notebooks)} notebooks")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    soak(parser.parse_args().runs)
