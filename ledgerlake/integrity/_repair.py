"""Repair: the bounded re-fetch or rebuild that a finding proposes, the check afterwards, and what it changed.

Belongs here: carrying out a proposed repair and counting what it did. Does not belong here: proposing it (the checks),
the finding's life (``_findings``).

What is fetched again goes through the same ingestion as every sync, so a repair can neither double nor lose a record.
Rows that were deleted from the store come back as new ones, and their receipts would tell of them twice: each that came
back is taken down in ``ledgerlake.corrections``, and no other.
"""

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ledgerlake.errors import UsageError
from ledgerlake.ingest import Counts, sync
from ledgerlake.integrity._earlier import returned
from ledgerlake.integrity._findings import Findings, StoredFinding
from ledgerlake.integrity._report import Behind
from ledgerlake.integrity._steps import STREAMS, Stream
from ledgerlake.lake import Lake
from ledgerlake.local import Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Store

Say = Callable[[str], None]
"""Told of each step as it begins."""

_ALTERED = """
UPDATE raw.{table} SET hash = '00000000-0000-0000-0000-000000000000'
WHERE connection_id = %s AND substr(sha256(convert_to(payload::text, 'UTF8')), 1, 16) <> uuid_send(hash)
"""
"""The store's word for "not what the source sent": whatever the source sends now differs from it."""

# How many rows receipts tell of that raw has not, beside each row that came since the last correction.
_SINCE = """
WITH held AS (
    SELECT count(*) AS rows FROM raw.{table} WHERE connection_id = %(connection)s
),
told AS (
    SELECT coalesce(sum(receipts.new), 0) AS rows
    FROM ledgerlake.receipts AS receipts JOIN ledgerlake.syncs AS syncs USING (sync_id)
    WHERE syncs.connection_id = %(connection)s AND receipts.stream = %(stream)s
),
corrected AS (
    SELECT coalesce(sum(rows), 0) AS rows, coalesce(max(at), '-infinity') AS last
    FROM ledgerlake.corrections WHERE connection_id = %(connection)s AND stream = %(stream)s
)
SELECT since.record_id, since.first_synced_at, (told.rows - corrected.rows - held.rows)::bigint
FROM held CROSS JOIN told CROSS JOIN corrected
LEFT JOIN raw.{table} AS since ON since.connection_id = %(connection)s AND since.first_synced_at > corrected.last
    AND told.rows - corrected.rows > held.rows
"""


@dataclass(frozen=True)
class RepairReport:
    """What a repair is, and what it did: nothing yet in a dry run."""

    finding: StoredFinding
    steps: tuple[str, ...]
    dry_run: bool
    counts: Counts
    """Records that the re-fetch changed in the store."""
    snapshot: int | None
    seconds: float

    @property
    def mended(self) -> bool:
        """Whether the check that found it passes now."""
        return self.finding.state == "resolved"


def repair(
    where: Servers,
    settings: Settings,
    finding_id: int,
    *,
    actor: str,
    today: dt.date | None = None,
    dry_run: bool = False,
    say: Say | None = None,
) -> RepairReport:
    """Carry out the repair that a finding proposes, verify again, and close the finding if it is mended.

    Raises:
        UsageError: there is no such finding, it is resolved, it has no repair that a machine can do, or one runs already.
    """
    started = time.monotonic()
    store = Store(where.postgres_url)
    findings = Findings(store, settings)
    finding = findings.get(finding_id)
    steps = proposed(store, finding)
    if dry_run:
        return RepairReport(finding, steps, True, Counts(), None, time.monotonic() - started)
    tell = say or (lambda _: None)
    with store.connect() as lock:
        _alone(lock, finding_id)
        findings.repairing(finding_id, actor)
        counts, snapshot, changed = Counts(), None, "it broke off"
        try:
            counts, snapshot = _carry_out(where, settings, store, finding, findings, actor, today, tell)
            changed = f"{counts.new} new, {counts.changed} changed, {counts.removed} removed; snapshot {snapshot}"
        finally:
            finding = findings.repaired(finding_id, actor, changed)
    return RepairReport(finding, steps, False, counts, snapshot, time.monotonic() - started)


