"""A lab in the hand of whoever started or found it: its parameters, its health, its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from netra_probe.lab.backend.dialects import Variant
from netra_probe.lab.infrastructure import control
from netra_probe.lab.infrastructure.directories import COUNTS, is_alive, living_labs, take_ends
from netra_probe.lab.infrastructure.errors import LabError
from netra_probe.lab.infrastructure.plan import STOP_SECONDS, Plan, Ports, abandon, first_line, rest_of, spawn
from netra_probe.lab.infrastructure.processes import get_json

START_SECONDS = 120.0
STATUS_SECONDS = 3.0


class Lab:
    """A running lab.

        with start_lab(faults=("W1",)) as lab:
            lab.parameters["auth_url"]
            lab.status()["faults"]["W1"]["triggered"]

    Made by `start_lab`, `attach` and `running_labs`. Its parameters hold secrets; its repr does not.
    """

    def __init__(self, state_file: Path, process: subprocess.Popen[bytes] | None = None) -> None:
        self.state_file = state_file
        self.state: dict[str, Any] = json.loads(state_file.read_text(encoding="utf-8"))
        self.parameters: dict[str, Any] = self.state["parameters"]
        self._process = process

    @property
    def id(self) -> str:
        return str(self.state["id"])

    @property
    def pid(self) -> int:
        """The process id of its supervisor."""
        return int(self.state["pid"])

    @property
    def is_detached(self) -> bool:
        """True when `lab up` started it, so that it belongs to nobody's process."""
        return bool(self.state.get("detached"))

    @property
    def parent(self) -> int | None:
        """The process id of whoever started it and ends with it; None when it is detached."""
        parent = self.state.get("parent")
        return int(parent) if parent is not None else None

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults it was started with."""
        return tuple(self.state["faults"])

    @property
    def variant(self) -> Variant:
        """How it differs from the contract."""
        return Variant.from_mapping(self.state.get("variant", {}))

    @property
    def seeds(self) -> dict[str, Any]:
        """The seeded users, prompts and threads (`netra_probe.lab.seeds`), without secrets; empty when not seeded."""
        found: dict[str, Any] = self.state.get("seeds", {})
        return found

    def __repr__(self) -> str:
        return f"Lab(id={self.id!r}, faults={self.faults}, running={self.is_running()})"

    def is_running(self) -> bool:
        """True until its supervisor has ended and its directory is being removed."""
        return self.state_file.exists() and is_alive(self.state_file.parent)

    def status(self) -> dict[str, Any]:
        """Health of every service and the counters of every fault, summed over the processes.

        ``{"id", "running", "services": {name: {"healthy", "pid", …}}, "faults": {id: {"reached", "triggered"}}}``;
        LabError with the reason when the lab has ended by itself.
        """
        self._raise_if_ended()
        self.state = json.loads(self.state_file.read_text(encoding="utf-8"))
        operator = self.state["operator"]
        counters: dict[str, dict[str, int]] = {
            fault.partition(":")[0]: {"reached": 0, "triggered": 0} for fault in self.faults
        }
        for path in sorted(self.state_file.with_name(COUNTS).glob("*.json")):
            _add(counters, json.loads(path.read_text(encoding="utf-8")))
        services: dict[str, dict[str, Any]] = {}
        for name, service in self.state["services"].items():
            entry = {"healthy": psutil.pid_exists(service["pid"]), **service}
            if name in operator["urls"]:
                health, _ = get_json(f"{service['url']}/health", {}, STATUS_SECONDS)
                status, seen = get_json(
                    f"{service['url']}/lab/state", {"X-Lab-Operator": operator["token"]}, STATUS_SECONDS
                )
                entry["healthy"] = health == 200
                if status == 200 and isinstance(seen, dict):
                    entry.update({key: value for key, value in seen.items() if key not in ("service", "pid")})
                    _add(counters, seen.get("faults", {}))
            services[name] = entry
        return {"id": self.id, "running": True, "services": services, "faults": counters}

    # Disturbances: what may happen to any deployment

    def stop_service(self, name: str) -> None:
        """End one part in good order; its port stays reserved for it."""
        self._control("stop", name)

    def kill_service(self, name: str) -> None:
        """End one part with SIGKILL; its port stays reserved for it."""
        self._control("kill", name)

    def start_service(self, name: str) -> None:
        """Start a stopped part on the port it had, and return when it answers."""
        self._control("start", name)

    def restart_service(self, name: str) -> None:
        """Stop and start one part, and return when it answers."""
        self._control("restart", name)

    def suspend_service(self, name: str) -> None:
        """Freeze one part (SIGSTOP): it keeps its connections and says nothing."""
        self._control("suspend", name)

    def resume_service(self, name: str) -> None:
        """Let a frozen part go on."""
        self._control("resume", name)

    # What services are told

    def configure(self, settings: Mapping[str, str | float | None]) -> dict[str, list[str]]:
        """Change settings while the lab runs; returns which setting changed where, when all services have taken it.

        ``lab.configure({"ACCESS_TOKEN_SECONDS": 2})`` makes new tokens short; ``{"CLOCK_OFFSET_SECONDS": 400}`` lets
        400 seconds pass at once, and ``{"AUTH_SERVICE_CLOCK_OFFSET_SECONDS": 5}`` for the auth service only. None
        takes a change back. LabError, and no change, when a service refuses a value or none has such a setting.
        """
        values = {name: None if value is None else str(value) for name, value in settings.items()}
        done: dict[str, list[str]] = self._ask({"do": "configure", "settings": values})
        return done

    def rotate_secret(self, name: str) -> dict[str, list[str]]:
        """Replace ``JWT_SECRET_KEY`` or ``SERVICE_SECRET``; `parameters` hold the new one afterwards.

        Services accept the former one for ``SECRET_OVERLAP_SECONDS`` more.
        """
        done: dict[str, list[str]] = self._ask({"do": "rotate", "secret": name})
        self.state = json.loads(self.state_file.read_text(encoding="utf-8"))
        self.parameters = self.state["parameters"]
        return done

    def recompose(
        self,
        faults: Sequence[str] = (),
        fault_modules: Sequence[str | Path] = (),
        *,
        variant: Variant | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Lab:
        """Start its services again with other faults, over emptied stores, and return it when they answer.

        The arguments are those of `start_lab`, and so is what comes of it, for a fraction of the time: PostgreSQL,
        Redis and the identity provider stay up, and addresses and secrets stay what they were.
        """
        self._ask({"do": "recompose", "plan": composition(faults, fault_modules, variant, settings)})
        self.state = json.loads(self.state_file.read_text(encoding="utf-8"))
        self.parameters = self.state["parameters"]
        return self

    # The end

    def stop(self) -> None:
        """End the lab and return when nothing of it is left; doing it twice is fine."""
        process = self._process
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
            self._process = None
        elif self.is_running():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        _wait_until(lambda: not self.state_file.parent.exists(), STOP_SECONDS)

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _control(self, act: str, name: str) -> None:
        self._ask({"do": act, "service": name})

    def _ask(self, request: dict[str, Any]) -> Any:
        self._raise_if_ended()
        return control.ask(self.state_file.with_name("control"), request).get("done")

    def _raise_if_ended(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            said = rest_of(self._process.stdout)
            raise LabError(said or f"The lab {self.id} has ended; start another.")
        if not self.is_running():
            raise LabError(take_ends().get(self.id) or f"The lab {self.id} has ended; start another.")


def start_lab(
    faults: Sequence[str] = (),
    fault_modules: Sequence[str | Path] = (),
    ports: Ports = "ephemeral",
    detached: bool = False,
    timeout: float = START_SECONDS,
    *,
    variant: Variant | None = None,
    seed_data: bool = False,
    settings: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
) -> Lab:
    """Start a lab and return it when every part answers.

    `faults` are ids, with a rate if wanted (``"W1:0.5"``); `fault_modules` are Python files with further ones. `ports`
    is ``"ephemeral"`` or ``"usual"`` (auth 8081, backends 8000 and 8001, PostgreSQL 5434, Redis 6381). The lab ends
    with this process, unless it is `detached`. `variant` says how it differs from the contract; `seed_data` loads
    people in all states, with their history. `settings` are further environment variables for its services; `without`
    leaves parts out. LabError, with nothing left running, when it cannot start within `timeout` seconds.
    """
    plan = Plan(
        **composition(faults, fault_modules, variant, settings),
        ports=ports,
        seed_data=seed_data,
        without=tuple(without),
        detached=detached,
        parent=None if detached else os.getpid(),
    )
    process = spawn(plan)
    try:
        answer = first_line(process, timeout)
        if "error" in answer:
            raise LabError(str(answer["error"]))
        lab = Lab(Path(answer["state_file"]), None if detached else process)
        assert process.stderr is not None
        process.stderr.close()
    except BaseException:
        abandon(process)
        raise
    return lab


def composition(
    faults: Sequence[str],
    fault_modules: Sequence[str | Path],
    variant: Variant | None,
    settings: Mapping[str, str] | None,
) -> dict[str, Any]:
    """What a plan says of the services."""
    return {
        "faults": tuple(faults),
        "fault_modules": tuple(str(Path(path).expanduser().resolve()) for path in fault_modules),
        "variant": (variant or Variant()).differences(),
        "settings": dict(settings or {}),
    }


def attach(state_file: str | Path) -> Lab:
    """The lab behind a state file."""
    path = Path(state_file)
    if not path.is_file() or not is_alive(path.parent):
        raise LabError(f"There is no running lab behind {path}; `netra-probe lab up` starts one.")
    return Lab(path)


def running_labs() -> list[Lab]:
    """All labs of this user that run now."""
    labs: list[Lab] = []
    for path in living_labs():
        with suppress(FileNotFoundError):  # it ended while we looked
            labs.append(Lab(path))
    return labs


def _add(counters: dict[str, dict[str, int]], more: Mapping[str, Mapping[str, int]]) -> None:
    for fault, counts in more.items():
        total = counters.setdefault(fault, {"reached": 0, "triggered": 0})
        for kind in total:
            total[kind] += counts.get(kind, 0)


def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
