"""Providers that are switched off, and what a sync is called that stopped for it."""

from alembic import op

revision = "0009"
down_revision = "0008"

_OUTCOMES = "'done', 'partial', 'needs_reauth', 'gone', 'misconfigured', 'retry', 'bad_data', 'failed'"

_UP = [
    """
    CREATE TABLE ledgerlake.providers (
        provider text PRIMARY KEY,
        state text NOT NULL CHECK (state IN ('active', 'paused')),
        reason text,
        state_since timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    COMMENT ON TABLE ledgerlake.providers IS
    'Providers that were ever paused as a whole. One without a row is active; a running sync looks at each page.'
    """,
    """
    CREATE VIEW ledgerlake.connection_states AS
    SELECT c.connection_id, c.provider,
           CASE WHEN c.state = 'active' THEN coalesce(p.state, 'active') ELSE c.state END AS state,
           CASE WHEN c.state = 'active' THEN 'all of ' || c.provider || ': ' || p.reason ELSE c.reason END AS reason
    FROM ledgerlake.connections AS c
    LEFT JOIN ledgerlake.providers AS p ON p.provider = c.provider AND p.state <> 'active'
    """,
    """
    COMMENT ON VIEW ledgerlake.connection_states IS
    'The state that decides whether a connection is called: its own, or its provider''s where its own is active.'
    """,
    "ALTER TABLE ledgerlake.syncs DROP CONSTRAINT syncs_outcome_check",
    f"ALTER TABLE ledgerlake.syncs ADD CONSTRAINT syncs_outcome_check CHECK (outcome IN ({_OUTCOMES}, 'paused'))",
]

_DOWN = [
    "UPDATE ledgerlake.syncs SET outcome = 'retry' WHERE outcome = 'paused'",
    "ALTER TABLE ledgerlake.syncs DROP CONSTRAINT syncs_outcome_check",
    f"ALTER TABLE ledgerlake.syncs ADD CONSTRAINT syncs_outcome_check CHECK (outcome IN ({_OUTCOMES}))",
    "DROP VIEW ledgerlake.connection_states",
    "DROP TABLE ledgerlake.providers",
]


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
