"""The operations that deployments of the platform usually have, for services that publish no description."""

from __future__ import annotations

from typing import Any

from netra_probe.openapi.document import Interface, Parameter, Route

_TEXT = {"type": "string"}


def _body(*required: str, **optional: Any) -> dict[str, Any]:
    properties = {name: _TEXT for name in required} | {name: schema or _TEXT for name, schema in optional.items()}
    return {"type": "object", "properties": properties, "required": list(required)}


_THREAD = _body(title=None, metadata={"type": "object"})
_MESSAGE = _body("content", message=None, role={"type": "string", "enum": ["user"]})
_CHAT = _body("content", message=None, thread_id=None)
_TOKEN = _body("token")

#: netra-wire §2 and §7: method, path, body, query parameters.
_USUAL: dict[str, tuple[tuple[str, str, dict[str, Any] | None, tuple[str, ...]], ...]] = {
    "auth": (
        ("GET", "/health", None, ()),
        ("GET", "/auth/config", None, ()),
        ("GET", "/auth/me", None, ()),
        ("GET", "/auth/verify", None, ()),
        ("POST", "/auth/verify", None, ()),
        ("POST", "/auth/validate", _TOKEN, ()),
        ("GET", "/auth/users/{user_id}", None, ()),
        ("POST", "/auth/login", _body("email", "password"), ()),
        ("GET", "/auth/login", None, ("provider",)),
        ("POST", "/auth/dev/login", None, ()),
        ("POST", "/auth/refresh", _body("refresh_token"), ()),
        ("POST", "/auth/logout", None, ()),
        ("POST", "/auth/service-token", _body("service_id", "service_secret"), ()),
        ("POST", "/auth/create-token", _body("user_id"), ()),
    ),
    "backend": (
        ("GET", "/health", None, ()),
        ("GET", "/api/threads", None, ()),
        ("POST", "/api/threads", _THREAD, ()),
        ("GET", "/api/threads/{thread_id}", None, ()),
        ("PUT", "/api/threads/{thread_id}", _THREAD, ()),
        ("DELETE", "/api/threads/{thread_id}", None, ()),
        ("GET", "/api/threads/{thread_id}/messages", None, ()),
        ("POST", "/api/threads/{thread_id}/messages", _MESSAGE, ()),
        ("GET", "/api/chat/messages", None, ("thread_id",)),
        ("POST", "/api/chat/messages", _CHAT, ()),
        ("GET", "/api/chat/messages/{message_id}", None, ()),
        ("DELETE", "/api/chat/messages/{message_id}", None, ()),
        ("GET", "/api/users/me", None, ()),
        ("GET", "/api/users/profile", None, ()),
        ("GET", "/api/user/me", None, ()),
        ("GET", "/api/user/profile", None, ()),
        ("GET", "/api/users/{user_id}", None, ()),
        ("GET", "/api/agents", None, ()),
    ),
}


def usual(service: str) -> Interface:
    """The usual operations of ``auth`` or ``backend``."""
    routes = tuple(
        Route(
            service=service,
            method=method,
            path=path,
            body=body,
            parameters=tuple(Parameter(name=name, place="query", schema=_TEXT) for name in query),
        )
        for method, path, body, query in _USUAL[service]
    )
    return Interface(service=service, routes=routes, described=False)
