"""The public calls of the platform's classes (netra-wire §10), and where the lab has its own of the same names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Call:
    """One public call.

    Arguments:
        parameters: names that it takes, in order.
        is_open: it may need more than these: what the platform's documents leave out with an ellipsis.
    """

    parameters: tuple[str, ...] = ()
    is_open: bool = False

    def __str__(self) -> str:
        return f"({', '.join([*self.parameters, *(['…'] if self.is_open else [])])})"


@dataclass(frozen=True, kw_only=True)
class Contract:
    """A class: the import path of the lab's, and its public calls; ``__init__`` stands for making one."""

    path: str
    calls: Mapping[str, Call] = field(default_factory=dict)


def _call(text: str) -> Call:
    """``"user_id, thread_id, …"`` as a value."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return Call(parameters=tuple(name for name in names if name != "…"), is_open="…" in names)


def _contract(path: str, **calls: str) -> Contract:
    return Contract(path=f"netra_probe.lab.{path}", calls={name: _call(text) for name, text in calls.items()})


#: Calls of the emitter begin with the agent's name and go on as the event needs.
_NOTIFY = "agent_name, …"
COMPONENTS: Mapping[str, Contract] = {
    "IsolatedEnvironment": _contract(
        "shared.isolated_environment:IsolatedEnvironment",
        __init__="",
        get="key, default",
        set="key, value, source",
        enable_isolation="",
        disable_isolation="",
        get_all="",
        get_variable_source="key",
        add_change_callback="callback",
        get_subprocess_env="…",
        is_isolated="",
    ),
    "UserExecutionContext": _contract(
        "backend.user_execution_context:UserExecutionContext",
        from_request="user_id, thread_id, run_id, …",
        create_child_context="operation_name, …",
        verify_isolation="",
        to_dict="",
    ),
    "UnifiedAuthenticationService": _contract(
        "backend.unified_authentication_service:UnifiedAuthenticationService",
        authenticate_token="token, …",
        authenticate_websocket="…",
    ),
    "UnifiedWebSocketAuth": _contract("backend.unified_authentication_service:UnifiedWebSocketAuth"),
    "UnifiedToolDispatcher": _contract(
        "backend.tools:UnifiedToolDispatcher",
        create_for_user="user_context, …",
        execute_tool="name, parameters, …",
        cleanup="",
    ),
    "ToolExecutionEngine": _contract("backend.tools:ToolExecutionEngine"),
    "LLMManager": _contract("backend.llm_manager:LLMManager", __init__="user_context, …", ask_llm="prompt, …"),
    "AgentInstanceFactory": _contract(
        "backend.agent_registry:AgentInstanceFactory", create_agent_instance="agent_name, user_context, …"
    ),
    "UserWebSocketEmitter": _contract(
        "backend.user_websocket_emitter:UserWebSocketEmitter",
        __init__="context, router, connection_id",
        notify_agent_started=_NOTIFY,
        notify_agent_thinking=_NOTIFY,
        notify_tool_executing=_NOTIFY,
        notify_tool_completed=_NOTIFY,
        notify_agent_completed=_NOTIFY,
        notify_agent_error="…",
    ),
    "WebSocketEventRouter": _contract(
        "backend.websocket_event_router:WebSocketEventRouter",
        register_connection="user_id, connection_id",
        route_event="user_id, connection_id, event",
    ),
    "AgentRegistry": _contract(
        "backend.agent_registry:AgentRegistry",
        get_user_session="user_id",
        create_agent_for_user="user_id, …",
        cleanup_user_session="user_id",
    ),
    "DataAccessFactory": _contract("backend.data_access_factory:DataAccessFactory"),
    "DatabaseManager": _contract("backend.database_manager:DatabaseManager", get_session="…"),
    "UnifiedConfigurationManager": _contract(
        "shared.configuration:UnifiedConfigurationManager", __init__="user_id, environment, service_name, …"
    ),
    # What surrounds it, under the names that the lab has for it
    "LiveConfiguration": _contract("shared.live_configuration:LiveConfiguration", __init__="service_name, settings, …"),
    "Setting": _contract("shared.settings:Setting", __init__="name, …"),
}

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_import_path(path: str) -> bool:
    """Whether this is written ``package.module:Class``."""
    return _IMPORT_PATH.fullmatch(path) is not None
