"""The life of findings in the store: opened, seen again, closed by themselves, reopened; and what people do with them.

Belongs here: states, severity, history, and the rows of verifications. Does not belong here: how a finding is found
(the checks), how it is mended (``_repair``).

A finding is closed by a verification that looked where it was and found nothing. One that could not look there says so
with a finding of its own (`not_compared`), and leaves all others of that place as they are.
"""

import contextlib
import datetime as dt
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, get_args

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row

from ledgerlake.errors import NotThere, UsageError
from ledgerlake.integrity._report import WRONG, Behind, Compared, Finding, Kind, Repair, Step
from ledgerlake.settings import Settings
from ledgerlake.store import Store, audit

State = Literal["open", "acknowledged", "repairing", "resolved", "muted"]
Severity = Literal["low", "medium", "high", "critical"]
Resolution = Literal["passed", "fixed", "accepted", "false_alarm"]
"""Why a finding is resolved: the check passes, or a person says so."""

SYSTEM = "ledgerlake"
"""The actor of what happens by itself."""

_SEVERITIES: tuple[Severity, ...] = get_args(Severity)
_STEPS: tuple[Step, ...] = get_args(Step)
_LOCK = 0x1ED6E41A4F
_AGED = dt.timedelta(days=3)
_REPAIRS = 3


@dataclass(frozen=True)
class StoredFinding:
    """A finding with its life. `records` is exact; `money` is per currency."""

    finding_id: int
    kind: Kind
    step: Step
    model: str | None
    provider: str | None
    connection_id: str | None
    stream: str | None
    account_id: str | None
    field: str | None
    records: int
    money: Mapping[str, Decimal]
    message: str
    repair: Repair | None
    state: State
    severity: Severity
    owner: str | None
    muted_until: dt.date | None
    resolution: Resolution | None
    first_seen_at: dt.datetime
    opened_at: dt.datetime
    last_seen_at: dt.datetime
    resolved_at: dt.datetime | None
    times_seen: int
    times_opened: int
    repairs: int


@dataclass(frozen=True)
class FindingEvent:
    """One line of a finding's history."""

    at: dt.datetime
    actor: str
    act: str
    before: str | None
    after: str | None
    comment: str | None


@dataclass(frozen=True)
class Verification:
    """A verification that ended; `connections` None: of all of them."""

    verification_id: str
    started_at: dt.datetime
    ended_at: dt.datetime
    connections: list[str] | None
    snapshot_id: int | None
    compared: int
    findings: int


@dataclass
class Merged:
    """What a verification did to the findings, by their ids."""

    opened: list[int] = field(default_factory=list)
    reopened: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)


