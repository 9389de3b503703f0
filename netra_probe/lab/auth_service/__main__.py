"""``python -m netra_probe.lab.auth_service``."""

from __future__ import annotations

from typing import Any

from netra_probe.lab.shared.serving import serve


def create_app() -> Any:
    """Build the application; imported late, so that a socket problem shows before a second is spent on imports."""
    from netra_probe.lab.auth_service.composition import create_app as compose

    return compose()


if __name__ == "__main__":
    serve(create_app, ws="none")
