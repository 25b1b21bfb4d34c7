"""Faults of the store and of published files: rows, receipts, accounts, syncs and Parquet files that are not as they should be.

Each is planted in a connection of its own, before the round's build or after it, as a sync or a store that went wrong would
leave it: where receipts are to agree, they do. Does not belong here: faults of models (``models``).
"""

import datetime as dt
import random
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import duckdb
from psycopg import sql

from benchmarks.models import BANKS, TARGETS, Clean, Target
from benchmarks.planted import Expected, Named, Planted
from benchmarks.town import FIRST, TODAY, Connection, Held, Town
from connectors import PROVIDERS

_PAGE = 20
"""How many rows a page that is skipped has at most."""
_AMOUNT = {
    "teller": r'"amount":\s*"-?',
    "plaid": r'"amount":\s*-?',
    "gocardless": r'"amount":\s*"-?',
    "tink": r'"unscaledValue":\s*"-?',
    "stripe": r'"amount":\s*-?',
}
_BALANCE = {
    "teller": r'"(?:ledger|available)":\s*"(-?[\d.]+)',
    "plaid": r'"(?:current|available)":\s*(-?[\d.]+)',
    "gocardless": r'"amount":\s*"(-?[\d.]+)',
    "tink": r'"unscaledValue":\s*"(-?\d+)',
}
"""The amounts of a reading."""
_BOOKED = {
    "teller": r'"ledger":\s*"',
    "plaid": r'"current":\s*-?\d',
    "gocardless": r'Booked"|"expected"|"interimAvailable"',
    "tink": r'"booked"',
}
_BETWEEN = {FIRST + dt.timedelta(days=count) for count in range(1, (TODAY - FIRST).days)}
_HASH = "encode(substr(sha256(convert_to({}, 'UTF8')), 1, 16), 'hex')::uuid"
_ENDS = {one.stream: one for one in TARGETS if one.layer == "marts"}
_STREAMS = {name: tuple(one.name for one in connector.streams) for name, connector in PROVIDERS.items()}

When = Literal["before", "after"]


