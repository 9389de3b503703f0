"""What an act says of itself: what was done, by whom, and how often."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

if TYPE_CHECKING:
    from netra_probe.investigation import Investigation
    from netra_probe.users import User

More = ParamSpec("More")
#: Why an act stops before its time: later connections would get what belongs to the run that has not ended.
SILENT = "a run never ended"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an act; true when it could be done at all.

    Its repr is the same in every healthy run: aliases and counts, and nothing that a clock or a target makes up.

    Arguments:
        act: its name.
        users: aliases of those who acted.
        counts: how often what came about.
        missing: what the target does not offer, so that the act was not done.
        broke: the exception that ended the act before its time.
        seconds: how long each answer took, for a look at latencies; not part of the repr.
    """

    act: str
    users: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    missing: str = ""
    broke: str = ""
    seconds: tuple[float, ...] = field(default=(), repr=False, compare=False)

    def __bool__(self) -> bool:
        return not (self.missing or self.broke)

    def __repr__(self) -> str:
        said = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        if self.missing:
            said = f"not offered ({self.missing})"
        elif self.broke:
            said = f"broke off ({self.broke})"
        return f"<{self.act} of {', '.join(self.users)}: {said}>"


def names(users: Iterable[User]) -> tuple[str, ...]:
    """The aliases of users."""
    return tuple(user.name for user in users)


def cut_short(probe: Investigation, act: str, *, done: int, planned: int, why: str, unit: str = "rounds") -> None:
    """Note that an act did less than planned, if it did: what was not done bounds what its case can say."""
    if done < planned:
        probe.notes.limit(f"{act}: {done} of {planned} {unit} were done: {why}")


def needs_answers(
    name: str,
) -> Callable[
    [Callable[Concatenate[Investigation, More], Coroutine[Any, Any, Outcome]]],
    Callable[Concatenate[Investigation, More], Coroutine[Any, Any, Outcome]],
]:
    """An act of this name that consists of runs; not done where one was silent until its deadline, and none answered.

    One such silence is evidence; a minute of them, act after act, is only slow. That it was not done bounds the case.
    """

    def decorate(
        act: Callable[Concatenate[Investigation, More], Coroutine[Any, Any, Outcome]],
    ) -> Callable[Concatenate[Investigation, More], Coroutine[Any, Any, Outcome]]:
        @wraps(act)
        async def done(probe: Investigation, /, *arguments: More.args, **options: More.kwargs) -> Outcome:
            if probe.patience.is_hopeless:
                probe.notes.limit(f"{name}: not done, since no run was answered within {probe.timeouts.run:g} s")
                return Outcome(act=name, users=names(probe.users), missing="runs that are answered")
            return await act(probe, *arguments, **options)

        return done

    return decorate
