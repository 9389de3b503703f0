"""One unauthorised act and what it takes to judge it: the owner's control, and what the owner read before and after."""

from __future__ import annotations

from dataclasses import dataclass, field

from netra_probe.checkers.json_bodies import denied, empty, says_no, telling, values
from netra_probe.checkers.principals import witness
from netra_probe.history.operation import Operation

#: Methods that change nothing by themselves.
READS = frozenset(("GET", "HEAD", "OPTIONS"))
#: Methods whose answer says what they made or changed.
_WRITES = frozenset(("POST", "PUT", "PATCH"))
#: Readings of one object by its owner that are kept for one trial.
MOST_READINGS = 4


@dataclass
class Reading:
    """What the owner read of an object: the request and its completion."""

    call: Operation
    done: Operation


@dataclass
class Trial:
    """One act that must not succeed.

    Arguments:
        call, done: the request and its completion.
        owner: whose object it aimed at, or ``None``.
        target: the object's id, or "" where the act aimed at a person and not at an object.
        before, after: what the owner read before and after, by path.
        written: indices of the owner's own writes of the object.
    """

    call: Operation
    owner: str | None
    target: str
    kind: str
    before: dict[str, Reading] = field(default_factory=dict)
    after: dict[str, Reading] = field(default_factory=dict)
    done: Operation | None = None
    #: The same operation by the one who tried, shortly before: one route may do more than one thing.
    own: Reading | None = None

    @property
    def name(self) -> str:
        return str(self.call.detail.get("attempt", "foreign id"))

    @property
    def method(self) -> str:
        return self.call.action.split(" ", 1)[0]

    @property
    def actor(self) -> str:
        return self.call.user or "nobody"

    @property
    def reads(self) -> bool:
        """Whether it only asks: by its method, or because whoever tried says so (of a tool that looks up)."""
        return self.method in READS or self.call.detail.get("reads") is True


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a trial: a kind of finding or "" (refused), or a doubt; the operations that show it."""

    kind: str = ""
    doubt: str = ""
    why: str = ""
    shows: tuple[int, ...] = ()


def weigh(
    trial: Trial,
    *,
    control: Reading | None,
    own: Reading | None,
    secrets: bool,
    owner_id: str | None,
    open_list: bool = False,
) -> Outcome:
    """Judge one trial whose completion is known.

    Arguments:
        control: the owner's own request of the same operation on the same object.
        own: the same operation by the one who tried, on an object of their own: what is common to everybody.
        secrets: whether the response holds a canary of the owner that the request did not.
        owner_id: the owner's user id.
        open_list: whether the owner is shown there what others write anyway, so that to find it there says nothing.
    """
    done = trial.done
    assert done is not None
    effect = None if open_list else _effect(trial, owner_id)
    if effect is not None:
        kind = "foreign write" if done.type != "fail" and not says_no(done.payload) else "refused write took effect"
        return Outcome(kind=kind, why=effect[1], shows=_shows(trial, *effect[0]))
    if done.type == "info":
        if done.status is not None and denied(done.payload):
            why = f"the refusal came as status {done.status}"
            return Outcome(kind="refusal as server error", why=why, shows=_shows(trial))
        return Outcome(doubt="went unanswered or broke")
    if done.type == "fail" or says_no(done.payload):
        unseen = trial.target and not trial.reads and not trial.after
        return Outcome(doubt="was not re-read by the owner") if unseen else Outcome()
    return _answered(trial, done, control, own, secrets, owner_id)


def _answered(
    trial: Trial, done: Operation, control: Reading | None, own: Reading | None, secrets: bool, owner_id: str | None
) -> Outcome:
    """An act that must be refused was answered with success: what does the answer give away?"""
    served = trial.call.detail.get("expect") not in (None, "refused")
    seen = values(done.payload)
    sent = f"{trial.call.payload} {trial.call.detail.get('path', '')} {trial.call.detail.get('query', '')}"
    owns = [reading for reading in (trial.own, own) if reading is not None]
    ordinary = {value for reading in owns for value in telling(values(reading.done.payload))}
    owners = {value for reading in _readings(trial, control) for value in telling(values(reading.done.payload))}
    shared = {
        value
        for value in telling(seen) & owners
        if value not in sent and value not in ordinary and value != trial.target
    }
    if served and not owns:
        shared = set()  # an answer was due, and nothing shows what in it is the same for everybody
    named = owner_id is not None and owner_id in done.payload and owner_id not in sent
    if owner_id is not None and any(owner_id in reading.done.payload for reading in owns):
        named = False  # authors and members are named to everybody here: one's own request shows it
    elif served and not owns:
        named = False
    if trial.owner is not None and trial.owner != trial.call.user and (secrets or shared or named):
        what = f"{len(shared)} values of the owner's" if shared else "the owner's id"
        why = f"the answer to {trial.actor} holds {'a secret of the owner' if secrets else what}"
        return Outcome(kind="foreign read", why=why, shows=_shows(trial, control))
    if served:
        return Outcome()
    bare = trial.name.startswith(("no token", "no credentials", "anonymous"))
    if trial.call.user is None or bare:
        if empty(done.payload):
            why = "nobody in particular was answered, with nothing in it"
            return Outcome(kind="not refused", why=why, shows=_shows(trial, control))
        if not bare and trial.call.detail.get("attempt"):
            why = f'it is answered to somebody who showed nothing valid ("{trial.name}")'
            return Outcome(kind="invalid credential answered", why=why, shows=_shows(trial, control))
        why = "it is answered to somebody who showed no credentials"
        return Outcome(kind="answered without credentials", why=why, shows=_shows(trial, control))
    if trial.owner is not None and trial.owner == trial.call.user:
        return _own_object(trial, done)
    if trial.reads and empty(done.payload):
        return Outcome()  # what is filtered by its owner shows others nothing
    others = trial.owner is not None and trial.owner != trial.call.user
    if others and trial.method in _WRITES and trial.target and trial.target in done.payload:
        why = "the answer says that it was done to the owner's object, which it names"
        return Outcome(kind="foreign write accepted", why=why, shows=_shows(trial, control))
    if not trial.reads and trial.target and not trial.after:
        return Outcome(doubt="was answered with success and not re-read by the owner")
    why = "it was answered with success" + ("" if trial.reads else ", and the owner sees no change")
    return Outcome(kind="not refused", why=why, shows=_shows(trial, control))


def _readings(trial: Trial, control: Reading | None) -> list[Reading]:
    """What the owner got from the same request, shortly before, shortly after, or last."""
    path = str(trial.call.detail.get("path", trial.call.action))
    found = [trial.before.get(path), trial.after.get(path), control]
    return [reading for reading in found if reading is not None and reading.done.type == "ok"]


def _own_object(trial: Trial, done: Operation) -> Outcome:
    """Acts on one's own object that must fail: it is deleted, or it does not belong where one looks for it."""
    if trial.reads and empty(done.payload):
        return Outcome()
    if "delete" in trial.name:
        return Outcome(kind="use after delete", why="the object was deleted", shows=_shows(trial))
    if "parent" in trial.name:
        return Outcome(kind="wrong parent", why="the object does not belong to that parent", shows=_shows(trial))
    return Outcome(kind="not refused", why="it was answered with success", shows=_shows(trial))