@dataclass(frozen=True)
class Plot:
    """Where one fault is planted: a connection of a copy of the town."""

    town: Town
    connection: Connection
    held: tuple[Held, ...]
    chance: random.Random

    @property
    def id(self) -> str:
        return self.connection.connection_id

    def settled(self) -> list[Held]:
        """Records of which the source shows for sure that they are posted and past, and that never changed."""
        return [
            one
            for one in self.held
            if one.shown_as is not None
            and one.stream in _ENDS
            and one.stream not in ("accounts", "balances")
            and not one.pending
            and not one.removed
            and one.version == 1
            and (one.day is None or one.day < TODAY - dt.timedelta(days=1))
        ]

    def run(self, query: str, of: str | None = None, **values: Any) -> list[tuple[Any, ...]]:
        """A statement about this connection; `{table}` is the raw table of the stream `of`."""
        table = sql.Identifier("raw", f"{self.connection.provider}_{of}")
        return self.town.run(sql.SQL(query).format(table=table), connection=self.id, **values)

    def delete(self, stream: str, records: list[str]) -> None:
        self.run(
            "DELETE FROM {table} WHERE connection_id = %(connection)s AND record_id = ANY(%(records)s)",
            of=stream,
            records=records,
        )

    def untell(self, stream: str, account_id: str | None, rows: int) -> None:
        """Take rows out of the receipts, as if their pages had never come; the pages that are left close up."""
        receipts = self.run(
            """
            SELECT sync_id, page, receipts.new FROM ledgerlake.receipts JOIN ledgerlake.syncs USING (sync_id)
            WHERE connection_id = %(connection)s AND stream = %(stream)s AND receipts.new > 0
            ORDER BY account_id IS DISTINCT FROM %(account)s::text, sync_id, page
            """,
            stream=stream,
            account=account_id,
        )
        left = rows
        for sync_id, page, new in receipts:
            taken = min(left, new)
            left -= taken
            self.run(
                """
                WITH receipt AS (
                    UPDATE ledgerlake.receipts SET new = new - %(rows)s, items = items - %(rows)s
                    WHERE sync_id = %(sync)s AND page = %(page)s
                )
                UPDATE ledgerlake.syncs SET new = new - %(rows)s WHERE sync_id = %(sync)s
                """,
                rows=taken,
                sync=sync_id,
                page=page,
            )
        if left:
            raise RuntimeError(f"expected receipts of {rows} new rows of {stream} in {self.id}, found {rows - left}")
        emptied = self.run(
            """
            DELETE FROM ledgerlake.receipts USING ledgerlake.syncs
            WHERE receipts.sync_id = syncs.sync_id AND connection_id = %(connection)s AND stream = %(stream)s AND items = 0
              AND (account_id IS NULL OR account_id = %(account)s::text)
            RETURNING syncs.sync_id
            """,
            stream=stream,
            account=account_id,
        )
        for sync_id in {sync_id for (sync_id,) in emptied}:
            self.run("UPDATE ledgerlake.receipts SET page = -page WHERE sync_id = %(sync)s", sync=sync_id)
            self.run(
                """
                UPDATE ledgerlake.receipts SET page = turn FROM (
                    SELECT page AS old, row_number() OVER (ORDER BY page DESC) AS turn FROM ledgerlake.receipts
                    WHERE sync_id = %(sync)s
                ) AS numbered
                WHERE sync_id = %(sync)s AND page = old
                """,
                sync=sync_id,
            )

    def payload(self, stream: str, record_id: str) -> str:
        [(payload,)] = self.run(
            "SELECT payload::text FROM {table} WHERE connection_id = %(connection)s AND record_id = %(record)s",
            of=stream,
            record=record_id,
        )
        return str(payload)

    def rewrite(self, stream: str, record_id: str, change: Callable[[str], str], *, consistently: bool) -> bool:
        """Change a payload; False where there is nothing to change."""
        payload = self.payload(stream, record_id)
        changed = change(payload)
        if changed == payload:
            return False
        stamp = ", hash = " + _HASH.format("%(payload)s::text") if consistently else ""
        self.run(
            "UPDATE {table} SET payload = %(payload)s::text::json"
            + stamp
            + " WHERE connection_id = %(connection)s AND record_id = %(record)s",
            of=stream,
            record=record_id,
            payload=changed,
        )
        return True


def page_skipped(plot: Plot) -> Planted | None:
    """A page that no sync asked for: its rows are nowhere, and the receipts agree."""
    settled = plot.settled()
    if not settled:
        return None
    first = plot.chance.choice(settled)
    alike = [one for one in settled if (one.stream, one.account_id) == (first.stream, first.account_id)]
    alike.sort(key=lambda one: (one.day or TODAY, one.record_id))
    start = plot.chance.randrange(len(alike))
    page = alike[start : start + plot.chance.randint(1, _PAGE)]
    plot.delete(first.stream, [one.record_id for one in page])
    plot.untell(first.stream, first.account_id, len(page))
    named = Named("missing", "source", None, first.stream, None, plot.id)
    records = frozenset((plot.id, one.stream, one.shown_as or "") for one in page)
    return Planted("a page skipped", named, Expected(records))


def row_deleted(plot: Plot, when: When) -> Planted | None:
    """A row that was there, and that its receipt tells of: before a build only the source still shows it."""
    settled = plot.settled()
    if not settled:
        return None
    one = plot.chance.choice(settled)
    plot.delete(one.stream, [one.record_id])
    named = Named("missing", "raw", None, one.stream, None, plot.id)
    name = one.record_id if when == "after" else one.shown_as or ""
    return Planted("a row deleted in raw", named, Expected(frozenset({(plot.id, one.stream, name)})))


