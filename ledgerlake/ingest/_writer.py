"""The merge: one page of one connection into the store, with its receipt and cursor, in one transaction.

A page is sent as six arrays and compared with the leaf by primary key, in one statement. Rows whose hash is the same
are not touched at all, so a page of nothing new writes one receipt and no row version. A row that changed goes to
history first. The connection's advisory lock makes this process the only writer of its rows.

Arrays and one statement, because a temporary table that is filled by COPY and emptied at each commit costs more
than all the rest: PostgreSQL truncates its files and builds its indexes anew, 3 to 5 ms a page of 500 records.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql

from connectors import Complete, Page, Rejected
from ledgerlake.ingest._arrays import columns, register
from ledgerlake.ingest._report import Counts

# Rows and cursor are in one transaction, so losing the last milliseconds of both in a crash of PostgreSQL loses
# nothing that the next sync does not fetch again; waiting for the disk at each page would double the time.
# A page is small beside its table: a lookup by key is right even where PostgreSQL has no statistics yet. A generic plan
# spares planning each page, and does not believe that a connection which no statistics know has no rows.
_SESSION = """
SET synchronous_commit = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_seqscan = off;
SET jit = off;
SET plan_cache_mode = force_generic_plan;
CREATE TEMPORARY TABLE shown (stream text, record_id text, PRIMARY KEY (stream, record_id));
"""

_WATCH = """
SELECT EXISTS (
    SELECT FROM {leaf} AS leaf
    WHERE leaf.bucket = {bucket} AND leaf.connection_id = %(connection)s
      AND (%(account)s::text IS NULL OR leaf.account_id = %(account)s)
), EXISTS (
    SELECT FROM raw.quarantine AS held
    WHERE held.bucket = {bucket} AND held.released_at IS NULL AND held.connection_id = %(connection)s
      AND held.stream = %(stream)s
)
"""

_INCOMING = """
WITH incoming AS MATERIALIZED (
    SELECT *
    FROM unnest(%(ids)s, %(accounts)s, %(dates)s, %(pendings)s, %(hashes)s, %(payloads)s)
        AS page (record_id, account_id, record_date, pending, hash, payload)
)"""

# Every record is looked up by its whole key: OFFSET 0 keeps the planner from joining in another way, which is quadratic
# where it takes a connection for small, and rows that were found are then reached by their place, for we are their only
# writer.
# One statement a page: the rows, what they replace, the receipt, the cursor and the counter that builds compare.
# A record that the store holds as current under another account goes to quarantine: neither may overwrite the other.
_MERGE = (
    _INCOMING
    + """,
