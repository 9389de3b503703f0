"""Run one backend process: ``python -m netra_probe.lab.backend``."""

from __future__ import annotations

from typing import Any

from netra_probe.lab.shared.serving import serve


def create_app() -> Any:
    """Import and build only once the process is set up."""
    from netra_probe.lab.backend.composition import create_app as compose

    return compose()


if __name__ == "__main__":
    serve(create_app, ws_max_size=1_048_576, ws_per_message_deflate=False)
