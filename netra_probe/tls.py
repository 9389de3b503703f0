"""Whom to trust over TLS, and what to show to a server that asks: the same for requests and for sockets."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import httpx

from netra_probe.errors import ParameterError
from netra_probe.history.secret import Secret


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