class Findings:
    """The findings of a store. Every act is one transaction that writes its line of history."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    # What a verification writes.

    def begin(self, today: dt.date, connections: Sequence[str] | None) -> str:
        """Take down that a verification runs; one that never ends is seen by the next."""
        verification_id = f"ver_{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}_{secrets.token_hex(3)}"
        with self._store.connect() as postgres:
            postgres.execute(
                "INSERT INTO ledgerlake.verifications (verification_id, today, connections) VALUES (%s, %s, %s)",
                (verification_id, today, list(connections) if connections is not None else None),
            )
        return verification_id

    def failed(self, verification_id: str, error: str) -> None:
        """Take down that a verification broke off: it changes no finding."""
        with self._store.connect() as postgres:
            postgres.execute(
                "UPDATE ledgerlake.verifications SET ended_at = now(), error = %s WHERE verification_id = %s",
                (error, verification_id),
            )

    def merge(
        self,
        verification_id: str,
        found: Sequence[Finding],
        classes: Sequence[Compared],
        *,
        today: dt.date,
        scope: Collection[str] | None,
        snapshot: int | None,
        compared: int,
    ) -> Merged:
        """Bring the stored findings to what a verification found, all at once.

        Args:
            found: at most one finding a fingerprint.
            scope: the connections that it looked at; None for all. Others' findings stay as they are.
        """
        merged = Merged()
        with self._transaction() as postgres:
            before = {one["fingerprint"]: one for one in _all(postgres)}
            for finding in found:
                self._see(postgres, finding, before.get(finding.fingerprint), verification_id, today, scope, merged)
            present = {one.fingerprint for one in found}
            blind = [one for one in found if one.kind == "not_compared"]
            for fingerprint, row in before.items():
                if row["state"] == "resolved" or fingerprint in present or not _in_scope(row, scope):
                    continue
                if any(_hides(one, row) for one in blind):
                    continue
                _resolve(postgres, row, "passed", SYSTEM, "closed", None)
                merged.closed.append(row["finding_id"])
            _write_results(postgres, verification_id, classes)
            postgres.execute(
                """
                UPDATE ledgerlake.verifications
                SET ended_at = now(), snapshot_id = %s, compared = %s, findings = %s WHERE verification_id = %s
                """,
                (snapshot, compared, len(found), verification_id),
            )
        return merged

    def _see(
        self,
        postgres: psycopg.Connection,
        finding: Finding,
        row: Mapping[str, Any] | None,
        verification_id: str,
        today: dt.date,
        scope: Collection[str] | None,
        merged: Merged,
    ) -> None:
        now = dt.datetime.now(dt.UTC)
        if row is None:
            finding_id = self._insert(postgres, finding, verification_id)
            _event(postgres, finding_id, SYSTEM, "opened", None, "open", None)
            merged.opened.append(finding_id)
            return
        finding_id, state = row["finding_id"], row["state"]
        after = state
        if state == "resolved":
            after = "open"
            merged.reopened.append(finding_id)
        else:
            merged.seen.append(finding_id)
            unmuted = state == "muted" and row["muted_until"] is not None and row["muted_until"] < today
            if unmuted or state == "repairing":
                after = "open"
        # A part of the connections tells a part of the records behind a model's finding: the whole stays as it was.
        partial = scope is not None and row["connection_id"] is None and state != "resolved"
        reopened = state == "resolved"
        opened_at = now if reopened else row["opened_at"]
        quiet = reopened and now - row["resolved_at"] < dt.timedelta(hours=self._settings.sustain_hours)
        severity = self._severity(finding.kind, finding.money, now - opened_at, row["repairs"])
        postgres.execute(
            """
            UPDATE ledgerlake.findings
            SET records = CASE WHEN %(partial)s THEN records ELSE %(records)s END,
                money = CASE WHEN %(partial)s THEN money ELSE %(money)s::jsonb END,
                message = CASE WHEN %(partial)s THEN message ELSE %(message)s END,
                repair = %(repair)s::jsonb, provider = %(provider)s, state = %(state)s, severity = %(severity)s,
                last_seen_at = now(), opened_at = %(opened_at)s, times_seen = times_seen + 1,
                times_opened = times_opened + %(reopened)s::integer,
                resolved_at = CASE WHEN %(reopened)s THEN NULL ELSE resolved_at END,
                resolution = CASE WHEN %(reopened)s THEN NULL ELSE resolution END,
                muted_until = CASE WHEN %(state)s = 'muted' THEN muted_until END,
                announced_at = CASE WHEN %(reopened)s AND NOT %(quiet)s THEN NULL ELSE announced_at END,
                verification_id = %(verification)s
            WHERE finding_id = %(id)s
            """,
            {
                **_columns(finding),
                "id": finding_id,
                "partial": partial,
                "state": after,
                "severity": severity,
                "opened_at": opened_at,
                "reopened": reopened,
                "quiet": quiet,
                "verification": verification_id,
            },
        )
        # A finding may be seen again when nothing names its records any more.
        if not partial and (finding.sample or finding.records != row["records"]):
            _write_records(postgres, finding_id, finding.sample)
        if after != state:
            act = "reopened" if reopened else ("unmuted" if state == "muted" else "still there")
            _event(postgres, finding_id, SYSTEM, act, state, after, None)
        if not partial and row["records"] != finding.records:
            _event(postgres, finding_id, SYSTEM, "records", str(row["records"]), str(finding.records), None)
        if severity != row["severity"]:
            _event(postgres, finding_id, SYSTEM, "severity", row["severity"], severity, None)

    def _insert(self, postgres: psycopg.Connection, finding: Finding, verification_id: str | None) -> int:
        row = postgres.execute(
            """
            INSERT INTO ledgerlake.findings (
                fingerprint, kind, step, model, provider, connection_id, stream, account_id, field,
                records, money, message, repair, severity, verification_id
            )
            VALUES (
                %(fingerprint)s, %(kind)s, %(step)s, %(model)s, %(provider)s, %(connection)s, %(stream)s, %(account)s,
                %(field)s, %(records)s, %(money)s, %(message)s, %(repair)s, %(severity)s, %(verification)s
            )
            RETURNING finding_id
            """,
            {
                **_columns(finding),
                "severity": self._severity(finding.kind, finding.money, dt.timedelta(0), 0),
                "verification": verification_id,
            },
        ).fetchone()
        assert row is not None
        _write_records(postgres, row[0], finding.sample)
        return int(row[0])

    def _severity(self, kind: Kind, money: Mapping[str, Decimal], age: dt.timedelta, repairs: int) -> Severity:
        """By what is wrong and the money at risk; older, or repaired again and again, is one higher each."""
        level = 2 if kind in WRONG else 1
        if any(amount >= self._settings.severe_amount for amount in money.values()):
            level += 1
        level += (age >= _AGED) + (repairs >= _REPAIRS)
        return _SEVERITIES[min(level, len(_SEVERITIES) - 1)]

    # What people and callers read.

    def listed(
        self,
        *,
        states: Collection[State] | None = ("open", "acknowledged", "repairing"),
        connections: Collection[str] | None = None,
    ) -> list[StoredFinding]:
        """The findings in those states, the most severe and oldest first; None for all states."""
        with self._store.connect() as postgres:
            rows = _all(postgres)
        kept = [
            _stored(row)
            for row in rows
            if (states is None or row["state"] in states)
            and (connections is None or row["connection_id"] is None or row["connection_id"] in connections)
        ]
        return sorted(kept, key=_urgency)

    def seen_by(self, verification_id: str) -> dict[str, StoredFinding]:
        """Those that this verification saw, and no later one yet, by their fingerprints."""
        with self._store.connect() as postgres:
            return {
                row["fingerprint"]: _stored(row)
                for row in _all(postgres)
                if row["verification_id"] == verification_id and row["state"] != "resolved"
            }

    def get(self, finding_id: int) -> StoredFinding:
        """That finding. Raises NotThere when there is none."""
        with self._store.connect() as postgres:
            return _stored(_one(postgres, finding_id))

    def records(self, finding_id: int) -> list[Behind]:
        """The records behind it when it was last seen, at most `SAMPLE`."""
        with self._store.connect() as postgres:
            rows = postgres.execute(
                """
                SELECT connection_id, stream, account_id, record_id, field, expected, found, reason
                FROM ledgerlake.finding_records WHERE finding_id = %s ORDER BY position
                """,
                (finding_id,),
            )
            return [Behind(*row) for row in rows]

    def history(self, finding_id: int) -> list[FindingEvent]:
        """What happened to it, the oldest first."""
        with self._store.connect() as postgres:
            rows = postgres.execute(
                """
                SELECT at, actor, act, before, after, comment
                FROM ledgerlake.finding_events WHERE finding_id = %s ORDER BY event_id
                """,
                (finding_id,),
            )
            return [FindingEvent(*row) for row in rows]

    def last_verification(self) -> Verification | None:
        """The last one of all connections that came to its end."""
        with self._store.connect() as postgres, postgres.cursor(row_factory=class_row(Verification)) as cursor:
            return cursor.execute(
                """
                SELECT verification_id, started_at, ended_at, connections, snapshot_id, compared, findings
                FROM ledgerlake.verifications
                WHERE connections IS NULL AND error IS NULL AND ended_at IS NOT NULL
                ORDER BY started_at DESC LIMIT 1
                """
            ).fetchone()

    # What people do.

    def acknowledge(self, finding_id: int, actor: str, comment: str | None = None) -> StoredFinding:
        """Somebody looks after it."""
        return self._move(finding_id, "acknowledged", actor, "acknowledged", comment, of=("open", "muted"))

    def comment(self, finding_id: int, actor: str, comment: str) -> StoredFinding:
        """A remark; nothing else changes."""
        with self._transaction() as postgres:
            _one(postgres, finding_id)
            _event(postgres, finding_id, actor, "commented", None, None, comment)
            return _stored(_one(postgres, finding_id))

    def assign(self, finding_id: int, actor: str, owner: str | None) -> StoredFinding:
        """Give it to somebody, or with None to nobody."""
        with self._transaction() as postgres:
            before = _one(postgres, finding_id)["owner"]
            postgres.execute("UPDATE ledgerlake.findings SET owner = %s WHERE finding_id = %s", (owner, finding_id))
            _event(postgres, finding_id, actor, "assigned", before, owner, None)
            return _stored(_one(postgres, finding_id))

    def mute(self, finding_id: int, actor: str, until: dt.date, comment: str | None = None) -> StoredFinding:
        """Say nothing of it until that day has passed."""
        with self._transaction() as postgres:
            row = _one(postgres, finding_id)
            _allow(row, ("open", "acknowledged", "muted"), "muted")
            postgres.execute(
                "UPDATE ledgerlake.findings SET state = 'muted', muted_until = %s WHERE finding_id = %s",
                (until, finding_id),
            )
            _event(postgres, finding_id, actor, "muted", row["state"], f"until {until}", comment)
            return _stored(_one(postgres, finding_id))

    def resolve(self, finding_id: int, actor: str, resolution: Resolution, comment: str | None = None) -> StoredFinding:
        """A person says that it is settled. The next verification that finds it reopens it."""
        with self._transaction() as postgres:
            row = _one(postgres, finding_id)
            _allow(row, ("open", "acknowledged", "repairing", "muted"), "resolved")
            _resolve(postgres, row, resolution, actor, "resolved", comment)
            return _stored(_one(postgres, finding_id))

    def repairing(self, finding_id: int, actor: str) -> StoredFinding:
        """A repair of it begins."""
        with self._transaction() as postgres:
            row = _one(postgres, finding_id)
            _allow(row, ("open", "acknowledged", "repairing", "muted"), "repaired")
            postgres.execute(
                "UPDATE ledgerlake.findings SET state = 'repairing', repairs = repairs + 1 WHERE finding_id = %s",
                (finding_id,),
            )
            _event(postgres, finding_id, actor, "repair begun", row["state"], "repairing", None)
            return _stored(_one(postgres, finding_id))

    def repaired(self, finding_id: int, actor: str, changed: str) -> StoredFinding:
        """A repair has ended; `changed` says what it did. What it did not mend is open again."""
        with self._transaction() as postgres:
            row = _one(postgres, finding_id)
            if row["state"] == "repairing":
                postgres.execute("UPDATE ledgerlake.findings SET state = 'open' WHERE finding_id = %s", (finding_id,))
            state = "open" if row["state"] == "repairing" else row["state"]
            _event(postgres, finding_id, actor, "repair ended", row["state"], state, changed)
            return _stored(_one(postgres, finding_id))

    def unannounced(self) -> list[StoredFinding]:
        """Open findings that nobody was told of, ordered as `listed`; what came back within the sustain period was told before."""
        with self._store.connect() as postgres:
            rows = _all(postgres)
        new = [_stored(row) for row in rows if row["state"] == "open" and row["announced_at"] is None]
        return sorted(new, key=_urgency)

    def announced(self, ids: Iterable[int]) -> None:
        """Somebody was told of these."""
        with self._store.connect() as postgres:
            postgres.execute(
                "UPDATE ledgerlake.findings SET announced_at = now() WHERE finding_id = ANY(%s)", (list(ids),)
            )

    def overdue(self, now: dt.datetime | None = None) -> StoredFinding | None:
        """A whole verification has not ended for too long: open a finding of that, or see it again.

        It is the next whole verification that closes it. None while there is nothing to verify, or all is well.
        """
        now = now or dt.datetime.now(dt.UTC)
        with self._transaction() as postgres:
            row = postgres.execute(
                """
                SELECT (SELECT max(ended_at) FROM ledgerlake.verifications
                        WHERE connections IS NULL AND error IS NULL AND ended_at IS NOT NULL),
                       (SELECT min(created_at) FROM ledgerlake.connections)
                """
            ).fetchone()
            last, first = row or (None, None)
            since = last or first
            if since is None or now - since < dt.timedelta(hours=self._settings.verify_hours):
                return None
            finding = Finding(
                kind="not_compared",
                step="published",
                field="verification",
                records=0,
                message=(
                    f"expected a verification at least every {self._settings.verify_hours} hours, found "
                    + (f"that the last one ended at {last:%Y-%m-%d %H:%M} UTC" if last else "that none ever ended")
                    + "; run `ledgerlake verify`, and look why the daily job did not"
                ),
                repair=Repair("person", advice="run `ledgerlake verify`"),
            )
            found = {one["fingerprint"]: one for one in _all(postgres)}.get(finding.fingerprint)
            merged = Merged()
            if found is None:
                finding_id = self._insert(postgres, finding, None)
                _event(postgres, finding_id, SYSTEM, "opened", None, "open", None)
            else:
                finding_id = found["finding_id"]
                if found["state"] == "resolved":
                    self._see(postgres, finding, found, found["verification_id"], now.date(), None, merged)
            return _stored(_one(postgres, finding_id))

    def _move(
        self, finding_id: int, state: State, actor: str, act: str, comment: str | None, *, of: Collection[State]
    ) -> StoredFinding:
        with self._transaction() as postgres:
            row = _one(postgres, finding_id)
            _allow(row, of, act)
            postgres.execute(
                "UPDATE ledgerlake.findings SET state = %s, muted_until = NULL WHERE finding_id = %s",
                (state, finding_id),
            )
            _event(postgres, finding_id, actor, act, row["state"], state, comment)
            return _stored(_one(postgres, finding_id))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection]:
        """One writer at a time: two verifications that end together see each other's findings."""
        with self._store.connect() as postgres, postgres.transaction():
            postgres.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            yield postgres