def row_altered(plot: Plot, when: When) -> Planted | None:
    """A payload that is not the one that came: another amount, or the same values in other bytes.

    After a build what is published tells the amount that it was; before one the source does, where it names its rows.
    """
    settled = plot.settled()
    if not settled:
        return None
    one = plot.chance.choice(settled)
    field, changed = "payload", False
    if one.stream not in ("invoices", "subscriptions") and plot.chance.random() < 0.7:
        pattern = _AMOUNT[plot.connection.provider]
        changed = plot.rewrite(one.stream, one.record_id, _ninefold(pattern, 1), consistently=False)
        told = when == "after" or one.shown_as == one.record_id
        field = "amount" if changed and told else "payload"
    if not changed:
        plot.rewrite(one.stream, one.record_id, lambda text: f"{text} ", consistently=False)
    named = Named("mismatch", "raw", None, one.stream, field, plot.id)
    return Planted("a row altered in raw", named, Expected(frozenset({(plot.id, one.stream, one.record_id)})))


def _ninefold(pattern: str, times: int) -> Callable[[str], str]:
    """A 9 before the digits of an amount."""
    return lambda text: re.sub(rf"({pattern})(\d)", r"\g<1>9\g<2>", text, count=times)


def balance_kept(plot: Plot) -> Planted | None:
    """The newest reading of an account repeats the one before, in a payload that is as a sync would store it.

    Of an account that moved between them, not by what the day of the reading brought alone: until the next day nobody can
    tell that from a movement while the sync ran.
    """
    readings: dict[str, list[Held]] = {}
    for one in plot.held:
        if one.stream == "balances" and one.account_id is not None and not one.removed:
            readings.setdefault(one.account_id, []).append(one)
    # Told by the days before the newest reading.
    moved = {
        one.account_id
        for one in plot.held
        if one.account_id is not None
        and one.stream == "transactions"
        and not one.pending
        and one.version == 1
        and one.day in _BETWEEN
    }
    pairs = []
    for account in sorted(readings.keys() & moved):
        *_, old, new = [None, *sorted(readings[account], key=lambda one: one.day or TODAY)]
        if old is not None and new is not None and new.shown_as is not None and new.version == 1:
            pairs.append((old.record_id, new.record_id))
    plot.chance.shuffle(pairs)
    pattern, booked = (patterns[plot.connection.provider] for patterns in (_BALANCE, _BOOKED))
    for earlier, last in pairs:
        before, now = plot.payload("balances", earlier), plot.payload("balances", last)
        if re.findall(pattern, before) != re.findall(pattern, now):
            plot.rewrite("balances", last, partial(_instead, before), consistently=True)
            field = "amount" if re.search(booked, now) else "available"
            named = Named("mismatch", "source", None, "balances", field, plot.id)
            return Planted("a balance not refreshed", named, Expected(frozenset({(plot.id, "balances", last)})))
    return None


def _instead(text: str, _: str) -> str:
    return text


def account_missing(plot: Plot) -> Planted | None:
    """An account that the source lists and that was never fetched, with all that belongs to it."""
    accounts = [one.record_id for one in plot.held if one.stream == "accounts" and not one.removed]
    if plot.connection.provider not in BANKS or not accounts:
        return None
    account = plot.chance.choice(accounts)
    whole = [one for one in plot.held if account in (one.account_id, one.record_id)]
    if any(one.version > 1 or one.removed for one in whole):
        return None
    for stream in _STREAMS[plot.connection.provider]:
        if mine := [one.record_id for one in whole if one.stream == stream]:
            plot.delete(stream, mine)
            plot.untell(stream, account, len(mine))
    for table in ("accounts", "cursors"):
        plot.run(
            f"DELETE FROM ledgerlake.{table} WHERE connection_id = %(connection)s AND account_id = %(account)s",
            account=account,
        )
    shown = {(plot.id, one.stream, one.shown_as) for one in whole if one.shown_as is not None}
    sure = {(plot.id, one.stream, one.shown_as or "") for one in whole if one in plot.settled()}
    account_itself = {(plot.id, "accounts", account)}
    named = Named("missing", "source", None, "accounts", None, plot.id)
    expected = Expected(frozenset(sure | account_itself), frozenset(shown - sure - account_itself))
    return Planted("an account missing", named, expected)


