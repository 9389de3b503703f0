"""What of a history a finding needs: its witness, and whatever the acts of the witness rest on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from netra_probe.checkers.findings import CROSSED
from netra_probe.checkers.verdict import Finding
from netra_probe.history import actions
from netra_probe.history.canary import WHOLE
from netra_probe.history.operation import Operation
from netra_probe.report.reproducers.tape import ACCOUNT_ROUTES, Tape, spoken


class NoReproducerError(Exception):
    """A finding that no script can show, and why: one line for a reader."""


class Claim(StrEnum):
    """What is looked for at the end."""

    REACHED = "reached"
    CHANGED = "changed"
    TAKEN_FOR = "taken for"
    WORKS = "works"
    ALIVE = "alive"


@dataclass(kw_only=True)
class Slice:
    """The acts of a reproducer, as indices of what began them, and what is to be judged at their end.

    Arguments:
        spot: the answer or frame that showed it.
        marks: what must not come to anybody else: canaries, or ids as the history holds them.
        end: where a credential ended, by its request; ``before`` and ``after``: requests that are compared.
    """

    claim: Claim
    owner: str
    others: tuple[str, ...]
    spot: Operation
    acts: set[int] = field(default_factory=set)
    marks: tuple[str, ...] = ()
    what: str = "secret"
    end: int | None = None
    write: int | None = None
    before: int | None = None
    after: int | None = None
    #: Acts that begin something in the background, of which the answer tells.
    background: set[int] = field(default_factory=set)
    #: What the other user can do anyhow, where the owner's secret comes to nobody once the leak is gone.
    control: int | None = None

    def attacks(self, tape: Tape) -> bool:
        """Whether an act tries what must be refused, which not every deployment allows."""
        return self.claim is Claim.TAKEN_FOR or any("attempt" in tape.operations[act].detail for act in self.acts)

    @property
    def steps(self) -> int:
        """How many acts a script carries out: a forgery is presented beside a valid credential."""
        return len(self.acts) + (2 if self.claim is Claim.TAKEN_FOR else 0)


#: Checker → why what it finds cannot be shown by a script that has only HTTP and WebSocket.
OUT_OF_REACH = {
    "C3": "it concludes from events that did not come, or came twice, in a whole stream: repeat the case",
    "C4": "it concludes from the order of all events of a run: repeat the case",
    "C8": "which answer is swapped depends on what else is on the connection: repeat the case",
    "C9": "it depends on how the transactions of a burst interleave: repeat the case",
    "C10": "it compares resource counts over many cycles: repeat the case",
    "C11": "it compares whole runs with and without other users: repeat the case",
    "C12": "it was read from the database or the cache, which a reproducer does not reach",
    "C13": "it compares all conversations of one user: repeat the case",
    "C14": "a promise of a component is tried inside of a process: carry out the notebook's cell again",
}
_WRITES = ("foreign write", "foreign write accepted", "refused write took effect")
_ENDED = ("credential works after its end", "socket alive after the end", "socket outlives its credential")
_ANONYMOUS = "nobody"
#: The share of words by which an attempt is like a request of the owner.
ENOUGH = 0.5


def slice_of(tape: Tape, finding: Finding) -> Slice:
    """The acts that show a finding. Raises NoReproducerError."""
    if reason := OUT_OF_REACH.get(finding.checker):
        raise NoReproducerError(reason)
    witness = [tape.operations[index] for index in finding.witness]
    if finding.kind in CROSSED or finding.kind in ("foreign read", "foreign stream", "answered without credentials"):
        made = _crossed(tape, finding, witness)
    elif re.fullmatch(r"foreign \w+ id", finding.kind):
        made = _foreign_id(tape, finding, witness)
    elif finding.kind in _WRITES:
        made = _written(tape, finding, witness)
    elif finding.kind == "forged credential accepted":
        made = _forged(tape, finding, witness)
    elif finding.kind in _ENDED:
        made = _ended(tape, finding, witness)
    else:
        raise NoReproducerError(f'no script is known that shows "{finding.kind}": repeat the case')
    _complete(tape, made)
    if made.claim is Claim.TAKEN_FOR and made.after is not None:
        made.acts.discard(made.after)  # it is made anew, with a credential made anew
    return made


def _answers(tape: Tape, witness: Iterable[Operation]) -> list[Operation]:
    return [one for one in witness if one.action == actions.RECEIVE or one.call is not None]


def _crossed(tape: Tape, finding: Finding, witness: list[Operation]) -> Slice:
    """Another user's secret in an answer or a frame."""
    for spot in reversed(_answers(tape, witness)):
        user = spot.user or _ANONYMOUS
        marks = [one for one in dict.fromkeys(WHOLE.findall(spot.payload)) if tape.owners.get(one, user) != user]
        if marks and user in (*finding.recipients, _ANONYMOUS):
            owner = tape.owners[marks[0]]
            marks = [one for one in marks if tape.owners[one] == owner and one in tape.planted]
            if marks:
                break
    else:
        raise NoReproducerError("the secret was seen in an encoding, or was planted by nobody in this recording")
    made = Slice(claim=Claim.REACHED, owner=owner, others=(user,), spot=spot, marks=tuple(marks[:1]))
    made.acts = {tape.planted[one] for one in made.marks} | {_act(tape, spot)}
    _add_owners_own(tape, made)
    planted = tape.operations[tape.planted[made.marks[0]]]
    if planted.detail.get("owner") == user or (planted.detail.get("attempt") and user in spoken(planted)):
        made.control = _own_object(tape, planted, user)
    return made


