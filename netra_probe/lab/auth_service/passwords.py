"""Passwords: argon2id, computed beside the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

SHORTEST, LONGEST = 8, 256
_WORKERS = 4
#: What people choose most, of at least the shortest length, in lower case (OWASP ASVS 5.0 6.2.4).
COMMON = frozenset((
    "00000000", "11111111", "11223344", "12121212", "12341234", "12345678", "123456789", "1234567890", "12344321",
    "87654321", "88888888", "987654321", "1q2w3e4r", "1q2w3e4r5t", "1qaz2wsx", "aaaaaaaa", "abc12345", "abcd1234",
    "asdfasdf", "asdfghjk", "asdfghjkl", "azertyuiop", "baseball", "changeme", "computer", "corvette", "football",
    "iloveyou", "internet", "jennifer", "letmein1", "liverpool", "michelle", "p@ssw0rd", "p@ssword", "passw0rd",
    "password", "password1", "princess", "q1w2e3r4", "qwer1234", "qwertyui", "qwertyuiop", "starwars", "sunshine",
    "superman", "trustno1", "victoria", "welcome1", "whatever", "zaq12wsx", "zxcvbnm1",
))  # fmt: skip


class PasswordHasher:
    """Hashes and verifies in a few threads (argon2 releases the interpreter lock)."""

    def __init__(self, *, time_cost: int, memory_kib: int) -> None:
        self._argon2 = Argon2(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="argon2")
        self._decoy = self._argon2.hash("nobody's password")

    async def hash(self, password: str) -> str:
        """The encoded hash of a password."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._argon2.hash, _bytes(password))

    async def verify(self, encoded: str | None, password: str) -> bool:
        """True when the password is right. An account without one, or no account, takes as long as a wrong password."""
        loop = asyncio.get_running_loop()
        matches = await loop.run_in_executor(self._threads, self._matches, encoded or self._decoy, _bytes(password))
        return matches and encoded is not None

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, encoded: str, password: bytes) -> bool:
        try:
            return self._argon2.verify(encoded, password)
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")  # JSON can spell halves of characters: they match nothing else
