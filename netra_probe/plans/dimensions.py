"""What can be combined with what: every dimension of a step, its values, what is impossible and why, what comes first.

Two things that no table of faults gives are decided here and nowhere else. A combination is left out only for a reason
that is written down beside it, and the reason stands in the coverage. And harm decides the order: reads before writes,
one's own before another's, the ordinary before the odd.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from netra_probe.plans.offers import HANDSHAKE, Offer, Offers
from netra_probe.plans.steps import (
    Channel,
    Connection,
    Disturbance,
    Listeners,
    Place,
    Principal,
    Role,
    Spelling,
    Step,
    Timing,
)

#: Dimensions beside the operation itself; in each the ordinary value comes first, and harm grows to the right.
DIMENSIONS: Mapping[str, type[StrEnum]] = {
    "principal": Principal,
    "channel": Channel,
    "place": Place,
    "spelling": Spelling,
    "timing": Timing,
    "connection": Connection,
    "disturbance": Disturbance,
    "listeners": Listeners,
}
#: Roles in the order in which they are done: what shows nothing and changes nothing first, what destroys last.
ORDER = (
    Role.COUNT, Role.LIST, Role.SEARCH, Role.READ, Role.CONNECT, Role.CREATE, Role.START, Role.UPDATE, Role.EXPORT,
    Role.ISSUE, Role.STOP, Role.DELETE, Role.END,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A value that an operation, or a target, does not have."""

    value: StrEnum
    unless: Callable[[Offer, Offers], bool]
    because: str


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """Values of two dimensions that do not go together."""

    fields: tuple[str, str]
    holds: Callable[..., bool]
    because: str


def _has(what: str) -> Callable[[Offer, Offers], bool]:
    return lambda offer, target: what in target.has


def _on(*surfaces: str) -> Callable[[Offer, Offers], bool]:
    return lambda offer, target: offer.surface in surfaces


def _takes(place: Place) -> Callable[[Offer, Offers], bool]:
    return lambda offer, target: place in offer.takes


def _handshake(offer: Offer, target: Offers) -> bool:
    return offer.name == HANDSHAKE


def _http_or_handshake(offer: Offer, target: Offers) -> bool:
    return offer.surface != "websocket" or offer.name == HANDSHAKE


#: Values that are impossible for an operation by itself.
MISSING: tuple[Missing, ...] = (
    *(
        Missing(value=principal, unless=_has("attack"), because="acting on another user's objects needs mode attack")
        for principal in Principal
        if not principal.is_owner
    ),
    Missing(value=Principal.SESSION, unless=_has("login"), because="nobody can log in twice"),
    Missing(value=Principal.NAMESAKE, unless=_has("registration"), because="no further account can be had"),
    Missing(
        value=Principal.REGISTERED_AGAIN,
        unless=_has("removal"),
        because="accounts cannot be removed and registered again",
    ),
    Missing(value=Principal.ENDED, unless=_has("logout"), because="a session cannot be logged out"),
    Missing(value=Principal.NOBODY, unless=_http_or_handshake, because="whoever has no credential has no socket"),
    Missing(value=Principal.SERVICE, unless=_on("rest", "auth"), because="services show their secret to HTTP only"),
    Missing(value=Principal.ENDED, unless=_http_or_handshake, because="an ended session has no socket"),
    Missing(
        value=Principal.REGISTERED_AGAIN,
        unless=_on("rest", "auth"),
        because="what is left of a former account is looked for over HTTP",
    ),
    Missing(value=Channel.COOKIE, unless=_http_or_handshake, because="a message carries no cookie"),
    Missing(value=Channel.QUERY, unless=_http_or_handshake, because="a message has no query"),
    Missing(value=Channel.SUBPROTOCOL, unless=_handshake, because="only handshakes have sub-protocols"),
    Missing(
        value=Channel.MESSAGE,
        unless=lambda offer, target: offer.surface == "websocket" and offer.name != HANDSHAKE,
        because="only on an open socket a message can carry a credential",
    ),
    *(
        Missing(value=place, unless=_takes(place), because="no id stands there")
        for place in Place
        if place is not Place.NOWHERE
    ),
    Missing(
        value=Spelling.MISSING,
        unless=lambda offer, target: not offer.role.has_effect,
        because="where nothing is nothing can be changed",
    ),
    Missing(value=Timing.DURING_RUN, unless=_has("websocket"), because="runs are started over sockets"),
    Missing(
        value=Timing.AFTER_DELETE,
        unless=lambda offer, target: bool(offer.removal) and Place.PATH in offer.takes and not offer.role.has_effect,
        because="what it names cannot be deleted",
    ),
    Missing(
        value=Connection.OTHER_BACKEND,
        unless=lambda offer, target: target.backends > 1 and offer.surface != "auth",
        because="there is one backend",
    ),
    Missing(value=Connection.SHARED, unless=_on("rest"), because="a socket is one user's"),
    Missing(value=Connection.AFTER_LARGE, unless=_on("rest"), because="a socket is one user's"),
    Missing(value=Disturbance.CANCELLED, unless=_on("rest", "auth"), because="a message cannot be taken back"),
    Missing(value=Disturbance.CUT, unless=_has("websocket"), because="there is no socket to cut"),
    Missing(value=Listeners.IDLE, unless=_has("websocket"), because="there is no socket to listen on"),
    Missing(value=Listeners.ACTIVE, unless=_has("websocket"), because="there is no socket to listen on"),
    Missing(value=Listeners.SSE, unless=_has("sse"), because="nothing is streamed"),
    Missing(
        value=Listeners.ABSENT,
        unless=lambda offer, target: not offer.role.has_effect or not target.has & {"websocket", "sse"},
        because="what has an effect is done while others listen",
    ),
)