_SELECT = """
SELECT finding_id, fingerprint, kind, step, model, provider, connection_id, stream, account_id, field, records, money,
       message, repair, state, severity, owner, muted_until, resolution, first_seen_at, opened_at, last_seen_at,
       resolved_at, announced_at, times_seen, times_opened, repairs, verification_id
FROM ledgerlake.findings
"""


def _all(postgres: psycopg.Connection) -> list[dict[str, Any]]:
    with postgres.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(f"{_SELECT} ORDER BY finding_id").fetchall()


def _one(postgres: psycopg.Connection, finding_id: int) -> dict[str, Any]:
    with postgres.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(f"{_SELECT} WHERE finding_id = %s", (finding_id,)).fetchone()
    if row is None:
        raise NotThere(f"There is no finding {finding_id}; `ledgerlake findings` lists them.")
    return row


def _stored(row: Mapping[str, Any]) -> StoredFinding:
    values = {name: row[name] for name in StoredFinding.__dataclass_fields__}
    values["money"] = {currency: Decimal(amount) for currency, amount in row["money"].items()}
    values["repair"] = msgspec.convert(row["repair"], Repair) if row["repair"] is not None else None
    return StoredFinding(**values)


def _urgency(one: StoredFinding) -> tuple[int, dt.datetime, int]:
    """The most severe first, and of those the oldest."""
    return -_SEVERITIES.index(one.severity), one.opened_at, one.finding_id


