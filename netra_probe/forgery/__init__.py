"""The token playbook: every forged, expired, wrongly typed or foreign credential, made from a valid one, without I/O.

>>> from netra_probe.history.secret import Secret
>>> from netra_probe.forgery.tokens import signed
>>> mine = signed({"alg": "HS256"}, {"sub": "me"}, b"a key that the tester does not know")
>>> material = Material(token=mine, victim="somebody", now=0)
>>> attempts = playbook(material)
>>> attempts[0].name, attempts[0].expect
('alg none', 'refused')
>>> attempts[0](material)
Forgery(bearer=Secret(…), headers={}, cookies={}, query={}, subprotocol=None)

The sources of the attempts are the JSON Web Token best practices (RFC 8725), the vulnerabilities of libraries that
taught them, OWASP's WSTG and ASVS 5.0.
"""

from __future__ import annotations

from netra_probe.forgery.attempt import REFUSED, SELF, Attempt, Forgery, Material
from netra_probe.forgery.claims import CLAIM_ATTEMPTS
from netra_probe.forgery.keys import KEY_ATTEMPTS
from netra_probe.forgery.pieces import PIECE_ATTEMPTS
from netra_probe.forgery.presentation import PRESENTATION_ATTEMPTS
from netra_probe.forgery.sessions import SESSION_ATTEMPTS
from netra_probe.forgery.signatures import SIGNATURE_ATTEMPTS
from netra_probe.forgery.tokens import weak_key_of

#: All attempts, those that need no key first.
ATTEMPTS: tuple[Attempt, ...] = (
    *SIGNATURE_ATTEMPTS,
    *KEY_ATTEMPTS,
    *PRESENTATION_ATTEMPTS,
    *CLAIM_ATTEMPTS,
    *PIECE_ATTEMPTS,
    *SESSION_ATTEMPTS,
)
BY_NAME: dict[str, Attempt] = {attempt.name: attempt for attempt in ATTEMPTS}


def playbook(material: Material, *, bypass: bool = False) -> list[Attempt]:
    """The attempts that this material allows, in their order.

    Arguments:
        bypass: also those that look for a development bypass; only for cases that are about it.
    """
    return [attempt for attempt in ATTEMPTS if attempt.possible(material) and (bypass or not attempt.bypass)]


__all__ = [
    "ATTEMPTS",
    "BY_NAME",
    "REFUSED",
    "SELF",
    "Attempt",
    "Forgery",
    "Material",
    "playbook",
    "weak_key_of",
]
