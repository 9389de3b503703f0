"""Logging in through a provider, as two browsers do it at once: a callback counts only where its login began.

The accounts are the probe's own: the provider vouches for their addresses. That takes a provider which lets anybody in
and believes what it is told, so it is one on this machine (the lab's), or the act is not offered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, parse_qsl

from netra_probe.clients.replies import Answered, body_of
from netra_probe.forgery import REFUSED
from netra_probe.history import actions
from netra_probe.history.principals import UNNAMED, People
from netra_probe.history.secret import Secret
from netra_probe.history.untrusted import address
from netra_probe.investigation.survey import survey
from netra_probe.target.deployment import LOOPBACK, Mode
from netra_probe.workloads.auth.attempts import claims, outcome_of
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User

LOGIN, CONFIG = "/auth/login", "/auth/config"
USUAL_PROVIDER = "google"
NO_PROVIDER = "an OAuth provider on this machine"


class Browser:
    """Somebody's browser: it keeps cookies, and follows a login step by step."""

    def __init__(self, probe: Investigation, people: People, user: User) -> None:
        self.user = user
        self._probe = probe
        self._people = people
        #: What the address said that the last callback sent one on to: the tokens of a login.
        self.given: dict[str, str] = {}
        self._http = probe.wire.http(probe.target.auth_url, surface="auth", user=user.name)

    async def begin(self, provider: str) -> str:
        """Ask for a login; the address at the provider that one is sent to, or "" when the target offers none."""
        reply = await self._http.request("GET", LOGIN, query={"provider": provider}, anonymous=True)
        return reply.location if isinstance(reply, Answered) else ""

    async def consent(self, place: str) -> str:
        """Log in at the provider; the address of the callback that it sends one back to, or ""."""
        parts = address(place)
        http = self._probe.wire.http(f"{parts.scheme}://{parts.netloc}", surface="provider", user=self.user.name)
        try:
            claimed = {"email": self.user.email, "email_verified": True, "name": self.user.name}
            await http.request("PUT", "/users/{subject}", path={"subject": self.user.email}, json=claimed)
            form = {"sub": self.user.email}
            reply = await http.request("POST", parts.path, query=dict(parse_qsl(parts.query)), form=form)
        finally:
            await http.close()
        return reply.location if isinstance(reply, Answered) else ""

    async def come_back(self, callback: str, *, name: str, expect: str = REFUSED, control: bool = False) -> str:
        """Open a callback here; the user id of whoever one is logged in as, or "".

        Recorded as an attempt: ``name`` says what is wrong with it, ``expect`` whom it may make one.
        """
        detail = {"attempt": name, "expect": expect, "control": control, "phase": "login through a provider"}
        call = self._probe.history.invoke(
            actions.ATTEMPT, user=self.user.name, connection=f"{self.user.name}/browser", surface="auth", detail=detail
        )
        parts = address(callback)
        mark = {} if control else {"attempt": name, "expect": expect}
        reply = await self._http.request(
            "GET", parts.path, query=dict(parse_qsl(parts.query)), anonymous=True, attempt=mark
        )
        parts = address(reply.location if isinstance(reply, Answered) else "")
        said = parse_qs(parts.fragment) | parse_qs(parts.query)
        self.given = {name: values[0] for name, values in said.items()}
        who = self._who(self.given.get("access_token", self.given.get("token", "")))
        self._probe.history.complete(call, outcome_of(reply), ids={"user_id": who} if who else {})
        return who

    def _who(self, token: str) -> str:
        """Whose token this is."""
        if not token:
            return ""
        said = claims(Secret(token)).get("sub")
        return self._people.whole(said) if isinstance(said, str) else UNNAMED

    async def close(self) -> None:
        await self._http.close()


@workload(Mode.ATTACK, "opening other browsers' callbacks", title="OAuth logins with swapped callbacks")
async def log_in_through(probe: Investigation, first: User, second: User) -> Outcome:
    """Both log in through every provider, interleaved; then each opens what is the other's, or was used, or is forged.

    Triggers A8. Callbacks that are opened where they belong are the positive controls.
    """
    found = await survey(probe)
    providers = await configured(probe) if found.auth.offers("GET", LOGIN) else []
    people = People(probe.history)
    browsers = [Browser(probe, people, user) for user in (first, second)]
    one, other = browsers
    opened: list[tuple[str, str]] = []
    logins = 0
    try:
        for provider in providers:
            callbacks = []
            for browser in browsers:
                callbacks.append(await _callback(browser, provider))
            for browser, callback in reversed(list(zip(browsers, callbacks, strict=True))):
                if callback:
                    name = browser.user.name
                    logins += bool(await browser.come_back(callback, name="own login", expect=name, control=True))
            if all(callbacks):
                opened.append((provider, callbacks[0]))
        if not opened:
            return Outcome(users=names((first, second)), missing=NO_PROVIDER)
        provider, used = opened[0]
        forged = [await one.come_back(used, name="callback used before")]
        forged += await _swap(probe, people, one, other, provider)
    finally:
        for browser in browsers:
            await browser.close()
    counts = {"providers": len(opened), "logins": logins, "forged callbacks": len(forged)}
    counts["refused"] = sum(not who for who in forged)
    return Outcome(users=names((first, second)), counts=counts)


async def _swap(probe: Investigation, people: People, one: Browser, other: Browser, provider: str) -> list[str]:
    """A callback of one browser in the other, in one that began nothing, without and with another state."""
    callback, own = await _callback(one, provider), await _callback(other, provider)
    stranger = Browser(probe, people, other.user)
    try:
        code, state = _parameter(callback, "code"), _parameter(own, "state")
        path = address(callback).path
        forged = [
            await other.come_back(callback, name="callback of another browser"),
            await stranger.come_back(callback, name="callback of another browser"),
            await other.come_back(f"{path}?code={code}", name="callback without a state"),
            await other.come_back(f"{path}?code={code}&state={'0' * 43}", name="callback with an invented state"),
            await other.come_back(f"{path}?code={code}&state={state}", name="code of another login"),
        ]
    finally:
        await stranger.close()
    # Whether its owner can still finish is up to the target; whom it makes the owner is not.
    await one.come_back(callback, name="own login, after others tried", expect=one.user.name)
    again = await _callback(one, provider)
    await one.come_back(again, name="own login", expect=one.user.name, control=True)
    return forged


async def _callback(browser: Browser, provider: str) -> str:
    """Begin a login and log in at the provider: the callback, not yet opened."""
    place = await browser.begin(provider)
    if address(place).hostname not in LOOPBACK:
        return ""
    return await browser.consent(place)


async def configured(probe: Investigation) -> list[str]:
    """The providers that the auth service says it has."""
    http = probe.wire.http(probe.target.auth_url, surface="auth")
    try:
        reply = await http.request("GET", CONFIG, anonymous=True)
    finally:
        await http.close()
    said = body_of(reply).get("oauth_providers")
    known = [name for name in said if isinstance(name, str)] if isinstance(said, list) else []
    return known or [USUAL_PROVIDER]


def _parameter(place: str, name: str) -> str:
    return parse_qs(address(place).query).get(name, [""])[0]