def account_twice(plot: Plot) -> Planted | None:
    """An account that a second consent of its customer shows again, under other ids."""
    provider = plot.connection.provider
    rows = [
        one
        for one in plot.held
        if one.stream == "transactions" and not one.pending and not one.removed and one.account_id is not None
    ]
    counts = {account: sum(one.account_id == account for one in rows) for account in {one.account_id for one in rows}}
    accounts = sorted(str(account) for account, count in counts.items() if count >= 10)
    if provider not in ("teller", "plaid", "tink") or not accounts:
        return None
    account, other = plot.chance.choice(accounts), f"{plot.id}_again"
    _second_consent(plot, account, other)
    named = Named("duplicate", "source", None, "accounts", None, other)
    record = (other, "accounts", f"{account}_again")
    return Planted("an account twice under two consents", named, Expected(frozenset({record})))


_CONSENT = """
INSERT INTO ledgerlake.connections (connection_id, customer_id, provider, external_id, institution_id, institution_name, bucket,
                                    state, state_since, created_at, last_synced_at, revision)
SELECT %(other)s, customer_id, provider, external_id || '_again', institution_id, institution_name, bucket, state, state_since,
       created_at, last_synced_at, revision
FROM ledgerlake.connections WHERE connection_id = %(connection)s
"""
_ROWS = """
WITH mine AS (
    SELECT *, CASE WHEN position(account_id IN record_id) > 0 THEN replace(record_id, account_id, account_id || '_again')
                   ELSE record_id || '_again' END AS renamed,
           replace(CASE WHEN position(account_id IN record_id) > 0 THEN payload::text
                        ELSE replace(payload::text, record_id, record_id || '_again') END,
                   account_id, account_id || '_again') AS told
    FROM {table} WHERE connection_id = %(connection)s AND account_id = %(account)s AND {condition}
)
"""
_RAW = (
    _ROWS
    + """
INSERT INTO {table} (bucket, connection_id, record_id, account_id, record_date, pending, payload, hash, version, sync_id,
                     first_synced_at, synced_at)
SELECT bucket, %(other)s, renamed, account_id || '_again', record_date, pending, told::json, """
    + _HASH.format("told")
    + """, 1, %(sync)s, first_synced_at, synced_at
FROM mine RETURNING record_id
"""
)
_CENSUS = (
    _ROWS
    + """
INSERT INTO ledgerlake.census_records (read_id, position, connection_id, stream, account_id, record_id, record_date, pending, payload,
                                       hash)
SELECT %(read)s, position, %(other)s, stream, account_id || '_again', renamed, record_date, pending, told::json, """
    + _HASH.format("told")
    + """
FROM mine
"""
)


