"""One record's way: what the provider said, who brought it, each model that it went through, and where it ended.

Belongs here: reading store and lake for one record. Does not belong here: what may be seen of it (``_mask``).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Literal

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row

from ledgerlake.errors import UsageError
from ledgerlake.integrity import STREAMS, Graph, Stream
from ledgerlake.lake import PROJECT, LakeEmpty, LakeReader, Look, QueryError
from ledgerlake.records._changes import Change, changes, parsed
from ledgerlake.store import Connection, Store

_RECEIPTS = 50
_ROWS = 20


@dataclass(frozen=True)
class Brought:
    """The sync that brought a version."""

    sync_id: int
    mode: str
    today: dt.date
    started_at: dt.datetime
    ended_at: dt.datetime | None
    outcome: str | None


@dataclass(frozen=True)
class Receipt:
    """A page of that sync and the record's stream; the version came with one of them."""

    sync_id: int
    page: int
    request: str
    items: int
    rejected: int
    new: int
    changed: int
    unchanged: int
    removed: int
    complete: bool
    received_at: dt.datetime


@dataclass(frozen=True)
class Version:
    """One payload that the record had.

    Attributes:
        current: whether it is the newest.
        changes: the differences from the version before.
        brought: None when the sync is no longer known.
        receipts: of the sync that brought it, of its stream and account.
    """

    version: int
    current: bool
    payload: Any
    hash: str
    pending: bool
    record_date: dt.date | None
    account_id: str | None
    synced_at: dt.datetime
    superseded_at: dt.datetime | None
    removed_at: dt.datetime | None
    removed_reason: str | None
    changes: tuple[Change, ...]
    brought: Brought | None
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True)
class Quarantined:
    """A payload of it that broke the stream's contract; one that is no JSON is a text."""

    payload: Any
    reason: str
    first_seen_at: dt.datetime
    last_seen_at: dt.datetime
    times: int
    released_at: dt.datetime | None


@dataclass(frozen=True)
class Seen:
    """What the census saw of it last; `same`: byte for byte what the store has."""

    read_at: dt.datetime
    today: dt.date
    pending: bool
    payload: Any
    same: bool


@dataclass(frozen=True)
class Step:
    """A published model on its way, with its rows there: none when it is not there."""

    model: str
    layer: Literal["staging", "intermediate", "marts"]
    holds: bool
    rows: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Excluded:
    """A model left it out, for a reason."""

    model: str
    reason: str


@dataclass(frozen=True)
class FindingBehind:
    """A finding that is not resolved and has this record behind it."""

    finding_id: int
    kind: str
    step: str
    model: str | None
    severity: str
    state: str
    field: str | None
    expected: str | None
    found: str | None


@dataclass(frozen=True)
class Way:
    """A record from its first version to its published row, all in the order in which it goes.

    Attributes:
        versions: the newest first.
        snapshot: the lake's, None while nothing is published.
        mart: the model where records of its stream end; None for a stream that other models only read.
    """

    connection_id: str
    customer_id: str
    provider: str
    stream: str
    record_id: str
    versions: tuple[Version, ...]
    quarantined: tuple[Quarantined, ...]
    seen: Seen | None
    snapshot: int | None
    mart: str | None
    steps: tuple[Step, ...]
    excluded: tuple[Excluded, ...]
    findings: tuple[FindingBehind, ...]

    @property
    def published(self) -> bool:
        """Whether it is in the mart where records of its stream end."""
        return any(one.model == self.mart and one.holds for one in self.steps)


