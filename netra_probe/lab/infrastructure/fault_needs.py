"""What faults need of the processes they go into: settings, and libraries of other versions, installed on demand.

A library goes into a directory of its own in the user's cache and before all others on the path of the processes of
the fault's service; nothing else ever imports it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import platformdirs

from netra_probe.lab.infrastructure.errors import LabError
from netra_probe.lab.shared.faults import Fault

INSTALL_SECONDS = 30.0
"""How long pip may take for all libraries of one fault; each is a few hundred kilobytes."""

_SERVICES = {"auth": "auth_service", "llm": "llm_service", "backend-1": "backend", "backend-2": "backend"}


def install_libraries(faults: Iterable[type[Fault]]) -> None:
    """Install what faults need and what is not there yet; LabError with the remedy where that cannot be done."""
    for fault in faults:
        place = _place(fault)
        if not fault.libraries or place.is_dir():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix="draft-", dir=place.parent))
        try:
            _pip(fault, draft)
            # Another lab may have done the same meanwhile: whoever comes second has nothing left to do.
            if not place.is_dir():
                draft.rename(place)
        except OSError:
            if not place.is_dir():
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def added_to(environment: Mapping[str, str], name: str, faults: Iterable[type[Fault]]) -> dict[str, str]:
    """The environment of the process `name`, with what the faults of its service want in it."""
    added = dict(environment)
    for fault in faults:
        if fault.service != _SERVICES.get(name):
            continue
        added.update(fault.settings)
        if fault.libraries:
            added["PYTHONPATH"] = os.pathsep.join([str(_place(fault)), *filter(None, [added.get("PYTHONPATH")])])
    return added


def _place(fault: type[Fault]) -> Path:
    """Where the libraries of a fault are: other versions, or another Python, are somewhere else."""
    wanted = "\n".join((*fault.libraries, sys.version))
    name = f"{fault.id}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    return platformdirs.user_cache_path("netra-probe") / "libraries" / name


def _pip(fault: type[Fault], place: Path) -> None:
    names = " and ".join(library.partition(" ")[0] for library in fault.libraries)
    wanted = place / "requirements.txt"
    wanted.write_text("\n".join(fault.libraries) + "\n", encoding="utf-8")
    options = ("--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--retries=1", "--timeout=10")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", *options, f"--target={place}", f"--requirement={wanted}"],
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        said = done.stderr.strip().splitlines()
        reason = "" if done.returncode == 0 else (said or [f"pip ended with status {done.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        reason = f"pip took more than {INSTALL_SECONDS:g} s"
    if reason:
        raise LabError(
            f"{fault.id} needs {names} in a directory of its own, and pip could not install that ({reason}). Try again "
            f"where `{Path(sys.executable).name} -m pip` reaches a package index, or leave {fault.id} out."
        )
