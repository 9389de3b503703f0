"""One step of a plan, and the plan: who does which operation, with what, when, over what, while who listens."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import cached_property
from typing import Any

import msgspec

from netra_probe.display.tables import Table
from netra_probe.display.views import View
from netra_probe.errors import ParameterError
from netra_probe.target.deployment import Mode

#: Version of the stored form of a plan; a reader refuses a newer one.
SCHEMA = 1


class Role(StrEnum):
    """What an operation is for."""

    READ = "read"
    LIST = "list"
    SEARCH = "search"
    COUNT = "count"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    START = "start"
    STOP = "stop"
    EXPORT = "export"
    ISSUE = "issue a credential"
    END = "end a credential"
    CONNECT = "connect"

    @property
    def has_effect(self) -> bool:
        """Whether it changes something by itself."""
        return self not in (Role.READ, Role.LIST, Role.SEARCH, Role.COUNT, Role.CONNECT)


class Principal(StrEnum):
    """Who acts, as seen from the one whom the object belongs to."""

    OWNER = "owner"
    SESSION = "owner's other session"
    OTHER = "other user"
    NAMESAKE = "user of a similar name"
    REGISTERED_AGAIN = "address registered again"
    NOBODY = "nobody"
    SERVICE = "service with a wrong secret"
    ENDED = "ended session"

    @property
    def is_owner(self) -> bool:
        return self in (Principal.OWNER, Principal.SESSION)


class Channel(StrEnum):
    """How the credential travels."""

    HEADER = "header"
    COOKIE = "cookie"
    QUERY = "query"
    SUBPROTOCOL = "subprotocol"
    MESSAGE = "in a message"


class Place(StrEnum):
    """Where a value stands that is somebody else's."""

    NOWHERE = "nowhere"
    PATH = "path"
    QUERY = "query"
    BODY = "body field"
    MESSAGE = "message field"
    ARGUMENT = "tool argument"
    HANDSHAKE = "handshake parameter"
    KEY = "idempotency key"
    CLAIM_QUERY = "user id in the query"
    CLAIM_HEADER = "user id in a header"
    CLAIM_BODY = "user id in the body"

    @property
    def claims(self) -> bool:
        """Whether the client says there who it is, beside its credential."""
        return self in (Place.CLAIM_QUERY, Place.CLAIM_HEADER, Place.CLAIM_BODY)


class Spelling(StrEnum):
    """How that value is written."""

    ID = "id"
    UPPER = "other case"
    PREFIX = "prefix"
    PATTERN = "pattern"
    MISSING = "id of nothing"


class Timing(StrEnum):
    """When the step is taken."""

    IN_TURN = "in turn"
    SAME_INSTANT = "same instant"
    DURING_RUN = "while the owner's run goes on"
    AFTER_DELETE = "after the object's end"


class Connection(StrEnum):
    """Over which connection."""

    OWN = "own, reused"
    FRESH = "fresh"
    OTHER_BACKEND = "other backend"
    SHARED = "one line with the owner"
    AFTER_LARGE = "one line, after a large body"


class Disturbance(StrEnum):
    """What goes wrong at the same time."""

    NONE = "none"
    CANCELLED = "owner's request cancelled"
    CUT = "listener cut"


class Listeners(StrEnum):
    """What the others do meanwhile."""

    ABSENT = "absent"
    IDLE = "connected"
    ACTIVE = "in a run"
    SSE = "streaming (SSE)"


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step: somebody does an operation, in a way that these fields say.

    >>> step = Step(operation="GET /api/threads/{thread_id}", role=Role.READ, principal=Principal.OTHER,
    ...             place=Place.PATH)
    >>> str(step)
    'other user: GET /api/threads/{thread_id}, path: id'

    Arguments:
        operation: method and route template (``GET /api/threads/{id}``), ``message`` and its type, ``question``,
            ``tool`` and its name, or ``handshake``.
        surface: ``rest``, ``auth`` or ``websocket``.
        kind: what it is about or makes: ``thread``.
        removal: the operation by which what it makes is removed again; "" where it makes nothing, or nobody knows.
    """

    operation: str
    role: Role
    surface: str = "rest"
    kind: str = ""
    removal: str = ""
    principal: Principal = Principal.OWNER
    channel: Channel = Channel.HEADER
    place: Place = Place.NOWHERE
    spelling: Spelling = Spelling.ID
    timing: Timing = Timing.IN_TURN
    connection: Connection = Connection.OWN
    disturbance: Disturbance = Disturbance.NONE
    listeners: Listeners = Listeners.ABSENT

    @property
    def id(self) -> str:
        """The same for equal steps, in every plan and every run."""
        return hashlib.blake2b(msgspec.json.encode(self), digest_size=5).hexdigest()

    @property
    def mode(self) -> Mode:
        """The mode that it needs on another machine: acting on another user's objects needs attack."""
        return Mode.PROBE if self.principal.is_owner and self.place is Place.NOWHERE else Mode.ATTACK

    @property
    def makes(self) -> str:
        """The kind of what it leaves behind; "" where it makes nothing."""
        return self.kind if self.role in (Role.CREATE, Role.START, Role.EXPORT) else ""

    @property
    def cost(self) -> int:
        """Requests, messages and handshakes that it takes: its own, and those that show what came of it."""
        foreign = not self.principal.is_owner or self.place is not Place.NOWHERE
        cost = 1
        if foreign and self.role.has_effect:
            cost += 3  # the owner makes something to be reached for, and looks at it before and after
        if self.place.claims:
            cost += 2
        if self.timing is Timing.AFTER_DELETE:
            cost += 2
        return cost + _EXTRA.get(self.timing, 0) + _EXTRA.get(self.connection, 0) + _EXTRA.get(
            self.disturbance, 0
        ) + _EXTRA.get(self.listeners, 0)  # fmt: skip

    @property
    def how(self) -> tuple[str, ...]:
        """Everything about it that is not the ordinary."""
        where = "" if self.place is Place.NOWHERE else f"{self.place}: {self.spelling}"
        return tuple(filter(None, (where, *(str(getattr(self, name)) for name in _MANNERS if self.is_odd(name)))))

    def is_odd(self, dimension: str) -> bool:
        """Whether its value in a dimension is not the ordinary one."""
        return bool(getattr(self, dimension) != _ORDINARY[dimension])

    def __str__(self) -> str:
        return ", ".join((f"{self.principal}: {self.operation}", *self.how))


