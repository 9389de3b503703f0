"""Where one user's data was first seen by another, and under which circumstances: the raw material of attribution.

Only the first time tells how something got through. What has once come to somebody is theirs to see again: it stands in
their own messages, memories and exports from then on.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from netra_probe.checkers.json_bodies import values
from netra_probe.checkers.principals import PrincipalIndex
from netra_probe.history import actions
from netra_probe.history.canary import PREFIX, Canary, CanarySearch
from netra_probe.history.frames import frame_of
from netra_probe.history.operation import PROBE, Operation


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """Data of ``owner`` seen by ``recipient``.

    Arguments:
        secret: the canary, or the id, that was seen; ``name`` says which, such as ``canary`` or ``run_id``.
        overlapping: the owner was active at the same time.
        run: the run or thread that the frame says it belongs to.
        copied: the owner had got an answer with the very same secrets to the same request before.
        texts: of a frame, the texts in which a canary stands, hashed.
        marks: the request and run ids under which it came; ``prompts``: what the recipient was just asking.
        reachable: how many others could have seen it at that moment: with an open socket, for a frame.
        away: a frame, while the owner had no open connection.
        previous: the owner had the request before this one on the same backend.
        large, cancelled: that request before had a large body, or was cancelled.
        unasked: it came on a fresh connection before its user had sent anything there, while the owner was idle.
        attempted: it answers an act that names another user's id, or was sent with one (``pushed``), or
            comes after the recipient had named one (``inferred``).
        after_cancel: a request had been hung up on, at some time before.
        created: it came in the answer to making something.
        last_writer: the owner, or the recipient, was the last of all users to begin something.
    """

    index: int
    owner: str
    recipient: str
    surface: str
    action: str
    secret: str
    name: str = "canary"
    frame: str = ""
    run: str = ""
    overlapping: bool = False
    copied: bool = False
    previous: bool = False
    large: bool = False
    cancelled: bool = False
    unasked: bool = False
    attempted: str = ""
    pushed: bool = False
    inferred: bool = False
    after_cancel: bool = False
    created: bool = False
    last_writer: bool = False
    texts: tuple[int, ...] = ()
    marks: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    reachable: int = 0
    away: bool = False


#: Sightings that are looked at; what they have in common shows in far fewer.
MOST_SIGHTINGS = 5_000
#: Texts of frames that are remembered for comparison.
MOST_TEXTS = 20_000
#: Bodies beyond this are read in pieces by some servers, which is when their tasks change hands.
LARGE = 65_536
#: Share of common words from which on two questions are similar.
ALIKE = 0.6
_WORD = re.compile(r"\w+")
_REFERENCES = ("run_id", "thread_id", "user_id")


@dataclass
class _Before:
    """The last request that a backend, or a connection, has answered."""

    user: str
    large: bool
    cancelled: bool


@dataclass
class LeakTracker:
    """Follows a history and notes how everything seen in its window had first come to who sees it there.

    Memory is per user, connection, route and secret that got through.
    """

    start: int = 0
    roster: PrincipalIndex = field(default_factory=PrincipalIndex)
    #: Whether the target gave one run id to several users.
    collided: bool = False
    #: User → what stands before the @ of their address.
    mailboxes: dict[str, str] = field(default_factory=dict)
    #: Whether a store holds a secret with somebody to whom it never came.
    misplaced: bool = False
    #: Users to whom anything was delivered in the window.
    observers: set[str] = field(default_factory=set)
    #: Payloads in which the data of several other users stood together: index → owners.
    crowded: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: Users in the order in which they first did anything.
    arrival: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._search = CanarySearch()
        #: (recipient, secret) → how it first came there; and those of them that are seen in the window.
        self._first: dict[tuple[str, str], Sighting] = {}
        self._shown: dict[tuple[str, str], None] = {}
        self._quoted: set[tuple[str, str]] = set()
        #: Secrets that were sent in acts that name another user's id: secret → attempt.
        self._pushed: dict[str, str] = {}
        #: User → those whose ids they have named.
        self._reached: dict[str, set[str]] = defaultdict(set)
        self._abandoned = False
        self._open: dict[int, Operation] = {}
        self._active: dict[str, set[int]] = defaultdict(set)
        self._ended: dict[str, int] = {}
        self._last_begun = ""
        #: User → their latest question.
        self._latest: dict[str, Operation] = {}
        #: Request and the secrets in its answer → who got it first.
        self._answers: dict[tuple[str, frozenset[str]], str] = {}
        self._slots: dict[tuple[str, str], _Before] = {}
        self._lines: dict[str, _Before] = {}
        self._fresh: set[str] = set()
        self._marks: dict[str, set[str]] = defaultdict(set)
        #: Run → whose question was answered with it first.
        self._given: dict[str, str] = {}
        #: (recipient, run) → threads that frames of the run named.
        self._threads: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._prompts: dict[str, set[str]] = defaultdict(set)
        #: Questions without an answer yet, but for their canaries.
        self._asking: dict[int, str] = {}
        self._attempting: dict[str, str] = {}
        self._cancelled = False
        #: Open sockets: connection → user.
        self._connected: dict[str, str] = {}
        #: Texts with a secret in frames to its owner: hash → owner.
        self._texts: dict[int, str] = {}

    def feed(self, operation: Operation) -> None:
        """Take in the next operation."""
        if operation.surface == PROBE:
            self._introduce(operation)
        elif operation.action in (actions.ROW, actions.KEY):
            self._stored(operation)
        elif operation.action == actions.CONNECT:
            if operation.type == "ok":
                self._fresh.add(operation.connection or "")
                self._connected[operation.connection or ""] = operation.user or ""
        elif operation.action == actions.CLOSED:
            self._connected.pop(operation.connection or "", None)
        elif operation.type == "invoke":
            self._begin(operation)
        elif operation.action == actions.RECEIVE:
            if "run_id" in operation.ids and "thread_id" in operation.ids:
                self._threads[operation.user or "", operation.ids["run_id"]].add(operation.ids["thread_id"])
            self._look(operation, None)
        elif operation.call is not None:
            self._end(operation)

    def _stored(self, operation: Operation) -> None:
        """What stands with somebody in a store without ever having come to them was put there by other means."""
        named = operation.detail.get("owners", ())
        owner = operation.detail.get("owner") or (named[0] if isinstance(named, list) and len(named) == 1 else None)
        if operation.index >= self.start and isinstance(owner, str) and not self.misplaced:
            for sighting in self._search.find(operation.payload):
                canary = sighting.canary
                if canary is not None and sighting.whole and canary.user != owner:
                    self.misplaced |= (owner, canary.token) not in self._quoted and not self.had(owner, canary.token)

    def _introduce(self, operation: Operation) -> None:
        self.roster.learn(operation)
        address = operation.detail.get("email")
        if operation.action == actions.PRINCIPAL and operation.user is not None and isinstance(address, str):
            self.mailboxes[operation.user] = address.partition("@")[0]
        token = operation.detail.get("token")
        if operation.action == actions.MINT and operation.user is not None and isinstance(token, str):
            if not operation.detail.get("control"):
                self._search.add(Canary(token=token, user=operation.user, field="", surface=""))
        elif operation.action == actions.DISTURB:
            what, target = str(operation.detail.get("what", "")), str(operation.detail.get("target", ""))
            hung_up = "cancel" in what or ("cut" in what and "/ws" not in target)
            self._cancelled, self._abandoned = self._cancelled or hung_up, self._abandoned or hung_up

    def _begin(self, call: Operation) -> None:
        user = call.user or ""
        self._open[call.index] = call
        if "attempt" in call.detail and isinstance(call.detail.get("owner"), str):
            self._reached[user].add(call.detail["owner"])
        text = call.payload
        for sighting in self._search.find(f"{text} {call.detail.get('path', '')} {call.detail.get('query', '')}"):
            if sighting.canary is not None:
                self._quoted.add((user, sighting.canary.token))
                if "attempt" in call.detail and sighting.canary.user == user:
                    self._pushed[sighting.canary.token] = str(call.detail["attempt"])
                text = text.replace(sighting.token, "")
        self._quoted.update((user, value) for value in call.ids.values())
        if call.action == actions.SEND:
            self._fresh.discard(call.connection or "")
            if "attempt" in call.detail:
                self._attempting[call.connection or ""] = str(call.detail["attempt"])
            if '"ping"' not in text and '"pong"' not in text:
                self._last_begun = user
                self._cancelled |= "stop_agent" in text
            return
        if call.action == actions.ASK:
            self._fresh.discard(call.connection or "")
            self._prompts[text].add(user)
            self._latest[user] = call
            self._asking[call.index] = text
        self.arrival.setdefault(user, call.index)
        self._last_begun = user
        self._active[user].add(call.index)
        if call.nonce:
            self._marks[call.nonce].add(user)

    def _end(self, done: Operation) -> None:
        call = self._open.pop(done.call or 0, None)
        if call is None or call.action == actions.SEND:
            return
        user = call.user or ""
        if call.action == actions.ASK:
            run = done.ids.get("run_id")
            if run:
                self.roster.objects.setdefault(run, ("run", user))
                self._marks[run].add(user)
                threads = self._threads.get((user, run))
                # A run that goes on in another's thread is another's, and came here by mistake.
                if not threads or done.ids.get("thread_id") in threads:
                    self.collided |= self._given.setdefault(run, user) != user
        else:
            # Of a large answer once, and not for each of the secrets in it.
            secrets = self._secrets(done.payload)
            self._look(done, call, secrets)
            large = len(call.payload) > LARGE or _size(call) > LARGE
            before = _Before(user=user, large=large, cancelled=done.type == "info" or self._cancelled)
            self._cancelled = False
            self._abandoned |= done.type == "info"
            self._slots[(call.surface, call.backend or "")] = before
            self._lines[call.connection or ""] = before
            if done.type == "ok" and secrets:
                self._answers.setdefault((call.action, secrets), user)
            if "attempt" in call.detail and done.type == "ok":
                self._pushed.update((value, str(call.detail["attempt"])) for value in done.ids.values())
        self._active[user].discard(call.index)
        self._asking.pop(call.index, None)
        self._ended[user] = done.index

    def _look(self, seen: Operation, call: Operation | None, secrets: frozenset[str] = frozenset()) -> None:
        recipient = seen.user or "anonymous"
        if seen.index >= self.start:
            self.observers.add(recipient)
        for owner, name, secret in self._foreign(seen, recipient):
            known = (recipient, secret)
            if known not in self._first:
                if len(self._first) >= MOST_SIGHTINGS:
                    return
                copied = call is not None and self._answers.get((call.action, secrets)) == owner
                self._first[known] = self._sighting(seen, call, owner, recipient, name, secret, copied=copied)
                self.crowded[seen.index].add(owner)
            if seen.index >= self.start:
                self._shown[known] = None

    @property
    def sightings(self) -> list[Sighting]:
        """How each secret that is seen in the window had first come to who sees it there."""
        return [self._first[known] for known in self._shown]

    @property
    def ways(self) -> set[tuple[str, str]]:
        """(recipient, request) by which something foreign ever came to somebody who had named nobody's id for it."""
        return {(seen.recipient, seen.action) for seen in self._first.values() if not seen.attempted}

    def had(self, recipient: str, secret: str) -> bool:
        """Whether the secret had come to them over the wire."""
        return (recipient, secret) in self._first

    def _foreign(self, seen: Operation, recipient: str) -> Iterator[tuple[str, str, str]]:
        for sighting in self._search.find(seen.payload):
            canary = sighting.canary
            if canary is None or not sighting.whole:
                continue
            if canary.user == recipient:
                if seen.action == actions.RECEIVE and len(self._texts) < MOST_TEXTS:
                    self._texts.update((text, recipient) for text in _telling_texts(seen))
            elif (recipient, canary.token) not in self._quoted:
                yield canary.user, "canary", canary.token
        if seen.action != actions.RECEIVE:
            return
        ids = seen.ids or frame_of(seen).ids
        for name in _REFERENCES:
            value = ids.get(name, "")
            owner = self.roster.alias_of.get(value) or self.roster.objects.get(value, ("", ""))[1]
            if owner and owner != recipient and (recipient, value) not in self._quoted:
                yield owner, name, value

    def _sighting(
        self, seen: Operation, call: Operation | None, owner: str, recipient: str, name: str, secret: str, *,
        copied: bool,
    ) -> Sighting:  # fmt: skip
        begun = call.index if call is not None else min(self._active[recipient], default=seen.index)
        going_on = [self._open[index] for index in self._active[recipient] if index in self._open]
        if call is not None:
            going_on.append(call)
        elif recipient in self._latest:
            going_on.append(self._latest[recipient])
        overlapping = bool(self._active[owner]) or self._ended.get(owner, -1) > begun
        frame = frame_of(seen) if seen.action == actions.RECEIVE else None
        run = (frame.run or frame.ids.get("thread_id", "")) if frame is not None else ""
        slot = self._slots.get((seen.surface, seen.backend or "")) if call is not None else None
        line = self._lines.get(seen.connection or "") if call is not None else None
        before = line if line is not None and line.user == owner else slot
        connection = seen.connection or ""
        attempted = str(call.detail.get("attempt", "")) if call is not None else self._attempting.get(connection, "")
        pushed = not attempted and secret in self._pushed
        inferred = not attempted and not pushed and owner in self._reached[recipient]
        if not attempted:
            attempted = self._pushed.get(secret) or ("an id of the owner's, shortly before" if inferred else "")
        return Sighting(
            index=seen.index,
            owner=owner,
            recipient=recipient,
            surface=seen.surface,
            action=call.action if call is not None else seen.action,
            secret=secret,
            name=name,
            frame=frame.name if frame is not None else "",
            overlapping=overlapping,
            run=run,
            copied=copied,
            previous=before is not None and before.user == owner,
            large=before is not None and before.large,
            cancelled=before is not None and before.cancelled,
            unasked=connection in self._fresh and not self._active[owner] and call is None,
            attempted=attempted,
            pushed=pushed,
            inferred=inferred,
            after_cancel=self._abandoned,
            created=call is not None and call.action.startswith("POST ") and "run_id" not in seen.ids,
            last_writer=self._last_begun in (owner, recipient),
            texts=tuple(_telling_texts(seen)) if frame is not None and name == "canary" else (),
            marks=(*(other.nonce for other in going_on if other.nonce), *((run,) if run else ())),
            prompts=tuple(self._asking[other.index] for other in going_on if other.index in self._asking),
            reachable=len({*self._connected.values()} - {owner}) if frame is not None else 0,
            away=frame is not None and owner not in self._connected.values(),
        )

    def _secrets(self, payload: str) -> frozenset[str]:
        return frozenset(found.canary.token for found in self._search.find(payload) if found.canary and found.whole)

    def repeated(self, sighting: Sighting) -> bool:
        """Whether the owner got the very same text in a frame, before or after."""
        return any(self._texts.get(text) == sighting.owner for text in sighting.texts)

    def mixed(self, sighting: Sighting) -> bool:
        """Whether it came in a run of the recipient's own: something was mixed, and not a frame misrouted."""
        known = self.roster.objects.get(sighting.run)
        return known is not None and known[1] == sighting.recipient

    def equal_ids(self, sighting: Sighting) -> bool:
        """Whether its owner, too, used or was given one of the request and run ids under which it came."""
        return any({sighting.owner, sighting.recipient} <= self._marks[mark] for mark in sighting.marks)

    def equal_prompts(self, sighting: Sighting) -> bool:
        """Whether its owner, too, asked what the recipient was asking, but for the canaries."""
        return any(sighting.owner in self._prompts[prompt] for prompt in sighting.prompts)

    def similar_prompts(self, sighting: Sighting) -> bool:
        """Whether its owner asked much the same as the recipient was asking, in other words."""
        asked = [_words(prompt) for prompt, users in self._prompts.items() if sighting.owner in users]
        return any(
            len(words & other) >= ALIKE * len(words | other)
            for words in map(_words, sighting.prompts)
            for other in asked
            if words
        )


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))


def _telling_texts(seen: Operation) -> list[int]:
    """The texts of a frame in which a canary stands, hashed."""
    return [hash(value) for _, value in values(seen.payload) if PREFIX in value]


def _size(call: Operation) -> int:
    size = call.detail.get("size", 0)
    return size if isinstance(size, int) else 0
