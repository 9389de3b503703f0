"""Secrets by reference: where a value is to be looked up, and what is behind it at the moment it is used.

A parameter file, a ``-p`` and an executed notebook hold ``env:NAME`` or ``keyring:service/name`` and never the value.
"""

from __future__ import annotations

import os
import re
from typing import Annotated

import pydantic

from netra_probe.errors import ParameterError, did_you_mean
from netra_probe.history.secret import Secret

SCHEMES = ("env:", "keyring:")


def is_reference(value: object) -> bool:
    """Whether this says where a secret is, rather than what it is."""
    return isinstance(value, str) and value.startswith(SCHEMES)


def resolve_secret(reference: str, *, name: str) -> Secret:
    """The value behind ``env:NAME`` or ``keyring:service/name``.

    Raises ParameterError when there is nothing behind it, naming the key and the reference, never a value.
    """
    try:
        return look_up(reference)
    except LookupError as error:
        raise ParameterError(f"target.{name}: {error.args[0]}") from None


def look_up(reference: str) -> Secret:
    """The value behind a reference. Raises LookupError with one sentence on what is missing and what to do."""
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        value = os.environ.get(rest)
        if not value:
            raise LookupError(f"the environment variable {rest} is not set; {_nearest_variable(rest)}")
        return Secret(value)
    if scheme == "keyring" and "/" in rest:
        service, _, account = rest.partition("/")
        try:
            import keyring

            value = keyring.get_password(service, account)
        except Exception as error:
            # A backend is somebody else's program: one that is configured and not there raises what it likes.
            raise LookupError(f"no keyring can be used here ({type(error).__name__}); use env:NAME.") from None
        if not value:
            raise LookupError(f"the keyring has nothing under {rest}; store it with `keyring set {service} {account}`.")
        return Secret(value)
    raise LookupError(
        "secrets are given by reference only, as env:NAME or keyring:service/name, "
        "because parameters are stored in every executed notebook."
    )


def problem_of_url(name: str, value: str) -> str:
    """What is wrong with the URL of a store, as the rest of a sentence, or ""; nothing of the URL is repeated.

    A password with ``@ : / # ?`` in it that was not percent-encoded makes a URL of something else, or none.
    """
    kinds = {
        "redis_url": ("Redis", ("redis", "rediss", "unix"), "redis://user:password@host:6379/0"),
        "database_url": ("PostgreSQL", ("postgresql", "postgres"), "postgresql://user:password@host:5432/database"),
    }
    if (kind_of := name.removeprefix("scratch_")) not in kinds:
        return ""
    kind, schemes, example = kinds[kind_of]
    remedy = f"write {example}, with the password percent-encoded"
    scheme, found, rest = value.partition("://")
    if not found or scheme not in schemes:
        return f"is no {kind} URL; {remedy}"
    credentials, _, behind = rest.rpartition("@")
    if set(credentials) & set("/?#@[] ") or credentials.count(":") > 1:
        return f"holds characters in its credentials that mean something else in a URL; {remedy}"
    hosts = re.split("[/?#]", behind)[0]
    ports = [match[1] for match in re.finditer(r":([^:,\]]*)(?=,|$)", hosts)]
    if any(port and not (port.isascii() and port.isdigit() and int(port) < 65536) for port in ports):
        return f"has no number for a port; {remedy}"
    return ""


def _nearest_variable(wanted: str) -> str:
    """What to do about a variable that is not there: perhaps it is there by a name that is almost the same."""
    set_ones = [name for name, value in os.environ.items() if value and _alike(name, wanted)]
    hint = did_you_mean(wanted, set_ones) if set_ones else ""
    return hint if hint.startswith("did you mean") else "export it, then run again."


def _alike(name: str, wanted: str) -> bool:
    # Names of other things in the environment are nobody's business: only near misses are candidates.
    return bool(set(name.casefold().split("_")) & set(wanted.casefold().split("_"))) and len(name) > 3


def _reference(value: object) -> object:
    """Accept a reference, or a Secret that was handed over in memory (the lab's own)."""
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str) or not is_reference(value):
        raise ValueError("must be a reference (env:NAME or keyring:service/name), never the secret itself")
    scheme, _, rest = value.partition(":")
    if not rest.strip() or (scheme == "keyring" and not all(rest.partition("/")[::2])):
        raise ValueError("is a reference to nothing; write env:NAME or keyring:service/name")
    return value


Reference = Annotated[Secret | str, pydantic.PlainValidator(_reference)]
