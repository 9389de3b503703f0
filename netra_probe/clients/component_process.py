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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

#: Bytes that are kept of what a process says: of its result, and of its log.
MOST_RESULT, MOST_LOG = 1 << 20, 64_000
_LENGTH, _TOO_LATE = 8, "no return within {:g} s"
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

    def tells(self, pattern: str, *, without: str = "") -> Any:
        """Whether the log says this, and nowhere a certain text: to be expected, like an entry of what was returned."""
        if not self:
            return self["log"]
        return self.says(pattern) and not (without and self.says(re.escape(without)))


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
    async with _process(act, components, arguments, variables, log=asyncio.subprocess.PIPE) as (process, order):
        try:
            async with asyncio.timeout(seconds):
                said, log = await process.communicate(order)
        except TimeoutError:
            return Carried(raised=_TOO_LATE.format(seconds))
    return _carried(said, log, process.returncode)


@contextlib.asynccontextmanager
async def carry_on(
    act: Callable[..., Any],
    components: Mapping[str, str],
    *arguments: Any,
    variables: Mapping[str, str] | None = None,
    seconds: float = 10.0,
) -> AsyncIterator[Callable[[], Awaitable[Carried]]]:
    """The same with a generator function, whose process waits after each ``yield`` until it is told to go on.

        def service(LiveConfiguration, directory):
            live = LiveConfiguration("service", SETTINGS)
            yield {"limit": live.manager.integer("LIMIT")}
            yield live.reload()

        async with carry_on(service, components, directory) as step:
            started = await step()
            ...                                # what the service is told meanwhile
            reloaded = await step()

    Each step returns what was yielded, with what the process has logged since the step before. What could not be begun,
    has raised or has come too late is returned for all further steps as well.

    Arguments:
        seconds: for each step, the first of which imports the classes.
    """
    with tempfile.TemporaryFile() as log:
        async with _process(act, components, arguments, variables, log=log) as (process, order):
            orders, results = process.stdin, process.stdout
            assert orders is not None and results is not None
            orders.write(order)
            last: Carried | None = None

            async def step() -> Carried:
                nonlocal last
                if last is not None and not last:
                    return last
                begin = os.fstat(log.fileno()).st_size
                try:
                    async with asyncio.timeout(seconds):
                        with contextlib.suppress(ConnectionError):
                            orders.write(b"\n")
                            await orders.drain()
                        said = await results.readline()
                        if not said:
                            await process.wait()
                except TimeoutError:
                    last = Carried(raised=_TOO_LATE.format(seconds))
                except ValueError:  # a line without an end
                    last = Carried(raised=f"returned more than {MOST_RESULT} bytes")
                else:
                    last = _carried(said, os.pread(log.fileno(), MOST_LOG, begin), process.returncode)
                return last

            yield step


@contextlib.asynccontextmanager
async def _process(
    act: Callable[..., Any],
    components: Mapping[str, str],
    arguments: Sequence[Any],
    variables: Mapping[str, str] | None,
    *,
    log: int | IO[bytes],
) -> AsyncIterator[tuple[asyncio.subprocess.Process, bytes]]:
    """A process that waits for its order, and the order; everything ends with the block."""
    import cloudpickle

    order = cloudpickle.dumps((act, dict(components), tuple(arguments)))
    given = {key: os.environ[key] for key in _INHERITED if key in os.environ}
    path = os.pathsep.join(filter(None, [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory(prefix="netra-probe-component-") as place:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={**given, "PYTHONPATH": path, **(variables or {})},
            cwd=place,
            limit=MOST_RESULT,
            start_new_session=True,
        )
        try:
            yield process, len(order).to_bytes(_LENGTH) + order
        finally:
            # Whatever it has started ends with it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _carried(said: bytes, log: bytes, status: int | None) -> Carried:
    lines = tuple(log[-MOST_LOG:].decode(errors="replace").splitlines())
    if len(said) > MOST_RESULT:
        return Carried(raised=f"returned more than {MOST_RESULT} bytes", log=lines)
    try:
        result = json.loads(said)
    except ValueError:
        return Carried(raised=f"the process ended with status {status} and no result", log=lines)
    return Carried(**result, log=lines)


# In the process


def _serve() -> None:
    """Read the order from standard input, write the result where standard output was."""
    results = os.dup(1)
    os.dup2(2, 1)  # what a stranger's module prints is no result
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    size = int.from_bytes(sys.stdin.buffer.read(_LENGTH))
    with os.fdopen(results, "w") as stream:
        for result in _results(sys.stdin.buffer.read(size)):
            try:
                text = json.dumps(result)
            except (TypeError, ValueError) as error:
                text = json.dumps({"raised": f"what it returned is no plain data: {error}"})
            sys.stdout.flush()
            print(text, file=stream, flush=True)
    logging.shutdown()
    os._exit(0)  # a thread that hangs keeps nobody waiting


def _results(order: bytes) -> Iterator[dict[str, Any]]:
    """What the act returns or, step by step, yields; the last one says why there are no more."""
    import cloudpickle

    from netra_probe.clients.component_signature import imported

    act, components, arguments = cloudpickle.loads(order)
    classes: list[Any] = []
    for name, path in components.items():
        found = imported(path)
        if isinstance(found, str):
            yield {"absent": f"{name} cannot be imported from {path}: {found}"}
            return
        classes.append(found)
    try:
        value = act(*classes, *arguments)
        if inspect.isawaitable(value):
            value = asyncio.run(_awaited(value))
        if not inspect.isgenerator(value):
            yield {"value": value}
            return
        while sys.stdin.buffer.readline():
            yield {"value": next(value)}
    except StopIteration:
        yield {"raised": "it has no further step"}
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        lacking = _lacking(error, classes)
        yield {"raised": f"{type(error).__name__}: {error}"[:500]} if lacking is None else {"absent": lacking}


def _lacking(error: BaseException, classes: Sequence[Any]) -> str | None:
    """What the act called and a class does not have or take: a promise that nobody has made is not broken."""
    for found in (one for one in classes if isinstance(one, type)):
        if isinstance(error, AttributeError) and not str(error.name).startswith("_"):
            if error.obj is found or isinstance(error.obj, found):
                return f"{found.__name__} has no {error.name}"
        elif isinstance(error, TypeError) and str(error).startswith(f"{found.__qualname__}."):
            # Python says so at the call: no frame of the class is in the traceback.
            *_, (frame, _) = traceback.walk_tb(error.__traceback__)
            if frame.f_code.co_filename != inspect.getsourcefile(found):
                return f"{found.__name__} takes other arguments: {error}"
    return None


async def _awaited(value: Any) -> Any:
    return await value


if __name__ == "__main__":
    _serve()
