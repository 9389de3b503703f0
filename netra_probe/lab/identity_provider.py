"""The lab's OpenID Connect provider: `oidc-provider-mock` as a process of its own, made stricter.

Any client id is accepted, so that several provider configurations can live on the one issuer. A nonce is required, and
PKCE is enforced, which the package does not do. The web debugger that it switches on is taken off: an error page of
the lab must not offer a shell.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import os
import warnings
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from netra_probe.lab.shared.serving import serve

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

_LARGEST_FORM = 65_536


class ProofKeys:
    """PKCE (RFC 7636, S256) around a provider: whoever redeems a code must know the verifier behind its challenge.

    However often they try; and a verifier for a code that was issued without a challenge is refused as well: somebody
    has taken the challenge out of the request (RFC 9700 section 2.1.1).
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._challenges: dict[str, str] = {}

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        if environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] == "/oauth2/token":
            form = _form(environ)
            challenge, verifier = self._challenges.get(form.get("code", ""), ""), form.get("code_verifier", "")
            if (challenge or verifier) and not hmac.compare_digest(challenge.encode(), _challenge(verifier).encode()):
                start_response("400 Bad Request", [("Content-Type", "application/json")])
                return [b'{"error": "invalid_grant", "error_description": "code_verifier does not match"}']
            self._challenges.pop(form.get("code", ""), None)
        challenge = _first(environ.get("QUERY_STRING", ""), "code_challenge")
        if environ["PATH_INFO"] != "/oauth2/authorize" or not challenge:
            return self._application(environ, start_response)

        def remembering(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            location = dict((name.lower(), value) for name, value in headers).get("location", "")
            if code := _first(urlsplit(location).query, "code"):
                self._challenges[code] = challenge
            return start_response(status, headers, *rest)

        return self._application(environ, remembering)


def create_app() -> Application:
    """The provider as a WSGI application."""
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain http on 127.0.0.1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import oidc_provider_mock

        application = oidc_provider_mock.app(require_nonce=True)
    application.debug = False
    application.wsgi_app = application.wsgi_app.app
    return ProofKeys(application)


def _form(environ: dict[str, Any]) -> dict[str, str]:
    body = environ["wsgi.input"].read(_LARGEST_FORM)
    environ["wsgi.input"] = io.BytesIO(body)
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _first(query: str, name: str) -> str:
    return parse_qs(query).get(name, [""])[0]


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    serve(create_app, interface="wsgi", lifespan="off", ws="none")
