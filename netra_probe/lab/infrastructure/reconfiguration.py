"""Change settings and rotate secrets of a running lab: write the files, have every service read them, listen to it.

The auth service comes first, so that a rotated secret is accepted before anybody shows it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from netra_probe.lab.infrastructure import services
from netra_probe.lab.infrastructure.errors import LabError
from netra_probe.lab.infrastructure.requests import post_json

if TYPE_CHECKING:
    from netra_probe.lab.infrastructure.launch import Launch

RELOAD_SECONDS = 5.0
CONFIGURED = ("auth", "backend-1", "backend-2")
"""The services that follow their configuration, in the order in which they hear of changes."""
_PREFIXES = ("AUTH_SERVICE_", "BACKEND_", "")

ROTATED: Mapping[str, str] = {"JWT_SECRET_KEY": "jwt", "SERVICE_SECRET": "service"}
"""Secrets that can be rotated, and where the lab keeps them."""

Changed = dict[str, list[str]]


async def configure(lab: Launch, changes: Mapping[str, str | None]) -> Changed:
    """Set settings, or take back with None what was set; all of it or, when a service refuses, nothing."""
    for name, value in changes.items():
        if any(character in f"{name}{value}" for character in "\r\n\0"):
            raise LabError(f"{name!r} cannot be set: names and values are one line each")
    before = lab.configuration.read("runtime")
    after = {name: value for name, value in {**before, **changes}.items() if value is not None}
    lab.configuration.write("runtime", after)
    replies = await _reload(lab)
    problem = _unknown(changes, replies) or _refused(changes, replies)
    if problem:
        lab.configuration.write("runtime", before)
        await _reload(lab)
        raise LabError(problem)
    return {name: reply["changed"] for name, reply in replies.items()}


async def rotate(lab: Launch, name: str) -> Changed:
    """Give a secret a new value; services accept the former one for ``SECRET_OVERLAP_SECONDS`` more."""
    if name not in ROTATED:
        raise LabError(f"{name} cannot be rotated; there are: {', '.join(ROTATED)}")
    secret = services.new_secret()
    lab.configuration.write_secret(name, secret)
    new: Any = {ROTATED[name]: secret}
    lab.secrets = dataclasses.replace(lab.secrets, **new)
    lab.at = dataclasses.replace(lab.at, secrets=lab.secrets)
    return {service: reply["changed"] for service, reply in (await _reload(lab)).items()}


async def _reload(lab: Launch) -> dict[str, dict[str, Any]]:
    replies: dict[str, dict[str, Any]] = {}
    for name in CONFIGURED:
        child = lab.children.by_name.get(name)
        if child is None or child.ended.done():
            continue  # it reads the files when it starts
        url, headers = f"{lab.at.url(name)}/lab/reload", {"X-Lab-Operator": lab.secrets.operator}
        status, reply = await asyncio.to_thread(post_json, url, headers, RELOAD_SECONDS)
        if status != 200:
            raise LabError(f"{name} did not read its configuration again (HTTP {status}).")
        replies[name] = reply
    return replies


def _unknown(changes: Mapping[str, str | None], replies: Mapping[str, Mapping[str, Any]]) -> str | None:
    declared = {f"{prefix}{name}" for reply in replies.values() for name in reply["declared"] for prefix in _PREFIXES}
    for name in changes:
        if declared and name not in declared:
            close = difflib.get_close_matches(name, declared, n=1)
            return f"no service has a setting {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
    return None


def _refused(changes: Mapping[str, str | None], replies: Mapping[str, Mapping[str, Any]]) -> str | None:
    for service, reply in replies.items():
        for name, problem in reply["rejected"].items():
            if name == "files" or any(f"{prefix}{name}" in changes for prefix in _PREFIXES):
                return f"{service} refuses: {problem}"
    return None