def _second_consent(plot: Plot, account: str, other: str) -> None:
    given = {"other": other, "account": account}
    plot.run(_CONSENT, other=other)
    [(sync_id,)] = plot.run(
        """
        INSERT INTO ledgerlake.syncs (connection_id, today, mode, started_at, ended_at, outcome, requests)
        SELECT %(other)s, today, mode, started_at, ended_at, outcome, 1 FROM ledgerlake.syncs
        WHERE connection_id = %(connection)s ORDER BY sync_id DESC LIMIT 1 RETURNING sync_id
        """,
        other=other,
    )
    plot.run(
        """
        INSERT INTO ledgerlake.accounts SELECT %(other)s, account_id || '_again', state, reason, since
        FROM ledgerlake.accounts WHERE connection_id = %(connection)s AND account_id = %(account)s
        """,
        **given,
    )
    page = 0
    for stream in _STREAMS[plot.connection.provider]:
        table = sql.Identifier("raw", f"{plot.connection.provider}_{stream}")
        query = sql.SQL(_RAW).format(table=table, condition=sql.SQL("removed_at IS NULL"))
        rows = len(plot.town.run(query, connection=plot.id, sync=sync_id, **given))
        if rows:
            page += 1
            plot.run(
                """
                INSERT INTO ledgerlake.receipts (sync_id, page, stream, account_id, request, items, rejected, ids_hash, size,
                                                 new, changed, unchanged, removed, complete)
                VALUES (%(sync)s, %(page)s, %(stream)s, NULL, 'GET /', %(rows)s, 0, gen_random_uuid(), 0, %(rows)s, 0, 0, 0, true)
                """,
                sync=sync_id,
                page=page,
                stream=stream,
                rows=rows,
            )
            plot.run(
                "UPDATE ledgerlake.syncs SET new = new + %(rows)s WHERE sync_id = %(sync)s", rows=rows, sync=sync_id
            )
    reads = plot.run(
        """
        SELECT read_id FROM ledgerlake.census_reads
        WHERE connection_id = %(connection)s AND (account_id IS NULL OR account_id = %(account)s) ORDER BY read_id
        """,
        account=account,
    )
    for (read_id,) in reads:
        [(copied,)] = plot.run(
            """
            INSERT INTO ledgerlake.census_reads (census_id, connection_id, stream, account_id, today, asked_since, asked_until, since,
                                                 until, whole_pending, read_at, ended_at, requests, outcome)
            SELECT census_id, %(other)s, stream, account_id || '_again', today, asked_since, asked_until, since, until, whole_pending,
                   read_at, ended_at, requests, outcome
            FROM ledgerlake.census_reads WHERE read_id = %(read)s RETURNING read_id
            """,
            other=other,
            read=read_id,
        )
        query = sql.SQL(_CENSUS).format(
            table=sql.Identifier("ledgerlake", "census_records"), condition=sql.SQL("read_id = {}").format(read_id)
        )
        plot.town.run(query, connection=plot.id, read=copied, **given)


def connection_silent(plot: Plot) -> Planted | None:
    """A connection whose last sync that came to its end is three days old, or more."""
    days = plot.chance.randint(3, 9)
    plot.run(
        """
        UPDATE ledgerlake.syncs SET today = today - %(days)s::integer, started_at = started_at - make_interval(days => %(days)s),
            ended_at = ended_at - make_interval(days => %(days)s)
        WHERE connection_id = %(connection)s
        """,
        days=days,
    )
    plot.run(
        "UPDATE ledgerlake.cursors SET read_on = read_on - %(days)s::integer WHERE connection_id = %(connection)s",
        days=days,
    )
    named = Named("stale", "source", None, None, "sync", plot.id)
    return Planted("a connection silent for three days", named, Expected(count=0))


BEFORE: Mapping[str, Callable[[Plot], Planted | None]] = {
    "a page skipped": page_skipped,
    "a balance not refreshed": balance_kept,
    "an account missing": account_missing,
    "an account twice under two consents": account_twice,
    "a connection silent for three days": connection_silent,
}
"""What is planted before the build."""


def touch(town: Town, bucket: int, held: tuple[Held, ...], chance: random.Random) -> Planted | None:
    """Records of one connection of the bucket that come anew: a build then makes of them what an older one did not."""
    connections = {one.connection_id: one for one in town.connections if one.bucket == bucket}
    streams = sorted(
        {(one.connection_id, one.stream) for one in held if one.connection_id in connections and one.stream in _ENDS}
        - {(one, "accounts") for one in connections}
    )
    if not streams:
        return None
    connection_id, stream = chance.choice(streams)
    plot = Plot(town, connections[connection_id], held, chance)
    rows = plot.run(
        "UPDATE {table} SET synced_at = now() WHERE connection_id = %(connection)s AND removed_at IS NULL RETURNING record_id",
        of=stream,
    )
    plot.run("UPDATE ledgerlake.connections SET revision = revision + 1 WHERE connection_id = %(connection)s")
    records = frozenset((connection_id, stream, record_id) for (record_id,) in rows)
    return Planted("a snapshot of an older build", Named("stale", "published"), Expected(records))


