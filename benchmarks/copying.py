"""The limit of ingest: the same bytes from memory into PostgreSQL, by COPY and one merge, and nothing else.

Two columns beside the payload (id and hash), one primary key, no history, receipt or cursor.
"""

import hashlib
import time
from dataclasses import dataclass

import msgspec
import psycopg

_TABLE = "CREATE TABLE bare (record_id text PRIMARY KEY, payload json NOT NULL, hash uuid NOT NULL)"
_STAGING = """
SET synchronous_commit = off;
CREATE TEMPORARY TABLE incoming (record_id text NOT NULL, payload json NOT NULL, hash uuid NOT NULL)
ON COMMIT DELETE ROWS
"""
_MERGE = """
INSERT INTO bare SELECT * FROM incoming
ON CONFLICT (record_id) DO UPDATE SET payload = excluded.payload, hash = excluded.hash WHERE bare.hash <> excluded.hash
"""


@dataclass(frozen=True)
class Bare:
    """Seconds for rows that are new, and for the same rows again."""

    new: float
    unchanged: float


class _Id(msgspec.Struct):
    id: str


def lines(pages: list[bytes]) -> list[bytes]:
    """The rows of those pages as COPY takes them."""
    split, identity = msgspec.json.Decoder(list[msgspec.Raw]), msgspec.json.Decoder(_Id)
    return [
        b"%b\t%b\t%b\n"
        % (
            identity.decode(raw).id.encode(),
            bytes(raw).replace(b"\\", b"\\\\"),
            hashlib.sha256(raw).hexdigest()[:32].encode(),
        )
        for page in pages
        for raw in split.decode(page)
    ]


def copy(postgres_url: str, rows: list[bytes], at_once: int) -> Bare:
    """Store them, so many in one transaction, and once more."""
    batches = [b"".join(rows[at : at + at_once]) for at in range(0, len(rows), at_once)]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS bare")
        connection.execute(_TABLE)
        connection.execute(_STAGING)
        seconds = [_merge(connection, batches) for _ in ("new", "unchanged")]
        stored = connection.execute("SELECT count(*) FROM bare").fetchone()
    if stored != (len(rows),):
        raise RuntimeError(f"expected {len(rows)} rows copied, found {stored}")
    return Bare(*seconds)


def _merge(connection: psycopg.Connection, batches: list[bytes]) -> float:
    started = time.perf_counter()
    for batch in batches:
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy("COPY incoming FROM STDIN") as pipe:
                pipe.write(batch)
            cursor.execute(_MERGE)
    return time.perf_counter() - started
