"""Finding a lab to investigate, or starting one: all that the probe knows of the lab."""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from netra_probe import lab
from netra_probe.errors import TargetError
from netra_probe.history.secret import Secret
from netra_probe.target.deployment import Target, is_loopback, read_target

#: Path of the state file of the lab to use; set by ``netra-probe run`` and by the test suite for their kernels.
LAB_VARIABLE = "NETRA_PROBE_LAB"
SECRETS = ("database_url", "scratch_database_url", "redis_url", "service_secret", "jwt_secret", "operator_token")

_own: lab.Lab | None = None
#: URL of an auth service → what its lab was started with.
_faults: dict[str, tuple[str, ...]] = {}
_turn = threading.Lock()


def find_or_start() -> Target:
    """The lab that ``NETRA_PROBE_LAB`` names, else one that is up, else one started for this process.

    The lab of this process stays warm for the next investigation and ends with the process.

    Raises TargetError when none can be used.
    """
    global _own
    with _turn:
        try:
            chosen = os.environ.get(LAB_VARIABLE)
            if chosen:
                return as_target(lab.attach(Path(chosen)))
            if _own is None:
                running = [one for one in lab.running_labs() if one.is_detached]
                if running:
                    return as_target(running[0])
                _own = lab.start_lab()
                atexit.register(stop)
            return as_target(_own)
        except lab.LabError as error:
            raise TargetError(str(error)) from None


def faults_of(target: Target) -> list[str]:
    """What the lab behind a target was started with: ``W1 (broadcast to all)``; nothing for other deployments."""
    told = _faults.get(target.auth_url)
    if told is None and (running := lab_behind(target)) is not None:
        told = running.faults
    return [title_of_fault(id) for id in told or ()]


def lab_behind(target: Target) -> lab.Lab | None:
    """The running lab that a target is; None for any other deployment."""
    if not is_loopback(urlsplit(target.auth_url).hostname):
        return None
    chosen = os.environ.get(LAB_VARIABLE)
    with suppress(lab.LabError):
        for one in [*([lab.attach(Path(chosen))] if chosen else []), *lab.running_labs()]:
            if one.parameters.get("auth_url") == target.auth_url:
                return one
    return None


def component_variables(target: Target) -> dict[str, str] | None:
    """What a process of ours needs to hold the same components as the lab behind a target; None where it is no lab."""
    running = lab_behind(target)
    return dict(running.state["components"]) if running is not None else None


def title_of_fault(id: str) -> str:
    """A fault of ours with its title; any other as it is."""
    known = lab.known_faults(kinds=("defect", "component")).get(id.partition(":")[0])
    return f"{id} ({known.title})" if known is not None and known.title else id


@lru_cache
def suspects_of(fault: str) -> tuple[str, ...]:
    """The parts of a Netra in which a published fault sits: where to look in the code first; nothing for others."""
    known = lab.known_faults(kinds=("defect", "component")).get(fault)
    try:
        return lab.replaced_parts(known) if known is not None else ()
    except Exception:  # a fault from outside that cannot be installed says nothing about where to look
        return ()


def titles_of_faults(group: str) -> str:
    """A group of faults with what each is called: ``W1 (broadcast instead of send-to-user): it reaches everybody``."""
    ids, colon, reasons = group.partition(": ")
    return f"{' or '.join(map(title_of_fault, ids.split(' or ')))}{colon}{reasons}"


def stop() -> None:
    """Stop the lab that this process has started, if any."""
    global _own
    with _turn:
        if _own is not None:
            _own.stop()
            _own = None


def is_ours(target: Target) -> bool:
    """Whether a target is a lab that was started here, by its state file: that it is on this machine says nothing."""
    if not target.is_local:
        return False
    wanted = {target.auth_url, *target.backend_urls}
    chosen = os.environ.get(LAB_VARIABLE)
    try:
        labs = [*lab.running_labs(), *([lab.attach(Path(chosen))] if chosen else [])]
    except lab.LabError:
        labs = lab.running_labs()
    return any(wanted <= {one.parameters["auth_url"], *one.parameters["backend_urls"]} for one in labs)


def as_target(running: lab.Lab) -> Target:
    """The lab as a target like any other; its secrets are handed over in memory."""
    values: dict[str, Any] = {
        name: Secret(value) if name in SECRETS and isinstance(value, str) else value
        for name, value in running.parameters.items()
    }
    operator = running.state["operator"]
    _faults[str(values["auth_url"])] = running.faults
    values["operator_urls"] = [url for name, url in sorted(operator["urls"].items()) if name.startswith("backend")]
    values["operator_token"] = Secret(operator["token"])
    if not running.variant.differences():
        values["generator"] = "user_message"  # by the contract; what another dialect takes is found out
    return read_target(values, where="the lab")
