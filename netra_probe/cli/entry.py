"""Running a command so that its user meets sentences and exit statuses, and never a traceback."""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path

import click

from netra_probe.batch.interrupts import INTERRUPTED, end_at_once, interrupt, on_interrupt
from netra_probe.cli import terminal
from netra_probe.errors import ProbeError

#: EX_SOFTWARE: netra-probe itself is at fault.
CRASHED = 70


def enter() -> int:
    """Run the command that the process was started with; returns its exit status."""
    terminal.make_safe()
    try:
        try:
            from netra_probe.cli.group import app
            from netra_probe.target.environment import settle_home, sweep_scratch

            if notice := settle_home():
                _say(notice)
            sweep_scratch()
            # Until the command is loaded there is nothing to tidy up; then the group calls this.
            status = app(standalone_mode=False, obj=lambda: on_interrupt(interrupt))
            return status if isinstance(status, int) else 0
        finally:
            # What is said now is not worth a second interrupt's traceback.
            on_interrupt(end_at_once)
    except ProbeError as error:
        _say(str(error))
        return error.exit_status
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted; what was recorded is kept.")
        return INTERRUPTED
    except Exception as error:
        _say(crash(error))
        return CRASHED
    finally:
        terminal.flush()


def crash(error: BaseException) -> str:
    """Write the traceback of an unexpected error into a file, without secrets; returns the sentence that says so."""
    kind = type(error).__name__
    try:
        text = _redacted("".join(traceback.format_exception(error)))
        path = _crash_file()
        path.write_text(f"netra-probe {' '.join(sys.argv[1:2])}\n{text}", encoding="utf-8")
        path.chmod(0o600)
    except Exception as worse:
        return f"a defect of netra-probe ({kind}); its traceback could not be written ({type(worse).__name__})."
    return f"a defect of netra-probe ({kind}); what was recorded is kept. The traceback is in {path}: please report it."


def _redacted(text: str) -> str:
    """A traceback quotes what libraries say, and they quote what they were given."""
    from netra_probe.catalogue.folders import folder
    from netra_probe.results.secret_scan import all_parameters, redactor_of

    return redactor_of(*all_parameters(folder("parameters")), *_named_files()).clean(text)


def _named_files() -> list[object]:
    """The parameter files on the command line, as far as they can be read."""
    from netra_probe.results.secret_scan import parameters_in

    return [parameters_in(Path(one)) for one in sys.argv[1:] if one.endswith((".yaml", ".yml"))]


def _crash_file() -> Path:
    from netra_probe.target.environment import state_folder

    place = state_folder() / "crashes"
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    return place / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.log"


def _say(sentence: str) -> None:
    print(f"netra-probe: {sentence}", file=sys.stderr)
