"""A deployment: where it is, what it lets us see, and how much may be done to it."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import pydantic

from netra_probe.errors import ParameterError, did_you_mean
from netra_probe.history.secret import Secret

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Mode(StrEnum):
    """What may be sent: only look; use it as a customer would; or also forge, contradict and disturb."""

    OBSERVE = "observe"
    PROBE = "probe"
    ATTACK = "attack"


def resolve_secret(reference: str, *, name: str) -> Secret:
    """The value behind ``env:NAME`` or ``keyring:service/name``.

    Raises ParameterError when there is nothing behind it, naming the key and the reference, never a value.
    """
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        value = os.environ.get(rest)
        if not value:
            raise ParameterError(
                f"target.{name}: the environment variable {rest} is not set; export it, then run again."
            )
        return Secret(value)
    if scheme == "keyring" and "/" in rest:
        import keyring

        service, _, account = rest.partition("/")
        try:
            value = keyring.get_password(service, account)
        except keyring.errors.KeyringError as error:
            raise ParameterError(
                f"target.{name}: no keyring can be used here ({type(error).__name__}); use env:NAME."
            ) from None
        if not value:
            raise ParameterError(
                f"target.{name}: the keyring has nothing under {rest}; store it with `keyring set {service} {account}`."
            )
        return Secret(value)
    raise ParameterError(
        f"target.{name}: secrets are given by reference only, as env:NAME or keyring:service/name, "
        "because parameters are stored in every executed notebook."
    )


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an http:// or https:// URL")
    if parts.username or parts.password:
        raise ValueError("holds credentials; give them as a secret reference instead")
    return value.rstrip("/")


def _reference(value: object) -> object:
    """Accept a reference, or a Secret that was handed over in memory (the lab's own)."""
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str) or not value.startswith(("env:", "keyring:")):
        raise ValueError("must be a reference (env:NAME or keyring:service/name), never the secret itself")
    return value


HttpUrl = Annotated[str, pydantic.AfterValidator(_http_url)]
Reference = Annotated[Secret | str, pydantic.PlainValidator(_reference)]


class Account(pydantic.BaseModel):
    """An existing account to use where registration is closed."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    email: str
    password: Reference


class Target(pydantic.BaseModel):
    """One deployment. Unknown keys are errors; secrets are references until the moment they are used.

    Arguments:
        auth_url: base URL of the auth service.
        backend_urls: base URLs of the backends, at least one; users are spread over them.
        database_url, redis_url: read access to the stores; without them those surfaces are not applicable.
        service_id, service_secret: credentials of a service, for service-to-service cases.
        jwt_secret: the signing key; unlocks attempts that are signed with the real key.
        accounts: existing accounts, where registration is closed.
        components: import paths of component classes for in-process probing.
        headers: extra HTTP headers for every request and handshake (name → value or reference).
        verify_tls: false accepts a self-signed certificate.
        mode: ``observe``, ``probe`` or ``attack``: what may be sent.
        authorised_by: who allowed it; needed for ``attack`` on anything but this machine.
        generator: the client message that starts a run (``user_message``, ``start_agent``, ``agent_request``).
        operator_urls, operator_token: operator introspection, as the lab has it.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    auth_url: HttpUrl
    backend_urls: Annotated[list[HttpUrl], pydantic.Field(min_length=1)]
    database_url: Reference | None = None
    redis_url: Reference | None = None
    service_id: str | None = None
    service_secret: Reference | None = None
    jwt_secret: Reference | None = None
    accounts: tuple[Account, ...] = ()
    components: dict[str, str] = {}
    headers: dict[str, str] = {}
    verify_tls: bool = True
    mode: Mode = Mode.PROBE
    authorised_by: str | None = None
    generator: Literal["user_message", "chat", "start_agent", "agent_request"] = "user_message"
    operator_urls: tuple[HttpUrl, ...] = ()
    operator_token: Reference | None = None

    @pydantic.field_validator("headers")
    @classmethod
    def _no_bypass_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if "test" in name.lower() or "e2e" in name.lower():
                raise ValueError(f"header {name} could switch on a test bypass on the target")
        return headers

    def secret(self, name: str) -> Secret | None:
        """The value of a secret key, resolved now; ``None`` when it was not given."""
        value = getattr(self, name)
        if value is None or isinstance(value, Secret):
            return value
        return resolve_secret(value, name=name)

    @property
    def surfaces(self) -> frozenset[str]:
        """What can be observed: always ``auth``, ``rest``, ``websocket``; the stores when access is given."""
        optional = {"database": self.database_url, "cache": self.redis_url, "operator": self.operator_urls or None}
        return frozenset(
            {"auth", "rest", "websocket", *(name for name, given in optional.items() if given is not None)}
        )

    @property
    def unlocks(self) -> list[str]:
        """The credentials beyond a user's own that were given, by name: each allows further attempts."""
        return [name for name in ("service_secret", "jwt_secret") if getattr(self, name) is not None]

    @property
    def is_local(self) -> bool:
        """Whether everything is on this machine."""
        return all(urlsplit(url).hostname in LOOPBACK for url in (self.auth_url, *self.backend_urls))

    def __repr__(self) -> str:
        return f"<Target {self.auth_url}, {len(self.backend_urls)} backend(s), {self.mode}>"


def read_target(values: dict[str, Any], *, where: str) -> Target:
    """Validate a ``target:`` mapping.

    Raises ParameterError naming ``where``, the key, what is wrong with it and the nearest right key.
    """
    try:
        return Target.model_validate(values)
    except pydantic.ValidationError as error:
        raise ParameterError(f"{where}: {explain(error, Target, prefix='target')}") from None


def explain(error: pydantic.ValidationError, model: type[pydantic.BaseModel], *, prefix: str = "") -> str:
    """The first problem of a validation as one sentence with its remedy; no input value is repeated."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(str(part) for part in ([prefix] if prefix else []) + list(problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f'unknown key "{path}"; {did_you_mean(str(problem["loc"][-1]), model.model_fields)}'
    if problem["type"] == "missing":
        return f'"{path}" is missing; add it.'
    message = problem["msg"].removeprefix("Value error, ")
    return f'"{path}" {message[0].lower()}{message[1:]}.'
