"""The nemesis: what networks do to connections, done on purpose, at a known point, and written into the history.

    async with nemesis.between(probe, bob) as link:
        await bob.connect()
        asking = probe.start([bob.ask("Where do I overspend?")])
        await bob.until_event("agent_started")
        await link.cut(bob.socket)          # a reset, in the middle of the run
        await asking

A link is a TCP proxy on this machine in front of every service of the target, for one user. Bytes pass unchanged, so
TLS passes through; what may be done to them is to stop, delay, cut up or lose them. The idea of synchronisation points
(``reply_held``, ``request_passed``) is that of asyncpg's test proxy: a cut *between* request and reply is made there,
and not after a sleep that hits the spot on some machines.
"""

from netra_probe.nemesis.flow import Direction
from netra_probe.nemesis.link import Link, between

__all__ = ["Direction", "Link", "between"]
