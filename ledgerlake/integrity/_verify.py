"""The verification: every step against the one before it, at one instant, and what differs told by its cause.

Belongs here: the order of the checks, and that one which could not run is a finding of its own. Does not belong here: the
checks themselves.

Source (counted again by the census), receipts, raw, staging, marts and the published files are compared two-sided and
one-use, so one record lost and another made up do not come out even. What a sync or a build that runs meanwhile changes
is not seen: store and lake are read as of one snapshot each. What the published state cannot hold yet is late, and a
finding only when it has waited too long.
"""

import asyncio
import datetime as dt
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
import psycopg
from psycopg import sql

from connectors import ConnectorError
from ledgerlake.errors import LedgerlakeError, NotThere
from ledgerlake.integrity import _receipts
from ledgerlake.integrity._accounts import silent, still, twice
from ledgerlake.integrity._balances import balances
from ledgerlake.integrity._causes import causes
from ledgerlake.integrity._findings import Findings
from ledgerlake.integrity._published import Published, file_fault, published, unreadable_files
from ledgerlake.integrity._report import SAMPLE, Behind, Compared, Finding, Repair, Report, Step
from ledgerlake.integrity._source import against_raw, nothing, unread
from ledgerlake.integrity._steps import STREAMS, Expected, Graph, Steps
from ledgerlake.integrity._summaries import months
from ledgerlake.integrity._trail import differences, locate
from ledgerlake.integrity.census import CensusReport
from ledgerlake.integrity.census import census as count_again
from ledgerlake.lake import PROJECT, Lake, Reading
from ledgerlake.local import Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Store

_FAILURES = (LedgerlakeError, duckdb.Error, psycopg.Error)
_OURS = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException, duckdb.OutOfMemoryException)


def verify(
    where: Servers,
    settings: Settings,
    *,
    connections: Sequence[str] | None = None,
    today: dt.date | None = None,
    census: bool = True,
    project: Path = PROJECT,
) -> Report:
    """Count again at the sources, compare everything, and bring the stored findings to what was found.

    Args:
        connections: which ones; None for all.
        today: the day it is, for the census.
        census: False compares with what earlier censuses counted, without a request to any provider.
        project: the dbt project whose models are followed.

    Raises:
        UsageError: there is no such connection.
    """
    started = time.monotonic()
    store = Store(where.postgres_url)
    known = {one.connection_id for one in store.connections(ids=connections)}
    for connection_id in connections or ():
        if connection_id not in known:
            raise NotThere(f"There is no connection {connection_id}; `ledgerlake connections` lists them.")
    findings = Findings(store, settings)
    day = today or dt.datetime.now(dt.UTC).date()
    verification_id = findings.begin(day, connections)
    try:
        counted, blind = _census(store, settings, day, connections, verification_id) if census else (None, [])
        with _reading(where, settings, store, project) as (at, postgres):
            run = _Run(where, settings, at, postgres, Graph.of(project), connections, day, today is not None)
            run.findings += blind
            run.all()
    except Exception as error:
        findings.failed(verification_id, " ".join(str(error).split()))
        raise
    found = tuple(run.findings)
    compared = sum(run.steps.counted.values())
    findings.merge(
        verification_id, found, run.classes, today=day, scope=connections, snapshot=at.snapshot, compared=compared
    )
    return Report(
        verification_id,
        at.snapshot,
        len(known),
        compared,
        tuple(run.classes),
        found,
        counted,
        time.monotonic() - started,
    )


def _census(
    store: Store, settings: Settings, today: dt.date, connections: Sequence[str] | None, census_id: str
) -> tuple[CensusReport | None, list[Finding]]:
    """Count again at the sources; what could not be counted is a finding."""
    try:
        report = asyncio.run(count_again(store, settings, today=today, connections=connections, census_id=census_id))
    except (*_FAILURES, ConnectorError) as error:
        said = f"the census broke off: {' '.join(str(error).split())[:500]}"
        return None, [_not_compared("source", said)]
    return report, unread(report)


@contextmanager
def _reading(
    where: Servers, settings: Settings, store: Store, project: Path
) -> Iterator[tuple[Reading, psycopg.Connection]]:
    """Store and lake at one instant, for DuckDB and for PostgreSQL."""
    with Lake(where, settings, project).reading() as at, store.connect() as postgres:
        postgres.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        postgres.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(at.postgres_snapshot)))
        yield at, postgres


