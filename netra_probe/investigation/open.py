"""Beginning an investigation: find the target, open its surfaces, create its users."""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from netra_probe.catalogue.folders import folder
from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.clients.account_ledger import Ledger
from netra_probe.clients.cache import CacheClient
from netra_probe.clients.database import DatabaseClient
from netra_probe.clients.rate_limit import RUN_VARIABLE as RUN_VARIABLE
from netra_probe.clients.replies import Reply, Timeouts, Unreachable
from netra_probe.errors import ParameterError, TargetError, did_you_mean
from netra_probe.history import actions
from netra_probe.history.store import SCHEMA, Recorder
from netra_probe.investigation.cleanup import discover_routes
from netra_probe.investigation.investigation import Investigation, RunByHand
from netra_probe.investigation.leftovers import sweep
from netra_probe.investigation.replay import replay
from netra_probe.investigation.run_trigger import find_run_trigger
from netra_probe.target import lab as embedded_lab
from netra_probe.target.deployment import Mode, Target
from netra_probe.target.parameters import Parameters, environment_file, read_parameters, target_of, validated
from netra_probe.target.secret_references import resolve_secret

#: Run directory, scenario, parameters and faults → who writes the run directory.
BeginRun: TypeAlias = Callable[[Path, str, Parameters, list[str]], RunByHand]


async def open_investigation(
    scenario: str,
    *,
    environment: str = "lab",
    users: int = 3,
    seed: int = 7,
    target: Mapping[str, Any] | Target | None = None,
    deadline: float = 10.0,
    begin_run: BeginRun | None = None,
    shown: bool = True,
) -> Investigation:
    """What ``netra_probe.investigate`` does.

    Arguments:
        begin_run: notes a run that no batch run notes, and gets its end.
        shown: whether the cell that opens it shows how it stands.
    """
    if scenario not in SCENARIOS:
        raise ParameterError(f'unknown scenario "{scenario}"; {did_you_mean(scenario, SCENARIOS)}')
    if users < 2:
        raise ParameterError(f"users={users}: isolation needs at least two users; raise the parameter.")
    if target is not None and not isinstance(target, Target) and "replay" in target:
        return await replay(_kept(str(target["replay"]), scenario), scenario=scenario, users=users)
    resolved, given = await _resolve(environment, target)
    path = _history_path(scenario, environment)
    faults = await asyncio.to_thread(embedded_lab.faults_of, resolved)
    probe = Investigation(
        scenario=scenario,
        environment=environment,
        target=resolved,
        history=Recorder(path),
        ledger=Ledger(),
        seed=seed,
        timeouts=Timeouts(run=deadline),
    )
    if begin_run is not None and RUN_VARIABLE not in os.environ:
        parameters = Parameters.model_construct(
            environment=environment, target=given, users=users, seed=seed, deadline=deadline
        )
        probe.by_hand = await asyncio.to_thread(begin_run, path.parent.parent, scenario, parameters, faults)
    probe.history.observe(
        actions.OPEN,
        detail={
            "schema": SCHEMA,
            "scenario": scenario,
            "title": SCENARIOS[scenario].title,
            "cases": SCENARIOS[scenario].cases,
            "environment": environment,
            "seed": seed,
            "users": users,
            "mode": str(resolved.mode),
            "surfaces": sorted(resolved.surfaces),
            "unlocks": resolved.unlocks,
            "urls": {
                "auth": resolved.auth_url,
                **{f"backend-{number}": url for number, url in enumerate(resolved.backend_urls, start=1)},
            },
            "faults": faults,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {"netra-probe": version("netra-probe"), "python": platform.python_version()},
        },
    )
    try:
        know_secrets(probe)
        await probe.turn.join()
        await _open_surfaces(probe)
        if resolved.mode is Mode.OBSERVE:
            await _look_whether_it_is_there(probe)
        else:
            await _ask_how_they_are(probe)
            await sweep(probe)
        probe.users = await probe.recruit(users)
        await probe.watch_over()
        probe.generator = await find_run_trigger(probe, probe.users)
    except BaseException:
        await probe.close()
        raise
    probe.begin(shown=shown)
    return probe


async def _resolve(environment: str, target: Mapping[str, Any] | Target | None) -> tuple[Target, dict[str, Any]]:
    """The target, and what was written down of it, with its secrets as references."""
    if isinstance(target, Target):
        return target, {}
    if target:
        return target_of(environment, target), dict(target)
    if environment == "lab":
        return await asyncio.to_thread(embedded_lab.find_or_start), {}
    path = environment_file(environment)
    given = read_parameters(path, resolve=True)
    return validated(given.target, environment, lambda keys: str(path)), given.target


def _history_path(scenario: str, environment: str) -> Path:
    given = os.environ.get(RUN_VARIABLE)
    if given:
        return Path(given) / "history" / f"{scenario}.jsonl"
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    run = folder("outputs") / environment / f"{stamp}-{scenario}-{secrets.token_hex(3)}"
    return run / "history" / f"{scenario}.jsonl"


def _kept(recording: str, scenario: str) -> Path:
    """The recording; in a batch run a copy of it in the run directory, which is to be judged from what it holds."""
    path, given = Path(recording), os.environ.get(RUN_VARIABLE)
    if not given or not path.is_file():
        return path
    copy = Path(given) / "history" / f"{scenario}{'.jsonl.gz' if path.suffix == '.gz' else '.jsonl'}"
    copy.parent.mkdir(parents=True, exist_ok=True)
    partial = copy.with_name(copy.name + ".partial")
    try:
        shutil.copy2(path, partial)
        partial.replace(copy)
    finally:
        partial.unlink(missing_ok=True)  # half a recording is worth nothing, and looks like a damaged one
    return copy


def know_secrets(probe: Investigation) -> None:
    """Whatever the parameters refer to is kept out of the recording, wherever a target may echo it."""
    target = probe.target
    for keys, reference in target.references():
        value = resolve_secret(reference, name=".".join(map(str, keys))).reveal()
        probe.history.redactor.know_parts(value, str(keys[0]).replace("_", "-"))


async def _look_whether_it_is_there(probe: Investigation) -> None:
    """Where nobody is registered nobody would notice that there is no target. Raises TargetError."""
    for url, reply in await _ask_how_they_are(probe):
        if isinstance(reply, Unreachable):
            raise TargetError(f"{url} cannot be reached: {reply!r}; is it running, and is the URL right?")


async def _ask_how_they_are(probe: Investigation) -> list[tuple[str, Reply]]:
    """Each service's URL and its answer about its health, which often says its version."""

    async def ask(url: str) -> tuple[str, Reply]:
        http = probe.wire.http(url, surface="probe")
        reply = await http.request("GET", "/health", anonymous=True)
        await http.close()
        return url, reply

    return await asyncio.gather(*map(ask, dict.fromkeys((probe.target.auth_url, *probe.target.backend_urls))))


async def _open_surfaces(probe: Investigation) -> None:
    target, history = probe.target, probe.history
    if (url := target.secret("database_url")) is not None:
        history.redactor.know_parts(url.reveal(), "database-url")
        probe.database = await DatabaseClient.open(
            history, url, probe.timeouts, schema=target.database_schema, ownership=target.ownership
        )
    if (url := target.secret("redis_url")) is not None:
        history.redactor.know_parts(url.reveal(), "redis-url")
        probe.cache = await CacheClient.open(history, url, probe.timeouts)
    probe.routes = await discover_routes(probe)