def way(store: Store, lake: LakeReader, connection_id: str, stream: str, record_id: str) -> Way | None:
    """The way of a record; None when there is no such connection, stream or record.

    Raises:
        LakeAway, TooSlow: the lake does not answer.
    """
    if "\0" in connection_id + stream + record_id:
        return None
    try:
        connection = store.connection(connection_id)
    except UsageError:
        return None
    its = next((one for one in STREAMS if (one.provider, one.name) == (connection.provider, stream)), None)
    if its is None:
        return None
    with store.connect() as postgres:
        versions = _versions(postgres, connection, its, record_id)
        quarantined = _quarantined(postgres, connection_id, stream, record_id)
        seen = _seen(postgres, connection_id, stream, record_id, versions)
        findings = _findings(postgres, connection_id, stream, record_id)
    if not (versions or quarantined or seen or findings):
        return None
    snapshot: int | None = None
    steps: tuple[Step, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    try:
        with lake.look() as look:
            snapshot = look.snapshot
            steps = tuple(_steps(look, connection, its, record_id))
            excluded = _excluded(look, connection, stream, record_id)
    except LakeEmpty:
        pass
    return Way(
        connection_id,
        connection.customer_id,
        connection.provider,
        stream,
        record_id,
        versions,
        quarantined,
        seen,
        snapshot,
        its.mart.model if its.mart else None,
        steps,
        excluded,
        findings,
    )


def _versions(postgres: psycopg.Connection, connection: Connection, its: Stream, record_id: str) -> tuple[Version, ...]:
    columns = sql.SQL(
        "version, payload::text AS payload, hash::text AS hash, pending, record_date, account_id, sync_id, synced_at, "
        "removed_at, removed_reason"
    )
    query = sql.SQL(
        """
        SELECT {columns}, true AS current, NULL::timestamptz AS superseded_at FROM {table}
        WHERE bucket = %(bucket)s AND connection_id = %(connection)s AND record_id = %(record)s
        UNION ALL
        SELECT {columns}, false, superseded_at FROM raw.history
        WHERE provider = %(provider)s AND stream = %(stream)s AND connection_id = %(connection)s AND record_id = %(record)s
        ORDER BY version
        """
    ).format(columns=columns, table=sql.Identifier("raw", f"{its.provider}_{its.name}"))
    with postgres.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            query,
            {
                "bucket": connection.bucket,
                "connection": connection.connection_id,
                "record": record_id,
                "provider": its.provider,
                "stream": its.name,
            },
        ).fetchall()
    syncs = sorted({row["sync_id"] for row in rows})
    brought = _brought(postgres, connection.connection_id, syncs)
    receipts = _receipts(postgres, [one for one in syncs if one in brought], its.name)
    found: list[Version] = []
    for row in rows:
        payload = _payload(row.pop("payload"))
        sync_id = row.pop("sync_id")
        found.append(
            Version(
                **row,
                payload=payload,
                changes=changes(found[-1].payload, payload) if found else (),
                brought=brought.get(sync_id),
                receipts=tuple(
                    one
                    for account_id, one in receipts
                    if one.sync_id == sync_id and account_id in {None, "", row["account_id"]}
                )[:_RECEIPTS],
            )
        )
    return tuple(reversed(found))


def _brought(postgres: psycopg.Connection, connection_id: str, syncs: list[int]) -> dict[int, Brought]:
    with postgres.cursor(row_factory=class_row(Brought)) as cursor:
        rows = cursor.execute(
            """
            SELECT sync_id, mode, today, started_at, ended_at, outcome FROM ledgerlake.syncs
            WHERE connection_id = %s AND sync_id = ANY(%s)
            """,
            (connection_id, syncs),
        )
        return {one.sync_id: one for one in rows}


def _receipts(postgres: psycopg.Connection, syncs: list[int], stream: str) -> list[tuple[str | None, Receipt]]:
    rows = postgres.execute(
        """
        SELECT account_id, sync_id, page, request, items, rejected, new, changed, unchanged, removed, complete, received_at
        FROM ledgerlake.receipts WHERE sync_id = ANY(%s) AND stream = %s ORDER BY sync_id, page
        """,
        (syncs, stream),
    )
    return [(account_id, Receipt(*row)) for account_id, *row in rows]


def _quarantined(
    postgres: psycopg.Connection, connection_id: str, stream: str, record_id: str
) -> tuple[Quarantined, ...]:
    rows = postgres.execute(
        """
        SELECT payload, reason, first_seen_at, last_seen_at, times, released_at FROM raw.quarantine
        WHERE connection_id = %s AND stream = %s AND record_id = %s ORDER BY first_seen_at DESC, quarantine_id DESC
        """,
        (connection_id, stream, record_id),
    )
    return tuple(Quarantined(_payload(bytes(payload).decode("utf-8", "replace")), *row) for payload, *row in rows)


