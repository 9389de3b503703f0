"""Brakes on guessing passwords, per account and address: a stranger elsewhere cannot lock the owner out."""

from __future__ import annotations

import hashlib

from netra_probe.lab.auth_service.errors import TooManyAttempts
from netra_probe.lab.auth_service.stores import Cache


class LoginThrottle:
    """Counts failed logins in a sliding window of Redis keys."""

    def __init__(self, cache: Cache, *, failures: int, seconds: int) -> None:
        self._cache = cache
        self._failures = failures
        self._seconds = seconds

    async def check(self, email: str, address: str) -> None:
        """TooManyAttempts while the limit is reached."""
        key = self._key(email, address)
        with self._cache.guarded() as redis:
            count = int(await redis.get(key) or 0)
            if count < self._failures:
                return
            left = max(1, await redis.ttl(key))
        raise TooManyAttempts(
            f"Too many failed logins for this account; try again in {left} s.", headers={"Retry-After": str(left)}
        )

    async def failed(self, email: str, address: str) -> None:
        """Count a failure; each one prolongs the window."""
        key = self._key(email, address)
        with self._cache.guarded() as redis:
            async with redis.pipeline(transaction=True) as steps:
                steps.incr(key)
                steps.expire(key, self._seconds)
                await steps.execute()

    async def succeeded(self, email: str, address: str) -> None:
        """Forget the failures."""
        with self._cache.guarded() as redis:
            await redis.delete(self._key(email, address))

    @staticmethod
    def _key(email: str, address: str) -> str:
        account = hashlib.sha256(email.encode("utf-8", "replace")).hexdigest()[:32]
        return f"rate_limit:{account}:login:{address}"
