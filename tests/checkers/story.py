"""Small histories, written by hand: a story of who did what, in as few words as it takes."""

from __future__ import annotations

from typing import Any

import msgspec

from netra_probe.history.canary import mint
from netra_probe.history.operation import Operation

SECOND = 1_000_000_000


def encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


class Story:
    """Writes operations one after the other; a millisecond passes with each, ``wait`` lets more pass.

    >>> story = Story("alice", "bob")
    >>> story.get("alice", "/api/threads/t1", {"id": "t1"})
    <#3 alice/rest ok GET /api/threads/{id} 200>
    """

    def __init__(self, *users: str) -> None:
        self.operations: list[Operation] = []
        self.time = 0
        self.secrets: dict[str, str] = {}
        for user in users:
            self.write("ok", "principal", user=user, ids={"user_id": user_id(user)})

    def write(self, type: str, action: str, **fields: Any) -> Operation:
        self.time += SECOND // 1000
        operation = Operation(index=len(self.operations), time=self.time, type=type, action=action, **fields)  # type: ignore[arg-type]
        self.operations.append(operation)
        return operation

    def wait(self, seconds: float) -> None:
        self.time += int(seconds * SECOND)

    def complete(self, call: Operation, type: str, **fields: Any) -> Operation:
        return self.write(
            type,
            call.action,
            user=call.user,
            connection=call.connection,
            surface=call.surface,
            call=call.index,
            **fields,
        )

    # What the probe sets up

    def mint(self, user: str, field: str = "title") -> str:
        """A secret of the user's, planted."""
        token = mint(seed=7, identity=user, user=user, field=field, surface="rest").token
        self.write("ok", "mint", user=user, detail={"token": token, "field": field, "surface": "rest"})
        self.secrets[user] = token
        return token

    def own(self, user: str, kind: str, id: str) -> None:
        self.write("ok", "own", user=user, detail={"kind": kind, "id": id})

    # Requests

    def begin(self, user: str, method: str, path: str, body: object = None, **detail: Any) -> Operation:
        """A request without its completion."""
        surface = "auth" if path.startswith("/auth") else "rest"
        return self.write(
            "invoke",
            f"{method} {route(path)}",
            user=user,
            connection=f"{user}/{surface}",
            surface=surface,
            payload="" if body is None else encode(body),
            detail={"path": path, **detail},
        )

    def request(
        self, user: str, method: str, path: str, answer: object, status: int = 200, sent: object = None, **detail: Any
    ) -> Operation:
        call = self.begin(user, method, path, sent, **detail)
        type = "ok" if status < 400 else "fail" if status < 500 else "info"
        ids = {"user_id": answer["user_id"]} if isinstance(answer, dict) and "user_id" in answer else {}
        return self.complete(call, type, status=status, payload=encode(answer), ids=ids)

    def get(self, user: str, path: str, answer: object, status: int = 200, **detail: Any) -> Operation:
        return self.request(user, "GET", path, answer, status, **detail)

    def attempt(
        self,
        user: str,
        method: str,
        path: str,
        answer: object,
        status: int,
        *,
        owner: str | None,
        object: tuple[str, str] | None,
        sent: object = None,
        name: str = "foreign id",
        expect: str = "refused",
    ) -> Operation:
        """An act that must not succeed."""
        aim = {"object": {"kind": object[0], "id": object[1]}} if object else {}
        return self.request(
            user, method, path, answer, status, sent=sent, attempt=name, owner=owner, expect=expect, **aim
        )

    def forge(self, user: str, name: str, who: str | None, surface: str = "rest", **detail: Any) -> Operation:
        """One attempt of the token playbook; ``who`` is whom the target takes the bearer for."""
        call = self.write(
            "invoke", "attempt", user=user, surface=surface, detail={"attempt": name, "expect": "refused", **detail}
        )
        ids = {"user_id": user_id(who)} if who else {}
        return self.complete(call, "ok" if who else "fail", status=200 if who else 401, ids=ids)

    def control(self, user: str, who: str | None, surface: str = "rest", **detail: Any) -> Operation:
        """The user's valid token, to show that the way is open."""
        return self.forge(user, "own token", who, surface, control=True, **{"expect": "self", **detail})

    # Sockets

    def connect(self, user: str, name: str = "ws-1", **detail: Any) -> None:
        call = self.write(
            "invoke", "connect", user=user, connection=f"{user}/{name}", surface="websocket", detail=detail
        )
        self.complete(call, "ok", status=101)

    def receive(self, user: str, frame: dict[str, Any], name: str = "ws-1") -> Operation:
        ids = {key: str(value) for key, value in frame.items() if key.endswith("_id")}
        return self.write(
            "ok",
            "receive",
            user=user,
            connection=f"{user}/{name}",
            surface="websocket",
            payload=encode(frame),
            ids=ids,
        )

    def send(self, user: str, message: object, name: str = "ws-1", **detail: Any) -> None:
        call = self.write(
            "invoke",
            "send",
            user=user,
            connection=f"{user}/{name}",
            surface="websocket",
            payload=encode(message),
            detail=detail,
        )
        self.complete(call, "ok")

    def closed(self, user: str, status: int, name: str = "ws-1") -> None:
        self.write("ok", "closed", user=user, connection=f"{user}/{name}", surface="websocket", status=status)

    # Stores and gauges

    def row(self, table: str, key: str, owner: str | None, row: object) -> Operation:
        return self.write(
            "ok",
            "row",
            surface="database",
            payload=encode(row),
            detail={"table": table, "key": key, "owner": owner},
        )

    def key(self, key: str, owners: list[str], value: object) -> Operation:
        return self.write("ok", "key", surface="cache", payload=encode(value), detail={"key": key, "owners": owners})

    def gauge(self, name: str, value: float, cycle: int, **fields: Any) -> Operation:
        return self.write(
            "ok",
            "gauge",
            detail={"name": name, "value": value, "cycle": cycle},
            **{"surface": "database", **fields},
        )

    # Transactions

    def txn(self, user: str, *steps: list[Any], type: str = "ok", began: Operation | None = None) -> Operation:
        """One transaction: begun here, or at ``began``."""
        call = began or self.begin_txn(user, *steps)
        return self.complete(call, type, detail={"txn": list(steps)} if type == "ok" else {})

    def begin_txn(self, user: str, *steps: list[Any]) -> Operation:
        return self.write("invoke", "txn", user=user, surface="rest", detail={"txn": list(steps)})


def user_id(user: str) -> str:
    """Ids that look like ids and still tell whose they are."""
    return f"{user.encode().hex():0>8}-0000-4000-8000-000000000000"[-36:]


def route(path: str) -> str:
    """The path as a route: what stands behind a plural noun is an id."""
    parts = path.split("?")[0].split("/")
    nouns = ("threads", "messages", "users", "runs")
    return "/".join(
        "{id}" if position and parts[position - 1] in nouns and part not in ("me", "search") else part
        for position, part in enumerate(parts)
    )
