"""DatabaseBreaker: the circuit breaker in front of PostgreSQL.

Only failures to connect count. A pool without a free connection and a statement that takes too long are the doing of
whoever uses the database: they must not switch it off for everybody else.
"""

from __future__ import annotations

import asyncpg

from netra_probe.lab.backend.circuit_breaker import CircuitBreaker

#: What an attempt to connect raises when PostgreSQL is away or on its way down or up; a time-out is none of them.
AWAY = (OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)


class DatabaseBreaker(CircuitBreaker):
    """Opens for a fraction of a second only, so that the first request after a restart finds the database again."""

    failures_to_open = 3
    open_seconds = 0.2
