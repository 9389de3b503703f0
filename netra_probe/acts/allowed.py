"""What an act says of itself where a target's mode does not allow it: an outcome like any other, and no exception."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import iscoroutinefunction, signature
from typing import Any

from netra_probe.acts.outcome import Outcome, names
from netra_probe.permission import NotPermitted
from netra_probe.users import User


def allowed(act: Callable[..., Any]) -> Callable[..., Any]:
    """The act, with ``Outcome(missing="mode …: …")`` where it is not permitted.

    An act that loses its footing because something was withheld from it on the way, such as an account, has not been
    permitted either. What was withheld is noted for the next check, which is then ``not applicable``.
    """
    if not iscoroutinefunction(act):
        return act
    doing: Callable[..., Coroutine[Any, Any, Any]] = act
    parameters = signature(act)

    @wraps(act)
    async def done(probe: Any, /, *arguments: Any, **options: Any) -> Any:
        parameters.bind(probe, *arguments, **options)  # a wrong call is a mistake of whoever calls, in every mode
        before = len(probe.notes.withheld)
        try:
            return await doing(probe, *arguments, **options)
        except NotPermitted as error:
            reason = error.reason
        except Exception:
            if len(probe.notes.withheld) == before and all(user.id for user in _actors(probe, arguments)):
                raise
            reason = next(iter(probe.notes.withheld), "mode observe: acting as users needs mode probe")
            probe.notes.withhold(reason)
        return Outcome(act=act.__name__, users=names(_actors(probe, arguments)), missing=reason)

    return done


def _actors(probe: Any, arguments: tuple[Any, ...]) -> list[User]:
    """Who was to act: the users that were named, or all of them."""
    named = [argument for argument in arguments if isinstance(argument, User)]
    return named or list(probe.users)
