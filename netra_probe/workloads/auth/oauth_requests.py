"""One login through a provider: what it asks for, the session that comes of it, and requests changed on the way.

Whoever sits in a browser sees and may change all that goes through it. State, nonce and PKCE are three answers to that,
and each has to hold by itself.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from netra_probe.clients.auth import AuthClient
from netra_probe.clients.replies import body_of
from netra_probe.forgery import REFUSED
from netra_probe.history.principals import People
from netra_probe.history.untrusted import address
from netra_probe.investigation.survey import survey
from netra_probe.target.deployment import LOOPBACK, Mode
from netra_probe.workloads.auth.oauth import LOGIN, NO_PROVIDER, Browser, configured
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


@dataclass(frozen=True, kw_only=True)
class ProviderLogin:
    """A login through a provider; true when it ended in a session.

    Arguments:
        asked: the parameters of the authorization request.
        session: holds the tokens; ``None`` where the login was refused.
    """

    asked: dict[str, str] = field(repr=False)
    session: AuthClient | None = field(repr=False)

    def __bool__(self) -> bool:
        return self.session is not None


@workload(Mode.ATTACK, "logging in at a provider under any name", withheld=())
async def local_providers(probe: Investigation) -> list[str]:
    """The names of the providers on this machine, where anybody can log in; without one the case is not applicable."""
    found = await survey(probe)
    local = []
    browser = Browser(probe, People(probe.history), probe.users[0])
    try:
        for provider in await configured(probe) if found.auth.offers("GET", LOGIN) else []:
            if address(await browser.begin(provider)).hostname in LOOPBACK:
                local.append(provider)
    finally:
        await browser.close()
    if not local:
        probe.notes.withhold(NO_PROVIDER)
    return local


async def log_in_at(probe: Investigation, user: User, provider: str) -> ProviderLogin:
    """Log a user in through one of ``local_providers``: to it, back to the callback, and on with the tokens."""
    browser = Browser(probe, People(probe.history), user)
    try:
        place = await browser.begin(provider)
        callback = await browser.consent(place)
        who = await browser.come_back(callback, name="own login", expect=user.name, control=True) if callback else ""
    finally:
        await browser.close()
    session = user.new_session() if who else None
    if session is not None:
        session.take(browser.given)
    return ProviderLogin(asked=dict(parse_qsl(urlsplit(place).query)), session=session)


@workload(Mode.ATTACK, "changing other users' logins", title="Logins changed on their way")
async def change_requests(probe: Investigation, owner: User, thief: User) -> Outcome:
    """At every provider the owner logs in with a request that was changed on its way; the thief redeems a stolen code.

    Each change leaves all else right: what is changed is the only reason to refuse the login. Unchanged logins are the
    positive controls.
    """
    providers = await local_providers(probe)
    if not providers:
        return Outcome(users=names((owner, thief)), missing=NO_PROVIDER)
    people = People(probe.history)
    counts = {"providers": len(providers), "own logins": 0}
    for provider in providers:
        counts["own logins"] += bool(await _changed(probe, people, owner, provider, {}))
        for name, change in {
            "with another nonce": {"nonce": secrets.token_urlsafe(32)},
            "with another code challenge": {"code_challenge": secrets.token_urlsafe(32)},
            "without a code challenge": {"code_challenge": "", "code_challenge_method": ""},
        }.items():
            counts[name] = counts.get(name, 0) + bool(await _changed(probe, people, owner, provider, change, name))
        redeemed = await _redeem_stolen(probe, people, owner, thief, provider)
        counts["stolen codes redeemed"] = counts.get("stolen codes redeemed", 0) + redeemed
    return Outcome(users=names((owner, thief)), counts=counts)


async def _changed(
    probe: Investigation, people: People, owner: User, provider: str, change: dict[str, str], name: str = ""
) -> str:
    """As whom a login ends whose request to the provider is changed; "" parameters are taken out of it."""
    browser = Browser(probe, people, owner)
    try:
        parts = urlsplit(await browser.begin(provider))
        query = {key: value for key, value in (dict(parse_qsl(parts.query)) | change).items() if value}
        callback = await browser.consent(parts._replace(query=urlencode(query)).geturl())
        if not name:
            return await browser.come_back(callback, name="own login", expect=owner.name, control=True)
        return await browser.come_back(callback, name=f"login {name}") if callback else ""
    finally:
        await browser.close()


async def _redeem_stolen(probe: Investigation, people: People, owner: User, thief: User, provider: str) -> int:
    """Redeem the owner's code at the provider, before they do, without its verifier and with invented ones."""
    browser = Browser(probe, people, owner)
    try:
        place = await browser.begin(provider)
        asked, code = dict(parse_qsl(urlsplit(place).query)), ""
        callback = await browser.consent(place)
        code = dict(parse_qsl(urlsplit(callback).query)).get("code", "")
    finally:
        await browser.close()
    parts = address(place)
    http = probe.wire.http(f"{parts.scheme}://{parts.netloc}", surface="provider", user=thief.name)
    form = {"grant_type": "authorization_code", "code": code, "client_secret": "none"}
    form |= {name: asked.get(name, "") for name in ("client_id", "redirect_uri")}
    try:
        for guess in ({}, {"code_verifier": secrets.token_urlsafe(32)}, {}):
            mark = {"attempt": "stolen code", "expect": REFUSED}
            reply = await http.request("POST", "/oauth2/token", form=form | guess, anonymous=True, attempt=mark)
            if body_of(reply).get("id_token"):
                return 1
    finally:
        await http.close()
    return 0