compared AS MATERIALIZED (
    SELECT incoming.*, leaf.place, leaf.version, leaf.account_id AS owner,
           leaf.place IS NOT NULL AND leaf.removed_at IS NULL
               AND leaf.account_id IS DISTINCT FROM incoming.account_id AS foreign_owner
    FROM incoming
    LEFT JOIN LATERAL (
        SELECT ctid AS place, account_id, hash, version, removed_at FROM {leaf}
        WHERE bucket = {bucket} AND connection_id = %(connection)s AND record_id = incoming.record_id
        OFFSET 0
    ) AS leaf ON true
    WHERE leaf.place IS NULL OR leaf.hash <> incoming.hash OR leaf.removed_at IS NOT NULL
       OR leaf.account_id IS DISTINCT FROM incoming.account_id
),
accepted AS (SELECT * FROM compared WHERE NOT foreign_owner),
superseded AS (
    INSERT INTO raw.history
    SELECT %(provider)s, %(stream)s, leaf.*, now(), %(sync)s
    FROM accepted
    JOIN {leaf} AS leaf ON leaf.ctid = accepted.place
),
updated AS (
    UPDATE {leaf} AS leaf
    SET account_id = accepted.account_id, record_date = accepted.record_date, pending = accepted.pending,
        payload = accepted.payload, hash = accepted.hash, version = accepted.version + 1, sync_id = %(sync)s,
        synced_at = now(), removed_at = NULL, removed_reason = NULL
    FROM accepted
    WHERE leaf.ctid = accepted.place
    RETURNING leaf.record_id
),
inserted AS (
    INSERT INTO {leaf} (bucket, connection_id, record_id, account_id, record_date, pending, payload, hash, version,
                        sync_id, first_synced_at, synced_at)
    SELECT {bucket}, %(connection)s, record_id, account_id, record_date, pending, payload, hash, 1,
           %(sync)s, now(), now()
    FROM accepted
    WHERE place IS NULL
    RETURNING record_id
),
aside AS (
    INSERT INTO raw.quarantine AS held (bucket, connection_id, provider, stream, account_id, record_id, payload, hash, reason)
    SELECT {bucket}, %(connection)s, %(provider)s, %(stream)s, account_id, record_id, convert_to(payload::text, 'UTF8'), hash,
           format('id %%s is already account %%s''s, and a record belongs to one account', record_id, owner)
    FROM compared
    WHERE foreign_owner
    ON CONFLICT (connection_id, stream, hash) DO UPDATE
    SET last_seen_at = now(), times = held.times + 1, reason = excluded.reason, released_at = NULL
    RETURNING xmax = 0 OR EXISTS (
        SELECT FROM raw.quarantine AS before
        WHERE before.quarantine_id = held.quarantine_id AND before.released_at IS NOT NULL
    ) AS fresh
),
watched AS (
    INSERT INTO shown SELECT %(stream)s, record_id FROM incoming WHERE %(watching)s ON CONFLICT DO NOTHING
),
counted AS (
    SELECT (SELECT count(*) FROM inserted) AS new, (SELECT count(*) FROM updated) AS changed,
           (SELECT count(*) FROM compared WHERE foreign_owner) AS foreign_owners
),
receipt AS (
    INSERT INTO ledgerlake.receipts (sync_id, page, stream, account_id, request, items, rejected, ids_hash, size,
                                     new, changed, unchanged, removed, complete, complete_since)
    SELECT %(sync)s, %(page)s, %(stream)s, %(account)s, %(request)s, %(records)s::integer + %(rejected)s::integer,
           %(rejected)s::integer + foreign_owners, %(ids_hash)s, %(size)s,
           new, changed, %(records)s::integer - new - changed - foreign_owners, %(removed)s, %(complete)s, %(since)s
    FROM counted
),
cursor AS (
    INSERT INTO ledgerlake.cursors (connection_id, stream, account_id, cursor)
    SELECT %(connection)s, %(reading)s, coalesce(%(account)s, ''), %(cursor)s::json
    WHERE %(cursor)s::text IS NOT NULL
    ON CONFLICT (connection_id, stream, account_id) DO UPDATE SET cursor = excluded.cursor, updated_at = now()
),
revised AS (
    UPDATE ledgerlake.connections SET revision = revision + 1
    FROM counted
    WHERE connection_id = %(connection)s AND (%(revise)s OR new > 0 OR changed > 0 OR EXISTS (SELECT FROM aside WHERE fresh))
)
SELECT new, changed, foreign_owners, EXISTS (
    SELECT FROM ledgerlake.connection_states WHERE connection_id = %(connection)s AND state = 'active'
)
FROM counted
"""
)

_REMOVE = """
WITH gone AS (
    UPDATE {leaf} AS leaf
    SET removed_at = now(), removed_reason = CASE WHEN leaf.pending THEN 'superseded' ELSE 'removed' END
    WHERE leaf.bucket = {bucket} AND leaf.connection_id = %(connection)s AND leaf.record_id = ANY(%(ids)s)
      AND leaf.removed_at IS NULL
    RETURNING leaf.record_id
)
SELECT count(*) FROM gone
"""

_MISSING = """
SELECT leaf.record_id, leaf.pending
FROM {leaf} AS leaf
WHERE leaf.bucket = {bucket} AND leaf.connection_id = %(connection)s AND leaf.removed_at IS NULL
  AND (%(account)s::text IS NULL OR leaf.account_id = %(account)s)
  AND (%(since)s::date IS NULL OR leaf.record_date >= %(since)s)
  AND (%(of)s = 'all' OR leaf.pending = (%(of)s = 'pending'))
  AND (%(account)s::text IS NOT NULL OR NOT EXISTS (
      SELECT FROM ledgerlake.accounts AS account
      WHERE account.connection_id = leaf.connection_id AND account.account_id = leaf.account_id AND account.state <> 'open'
  ))
  AND NOT EXISTS (SELECT FROM shown WHERE shown.stream = %(stream)s AND shown.record_id = leaf.record_id)
