"""A platform that the probe has never seen: resources, names, ids and envelopes are drawn, and so are its flaws."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request
from pydantic import Field, create_model

NOUNS = ("invoice", "recipe", "sensor", "ticketing", "category", "dossier", "meadow", "playlist", "parcel", "glossary")
FIELDS: dict[str, Any] = {
    "title": (str, Field(min_length=3, max_length=80)),
    "remark": (str | None, None),
    "priority": (int, Field(ge=2, le=9)),
    "ratio": (float, Field(gt=0, lt=1)),
    "colour": (str, Field(pattern="^(red|green|blue)$")),
    "code": (str, Field(pattern="^[A-Z]{3}-[0-9]{4}$")),
    "active": (bool, True),
    "labels": (dict[str, str] | None, None),
    "when": (str, Field(json_schema_extra={"format": "date-time"})),
}
#: Every operation of a resource that may forget to ask whose it is.
OPERATIONS = ("read", "update", "delete", "report", "rename", "add", "list")


@dataclass
class Resource:
    """One kind of object, and how this platform happens to serve it."""

    noun: str
    parent: Resource | None
    numbered: bool
    id_field: str
    envelope: str
    update: str
    hides: bool
    filters: bool
    fields: dict[str, Any]
    flaws: frozenset[str]
    things: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def plural(self) -> str:
        return self.noun[:-1] + "ies" if self.noun.endswith("y") else self.noun + "s"

    @property
    def collection(self) -> str:
        above = f"/v2/{self.parent.plural}/{{{self.parent.noun}_id}}" if self.parent else "/v2"
        return f"{above}/{self.plural}"

    @property
    def item(self) -> str:
        return f"/v2/{self.plural}/{{{self.noun}_id}}"

    @property
    def report(self) -> str:
        """Where the id of a thing goes into the query."""
        return f"/v2/{self.noun}-report"

    @property
    def renaming(self) -> str:
        """Where it goes into the body."""
        return f"/v2/{self.noun}-renaming"

    def unchecked(self) -> set[str]:
        """The operations that anybody who knows an id can do, as a finding names them."""
        routes = {
            "read": f"GET {self.item}",
            "update": f"{self.update} {self.item}",
            "delete": f"DELETE {self.item}",
            "add": f"POST {self.collection}",
            "list": f"GET {self.collection}",
            "report": f"GET {self.report}",
            "rename": f"POST {self.renaming}",
        }
        return {routes[flaw] for flaw in self.flaws if flaw in routes}


class StrangePlatform:
    """Auth service and backend in one application, drawn from a seed; ``flawed=False`` draws no flaws."""

    def __init__(self, seed: int, *, flawed: bool, queue: int = 0) -> None:
        draw = random.Random(seed)
        #: So many registrations and logins are told to come back in a second.
        self.queue = queue
        self.accounts: dict[str, dict[str, str]] = {}
        self.tokens: dict[str, str] = {}
        self.resources: list[Resource] = []
        for noun in draw.sample(NOUNS, 4):
            parents = [one for one in self.resources if one.parent is None]
            parent = draw.choice(parents) if parents and draw.random() < 0.5 else None
            possible = OPERATIONS if parent is not None else OPERATIONS[:5]
            self.resources.append(
                Resource(
                    noun=noun,
                    parent=parent,
                    numbered=draw.random() < 0.4,
                    id_field=draw.choice(("id", f"{noun}_id")),
                    envelope=draw.choice(("", "items", "data", noun)),
                    update=draw.choice(("PUT", "PATCH")),
                    hides=draw.random() < 0.5,
                    filters=draw.random() < 0.5,
                    fields={name: FIELDS[name] for name in ("title", *draw.sample(list(FIELDS)[1:], 3))},
                    flaws=frozenset(name for name in possible if flawed and draw.random() < 0.4),
                )
            )
        self.app = FastAPI(title="Strange platform")
        self._accounts()
        for resource in self.resources:
            self._serve(resource)

    @property
    def unchecked(self) -> set[str]:
        return {route for resource in self.resources for route in resource.unchecked()}

    def _caller(self, request: Request) -> str:
        user = self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if user is None:
            raise HTTPException(401, "who are you?")
        return user

    def _accounts(self) -> None:
        async def enter(request: Request) -> dict[str, Any]:
            body = await request.json()
            if self.queue:
                self.queue -= 1
                raise HTTPException(429, "one at a time", headers={"Retry-After": "1"})
            known = self.accounts.setdefault(body["email"], {"id": str(uuid.uuid4()), "password": body["password"]})
            if known["password"] != body["password"]:
                raise HTTPException(401, "no")
            token = f"opaque-{uuid.uuid4().hex}"
            self.tokens[token] = known["id"]
            user = {"id": known["id"], "email": body["email"]}
            return {"access_token": token, "refresh_token": token, "token_type": "Bearer", "user": user}

        async def me(request: Request) -> dict[str, str]:
            return {"user_id": self._caller(request)}

        self.app.add_api_route("/auth/register", enter, methods=["POST"])
        self.app.add_api_route("/auth/login", enter, methods=["POST"])
        self.app.add_api_route("/auth/me", me, methods=["GET"])

    def _serve(self, resource: Resource) -> None:
        def shown(id: str) -> dict[str, Any]:
            thing = resource.things[id]
            named: Any = int(id) if resource.numbered else id
            return {resource.id_field: named, **thing["fields"], "created": thing["created"]}

        def checked(id: str, user: str, operation: str) -> str:
            thing = resource.things.get(id)
            if thing is None:
                raise HTTPException(404, "no such thing")
            if thing["owner"] != user and operation not in resource.flaws:
                raise HTTPException(404 if resource.hides else 403, "no such thing" if resource.hides else "not yours")
            return id

        def parent_of(request: Request, user: str, operation: str) -> str:
            if resource.parent is None:
                return ""
            id = request.path_params[f"{resource.parent.noun}_id"]
            thing = resource.parent.things.get(id)
            if thing is None or (thing["owner"] != user and operation not in resource.flaws):
                raise HTTPException(404, "no such thing")
            return str(id)

        def mine(request: Request, user: str) -> list[dict[str, Any]]:
            if resource.filters and resource.parent is not None and "list" not in resource.flaws:
                thing = resource.parent.things.get(request.path_params[f"{resource.parent.noun}_id"])
                if thing is None or thing["owner"] != user:
                    return []
            above = parent_of(request, user, "list")
            return [
                shown(id)
                for id, thing in resource.things.items()
                if thing["above"] == above and (above or thing["owner"] == user)
            ]

        model = create_model(resource.noun.title(), **resource.fields)

        async def create(request: Request, body: Any) -> Any:
            user = self._caller(request)
            above = parent_of(request, user, "add")
            count = sum(len(other.things) for other in self.resources)
            id = str(count + 4711) if resource.numbered else f"{resource.noun[:3]}-{uuid.uuid4().hex}"
            fields = body.model_dump()
            resource.things[id] = {"owner": user, "above": above, "fields": fields, "created": count}
            return shown(id)

        async def everything(request: Request) -> Any:
            found = mine(request, self._caller(request))
            return {resource.envelope: found, "total": len(found)} if resource.envelope else found

        async def read(request: Request) -> Any:
            return shown(checked(request.path_params[f"{resource.noun}_id"], self._caller(request), "read"))

        async def update(request: Request, body: Any) -> Any:
            id = checked(request.path_params[f"{resource.noun}_id"], self._caller(request), "update")
            resource.things[id]["fields"] = body.model_dump()
            return {"updated": True}

        async def delete(request: Request) -> Any:
            id = checked(request.path_params[f"{resource.noun}_id"], self._caller(request), "delete")
            del resource.things[id]
            return {"deleted": True}

        async def report(request: Request, asked: str) -> Any:
            return {"about": shown(checked(asked, self._caller(request), "report"))}

        async def rename(request: Request, body: Any) -> Any:
            id = checked(str(getattr(body, f"{resource.noun}_id")), self._caller(request), "rename")
            resource.things[id]["fields"]["title"] = body.title
            return {"renamed": True}

        id_type = int if resource.numbered else str
        naming: dict[str, Any] = {f"{resource.noun}_id": (id_type, ...), "title": FIELDS["title"]}
        rename.__annotations__["body"] = create_model(f"{resource.noun.title()}Renaming", **naming)
        report.__annotations__["asked"] = Annotated[str, Query(alias=f"{resource.noun}_id")]
        # The model is made here, where no annotation written as text can name it.
        create.__annotations__["body"] = update.__annotations__["body"] = model
        for method, path, handler in (
            ("POST", resource.collection, create),
            ("GET", resource.collection, everything),
            ("GET", resource.item, read),
            (resource.update, resource.item, update),
            ("DELETE", resource.item, delete),
            ("GET", resource.report, report),
            ("POST", resource.renaming, rename),
        ):
            self._route(method, path, handler)

    def _route(self, method: str, path: str, handler: Callable[..., Any]) -> None:
        name = f"{method} {path}"
        self.app.add_api_route(path, handler, methods=[method], name=name, operation_id=name, response_model=None)


@contextlib.contextmanager
def served(platform: StrangePlatform) -> Iterator[str]:
    """The platform on a free port, for the length of a block; its URL."""
    server = uvicorn.Server(uvicorn.Config(platform.app, port=0, log_level="error", lifespan="off"))
    started = threading.Event()

    class Told(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started.set()

    server = Told(server.config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    assert started.wait(10), "the platform did not start within 10 s"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
