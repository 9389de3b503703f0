"""Whatever becomes of an act, it is an outcome that bounds the verdict, and no exception in a notebook."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import iscoroutinefunction, signature, unwrap
from pathlib import Path
from typing import Any

from netra_probe.clients.policy import NotPermitted
from netra_probe.errors import ParameterError
from netra_probe.investigation.permissions import permit
from netra_probe.investigation.users import User
from netra_probe.target.deployment import Mode
from netra_probe.workloads.outcome import Outcome, names


def allowed(act: Callable[..., Any]) -> Callable[..., Any]:
    """The act, with ``Outcome(missing="mode …: …")`` where it is not permitted, and ``broke`` where it raised.

    Only what the mode withheld makes a case ``not applicable``. An exception is our defect, or something about the
    target that the act does not know: it is a limit of the case, which then is inconclusive and says so.
    """
    if not iscoroutinefunction(act):
        return act
    doing: Callable[..., Coroutine[Any, Any, Any]] = act
    parameters = signature(act)
    #: An act that asks for no permission of its own acts as users.
    asks = permit.__name__ in unwrap(act).__code__.co_names

    @wraps(act)
    async def done(probe: Any, /, *arguments: Any, **options: Any) -> Any:
        parameters.bind(probe, *arguments, **options)  # a wrong call is a mistake of whoever calls, in every mode
        try:
            if not asks and not all(user.id for user in _actors(probe, arguments)):
                permit(probe, Mode.PROBE, "acting as users")
            # Acts that show tokens by themselves begin with ones that last.
            await probe.together(user.renew() for user in _actors(probe, arguments))
            return await doing(probe, *arguments, **options)
        except NotPermitted as error:
            return Outcome(act=act.__name__, users=names(_actors(probe, arguments)), missing=error.reason)
        except ParameterError:
            raise
        except Exception as error:
            broke = _told(probe, error)
            probe.notes.limit(f"{act.__name__} broke off: {broke}")
            return Outcome(act=act.__name__, users=names(_actors(probe, arguments)), broke=broke)

    return done


def _actors(probe: Any, arguments: tuple[Any, ...]) -> list[User]:
    """Who was to act: the users that were named, or all of them."""
    named = [argument for argument in arguments if isinstance(argument, User)]
    return named or list(probe.users)


def _told(probe: Any, error: Exception) -> str:
    """The exception in one line, without secrets, and where it was raised."""
    message = probe.history.redactor.clean(" ".join(str(error).split()))
    (*_, last) = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}{': ' if message else ''}{message} ({Path(last.filename).name}:{last.lineno})"
