"""The comparison, step by step, at one instant: receipts, raw, staging, marts.

Every comparison is two-sided and by record, so one row lost and another made up do not come out even. A bucket whose
build is behind is not compared with what is published, and that is a finding, too: no pass by omission.
"""

import time
from collections.abc import Sequence
from typing import Any

import psycopg
from duckdb import DuckDBPyConnection
from psycopg import sql

from connectors import PROVIDERS
from ledgerlake.errors import UsageError
from ledgerlake.integrity._report import Finding, Kind, Report
from ledgerlake.lake import Lake, Reading
from ledgerlake.local import Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Store

# Where a stream's records end, and the expression that gives their id there; the other streams end in staging.
_MARTS = {
    "accounts": ("dim_accounts", "provider_account_id"),
    "balances": ("fct_balances", "substr(account_key, length(connection_id) + 2) || ':' || as_of::varchar"),
    "transactions": ("fct_transactions", "provider_transaction_id"),
    "charges": ("fct_charges", "provider_charge_id"),
    "refunds": ("fct_refunds", "provider_refund_id"),
    "payouts": ("fct_payouts", "provider_payout_id"),
    "invoices": ("fct_invoices", "provider_invoice_id"),
    "subscriptions": ("fct_subscriptions", "provider_subscription_id"),
    "balance_transactions": ("fct_balance_transactions", "provider_balance_transaction_id"),
}
# Marts that all providers fill; the others have one.
_SHARED = {"accounts", "balances", "transactions"}
# One payload of these is a list, and its staging model has a row for each of its items.
_OPENED = {("gocardless", "balances")}
_LISTS = 1_000
# A staging model's id is provider_<singular>_id, but for the streams whose record is an account's.
_KEYS = {"details": "provider_account_id", "identity": "provider_account_id"}
_SAMPLE = 5

_RECEIPTS = """
WITH receipts AS (
    SELECT syncs.connection_id, sum(receipts.new) AS new, sum(receipts.changed) AS changed
    FROM ledgerlake.receipts AS receipts
    JOIN ledgerlake.syncs AS syncs USING (sync_id)
    JOIN ledgerlake.connections AS connections USING (connection_id)
    WHERE receipts.stream = %(stream)s AND connections.provider = %(provider)s
    GROUP BY 1
),
rows AS (SELECT connection_id, count(*) AS held FROM {table} GROUP BY 1),
versions AS (
    SELECT connection_id, count(*) AS kept FROM raw.history
    WHERE provider = %(provider)s AND stream = %(stream)s GROUP BY 1
)
SELECT connection_id, coalesce(new, 0)::bigint, coalesce(changed, 0)::bigint,
       coalesce(held, 0)::bigint, coalesce(kept, 0)::bigint
FROM receipts FULL JOIN rows USING (connection_id) FULL JOIN versions USING (connection_id)
WHERE coalesce(new, 0) <> coalesce(held, 0) OR coalesce(changed, 0) <> coalesce(kept, 0)
ORDER BY 1
"""

_STAGED = """
SELECT coalesce(raw.connection_id, staged.connection_id) AS connection_id,
       CASE WHEN staged.record_id IS NULL THEN 'missing'
            WHEN raw.record_id IS NULL OR staged.times > {times} THEN 'unexpected'
            ELSE 'mismatch' END AS kind,
       count(*) AS records,
       min(coalesce(raw.record_id, staged.record_id), {sample}) AS sample
FROM (SELECT connection_id, record_id, synced_at, removed_at FROM pg.raw.{leaf}) AS raw
FULL JOIN (
    SELECT connection_id, {key} AS record_id, min(synced_at) AS synced_at, min(removed_at) AS removed_at, count(*) AS times
    FROM lake.staging.{staging} WHERE bucket = {bucket} GROUP BY ALL
) AS staged ON raw.connection_id = staged.connection_id AND raw.record_id = staged.record_id
WHERE raw.record_id IS NULL OR staged.record_id IS NULL
   OR staged.times > {times} OR raw.synced_at IS DISTINCT FROM staged.synced_at OR raw.removed_at IS DISTINCT FROM staged.removed_at
GROUP BY ALL ORDER BY ALL
"""

_MARTED = """
WITH staged AS (
    SELECT DISTINCT connection_id, {key} AS record_id FROM lake.staging.{staging} WHERE bucket = {bucket}
),
ended AS (
    SELECT connection_id, {mart_key} AS record_id FROM lake.main.{mart} WHERE bucket = {bucket} AND {whose}
    UNION ALL
    SELECT connection_id, record_id FROM lake.main.excluded_records
    WHERE bucket = {bucket} AND provider = '{provider}' AND stream = '{stream}' AND model <> 'quarantine'
),
counted AS (
    SELECT coalesce(staged.connection_id, ended.connection_id) AS connection_id,
           coalesce(staged.record_id, ended.record_id) AS record_id,
           staged.record_id IS NOT NULL AS was, count(ended.record_id) AS times
    FROM staged FULL JOIN ended ON staged.connection_id = ended.connection_id AND staged.record_id = ended.record_id
    GROUP BY ALL
)
SELECT connection_id, CASE WHEN times = 0 THEN 'missing' ELSE 'unexpected' END AS kind, count(*) AS records,
       min(record_id, {sample}) AS sample
FROM counted WHERE times <> 1 OR NOT was
GROUP BY ALL ORDER BY ALL
"""

_PUBLISHED = """
SELECT count(*) FROM duckdb_tables() WHERE database_name = 'lake' AND schema_name = 'staging' AND table_name = ?
"""

