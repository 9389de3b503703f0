"""A deployment: where it is, what it lets us see, and how much may be done to it."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

import pydantic

from netra_probe.catalogue.components import COMPONENTS, is_import_path
from netra_probe.errors import ParameterError, did_you_mean
from netra_probe.history.secret import Secret
from netra_probe.target.secret_references import Reference, is_reference, resolve_secret
from netra_probe.target.tls import Tls


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The first problem of a validation.

    Arguments:
        path: keys and positions down to the culprit; of a missing key down to where it should be.
        text: what is wrong and what to do, with the key in it; no input value is repeated.
    """

    path: tuple[str | int, ...]
    text: str


def first_problem(error: pydantic.ValidationError, model: type[pydantic.BaseModel], *, prefix: str = "") -> Problem:
    """The problem that explains most: an unknown key before a missing one, for the one is often the other misspelt."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
    problem = (unknown or problems)[0]
    path: tuple[str | int, ...] = ((prefix,) if prefix else ()) + tuple(problem["loc"])
    shown = ".".join(map(str, path))
    if problem["type"] == "extra_forbidden":
        known = _fields_at(model, problem["loc"][:-1])
        return Problem(path=path, text=f'unknown key "{shown}"; {did_you_mean(str(problem["loc"][-1]), known)}')
    if problem["type"] == "missing":
        return Problem(path=path, text=f'"{shown}" is missing; add it.')
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    # A problem of several keys together names them itself.
    named = f'"{shown}" ' if problem["loc"] else f'"{prefix}" ' if prefix else ""
    return Problem(path=path, text=f"{named}{message[0].lower()}{message[1:]}.")


def explain(error: pydantic.ValidationError, model: type[pydantic.BaseModel], *, prefix: str = "") -> str:
    """The first problem of a validation as one sentence with its remedy; no input value is repeated."""
    return first_problem(error, model, prefix=prefix).text


def _fields_at(model: type[pydantic.BaseModel], path: Sequence[str | int]) -> Mapping[str, Any]:
    """The fields of the model that stands at this place inside of another."""
    for part in path:
        field = model.model_fields.get(str(part))
        nested = next(_models(field.annotation), None) if field is not None else None
        model = nested or model
    return model.model_fields


def _models(annotation: Any) -> Any:
    """The models that a type mentions: ``tuple[Account, ...]`` mentions ``Account``."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


__all__ = ["LOOPBACK", "Account", "Mode", "Ownership", "Target", "explain", "read_target", "resolve_secret"]

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
#: Requests in a second, and altogether, that a deployment which is not on this machine gets at most unless its
#: parameters say otherwise.
ELSEWHERE_PER_SECOND, ELSEWHERE_REQUESTS = 50.0, 50_000
#: Headers with such names carry secrets.
_SECRET_HEADER = re.compile(r"auth|token|secret|password|cookie|api-?key|credential|session", re.IGNORECASE)


class Mode(StrEnum):
    """What may be sent: only look; use it as a customer would; or also forge, contradict and disturb."""

    OBSERVE = "observe"
    PROBE = "probe"
    ATTACK = "attack"


def default_mode(environment: str) -> Mode:
    """What may be sent where the parameters do not say: production is only looked at."""
    return Mode.OBSERVE if environment.startswith("prod") else Mode.PROBE


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine."""
    if host in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL: its host or port cannot be read") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", value) or port == 0:
        raise ValueError("is not an http:// or https:// URL")
    if parts.username or parts.password:
        raise ValueError("holds credentials; give them as a secret reference instead")
    if parts.query or parts.fragment:
        raise ValueError("holds a query or fragment; give the base URL of the service only")
    return value.rstrip("/")


HttpUrl = Annotated[str, pydantic.AfterValidator(_http_url)]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def _operation_pattern(value: str) -> str:
    method, _, path = value.strip().partition(" ")
    path = path.strip()
    if not path:
        raise ValueError(f'holds "{value}"; write a method and a path: "POST /api/folders/*"')
    if method.upper() != "*" and method.upper() not in METHODS:
        hint = did_you_mean(method.upper(), METHODS).rstrip(".")
        raise ValueError(f'holds "{value}" with an unknown method; {hint}, or write * for any')
    if "://" in path:
        raise ValueError(f'holds "{value}"; give the path only, without the address')
    if not path.startswith("/") or re.search(r"[\s?#]", path) or path.count("{") != path.count("}"):
        raise ValueError(f'holds "{value}"; a path begins with "/" and has no spaces, query or open brace')
    if re.search(r"[^/]\*\*|\*\*[^/]", path):
        raise ValueError(f'holds "{value}"; ** stands for whole parts of a path: /api/configs/**')
    return f"{method.upper()} {path}"


#: ``POST /api/folders/*``
OperationPattern = Annotated[str, pydantic.AfterValidator(_operation_pattern)]
Rate = Annotated[float, pydantic.Field(gt=0, strict=True)]


class _Strict(pydantic.BaseModel):
    """Unknown keys are errors, and nothing is taken for what it is not."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Account(_Strict):
    """An existing account to use where registration is closed."""

    email: Annotated[str, pydantic.Field(min_length=1)]
    password: Reference


