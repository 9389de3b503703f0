"""Faults of data access (D1, D2, D3, D5 to D8): whose rows are read and written, and by how many at once."""

from __future__ import annotations

import functools
from typing import Any

from fastapi import Request

from netra_probe.lab.shared.clock import Meeting
from netra_probe.lab.shared.faults import Fault, Parts, register

PRICE_SECONDS = 1.0
"""How long D5 asks for the price, between looking at the balance and taking from it, unless another use is as far."""

_EXISTS = "SELECT 1 FROM users WHERE id = $1"
_TAKE = "UPDATE users SET credits = credits - $2 WHERE id = $1 AND credits >= $2 RETURNING credits"


@register
class ReadById(Fault):
    """D1: a thread and a message are read by their id alone.

    Incident: broken object level authorisation (OWASP API1:2023): a handler that fetches by primary key, with a
        database role that sees all rows.
    """

    id = "D1"
    layer = "data access"
    title = "get by id without owner"
    breaks = "GET /api/threads/{thread_id}, GET /api/chat/messages/{message_id}"
    trigger = "GET /api/threads/{id} or GET /api/chat/messages/{id} with the id of another user's object"
    symptom = "200 with a foreign canary"
    checkers = ("C5", "C1")

    def install(self, parts: Parts) -> None:
        """Replace both handlers by ones that ask for the row and not whose it is."""
        fault = self
        threads, messages = "GET /api/threads/{thread_id}", "GET /api/chat/messages/{message_id}"
        healthy_thread, healthy_message = parts[threads], parts[messages]

        async def found(caller: Any, query: str, identifier: str) -> Any:
            fault.reached()
            if not fault.fires():
                return None
            async with caller.services.database.get_service_session() as session:
                return await session.fetchrow(query, identifier)

        def answered(caller: Any, shown: dict[str, Any]) -> dict[str, Any]:
            if shown["metadata"]["user_id"] != caller.principal.user_id:
                fault.triggered()
            return shown

        @functools.wraps(healthy_thread)
        async def get_thread(caller: Any, thread_id: str) -> Any:
            from netra_probe.lab.backend.data.threads import SELECT_THREADS, shown_thread

            row = await found(caller, SELECT_THREADS + "AND t.id = $1", thread_id)
            if row is None:
                return await healthy_thread(caller, thread_id)
            return answered(caller, shown_thread(row, row["message_count"]))

        @functools.wraps(healthy_message)
        async def get_message(caller: Any, message_id: str) -> Any:
            from netra_probe.lab.backend.data.threads import SELECT_MESSAGES, shown_message

            row = await found(caller, SELECT_MESSAGES + "AND m.id = $1", message_id)
            if row is None:
                return await healthy_message(caller, message_id)
            return answered(caller, shown_message(row))

        parts[threads], parts[messages] = get_thread, get_message


