"""Login through a provider: five configurations, bound to the browser that began, once, with proof keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from backend_client import http
from people import PASSWORD

from netra_probe.lab import Lab

PROVIDERS = ["google", "microsoft", "okta", "auth0", "keycloak"]


class Browser:
    """Somebody's browser: it keeps cookies and follows a login by hand."""

    def __init__(self, lab: Lab) -> None:
        self.client = http(lab.parameters["auth_url"])

    async def begin(self, provider: str = "google") -> str:
        """The provider's address that the auth service sends us to."""
        answer = await self.client.get("/auth/login", params={"provider": provider})
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def consent(self, address: str, subject: str) -> str:
        """Log in at the provider; the address of the callback that it sends us to."""
        answer = await self.client.post(address, data={"sub": subject})
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def come_back(self, callback: str) -> httpx.Response:
        """Take that address to the auth service."""
        return await self.client.get(callback)

    async def log_in(self, subject: str, provider: str = "google") -> dict[str, str]:
        """All of it; the tokens."""
        return tokens_in(await self.come_back(await self.consent(await self.begin(provider), subject)))

    async def whoami(self, tokens: dict[str, str]) -> dict[str, str]:
        """The account behind tokens."""
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        body: dict[str, str] = (await self.client.get("/auth/me", headers=headers)).json()
        return body


Browsers = Callable[[], Browser]


@pytest.fixture
async def browsers(lab: Lab) -> AsyncIterator[Browsers]:
    """New browsers, closed after the test."""
    opened: list[Browser] = []

    def another() -> Browser:
        opened.append(Browser(lab))
        return opened[-1]

    yield another
    for browser in opened:
        await browser.client.aclose()


def tokens_in(answer: httpx.Response) -> dict[str, str]:
    """The tokens in the redirect to the front end."""
    assert answer.status_code == 302, answer.text
    location = urlsplit(answer.headers["location"])
    assert f"{location.scheme}://{location.netloc}" == "http://localhost:3000"
    assert not location.query, "tokens in a query end in logs"
    return {name: values[0] for name, values in parse_qs(location.fragment).items()}


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_each_provider_opens_an_account(
    browsers: Browsers, unique_email: Callable[[str], str], provider: str
) -> None:
    browser, email = browsers(), unique_email(provider)
    account = await browser.whoami(await browser.log_in(email, provider))
    assert (account["email"], account["auth_provider"]) == (email, provider)
    again = await browser.whoami(await browser.log_in(email, provider))
    assert again["user_id"] == account["user_id"]


async def test_configurations_differ_and_each_asks_for_proof(browsers: Browsers) -> None:
    browser = browsers()
    queries = [parse_qs(urlsplit(await browser.begin(provider)).query) for provider in PROVIDERS]
    assert len({query["client_id"][0] for query in queries}) == 5
    for name in ("state", "nonce", "code_challenge"):
        assert len({query[name][0] for query in queries}) == 5
    assert {query["code_challenge_method"][0] for query in queries} == {"S256"}


async def test_a_callback_in_another_browser_is_refused_and_does_no_harm(
    browsers: Browsers, unique_email: Callable[[str], str]
) -> None:
    alice, mallory = browsers(), browsers()
    callback = await alice.consent(await alice.begin(), unique_email("alice"))
    await mallory.begin()
    assert (await mallory.come_back(callback)).status_code == 401
    assert "access_token" in tokens_in(await alice.come_back(callback)), "the owner can still finish"