def _columns(finding: Finding) -> dict[str, object]:
    money = {currency: str(amount) for currency, amount in sorted(finding.money.items())}
    return {
        "fingerprint": finding.fingerprint,
        "kind": finding.kind,
        "step": finding.step,
        "model": finding.model,
        "provider": finding.provider,
        "connection": finding.connection_id,
        "stream": finding.stream,
        "account": finding.account_id,
        "field": finding.field,
        "records": finding.records,
        "money": msgspec.json.encode(money).decode(),
        "message": finding.message,
        "repair": msgspec.json.encode(finding.repair).decode() if finding.repair is not None else None,
    }


def _write_records(postgres: psycopg.Connection, finding_id: int, records: Sequence[Behind]) -> None:
    postgres.execute("DELETE FROM ledgerlake.finding_records WHERE finding_id = %s", (finding_id,))
    copy = """
        COPY ledgerlake.finding_records
            (finding_id, position, connection_id, stream, account_id, record_id, field, expected, found, reason)
        FROM STDIN
    """
    with postgres.cursor() as cursor, cursor.copy(copy) as rows:
        for position, one in enumerate(records):
            texts = (one.account_id, one.record_id, one.field, one.expected, one.found, one.reason)
            # A NUL may stand in a text of JSON, in one of PostgreSQL it may not.
            clean = [text and text.replace("\0", "\\0") for text in texts]
            rows.write_row((finding_id, position, one.connection_id, one.stream, *clean))


