"""A fault of comparing claims (A12): a value counts when it is found inside the right one."""

from __future__ import annotations

from typing import Any

import jwt

from netra_probe.lab.faults.unproved_claims import signed_claims
from netra_probe.lab.shared.faults import Fault, Parts, register


@register
class ClaimsByPieces(Fault):
    """A12: issuer and audience are looked for inside the right ones instead of being compared with them.

    Incident: CVE-2024-53861 (PyJWT 2.10.0): the issuer was looked up in a sequence, and a text is a sequence.
    """

    id = "A12"
    layer = "authentication"
    service = "auth_service"
    title = "issuer and audience compared as substrings"
    breaks = "TokenVerifier"
    trigger = "sign a token with the real key and iss netra, or another piece of the right iss or aud"
    symptom = "a token with a piece of the right issuer or audience is accepted"
    checkers = ("C6",)

    def install(self, parts: Parts) -> None:
        """Replace the verifier by one that asks whether the claim is in the right value."""
        from netra_probe.lab.auth_service.tokens import AUDIENCES, ISSUER

        fault = self
        healthy: type[Any] = parts["TokenVerifier"]

        def inside(claims: dict[str, Any], type_: str) -> bool:
            wanted = {"iss": ISSUER, "aud": AUDIENCES[type_]}
            return all(isinstance(claims.get(name), str) and claims[name] in text for name, text in wanted.items())

        class SubstringVerifier(healthy):  # type: ignore[misc]
            def _decode(self, token: str, type_: str) -> dict[str, Any]:
                fault.reached()
                try:
                    payload: dict[str, Any] = super()._decode(token, type_)
                    return payload
                except (jwt.InvalidIssuerError, jwt.InvalidAudienceError):
                    unchecked = {"verify_aud": False, "verify_iss": False}
                    claims = signed_claims(token, self._secret(), type_, unchecked)  # type: ignore[arg-type]
                    if claims is None or not inside(claims, type_) or not fault.fires():
                        raise
                    fault.triggered()
                    return claims

        parts["TokenVerifier"] = SubstringVerifier