class _Run:
    """One verification under way: what it found so far."""

    def __init__(
        self,
        where: Servers,
        settings: Settings,
        at: Reading,
        postgres: psycopg.Connection,
        graph: Graph,
        connections: Sequence[str] | None,
        today: dt.date,
        replayed: bool,
    ) -> None:
        self._today = today
        self._replayed = replayed
        self._where = where
        self._settings = settings
        self._postgres = postgres
        self._scope = connections
        rows = postgres.execute("SELECT connection_id, provider, bucket FROM ledgerlake.connections")
        self._homes: dict[str, tuple[str, int]] = {one: (provider, bucket) for one, provider, bucket in rows}
        self.steps = Steps(at, _expected(), graph, connections)
        self.findings: list[Finding] = []
        self.classes: list[Compared] = []

    def all(self) -> None:
        """Make all checks; `findings` and `classes` are what they found."""
        self.steps.read_raw()
        nothing(self.steps)
        self._check("source", self._against_source)
        self._check("source", self._balances)
        self._check("receipts", self._against_receipts)
        self._check("published", self._against_published)
        self._check("source", self._accounts)
        self.findings = list(_once(self._of_provider(one) for one in self.findings))

    def _of_provider(self, finding: Finding) -> Finding:
        """What is of one connection is of its provider."""
        if finding.provider is not None or finding.connection_id not in self._homes:
            return finding
        return replace(finding, provider=self._homes[finding.connection_id][0])

    def _check(self, step: Step, check: Callable[[], None]) -> None:
        """A check that breaks off is no pass: it becomes a finding."""
        try:
            check()
        except _FAILURES as error:
            said = " ".join(str(error).split())[:500]
            self.findings.append(
                _not_compared(step, f"the check of this step broke off: {said}; look into it, and verify again")
            )

    def _against_source(self) -> None:
        self.classes += against_raw(self.steps, self._today)

    def _balances(self) -> None:
        self.classes += balances(self.steps)

    def _accounts(self) -> None:
        """What no single record shows."""
        rows = self._postgres.execute("SELECT connection_id, customer_id FROM ledgerlake.connections").fetchall()
        customers = {str(connection_id): str(customer_id) for connection_id, customer_id in rows}
        quiet = silent(self._postgres, self._today if self._replayed else None, self._settings.silent_days)
        self.findings += self._mine(quiet)
        self.findings += self._mine(list(twice(self.steps, customers)))
        self.findings += self._mine(
            list(still(self.steps, self._today, {one.connection_id for one in quiet if one.connection_id is not None}))
        )

    def _mine(self, found: Sequence[Finding]) -> Iterator[Finding]:
        for one in found:
            if self._scope is None or one.connection_id is None or one.connection_id in self._scope:
                yield one

    def _against_receipts(self) -> None:
        syncs = [sync_id for (sync_id,) in self._postgres.execute("SELECT sync_id FROM ledgerlake.syncs")]
        self.steps.at.duck.execute(
            "CREATE OR REPLACE TEMP TABLE known_syncs AS SELECT unnest(?::BIGINT[]) AS sync_id", [syncs]
        )
        held = self.steps.at.duck.execute(
            "SELECT connection_id, stream, count(*), count(*) FILTER (NOT intact) FROM records GROUP BY ALL"
        ).fetchall()
        told = _receipts.told(
            self._postgres, {(connection_id, stream): rows for connection_id, stream, rows, _ in held}
        )
        self._told = {place: one for place, one in told.items() if self._scope is None or place[0] in self._scope}
        skipped = _receipts.skipped(self._postgres)
        self._skipped = {one: pages for one, pages in skipped.items() if self._scope is None or one in self._scope}
        self.findings += self._mine(_receipts.versions(self._told))
        self.findings += self._mine(_receipts.items(self._postgres))
        self.findings += self._mine(_receipts.quarantined(self._postgres))
        altered = {(connection_id, stream): count for connection_id, stream, _, count in held}
        for (connection_id, stream), one in sorted(self._told.items()):
            missing, unexpected = max(one.lacking, 0), max(-one.lacking, 0)
            mismatched = altered.get((connection_id, stream), 0)
            self.classes.append(
                Compared(
                    connection_id,
                    stream,
                    "raw",
                    compared=one.rows + unexpected,
                    matched=one.rows - missing - mismatched,
                    missing=missing,
                    unexpected=unexpected,
                    mismatched=mismatched,
                )
            )

    def _against_published(self) -> None:
        at = self.steps.at
        if at.snapshot is None:
            self.findings.append(
                _not_compared(
                    "published", "nothing is published yet, so nothing could be compared; run `ledgerlake build`"
                )
            )
        needed = self._needed()
        state = published(at, self._where, self._postgres, needed)
        for _ in range(2):
            self.steps.unreadable = state.unreadable
            try:
                self._compare(state)
            except _OURS:
                raise
            except duckdb.Error:
                # A file that opens may still have a page that does not: it is found once, and left out.
                state = self._without_broken(state)
            else:
                return

    def _needed(self) -> list[str]:
        """The models of streams that have records: all of them must be published for a bucket to be."""
        models = set()
        for one in STREAMS:
            if self.steps.counted.get((one.provider, one.name)):
                models.add(one.staging)
                if one.mart is not None:
                    models |= {one.mart.model, "excluded_records"}
        return sorted(models)

    def _without_broken(self, state: Published) -> Published:
        tables = self.steps.at.tables
        faults, paths = list(state.faults), set(state.unreadable)
        for name, table in tables.items():
            broken = unreadable_files(self.steps.at.duck, [file for file in table.data if file.path not in paths])
            files = [file for file in table.data if file.path in broken]
            if files:
                places = {(name[1], file.bucket) for file in files}
                faults = [fault for fault in faults if fault.kind != "mismatch" or not fault.places <= places]
                said = [f"bucket {file.bucket}: a page of the file cannot be read" for file in files]
                faults.append(file_fault(name, "missing", said, files, sum(file.rows for file in files)))
                paths |= broken
        if paths == state.unreadable:
            raise
        return Published(tuple(faults), frozenset(paths), state.grounds, state.restored)

    def _compare(self, state: Published) -> None:
        steps = self.steps
        steps.read_published()
        steps.wait(state.grounds)
        differences(steps)
        locate(steps)
        self.findings += causes(steps, state, self._told, self._skipped, self._homes)
        self.findings += self._late(state)
        self.findings += self._blind()
        self.findings += months(steps, [place for fault in state.faults for place in fault.places])
        self._count("staging")
        self._count("marts")

    def _blind(self) -> Iterator[Finding]:
        """What could not be compared: no pass by omission."""
        at = self.steps.at
        for stream, model in self.steps.unpublished.items():
            count = self.steps.counted[stream.provider, stream.name]
            step: Step = "staging" if model.startswith("stg_") else "marts"
            if at.snapshot is not None:
                yield Finding(
                    kind="not_compared",
                    step=step,
                    model=model,
                    provider=stream.provider,
                    stream=stream.name,
                    records=count,
                    message=f"{model} is not published, so {count:,} records could not be compared; run `ledgerlake build`",
                    repair=Repair("build"),
                )
        if at.snapshot is not None and ("main", "excluded_records") not in at.tables:
            yield _not_compared("marts", "excluded_records is not published; run `ledgerlake build`")

    def _late(self, state: Published) -> Iterator[Finding]:
        """What waits to be published for too long; after a rollback, from the start."""
        duck, at = self.steps.at.duck, self.steps.at
        if at.snapshot is None:
            return
        gate = dt.datetime.now(dt.UTC)
        if state.restored is None:
            gate -= dt.timedelta(hours=self._settings.publish_hours)
        duck.execute(
            """
            CREATE OR REPLACE TEMP TABLE overdue AS
            SELECT waiting.*, records.bucket, records.account_id, abs(records.amount) AS risk, records.currency
            FROM waiting JOIN records USING (connection_id, stream, record_id) WHERE since <= ?
            """,
            [gate],
        )
        found = duck.execute(
            "SELECT count(*), min(since), list(DISTINCT bucket ORDER BY bucket) FROM overdue"
        ).fetchone()
        count, since, buckets = found or (0, None, [])
        if not count and state.restored is None:
            return
        sample = duck.execute(
            f"SELECT connection_id, stream, account_id, record_id FROM overdue ORDER BY since, connection_id, stream, record_id LIMIT {SAMPLE}"  # noqa: S608
        ).fetchall()
        if state.restored is not None:
            message = (
                f"snapshot {at.snapshot} is a rollback to snapshot {state.restored}: {count:,} records that came or changed "
                "since are not published; mend what it was for, then `ledgerlake build`"
            )
        else:
            message = (
                f"{count:,} records of buckets {', '.join(map(str, buckets))} have not been published, the oldest since "
                f"{since:%Y-%m-%d %H:%M} UTC; expected within {self._settings.publish_hours} hours: run `ledgerlake build`"
            )
        money = duck.execute(
            "SELECT currency, sum(risk)::DECIMAL(38, 2) FROM overdue WHERE currency IS NOT NULL AND risk > 0 GROUP BY 1 ORDER BY 1"
        ).fetchall()
        yield Finding(
            kind="late",
            step="published",
            records=count,
            sample=tuple(Behind(*one) for one in sample),
            money={} if state.restored is not None else dict(money),
            message=message,
            repair=Repair("build", buckets=tuple(buckets or ())),
        )

    def _count(self, step: Step) -> None:
        """Every record that was compared, in its class."""
        duck = self.steps.at.duck
        classes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        streams = {one.name for one in STREAMS if step == "staging" or one.mart is not None}
        for connection_id, stream, rows, late in duck.execute(
            """
            SELECT records.connection_id, records.stream, count(*), count(waiting.record_id)
            FROM records LEFT JOIN waiting USING (connection_id, stream, record_id) GROUP BY ALL
            """
        ).fetchall():
            if stream in streams:
                classes[connection_id, stream] += Counter(compared=rows, late=late)
        for connection_id, stream, kind, rows, unknown in duck.execute(
            """
            SELECT connection_id, stream, class, count(*), count(*) FILTER (NOT known) FROM (
                SELECT DISTINCT ON (connection_id, stream, record_id) * FROM suspects WHERE found_at = ? ORDER BY class
            )
            GROUP BY ALL
            """,
            [step],
        ).fetchall():
            name = "mismatched" if kind == "mismatch" else kind
            classes[connection_id, stream] += Counter({name: rows, "compared": unknown})
        if step == "marts":
            for connection_id, stream, rows in duck.execute(
                """
                SELECT connection_id, stream, count(*) FROM (SELECT DISTINCT connection_id, stream, record_id FROM excluded)
                SEMI JOIN records USING (connection_id, stream, record_id)
                ANTI JOIN waiting USING (connection_id, stream, record_id)
                ANTI JOIN (FROM suspects WHERE found_at = 'marts') AS suspects USING (connection_id, stream, record_id)
                GROUP BY ALL
                """
            ).fetchall():
                classes[connection_id, stream] += Counter(excluded=rows)
        for (connection_id, stream), counted in sorted(classes.items()):
            rest = {name: count for name, count in counted.items() if name != "compared"}
            self.classes.append(
                Compared(
                    connection_id,
                    stream,
                    step,
                    compared=counted["compared"],
                    matched=counted["compared"] - sum(rest.values()),
                    **rest,
                )
            )


def _expected() -> Expected:
    from ledgerlake.integrity._expect import expected

    return expected


def _not_compared(step: Step, message: str) -> Finding:
    return Finding(kind="not_compared", step=step, records=0, message=message)


def _once(found: Iterable[Finding]) -> Iterator[Finding]:
    """At most one finding a fingerprint: two that have the same are one cause in two places."""
    by_print: dict[str, list[Finding]] = defaultdict(list)
    for one in found:
        by_print[one.fingerprint].append(one)
    for ones in by_print.values():
        yield ones[0] if len(ones) == 1 else _joined(ones)


def _joined(ones: Sequence[Finding]) -> Finding:
    first = ones[0]
    total = {currency: sum(one.money.get(currency, 0) for one in ones) for one in ones for currency in one.money}
    return Finding(
        **{
            **vars(first),
            "records": sum(one.records for one in ones),
            "sample": tuple(behind for one in ones for behind in one.sample)[:SAMPLE],
            "money": total,
            "message": "; ".join(dict.fromkeys(one.message for one in ones)),
        }
    )
