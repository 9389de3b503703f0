"""Bring all parts of a lab up, as much at the same time as their dependencies allow, and down again."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from netra_probe.lab.backend.dialects import Variant
from netra_probe.lab.infrastructure import postgres, processes, redis_server, services
from netra_probe.lab.infrastructure.directories import COUNTS, LabDirectory, holder_of
from netra_probe.lab.infrastructure.errors import LabError
from netra_probe.lab.infrastructure.plan import Plan
from netra_probe.lab.infrastructure.processes import (
    HOST,
    SERVICES,
    USUAL,
    Child,
    Children,
    hold,
    in_use,
    port_of,
    status_of,
)
from netra_probe.lab.shared.env_file import read_env_file
from netra_probe.lab.shared.faults import FaultProblem, check_selection


class ConfigurationDirectory:
    """``base.env``, ``<environment>.env``, ``runtime.env`` and ``secrets/``; readable by the lab's own user only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700, exist_ok=True)

    def clear(self) -> None:
        """Forget everything: layers, rotated secrets, and what services have kept as their last good configuration."""
        shutil.rmtree(self.path)
        self.path.mkdir(mode=0o700)

    def write(self, layer: str, values: Mapping[str, str]) -> None:
        """Replace a layer's file in one step."""
        self._put(self.path / f"{layer}.env", "".join(f"{name}={value}\n" for name, value in sorted(values.items())))

    def read(self, layer: str) -> dict[str, str]:
        """What a layer's file holds."""
        path = self.path / f"{layer}.env"
        return read_env_file(path) if path.is_file() else {}

    def write_secret(self, name: str, value: str) -> None:
        """Replace one secret."""
        (self.path / "secrets").mkdir(mode=0o700, exist_ok=True)
        self._put(self.path / "secrets" / name, value)

    def _put(self, path: Path, text: str) -> None:
        draft = path.with_name(f"{path.name}.new")
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.rename(path)


READY_SECONDS = 60.0
STOP_SECONDS = 1.4
"""How long a service may take to end before it is made to: the whole lab is down in under 3 s."""
PART_STOP_SECONDS = 5.0
"""How long one part may take to end in good order while the lab goes on."""


