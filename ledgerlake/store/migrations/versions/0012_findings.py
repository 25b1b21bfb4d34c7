"""Findings with their life, the verifications that found them, and what repairs acknowledge as lost."""

from alembic import op

revision = "0012"
down_revision = "0011"

_UP = """
CREATE TABLE ledgerlake.verifications (
    verification_id text PRIMARY KEY,
    today date NOT NULL,
    connections text[],
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    snapshot_id bigint,
    compared bigint,
    findings integer,
    error text
);
CREATE INDEX ON ledgerlake.verifications (started_at DESC);
COMMENT ON TABLE ledgerlake.verifications IS
    'One row per verification. ended_at is null while it runs, or when it was killed; connections is null for all of them.';

CREATE TABLE ledgerlake.verification_results (
    verification_id text NOT NULL REFERENCES ledgerlake.verifications ON DELETE CASCADE,
    connection_id text NOT NULL,
    stream text NOT NULL,
    step text NOT NULL,
    compared bigint NOT NULL,
    matched bigint NOT NULL,
    missing bigint NOT NULL,
    unexpected bigint NOT NULL,
    duplicate bigint NOT NULL,
    mismatched bigint NOT NULL,
    late bigint NOT NULL,
    excluded bigint NOT NULL,
    PRIMARY KEY (verification_id, connection_id, stream, step)
);
COMMENT ON TABLE ledgerlake.verification_results IS
    'How each stream of each connection fared at each step: every record compared stands in exactly one class.';

CREATE TABLE ledgerlake.findings (
    finding_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint text NOT NULL UNIQUE,
    kind text NOT NULL,
    step text NOT NULL,
    model text,
    provider text,
    connection_id text,
    stream text,
    account_id text,
    field text,
    records bigint NOT NULL,
    money jsonb NOT NULL,
    message text NOT NULL,
    repair jsonb,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'acknowledged', 'repairing', 'resolved', 'muted')),
    severity text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    owner text,
    muted_until date,
    resolution text,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    opened_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz,
    announced_at timestamptz,
    times_seen integer NOT NULL DEFAULT 1,
    times_opened integer NOT NULL DEFAULT 1,
    repairs integer NOT NULL DEFAULT 0,
    verification_id text REFERENCES ledgerlake.verifications ON DELETE SET NULL
);
CREATE INDEX ON ledgerlake.findings (state, severity);
CREATE INDEX ON ledgerlake.findings (connection_id);
COMMENT ON TABLE ledgerlake.findings IS 'One row per cause, by its fingerprint, for good: what comes back is reopened.';
COMMENT ON COLUMN ledgerlake.findings.opened_at IS 'When it was opened last; first_seen_at is when it was opened first.';
COMMENT ON COLUMN ledgerlake.findings.announced_at IS 'When somebody was told of it; null: not yet.';
COMMENT ON COLUMN ledgerlake.findings.money IS 'Amounts at risk as text, by currency: never summed across them.';

CREATE TABLE ledgerlake.finding_records (
    finding_id bigint NOT NULL REFERENCES ledgerlake.findings ON DELETE CASCADE,
    position integer NOT NULL,
    connection_id text NOT NULL,
    stream text NOT NULL,
    account_id text,
    record_id text NOT NULL,
    field text,
    expected text,
    found text,
    reason text,
    PRIMARY KEY (finding_id, position)
);
CREATE INDEX ON ledgerlake.finding_records (connection_id, stream, record_id);
COMMENT ON TABLE ledgerlake.finding_records IS 'Records behind a finding when it was last seen: all, or the first 1,000.';

CREATE TABLE ledgerlake.finding_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    finding_id bigint NOT NULL REFERENCES ledgerlake.findings ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    act text NOT NULL,
    before text,
    after text,
    comment text
);
CREATE INDEX ON ledgerlake.finding_events (finding_id, event_id);
COMMENT ON TABLE ledgerlake.finding_events IS 'The history of each finding: who did what, when, and what it changed.';

CREATE TABLE ledgerlake.corrections (
    correction_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    connection_id text NOT NULL,
    stream text NOT NULL,
    rows bigint NOT NULL,
    versions bigint NOT NULL,
    finding_id bigint REFERENCES ledgerlake.findings ON DELETE SET NULL,
    actor text NOT NULL,
    reason text NOT NULL
);
CREATE INDEX ON ledgerlake.corrections (connection_id, stream);
COMMENT ON TABLE ledgerlake.corrections IS
    'Rows and versions that receipts tell of and that are known to be lost (positive) or surplus (negative): receipts less '
    'corrections is what the store holds. Written by repairs, never by syncs.';
"""


def upgrade() -> None:
    for statement in _UP.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    for table in (
        *("corrections", "finding_events", "finding_records", "findings"),
        *("verification_results", "verifications"),
    ):
        op.execute(f"DROP TABLE ledgerlake.{table}")
