"""A child process of the supervisor: started so that it cannot outlive it, watched, stopped, explained by its log."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from netra_probe.lab.infrastructure.forking import Command, Fork, can_fork, tie_to


class Child:
    """A running process; `ended` is a future with its exit status."""

    def __init__(self, command: Command, process: subprocess.Popen[bytes] | Fork) -> None:
        self.command = command
        self.process = process
        self.expected_to_end = False
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._watch()

    @classmethod
    def start(cls, command: Command) -> Child:
        """Start the process. Call from the main thread only: the parent-death signal is tied to the thread."""
        if can_fork(command):
            return cls(command, Fork(command))
        with command.log.open("ab") as log:
            process = subprocess.Popen(
                command.words,
                env=dict(command.environment),
                cwd=command.directory,
                stdin=subprocess.PIPE if command.stdin else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=command.descriptors,
                user=command.user,
                group=command.group,
                extra_groups=[] if command.user is not None else None,
                preexec_fn=tie_to(os.getpid(), command.orphan_signal),
            )
        if process.stdin is not None:
            process.stdin.write(command.stdin)
            process.stdin.close()
        return cls(command, process)

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if not self.ended.done():
            self.process.send_signal(number)

    async def stop(self, within: float, *, for_good: bool = False) -> None:
        """Ask it to end, wait up to `within` seconds, then make it end."""
        self.expected_to_end = True
        self.signal(signal.SIGCONT)
        self.signal((self.command.last_signal if for_good else None) or self.command.stop_signal)
        done, _ = await asyncio.wait([self.ended], timeout=within)
        if not done:
            self.signal(signal.SIGKILL)
            await self.ended

    def last_words(self, lines: int = 15) -> str:
        """The end of its log."""
        try:
            with self.command.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-lines:])

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()

        def finished(status: int) -> None:
            if not self.ended.done():
                self.ended.set_result(status)

        if hasattr(os, "pidfd_open"):
            descriptor = os.pidfd_open(self.pid)

            def collect() -> None:
                loop.remove_reader(descriptor)
                os.close(descriptor)
                finished(self.process.wait())

            loop.add_reader(descriptor, collect)
        else:

            def wait() -> None:
                status = self.process.wait()
                loop.call_soon_threadsafe(finished, status)

            threading.Thread(target=wait, daemon=True).start()


@dataclass(kw_only=True)
class Children:
    """All processes of a lab, in the order they were started, with word of each new one to the janitor."""

    announce: Callable[[int], None]
    by_name: dict[str, Child] = field(default_factory=dict)

    def start(self, command: Command) -> Child:
        """Start a process (again)."""
        child = Child.start(command)
        self.by_name[command.name] = child
        self.announce(child.pid)
        return child

    def first_unexpected_end(self) -> Child | None:
        """A process that ended although nobody asked it to."""
        ended = (child for child in self.by_name.values() if child.ended.done() and not child.expected_to_end)
        return next(ended, None)

    async def stop(self, names: Iterable[str], within: float) -> None:
        """Stop some of them at the same time, for good."""
        await asyncio.gather(
            *(self.by_name[name].stop(within, for_good=True) for name in names if name in self.by_name)
        )