class Launch:
    """One lab's processes, from nothing to ready and back."""

    def __init__(self, *, plan: Plan, directory: LabDirectory, announce: Callable[[int], None]) -> None:
        self.plan = plan
        self.directory = directory
        self.secrets = services.Secrets()
        self.children = Children(announce=announce)
        self.configuration = ConfigurationDirectory(directory.path / "configuration")
        self._held: dict[str, socket.socket] = {}
        self._cluster: postgres.Cluster | None = None
        self._broken = asyncio.Event()
        self._started = time.time()
        self._seeds: dict[str, Any] = {}
        self._names = tuple(name for name in SERVICES if name not in plan.without)

    # Up

    async def start(self) -> None:
        """Start everything and return when every part answers; LabError names the part that does not."""
        broken = asyncio.create_task(self.wait_until_broken("could not start"))
        starting = asyncio.create_task(self._start())
        try:
            waiting: set[asyncio.Task[None]] = {broken, starting}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if broken.done():  # no need to wait for the others
                await broken
            await starting
        finally:
            broken.cancel()
            starting.cancel()
            await asyncio.gather(broken, starting, return_exceptions=True)

    async def _start(self) -> None:
        self._check_faults(self.plan)
        for name in SERVICES:  # services that are left out have an address too, where nobody answers
            port = USUAL.get(name, 0) if self.plan.ports == "usual" else 0
            self._held[name] = hold(name, port, holder=holder_of)
        ports = {name: port_of(listener) for name, listener in self._held.items()}
        self.at = services.Addresses(ports=ports, secrets=self.secrets)
        self._write_configuration()
        processes.preload()
        gate, opened = os.pipe()
        try:
            # they import while the databases come up, and wait at the gate before they connect
            for name in services.MODULES:
                if name in self._names:
                    self._start_service(name, gate)
            os.close(gate)
            gate = -1
            if "redis" in self._names:
                self._start_redis()
            await self._start_postgres()
            if "redis" in self._names:
                await self._wait_for_redis()
        finally:
            for descriptor in (gate, opened):
                if descriptor >= 0:
                    os.close(descriptor)
        await self._wait_for_all([name for name in services.MODULES if name in self._names])
        if self.plan.seed_data:
            self._seeds = await self._load_seeds()

    async def start_again(self, name: str) -> None:
        """Start a part that was stopped, on the same port, and wait until it answers."""
        if name == "redis":
            self._start_redis()
            await self._wait_for_redis()
        elif name == "postgres":
            self._run_postgres()
            await self._wait_for_postgres_port()
        else:
            self._start_service(name, None)
            async with asyncio.timeout(READY_SECONDS):
                await self._wait_for(name)

    async def recompose(self, plan: Plan) -> None:
        """Start the lab's own services again after another plan, over emptied stores.

        PostgreSQL, Redis and the identity provider stay up: this takes a fraction of what another lab would take.
        """
        self._check_faults(plan)
        names = [name for name in services.MODULES if name in self._names and name != "oidc"]
        await self.children.stop(names, STOP_SECONDS)
        for name in names:
            self._held.setdefault(name, hold(name, self.at.ports[name]))
        for name in ("postgres", "redis"):
            if name in self._names and self.children.by_name[name].ended.done():
                await self.start_again(name)
        self.plan, self._seeds = plan, {}
        self.configuration.clear()
        for counts in (self.directory.path / COUNTS).glob("*.json"):
            counts.unlink(missing_ok=True)
        self._write_configuration()
        if "redis" in self._names:
            await redis_server.empty(self.at.ports["redis"], self.secrets.redis)
        if "postgres" in self._names:
            await postgres.empty(self.at.ports["postgres"], self.secrets.database_admin)
        for name in names:
            self._start_service(name, None)
        await self._wait_for_all(names)

    # Down

    async def stop_one(self, name: str) -> None:
        """Stop one part and keep its port for it."""
        await self.children.by_name[name].stop(PART_STOP_SECONDS)
        self._held[name] = hold(name, self.at.ports[name])

    async def stop(self) -> None:
        """Stop everything: services first, then what they rest on."""
        await self.children.stop(services.MODULES, STOP_SECONDS)
        await self.children.stop(["redis", "postgres"], STOP_SECONDS)
        for listener in self._held.values():
            listener.close()

    async def wait_until_broken(self, consequence: str = "went down with it") -> None:
        """Return never, or raise LabError when a part ends that nobody asked to."""
        while True:
            await self._broken.wait()
            self._broken.clear()
            child = self.children.first_unexpected_end()
            if child is not None:
                raise LabError(_epitaph(child, consequence))

    # What others see

    def state(self) -> dict[str, Any]:
        """The content of the state file."""
        operated = [name for name in services.MODULES if name in self._names and name != "oidc"]
        return {
            "id": self.directory.id,
            "pid": os.getpid(),
            "started": self._started,
            "parameters": self.at.parameters(Variant.from_mapping(self.plan.variant)),
            "variant": dict(self.plan.variant),
            "services": {
                name: {
                    "pid": self.children.by_name[name].pid,
                    "url": self.at.url(name) if name in services.MODULES else f"{HOST}:{self.at.ports[name]}",
                }
                for name in self._names
            },
            "roles": {name: self.at.database_url(role) for name, role in services.ROLES_OF_SERVICES.items()},
            "operator": {"token": self.secrets.operator, "urls": {name: self.at.url(name) for name in operated}},
            "faults": list(self.plan.faults),
            "components": {
                "LAB_FAULTS": ",".join(self.plan.faults),
                "LAB_FAULT_MODULES": os.pathsep.join(self.plan.fault_modules),
                "LAB_FAULT_COUNTS": str(self.directory.path / COUNTS),
            },
            "seeds": self._seeds,
            "ports": self.plan.ports,
            "detached": self.plan.detached,
            "parent": self.plan.parent,
        }

    # Inside

    async def _load_seeds(self) -> dict[str, Any]:
        missing = [name for name in services.NEEDED_BY_SEEDS if name not in self._names]
        if missing:
            raise LabError(f"The seeded data needs {' and '.join(missing)}: start them, or start without seeded data.")
        from netra_probe.lab.seeds.loading import load  # here: few labs need it, and it imports half of the services

        return await load(self.at.seed_places())

    def _write_configuration(self) -> None:
        for layer, values in services.layers(self.at).items():
            self.configuration.write(layer, values)
        if "JWT_SECRET_KEY" not in self.plan.settings:
            self.configuration.write_secret("JWT_SECRET_KEY", self.secrets.jwt)

    def _check_faults(self, plan: Plan) -> None:
        try:
            check_selection(",".join(plan.faults), plan.fault_modules)
        except FaultProblem as problem:
            raise LabError(f"The lab cannot start: {problem}.") from None

    def _start_service(self, name: str, gate: int | None) -> Child:
        listener = self._held.pop(name)
        try:
            listener.listen(128)  # from here on a request waits for the service instead of being refused
        except OSError as error:
            raise in_use(name, port_of(listener), holder_of) from error
        with listener:
            listener.set_inheritable(True)
            if gate is not None:
                os.set_inheritable(gate, True)
            return self._watched(
                self.children.start(
                    services.command(
                        name,
                        services.environment_of(name, self.plan, self.at, self.configuration.path),
                        listener=listener.fileno(),
                        gate=gate,
                        directory=self.directory.path,
                        log=self.directory.log(name),
                    )
                )
            )

    def _start_redis(self) -> Child:
        command = redis_server.command(
            self.at.ports["redis"], self.secrets.redis, self.directory.path, self.directory.log("redis")
        )
        self._hand_over("redis")
        return self._watched(self.children.start(command))

    async def _start_postgres(self) -> None:
        if "postgres" not in self._names:
            return
        # copying thousands of files must not keep the others waiting
        self._cluster = await asyncio.to_thread(postgres.prepare, self.directory.path / "postgres", _cache())
        child = self._run_postgres()
        try:
            passwords = {**self.secrets.database, postgres.SUPERUSER: self.secrets.database_admin}
            await postgres.set_up(self._cluster, child, self.at.ports["postgres"], passwords)
        except (LabError, TimeoutError) as error:
            postgres.forget_templates(_cache())
            raise LabError(str(error) or "PostgreSQL did not accept connections in time; start again.") from None
        self._let_go("postgres")

    def _run_postgres(self) -> Child:
        assert self._cluster is not None
        self._hand_over("postgres")
        command = postgres.command(self._cluster, self.at.ports["postgres"], self.directory.log("postgres"))
        return self._watched(self.children.start(command))

    def _hand_over(self, name: str) -> None:
        """A server is about to bind the port that is held for it: only Linux lets both have it for a moment."""
        if not sys.platform.startswith("linux"):
            self._let_go(name)

    def _let_go(self, name: str) -> None:
        """A server listens on its port now."""
        if name in self._held:
            self._held.pop(name).close()

    async def _wait_for_redis(self) -> None:
        child, port = self.children.by_name["redis"], self.at.ports["redis"]
        try:
            await redis_server.wait_until_ready(child, port, self.secrets.redis)
        except TimeoutError:
            raise LabError("Redis did not accept connections in time; start again.") from None
        self._let_go("redis")

    async def _wait_for_postgres_port(self) -> None:
        child = self.children.by_name["postgres"]
        async with asyncio.timeout(postgres.READY_SECONDS):
            while not await postgres.answers(self.at.ports["postgres"], self.secrets.database_admin):
                await asyncio.wait([child.ended], timeout=0.02)
                if child.ended.done():
                    raise LabError(_epitaph(child, "did not come back"))
        self._let_go("postgres")

    def _watched(self, child: Child) -> Child:
        child.ended.add_done_callback(lambda _: self._broken.set())
        return child

    async def _wait_for_all(self, names: Sequence[str]) -> None:
        early = [name for name in names if not name.startswith("backend")]
        try:
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.gather(*(self._wait_for(name) for name in early))
                await asyncio.gather(*(self._wait_for(name) for name in names if name not in early))
        except TimeoutError:
            raise LabError(self._slow()) from None

    async def _wait_for(self, name: str) -> None:
        child = self.children.by_name[name]
        path = services.READY_PATHS.get(name, "/health/ready")
        while True:
            asking = asyncio.ensure_future(status_of(HOST, self.at.ports[name], path))
            await asyncio.wait([asking, child.ended], return_when=asyncio.FIRST_COMPLETED)
            if child.ended.done():
                asking.cancel()
                raise LabError(_epitaph(child, "could not start"))
            try:
                if await asking == 200:
                    return
            except OSError:
                pass  # its process is ending, or it has not taken the socket over yet
            await asyncio.wait([child.ended], timeout=0.05)

    def _slow(self) -> str:
        texts = [
            f"{name}: {child.last_words(3)}" for name, child in self.children.by_name.items() if child.last_words(3)
        ]
        return f"The lab did not become ready within {READY_SECONDS:g} s; is the machine busy?\n" + "\n".join(texts)


def _epitaph(child: Child, consequence: str) -> str:
    status = child.ended.result()
    how = f"signal {-status}" if status < 0 else f"status {status}"
    words = child.last_words()
    return f"The lab's {child.name} ended with {how} and the lab {consequence}." + (f"\n{words}" if words else "")


def _cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("netra-probe"))
