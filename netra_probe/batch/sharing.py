"""Where the notebooks of all runs of this user on one target take turns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netra_probe.ledger import Ledger


def turns_folder(target: Mapping[str, Any], lab: str) -> str:
    """The folder through which those who work on one target step aside for one that measures it; "" for a recording.

    Arguments:
        target: of the parameters; empty for a lab.
        lab: the path of the lab's state file.
    """
    if "replay" in target:
        return ""
    if target:
        addresses = repr(sorted(map(str, target.get("backend_urls", []))))
        folder = Ledger().folder / "turns" / hashlib.sha256(addresses.encode()).hexdigest()[:16]
    elif not Path(lab).is_file():
        return ""
    else:
        folder = Path(lab).parent / "turns"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return ""  # nobody is waited for then; what is measured meanwhile says so itself
    return str(folder)