ORDER BY leaf.record_id
"""

# True for a payload that is in quarantine since now: new, or released before. The subquery sees the row as it was.
_QUARANTINE = """
INSERT INTO raw.quarantine (bucket, connection_id, provider, stream, account_id, record_id, payload, hash, reason)
VALUES ({bucket}, %(connection)s, %(provider)s, %(stream)s, %(account)s, %(record)s, %(payload)s, %(hash)s, %(reason)s)
ON CONFLICT (connection_id, stream, hash) DO UPDATE
SET last_seen_at = now(), times = quarantine.times + 1, reason = excluded.reason, released_at = NULL
RETURNING xmax = 0 OR EXISTS (
    SELECT FROM raw.quarantine AS before
    WHERE before.quarantine_id = quarantine.quarantine_id AND before.released_at IS NOT NULL
)
"""

# A good version is one that the store now holds. What this very transaction saw broken stays in quarantine.
_RELEASE = (
    _INCOMING
    + """
UPDATE raw.quarantine AS held SET released_at = now()
FROM incoming
CROSS JOIN LATERAL (
    SELECT hash, account_id FROM {leaf}
    WHERE bucket = {bucket} AND connection_id = %(connection)s AND record_id = incoming.record_id
    OFFSET 0
) AS leaf
WHERE leaf.hash = incoming.hash AND leaf.account_id IS NOT DISTINCT FROM incoming.account_id
  AND held.bucket = {bucket} AND held.released_at IS NULL AND held.connection_id = %(connection)s
  AND held.stream = %(stream)s AND held.record_id = incoming.record_id
  AND (held.account_id IS NULL OR held.account_id = incoming.account_id) AND held.last_seen_at < now()
