"""Somebody has things, has everything erased and the account removed; then the same address is registered again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netra_probe.errors import TargetError
from netra_probe.investigation.cleanup import remove_account, remove_user
from netra_probe.plans.crawler import ApiCrawler

if TYPE_CHECKING:
    from netra_probe.investigation.investigation import Investigation
    from netra_probe.investigation.users import User


class NotReborn(Exception):
    """There is no such user here; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Reborn:
    """Two accounts, one after the other, with one address.

    Arguments:
        former: who had the address, and is gone.
        user: who has it now.
    """

    former: User
    user: User


async def register_again(probe: Investigation, walk: ApiCrawler, *, erasing: bool = True) -> Reborn:
    """Let a new user have one of everything, go, and come again. Raises NotReborn when that cannot be had here.

    Arguments:
        erasing: have the data erased first, where the target has a way; otherwise only the account is removed.
    """
    if probe.target.accounts:
        raise NotReborn("accounts cannot be registered here")
    try:
        (former,) = await probe.recruit(1)
        if not former.id:
            raise NotReborn("no further account can be had")
        walk.join(former)
        await walk.create_all(former.name, runs=False)
        gone = not await remove_user(former, probe.routes) if erasing else await remove_account(former, probe.routes)
        if not gone:
            raise NotReborn("accounts cannot be removed here")
        former.forget()
        (user,) = await probe.recruit(1, again=former)
    except TargetError as error:
        raise NotReborn(f"an address cannot be registered a second time: {error}") from None
    if not user.id:
        raise NotReborn("an address cannot be registered a second time")
    walk.join(user)
    return Reborn(former=former, user=user)
