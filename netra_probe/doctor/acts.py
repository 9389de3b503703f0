"""How much acts do to a target, as measured on the lab, and what they need, as their decorators say."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from types import ModuleType
from typing import Any

from netra_probe import workloads as all_acts
from netra_probe.target.deployment import Mode
from netra_probe.workloads.permissions import Needs


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """What is made and tried.

    Arguments:
        accounts: registered, or taken from ``accounts``.
        sockets: handshakes.
        messages: questions to agents, each of which is a run.
        attempts: requests and handshakes that have to be refused.
        requests: over HTTP, roughly.
        rows: that the target will have written in its own tables, roughly.
    """

    accounts: int = 0
    sockets: int = 0
    messages: int = 0
    attempts: int = 0
    requests: int = 0
    rows: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})

    def __mul__(self, times: int) -> Amounts:
        return Amounts(**{one.name: getattr(self, one.name) * times for one in fields(self)})

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) for one in fields(self))

    def __str__(self) -> str:
        told = [f"{value:,} {name}" for name in _NAMES if (value := getattr(self, name))]
        told += [f"about {value:,} {name}" for name in ("requests", "rows") if (value := getattr(self, name))]
        return f"{', '.join(told[:-1])} and {told[-1]}" if len(told) > 1 else "".join(told)


_NAMES = ("accounts", "sockets", "messages", "attempts")


#: One use of each act by three users; acts on components in this process send nothing.
MEASURED = {
    "across_backends": Amounts(sockets=3, messages=9, requests=12),
    "append_together": Amounts(requests=14),
    "identical_prompts": Amounts(sockets=3, messages=6, requests=12),
    "similar_prompts": Amounts(sockets=3, messages=3, requests=9),
    "first_pieces": Amounts(sockets=2, messages=36, requests=60),
    "two_conversations": Amounts(sockets=2, messages=4, requests=4),
    "interrupt_listeners": Amounts(sockets=3, messages=6, requests=3),
    "ask_health": Amounts(requests=19),
    "ask_with_query": Amounts(requests=6),
    "borrow_in_turn": Amounts(requests=75),
    "bring_back_refresh_token": Amounts(attempts=1, requests=4),
    "burst": Amounts(sockets=3, messages=18, requests=9),
    "cancel_then_read": Amounts(requests=218),
    "carry_out": Amounts(attempts=10, requests=60),
    "catch_up": Amounts(sockets=1),
    "churn": Amounts(sockets=65, messages=15, requests=148),
    "claim_identity": Amounts(sockets=2, messages=6, attempts=3, requests=2),
    "come_and_go": Amounts(sockets=30, attempts=105, requests=345),
    "compare_logins": Amounts(attempts=2, requests=3),
    "compare_refusals": Amounts(attempts=12, requests=22),
    "crowd_out": Amounts(sockets=3, messages=652, requests=62),
    "cut_and_resume": Amounts(sockets=6, messages=4),
    "cut_replies": Amounts(requests=24),
    "delete_all": Amounts(attempts=24, requests=185),
    "disable": Amounts(accounts=1, sockets=4, attempts=7, requests=21),
    "equal_ids": Amounts(sockets=3, messages=9, requests=12),
    "explore": Amounts(accounts=1, sockets=40, messages=110, attempts=180, requests=480),
    "explorer": Amounts(sockets=1, requests=2),
    "follow_foreign": Amounts(sockets=2, messages=2, attempts=5, requests=1),
    "follow_login": Amounts(attempts=1, requests=7),
    "sequential_jobs": Amounts(sockets=3, requests=159),
    "forge": Amounts(sockets=258, attempts=581, requests=600),
    "forge_at_stores": Amounts(attempts=96, requests=168),
    "frozen_peer": Amounts(sockets=3, messages=16, requests=10),
    "give_up_on_tools": Amounts(requests=264),
    "guess_passwords": Amounts(accounts=1, attempts=12, requests=15),
    "half_done": Amounts(requests=69),
    "inspect_tokens": Amounts(requests=8),
    "introduce": Amounts(sockets=42, attempts=30, requests=67),
    "create_and_read_all": Amounts(requests=137),
    "killed_peer": Amounts(sockets=4, messages=13),
    "late_close": Amounts(sockets=6, messages=6),
    "leave_and_join": Amounts(sockets=6, messages=3),
    "let_expire": Amounts(sockets=4, attempts=7, requests=19),
    "log_in_through": Amounts(attempts=6, requests=60),
    "log_out": Amounts(sockets=4, attempts=8, requests=21),
    "look_up_neighbours": Amounts(attempts=3, requests=39),
    "keep_books": Amounts(requests=25),
    "make_agents": Amounts(),
    "make_contexts": Amounts(),
    "make_dispatchers": Amounts(),
    "make_emitters": Amounts(),
    "open_stores": Amounts(attempts=63, requests=206),
    "outlive_sessions": Amounts(attempts=84, requests=356),
    "call_unpermitted_tools": Amounts(attempts=13, requests=41),
    "provoke_refusals": Amounts(accounts=3, attempts=6, requests=51),
    "read_as_neighbour": Amounts(accounts=1, attempts=45, requests=139),
    "compare_reads": Amounts(requests=264),
    "read_in_turns": Amounts(attempts=16, requests=159),
    "reconnect_storm": Amounts(sockets=14, messages=5),
    "reference_foreign_ids": Amounts(sockets=2, messages=3, attempts=1, requests=16),
    "refresh_together": Amounts(requests=11),
    "reuse_address": Amounts(accounts=2, attempts=8, requests=160),
    "saturate": Amounts(requests=105),
    "search_unlisted": Amounts(attempts=2, requests=220),
    "share_a_line": Amounts(attempts=12, requests=78),
    "share_an_engine": Amounts(),
    "slow_reader": Amounts(sockets=3, messages=16, requests=10),
    "try_bypasses": Amounts(sockets=38, attempts=39, requests=52),
    "spend_together": Amounts(requests=30),
    "stop_foreign_run": Amounts(sockets=2, messages=2, attempts=1, requests=1),
    "stop_own_run": Amounts(sockets=3, messages=3, requests=3),
    "same_prefix_tokens": Amounts(sockets=50, attempts=42, requests=127),
    "swap_identity": Amounts(sockets=6, messages=6, attempts=1, requests=8),
    "take": Amounts(accounts=1, sockets=15, messages=40, attempts=60, requests=170),
    "tools_after_logout": Amounts(attempts=4, requests=18),
    "trespass": Amounts(attempts=103, requests=300),
    "try_invalid_handshakes": Amounts(sockets=6, attempts=3),
    "try_handshakes": Amounts(sockets=8, attempts=6),
    "try_registrations": Amounts(accounts=4, requests=9),
    "try_sizes": Amounts(sockets=1),
    "two_tabs": Amounts(sockets=4, messages=7, requests=2),
    "use_one_label": Amounts(sockets=3, messages=12, requests=6),
    "use_tools": Amounts(requests=24),
    "use_up_quota": Amounts(requests=100),
}
#: Of an act that nobody has measured.
UNMEASURED = Amounts(requests=100)
#: What in an act's source says that it uses sockets, and that it needs runs that are answered.
_SOCKETS = frozenset({"sockets", "connect", "socket", "tabs", "open_sockets", "Handshake"})
_RUNS = frozenset({"ask", "ask_together", "until_event"})


@dataclass(frozen=True, kw_only=True)
class ActNeeds:
    """What an act cannot be done without.

    Arguments:
        mode: the mode that it needs where the target is not on this machine.
        what: the act as its refusal names it.
        sockets, runs: whether it uses sockets, and waits for answers of agents.
    """

    mode: Mode = Mode.PROBE
    what: str = ""
    sockets: bool = False
    runs: bool = False


def amounts_of(act: str) -> Amounts:
    """What one use of an act sends."""
    return MEASURED.get(act, UNMEASURED)


@lru_cache
def needs_of(act: str) -> ActNeeds:
    """What an act needs: the mode as its decorator says, the rest read off its source and what it calls there."""
    function = getattr(all_acts, act, None)
    needs: Needs | None = getattr(function, "needs", None)
    module = inspect.getmodule(function)
    if needs is None or module is None:
        return ActNeeds()
    names = set[str]()
    for node in _reached(_functions(module), act):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    mode, what = needs.mode, needs.what or act.replace("_", " ")
    if "between" in names:  # of the nemesis
        mode, what = Mode.ATTACK, "disturbing connections"
    return ActNeeds(mode=mode, what=what, sockets=bool(names & _SOCKETS), runs=bool(names & _RUNS))


@lru_cache
def _functions(module: ModuleType) -> dict[str, ast.AST]:
    tree = ast.parse(inspect.getsource(module))
    found: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
    return found


def _reached(functions: dict[str, Any], name: str) -> Iterator[ast.AST]:
    """Every node of a function and of the functions of its module that it leads to."""
    waiting, seen = [name], {name}
    while waiting:
        for node in ast.walk(functions.get(waiting.pop(), ast.Module(body=[], type_ignores=[]))):
            yield node
            if isinstance(node, ast.Name) and node.id in functions and node.id not in seen:
                seen.add(node.id)
                waiting.append(node.id)
