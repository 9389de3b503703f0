"""Every rule of hygiene is red on a lab with its defect, cites its clause, and is silent on the healthy lab."""

from __future__ import annotations

import pytest
from composing import Composed
from looking import MODULES, everything, found, judged

from netra_probe import Investigation, investigate, workloads
from netra_probe.checkers import from_options, hygiene
from netra_probe.checkers.hygiene import RULES, TOPICS
from netra_probe.display.views import HYGIENE
from netra_probe.lab import Lab, Variant
from netra_probe.target.lab import as_target

#: Kind → what is said of it on the careless lab.
SHOWN = {
    "stated lifetime is not the real one": "the access token is said to live",
    "token without expiry": "the refresh token carries no expiry",
    "access token lives too long": "the access token lives 720 hours",
    "unsigned token": "the refresh token is signed with alg none",
    "token signed with a known key": "the access token is signed with a key of the published lists",
    "token without audience": "the refresh token names no audience",
    "secret in a token": "the refresh token carries the claim password",
    "log-in gives a token out twice": "the refresh token of an earlier answer is given out again: POST /auth/login",
    "personal answer may be cached": "GET /auth/me, GET /auth/users/{user_id}, POST /auth/login, POST /auth/logout",
    "cookie without protection": "a cookie is set without HttpOnly and SameSite: GET /auth/login",
    "credential in an address": "one is sent on with access_token, refresh_token in the query",
    "token accepted in the query": "a token in the query is as good as one in the header: GET /api/users/me",
    "other origins are let in": "an origin that nobody knows is allowed, with credentials: GET /api/users/me",
    "version of the software told": "the header server tells a version",
    "refusal as server error": "a refusal comes as status 500: GET /api/threads/{thread_id}/messages",
    "malformed request as server error": "a request with a quote in its id is answered with status 500",
    "error shows a stack trace": "GET /auth/users/{user_id}",
    "error shows a query": "GET /auth/users/{user_id}",
    "error shows an error of the database": "GET /auth/users/{user_id}",
    "error shows a path of the file system": "GET /auth/users/{user_id}",
    "error shows an address with credentials": "GET /auth/users/{user_id}",
    "error repeats a credential": "an error repeats an Authorization header: GET /auth/me",
    "password hash in an answer": "an answer holds password_hash: GET /auth/users/{user_id}",
    "existence oracle": "a foreign object is refused with 403, a missing one with 404, and the ids can be guessed",
    "foreign origin accepted": "a handshake from another origin is accepted",
    "socket open without authentication": "a socket without any credential is let in and served",
    "announced message size is not the enforced one": "a message over the announced size is taken",
    "announced quota is not enforced": "5 requests are announced as the limit, and 6 in a row are served",
    "accounts that differ only in case": "an address that differs only in case is registered once more",
    "short password accepted": "a password of seven characters is accepted",
    "common password accepted": "one of the most common passwords is accepted",
    "password is cut": "the first 72 characters of a longer password are enough",
    "log-in tells who has an account": "a wrong password is refused with 401, an unknown address with 404",
    "no limit on guessing passwords": "12 wrong passwords in a row changed nothing; the right one works at once",
}
#: What would hide others there, and is shown on a lab of its own.
ELSEWHERE = {
    "long password refused",
    "healthy with a dead dependency",
    "session goes on after its refresh token came back",
}
#: The rule about what errors show names each thing by itself.
OF_SEVERAL_KINDS = {"error shows the inside"}


async def test_nothing_is_objected_to_on_the_healthy_lab_and_acts_say_the_same_over_its_recording() -> None:
    probe = await investigate("S2", users=2)
    said = [repr(outcome) for outcome in await everything(probe)]
    judgement = hygiene(*TOPICS)(list(probe.history))
    await probe.close()
    assert found(judgement) == {}
    assert judgement.doubts == ()
    again = await investigate("S2", users=2, target={"replay": str(probe.history.path)})
    assert [repr(outcome) for outcome in await everything(again)] == said
    await again.close()


@pytest.mark.parametrize("kind", SHOWN)
def test_each_defect_is_objected_to(careless: dict[str, str], kind: str) -> None:
    assert SHOWN[kind] in careless.get(kind, "nothing")


def test_nothing_else_is_objected_to(careless: dict[str, str]) -> None:
    assert set(careless) - set(SHOWN) == set()


def test_every_rule_is_shown_somewhere() -> None:
    assert {rule.kind for rule in RULES} - OF_SEVERAL_KINDS == (set(SHOWN) | ELSEWHERE) - {
        kind for kind in SHOWN if kind.startswith("error shows")
    }
    assert all(rule.clause and rule.demand and rule.topic in TOPICS for rule in RULES)


