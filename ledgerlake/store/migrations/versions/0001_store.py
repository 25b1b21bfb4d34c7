"""The store: connections, secrets, syncs with their receipts, history and quarantine."""

import sqlalchemy as sa
from alembic import context, op

from ledgerlake.store import _tables

revision = "0001"
down_revision = None

_UP = """
CREATE TABLE ledgerlake.store (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    buckets smallint NOT NULL CHECK (buckets BETWEEN 1 AND 256),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ledgerlake.store IS 'One row: what was fixed when the store was made.';

CREATE TABLE ledgerlake.connections (
    connection_id text PRIMARY KEY,
    customer_id text NOT NULL,
    provider text NOT NULL,
    external_id text NOT NULL,
    institution_id text,
    institution_name text,
    bucket smallint NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'needs_reauth', 'paused', 'gone')),
    reason text,
    state_since timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    last_synced_at timestamptz,
    revision bigint NOT NULL DEFAULT 1,
    UNIQUE (provider, external_id)
);
COMMENT ON TABLE ledgerlake.connections IS 'One row per consent of a customer at an institution, through a provider.';
COMMENT ON COLUMN ledgerlake.connections.external_id IS 'The provider''s own id of it: Teller''s enrollment.';
COMMENT ON COLUMN ledgerlake.connections.last_synced_at IS 'When a sync of it last read everything it asked for.';
COMMENT ON COLUMN ledgerlake.connections.revision IS
    'Grows in every transaction that changes a raw row or a state of the connection: what a build compares.';

CREATE TABLE ledgerlake.secrets (
    connection_id text PRIMARY KEY REFERENCES ledgerlake.connections ON DELETE CASCADE,
    ciphertext bytea NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ledgerlake.secrets IS 'What the provider gave to act for the customer, encrypted with Fernet.';

CREATE TABLE ledgerlake.accounts (
    connection_id text NOT NULL REFERENCES ledgerlake.connections ON DELETE CASCADE,
    account_id text NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'closed', 'vanished')),
    reason text,
    since date NOT NULL,
    PRIMARY KEY (connection_id, account_id)
);
COMMENT ON TABLE ledgerlake.accounts IS 'What the syncs learned of each account: open, closed, or no longer listed.';

CREATE TABLE ledgerlake.cursors (
    connection_id text NOT NULL REFERENCES ledgerlake.connections ON DELETE CASCADE,
    stream text NOT NULL,
    account_id text NOT NULL DEFAULT '',
    cursor json,
    read_on date,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connection_id, stream, account_id)
);
COMMENT ON TABLE ledgerlake.cursors IS 'Where each stream''s next read begins; written with the rows, in one transaction.';
COMMENT ON COLUMN ledgerlake.cursors.read_on IS 'The day on which a read of it last came to its end.';

CREATE TABLE ledgerlake.syncs (
    sync_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id text NOT NULL REFERENCES ledgerlake.connections ON DELETE CASCADE,
    today date NOT NULL,
    mode text NOT NULL CHECK (mode IN ('incremental', 'since', 'full')),
    since date,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    outcome text CHECK (outcome IN ('done', 'partial', 'needs_reauth', 'gone', 'misconfigured', 'retry', 'bad_data', 'failed')),
    error text,
    requests integer NOT NULL DEFAULT 0,
    retries integer NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    new integer NOT NULL DEFAULT 0,
    changed integer NOT NULL DEFAULT 0,
    unchanged integer NOT NULL DEFAULT 0,
    removed integer NOT NULL DEFAULT 0,
    quarantined integer NOT NULL DEFAULT 0
);
CREATE INDEX ON ledgerlake.syncs (connection_id, sync_id DESC);
COMMENT ON TABLE ledgerlake.syncs IS 'One row per sync of a connection. ended_at is null while it runs, or when it was killed.';

CREATE TABLE ledgerlake.receipts (
    sync_id bigint NOT NULL REFERENCES ledgerlake.syncs ON DELETE CASCADE,
    page integer NOT NULL,
    stream text NOT NULL,
    account_id text,
    request text NOT NULL,
    items integer NOT NULL,
    rejected integer NOT NULL,
    ids_hash uuid NOT NULL,
    size bigint NOT NULL,
    new integer NOT NULL,
    changed integer NOT NULL,
    unchanged integer NOT NULL,
    removed integer NOT NULL,
    complete boolean NOT NULL,
    complete_since date,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sync_id, page)
);
COMMENT ON TABLE ledgerlake.receipts IS
    'What the source said: one row per page, written with the page''s rows. items counts what was on the page, '
    'ids_hash is blake2b-16 over its record ids in their order.';

CREATE TABLE ledgerlake.builds (
    build_id text PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    outcome text CHECK (outcome IN ('published', 'unchanged', 'failed')),
    buckets smallint[] NOT NULL,
    snapshot_id bigint,
    error text
);
COMMENT ON TABLE ledgerlake.builds IS 'One row per build. ended_at is null while it runs, or when it was killed.';

CREATE TABLE raw.history (
    provider text NOT NULL,
    stream text NOT NULL,
    {columns},
    superseded_at timestamptz NOT NULL,
    superseded_by bigint NOT NULL,
    PRIMARY KEY (provider, stream, connection_id, record_id, version)
);
COMMENT ON TABLE raw.history IS 'Every version of a record that a later one replaced. Nothing is ever deleted.';

CREATE TABLE raw.quarantine (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bucket smallint NOT NULL,
    connection_id text NOT NULL,
    provider text NOT NULL,
    stream text NOT NULL,
    account_id text,
    record_id text,
    payload bytea NOT NULL,
    hash uuid NOT NULL,
    reason text NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    times integer NOT NULL DEFAULT 1,
    released_at timestamptz,
    UNIQUE (connection_id, stream, hash)
);
CREATE INDEX ON raw.quarantine (bucket) WHERE released_at IS NULL;
COMMENT ON TABLE raw.quarantine IS
    'Payloads that break their stream''s contract, byte for byte, with the reason. released_at: a good version came later.';
"""


def upgrade() -> None:
    for statement in _UP.format(columns=_tables.COLUMNS).split(";\n"):
        if statement.strip():
            op.execute(statement)
    buckets = context.config.attributes["buckets"]
    op.get_bind().execute(sa.text("INSERT INTO ledgerlake.store (buckets) VALUES (:buckets)"), {"buckets": buckets})


def downgrade() -> None:
    for table in ("builds", "receipts", "syncs", "cursors", "accounts", "secrets", "connections", "store"):
        op.execute(f"DROP TABLE ledgerlake.{table}")
    op.execute("DROP TABLE raw.quarantine, raw.history")
