"""Where the notebooks of all runs of this user on one target take turns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netra_probe.clients.account_ledger import Ledger
from netra_probe.investigation.exclusive_access import TURNS_VARIABLE
from netra_probe.target.lab import LAB_VARIABLE


def lock_variables(target: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, str]:
    """What kernels need in their environment to step aside for one that measures the target; nothing for a recording.

    Arguments:
        target: of the parameters; empty for a lab.
        variables: what kernels have in their environment already; for a lab, the path of its state file.
    """
    if "replay" in target:
        return {}
    if target:
        addresses = repr(sorted(map(str, target.get("backend_urls", []))))
        folder = Ledger().folder / "turns" / hashlib.sha256(addresses.encode()).hexdigest()[:16]
    elif not (lab := Path(variables.get(LAB_VARIABLE, ""))).is_file():
        return {}
    else:
        folder = lab.parent / "turns"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return {}  # nobody is waited for then; what is measured meanwhile says so itself
    return {TURNS_VARIABLE: str(folder)}
