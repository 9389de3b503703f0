"""Whom to trust over TLS, and what to show to a server that asks: the same for requests and for sockets."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import httpx

from netra_probe.errors import ParameterError
from netra_probe.history.secret import Secret

#: Variables that send other programs through a proxy. The probe connects directly: what a proxy adds, caches or merges
#: would be taken for the deployment's own doing.
PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


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


def why(error: BaseException, *, host: str | None = None, remedy: str = "target.ca_bundle") -> str:
    """Why a connection failed, in words that hold no URL and nothing that was given: libraries quote credentials.

    Arguments:
        host: the other end; a proxy is no matter for this machine itself.
        remedy: the key that names the authorities to trust.
    """
    kind = type(error).__name__
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"{kind}: the certificate was not accepted, {cause.verify_message.rstrip('.')}; give {remedy}, "
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


def _is_here(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
