"""Run the language-model service: ``python -m netra_probe.lab.llm_service``."""

from __future__ import annotations

from typing import Any

from netra_probe.lab.shared.serving import serve


def create_app() -> Any:
    """Import and build only once the process is set up."""
    from netra_probe.lab.llm_service.composition import create_app as compose

    return compose()


if __name__ == "__main__":
    serve(create_app)