_EXTRA: dict[StrEnum, int] = {
    Timing.SAME_INSTANT: 1,
    Timing.DURING_RUN: 2,
    Connection.AFTER_LARGE: 1,
    Disturbance.CANCELLED: 1,
    Disturbance.CUT: 1,
    Listeners.ACTIVE: 2,
    Listeners.SSE: 1,
}
#: Dimensions that are named where they are not the ordinary.
_MANNERS = ("channel", "timing", "connection", "disturbance", "listeners")
_ORDINARY = {
    field.name: field.default
    for field in msgspec.structs.fields(Step)
    if isinstance(field.default, StrEnum)
}  # fmt: skip


class Plan(View):
    """Steps in order, and the seed of everything random in them.

    >>> plan = Plan((Step(operation="GET /api/threads", role=Role.LIST),), seed=7)
    >>> len(plan * 3 + plan), plan.cost, Plan.from_json(plan.to_json()) == plan
    (4, 1, True)
    """

    def __init__(self, steps: tuple[Step, ...], *, seed: int) -> None:
        self.steps = steps
        self.seed = seed

    # As a value

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and (self.steps, self.seed) == (other.steps, other.seed)

    def __hash__(self) -> int:
        return hash((self.steps, self.seed))

    def __add__(self, other: Plan) -> Plan:
        """One after the other; the seed is the first one's."""
        return Plan(self.steps + other.steps, seed=self.seed)

    def __mul__(self, times: int) -> Plan:
        """The whole, again and again."""
        return Plan(self.steps * times, seed=self.seed)

    def __getitem__(self, part: slice) -> Plan:
        return Plan(self.steps[part], seed=self.seed)

    def where(self, keep: Callable[[Step], bool] | None = None, /, **values: Any) -> Plan:
        """The steps with these values, such as ``plan.where(role="read", principal="nobody")``."""
        wanted = {name: value if isinstance(value, tuple | set | list) else (value,) for name, value in values.items()}
        if unknown := wanted.keys() - set(Step.__struct_fields__):
            raise ParameterError(f"a step has no {sorted(unknown)[0]}; it has {', '.join(Step.__struct_fields__)}.")
        return Plan(
            tuple(
                step
                for step in self.steps
                if all(getattr(step, name) in among for name, among in wanted.items()) and (not keep or keep(step))
            ),
            seed=self.seed,
        )

    def without(self, *ids: str) -> Plan:
        """What is left when the steps with these ids are taken out."""
        return self.where(lambda step: step.id not in ids)

    def within(self, budget: int) -> Plan:
        """As many of the first steps as this many requests pay for."""
        spent = 0
        for number, step in enumerate(self.steps):
            spent += step.cost
            if spent > budget:
                return self[:number]
        return self

    # What follows from the steps

    @cached_property
    def cost(self) -> int:
        """Requests, messages and handshakes in all."""
        return sum(step.cost for step in self.steps)

    @property
    def mode(self) -> Mode:
        """The mode that all of it needs."""
        return max((step.mode for step in self.steps), key=list(Mode).index, default=Mode.OBSERVE)

    @property
    def makes(self) -> dict[str, str]:
        """The kinds of what is made, and the operation that removes each; "" where there is none."""
        return {step.makes: step.removal for step in self.steps if step.makes}

    # Stored and shown

    def to_json(self) -> bytes:
        """As stored: the same bytes for equal plans."""
        return msgspec.json.encode({"schema": SCHEMA, "seed": self.seed, "steps": self.steps})

    @staticmethod
    def from_json(text: bytes | str) -> Plan:
        """Read what ``to_json`` wrote. Raises ParameterError when it is no plan."""
        try:
            stored = msgspec.json.decode(text, type=_Stored)
        except msgspec.MsgspecError as error:
            raise ParameterError(f"not a plan: {error}") from None
        if stored.schema > SCHEMA:
            raise ParameterError(f"a plan of schema {stored.schema}; read it with the netra-probe that wrote it.")
        return Plan(stored.steps, seed=stored.seed)

    def table(self) -> Table:
        """One row a step."""
        rows = [
            (str(number), str(step.principal), step.operation, ", ".join(step.how) or "–", str(step.cost))
            for number, step in enumerate(self.steps, start=1)
        ]
        return Table(
            caption=self.caption,
            headings=("step", "who", "does", "how", "requests"),
            rows=rows,
            numeric=frozenset({0, 4}),
        )

    @property
    def caption(self) -> str:
        roles = Counter(step.role for step in self.steps)
        told = ", ".join(f"{roles[role]} {role}" for role in Role if roles[role])
        made = ", ".join(f"{kind} (removed by {how})" if how else kind for kind, how in sorted(self.makes.items()))
        return (
            f"{len(self.steps)} steps, about {self.cost} requests, mode {self.mode}, seed {self.seed}"
            + (f": {told}" if told else "")
            + (f"; makes {made}" if made else "")
        )

    def text(self) -> str:
        return self.table().text()

    def html(self) -> str:
        return self.table().html()


class _Stored(msgspec.Struct):
    schema: int
    seed: int
    steps: tuple[Step, ...]