def put_back(town: Town, files: list[tuple[int, str, int, int]], bucket: int) -> None:
    """Let the snapshot name these older files of a bucket instead of its own."""
    for table_id, path, size, rows in files:
        if Path(path).stem == str(bucket):
            town.run(
                """
                UPDATE ducklake.ducklake_data_file SET path = %(path)s, file_size_bytes = %(size)s, record_count = %(rows)s
                WHERE table_id = %(table)s AND end_snapshot IS NULL AND path LIKE '%%/' || %(name)s
                """,
                path=path,
                size=size,
                rows=rows,
                table=table_id,
                name=Path(path).name,
            )


def files(town: Town) -> list[tuple[int, str, int, int]]:
    """The files of the newest snapshot: table, path, bytes and rows."""
    found = town.run(
        """
        SELECT table_id, f.path, file_size_bytes, record_count FROM ducklake.ducklake_data_file f
        JOIN ducklake.ducklake_table t USING (table_id) WHERE f.end_snapshot IS NULL AND t.end_snapshot IS NULL
        """
    )
    return [(table_id, path, size, rows) for table_id, path, size, rows in found]


@dataclass(frozen=True)
class Shortened:
    """A published file that lost rows, and what it was."""

    planted: Planted
    key: str
    content: bytes

    def restore(self, town: Town) -> None:
        town.where.s3.client().put_object(Bucket=town.where.s3.bucket, Key=self.key, Body=self.content)


def shorten(
    town: Town, clean: Clean, target: Target, connection: Connection, chance: random.Random
) -> Shortened | None:
    """Lose some of a connection's rows from the file of a model and bucket."""
    paths = town.run(
        """
        SELECT f.path FROM ducklake.ducklake_data_file f JOIN ducklake.ducklake_table t USING (table_id)
        JOIN ducklake.ducklake_schema s USING (schema_id)
        WHERE schema_name = %(schema)s AND table_name = %(model)s AND f.end_snapshot IS NULL AND t.end_snapshot IS NULL
        """,
        schema=target.name[0],
        model=target.model,
    )
    path = next((path for (path,) in paths if Path(path).stem == str(connection.bucket)), None)
    ids = sorted({row.record_id for row in clean.rows[target.model].get(connection.connection_id, ())})
    if path is None or not ids:
        return None
    lost = chance.sample(ids, chance.randint(1, len(ids)))
    s3, key = town.where.s3, path.removeprefix(f"s3://{town.where.s3.bucket}/")
    content = s3.client().get_object(Bucket=s3.bucket, Key=key)["Body"].read()
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as duck:
        whole, less = Path(folder, "whole.parquet"), Path(folder, "less.parquet")
        whole.write_bytes(content)
        listed = ", ".join(f"'{one}'" for one in lost)
        kept = f"FROM '{whole}' WHERE NOT (connection_id = '{connection.connection_id}' AND {target.key} IN ({listed}))"
        duck.execute(f"COPY (SELECT * {kept}) TO '{less}' (COMPRESSION zstd)")
        counted = duck.execute(f"SELECT (SELECT count(*) FROM '{whole}') - (SELECT count(*) FROM '{less}')").fetchone()
        s3.client().put_object(Bucket=s3.bucket, Key=key, Body=less.read_bytes())
    rows = int(counted[0]) if counted else 0
    records = frozenset((connection.connection_id, target.stream, one) for one in lost)
    expected = Expected(count=rows) if target.layer == "intermediate" else Expected(records, count=rows)
    named = Named("missing", "published", target.model)
    return Shortened(Planted("a Parquet file that lost rows", named, expected), key, content)