#: Values that do not go together.
EXCLUDED: tuple[Exclusion, ...] = (
    Exclusion(
        fields=("principal", "place"),
        holds=lambda principal, place: principal.is_owner and place is not Place.NOWHERE,
        because="an owner's own value is not foreign",
    ),
    Exclusion(
        fields=("principal", "place"),
        holds=lambda principal, place: principal in (Principal.OTHER, Principal.NAMESAKE) and place is Place.NOWHERE,
        because="everybody owns their own objects",
    ),
    Exclusion(
        fields=("principal", "place"),
        holds=lambda principal, place: principal in (Principal.ENDED, Principal.REGISTERED_AGAIN) and place.claims,
        because="it is the owner's own id that would be claimed",
    ),
    Exclusion(
        fields=("principal", "channel"),
        holds=lambda principal, channel: (
            principal in (Principal.NOBODY, Principal.SERVICE) and channel is not Channel.HEADER
        ),
        because="there is no token to carry",
    ),
    Exclusion(
        fields=("place", "spelling"),
        holds=lambda place, spelling: (
            spelling is not Spelling.ID and place not in (Place.PATH, Place.QUERY, Place.MESSAGE, Place.ARGUMENT)
        ),
        because="only an id that names an object is spelled otherwise",
    ),
    Exclusion(
        fields=("principal", "spelling"),
        holds=lambda principal, spelling: (
            spelling is Spelling.MISSING and principal not in (Principal.OTHER, Principal.NAMESAKE)
        ),
        because="what does not exist is nobody's; a user asks for it",
    ),
    Exclusion(
        fields=("timing", "place"),
        holds=lambda timing, place: timing is Timing.AFTER_DELETE and place not in (Place.NOWHERE, Place.PATH),
        because="the deleted object is named in the path",
    ),
    Exclusion(
        fields=("timing", "spelling"),
        holds=lambda timing, spelling: timing is Timing.AFTER_DELETE and spelling is not Spelling.ID,
        because="the deleted object is named by its id",
    ),
    Exclusion(
        fields=("disturbance", "listeners"),
        holds=lambda disturbance, listeners: (
            disturbance is Disturbance.CUT and listeners not in (Listeners.IDLE, Listeners.ACTIVE)
        ),
        because="nobody is there to be cut",
    ),
)


def possible(offer: Offer, target: Offers) -> tuple[dict[str, list[StrEnum]], list[tuple[StrEnum, str]]]:
    """The values that an operation can have in each dimension, and those that it cannot, with the reason."""
    gone: dict[StrEnum, str] = {}
    for missing in MISSING:
        if missing.value not in gone and not missing.unless(offer, target):
            gone[missing.value] = missing.because
    values = {name: [value for value in kind if value not in gone] for name, kind in DIMENSIONS.items()}
    return values, list(gone.items())


def excluded(values: Mapping[str, Any]) -> str:
    """Why a combination is impossible; "" where it is not. Dimensions that are not given may have any value."""
    for one in EXCLUDED:
        if all(name in values for name in one.fields) and one.holds(*(values[name] for name in one.fields)):
            return one.because
    return ""


def harm(step: Step) -> tuple[bool, bool, int, int, int]:
    """Where a step stands in the order of what is done.

    Owners make what all others need; what needs no listeners is done before they come; then by its role, by whose
    objects it touches, and by how odd it is.
    """
    makes = step.principal.is_owner and bool(step.makes)
    oddness = sum(list(kind).index(getattr(step, name)) for name, kind in DIMENSIONS.items())
    unheard = step.listeners is Listeners.ABSENT
    return not makes, not unheard, ORDER.index(step.role), list(Principal).index(step.principal), oddness