def _own_object(tape: Tape, planted: Operation, user: str) -> int | None:
    """The request by which a user made what another one then wrote into."""
    for value in tape.values_in(spoken(planted)):
        if (known := tape.learned.get(value)) and (source := tape.operations[known.source]).user == user:
            return source.call
    return None


def _foreign_id(tape: Tape, finding: Finding, witness: list[Operation]) -> Slice:
    """Another user's run, thread, object or user id in an answer or a frame."""
    name = finding.kind.split(" ")[1]
    named = {value for one in witness for field, value in one.ids.items() if field == f"{name}_id"}
    for spot in reversed(_answers(tape, witness)):
        for value in (spot.ids.get(f"{name}_id", ""), *named):
            asked = tape.ask_of_run.get(value) or (tape.cause(spot) if name == "run" else None)
            owner = tape.owner_of_id(value) or (asked.user if asked else None)
            if (
                not value
                or value not in spot.payload
                or spot.user not in finding.recipients
                or owner in (None, spot.user)
            ):
                continue
            others = (spot.user or _ANONYMOUS,)
            made = Slice(
                claim=Claim.REACHED, owner=owner or "", others=others, spot=spot, marks=(value,), what=f"{name} id"
            )
            made.acts = {_act(tape, spot)}
            if tape.cause(spot) is None:
                made.acts |= _last_about(tape, value, spot)
            if known := tape.learned.get(value):
                made.acts.add(tape.operations[known.source].call or 0)
                _add_owners_own(tape, made, since=known.source)
            elif spot.call is not None:
                _add_owners_own(tape, made, since=0)
            return made
    raise NoReproducerError("the witness does not show the id in a place that a script can read")


def _last_about(tape: Tape, value: str, spot: Operation) -> set[int]:
    """What last gave an object to the one who sees it; for a frame, else, what last changed it."""
    to = [id for id, user in tape.user_ids.items() if id and user == spot.user]
    changes = [
        one
        for one in tape.operations[: spot.index]
        if one.type == "invoke" and one.action.startswith(("POST ", "PUT ", "PATCH ")) and value in spoken(one)
    ]
    given = [one.index for one in changes if any(id in spoken(one) for id in to)]
    seen = [one.index for one in changes] if spot.action == actions.RECEIVE else []
    return set(given[-1:] or seen[-1:])


def _written(tape: Tape, finding: Finding, witness: list[Operation]) -> Slice:
    """Somebody writes into another user's object, and its owner reads it again."""
    calls = [one for one in witness if one.type == "invoke"]
    write = next((one for one in calls if "attempt" in one.detail), None)
    owner = str(write.detail.get("owner") or "") if write is not None else ""
    if write is None or not owner:
        raise NoReproducerError("the witness does not name the write")
    thing = write.detail.get("object") or {}
    id = str(thing.get("id", "")) if isinstance(thing, dict) else ""
    if not id:
        raise NoReproducerError("the write names no object that its owner could read again")

    def reads(start: int, end: int) -> list[int]:
        return [
            one.index
            for one in tape.operations[start:end]
            if one.type == "invoke" and one.user == owner and one.action.startswith("GET ") and id in spoken(one)
        ]

    after = [one.index for one in calls if one.user == owner and one.index > write.index and one.action[:4] == "GET "]
    after = after or reads(write.index, len(tape.operations))
    before = reads(0, write.index)
    if not after:
        raise NoReproducerError("the owner did not read the object again")
    spot = tape.done.get(after[-1], tape.operations[after[-1]])
    made = Slice(claim=Claim.CHANGED, owner=owner, others=(write.user or _ANONYMOUS,), spot=spot)
    made.marks = tuple(dict.fromkeys(WHOLE.findall(spoken(write))))
    made.after, made.write = after[-1], write.index
    made.before = next((one for one in reversed(before) if _is_same(tape, one, made.after)), None)
    made.acts = {write.index, made.after} | ({made.before} if made.before is not None else set())
    return made


