"""A fault of the language model service (K6): what it has read for one tenant makes it faster for another."""

from __future__ import annotations

from typing import Any

from netra_probe.lab.shared.faults import Fault, Parts, register


@register
class SharedPrefixes(Fault):
    """K6: prefixes are kept for all tenants together, so that the time to the first piece tells what others asked.

    Incident: prefix caching in vLLM before ``cache_salt`` (CVE-2025-46570): one can guess others' prompts block by
        block, by how soon the answer begins.
    """

    id = "K6"
    layer = "caches"
    service = "llm_service"
    title = "prefix cache shared by tenants"
    breaks = "PrefixCache.place"
    trigger = "A asks a question of 2,000 characters or more; B asks one that begins with the same 2,000"
    symptom = "B's first partial_result comes 0.1 s sooner than for a question that nobody has asked"
    checkers = ("C11",)

    def install(self, parts: Parts) -> None:
        """Leave the salt out."""
        fault = self
        healthy: type[Any] = parts["PrefixCache"]

        class UnsaltedPrefixes(healthy):  # type: ignore[misc]
            def place(self, salt: str, prefix: str) -> str:
                fault.reached()
                return str(super().place("" if fault.fires() else salt, prefix))

            async def read(self, salt: str, system: str, request: str) -> str | None:
                known: str | None = await super().read(salt, system, request)
                if known not in (None, salt):
                    fault.triggered()
                return known

        parts["PrefixCache"] = UnsaltedPrefixes
