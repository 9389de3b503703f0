"""Faults of threads: what is announced, whose history a switch shows, what is remembered, and what is deleted (F9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netra_probe.lab.shared.faults import PartFault, register


class ThreadFault(PartFault):
    """A fault of the backend's threads: a subclass of one healthy part takes its place."""

    layer = "threads"


@register
class Unannounced(ThreadFault):
    """A thread is created, and the user's other windows never hear of it."""

    id = "flow-threads-unannounced"
    title = "a new thread is not announced"
    breaks = "creating a thread emits an event on each of its owner's sockets"
    part = "ChatService"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Mute(healthy):  # type: ignore[misc]
            async def _announce(self, kind: str, thread: Mapping[str, Any]) -> None:
                if kind != "thread_created" or not fault.does_wrong():
                    await super()._announce(kind, thread)

        return Mute


@register
class FormerHistory(ThreadFault):
    """A switch shows the messages of the thread that its connection had open before."""

    id = "flow-threads-former-history"
    title = "switching shows the history of the thread before"
    breaks = "switching loads the history of the thread that was asked for"
    part = "ClientMessages"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, opened = self, dict[str, dict[str, Any]]()

        class Behind(healthy):  # type: ignore[misc]
            async def switch_thread(self, session: Any, message: Any) -> None:
                data = session.services.chat.data_of(session.principal)
                shown = await data.messages.of_thread(message.thread_id)
                before = opened.get(session.connection_id)
                opened[session.connection_id] = shown
                if before is None or not fault.does_wrong():
                    await super().switch_thread(session, message)
                    return
                payload = {"thread_id": message.thread_id, "messages": before}
                await session.send_event("thread_switched", message.thread_id, payload, answers=message.message_id)

        return Behind


@register
class OneMemory(ThreadFault):
    """What an agent remembers is kept for a user and not for a thread."""

    id = "flow-threads-one-memory"
    title = "an agent remembers one thread in another"
    breaks = "the context of an agent is kept for each thread"
    part = "ThreadMemory"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Merged(healthy):  # type: ignore[misc]
            def key(self, thread_id: str) -> str:
                return str(super().key("all" if fault.does_wrong() else thread_id))

        return Merged


@register
class DeletedOpens(ThreadFault):
    """A deleted thread is gone over REST, and opens over a socket that had it open before."""

    id = "flow-threads-deleted-opens"
    title = "a deleted thread still opens over a socket"
    breaks = "a deleted thread is gone on every way to it"
    part = "ClientMessages"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault, kept = self, dict[str, dict[str, Any]]()

        class Keeping(healthy):  # type: ignore[misc]
            async def _send_thread(self, session: Any, message: Any, kind: str) -> None:
                data = session.services.chat.data_of(session.principal)
                place = f"{session.principal.user_id} {message.thread_id}"
                try:
                    shown = {"messages": await data.messages.of_thread(message.thread_id)}
                except Exception:
                    if place in kept and fault.does_wrong():
                        await session.send_event(kind, message.thread_id, kept[place], answers=message.message_id)
                        return
                    raise
                kept[place] = {"thread_id": message.thread_id, **shown}
                await super()._send_thread(session, message, kind)

        return Keeping


@register
class OneSwitchAtATime(ThreadFault):
    """Which thread is being opened is kept for a backend, so that of several at once only the last one opens."""

    id = "flow-threads-one-switch"
    title = "threads that are opened at once are confused"
    breaks = "each of many users who switch at once gets their own history"
    part = "ClientMessages"

    def broken(self, healthy: type[Any]) -> type[Any]:
        fault = self

        class Shared(healthy):  # type: ignore[misc]
            _opening: Any = None

            async def switch_thread(self, session: Any, message: Any) -> None:
                self._opening = (session.principal, message)
                await session.services.chat.data_of(session.principal).threads.get(message.thread_id)
                principal, last = self._opening
                if principal.user_id != session.principal.user_id and fault.does_wrong():
                    message = last
                await super().switch_thread(session, message)

        return Shared