def _write_results(postgres: psycopg.Connection, verification_id: str, classes: Sequence[Compared]) -> None:
    names = tuple(Compared.__dataclass_fields__)
    copy = sql.SQL("COPY ledgerlake.verification_results (verification_id, {}) FROM STDIN").format(
        sql.SQL(", ").join(map(sql.Identifier, names))
    )
    with postgres.cursor() as cursor, cursor.copy(copy) as rows:
        for one in classes:
            rows.write_row((verification_id, *(getattr(one, name) for name in names)))


def _event(
    postgres: psycopg.Connection,
    finding_id: int,
    actor: str,
    act: str,
    before: str | None,
    after: str | None,
    comment: str | None,
) -> None:
    postgres.execute(
        """
        INSERT INTO ledgerlake.finding_events (finding_id, actor, act, before, after, comment)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (finding_id, actor, act, before, after, comment),
    )
    if actor != SYSTEM:
        audit(postgres, actor, act, f"finding {finding_id}", before=before, after=after)


def _resolve(
    postgres: psycopg.Connection,
    row: Mapping[str, Any],
    resolution: Resolution,
    actor: str,
    act: str,
    comment: str | None,
) -> None:
    postgres.execute(
        """
        UPDATE ledgerlake.findings
        SET state = 'resolved', resolution = %s, resolved_at = now(), muted_until = NULL WHERE finding_id = %s
        """,
        (resolution, row["finding_id"]),
    )
    _event(postgres, row["finding_id"], actor, act, row["state"], f"resolved: {resolution}", comment)


def _allow(row: Mapping[str, Any], states: Collection[str], done: str) -> None:
    if row["state"] not in states:
        raise UsageError(f"Finding {row['finding_id']} is {row['state']}; it cannot be {done}.")


def _in_scope(row: Mapping[str, Any], scope: Collection[str] | None) -> bool:
    return scope is None or (row["connection_id"] is not None and row["connection_id"] in scope)


def _hides(blind: Finding, row: Mapping[str, Any]) -> bool:
    """Whether a check that could not be made is one that might have found it: same place, the same step or a later one.

    What the source says is asked for apart: without it all other steps are compared all the same.
    """
    reached = (
        row["step"] == "source" if blind.step == "source" else _STEPS.index(row["step"]) >= _STEPS.index(blind.step)
    )
    return reached and blind.connection_id in (None, row["connection_id"]) and blind.stream in (None, row["stream"])