def _seen(
    postgres: psycopg.Connection, connection_id: str, stream: str, record_id: str, versions: tuple[Version, ...]
) -> Seen | None:
    row = postgres.execute(
        """
        SELECT reads.read_at, reads.today, shown.pending, shown.payload::text, shown.hash::text
        FROM ledgerlake.census_records AS shown JOIN ledgerlake.census_reads AS reads USING (read_id)
        WHERE shown.connection_id = %s AND shown.stream = %s AND shown.record_id = %s AND reads.outcome = 'done'
        ORDER BY read_id DESC LIMIT 1
        """,
        (connection_id, stream, record_id),
    ).fetchone()
    if row is None:
        return None
    read_at, today, pending, payload, told = row
    return Seen(read_at, today, pending, _payload(payload), bool(versions) and versions[0].hash == told)


def _findings(
    postgres: psycopg.Connection, connection_id: str, stream: str, record_id: str
) -> tuple[FindingBehind, ...]:
    with postgres.cursor(row_factory=class_row(FindingBehind)) as cursor:
        return tuple(
            cursor.execute(
                """
                SELECT finding_id, kind, step, model, severity, state, behind.field, behind.expected, behind.found
                FROM ledgerlake.finding_records AS behind JOIN ledgerlake.findings USING (finding_id)
                WHERE behind.connection_id = %s AND behind.stream = %s AND behind.record_id = %s AND state <> 'resolved'
                ORDER BY finding_id, position
                """,
                (connection_id, stream, record_id),
            )
        )


@cache
def _graph() -> Graph:
    return Graph.of(PROJECT)


def _models(its: Stream) -> list[str]:
    """The models between a stream's staging model and its mart."""
    if its.mart is None:
        return [its.staging] if its.staging in _graph().reads else []
    return _graph().way(its.staging, its.mart.model)


_LAYERS: dict[str, Literal["staging", "intermediate", "marts"]] = {
    "staging": "staging",
    "intermediate": "intermediate",
}
_SCHEMAS = {"staging": "staging.", "intermediate": "intermediate.", "marts": ""}


def _steps(look: Look, connection: Connection, its: Stream, record_id: str) -> list[Step]:
    found = []
    for model in _models(its):
        layer = _LAYERS.get(_graph().layers[model], "marts")
        key = its.mart.key if its.mart is not None and model == its.mart.model else its.key
        try:
            rows = look.rows(
                f"""
                select shown from {_SCHEMAS[layer]}{model} as shown
                where bucket = $bucket and connection_id = $connection and {key} = $record
                limit {_ROWS}
                """,  # noqa: S608 - the project's own models and streams
                {"bucket": connection.bucket, "connection": connection.connection_id, "record": record_id},
            )
        except QueryError:
            if layer == "marts":
                raise
            continue  # it lies between them and does not carry the record's id, like one of accounts
        shown = tuple({name: _text(value) for name, value in row.items()} for (row,) in rows)
        found.append(Step(model, layer, bool(shown), shown))
    return found


def _excluded(look: Look, connection: Connection, stream: str, record_id: str) -> tuple[Excluded, ...]:
    rows = look.rows(
        """
        select model, reason from excluded_records
        where bucket = $bucket and connection_id = $connection and stream = $stream and record_id = $record
        """,
        {
            "bucket": connection.bucket,
            "connection": connection.connection_id,
            "stream": stream,
            "record": record_id,
        },
    )
    return tuple(Excluded(*row) for row in rows if row[0] != "quarantine")


def _payload(text: str) -> Any:
    try:
        return parsed(text)
    except ValueError:
        return text


def _text(value: Any) -> Any:
    """A column's value as JSON has it; a decimal is an exact text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, dt.date) else str(value)


_ENCODER = msgspec.json.Encoder(decimal_format="number")


def as_json(found: Way) -> bytes:
    """The way as JSON: numbers of payloads as exact as they came, decimals of columns as text."""
    return _ENCODER.encode(found)
