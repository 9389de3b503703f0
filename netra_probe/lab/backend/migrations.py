"""The backend's tables and the row-level security that stands behind every ownership clause.

Row-level security is the second line: each query names its owner anyway. A session sees the rows of
``netra.user_id``; ``netra.scope = 'service'`` exists for the one question that needs more, "does this id exist at
all?", which is what tells 403 from 404. Other roles that were granted SELECT (an observer) see everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ADVISORY_LOCK: Final = 0x6E65747261
"""Both backend processes migrate at start; this lock lets one of them do it and the other one look on."""


class SchemaTooNew(RuntimeError):
    """The tables were changed by a newer version of the service than this one."""


OWNED_TABLES: Final = (
    "threads", "messages", "runs", "steps", "agent_state_snapshots", "tool_usage_logs", "credit_transactions",
    "spend_records",
)  # fmt: skip

EXPORT_TABLES: Final = ("exports", "export_documents")

_TABLES = """
CREATE TABLE users (
    id text PRIMARY KEY,
    email text NOT NULL,
    name text NOT NULL DEFAULT '',
    preferences jsonb NOT NULL DEFAULT '{}',
    credits integer NOT NULL DEFAULT 100 CHECK (credits >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE threads (
    id text PRIMARY KEY,
    object text NOT NULL DEFAULT 'thread',
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    metadata_ json NOT NULL,
    deleted_at timestamptz,
    user_id text NOT NULL GENERATED ALWAYS AS (metadata_->>'user_id') STORED
        REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX threads_by_user ON threads (user_id, created_at DESC) WHERE deleted_at IS NULL;
CREATE TABLE messages (
    id text PRIMARY KEY,
    object text NOT NULL DEFAULT 'thread.message',
    created_at bigint NOT NULL,
    position bigint GENERATED ALWAYS AS IDENTITY,
    thread_id text NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    role text NOT NULL CHECK (role IN ('user', 'assistant', 'system')),
    content json NOT NULL,
    run_id text,
    metadata_ json NOT NULL DEFAULT '{}',
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX messages_by_thread ON messages (thread_id, position);
CREATE INDEX messages_by_user ON messages (user_id, position);
CREATE TABLE runs (
    id text PRIMARY KEY,
    object text NOT NULL DEFAULT 'thread.run',
    created_at bigint NOT NULL,
    completed_at bigint,
    thread_id text NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    status text NOT NULL,
    last_error text,
    metadata_ json NOT NULL DEFAULT '{}',
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX runs_by_user ON runs (user_id, created_at DESC);
CREATE TABLE steps (
    id text PRIMARY KEY,
    created_at bigint NOT NULL,
    position bigint GENERATED ALWAYS AS IDENTITY,
    run_id text NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    agent_name text NOT NULL,
    type text NOT NULL,
    status text NOT NULL,
    step_details json NOT NULL DEFAULT '{}',
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX steps_by_run ON steps (run_id, position);
CREATE TABLE agent_state_snapshots (
    id text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    run_id text NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    thread_id text NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    agent_name text NOT NULL,
    state json NOT NULL
);
CREATE INDEX agent_states_by_run ON agent_state_snapshots (run_id);
CREATE TABLE tool_usage_logs (
    id text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    tool_name text NOT NULL,
    run_id text,
    parameters json NOT NULL DEFAULT '{}',
    success boolean NOT NULL,
    execution_time_ms integer NOT NULL
);
CREATE INDEX tool_usage_by_user ON tool_usage_logs (user_id, created_at DESC);
CREATE TABLE credit_transactions (
    id text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    amount integer NOT NULL,
    balance_after integer NOT NULL,
    reason text NOT NULL
);
CREATE INDEX credits_by_user ON credit_transactions (user_id, created_at DESC);
CREATE TABLE spend_records (
    id text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    position bigint GENERATED ALWAYS AS IDENTITY,
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    service text NOT NULL,
    amount_usd numeric(12, 2) NOT NULL,
    note text NOT NULL DEFAULT ''
);
CREATE INDEX spend_by_user ON spend_records (user_id, position);
"""

_ROW_SECURITY = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_only ON {table} USING (
    {owner} = current_setting('netra.user_id', true) OR current_setting('netra.scope', true) = 'service'
);
DO $$ BEGIN
    EXECUTE format(
        'CREATE POLICY observer ON {table} FOR SELECT USING (current_user <> %L)', current_user
    );
END $$;
"""


def _row_security() -> str:
    return _row_security_of({"users": "id", **dict.fromkeys(OWNED_TABLES, "user_id")})


def _row_security_of(owners: Mapping[str, str]) -> str:
    return "".join(_ROW_SECURITY.format(table=table, owner=owner) for table, owner in owners.items())


_EXPORTS = """
CREATE TABLE exports (
    id text PRIMARY KEY,
    created_at bigint NOT NULL,
    label text NOT NULL,
    status text NOT NULL CHECK (status IN ('queued', 'completed', 'failed')),
    backend text NOT NULL,
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX exports_by_user ON exports (user_id, created_at DESC);
CREATE TABLE export_documents (
    export_id text PRIMARY KEY REFERENCES exports (id) ON DELETE CASCADE,
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    content json NOT NULL
);
"""


MIGRATIONS: Final[tuple[tuple[int, str, str], ...]] = (
    (1, "tables", _TABLES),
    (2, "row-level security", _row_security()),
    (3, "exports", _EXPORTS + _row_security_of(dict.fromkeys(EXPORT_TABLES, "user_id"))),
)
"""(version, what, statements), applied in order, each in its own transaction, never edited afterwards."""
