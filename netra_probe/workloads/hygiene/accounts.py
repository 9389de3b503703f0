"""Registering and logging in as a careless or curious person does, with accounts that are made for it and removed.

Guessing passwords comes last, happens at an account of its own, stops after ``GUESSES`` tries, and ends with a log-in
of somebody else: what is tried here must shut out nobody.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from netra_probe.checkers.hygiene.base import (
    BEGINNING,
    COMMON_PASSWORD,
    LONG_PASSWORD,
    MARK,
    OTHER_CASE,
    OWN_PASSWORD,
    SHORT_PASSWORD,
    UNKNOWN_ACCOUNT,
    WRONG_PASSWORD,
)
from netra_probe.clients.replies import Answered, Reply
from netra_probe.history.secret import Secret
from netra_probe.investigation.cleanup import remove_user
from netra_probe.investigation.users import User
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome, names
from netra_probe.workloads.permissions import workload

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation

#: Wrong passwords in a row: enough for a brake to show (WSTG-ATHN-03), far too few to guess anything.
GUESSES = 12
#: bcrypt looks at no more bytes than this.
BCRYPT_BYTES = 72
#: On every list of the passwords that people choose most.
COMMON = "12345678"
SHORT = "gK7-mXq"


@workload(Mode.PROBE, "registering accounts")
async def try_registrations(probe: Investigation, user: User) -> Outcome:
    """Register the user's address in capitals, and accounts with passwords that are too short, too common, and long.

    >>> await try_registrations(probe, alice)   # doctest: +SKIP
    Try registrations (alice): 4 tried, 1 registered

    What is registered is removed at once.
    """
    local, _, domain = user.email.partition("@")
    long = Secret((probe.ledger.password(f"long {user.email}").reveal() * 2)[:80])
    capitals = f"{local.upper()}@{domain}"
    outcomes = [
        # A password of its own: whatever the platform makes of the address, only what is new can be logged in to.
        await _register(probe, capitals, probe.ledger.password(capitals), OTHER_CASE),
        await _register(probe, f"{local}-short@{domain}", Secret(SHORT), SHORT_PASSWORD),
        await _register(probe, f"{local}-common@{domain}", Secret(COMMON), COMMON_PASSWORD),
        await _register(probe, f"{local}-long@{domain}", long, LONG_PASSWORD),
    ]
    counts = {"tried": len(outcomes), "registered": sum(outcomes)}
    return Outcome(users=(user.name,), counts=counts)


async def _register(probe: Investigation, email: str, password: Secret, trial: str) -> bool:
    """Register an account that may well be refused; log in to it with half of a long password; remove it."""
    someone = User(probe, name=trial.replace(" ", "-"), email=email, password=password, backend=0)
    probe.history.redactor.know(password.reveal(), "password")
    gone = True
    if probe.wire.live:
        target = probe.target
        await asyncio.to_thread(probe.ledger.add, [email], auth_url=target.auth_url, backend_urls=target.backend_urls)
    try:
        body = {"email": email, "password": password.reveal(), "name": "Somebody"}
        reply = await someone.auth.http.request(
            "POST", "/auth/register", json=body, anonymous=True, attempt={MARK: trial}
        )
        if not isinstance(reply, Answered):
            return False
        if any(user.id and user.id in str(reply.body) for user in probe.users):
            return True  # somebody's own account under another name: not to be removed
        if trial == LONG_PASSWORD:
            await _log_in(someone, email, Secret(password.reveal()[:BCRYPT_BYTES]), BEGINNING)
        # An account of the probe's like any other from here on: by its own log-in it is known and removed.
        gone = bool(await someone.login()) and not await remove_user(someone, probe.routes)
        return True
    finally:
        await someone.close()
        if gone and probe.wire.live:
            await asyncio.to_thread(probe.ledger.strike, {email})


@workload(Mode.PROBE, "failing to log in")
async def compare_logins(probe: Investigation, user: User) -> Outcome:
    """Log in with a wrong password, and as somebody who has no account: both deserve the same words.

    One failure each; the user's own log-in follows.
    """
    local, _, domain = user.email.partition("@")
    wrong = probe.ledger.password(f"wrong {user.email}")
    probe.history.redactor.know(wrong.reveal(), "password")
    refused = 0
    for email, trial in ((user.email, WRONG_PASSWORD), (f"{local}-nobody@{domain}", UNKNOWN_ACCOUNT)):
        refused += not await _log_in(user, email, wrong, trial)
    own = bool(await user.login())
    counts = {"refused logins": refused, "own logins": int(own)}
    return Outcome(users=(user.name,), counts=counts)


@workload(Mode.ATTACK, "guessing passwords")
async def guess_passwords(probe: Investigation, bystander: User) -> Outcome:
    """Send ``GUESSES`` wrong passwords in a row to an account made for it, then the right one.

    >>> await guess_passwords(probe, alice)   # doctest: +SKIP
    Guess passwords (dave, alice): 12 wrong passwords, 1 logins of others

    Needs ``attack`` on a target that is not on this machine. The bystander logs in afterwards: nobody else is shut out.
    Not done where users are existing accounts: theirs are not for locking.
    """
    if probe.target.accounts:
        missing = "registration of an account to guess at: those of target.accounts are left alone"
        return Outcome(users=names((bystander,)), missing=missing)
    victim = next(iter(await probe.recruit(1)), None)
    if victim is None:
        return Outcome(users=names((bystander,)), missing="an account to guess at")
    for number in range(GUESSES):
        wrong = probe.ledger.password(f"guess {number} {victim.email}")
        await _log_in(victim, victim.email, wrong, WRONG_PASSWORD)
    await _log_in(victim, victim.email, victim._password, OWN_PASSWORD)
    others = bool(await bystander.login())
    counts = {"wrong passwords": GUESSES, "logins of others": int(others)}
    return Outcome(users=names((victim, bystander)), counts=counts)


async def _log_in(user: User, email: str, password: Secret, trial: str) -> Reply:
    """A log-in of a trial, over the user's connection; the user's tokens stay what they are."""
    body = {"email": email, "password": password.reveal()}
    return await user.auth.http.request("POST", "/auth/login", json=body, anonymous=True, attempt={MARK: trial})
