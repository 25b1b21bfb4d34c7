"""People who work with the console: users, sessions, API tokens, connect links, orders, and the audit log."""

from alembic import op

revision = "0013"
down_revision = "0012"

_UP = [
    """
    CREATE TABLE ledgerlake.users (
        user_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL UNIQUE,
        subject text UNIQUE,
        role text NOT NULL CHECK (role IN ('viewer', 'support', 'admin')),
        password_hash text,
        must_change boolean NOT NULL DEFAULT false,
        disabled_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(),
        last_seen_at timestamptz
    )
    """,
    """
    COMMENT ON TABLE ledgerlake.users IS
        'Who may use the console. subject is issuer and id at the identity provider; password_hash (argon2) is of those without one.'
    """,
    """
    CREATE TABLE ledgerlake.sessions (
        session_hash bytea PRIMARY KEY,
        user_id bigint NOT NULL REFERENCES ledgerlake.users ON DELETE CASCADE,
        csrf text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        used_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE INDEX ON ledgerlake.sessions (user_id)
    """,
    """
    COMMENT ON TABLE ledgerlake.sessions IS 'Who is signed in. The cookie''s value is not kept, only its SHA-256.'
    """,
    """
    CREATE TABLE ledgerlake.api_tokens (
        token_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL,
        token_hash bytea NOT NULL UNIQUE,
        scopes text[] NOT NULL,
        created_by text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        revoked_at timestamptz,
        used_at timestamptz
    )
    """,
    """
    COMMENT ON TABLE ledgerlake.api_tokens IS 'Tokens of the API; only the SHA-256 is kept.'
    """,
    """
    CREATE TABLE ledgerlake.connect_links (
        link_id text PRIMARY KEY,
        customer_id text NOT NULL,
        connection_id text,
        created_by text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        opened_at timestamptz,
        session_hash bytea,
        provider text,
        state_hash bytea,
        pending bytea,
        used_at timestamptz,
        outcome text CHECK (outcome IN ('connected', 'cancelled', 'failed')),
        connected_id text
    )
    """,
    """
    CREATE INDEX ON ledgerlake.connect_links (customer_id)
    """,
    """
    COMMENT ON TABLE ledgerlake.connect_links IS
        'Links that open a customer''s connect page: single use, expiring. connection_id is one to repair, connected_id what came of it.'
    """,
    """
    COMMENT ON COLUMN ledgerlake.connect_links.session_hash IS 'SHA-256 of the cookie of the browser that opened it: no other may go on.'
    """,
    """
    COMMENT ON COLUMN ledgerlake.connect_links.pending IS 'What the consent that is under way needs again at its end, encrypted.'
    """,
    """
    COMMENT ON COLUMN ledgerlake.connect_links.state_hash IS 'SHA-256 of the state parameter that the provider must bring back, once.'
    """,
    """
    CREATE TABLE ledgerlake.orders (
        order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind text NOT NULL CHECK (kind IN ('sync', 'refetch', 'repair')),
        connection_id text,
        finding_id bigint,
        since date,
        actor text NOT NULL,
        asked_at timestamptz NOT NULL DEFAULT now(),
        taken_at timestamptz,
        ended_at timestamptz,
        outcome text CHECK (outcome IN ('done', 'failed')),
        message text
    )
    """,
    """
    CREATE INDEX ON ledgerlake.orders (asked_at) WHERE ended_at IS NULL
    """,
    """
    COMMENT ON TABLE ledgerlake.orders IS 'What people asked for in the console or by the API: a sensor takes each once and runs it.'
    """,
    """
    CREATE TABLE ledgerlake.audit_log (
        audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT now(),
        actor text NOT NULL,
        act text NOT NULL,
        target text,
        before text,
        after text
    )
    """,
    """
    CREATE INDEX ON ledgerlake.audit_log (at DESC)
    """,
    """
    COMMENT ON TABLE ledgerlake.audit_log IS 'Who did what, when, with what it was before and after. Nothing is changed or deleted in it.'
    """,
    """
    CREATE FUNCTION ledgerlake.append_only() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION ''% is append only'', TG_TABLE_NAME; END'
    """,
    """
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledgerlake.audit_log
        FOR EACH STATEMENT EXECUTE FUNCTION ledgerlake.append_only()
    """,
]


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for table in ("audit_log", "orders", "connect_links", "api_tokens", "sessions", "users"):
        op.execute(f"DROP TABLE ledgerlake.{table}")
    op.execute("DROP FUNCTION ledgerlake.append_only()")
