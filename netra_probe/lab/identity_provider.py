"""The lab's OpenID Connect provider: `oidc-provider-mock` as a process of its own.

Any client id is accepted, so that several provider configurations can live on the one issuer. The web debugger that
the package switches on is taken off: an error page of the lab must not offer a shell.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

from netra_probe.lab.shared.serving import serve


def create_app() -> Any:
    """The provider as a WSGI application."""
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain http on 127.0.0.1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import oidc_provider_mock

        application = oidc_provider_mock.app(require_nonce=True)
    application.debug = False
    application.wsgi_app = application.wsgi_app.app
    return application


if __name__ == "__main__":
    serve(create_app, interface="wsgi", lifespan="off", ws="none")
