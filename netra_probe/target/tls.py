"""Whom to trust over TLS, and what to show to a server that asks: the same for requests and for sockets."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import httpx

from netra_probe.errors import ParameterError
from netra_probe.history.secret import Secret
from netra_probe.history.untrusted import address

#: Variables that send other programs through a proxy. The probe connects directly: what a proxy adds, caches or merges
#: would be taken for the deployment's own doing.
PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")

#: Where TLS is spoken when a URL names no port.
_PORTS = {"https": 443, "wss": 443, "rediss": 6379}
#: Seconds that are spent on reading a certificate that was not accepted, and letters that are shown of a name in it.
SECONDS, LONGEST_NAME = 3.0, 100


@dataclass(frozen=True, kw_only=True)
class Tls:
    """What a target's parameters say of TLS.

    Arguments:
        verify: false accepts any certificate.
        ca_bundle: a file with the authorities to trust instead of the usual ones.
        certificate, key, password: the client's own; the key may be in the certificate's file.
    """

    verify: bool = True
    ca_bundle: str | None = None
    certificate: str | None = None
    key: str | None = None
    password: Secret | None = None

    def context(self) -> ssl.SSLContext:
        """For the clients; made once, because reading all certificate authorities takes longer than most requests."""
        return _context(self)


@lru_cache(maxsize=8)
def _context(tls: Tls) -> ssl.SSLContext:
    try:
        if tls.ca_bundle is not None:
            context = ssl.create_default_context(cafile=Path(tls.ca_bundle).expanduser())
        else:
            context = httpx.create_ssl_context(verify=tls.verify, trust_env=False)
    except (ssl.SSLError, OSError):
        raise ParameterError(
            f"target.ca_bundle: {tls.ca_bundle} holds no certificates in PEM format; give such a file."
        ) from None
    if tls.certificate is not None:
        key = Path(tls.key).expanduser() if tls.key else None
        password = tls.password.reveal() if tls.password is not None else ""
        try:
            context.load_cert_chain(Path(tls.certificate).expanduser(), key, password)
        except (ssl.SSLError, OSError):
            raise ParameterError(
                "target.client_certificate: cannot be used with its key; give PEM files that belong together, "
                "and target.client_key_password if the key is encrypted."
            ) from None
    return context


async def why(error: BaseException, *, url: str = "", remedy: str = "target.ca_bundle") -> str:
    """Why a connection failed, in words that hold no URL and nothing that was given: libraries quote credentials.

    Arguments:
        url: of the other end, where TLS begins at once: its certificate is asked for. A proxy is no matter for this
            machine itself.
        remedy: the key that names the authorities to trust.
    """
    there = address(url)
    host = there.hostname
    kind = type(error).__name__
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            port = there.port or _PORTS.get(there.scheme, 443)
            named = await asyncio.to_thread(_certificate, host, port) if host is not None else ""
            return (
                f"{kind}: the certificate was not accepted, {cause.verify_message.rstrip('.')}{named}; give {remedy}, "
                "a file with the authority that issued it, or the URL with the name that the certificate is for"
            )
        if isinstance(cause, ssl.SSLError):
            reason = (cause.reason or "").replace("_", " ").lower()
            if "certificate" in reason:
                return (
                    f"{kind}: the server did not accept a client certificate ({reason}); "
                    "give target.client_certificate, and target.client_key"
                )
            return f"{kind}: no TLS certificate was offered ({reason or 'TLS failed'}); is it http instead of https?"
    set_ones = [name for name in PROXY_VARIABLES if os.environ.get(name) or os.environ.get(name.lower())]
    if set_ones and host is not None and not _is_here(host):
        return f"{kind}; {set_ones[0]} is set, but the probe connects directly and never through a proxy"
    return kind


@lru_cache(maxsize=32)
def _certificate(host: str, port: int) -> str:
    """What a server's certificate says of itself, in brackets, from a handshake that sends nothing; "" where it can't.

    What is cached may be renewed while a run goes on: the URL's other requests then succeed.
    """
    from cryptography import x509

    try:
        given = ssl.get_server_certificate((host, port), timeout=SECONDS)
        told = x509.load_pem_x509_certificate(given.encode())
        subject, issuer = (_readable(name.rfc4514_string()) for name in (told.subject, told.issuer))
        begin, end = told.not_valid_before_utc, told.not_valid_after_utc
    except (OSError, ValueError, x509.UnsupportedGeneralNameType):
        return ""
    return f" (of {subject}, issued by {issuer}, valid {begin:%Y-%m-%d} to {end:%Y-%m-%d})"


def _readable(name: str) -> str:
    """A name of whoever made a certificate: it may hold what would move a terminal's cursor, and be of any length."""
    printed = "".join(letter if letter.isprintable() else " " for letter in name)
    return (printed if len(printed) <= LONGEST_NAME else f"{printed[:LONGEST_NAME]}…") or "nobody"


def _is_here(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