"""
)

# What an earlier sync missed and this one does not is no doubt any more; what both missed is gone.
_DOUBT = """
WITH missed AS (SELECT unnest(%(ids)s::text[]) AS record_id),
settled AS (
    DELETE FROM ledgerlake.doubts AS doubt
    WHERE connection_id = %(connection)s AND stream = %(stream)s
      AND (record_id IN (SELECT record_id FROM missed) AND sync_id < %(sync)s
           OR EXISTS (SELECT FROM shown WHERE shown.stream = %(stream)s AND shown.record_id = doubt.record_id))
    RETURNING record_id
),
noted AS (
    INSERT INTO ledgerlake.doubts (connection_id, stream, record_id, sync_id)
    SELECT %(connection)s, %(stream)s, record_id, %(sync)s FROM missed
    WHERE NOT EXISTS (SELECT FROM settled WHERE settled.record_id = missed.record_id)
    ON CONFLICT DO NOTHING
)
SELECT record_id FROM settled WHERE record_id IN (SELECT record_id FROM missed) ORDER BY 1
"""

_CURSOR = """
INSERT INTO ledgerlake.cursors (connection_id, stream, account_id, cursor)
VALUES (%(connection)s, %(reading)s, %(account)s, %(cursor)s)
ON CONFLICT (connection_id, stream, account_id) DO UPDATE SET cursor = excluded.cursor, updated_at = now()
"""

_READ_ON = """
INSERT INTO ledgerlake.cursors (connection_id, stream, account_id, cursor, read_on)
VALUES (%(connection)s, %(stream)s, %(account)s, %(cursor)s, %(day)s)
ON CONFLICT (connection_id, stream, account_id) DO UPDATE
SET read_on = excluded.read_on, cursor = coalesce(excluded.cursor, cursors.cursor), updated_at = now()
"""


@dataclass
class _Scope:
    """Of one stream in one read: whether anything can turn out missing, and whether anything is in quarantine."""

    watching: bool
    quarantined: bool


@dataclass(frozen=True)
class Missing:
    """A record that the store holds as current and a complete read did not show."""

    record_id: str
    pending: bool


class Writer:
    """Writes the pages of one connection's sync, on one PostgreSQL connection that is its own."""

    def __init__(
        self, connection: AsyncConnection, *, provider: str, connection_id: str, bucket: int, sync_id: int
    ) -> None:
        self._connection = connection
        self._bucket = bucket
        self._pages = self._committed = 0
        self._open: AsyncExitStack | None = None
        self._held: str | None = None
        self._scopes: dict[str, _Scope] = {}
        self._reading: tuple[str, str | None] = ("", None)
        self._whose = {"connection": connection_id, "provider": provider, "sync": sync_id}
        self.missing: list[Missing] = []
        """What the store holds as current in the scope of the complete read since `watch`, and the read did not show."""
        self.anonymous = False
        """Whether that read brought a broken record that does not tell its id, and so may be any of the missing."""
        self.called = True
        """Whether the connection was still to be called when the last page was written."""

    async def prepare(self) -> None:
        register(self._connection)
        await self._connection.execute(_SESSION)

    async def watch(self, stream: str, account_id: str | None) -> None:
        """Begin a read: remember which records it shows, where the store holds any that could turn out missing."""
        self.missing, self.anonymous, self._held = [], False, None
        if any(scope.watching for scope in self._scopes.values()):
            await self._connection.execute("TRUNCATE shown")
        self._scopes, self._reading = {}, (stream, account_id)
        await self._scope(stream)

    async def write(self, page: Page, *, account_id: str | None = None) -> Counts:
        """Store a page: all of it, with its receipt and cursor, or nothing. `account_id` is whose stream was read.

        A page with ``commit=False`` leaves the transaction open for the next one; `roll_back` gives it up.
        """
        scope = await self._scope(page.stream)
        if self._open is None and _is_one_statement(page, scope):
            counts = await self._page(page, account_id, scope)
            self._committed = self._pages
            return counts
        if self._open is None:
            self._open = AsyncExitStack()
            await self._open.enter_async_context(self._connection.transaction())
        try:
            counts = await self._page(page, account_id, scope)
        except BaseException:
            await self.roll_back()
            raise
        if page.commit:
            transaction, self._open = self._open, None
            await transaction.aclose()
            self._committed = self._pages
        return counts

    async def roll_back(self) -> None:
        """Give up the pages that were written and not committed."""
        if self._open is not None:
            transaction, self._open = self._open, None
            await transaction.__aexit__(psycopg.Rollback, psycopg.Rollback(), None)
            self._pages = self._committed  # receipts are numbered without a gap: one that is missing shows

    async def remove(self, stream: str, ids: Sequence[str]) -> Counts:
        """Mark those records as no longer shown by the provider; nothing is deleted."""
        async with self._connection.transaction():
            removed = await self._remove(stream, ids)
            if removed:
                await self._revise()
        return Counts(removed=removed)

    async def read_to_the_end(self, stream: str, account_id: str | None, day: date) -> None:
        """Remember that a read of the stream came to its end on that day, with the cursor that waited for that."""
        await self._connection.execute(
            _READ_ON, {**self._whose, "stream": stream, "account": account_id or "", "cursor": self._held, "day": day}
        )
        self._held = None

    async def _scope(self, stream: str) -> "_Scope":
        """What there is to look after in that stream: asked once a read, for a feed brings records of many streams."""
        if stream not in self._scopes:
            account_id = self._reading[1] if stream == self._reading[0] else None
            row = await self._one(self._sql(_WATCH, stream), {"stream": stream, "account": account_id})
            self._scopes[stream] = _Scope(bool(row[0]), bool(row[1]))
        return self._scopes[stream]

    async def _page(self, page: Page, account_id: str | None, scope: "_Scope") -> Counts:
        records = list({record.id: record for record in page.records}.values())
        fresh = removed = 0
        for rejected in page.rejected:
            scope.quarantined = True
            fresh += await self._quarantine(page.stream, rejected, account_id)
        if page.removed:
            removed = await self._remove(page.stream, page.removed)
        rows = columns(records)
        cursor_text = None if page.cursor is None else json.dumps(page.cursor)
        waits = page.complete is not None and page.complete.doubt == "read_again" and scope.watching
        page_number = self._pages + 1
        new, changed, foreign, self.called = await self._one(
            self._sql(_MERGE, page.stream),
            {
                **rows,
                "page": page_number,
                "stream": page.stream,
                "account": account_id,
                "request": page.request,
                "records": len(page.records),
                "rejected": len(page.rejected),
                "ids_hash": ids_hash(record.id for record in page.records),
                "size": page.size,
                "removed": removed,
                "complete": page.complete is not None,
                "since": page.complete.since if page.complete else None,
                "cursor": None if waits else cursor_text,
                "revise": bool(fresh or removed),
                "watching": scope.watching,
                "reading": self._reading[0],
            },
        )
        self._pages = page_number
        if records and scope.quarantined:
            await self._release(page.stream, rows)
        scope.quarantined = scope.quarantined or bool(foreign)
        if scope.watching:
            removed += await self._settle(page, account_id, cursor_text)
        unchanged = len(page.records) - new - changed - foreign
        return Counts(new, changed, unchanged, removed, len(page.rejected) + foreign)

    async def _settle(self, page: Page, account_id: str | None, cursor: str | None) -> int:
        """Take note of broken records, and at the end of a complete read of what it lacks; how many were removed.

        Where the stream is to be read again, the cursor waits: were it stored now and the second read failed, the next
        window could be too late for what is missing.
        """
        broken = [rejected.record_id for rejected in page.rejected if rejected.record_id is not None]
        self.anonymous = self.anonymous or len(broken) < len(page.rejected)
        if broken:
            await self._connection.execute(
                "INSERT INTO shown SELECT DISTINCT %s, unnest(%s::text[]) ON CONFLICT DO NOTHING", (page.stream, broken)
            )
        if page.complete is None:
            return 0
        missing = await self._lacking(page.stream, page.complete)
        if page.complete.doubt == "read_again":
            self.missing = missing
            if self.missing:
                self._held = cursor
            elif cursor is not None:
                await self._connection.execute(
                    _CURSOR, {**self._whose, "reading": self._reading[0], "account": account_id or "", "cursor": cursor}
                )
            return 0
        if self.anonymous:
            return 0  # any of the missing may be the broken one; the next sync sees
        ids = [one.record_id for one in missing]
        if page.complete.doubt == "next_sync":
            ids = await self._doubt(page.stream, ids)
        removed = await self._remove(page.stream, ids) if ids else 0
        if removed:
            await self._revise()
        return removed

    async def _doubt(self, stream: str, ids: Sequence[str]) -> list[str]:
        """Note what this sync missed; those of it that an earlier one missed, too, are believed to be gone."""
        cursor = await self._connection.execute(_DOUBT, {**self._whose, "stream": stream, "ids": list(ids)})
        return [record_id for (record_id,) in await cursor.fetchall()]

    async def _lacking(self, stream: str, complete: Complete) -> list[Missing]:
        cursor = await self._connection.execute(
            self._sql(_MISSING, stream),
            {
                **self._whose,
                "stream": stream,
                "account": complete.account_id,
                "since": complete.since,
                "of": complete.of,
            },
        )
        return [Missing(record_id, pending) for record_id, pending in await cursor.fetchall()]

    async def _quarantine(self, stream: str, rejected: Rejected, account_id: str | None) -> int:
        """Put it aside; 1 when it was not in quarantine before."""
        row = await self._one(
            self._sql(_QUARANTINE, stream),
            {
                "stream": stream,
                "account": rejected.account_id or account_id,
                "record": rejected.record_id,
                "payload": rejected.payload,
                "hash": _hash(rejected.payload),
                "reason": rejected.reason.replace("\0", "\\0"),
            },
        )
        return int(row[0])

    async def _release(self, stream: str, rows: Mapping[str, object]) -> None:
        parameters = {**self._whose, "stream": stream, **rows}
        cursor = await self._connection.execute(self._sql(_RELEASE, stream), parameters)
        if cursor.rowcount:
            await self._revise()

    async def _remove(self, stream: str, ids: Sequence[str]) -> int:
        row = await self._one(self._sql(_REMOVE, stream), {"ids": list(ids)})
        return int(row[0])

    async def _revise(self) -> None:
        await self._connection.execute(
            "UPDATE ledgerlake.connections SET revision = revision + 1 WHERE connection_id = %(connection)s",
            self._whose,
        )

    async def _one(self, query: sql.Composed, parameters: dict[str, object]) -> tuple[Any, ...]:
        cursor = await self._connection.execute(query, {**self._whose, **parameters}, prepare=True)
        row = await cursor.fetchone()
        assert row is not None
        return row

    def _sql(self, text: str, stream: str) -> sql.Composed:
        leaf = sql.Identifier("raw", f"{self._whose['provider']}_{stream}_b{self._bucket}")
        return sql.SQL(text).format(leaf=leaf, bucket=sql.Literal(self._bucket))


def ids_hash(ids: Iterable[str]) -> uuid.UUID:
    """blake2b-16 over the ids in their order, each ended by a NUL: what a receipt keeps of them."""
    digest = hashlib.blake2b(digest_size=16)
    for one in ids:
        digest.update(one.encode() + b"\0")
    return uuid.UUID(bytes=digest.digest())


def _hash(payload: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=hashlib.sha256(payload).digest()[:16])


def _is_one_statement(page: Page, scope: _Scope) -> bool:
    """Whether the merge is all that there is to do: a statement alone is a transaction, and spares two round trips."""
    return page.commit and not (page.rejected or page.removed or scope.quarantined or scope.watching)
