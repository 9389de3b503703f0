"""A function of the investigator's, carried out on the platform's classes in a process of its own.

    def act(IsolatedEnvironment):
        environment = IsolatedEnvironment()
        environment.set("REGION", "north")
        return {"region": environment.get("REGION"), "source": environment.get_variable_source("REGION")}

    seen = await carry_out(act, {"IsolatedEnvironment": "package.module:Class"}, variables={"REGION": "south"})
    seen["region"]

The process begins with the variables that it is given and with nothing else, so that what a singleton keeps, an import
changes or a deadlock holds up ends with it. What the function returns comes back as plain data; whatever else becomes
of it is a value as well: an exception, silence until the time is over, a class that cannot be imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Bytes that are kept of what a process says: of its result, and of its log.
MOST_RESULT, MOST_LOG = 1 << 20, 64_000
_INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True, kw_only=True)
class Undecided:
    """Stands for what was not seen; ``reason`` says why."""

    reason: str

    def __getitem__(self, name: object) -> Undecided:
        return self


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What became of a function in a process of its own.

    Arguments:
        value: what it returned, as plain data.
        raised: ``ValueError: …`` where it ended in an exception, or that it did not return in time.
        absent: why it says nothing: a class that cannot be imported, or that has no such method.
        log: what the process wrote to its log and its standard output and error, line by line.
    """

    value: Any = None
    raised: str = ""
    absent: str = ""
    log: tuple[str, ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return not (self.raised or self.absent)

    def __getitem__(self, name: Any) -> Any:
        """An entry of what was returned: ``Undecided`` where it was not begun, the exception where it raised."""
        if self.absent:
            return Undecided(reason=self.absent)
        return self.raised if self.raised else self.value[name]

    def says(self, pattern: str) -> bool:
        """Whether a line of the log matches a regular expression, whatever the case."""
        return any(re.search(pattern, line, re.IGNORECASE) for line in self.log)


async def carry_out(
    act: Callable[..., Any],
    components: Mapping[str, str],
    *arguments: Any,
    variables: Mapping[str, str] | None = None,
    seconds: float = 10.0,
) -> Carried:
    """Start a process, have it call ``act(*classes, *arguments)``, and return what came of it.

    Arguments:
        act: a function, or a coroutine function; defined in a notebook it may use what it imports itself.
        components: name → import path of the classes, which it gets in this order.
        arguments: further arguments, which have to be picklable.
        variables: its process environment, beside the few that any program needs.
        seconds: after which it is killed.
    """
    import cloudpickle

    order = cloudpickle.dumps((act, dict(components), arguments))
    given = {key: os.environ[key] for key in _INHERITED if key in os.environ}
    path = os.pathsep.join(filter(None, [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory(prefix="netra-probe-component-") as place:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**given, "PYTHONPATH": path, **(variables or {})},
            cwd=place,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(seconds):
                said, log = await process.communicate(order)
        except TimeoutError:
            return Carried(raised=f"no return within {seconds:g} s")
        finally:
            # Whatever it has started ends with it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    lines = tuple(log[-MOST_LOG:].decode(errors="replace").splitlines())
    if len(said) > MOST_RESULT:
        return Carried(raised=f"returned more than {MOST_RESULT} bytes", log=lines)
    try:
        result = json.loads(said)
    except ValueError:
        return Carried(raised=f"the process ended with status {process.returncode} and no result", log=lines)
    return Carried(**result, log=lines)


# In the process


def _serve() -> None:
    """Read the order from standard input, write the result where standard output was."""
    results = os.dup(1)
    os.dup2(2, 1)  # what a stranger's module prints is no result
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    result = _done(sys.stdin.buffer.read())
    try:
        text = json.dumps(result)
    except (TypeError, ValueError) as error:
        text = json.dumps({"raised": f"what it returned is no plain data: {error}"})
    with os.fdopen(results, "w") as stream:
        stream.write(text)
    sys.stdout.flush()
    logging.shutdown()
    os._exit(0)  # a thread that hangs keeps nobody waiting


def _done(order: bytes) -> dict[str, Any]:
    import cloudpickle

    from netra_probe.clients.component_signature import imported

    act, components, arguments = cloudpickle.loads(order)
    classes = []
    for name, path in components.items():
        found = imported(path)
        if isinstance(found, str):
            return {"absent": f"{name} cannot be imported from {path}: {found}"}
        classes.append(found)
    try:
        value = act(*classes, *arguments)
        if inspect.isawaitable(value):
            value = asyncio.run(_awaited(value))
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        if (lacking := _lacking(error, classes)) is not None:
            return {"absent": lacking}
        return {"raised": f"{type(error).__name__}: {error}"[:500]}
    return {"value": value}


def _lacking(error: BaseException, classes: Sequence[Any]) -> str | None:
    """What the act called and a class does not have: a promise that nobody has made is not broken."""
    if isinstance(error, AttributeError) and not str(error.name).startswith("_"):
        for found in classes:
            if error.obj is found or (isinstance(found, type) and isinstance(error.obj, found)):
                return f"{found.__name__} has no {error.name}"
    return None


async def _awaited(value: Any) -> Any:
    return await value


if __name__ == "__main__":
    _serve()