def proposed(store: Store, finding: StoredFinding) -> tuple[str, ...]:
    """What a repair of it would do, step by step. Raises UsageError where a person has to act, with what to do."""
    if finding.state == "resolved":
        raise UsageError(f"Finding {finding.finding_id} is resolved; there is nothing to repair.")
    wanted = finding.repair
    if wanted is None or wanted.action == "person":
        advice = (wanted.advice if wanted else None) or "look at its records, mend the cause, and verify again"
        raise UsageError(f"Finding {finding.finding_id} cannot be repaired by Ledgerlake alone: {advice}.")
    steps = []
    buckets = list(wanted.buckets)
    if wanted.action == "fetch":
        if wanted.connection_id is None:
            raise UsageError(f"Finding {finding.finding_id} names no connection to fetch from.")
        buckets = buckets or [store.connection(wanted.connection_id).bucket]
        days = f"from {wanted.since} on" if wanted.since else "of all time"
        whose = f"account {wanted.account_id}" if wanted.account_id else "all accounts"
        steps.append(f"fetch {whose} of {wanted.connection_id} again, {days}")
    listed = ", ".join(map(str, buckets)) or "that changed"
    steps += [f"build the buckets {listed}, audit and publish them", "verify again, and close the finding if it passes"]
    return tuple(steps)


def _carry_out(
    where: Servers,
    settings: Settings,
    store: Store,
    finding: StoredFinding,
    findings: Findings,
    actor: str,
    today: dt.date | None,
    tell: Say,
) -> tuple[Counts, int | None]:
    from ledgerlake.integrity._verify import verify

    wanted = finding.repair
    assert wanted is not None
    counts = Counts()
    buckets = list(wanted.buckets)
    connections: list[str] | None = None
    whole = True
    if wanted.action == "fetch":
        assert wanted.connection_id is not None
        connections = [wanted.connection_id]
        buckets = buckets or [store.connection(wanted.connection_id).bucket]
        if finding.kind == "mismatch" and finding.step == "raw":
            _distrust(store, finding)
        tell("fetching again")
        report = asyncio.run(
            sync(
                store,
                settings,
                connections=connections,
                accounts=[wanted.account_id] if wanted.account_id else None,
                since=wanted.since,
                full=wanted.since is None,
                today=today,
            )
        )
        counts, [fetched] = report.counts, report.connections
        if finding.kind == "missing" and finding.step == "raw":
            _acknowledge(where, settings, finding, findings.records(finding.finding_id), actor)
        whole = fetched.error is None
        if not whole:
            tell(f"the fetch did not come to its end, so nothing is built: {fetched.error}")
    built = None
    if whole:
        tell("building")
        built = Lake(where, settings).build(buckets or None)
    tell("verifying")
    verify(where, settings, connections=None if finding.connection_id is None else connections, today=today)
    return counts, built.snapshot if built is not None else None


def _distrust(store: Store, finding: StoredFinding) -> None:
    """Let altered rows of the finding's connection be written again."""
    with store.connect() as postgres, postgres.transaction():
        for stream in _streams(finding):
            postgres.execute(
                sql.SQL(_ALTERED).format(table=sql.Identifier(f"{stream.provider}_{stream.name}")),
                (finding.connection_id,),
            )


def _acknowledge(
    where: Servers, settings: Settings, finding: StoredFinding, behind: Sequence[Behind], actor: str
) -> None:
    """Take down which of the lost rows are there again, fetched by this repair or by a sync before it: receipts tell of
    each of them twice now.

    A lost row that no source shows any more is none of them, and stays lost.
    """
    assert finding.connection_id is not None
    store, connection_id = Store(where.postgres_url), finding.connection_id
    bucket = store.connection(connection_id).bucket
    with Lake(where, settings).reading() as at, store.connect() as postgres, postgres.transaction():
        for stream in _streams(finding):
            named = {one.record_id for one in behind if one.stream == stream.name}
            rows = postgres.execute(
                sql.SQL(_SINCE).format(table=sql.Identifier(f"{stream.provider}_{stream.name}")),
                {"connection": connection_id, "stream": stream.name},
            ).fetchall()
            lacking = rows[0][2] if rows else 0
            if lacking <= 0:
                continue
            first = {record_id: since for record_id, since, _ in rows if record_id is not None}
            back = returned(at, stream, connection_id, bucket, first)
            back |= {one for one in named & first.keys() if first[one] > finding.first_seen_at}
            if count := min(len(back), lacking):
                postgres.execute(
                    """
                    INSERT INTO ledgerlake.corrections (connection_id, stream, rows, versions, finding_id, actor, reason)
                    VALUES (%s, %s, %s, 0, %s, %s, 'deleted from the store, and fetched again')
                    """,
                    (connection_id, stream.name, count, finding.finding_id, actor),
                )


def _streams(finding: StoredFinding) -> list[Stream]:
    return [one for one in STREAMS if one.provider == finding.provider]


def _alone(postgres: psycopg.Connection, finding_id: int) -> None:
    """Hold the finding's lock as long as the connection lives."""
    row = postgres.execute(
        "SELECT pg_try_advisory_lock(hashtextextended('finding ' || %s::text, 0))", (finding_id,)
    ).fetchone()
    if row is None or not row[0]:
        raise UsageError(f"Finding {finding_id} is being repaired already; wait for its end.")