@pytest.mark.nightly
def test_the_other_side_of_a_rule_is_objected_to_as_well(otherwise: Lab) -> None:
    async def some(probe: Investigation) -> None:
        alice, bob = probe.users
        await workloads.bring_back_refresh_token(probe, alice)
        await workloads.try_handshakes(probe, alice)
        await workloads.try_sizes(probe, alice)
        await workloads.try_registrations(probe, alice)
        await workloads.compare_logins(probe, bob)
        await workloads.ask_health(probe, alice)

    assert found(judged(otherwise, some)) == {
        "announced message size is not the enforced one": "a message within the announced size is not taken (1 time)",
        "error repeats a credential": "an error repeats a token: a frame (1 time)",
        "healthy with a dead dependency": "health says healthy, and of redis the contrary: GET /health (2 times)",
        "log-in tells who has an account": (
            "a wrong password is refused in other words than an unknown address: POST /auth/login (1 time)"
        ),
        "long password refused": "a password of 80 characters is refused: POST /auth/register (1 time)",
        "session goes on after its refresh token came back": (
            "a session goes on whose used refresh token came back through POST /auth/refresh (1 time)"
        ),
    }


@pytest.mark.parametrize(
    "faults",
    [("Q-HEALTH",), pytest.param((), marks=pytest.mark.nightly)],
    ids=["constant health", "honest health"],
)
def test_health_that_is_well_over_a_dead_store_is_objected_to(compose: Composed, faults: tuple[str, ...]) -> None:
    lab = compose(faults, MODULES)

    async def without_redis(probe: Investigation) -> None:
        lab.kill_service("redis")
        try:
            await workloads.ask_health(probe, probe.users[0])
        finally:
            lab.start_service("redis")

    said = found(judged(lab, without_redis))
    if faults:
        told = said["healthy with a dead dependency"]
        assert "health says healthy while GET /api/threads cannot be served: GET /health" in told
    else:
        assert said == {}


async def test_hygiene_issues_leave_the_verdict_as_it_is_and_stand_by_themselves(otherwise: Lab) -> None:
    probe = await investigate("S2", users=2, target=as_target(otherwise))
    try:
        await workloads.try_sizes(probe, probe.users[0])
        view = probe.check("S2.3", hygiene())
        assert view.verdict == "pass"
        assert view.result.reason == "hygiene: 1 issue"
        assert f"  {HYGIENE}\n  hygiene · announced message size" in view.text()
        assert "OWASP ASVS 5.0 2.3.2" in " ".join(view.text().split()) and HYGIENE in view.html()
        assert "0 finding(s), 1 of hygiene" in probe.verdict().text()
        (finding,) = (found for case in probe.result().as_record()["cases"] for found in case["findings"])
        assert (finding["severity"], finding["attribution"]) == ("hygiene", [])
        # The next case is not told again of what this one was told.
        await workloads.ask_with_query(probe, probe.users[1])
        assert probe.check("S2.1", hygiene()).result.findings == ()
    finally:
        await probe.close()


def test_a_case_that_saw_nothing_of_its_topic_is_in_doubt() -> None:
    silent = hygiene("sockets")([])
    assert silent.verdict == "inconclusive" and silent.doubts == ("nothing was answered",)
    with pytest.raises(ValueError, match="there are tokens, refusals, sockets, accounts, health"):
        hygiene("soap")
    assert repr(from_options("H1", hygiene("tokens").options)) == repr(hygiene("tokens"))


@pytest.mark.parametrize(
    ("variant", "doubtful"),
    [
        pytest.param(Variant(handshake="http-403", welcome="none"), False, marks=pytest.mark.nightly),
        pytest.param(Variant(zombie="lingering"), True, marks=pytest.mark.nightly),
    ],
    ids=str,
)
def test_other_ways_of_refusing_are_no_issue_and_a_dead_socket_is_a_doubt(
    compose: Composed, variant: Variant, doubtful: bool
) -> None:
    async def sockets(probe: Investigation) -> None:
        await workloads.try_handshakes(probe, probe.users[0])
        await workloads.try_sizes(probe, probe.users[0])

    lab = compose(variant=variant)
    judgement = judged(lab, sockets, "sockets")
    assert judgement.findings == ()
    assert bool(judgement.doubts) is doubtful
    assert ("sockets: no own sockets that answered" in judgement.doubts) is doubtful
