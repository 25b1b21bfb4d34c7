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
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ledgerlake.errors import UsageError
from ledgerlake.ingest import Counts, sync
from ledgerlake.integrity._findings import Findings, StoredFinding
from ledgerlake.integrity._report import Behind
from ledgerlake.lake import Lake
from ledgerlake.local import Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Store

Say = Callable[[str], None]
"""Told of each step as it begins."""

_ALTERED = """
UPDATE raw.{table} SET hash = '00000000-0000-0000-0000-000000000000'
WHERE connection_id = %s AND record_id = ANY(%s)
"""
"""The store's word for "not what the source sent": whatever the source sends now differs from it."""

_HELD = "SELECT record_id FROM raw.{table} WHERE connection_id = %s AND record_id = ANY(%s)"


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
    if wanted.action == "fetch":
        assert wanted.connection_id is not None
        connections = [wanted.connection_id]
        buckets = buckets or [store.connection(wanted.connection_id).bucket]
        records = findings.records(finding.finding_id)
        gone = _prepare(store, finding, records)
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
        counts = report.counts
        _acknowledge(store, finding, gone, actor)
        if error := report.connections[0].error:
            tell(f"the fetch did not come to its end: {error}")
    tell("building")
    built = Lake(where, settings).build(buckets or None)
    tell("verifying")
    verify(where, settings, connections=None if finding.connection_id is None else connections, today=today)
    return counts, built.snapshot


def _prepare(store: Store, finding: StoredFinding, records: list[Behind]) -> dict[tuple[str, str], list[str]]:
    """Let altered rows be written again; returns the ids, by connection and stream, that the store has lost."""
    if finding.step != "raw" or finding.provider is None:
        return {}
    by_stream: dict[tuple[str, str], list[str]] = {}
    for one in records:
        by_stream.setdefault((one.connection_id, one.stream), []).append(one.record_id)
    if finding.kind == "mismatch":
        with store.connect() as postgres, postgres.transaction():
            for (connection_id, stream), ids in by_stream.items():
                postgres.execute(_named(_ALTERED, finding.provider, stream), (connection_id, ids))
        return {}
    return by_stream if finding.kind == "missing" else {}


def _acknowledge(store: Store, finding: StoredFinding, gone: dict[tuple[str, str], list[str]], actor: str) -> None:
    """Take down which of the lost rows are there again: receipts tell of each of them twice now."""
    if not gone or finding.provider is None:
        return
    with store.connect() as postgres, postgres.transaction():
        for (connection_id, stream), ids in gone.items():
            rows = postgres.execute(_named(_HELD, finding.provider, stream), (connection_id, ids)).fetchall()
            if not rows:
                continue
            postgres.execute(
                """
                INSERT INTO ledgerlake.corrections (connection_id, stream, rows, versions, finding_id, actor, reason)
                VALUES (%s, %s, %s, 0, %s, %s, 'deleted from the store, and fetched again')
                """,
                (connection_id, stream, len(rows), finding.finding_id, actor),
            )


def _named(query: str, provider: str, stream: str) -> sql.Composed:
    return sql.SQL(query).format(table=sql.Identifier(f"{provider}_{stream}"))


def _alone(postgres: psycopg.Connection, finding_id: int) -> None:
    """Hold the finding's lock as long as the connection lives."""
    row = postgres.execute(
        "SELECT pg_try_advisory_lock(hashtextextended('finding ' || %s::text, 0))", (finding_id,)
    ).fetchone()
    if row is None or not row[0]:
        raise UsageError(f"Finding {finding_id} is being repaired already; wait for its end.")