class Ownership(_Strict):
    """Who owns the rows of a table that does not say so as netra-wire §8 does.

    Arguments:
        owner: the column that holds the owner's id, or ``column.key`` for one inside of a JSON column.
        through: the table whose key ``owner`` holds, where a row belongs to whoever owns that one's row.
        key: the column that tells rows apart.
    """

    owner: Annotated[str, pydantic.Field(min_length=1)]
    through: str | None = None
    key: str = "id"


class Target(_Strict):
    """One deployment. Unknown keys are errors; secrets are references until the moment they are used.

    Arguments:
        auth_url: base URL of the auth service.
        backend_urls: base URLs of the backends, at least one; users are spread over them.
        database_url, redis_url: read access to the stores; without them those surfaces are not applicable.
        database_schema: the only schema to look at.
        scratch_database_url: the same database by a role that may create a schema: what is done to the database
            component is done in a schema of the probe's own, which it creates and removes.
        ownership: table → who owns its rows, where that differs from netra-wire §8.
        service_id, service_secret: credentials of a service, for service-to-service cases.
        jwt_secret: the signing key; unlocks attempts that are signed with the real key.
        accounts: existing accounts, where registration is closed; they are never removed.
        components: import paths of component classes for in-process probing.
        headers: extra HTTP headers for every request and handshake (name → value or reference).
        verify_tls: false accepts a self-signed certificate.
        ca_bundle: a file with the authorities to trust.
        client_certificate, client_key, client_key_password: what to show to a server that asks for a certificate.
        mode: ``observe``, ``probe`` or ``attack``: what may be sent.
        authorised_by: who allowed it; needed for ``attack`` on anything but this machine.
        consent: ``<mode> <host>``, the answer to the question that is asked before a run on another machine.
        max_requests_per_second, max_requests: caps on requests and handshakes of a run.
        allow: operations that may be sent though nobody can tell from outside what they do: ``POST /path/{id}``, with
            ``*`` for any method, ``*`` for a part of a path and ``**`` for any rest of it.
        never: operations that are not sent, whatever else is said.
        public: reading operations whose answers are meant for everybody: what comes from them is no leak.
        generator: the client message that starts a run; left out, what works is found out.
        operator_urls, operator_token: operator introspection, as the lab has it.
    """

    auth_url: HttpUrl
    backend_urls: Annotated[list[HttpUrl], pydantic.Field(min_length=1)]
    # Stores
    database_url: Reference | None = None
    database_schema: str | None = None
    scratch_database_url: Reference | None = None
    ownership: dict[str, Ownership] = {}
    redis_url: Reference | None = None
    # Credentials
    service_id: str | None = None
    service_secret: Reference | None = None
    jwt_secret: Reference | None = None
    accounts: tuple[Account, ...] = ()
    # How to reach it
    headers: dict[str, str] = {}
    verify_tls: pydantic.StrictBool = True
    ca_bundle: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    client_key_password: Reference | None = None
    # What may be done to it
    mode: Mode = Mode.PROBE
    authorised_by: str | None = None
    consent: str | None = None
    max_requests_per_second: Rate | None = None
    max_requests: Annotated[int, pydantic.Field(ge=1, strict=True)] | None = None
    allow: tuple[OperationPattern, ...] = ()
    never: tuple[OperationPattern, ...] = ()
    public: tuple[OperationPattern, ...] = ()
    # What it is
    generator: Literal["user_message", "chat", "start_agent", "agent_request"] | None = None
    components: dict[str, str] = {}
    operator_urls: tuple[HttpUrl, ...] = ()
    operator_token: Reference | None = None

    @pydantic.field_validator("headers")
    @classmethod
    def _harmless_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
                raise ValueError(f'holds a header name that HTTP does not allow: "{name}"')
            if "test" in name.lower() or "e2e" in name.lower():
                raise ValueError(f"header {name} could switch on a test bypass on the target")
            if _SECRET_HEADER.search(name) and not is_reference(value):
                raise ValueError(f"header {name} carries a secret; give a reference (env:NAME or keyring:service/name)")
        return headers

    @pydantic.field_validator("components")
    @classmethod
    def _importable(cls, components: dict[str, str]) -> dict[str, str]:
        for name, path in components.items():
            if name not in COMPONENTS:
                raise ValueError(f'holds an unknown component "{name}"; {did_you_mean(name, COMPONENTS)}'.rstrip("."))
            if not is_import_path(path):
                raise ValueError(f'holds for {name} no import path; write it as "package.module:Class"')
        return components

    @pydantic.field_validator("ca_bundle", "client_certificate", "client_key")
    @classmethod
    def _existing(cls, value: str | None) -> str | None:
        if value is not None and not Path(os.path.expanduser(value)).is_file():
            raise ValueError("names a file that is not there; give an absolute path")
        return value

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.service_secret is not None and self.service_id is None:
            raise ValueError("has a service_secret without its service_id; add it")
        if self.client_key is not None and self.client_certificate is None:
            raise ValueError("has a client_key without its client_certificate; add it")
        if self.ca_bundle is not None and not self.verify_tls:
            raise ValueError("has a ca_bundle and does not verify; drop one of ca_bundle and verify_tls")
        for name, owned in self.ownership.items():
            if owned.through is not None and owned.through not in self.ownership:
                hint = did_you_mean(owned.through, self.ownership).rstrip(".")
                raise ValueError(f"has ownership of {name} through a table that it does not describe; {hint}")
        emails = [account.email.casefold() for account in self.accounts]
        if len(set(emails)) < len(emails):
            raise ValueError("names one of its accounts twice; two users need two accounts")
        if self.mode is Mode.ATTACK and not self.is_local and not (self.authorised_by or "").strip():
            raise ValueError("is not on this machine: mode attack needs authorised_by; name who allowed it")
        for pattern in self.public:
            if pattern.partition(" ")[0] not in ("GET", "HEAD", "*"):
                raise ValueError(f'has in public "{pattern}", which reads nothing; name operations with GET')
        if self.consent is not None and not self.is_local and self.consent.split() != self.words.split():
            raise ValueError(f'consents to something else; to go ahead write consent: "{self.words}"')
        return self

    # Secrets

    def secret(self, name: str) -> Secret | None:
        """The value of a secret key, resolved now; ``None`` when it was not given."""
        value = getattr(self, name)
        if value is None or isinstance(value, Secret):
            return value
        return resolve_secret(value, name=name)

    def references(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every reference to a secret, with the keys that lead to it, also inside of ``accounts`` and ``headers``."""
        for name in type(self).model_fields:
            if is_reference(value := getattr(self, name)):
                yield (name,), value
        for number, account in enumerate(self.accounts):
            if isinstance(account.password, str):
                yield ("accounts", number, "password"), account.password
        for name, value in self.headers.items():
            if is_reference(value):
                yield ("headers", name), value

    def account_password(self, number: int) -> Secret:
        """The password of one of the existing accounts."""
        given = self.accounts[number].password
        return given if isinstance(given, Secret) else resolve_secret(given, name=f"accounts.{number}.password")

    def header_values(self) -> dict[str, str]:
        """The extra headers as they go onto the wire, references resolved."""
        return {
            name: resolve_secret(value, name=f"headers.{name}").reveal() if is_reference(value) else value
            for name, value in self.headers.items()
        }

    # What it offers

    @property
    def surfaces(self) -> frozenset[str]:
        """What can be observed: always ``auth``, ``rest``, ``websocket``; and what else is given."""
        optional = {
            "database": self.database_url,
            "cache": self.redis_url,
            "operator": self.operator_urls or None,
            "second_backend": self.backend_urls[1:] or None,
        }
        return frozenset(
            {"auth", "rest", "websocket", *(name for name, given in optional.items() if given is not None)}
        )

    @property
    def unlocks(self) -> list[str]:
        """The credentials beyond a user's own that were given, by name: each allows further attempts."""
        return [name for name in ("service_secret", "jwt_secret") if getattr(self, name) is not None]

    @property
    def tls(self) -> Tls:
        """Whom to trust over TLS, and what to show."""
        return Tls(
            verify=self.verify_tls,
            ca_bundle=self.ca_bundle,
            certificate=self.client_certificate,
            key=self.client_key,
            password=self.secret("client_key_password"),
        )

    def ssl_context(self) -> ssl.SSLContext:
        """The same, for the clients."""
        return self.tls.context()

    # What may be done

    @property
    def is_local(self) -> bool:
        """Whether everything is on this machine."""
        return all(is_loopback(urlsplit(url).hostname) for url in (self.auth_url, *self.backend_urls))

    @property
    def words(self) -> str:
        """What ``consent`` has to say: the mode and the host that it is about."""
        return f"{self.mode} {urlsplit(self.backend_urls[0]).hostname}"

    @property
    def rate(self) -> float | None:
        """Requests in a second at most; ``None`` for as many as there are."""
        return self.max_requests_per_second or (None if self.is_local else ELSEWHERE_PER_SECOND)

    @property
    def most(self) -> int | None:
        """Requests altogether at most; ``None`` for as many as there are."""
        return self.max_requests or (None if self.is_local else ELSEWHERE_REQUESTS)

    def __repr__(self) -> str:
        return f"<Target {self.auth_url}, {len(self.backend_urls)} backend(s), {self.mode}>"


def with_default_mode(values: dict[str, Any], environment: str) -> dict[str, Any]:
    """A ``target:`` mapping that says its mode."""
    return {"mode": str(default_mode(environment)), **values}


def read_target(values: dict[str, Any], *, where: str, environment: str = "") -> Target:
    """Validate a ``target:`` mapping; without a ``mode`` the environment decides it.

    Raises ParameterError naming ``where``, the key, what is wrong with it and the nearest right key.
    """
    try:
        return Target.model_validate(with_default_mode(values, environment))
    except pydantic.ValidationError as error:
        raise ParameterError(f"{where}: {explain(error, Target, prefix='target')}") from None
