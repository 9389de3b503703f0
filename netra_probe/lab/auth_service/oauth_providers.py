"""The OAuth providers of a deployment: five configurations, each with its own client, scopes and rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from netra_probe.lab.auth_service.errors import AuthProblem, Unavailable
from netra_probe.lab.shared.isolated_environment import IsolatedEnvironment


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One provider configuration."""

    name: str
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    callback_path: str = "/auth/callback"
    extra_parameters: Mapping[str, str] = field(default_factory=dict)


_KNOWN: Mapping[str, Mapping[str, object]] = {
    "google": {"extra_parameters": {"access_type": "offline"}},
    "microsoft": {"extra_parameters": {"prompt": "select_account"}},
    "okta": {"callback_path": "/auth/oauth/callback"},
    "auth0": {"extra_parameters": {"audience": "netra-platform"}},
    "keycloak": {"callback_path": "/auth/oauth/callback", "scopes": ("openid", "email")},
}
DEFAULT = "google"


class OAuthProviders:
    """Providers by name. ``<NAME>_OAUTH_CLIENT_ID[_<ENV>]`` and ``<NAME>_OAUTH_ISSUER_URL`` override what is common."""

    def __init__(
        self, *, environment: str, issuer: str | None, client_secret: str | None, variables: IsolatedEnvironment
    ) -> None:
        self._providers: dict[str, Provider] = {}
        for name, particulars in _KNOWN.items():
            prefix = name.upper()
            where = variables.get(f"{prefix}_OAUTH_ISSUER_URL") or issuer
            secret = variables.get(f"{prefix}_OAUTH_CLIENT_SECRET") or client_secret
            client = (
                variables.get(f"{prefix}_OAUTH_CLIENT_ID_{environment.upper()}")
                or variables.get(f"{prefix}_OAUTH_CLIENT_ID")
                or f"netra-{name}-{environment}"
            )
            if where and secret:
                self._providers[name] = Provider(
                    name=name,
                    issuer=where.rstrip("/"),
                    client_id=client,
                    client_secret=secret,
                    **particulars,  # type: ignore[arg-type]
                )

    def find(self, name: str) -> Provider:
        """A provider by name; 400 when nobody knows it, 503 when it is known but not configured here."""
        if name in self._providers:
            return self._providers[name]
        if name in _KNOWN:
            raise Unavailable(f"Login with {name} is not configured in this environment.")
        raise AuthProblem(f"There is no such provider; there are: {', '.join(_KNOWN)}")

    def names(self) -> list[str]:
        """The configured providers."""
        return list(self._providers)

    def get(self, name: str) -> Provider | None:
        """A configured provider, or None."""
        return self._providers.get(name)