@register
class WriteById(Fault):
    """D2: a thread is changed and deleted by its id alone, and whatever the client sends is stored.

    Incident: ``UPDATE … WHERE id = ?`` behind an endpoint that checks the token and not the owner; mass assignment of
        a body's fields (OWASP API1 and API3:2023).
    """

    id = "D2"
    layer = "data access"
    title = "update, delete and mass assignment without owner"
    breaks = "ThreadStore.update and ThreadStore.delete"
    trigger = (
        "PUT or DELETE /api/threads/{id} with the id of another user's thread; or PUT your own with metadata.user_id "
        "of another user"
    )
    symptom = "the owner's object changed"
    checkers = ("C5",)

    def install(self, parts: Parts) -> None:
        """Replace the store by one that writes with a session for all owners."""
        fault = self
        healthy: type[Any] = parts["ThreadStore"]

        class UnownedThreads(healthy):  # type: ignore[misc]
            async def update(
                self, thread_id: str, *, title: str | None = None, metadata: dict[str, Any] | None = None
            ) -> dict[str, Any]:
                from netra_probe.lab.backend.data.owned_store import decoded, encoded, epoch_now

                fault.reached()
                row = None
                if fault.fires():
                    async with self._database.get_service_session() as session:
                        row = await session.fetchrow(
                            "SELECT created_at, metadata_ FROM threads WHERE id = $1 AND deleted_at IS NULL FOR UPDATE",
                            thread_id,
                        )
                        before = {} if row is None else decoded(row["metadata_"])
                        kept = {**before, **(metadata or {}), **({} if title is None else {"title": title})}
                        if row is not None:
                            await session.execute(
                                "UPDATE threads SET metadata_ = $2, updated_at = $3 WHERE id = $1",
                                thread_id,
                                encoded(kept),
                                epoch_now(),
                            )
                if row is None or before["user_id"] == kept["user_id"] == self._user_id:
                    healthily: dict[str, Any] = await super().update(thread_id, title=title, metadata=metadata)
                    return healthily
                fault.triggered()
                await self._cache.invalidate()
                return {
                    "id": thread_id,
                    "object": "thread",
                    "title": title or "",
                    "created_at": row["created_at"],
                    "updated_at": epoch_now(),
                    "metadata": {**(metadata or {}), "user_id": kept["user_id"]},
                    "message_count": 0,
                }

            async def delete(self, thread_id: str) -> None:
                fault.reached()
                owner = None
                if fault.fires():
                    async with self._database.get_service_session() as session:
                        owner = await session.fetchval(
                            "UPDATE threads SET deleted_at = now() WHERE id = $1 AND deleted_at IS NULL "
                            "RETURNING user_id",
                            thread_id,
                        )
                if owner is None:
                    await super().delete(thread_id)
                    return
                if owner != self._user_id:
                    fault.triggered()
                await self._cache.invalidate()

        parts["ThreadStore"] = UnownedThreads


@register
class UnscopedLists(Fault):
    """D3: list, count and search go over everybody's rows.

    Incident: the ``WHERE user_id = ?`` that a rewritten or generated list query forgot, while the queries by id have
        it; totals that count the whole table.
    """

    id = "D3"
    layer = "data access"
    title = "list, search and count unscoped"
    breaks = "ThreadStore.list, ThreadStore.count, MessageStore.search"
    trigger = "GET /api/threads, GET /api/threads/count or GET /api/search?q=… while another user has matching rows"
    symptom = "foreign rows or totals"
    checkers = ("C1", "C11")

    def install(self, parts: Parts) -> None:
        """Replace both stores by ones whose lists forget the owner."""
        fault = self
        thread_store: type[Any] = parts["ThreadStore"]
        message_store: type[Any] = parts["MessageStore"]

        class EverybodysThreads(thread_store):  # type: ignore[misc]
            async def list(self, *, limit: int = 50, offset: int = 0) -> Any:
                from netra_probe.lab.backend.data.threads import SELECT_THREADS, shown_thread

                fault.reached()
                if not fault.fires():
                    return await super().list(limit=limit, offset=offset)
                async with self._database.get_service_session() as session:
                    rows = await session.fetch(
                        SELECT_THREADS + "ORDER BY t.created_at DESC, t.id LIMIT $1 OFFSET $2", limit, offset
                    )
                shown = [shown_thread(row, row["message_count"]) for row in rows]
                if any(thread["metadata"]["user_id"] != self._user_id for thread in shown):
                    fault.triggered()
                return shown

            async def count(self) -> int:
                fault.reached()
                own: int = await super().count()
                if not fault.fires():
                    return own
                async with self._database.get_service_session() as session:
                    total = int(await session.fetchval("SELECT count(*) FROM threads WHERE deleted_at IS NULL"))
                if total != own:
                    fault.triggered()
                return total

        class EverybodysMessages(message_store):  # type: ignore[misc]
            async def search(self, text: str, *, limit: int = 50) -> Any:
                from netra_probe.lab.backend.data.threads import SELECT_MESSAGES, shown_message

                fault.reached()
                if not text.strip() or not fault.fires():
                    return await super().search(text, limit=limit)
                async with self._database.get_service_session() as session:
                    rows = await session.fetch(
                        SELECT_MESSAGES
                        + "AND position(lower($1) IN lower(m.content #>> '{0,text,value}')) > 0 "
                        + "ORDER BY m.position DESC LIMIT $2",
                        text,
                        limit,
                    )
                shown = [shown_message(row) for row in rows]
                if any(message["metadata"]["user_id"] != self._user_id for message in shown):
                    fault.triggered()
                return shown

        parts["ThreadStore"], parts["MessageStore"] = EverybodysThreads, EverybodysMessages