async def test_a_callback_works_once(browsers: Browsers, unique_email: Callable[[str], str]) -> None:
    browser = browsers()
    callback = await browser.consent(await browser.begin(), unique_email("alice"))
    answers = await asyncio.gather(*(browser.come_back(callback) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [302] + [401] * 5
    assert (await browser.come_back(callback)).status_code == 401


async def test_interleaved_logins_do_not_mix(browsers: Browsers, unique_email: Callable[[str], str]) -> None:
    people = [(browsers(), unique_email(f"user{number}")) for number in range(4)]
    addresses = [await browser.begin(PROVIDERS[number]) for number, (browser, _) in enumerate(people)]
    callbacks = [
        await browser.consent(address, email) for (browser, email), address in zip(people, addresses, strict=True)
    ]
    for (browser, email), callback in reversed(list(zip(people, callbacks, strict=True))):
        assert (await browser.whoami(tokens_in(await browser.come_back(callback))))["email"] == email


async def test_two_logins_in_one_browser_both_finish(browsers: Browsers, unique_email: Callable[[str], str]) -> None:
    browser, first, second = browsers(), unique_email("first"), unique_email("second")
    addresses = [await browser.begin("google"), await browser.begin("okta")]
    callbacks = [
        await browser.consent(address, email) for address, email in zip(addresses, (first, second), strict=True)
    ]
    emails = [(await browser.whoami(tokens_in(await browser.come_back(callback))))["email"] for callback in callbacks]
    assert emails == [first, second]


async def test_a_code_for_another_login_is_refused(browsers: Browsers, unique_email: Callable[[str], str]) -> None:
    alice, mallory = browsers(), browsers()
    stolen = parse_qs(urlsplit(await alice.consent(await alice.begin(), unique_email("alice"))).query)["code"][0]
    own = urlsplit(await mallory.consent(await mallory.begin(), unique_email("mallory")))
    state = parse_qs(own.query)["state"][0]
    injected = f"{own.scheme}://{own.netloc}{own.path}?code={stolen}&state={state}"
    assert (await mallory.come_back(injected)).status_code == 401


async def test_an_unchecked_address_does_not_open_an_existing_account(
    browsers: Browsers, unique_email: Callable[[str], str]
) -> None:
    browser, email = browsers(), unique_email("alice")
    await browser.client.post("/auth/register", json={"email": email, "password": PASSWORD})
    callback = await browser.consent(await browser.begin(), email)
    assert (await browser.come_back(callback)).status_code == 401


async def test_a_checked_address_opens_the_existing_account(
    lab: Lab, browsers: Browsers, unique_email: Callable[[str], str]
) -> None:
    browser, email = browsers(), unique_email("alice")
    registered = await browser.client.post("/auth/register", json={"email": email, "password": PASSWORD})
    provider = lab.state["services"]["oidc"]["url"]
    subject = f"checked-{email}"
    await browser.client.put(f"{provider}/users/{subject}", json={"email": email, "email_verified": True})
    account = await browser.whoami(await browser.log_in(subject))
    assert account["user_id"] == registered.json()["user"]["id"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/auth/login?provider=nobody", 400),
        ("/auth/callback", 400),
        ("/auth/callback?code=x", 400),
        ("/auth/callback?code=x&state=y", 401),
        ("/auth/oauth/callback?code=x&state=%00", 401),
        ("/auth/callback?error=access_denied", 401),
    ],
)
async def test_broken_logins_are_refused(auth: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await auth.get(path)
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)


async def test_the_provider_wants_the_verifier_behind_the_challenge(
    lab: Lab, browsers: Browsers, unique_email: Callable[[str], str]
) -> None:
    browser = browsers()
    callback = await browser.consent(await browser.begin(), unique_email("alice"))
    form = {
        "grant_type": "authorization_code",
        "code": parse_qs(urlsplit(callback).query)["code"][0],
        "redirect_uri": callback.split("?")[0],
    }
    for guess in ({"code_verifier": "guess"}, {}, {"code_verifier": "guess"}):
        answer = await browser.client.post(
            f"{lab.state['services']['oidc']['url']}/oauth2/token", data=form | guess, auth=("netra-google-test", "any")
        )
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert "access_token" in tokens_in(await browser.come_back(callback)), "the owner can still finish"


async def test_a_login_whose_challenge_was_taken_out_is_refused(
    browsers: Browsers, unique_email: Callable[[str], str]
) -> None:
    browser = browsers()
    place = urlsplit(await browser.begin())
    query = {name: values[0] for name, values in parse_qs(place.query).items() if not name.startswith("code_challenge")}
    callback = await browser.consent(place._replace(query=urlencode(query)).geturl(), unique_email("alice"))
    assert (await browser.come_back(callback)).status_code == 401