_QUARANTINED = """
SELECT connection_id, stream, reason, count(*), (array_agg(coalesce(record_id, hash::text) ORDER BY 1))[1:5]
FROM raw.quarantine WHERE released_at IS NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


def verify(where: Servers, settings: Settings, *, connections: Sequence[str] | None = None) -> Report:
    """Compare what the syncs noted, what the store holds and what is published; all as of one instant.

    Raises:
        UsageError: there is no such connection.
    """
    started = time.monotonic()
    store = Store(where.postgres_url)
    known = {one.connection_id for one in store.connections(ids=connections)}
    for connection_id in connections or ():
        if connection_id not in known:
            raise UsageError(f"There is no connection {connection_id}; `ledgerlake connections` lists them.")
    findings: list[Finding] = []
    compared = 0
    with Lake(where, settings).reading() as at, store.connect() as postgres:
        postgres.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        postgres.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(at.postgres_snapshot)))
        for provider, stream in _streams():
            findings += _receipts_against_raw(postgres, provider, stream)
        findings += _quarantined(postgres)
        used = {(one.bucket, one.provider) for one in store.connections()}
        findings += [_not_compared(bucket) for bucket in sorted({bucket for bucket, _ in used} & at.behind)]
        for bucket, provider in sorted(used):
            if bucket not in at.behind:
                compared += _compare(at, provider, bucket, findings)
    mine = tuple(one for one in findings if one.connection_id is None or one.connection_id in known)
    return Report(compared, len(known), mine, time.monotonic() - started)


def _not_compared(bucket: int) -> Finding:
    message = f"bucket {bucket} was not compared: what is published of it is behind the store; run `ledgerlake build`"
    return Finding("not_compared", "marts", None, None, 0, (), message)


def _streams() -> list[tuple[str, str]]:
    return [(provider, stream.name) for provider, connector in PROVIDERS.items() for stream in connector.streams]


def _receipts_against_raw(postgres: psycopg.Connection, provider: str, stream: str) -> list[Finding]:
    """Each new record stands in one receipt and one row, each changed one in one receipt and one version."""
    query = sql.SQL(_RECEIPTS).format(table=sql.Identifier("raw", f"{provider}_{stream}"))
    found = []
    for connection_id, new, changed, held, kept in postgres.execute(query, {"provider": provider, "stream": stream}):
        for said, there, what in ((new, held, "rows"), (changed, kept, "superseded versions")):
            if said != there:
                kind: Kind = "missing" if there < said else "unexpected"
                message = (
                    f"receipts tell of {said:,} {what}, the store holds {there:,}: the store was changed from outside"
                )
                found.append(Finding(kind, "raw", connection_id, stream, abs(said - there), (), message))
    return found


def _quarantined(postgres: psycopg.Connection) -> list[Finding]:
    return [
        Finding("quarantined", "raw", connection_id, stream, count, tuple(sample), f"in quarantine: {reason}")
        for connection_id, stream, reason, count, sample in postgres.execute(_QUARANTINED)
    ]


def _compare(at: Reading, provider: str, bucket: int, findings: list[Finding]) -> int:
    """Compare one bucket of a provider from raw to its marts, and return how many raw records were compared."""
    compared = 0
    at.duck.execute("BEGIN")
    try:
        at.duck.execute(f"CALL postgres_execute('pg', $$SET TRANSACTION SNAPSHOT '{at.postgres_snapshot}'$$)")
        for stream in PROVIDERS[provider].streams:
            compared += _compare_stream(at.duck, provider, stream.name, bucket, findings)
    finally:
        at.duck.execute("ROLLBACK")
    return compared


def _compare_stream(duck: DuckDBPyConnection, provider: str, stream: str, bucket: int, findings: list[Finding]) -> int:
    staging = f"stg_{provider}__{stream}"
    mart, mart_key = _MARTS.get(stream, (None, None))
    names: dict[str, Any] = {
        "leaf": f"{provider}_{stream}_b{bucket}",
        "staging": staging,
        "key": _KEYS.get(stream, f"provider_{stream.removesuffix('s')}_id"),
        "mart": mart,
        "mart_key": mart_key,
        "whose": f"provider = '{provider}'" if stream in _SHARED else "true",
        "times": _LISTS if (provider, stream) in _OPENED else 1,
        "provider": provider,
        "stream": stream,
        "bucket": bucket,
        "sample": _SAMPLE,
    }
    counted = duck.execute(f"SELECT count(*) FROM pg.raw.{names['leaf']}").fetchone()  # noqa: S608 - our own names
    assert counted is not None
    if duck.execute(_PUBLISHED, [staging]).fetchone() == (0,):
        if counted[0]:
            what = f"{staging} is not published, so the {stream} of bucket {bucket} could not be compared"
            findings.append(Finding("not_compared", "staging", None, stream, counted[0], (), what))
        return 0
    rows = duck.execute(_STAGED.format(**names)).fetchall()
    findings += [_finding(row, "staging", stream, f"the store against {staging}") for row in rows]
    if mart is not None:
        rows = duck.execute(_MARTED.format(**names)).fetchall()
        findings += [_finding(row, "marts", stream, f"{staging} against {mart} and excluded_records") for row in rows]
    return int(counted[0])


def _finding(row: tuple[Any, ...], step: Any, stream: str, what: str) -> Finding:
    connection_id, kind, records, sample = row
    return Finding(kind, step, connection_id, stream, records, tuple(sample), f"{what}: {records:,} {kind}")