def _is_same(tape: Tape, one: int, other: int) -> bool:
    return spoken(tape.operations[one]) == spoken(tape.operations[other]) and _succeeded(tape, one)


def _succeeded(tape: Tape, act: int) -> bool:
    return (done := tape.done.get(act)) is not None and done.type == "ok"


def _forged(tape: Tape, finding: Finding, witness: list[Operation]) -> Slice:
    """Somebody is taken for somebody else with a forged credential."""
    call = next((one for one in witness if one.action == actions.ATTEMPT and one.type == "invoke"), None)
    if call is None:
        raise NoReproducerError("the witness does not hold the attempt")
    taken = tape.done.get(call.index)
    owner = tape.user_ids.get(taken.ids.get("user_id", "")) if taken is not None else None
    if owner is None:
        raise NoReproducerError("the forgery was taken for somebody who is no user of this recording")
    actor = call.user or next((one for one in tape.emails.values() if one != owner), owner)
    made = Slice(claim=Claim.TAKEN_FOR, owner=owner, others=(actor,), spot=call)
    end = tape.done[call.index].index if call.index in tape.done else call.index + 1
    asked = next(
        (
            one
            for one in tape.operations[call.index + 1 : end]
            if one.type == "invoke" and one.user == call.user and one.detail.get("attempt") == call.detail["attempt"]
        ),
        None,
    )
    if asked is None:
        raise NoReproducerError("the recording does not hold the request that presented the credential")
    made.after = asked.index
    return made


def _ended(tape: Tape, finding: Finding, witness: list[Operation]) -> Slice:
    """A credential, or a socket that was opened with it, goes on after log-out."""
    user = finding.victims[0]
    end = next((one for one in witness if one.type == "invoke" and one.action.endswith("/logout")), None)
    if end is None:
        raise NoReproducerError("the credential was ended in a way that a reproducer has no right to")
    spot = witness[-1]
    made = Slice(claim=Claim.WORKS, owner=user, others=(user,), spot=spot, end=end.index)
    made.acts = {end.index}
    if spot.action == actions.RECEIVE:
        made.claim = Claim.ALIVE
        opened = tape.connect_of(spot)
        if opened is None or opened.index > end.index:
            raise NoReproducerError("the socket was opened after the credential had ended")
        made.acts.add(opened.index)
        return made
    if spot.call is None or " " not in spot.action:
        raise NoReproducerError("the witness does not hold the request after the end")
    made.after = spot.call
    made.acts.add(spot.call)
    return made


def _act(tape: Tape, spot: Operation) -> int:
    """What brought an answer or a frame about: the request, or the question."""
    if spot.call is not None:
        return spot.call
    asked = tape.cause(spot)
    return asked.index if asked is not None else spot.index


def _shape(tape: Tape, act: Operation) -> str:
    """A request or question without what is fresh in it."""
    said = (tape.send_of(act) or act).payload if act.action == actions.ASK else spoken(act)
    words = re.split(r"[^\w.-]+", WHOLE.sub("", said))
    return " ".join([act.action, *(word for word in words if word and not any(map(str.isdigit, word)))])


def _add_owners_own(tape: Tape, made: Slice, since: int | None = None) -> None:
    """The owner's own act of the same kind before the leak, which a cache needs; and that the owner sees the secret."""
    act = tape.operations[_act(tape, made.spot)]
    start = min(tape.planted[one] for one in made.marks) if since is None else since
    if act.user != made.owner:
        made.acts |= _alike(tape, made.owner, act, start)
    if made.spot.call is not None:
        made.acts |= _own_around(tape, made)
    for operation in tape.operations[start:]:
        if (
            operation.user == made.owner
            and operation.type != "invoke"
            and any(m in operation.payload for m in made.marks)
        ):
            made.acts.add(_act(tape, operation))
            if operation.action == actions.RECEIVE and (opened := tape.connect_of(operation)) is not None:
                made.acts.add(opened.index)
            break


def _alike(tape: Tape, user: str, act: Operation, start: int) -> set[int]:
    """What a user did last of the same kind, in the words that are most alike; of questions one that goes on.

    What a cache holds of the one is then given to the other.
    """
    mine = [
        one
        for one in tape.operations[start : act.index]
        if one.type == "invoke" and one.user == user and one.action == act.action and "attempt" not in one.detail
    ]
    if not mine:
        return set()
    words = set(_shape(tape, act).split())
    shared = {one.index: len(words & set(_shape(tape, one).split())) / len(words) for one in mine}
    best = max(reversed(mine), key=lambda one: shared[one.index]).index
    pending = [one.index for one in mine if (done := tape.done.get(one.index)) is None or done.index > act.index]
    if act.action == actions.ASK and shared[best] < 1 and pending:
        return {pending[-1]}
    # What somebody tries on another's object is like its owner's own request, or is a thing of its own.
    return {best} if "attempt" not in act.detail or shared[best] > ENOUGH else set()


