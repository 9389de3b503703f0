"""Acts: what an investigator does, as verbs that a notebook reads like prose.

    from netra_probe import workloads
    await workloads.forge(probe, tester=bob, victim=alice)
    probe.check("A1.3", tokens())

An act goes over the wire through the recording clients, so that everything it does is in the history, and returns a
small value that says what was done. It judges nothing: that is the checkers' part. What a target does not offer is said
in the value and never raised; what destroys is aimed only at what the probe made.
"""

from __future__ import annotations

from netra_probe.plans.budget import Budget
from netra_probe.plans.routes import backend_client, supported_route
from netra_probe.plans.tabs import long_question, tab, tabs
from netra_probe.plans.token_messages import present
from netra_probe.workloads.agents.foreign_references import (
    ask_about_others,
    name_others_to_tools,
    reference_foreign_ids,
)
from netra_probe.workloads.agents.hand_offs import hand_off, keeps, run_tree
from netra_probe.workloads.agents.identical_inputs import (
    first_pieces,
    identical_prompts,
    sequential_jobs,
    similar_prompts,
    use_one_label,
)
from netra_probe.workloads.agents.tools import (
    call_unpermitted_tools,
    give_up_on_tools,
    look_up_neighbours,
    tools_after_logout,
    use_tools,
)
from netra_probe.workloads.auth.credential_end import disable, let_expire, log_out
from netra_probe.workloads.auth.forged_tokens import forge, same_prefix_tokens, try_bypasses
from netra_probe.workloads.auth.handshakes import error_event, names_remedy, short_lived, stream_error
from netra_probe.workloads.auth.identities import introduce, make_contexts
from netra_probe.workloads.auth.independence import open_ports, service_roles, try_upgrade
from netra_probe.workloads.auth.oauth import log_in_through
from netra_probe.workloads.auth.oauth_requests import change_requests, local_providers, log_in_at
from netra_probe.workloads.auth.recognition import recognised
from netra_probe.workloads.auth.sessions import come_and_go, refresh_together, swap_identity
from netra_probe.workloads.components.agent_counts import count_agents
from netra_probe.workloads.components.agent_factory import make_agents
from netra_probe.workloads.components.emitter import make_emitters
from netra_probe.workloads.components.surroundings import (
    ConfigurationFiles,
    compare_signatures,
    service_environments,
)
from netra_probe.workloads.components.tool_engine import make_dispatchers, share_an_engine
from netra_probe.workloads.database.cancelled_writes import half_done, share_a_line
from netra_probe.workloads.database.ledgers import keep_books
from netra_probe.workloads.database.pools import borrow_in_turn, cancel_then_read, churn, cut_replies, saturate
from netra_probe.workloads.database.stores import forge_at_stores, open_stores, outlive_sessions
from netra_probe.workloads.database.transactions import append_together, spend_together
from netra_probe.workloads.explore import carry_out, explore, explorer, take
from netra_probe.workloads.faulty_labs import FaultyLabs
from netra_probe.workloads.hygiene.accounts import compare_logins, guess_passwords, try_registrations
from netra_probe.workloads.hygiene.sessions import (
    ask_with_query,
    bring_back_refresh_token,
    compare_refusals,
    follow_login,
    inspect_tokens,
    provoke_refusals,
)
from netra_probe.workloads.hygiene.sockets import ask_health, try_handshakes, try_sizes, use_up_quota
from netra_probe.workloads.outages import configured, paused
from netra_probe.workloads.outcome import applicable_checkers
from netra_probe.workloads.rest.authorization_matrix import trespass
from netra_probe.workloads.rest.caches import read_as_neighbour, read_in_turns
from netra_probe.workloads.rest.crud import create_and_read_all, delete_all
from netra_probe.workloads.rest.noninterference import compare_reads
from netra_probe.workloads.rest.own_data import (
    add_row,
    own_rows,
    recommendations,
    shown_rows,
    stored_messages,
    tool_rows,
)
from netra_probe.workloads.rest.registered_again import reuse_address
from netra_probe.workloads.rest.unlisted_routes import search_unlisted
from netra_probe.workloads.websocket.bad_peers import frozen_peer, killed_peer, slow_reader, try_invalid_handshakes
from netra_probe.workloads.websocket.crowding import crowd_out
from netra_probe.workloads.websocket.event_waits import event_waits, seen_by
from netra_probe.workloads.websocket.foreign_ids import (
    burst,
    claim_identity,
    equal_ids,
    follow_foreign,
    stop_foreign_run,
    stop_own_run,
)
from netra_probe.workloads.websocket.message_formats import envelopes, leftovers
from netra_probe.workloads.websocket.reconnects import (
    across_backends,
    cut_and_resume,
    interrupt_listeners,
    late_close,
    leave_and_join,
    reconnect_storm,
    two_conversations,
    two_tabs,
)
from netra_probe.workloads.websocket.resume import catch_up, resume_point
from netra_probe.workloads.websocket.threads import announced, open_thread

#: All that is imported above.
__all__ = [name for name, value in dict(vars()).items() if callable(value)]
