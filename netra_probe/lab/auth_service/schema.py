"""The auth service's own tables, in its own schema, made at start-up by whoever comes first."""

from __future__ import annotations

import asyncpg

_MIGRATION_LOCK = 0x6E657472  # "netr": several processes may start at once

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE auth_users (
        id              text PRIMARY KEY,
        email           text NOT NULL,
        name            text NOT NULL DEFAULT '',
        password_hash   text,
        auth_provider   text NOT NULL DEFAULT 'local',
        is_active       boolean NOT NULL DEFAULT true,
        is_verified     boolean NOT NULL DEFAULT true,
        is_admin        boolean NOT NULL DEFAULT false,
        locked_until    timestamptz,
        created_at      timestamptz NOT NULL DEFAULT now(),
        last_login_at   timestamptz
    );
    CREATE UNIQUE INDEX auth_users_email ON auth_users (lower(email));

    CREATE TABLE auth_identities (
        issuer          text NOT NULL,
        subject         text NOT NULL,
        user_id         text NOT NULL REFERENCES auth_users (id) ON DELETE CASCADE,
        created_at      timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (issuer, subject)
    );
    CREATE INDEX auth_identities_user ON auth_identities (user_id);

    CREATE TABLE auth_sessions (
        id              text PRIMARY KEY,
        user_id         text NOT NULL REFERENCES auth_users (id) ON DELETE CASCADE,
        refresh_jti     text NOT NULL,
        previous_jti    text,
        rotated_at      timestamptz NOT NULL DEFAULT now(),
        address         text NOT NULL DEFAULT '',
        user_agent      text NOT NULL DEFAULT '',
        created_at      timestamptz NOT NULL DEFAULT now(),
        expires_at      timestamptz NOT NULL,
        revoked_at      timestamptz
    );
    CREATE INDEX auth_sessions_user ON auth_sessions (user_id);

    -- what Redis forgets when it restarts
    CREATE TABLE auth_revoked_tokens (
        jti             text PRIMARY KEY,
        expires_at      timestamptz NOT NULL
    );

    CREATE TABLE auth_audit_logs (
        id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        user_id         text,
        event           text NOT NULL,
        success         boolean NOT NULL,
        address         text NOT NULL DEFAULT '',
        created_at      timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX auth_audit_logs_user ON auth_audit_logs (user_id);
    """,
)


async def migrate(connection: asyncpg.Connection) -> int:
    """Bring the schema up to date and return its version; safe when several processes do it at once."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        await connection.execute("CREATE TABLE IF NOT EXISTS auth_schema_version (version integer NOT NULL)")
        version: int = await connection.fetchval("SELECT coalesce(max(version), 0) FROM auth_schema_version")
        for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
            await connection.execute(statements)
            await connection.execute("INSERT INTO auth_schema_version VALUES ($1)", number)
        return len(MIGRATIONS)