def _own_around(tape: Tape, made: Slice) -> set[int]:
    """What the recipient had made that the answer shows together with the owner's: an export, a summary."""
    text, user = made.spot.payload, made.spot.user
    place = min((position for mark in made.marks if (position := text.find(mark)) >= 0), default=0)
    own = [one for one in WHOLE.findall(text[:place]) if tape.owners.get(one) == user and one in tape.planted]
    if not own or not user:
        return set()
    planted = [tape.operations[tape.planted[one]] for one in dict.fromkeys((own[0], own[-1]))]
    made.background = {one.index for one in planted if one.action != actions.SEND}
    for one in planted:
        made.background |= _alike(tape, made.owner, one, 0) if one.action != actions.SEND else set()
    return made.background


def needed_by_others(tape: Tape, made: Slice, act: int) -> bool:
    """Whether the other acts rest on this one, so that it cannot be left out alone."""
    others = replace(made, acts=made.acts - {act})
    _complete(tape, others)
    return act in others.acts and tape.operations[act].action != actions.CLOSED


def _complete(tape: Tape, made: Slice) -> None:
    """Add whatever the acts rest on: what made the ids they name, their connections, and how those ended."""
    waiting = list(made.acts | ({made.after} if made.after is not None else set()))
    made.acts = set()
    while waiting:
        index = waiting.pop()
        operation = tape.operations[index]
        if index in made.acts or operation.action.endswith(ACCOUNT_ROUTES):
            continue
        if operation.action == actions.SEND and (asked := _ask_of(tape, operation)) is not None:
            waiting.append(asked.index)
            continue
        if operation.action != actions.RECEIVE:
            made.acts.add(index)
        said = operation
        if operation.action == actions.ASK:
            sent = tape.send_of(operation)
            if sent is None:
                raise NoReproducerError("the recording does not hold the frame by which the question was put")
            said = sent
        text = spoken(said) if operation.action != actions.RECEIVE else json.dumps(operation.ids)
        for value in tape.values_in(text):
            if (asked := tape.ask_of_run.get(value)) is not None:
                waiting.append(asked.index)
                continue
            source = tape.operations[tape.learned[value].source]
            if source.index < index or operation.action == actions.RECEIVE:
                waiting.append(source.call or 0)
        waiting += [tape.planted[one] for one in WHOLE.findall(text) if one in tape.planted]
        if operation.surface == "websocket" and operation.action not in (actions.CONNECT, actions.ATTEMPT):
            opened = tape.connect_of(operation)
            if opened is None:
                raise NoReproducerError("the recording does not hold the handshake of a connection")
            waiting.append(opened.index)
        if operation.surface == "rest" and (before := _before_on_line(tape, operation)) is not None:
            waiting.append(before.index)
    if made.spot.action == actions.RECEIVE:
        opened = tape.connect_of(made.spot)
        if opened is None:
            raise NoReproducerError("the recording does not hold the handshake of a connection")
        made.acts.add(opened.index)
    _add_departures(tape, made)


def _ask_of(tape: Tape, sent: Operation) -> Operation | None:
    for nonce in re.findall(r'"message_id": ?"([^"]+)"', sent.payload):
        if (asked := tape.asks.get(nonce)) is not None and asked.connection == sent.connection:
            return asked
    return None


def is_shared(operation: Operation) -> bool:
    """Whether a request went over a TCP connection that several users share."""
    usual = f"{operation.user or _ANONYMOUS}/{operation.surface}"
    return operation.surface in ("auth", "rest") and operation.connection not in (usual, None)


def _before_on_line(tape: Tape, operation: Operation) -> Operation | None:
    """The request before it on a shared connection: what one leaves there, the next one meets."""
    if not is_shared(operation):
        return None
    for earlier in reversed(tape.operations[: operation.index]):
        if earlier.type == "invoke" and earlier.connection == operation.connection:
            return earlier if earlier.user != operation.user else None
    return None


def _add_departures(tape: Tape, made: Slice) -> None:
    """Connections that the probe itself left before the leak was seen are left again."""
    names = {
        tape.operations[index].connection for index in made.acts if tape.operations[index].action == actions.CONNECT
    }
    for operation in tape.operations[: made.spot.index]:
        if (
            operation.action == actions.CLOSED
            and operation.connection in names
            and operation.detail.get("by") == "probe"
            and any(index > operation.index for index in made.acts)
        ):
            made.acts.add(operation.index)
