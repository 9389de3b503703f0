"""Importing nbformat, and with it papermill, without the second that it would take."""

from __future__ import annotations

import importlib
import sys

#: Builds a grammar of international addresses when it is imported, which is most of what nbformat takes.
_GRAMMAR = "rfc3987_syntax"


def skip_rfc3987() -> None:
    """Import jsonschema without its check of international addresses, which no notebook asks for.

    jsonschema does without that check where the package is not installed; here it finds none. Call before the first
    import of nbformat or papermill; later it changes nothing.
    """
    if "jsonschema" in sys.modules or _GRAMMAR in sys.modules:
        return
    sys.modules[_GRAMMAR] = None  # type: ignore[assignment]  # the documented way to have an import fail
    try:
        importlib.import_module("jsonschema")
    except ImportError:
        pass  # nbformat will say what is missing
    finally:
        del sys.modules[_GRAMMAR]
