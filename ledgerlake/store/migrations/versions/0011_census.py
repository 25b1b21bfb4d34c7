"""What the census counted again at the sources, and how its reads fared."""

from alembic import op

revision = "0011"
down_revision = "0010"

_UP = """
CREATE TABLE ledgerlake.census_reads (
    read_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    census_id text NOT NULL,
    connection_id text NOT NULL REFERENCES ledgerlake.connections ON DELETE CASCADE,
    stream text NOT NULL,
    account_id text,
    today date NOT NULL,
    asked_since date,
    asked_until date,
    since date,
    until date,
    whole_pending boolean NOT NULL DEFAULT false,
    read_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    requests integer NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    rows integer NOT NULL DEFAULT 0,
    outcome text CHECK (outcome IN ('done', 'refused', 'budget', 'failed')),
    error text
);
CREATE INDEX ON ledgerlake.census_reads (connection_id, stream, account_id, today);
COMMENT ON TABLE ledgerlake.census_reads IS
    'One row per read of the census. outcome is null while it runs, or when it was killed: its records count for nothing then.';
COMMENT ON COLUMN ledgerlake.census_reads.since IS
    'Of the records dated since to until, both included and null without an end, a read that is done showed every one. '
    'A record outside may be at the source all the same; where since is after until, that is so of any.';
COMMENT ON COLUMN ledgerlake.census_reads.asked_since IS
    'What was asked for: a little more than it answers for, since what a provider counts as the day may differ.';
COMMENT ON COLUMN ledgerlake.census_reads.whole_pending IS 'It showed every pending record, whatever its date.';
COMMENT ON COLUMN ledgerlake.census_reads.read_at IS
    'When it began: a record that a sync changed after that may differ from what it shows.';

CREATE TABLE ledgerlake.census_records (
    read_id bigint NOT NULL REFERENCES ledgerlake.census_reads ON DELETE CASCADE,
    position integer NOT NULL,
    connection_id text NOT NULL,
    stream text NOT NULL,
    account_id text,
    record_id text,
    record_date date,
    pending boolean NOT NULL,
    payload json NOT NULL,
    hash uuid NOT NULL,
    PRIMARY KEY (read_id, position)
);
CREATE INDEX ON ledgerlake.census_records (connection_id, stream, account_id, record_date);
COMMENT ON TABLE ledgerlake.census_records IS
    'What a source showed when it was last asked for that range. record_id is null where the source names no row for good: '
    'those are found again by their hash, each once.';
COMMENT ON COLUMN ledgerlake.census_records.hash IS 'Of the payload''s bytes, as in raw.';
"""


def upgrade() -> None:
    for statement in _UP.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE ledgerlake.census_records, ledgerlake.census_reads")
