"""A platform that the probe has never seen: resources, names, ids and envelopes are drawn, and so are its flaws."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
import time
import uuid
from collections import Counter
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
def served(platform: StrangePlatform | LivedInPlatform) -> Iterator[str]:
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


#: The routes of the platform below that reach further than what they name, and what each would do.
HARMFUL = (
    ("PUT", "/api/v1/profile"), ("PUT", "/api/v1/users/settings"), ("POST", "/api/v1/keys"),
    ("DELETE", "/api/v1/keys/{key_id}"), ("POST", "/api/v1/auth/update/password"),
    ("POST", "/api/v1/chats/archive/all"), ("DELETE", "/api/v1/chats/"), ("POST", "/api/v1/chats/{chat_id}/archive"),
    ("POST", "/api/v1/chats/{chat_id}/share"), ("POST", "/api/v1/jobs"), ("POST", "/api/v1/index/rebuild"),
    ("GET", "/api/v1/index/rebuild"), ("POST", "/api/v1/configs/models"), ("POST", "/api/v1/import"),
    ("POST", "/api/v1/users/{user_id}/permissions"), ("POST", "/api/v1/chats/tidy"),
)  # fmt: skip


class LivedInPlatform:
    """A chat platform on which people live: all that they have is in ``state``, and much of it one request may take.

    Arguments:
        stuck: seconds for which the rebuild of the index answers nobody.
        forgetful: the deletion of notes says that it was done, and does nothing.
        limit: so many deletions of one person in a row are answered before they are told to come back in a second.
        lockout: so many wrong passwords lock an account.
    """

    def __init__(self, *, stuck: float = 0.0, forgetful: bool = False, limit: int = 0, lockout: int = 0) -> None:
        self.app = FastAPI(title="Lived in")
        self.accounts: dict[str, dict[str, str]] = {}
        self.tokens: dict[str, str] = {}
        self.state: dict[str, Any] = {}
        #: ``(method, path template, user id)`` of all that was served.
        self.served: list[tuple[str, str, str]] = []
        self.rebuilt = threading.Event()
        self._stuck, self._forgetful = stuck, forgetful
        self._limit, self._lockout = limit, lockout
        #: Deletions that were answered since the last pause, and until when the next one is refused, by user id.
        self._deleted: Counter[str] = Counter()
        self._until: dict[str, float] = {}
        #: Who came back before the time that they were told.
        self.hasty: list[str] = []
        #: Wrong passwords by address.
        self.wrong: Counter[str] = Counter()
        #: A breaker that opens after this many more calls, and stays open until somebody sets it.
        self.breaker = 2
        self._numbers = iter(range(100, 10_000))
        self._serve_people()
        self._serve_things()
        self._serve_harm()

    # People

    def move_in(self, email: str, password: str) -> str:
        """Somebody with a life of their own here: chats, folders, notes, keys and settings."""
        id = str(uuid.uuid4())
        self.accounts[email] = {"id": id, "password": password}
        self.state[id] = {
            "profile": {"name": f"The person of {email}", "bio": "lives here"},
            "settings": {"theme": "dark", "prompts": ["mine"]},
            "keys": {f"key-{uuid.uuid4()}": "sk-of-old"},
            "chats": {f"{uuid.uuid4()}": {"title": "Our holidays", "archived": False, "folder_id": None}},
            "folders": {f"{uuid.uuid4()}": {"name": "Family"}},
            "notes": {f"{uuid.uuid4()}": {"text": "do not lose"}},
            "jobs": {},
            "shared": {},
        }
        return id

    def snapshot(self, *users: str) -> str:
        """All that these people have, to be compared byte by byte."""
        return json.dumps({user: self.state[user] for user in users}, sort_keys=True)

    def things(self, kind: str) -> list[str]:
        """The ids of all things of a kind, whosever they are."""
        return [id for state in self.state.values() for id in state[kind]]

    def _who(self, request: Request) -> str:
        user = self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "), "")
        self.served.append((request.method, request.scope["route"].path, user))
        if not user:
            raise HTTPException(401, "who are you?")
        return user

    def _serve_people(self) -> None:
        app = self.app

        @app.post("/auth/register")
        @app.post("/auth/login")
        async def enter(body: dict[str, str], request: Request) -> dict[str, Any]:
            if request.url.path.endswith("register"):
                if body["email"] in self.accounts:
                    raise HTTPException(409, "exists")
                id = self.move_in(body["email"], body["password"])
                self.state[id]["profile"]["name"] = body["name"]
            known = self.accounts.get(body["email"])
            if self._lockout and self.wrong[body["email"]] >= self._lockout:
                raise HTTPException(423, "this account is locked")
            if known is None or known["password"] != body["password"]:
                self.wrong[body["email"]] += 1
                raise HTTPException(401, "no")
            token = f"opaque-{uuid.uuid4().hex}"
            self.tokens[token] = known["id"]
            return {"access_token": token, "token_type": "Bearer", "user": {"id": known["id"], "email": body["email"]}}

        @app.post("/auth/logout")
        async def leave(request: Request) -> dict[str, str]:
            self.tokens.pop(request.headers.get("authorization", "").removeprefix("Bearer "), None)
            return {"status": "success"}

        @app.get("/auth/me")
        async def me(request: Request) -> dict[str, str]:
            return {"user_id": self._who(request)}

        @app.get("/health")
        async def health() -> dict[str, str]:
            return {"status": "healthy"}

        @app.get("/api/v1/users/search")
        async def search(request: Request) -> list[dict[str, str]]:
            self._who(request)
            return [{"id": id, "name": state["profile"]["name"]} for id, state in self.state.items()]

    # Things

    def _serve_things(self) -> None:
        text = create_model("Named", name=(str, "untitled"), title=(str, "untitled"), text=(str, ""))
        self._kind("chats", "chat", text, making="/api/v1/chats/new")
        self._kind("folders", "folder", text, making="/api/v1/folders/")
        self._kind("notes", "note", text, making="/api/v1/notes")

    def _slow_down(self, user: str) -> None:
        now = time.monotonic()
        if now < self._until.get(user, now):
            self.hasty.append(user)
            raise HTTPException(429, "slowly", headers={"Retry-After": "1"})
        self._deleted[user] += 1
        if self._deleted[user] > self._limit:
            self._deleted[user], self._until[user] = 0, now + 1.0
            raise HTTPException(429, "slowly", headers={"Retry-After": "1"})

    def _kind(self, plural: str, noun: str, model: Any, *, making: str) -> None:
        item = f"/api/v1/{plural}/{{{noun}_id}}"

        def found(request: Request) -> tuple[dict[str, Any], str]:
            id = request.path_params[f"{noun}_id"]
            mine = self.state[self._who(request)][plural]
            if id not in mine:
                raise HTTPException(404, "no such thing")
            return mine, id

        async def make(request: Request, body: Any) -> Any:
            id = str(uuid.uuid4())
            self.state[self._who(request)][plural][id] = body.model_dump()
            return {"id": id, **body.model_dump()}

        async def everything(request: Request) -> Any:
            return [{"id": id, **thing} for id, thing in self.state[self._who(request)][plural].items()]

        async def read(request: Request) -> Any:
            mine, id = found(request)
            return {"id": id, **mine[id]}

        async def update(request: Request, body: Any) -> Any:
            mine, id = found(request)
            mine[id].update(body.model_dump())
            return {"id": id, **mine[id]}

        async def delete(request: Request) -> Any:
            mine, id = found(request)
            if self._limit:
                self._slow_down(self._who(request))
            if not (self._forgetful and plural == "notes"):
                del mine[id]
            return {"deleted": True}

        make.__annotations__["body"] = update.__annotations__["body"] = model
        listing = making.replace("/new", "/")
        for method, path, handler in (
            ("POST", making, make), ("GET", listing, everything), ("GET", item, read), ("PUT", item, update),
            ("DELETE", item, delete),
        ):  # fmt: skip
            name = f"{method} {path}"
            self.app.add_api_route(path, handler, methods=[method], name=name, operation_id=name, response_model=None)

    # Harm

    def _serve_harm(self) -> None:
        def harm(method: str, path: str) -> Callable[..., Any]:
            async def done(request: Request) -> Any:
                state = self.state[self._who(request)]
                if path.endswith("/rebuild"):
                    time.sleep(self._stuck)  # as one thread does that everybody waits for
                    self.rebuilt.set()
                elif path.endswith("/jobs"):
                    id = f"job-{next(self._numbers)}-{uuid.uuid4().hex[:6]}"
                    state["jobs"][id] = "queued"
                    return {"id": id}
                elif "archive" in path or path.endswith("/tidy"):
                    for chat in state["chats"].values():
                        chat["archived"] = True
                elif method == "DELETE":
                    state["keys" if "keys" in path else "chats"].clear()
                elif path.endswith("/profile"):
                    state["profile"] = await request.json()
                elif path.endswith("/settings"):
                    state["settings"] = {}
                else:
                    state["shared"][str(uuid.uuid4())] = path
                return {"done": True}

            return done

        body = {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}}
        for method, path in HARMFUL:
            more = body if method in ("PUT", "POST") else None
            name = f"{method} {path}"
            self.app.add_api_route(
                path, harm(method, path), methods=[method], name=name, operation_id=name, openapi_extra=more
            )
            braces = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
            assert all(brace in ("chat_id", "key_id", "user_id") for brace in braces)

        @self.app.get("/api/v1/crowded", include_in_schema=False)
        async def crowded() -> None:
            raise HTTPException(503, "QueuePool limit of size 5 overflow 0 reached")

        @self.app.get("/api/v1/guarded", include_in_schema=False)
        async def guarded() -> dict[str, bool]:
            self.breaker -= 1
            if self.breaker < 0:
                raise HTTPException(503, "the circuit breaker of the agents is open")
            return {"closed": True}

        @self.app.get("/api/v1/keys")
        async def keys(request: Request) -> list[dict[str, str]]:
            return [{"id": id} for id in self.state[self._who(request)]["keys"]]

        @self.app.get("/api/v1/users/settings")
        async def settings(request: Request) -> Any:
            return self.state[self._who(request)]["settings"]

        @self.app.get("/api/v1/jobs")
        async def jobs(request: Request) -> list[dict[str, str]]:
            return [{"id": id} for id in self.state[self._who(request)]["jobs"]]
