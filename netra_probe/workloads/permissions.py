"""What a workload needs stands above it; whatever becomes of it is an outcome, and no exception in a notebook."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, wraps
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

from netra_probe.clients.policy import NotPermitted
from netra_probe.errors import ParameterError
from netra_probe.investigation.context import permit
from netra_probe.investigation.users import User
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome, names

Act = TypeVar("Act", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a workload says of itself, in its attribute ``needs``.

    Arguments:
        mode, what: the mode that it needs where the target is not on this machine, and for what.
        answers: whether it consists of runs that have to be answered.
    """

    mode: Mode = Mode.PROBE
    what: str
    answers: bool = False


def workload(
    mode: Mode = Mode.PROBE, what: str = "", *, title: str = "", answers: bool = False, withheld: object = None
) -> Callable[[Act], Act]:
    """A workload, with ``Outcome(missing="mode …: …")`` where it is not permitted, and ``broke`` where it raised.

    Only what the mode withheld makes a case ``not applicable``. An exception is our defect, or something about the
    target that the act does not know: it is a limit of the case, which then is inconclusive and says so.

    Arguments:
        mode, what: what it needs, and for what, as the subject of a sentence; without, it acts as users.
        title: what readers know it by; the name of the function in words when left out.
        answers: whether it consists of runs that have to be answered. It is not done where one run was silent until its
            deadline, and none answered: one such silence is evidence; a minute of them, act after act, is only slow.
            That it was not done bounds the case.
        withheld: what it returns where it is not permitted, when that is no outcome.
    """

    def decorate(act: Act) -> Act:
        parameters = signature(act)
        named = title or act.__name__.replace("_", " ").capitalize()

        @wraps(act)
        async def done(probe: Any, /, *arguments: Any, **options: Any) -> Any:
            parameters.bind(probe, *arguments, **options)  # a wrong call is a mistake of whoever calls, in every mode
            actors = [one for one in arguments if isinstance(one, User)] or list(probe.users)
            try:
                if not what and not all(user.id for user in actors):
                    permit(probe, mode, "acting as users")
                # Acts that show tokens by themselves begin with ones that last.
                await probe.together(user.renew() for user in actors)
                if what:
                    permit(probe, mode, what)
                if answers and probe.patience.is_hopeless:
                    probe.notes.limit(f"{named}: not done, since no run was answered within {probe.timeouts.run:g} s")
                    return Outcome(title=named, users=names(probe.users), missing="runs that are answered")
                start = len(probe.history)
                outcome = await act(probe, *arguments, **options)
                if not isinstance(outcome, Outcome):
                    return outcome
                recorded = partial(map, probe.history.__getitem__, range(start, len(probe.history)))
                return replace(outcome, title=outcome.title or named, operations=recorded)
            except NotPermitted as error:
                if withheld is not None:
                    return withheld
                return Outcome(title=named, users=names(actors), missing=error.reason)
            except ParameterError:
                raise
            except Exception as error:
                broke = _told(probe, error)
                probe.notes.limit(f"{act.__name__} broke off: {broke}")
                return Outcome(title=named, users=names(actors), broke=broke)

        done.needs = Needs(mode=mode, what=what or "acting as users", answers=answers)  # type: ignore[attr-defined]
        return done  # type: ignore[return-value]

    return decorate


def _told(probe: Any, error: Exception) -> str:
    """The exception in one line, without secrets, and where it was raised."""
    message = probe.history.redactor.clean(" ".join(str(error).split()))
    (*_, last) = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}{': ' if message else ''}{message} ({Path(last.filename).name}:{last.lineno})"
