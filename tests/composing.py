"""A lab of this worker's own, that becomes whichever lab a test asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netra_probe.lab import Lab, Variant, start_lab


class Composed:
    """One lab at a time: asking for another one starts its services again, asking for the same gives it as it is."""

    def __init__(self) -> None:
        self._lab: Lab | None = None
        self._asked: dict[str, Any] = {}

    def __call__(
        self,
        faults: Sequence[str] = (),
        fault_modules: Sequence[Path] = (),
        *,
        variant: Variant | None = None,
        settings: dict[str, str] | None = None,
        anew: bool = False,
    ) -> Lab:
        """A lab as `start_lab` would start it; with ``anew``, one that nobody has met."""
        asked = {"faults": faults, "fault_modules": fault_modules, "variant": variant, "settings": settings}
        if self._lab is None or not self._lab.is_running():
            self._lab = start_lab(**asked)
        elif anew or asked != self._asked:
            self._asked = {}  # if it fails it is none
            self._lab.recompose(**asked)
        self._asked = asked
        return self._lab

    def stop(self) -> None:
        """End it."""
        if self._lab is not None:
            self._lab.stop()
