"""ToolExecutionEngine: runs one tool call with the rights of its caller, in bounded time, and keeps account of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netra_probe.lab.backend.data_access_factory import DataAccessFactory
from netra_probe.lab.backend.errors import BackendError, DependencyDown, PermissionMissing
from netra_probe.lab.backend.tools import Tool, ToolCall
from netra_probe.lab.backend.user_execution_context import UserExecutionContext

TOOL_SECONDS = 10.0


class ToolTimeout(DependencyDown):
    """A tool did not end in time."""

    code = "TOOL_TIMEOUT"


@dataclass(frozen=True, kw_only=True)
class ToolOutcome:
    """What a call gave: a result, or the refusal and its code and sentence as the result."""

    tool_name: str
    result: Any
    milliseconds: int
    refusal: BackendError | None = None

    @property
    def success(self) -> bool:
        """The tool ran to its end."""
        return self.refusal is None


class ToolExecutionEngine:
    """Checks the permission, binds the data to the caller, runs the tool, logs the use."""

    def __init__(self, data_access: DataAccessFactory) -> None:
        self._data_access = data_access

    async def execute(
        self, tool: Tool, context: UserExecutionContext, parameters: Mapping[str, Any], permissions: Sequence[str]
    ) -> ToolOutcome:
        """Run `tool` for the context's user; refusals and failures become outcomes, not exceptions."""
        started = time.perf_counter()
        data = self._data_access.for_user(context)
        refusal: BackendError | None = None
        result: Any = None
        try:
            self.check_permission(tool, permissions)
            async with asyncio.timeout(TOOL_SECONDS):
                result = await tool.run(ToolCall(context=context, data=data, parameters=parameters))
        except BackendError as error:
            refusal = error
        except TimeoutError:
            refusal = ToolTimeout(f"The tool took longer than {TOOL_SECONDS:.0f} s; try again with less data.")
        if refusal is not None:
            result = {"error_code": refusal.code, "error_message": refusal.message}
        milliseconds = int((time.perf_counter() - started) * 1000)
        await data.runs.record_tool_use(
            context.run_id,
            tool_name=tool.name,
            parameters=dict(parameters),
            success=refusal is None,
            milliseconds=milliseconds,
        )
        return ToolOutcome(tool_name=tool.name, result=result, milliseconds=milliseconds, refusal=refusal)

    def check_permission(self, tool: Tool, permissions: Sequence[str]) -> None:
        """Raise unless the caller holds what the tool asks for."""
        if tool.permission is not None and tool.permission not in permissions:
            raise PermissionMissing(f"The tool {tool.name} needs the permission {tool.permission!r}.")
