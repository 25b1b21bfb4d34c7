"""Raw records to Parquet on S3: the model of Teller's transactions, beside one bare COPY of DuckDB.

Both read the same leaf of one bucket, parse the same fields out of the payload, and write one zstd Parquet file to
the same S3, under the same memory limit. Ours is the time of dbt's node: it checks the contract first. The bare one
has no dbt, no check and no try around the parsing.
"""

import time

import duckdb
from duckdb import DuckDBPyConnection
from duckdb_extensions import import_extension  # type: ignore[import-untyped]
from psycopg.conninfo import conninfo_to_dict

from benchmarks.bank import bank
from benchmarks.house import House, Place, Size
from benchmarks.result import Comparison, Goal, say
from ledgerlake.lake import Lake

_MODEL = "stg_teller__transactions"

_BARE = """
copy (
    select
        bucket, connection_id, record_id, account_id, pending,
        fields.date::date as booked_on,
        fields.amount::decimal(28, 8) as amount,
        fields.running_balance::decimal(28, 8) as running_balance,
        fields.description, fields.type,
        fields.details.processing_status, fields.details.category,
        fields.details.counterparty.name as counterparty, fields.details.counterparty.type as counterparty_type,
        first_synced_at, synced_at, removed_at, removed_reason
    from (
        select *, from_json(payload, '{
            "amount": "VARCHAR", "date": "VARCHAR", "description": "VARCHAR", "type": "VARCHAR",
            "running_balance": "VARCHAR",
            "details": {
                "processing_status": "VARCHAR", "category": "VARCHAR",
                "counterparty": {"name": "VARCHAR", "type": "VARCHAR"}
            }
        }') as fields
        from pg.raw.teller_transactions_b$bucket
    )
) to '$path' (format parquet, compression zstd)
"""


def measure(house: House, size: Size) -> list[Comparison]:
    """Builds of one bucket and bare copies in turns, on rows that were loaded once."""
    with bank(size.rows) as url, house.place(url) as place:
        bucket = place.connect().bucket
        place.sync()
        say("transform", f"{size.rows:,} rows are loaded")
        lake = Lake(place.where, place.settings)
        lake.build([bucket], _MODEL)  # dbt reads the project once; that is not what is measured
        ours, theirs = [], []
        for run in range(size.runs):
            ours.append(_ours(lake, bucket, size.rows))
            say("transform", f"Ledgerlake: {size.rows / ours[-1]:,.0f} rows/s")
            theirs.append(_bare(place, bucket, f"{place.where.s3.url}/bare/{run}.parquet", size.rows))
            say("transform", f"bare COPY: {size.rows / theirs[-1]:,.0f} rows/s")
    return [Comparison("transform", _MODEL, "s", ours, "bare DuckDB COPY of the same fields", theirs, Goal("≤", 1.3))]


def _ours(lake: Lake, bucket: int, rows: int) -> float:
    (model,) = lake.build([bucket], _MODEL).models
    if model.rows != rows:
        raise RuntimeError(f"expected {rows} rows of {_MODEL}, found {model.rows}")
    return model.seconds


def _bare(place: Place, bucket: int, path: str, rows: int) -> float:
    with duckdb.connect(":memory:") as connection:
        _prepare(connection, place)
        statement = _BARE.replace("$bucket", str(bucket)).replace("$path", path)
        started = time.perf_counter()
        written = connection.execute(statement).fetchone()
        seconds = time.perf_counter() - started
    if written != (rows,):
        raise RuntimeError(f"expected {rows} rows copied, found {written}")
    return seconds


def _prepare(connection: DuckDBPyConnection, place: Place) -> None:
    """PostgreSQL and S3 as anyone would attach them, with the limits of a build."""
    connection.execute(f"set memory_limit = '{place.settings.memory_limit}'")
    connection.execute(f"set temp_directory = '{place.settings.home / 'bare'}'")
    connection.execute("set preserve_insertion_order = false")
    connection.execute("set TimeZone = 'UTC'")
    for extension in ("httpfs", "postgres_scanner"):
        import_extension(extension, con=connection)
        connection.load_extension(extension)
    s3 = place.where.s3
    assert s3.endpoint is not None
    connection.execute(
        f"create secret (type s3, key_id '{s3.access_key}', secret '{s3.secret_key}', region '{s3.region}', "
        f"endpoint '{s3.endpoint.rpartition('://')[2]}', url_style 'path', use_ssl false)"
    )
    given = " ".join(f"{name}={value}" for name, value in conninfo_to_dict(place.where.postgres_url).items())
    connection.execute(f"attach '{given}' as pg (type postgres, read_only)")
