"""Health and limits that are told, against those that are seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from netra_probe.checkers.hygiene.base import HEALTH, OVER_QUOTA, QUOTA, USE, Exchange, Issue, Rule

_WELL = frozenset(("healthy", "ok", "up", "ready", "pass", "alive", "connected", "available"))
#: What a service says of a part that does not work.
ILL = frozenset(("unhealthy", "down", "error", "fail", "failed", "unreachable", "disconnected", "unavailable"))
#: Names under which a service speaks of itself as a whole.
_WHOLE = ("status", "health", "state")


class HonestHealth(Rule):
    """What says that it is well is given work: a dead dependency must show where load balancers and people look."""

    kind = "healthy with a dead dependency"
    topic = "health"
    clause = "netra-wire §2 (503 when a store is away); OWASP ASVS 5.0 16.5.2"
    demand = "health says what is so, and says it with its status"

    def __init__(self) -> None:
        super().__init__()
        #: service → last answer that said it is well, and the first use that broke since.
        self._well: dict[tuple[str, str], Exchange] = {}
        self._broke: dict[tuple[str, str], Exchange] = {}

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        service = (exchange.call.surface, exchange.call.backend or "")
        if exchange.trial == USE:
            self.seen["uses between two looks at health"] += 1
            if (exchange.status >= 500 or not exchange.status) and service in self._well:
                self._broke.setdefault(service, exchange)
        elif exchange.trial == HEALTH:
            self.seen["answers about health"] += bool(exchange.status)
            yield from self._asked(exchange, service)

    def _asked(self, exchange: Exchange, service: tuple[str, str]) -> Iterator[Issue]:
        whole = _whole(exchange.body)
        ill_parts = sorted(_ill(exchange.body)) if whole not in ILL else []
        if 200 <= exchange.status < 300 and whole in ILL:
            yield self._issue(f"health says {whole}, with status {exchange.status}", exchange)
        elif 200 <= exchange.status < 300 and whole in _WELL and ill_parts:
            yield self._issue(f"health says {whole}, and of {', '.join(ill_parts)} the contrary", exchange)
        if exchange.call.action.endswith("/live"):
            return  # that the process lives says nothing of what it depends on
        if not 200 <= exchange.status < 300 or (whole and whole not in _WELL):
            self._well.pop(service, None)
            self._broke.pop(service, None)
            return
        broke = self._broke.pop(service, None)
        if broke is not None:
            said = f"health says {whole or exchange.status} while {broke.place} cannot be served"
            yield self._issue(said, broke, exchange)
        self._well[service] = exchange

    def _issue(self, said: str, *exchanges: Exchange) -> Issue:
        shows = tuple(index for exchange in exchanges for index in exchange.shows)
        last = exchanges[-1]
        return Issue(said=said, shows=shows, surface=last.call.surface, place=last.place)


class AnnouncedQuota(Rule):
    """A quota that is announced and not kept protects nobody."""

    kind = "announced quota is not enforced"
    topic = "health"
    clause = "OWASP ASVS 5.0 2.4.1 and 2.3.2; API4:2023"
    demand = "what goes beyond an announced limit is refused"

    def __init__(self) -> None:
        super().__init__()
        self._over: dict[tuple[str, str], list[Exchange]] = defaultdict(list)

    def exchange(self, exchange: Exchange) -> Iterator[Issue]:
        if exchange.trial in (QUOTA, OVER_QUOTA):
            self._over[exchange.call.user or "", exchange.place].append(exchange)
        return iter(())

    def finish(self) -> Iterator[Issue]:
        for (_, place), tried in sorted(self._over.items()):
            over = [exchange for exchange in tried if exchange.trial == OVER_QUOTA]
            if not over:
                continue
            self.seen["announced quotas tried"] += 1
            if all(exchange.done.type == "ok" for exchange in tried):
                limit = len(tried) - len(over)
                yield Issue(
                    said=f"{limit} requests are announced as the limit, and {len(tried)} in a row are served",
                    shows=(*tried[0].shows, *over[-1].shows), surface=over[-1].call.surface, place=place,
                )  # fmt: skip


def _whole(body: Any) -> str:
    if not isinstance(body, dict):
        return ""
    return next((str(body[name]).lower() for name in _WHOLE if isinstance(body.get(name), str)), "")


def _ill(body: Any, name: str = "") -> Iterator[str]:
    """Names of the parts that a health report calls ill."""
    if isinstance(body, dict):
        for key, value in body.items():
            denied = value is False and key in _WELL
            if denied or (isinstance(value, str) and value.lower() in ILL):
                yield name or str(key)
            else:
                yield from _ill(value, str(key))
    elif isinstance(body, list):
        for item in body:
            label = item.get("name") if isinstance(item, dict) else None
            yield from _ill(item, str(label) if label else name)


RULES: tuple[type[Rule], ...] = (HonestHealth, AnnouncedQuota)