@register
class CheckThenAct(Fault):
    """D5: the balance is read, compared, and written back a moment later, at READ COMMITTED.

    Incident: ACIDRain (Warszawski and Bailis, SIGMOD 2017): vouchers and balances spent twice in shops whose code
        checks in one statement and acts in the next.
    """

    id = "D5"
    layer = "data access"
    title = "check-then-act at READ COMMITTED"
    breaks = "SpendStore.use_credits"
    trigger = "POST /api/credits/use {amount: 10} ten times at once, then GET /api/credits"
    symptom = "lost update, double spend: balance + spent > 100"
    checkers = ("C9",)

    def install(self, parts: Parts) -> None:
        """Replace the store by one that decides on what it read before."""
        fault = self
        healthy: type[Any] = parts["SpendStore"]
        asking = Meeting(seconds=PRICE_SECONDS)

        class HastySpend(healthy):  # type: ignore[misc]
            async def use_credits(self, amount: int, reason: str) -> Any:
                fault.reached()
                async with self._database.get_session(self._user_id) as session:
                    seen = await session.fetchval("SELECT credits FROM users WHERE id = $1", self._user_id)
                    await asking.join(self._user_id)
                    hasty = seen is not None and seen >= amount and fault.fires()
                    if hasty:
                        replaced = await session.fetchval(
                            "UPDATE users SET credits = $2 "
                            "FROM (SELECT credits AS left_over FROM users WHERE id = $1 FOR UPDATE) AS before "
                            "WHERE id = $1 RETURNING before.left_over",
                            self._user_id,
                            seen - amount,
                        )
                        if replaced != seen:
                            fault.triggered()
                        entry = await self._book(session, self._user_id, amount, seen - amount, reason)
                if not hasty:
                    return await super().use_credits(amount, reason)
                await self._cache.invalidate()
                return entry

        parts["SpendStore"] = HastySpend


@register
class PinnedLedger(Fault):
    """D6: the entry of what somebody has used is booked to the first user that the process has seen.

    Incident: litellm #31441: the record of spend is built once, with the user of the first request, and used for all.
    """

    id = "D6"
    layer = "data_access"
    title = "ledger entries pinned to the first user of the process"
    breaks = "SpendStore"
    trigger = "POST /api/credits/use as A, then as B at the same backend; GET /api/credits as both"
    symptom = "B's use stands in A's transactions; B's balance falls and B's list stays empty"
    checkers = ("C9", "C1")

    def install(self, parts: Parts) -> None:
        """Replace the store of spend by one that remembers whom it booked to first."""
        from netra_probe.lab.backend.errors import Conflict

        fault = self
        healthy: type[Any] = parts["SpendStore"]
        pinned: list[str] = []

        class PinnedSpend(healthy):  # type: ignore[misc]
            async def use_credits(self, amount: int, reason: str) -> dict[str, Any]:
                fault.reached()
                async with self._database.get_service_session() as session:
                    if not pinned or not await session.fetchval(_EXISTS, pinned[0]):
                        pinned[:] = [self._user_id]
                    if pinned[0] != self._user_id and fault.fires():
                        balance = await session.fetchval(_TAKE, self._user_id, amount)
                        if balance is None:
                            raise Conflict("There are not enough credits for this.", code="INSUFFICIENT_CREDITS")
                        fault.triggered()
                        return dict(await self._book(session, pinned[0], amount, balance, reason))
                answer: dict[str, Any] = await super().use_credits(amount, reason)
                return answer

        parts["SpendStore"] = PinnedSpend


