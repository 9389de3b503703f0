"""Acts: what an investigator does, as verbs that a notebook reads like prose.

    from netra_probe import acts
    await acts.forge(probe, tester=bob, victim=alice)
    probe.check("A1.3", tokens())

An act goes over the wire through the recording clients, so that everything it does is in the history, and returns a
small value that says what was done. It judges nothing: that is the checkers' part. What a target does not offer is said
in the value and never raised; what destroys is aimed only at what the probe made.
"""

from __future__ import annotations

from netra_probe.acts.access import trespass
from netra_probe.acts.agents import make_agents
from netra_probe.acts.allowed import allowed
from netra_probe.acts.batches import half_done
from netra_probe.acts.budget import Budget
from netra_probe.acts.caches import read_as_neighbour, read_in_turns
from netra_probe.acts.connections import (
    across_backends,
    cut_and_resume,
    late_close,
    leave_and_join,
    reconnect_storm,
    two_tabs,
)
from netra_probe.acts.dispatchers import make_dispatchers
from netra_probe.acts.emitters import make_emitters
from netra_probe.acts.engines import share_an_engine
from netra_probe.acts.everything import delete_everything, keep_everything
from netra_probe.acts.foreign_ids import (
    burst,
    claim_identity,
    equal_ids,
    follow_foreign,
    stop_foreign_run,
    stop_own_run,
)
from netra_probe.acts.hygiene_accounts import compare_logins, guess_passwords, try_registrations
from netra_probe.acts.hygiene_health import ask_health, use_up_quota
from netra_probe.acts.hygiene_sessions import (
    ask_with_query,
    bring_back_refresh_token,
    compare_refusals,
    follow_login,
    inspect_tokens,
    provoke_refusals,
)
from netra_probe.acts.hygiene_sockets import try_handshakes, try_sizes
from netra_probe.acts.identities import introduce, make_contexts
from netra_probe.acts.lifecycle import disable, let_expire, log_out
from netra_probe.acts.oauth import log_in_through
from netra_probe.acts.offers import backend_client
from netra_probe.acts.peers import frozen_peer, killed_peer, slow_reader
from netra_probe.acts.pools import borrow_in_turn, cancel_and_volley, churn, cut_replies, saturate
from netra_probe.acts.presence import read_beside
from netra_probe.acts.reach import within_reach
from netra_probe.acts.references import refer_to_foreign
from netra_probe.acts.refreshing import refresh_together
from netra_probe.acts.resuming import catch_up
from netra_probe.acts.sameness import ask_alike, follow_on, use_one_label
from netra_probe.acts.sessions import come_and_go
from netra_probe.acts.shared_lines import share_a_line
from netra_probe.acts.stores import forge_at_stores, open_stores, outlive_sessions
from netra_probe.acts.tabs import tab, tabs
from netra_probe.acts.tokens import forge, sneak_in, take_turns
from netra_probe.acts.tools import give_up_on_tools, look_up_neighbours, overreach, tools_after_logout, use_tools
from netra_probe.acts.transactions import append_together, spend_together

__all__ = [
    "Budget",
    "across_backends",
    "append_together",
    "ask_alike",
    "ask_health",
    "ask_with_query",
    "backend_client",
    "borrow_in_turn",
    "bring_back_refresh_token",
    "burst",
    "cancel_and_volley",
    "catch_up",
    "churn",
    "claim_identity",
    "come_and_go",
    "compare_logins",
    "compare_refusals",
    "cut_and_resume",
    "cut_replies",
    "delete_everything",
    "disable",
    "equal_ids",
    "follow_foreign",
    "follow_login",
    "follow_on",
    "forge",
    "forge_at_stores",
    "frozen_peer",
    "give_up_on_tools",
    "guess_passwords",
    "half_done",
    "inspect_tokens",
    "introduce",
    "keep_everything",
    "killed_peer",
    "late_close",
    "leave_and_join",
    "let_expire",
    "log_in_through",
    "log_out",
    "look_up_neighbours",
    "make_agents",
    "make_contexts",
    "make_dispatchers",
    "make_emitters",
    "open_stores",
    "outlive_sessions",
    "overreach",
    "provoke_refusals",
    "read_as_neighbour",
    "read_beside",
    "read_in_turns",
    "reconnect_storm",
    "refer_to_foreign",
    "refresh_together",
    "saturate",
    "share_a_line",
    "share_an_engine",
    "slow_reader",
    "sneak_in",
    "spend_together",
    "stop_foreign_run",
    "stop_own_run",
    "tab",
    "tabs",
    "take_turns",
    "tools_after_logout",
    "trespass",
    "try_handshakes",
    "try_registrations",
    "try_sizes",
    "two_tabs",
    "use_one_label",
    "use_tools",
    "use_up_quota",
    "within_reach",
]

# What a target's mode does not allow is an outcome, and no exception in a notebook.
globals().update({name: allowed(globals()[name]) for name in __all__})
