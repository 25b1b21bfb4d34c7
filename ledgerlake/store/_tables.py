"""The one shape of every raw stream's table: used by the migrations and by nothing else.

A stream ``raw.<provider>_<stream>`` is partitioned by bucket. The syncs write into a leaf and a build reads leaves,
so a build touches only the buckets it builds and DuckDB scans a leaf in parallel (it cannot a parent).
"""

COLUMNS = """
    bucket smallint NOT NULL,
    connection_id text NOT NULL,
    record_id text NOT NULL,
    account_id text,
    record_date date,
    pending boolean NOT NULL,
    payload json NOT NULL,
    hash uuid NOT NULL,
    version integer NOT NULL,
    sync_id bigint NOT NULL,
    first_synced_at timestamptz NOT NULL,
    synced_at timestamptz NOT NULL,
    removed_at timestamptz,
    removed_reason text CHECK (removed_reason IN ('removed', 'superseded'))
"""


def create_stream(name: str, description: str, buckets: int) -> list[str]:
    """The statements that make a stream's table with its leaves. `name` is a constant of a migration."""
    statements = [
        f"CREATE TABLE raw.{name} ({COLUMNS}, PRIMARY KEY (bucket, connection_id, record_id)) PARTITION BY LIST (bucket)",
        f"CREATE INDEX ON raw.{name} (connection_id, account_id, record_date)",
        f"CREATE INDEX ON raw.{name} (connection_id, account_id, record_date) WHERE pending AND removed_at IS NULL",
        f"COMMENT ON TABLE raw.{name} IS '{description}'",
    ]
    for bucket in range(buckets):
        statements.append(f"CREATE TABLE raw.{name}_b{bucket} PARTITION OF raw.{name} FOR VALUES IN ({bucket})")
        # A page's merge looks up a whole page of keys: the statistics must follow a first load while it runs.
        statements.append(f"ALTER TABLE raw.{name}_b{bucket} SET (autovacuum_analyze_scale_factor = 0.02)")
    return statements


def drop_stream(name: str) -> list[str]:
    provider, stream = name.split("_", 1)
    return [
        f"DROP TABLE raw.{name}",
        f"DELETE FROM raw.history WHERE provider = '{provider}' AND stream = '{stream}'",  # noqa: S608 - constants
    ]