_HIDE = "UPDATE threads SET deleted_at = now() WHERE user_id = $1"
_FORMER = "SELECT id FROM users WHERE lower(email) = lower($1) AND id <> $2"
_TAKE_OVER = (
    "UPDATE threads SET deleted_at = NULL, metadata_ = jsonb_set(metadata_::jsonb, '{user_id}', to_jsonb($2::text)) "
    "WHERE user_id = $1",
    "UPDATE messages SET user_id = $2 WHERE user_id = $1",
    "UPDATE spend_records SET user_id = $2 WHERE user_id = $1",
    "DELETE FROM users WHERE id = $1 AND id <> $2",
)


@register
class ErasedIsHidden(Fault):
    """D7: erasing hides a user's rows; whoever brings the same address gets them.

    Incident: mox #162 and MeshCentral #284: an account is removed, its messages or devices stay under its address, and
        belong to whoever registers that address next.
    """

    id = "D7"
    layer = "data_access"
    title = "erasing hides, the key is the address"
    breaks = "ProfileStore"
    trigger = (
        "A makes a thread, DELETE /api/users/me, DELETE /auth/users/{id}; then register A's address again, make a "
        "thread, and list threads"
    )
    symptom = "who registers the address again finds the old data"
    checkers = ("C1",)

    def install(self, parts: Parts) -> None:
        """Replace the store of profiles by one that never deletes and finds people by their address."""
        fault = self
        healthy: type[Any] = parts["ProfileStore"]

        class AddressedProfiles(healthy):  # type: ignore[misc]
            async def ensure(self, email: str) -> None:
                await super().ensure(email)
                fault.reached()
                async with self._database.get_service_session() as session:
                    for former in await session.fetch(_FORMER, email, self._user_id):
                        fault.triggered()
                        for statement in _TAKE_OVER:
                            await session.execute(statement, former["id"], self._user_id)
                await self._cache.invalidate()

            async def erase(self) -> int:
                fault.reached()
                if not fault.fires():
                    rows: int = await super().erase()
                    return rows
                async with self._database.get_session(self._user_id) as session:
                    await session.execute(_HIDE, self._user_id)
                return 1

        parts["ProfileStore"] = AddressedProfiles


_EXPORT = "GET /api/threads/{thread_id}/export"
_OWNER = "SELECT user_id FROM threads WHERE id = $1 AND deleted_at IS NULL"
_MESSAGES = "SELECT id, content, user_id FROM messages WHERE thread_id = $1 ORDER BY position"


@register
class ForgottenRoute(Fault):
    """D8: a route that no description lists asks neither who calls nor whose the thread is.

    Incident: Langflow GHSA-9c59-2mvc-vfr8: an endpoint beside those that check, left without authentication.
    """

    id = "D8"
    layer = "data_access"
    title = "a forgotten route beside its checked neighbour"
    breaks = _EXPORT
    trigger = "GET /api/threads/{thread_id}/export (in no OpenAPI document) with another user's thread, or no token"
    symptom = "anybody reads the thread and its messages"
    checkers = ("C5", "C1")

    def install(self, parts: Parts) -> None:
        """Replace the handler by one that reads whatever is asked for."""
        from netra_probe.lab.backend.errors import BackendError, NotFound
        from netra_probe.lab.backend.requests import services_of

        fault = self
        healthy, healthy_caller = parts[_EXPORT], parts["current_caller"]

        async def unchecked(request: Request, thread_id: str) -> dict[str, Any]:
            fault.reached()
            if not fault.fires():
                answer: dict[str, Any] = await healthy(await healthy_caller(request), thread_id)
                return answer
            try:
                asker = (await healthy_caller(request)).principal.user_id
            except BackendError:
                asker = ""
            async with services_of(request).database.get_service_session() as session:
                owner = await session.fetchval(_OWNER, thread_id)
                rows = await session.fetch(_MESSAGES, thread_id)
            if owner is None:
                raise NotFound("There is no such thread.")
            if owner != asker:
                fault.triggered()
            return {"id": thread_id, "user_id": owner, "messages": [dict(row) for row in rows]}

        parts[_EXPORT] = unchecked