def _effect(trial: Trial, owner_id: str | None) -> tuple[tuple[Reading | None, Reading], str] | None:
    """What the owner's re-reading shows of the act: its values, or that the object is gone."""
    if trial.reads:
        return None
    # The owner's own id, claimed in the act, may come to stand in the owner's data for any reason.
    planted = {(name, value) for name, value in values(trial.call.payload) if value != owner_id}
    for path, after in trial.after.items():
        before = trial.before.get(path)
        if trial.method == "DELETE" and after.done.status in (403, 404, 410):
            if before is None or before.done.type == "ok":
                return (before, after), f"the owner then got status {after.done.status}"
            continue
        if after.done.type != "ok":
            continue
        now = values(after.done.payload)
        was = values(before.done.payload) if before is not None else set()
        new = (planted & now) - was if before is not None else set()
        texts = (telling(planted) & telling(now)) - telling(was)
        if new or texts:
            names = sorted({name for name, value in planted if (name, value) in new or value in texts})
            return (before, after), f"the owner then read what {trial.actor} had written ({', '.join(names[:3])})"
    return None


def _shows(trial: Trial, *readings: Reading | None) -> tuple[int, ...]:
    assert trial.done is not None
    others = [
        index for reading in readings if reading is not None for index in (reading.done.index, reading.call.index)
    ]
    return witness(trial.call.index, trial.done.index, *others)
