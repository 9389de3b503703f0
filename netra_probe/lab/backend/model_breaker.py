"""ModelBreaker: the circuit breaker in front of the language model.

Only failures to reach the service count. An answer, even a failed one, proves that it lives, so no user can switch the
model off for others with requests that make it fail.
"""

from __future__ import annotations

from netra_probe.lab.backend.circuit_breaker import CircuitBreaker

FAILURES = 3
OPEN_SECONDS = 1.0


class ModelBreaker(CircuitBreaker):
    """Runs fail at once while the model is away, and one run a second tries it."""

    failures_to_open = FAILURES
    open_seconds = OPEN_SECONDS
