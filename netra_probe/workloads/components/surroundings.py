"""What surrounds components: the files they are configured by, what their processes hold (never a value), their calls.

with ConfigurationFiles({"base.env": "LIMIT=5", "secrets/KEY": "first"}) as files:
    await probe.apart(act, "LiveConfiguration", variables=files.variables)
    files.write("runtime.env", "LIMIT=6", "REGION=north")
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from netra_probe.clients.component_process import Undecided

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation

PATH = "/lab/environment"


class ConfigurationFiles:
    """A directory in the layout of the platform's services: ``base.env``, ``<environment>.env``, ``runtime.env``.

    Arguments:
        texts: file → what is in it; `write` for more of them.
        environment: the one that ``variables`` name.
    """

    def __init__(self, texts: Mapping[str, str] | None = None, *, environment: str = "test") -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="netra-probe-configuration-")
        self.path = Path(self._directory.name)
        self.environment = environment
        for name, text in (texts or {}).items():
            self.write(name, text)

    @property
    def variables(self) -> dict[str, str]:
        """What a process is told to read its configuration here."""
        return {"CONFIG_DIRECTORY": str(self.path), "ENVIRONMENT": self.environment}

    def write(self, name: str, *lines: str) -> None:
        """Replace a file in one step, as an operator's tools do."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        draft.rename(path)

    def texts(self) -> dict[str, str]:
        """The files that are there now, by name, without those that services write for themselves."""
        own = ("backups", "services")
        found = ((path.relative_to(self.path), path) for path in sorted(self.path.rglob("*")) if path.is_file())
        return {str(name): path.read_text(encoding="utf-8") for name, path in found if name.parts[0] not in own}

    def __enter__(self) -> ConfigurationFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._directory.cleanup()


@dataclass(frozen=True, kw_only=True)
class ServiceEnvironment:
    """The variables of one process by name, each with a fingerprint that equal values share.

    Arguments:
        held: what the process reads; ``sources`` says from where.
        child: what a child process of it would get.
        unseen: why nothing is known of it.
    """

    name: str
    held: Mapping[str, str] = field(default_factory=dict, repr=False)
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)
    child: Mapping[str, str] = field(default_factory=dict, repr=False)
    unseen: str = ""

    def fingerprint(self, name: str) -> Any:
        """That of one variable; None where the process has none of this name."""
        return Undecided(reason=self.unseen) if self.unseen else self.held.get(name)

    def source(self, name: str) -> Any:
        """Where the process has a variable from."""
        return Undecided(reason=self.unseen) if self.unseen else self.sources.get(name)

    def agrees(self, other: ServiceEnvironment, name: str) -> Any:
        """Whether two processes hold the same value of a variable, and any."""
        found = [one.fingerprint(name) for one in (self, other)]
        unseen = [one for one in found if isinstance(one, Undecided)]
        return unseen[0] if unseen else found[0] is not None and found[0] == found[1]

    def names_of(self, fingerprint: Any) -> Any:
        """Under which names the process reads a value."""
        return self._names(fingerprint, self.held)

    def child_names_of(self, fingerprint: Any) -> Any:
        """Under which names a child process would get it."""
        return self._names(fingerprint, self.child)

    def _names(self, fingerprint: Any, variables: Mapping[str, str]) -> Any:
        if self.unseen:
            return Undecided(reason=self.unseen)
        if not isinstance(fingerprint, str):
            return fingerprint if isinstance(fingerprint, Undecided) else Undecided(reason="there is no such value")
        return sorted(name for name, found in variables.items() if found == fingerprint)


async def service_environments(probe: Investigation) -> list[ServiceEnvironment]:
    """The environments of the auth service and of each backend, in this order."""
    target = probe.target
    urls = {"auth": target.auth_url, **{f"backend-{n}": url for n, url in enumerate(target.operator_urls, start=1)}}
    token = target.secret("operator_token")
    if token is None:
        return [ServiceEnvironment(name=name, unseen="the target names no operator_token") for name in urls]
    return await probe.together(_look(probe, name, url, token.reveal()) for name, url in urls.items())


async def _look(probe: Investigation, name: str, url: str, token: str) -> ServiceEnvironment:
    http = probe.wire.http(url, surface="operator")
    try:
        reply = await http.request("GET", PATH, anonymous=True, headers={"X-Lab-Operator": token})
    finally:
        await http.close()
    body = getattr(reply, "body", None)
    try:
        held, child = body["held"], body["child"]  # type: ignore[index]
        return ServiceEnvironment(
            name=name,
            held={key: print_ for key, _, print_ in held},
            sources={key: source for key, source, _ in held},
            child={key: print_ for key, _, print_ in child},
        )
    except (KeyError, TypeError, ValueError):
        return ServiceEnvironment(name=name, unseen=f"{name} does not show its environment at {PATH}: {reply!r}")


@dataclass(frozen=True, kw_only=True)
class Signatures:
    """How the calls of a component differ; true where they do not.

    Arguments:
        differences: one sentence each.
        unseen: why they could not be compared.
    """

    component: str
    differences: tuple[str, ...] = ()
    unseen: str = ""

    def __bool__(self) -> bool:
        return not (self.differences or self.unseen)

    def __repr__(self) -> str:
        told = [self.unseen] if self.unseen else [*self.differences]
        return "\n".join(told) or f"{self.component}: every public call is as it is written down"


def _compared(found: type[Any], name: str) -> dict[str, list[str]]:
    """In a process of its own: importing somebody's class may do anything."""
    import inspect

    from netra_probe.catalogue.components import COMPONENTS
    from netra_probe.clients.component_signature import compare, imported

    contract = COMPONENTS[name]
    told = [str(difference) for difference in compare(name, found, contract.calls)]
    ours = imported(contract.path)
    for call in contract.calls:
        waits = [inspect.iscoroutinefunction(getattr(one, call, None)) for one in (found, ours)]
        if waits[0] != waits[1]:
            told.append(
                f"{name}.{call} is {'asynchronous' if waits[0] else 'synchronous'}, unlike what is written down"
            )
    return {"differences": told}


async def compare_signatures(probe: Investigation, component: str) -> Signatures:
    """Import a component in a process of its own, and say how its public calls differ from those that are promised."""
    seen = await probe.apart(_compared, component, arguments=[component])
    if not seen:
        return Signatures(component=component, unseen=seen.absent or f"{component}: {seen.raised}")
    return Signatures(component=component, differences=tuple(seen["differences"]))
