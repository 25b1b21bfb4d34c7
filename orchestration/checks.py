"""Checks on the raw streams that need no sync: is each connection's data fresh, and is anything in quarantine.

They read the store, so they run after a sync and every hour without one: a sync that did not happen is what they are
for. Does not belong here: dbt's tests (``models``).
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg

from connectors import PROVIDERS, Connector
from ledgerlake.ingest import switched_off
from ledgerlake.store import Store
from orchestration import runs
from orchestration.engine import Engine
from orchestration.streams import stream_key

DEADLINE = dt.timedelta(hours=26)
"""A day, and time for a daily pass that takes longer than yesterday's."""

_MOST = 100


@dataclass(frozen=True)
class Freshness:
    """When a stream of an active connection was last read to its end: the oldest over its accounts."""

    connection_id: str
    customer_id: str
    read_at: dt.datetime | None
    newest_on: dt.date | None


def build_raw_checks(buckets: int) -> list[dg.AssetChecksDefinition]:
    """One step a provider."""
    return [_provider(connector, buckets) for connector in PROVIDERS.values()]


def _provider(connector: type[Connector], buckets: int) -> dg.AssetChecksDefinition:
    provider = connector.provider
    daily = [stream.name for stream in connector.streams if not stream.every_days]
    fresh = {
        stream: dg.AssetCheckSpec(
            "fresh",
            asset=stream_key(provider, stream),
            description=f"Every active connection's {stream} were read to their end in the last {_hours(DEADLINE)} hours.",
        )
        for stream in daily
    }
    clean = {
        stream.name: dg.AssetCheckSpec(
            "quarantine_is_empty",
            asset=stream_key(provider, stream.name),
            description="No payload of this stream is in quarantine.",
        )
        for stream in connector.streams
    }

    @dg.multi_asset_check(
        name=f"check_{provider}",
        specs=[*fresh.values(), *clean.values()],
        can_subset=True,
        description=f"Looks at what the store holds of {provider}: fresh, and nothing in quarantine.",
    )
    def check_provider(
        context: dg.AssetCheckExecutionContext, engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.AssetCheckResult]:
        wanted = context.selected_asset_check_keys
        with runs.failures(context.op_execution_context), engine.open(buckets=buckets) as opened:
            off = switched_off(opened.store, opened.settings).get(provider)
            for stream, spec in fresh.items():
                if spec.key in wanted and off is not None:
                    yield _paused(spec, off)
                elif spec.key in wanted:
                    yield _freshness(spec, freshness(opened.store, provider, stream), dt.datetime.now(dt.UTC))
            for stream, spec in clean.items():
                if spec.key in wanted:
                    yield _quarantine(spec, quarantined(opened.store, provider, stream))
        run = context.instance.get_run_by_id(context.run.run_id)
        if run is not None and (sentence := run.tags.get(runs.UNREAD)):
            raise runs.failure(context.op_execution_context, sentence, transient=False)

    return check_provider


def freshness(store: Store, provider: str, stream: str) -> list[Freshness]:
    """The active connections of a provider, the one that waits longest first."""
    with store.connect() as connection:
        rows = connection.execute(
            """
            SELECT c.connection_id, c.customer_id,
                   least(c.last_synced_at, min(cursors.updated_at) FILTER (WHERE accounts.state IS DISTINCT FROM 'closed'
                                                                          AND accounts.state IS DISTINCT FROM 'vanished')),
                   max(cursors.read_on)
            FROM ledgerlake.connections c
            LEFT JOIN ledgerlake.cursors ON cursors.connection_id = c.connection_id AND cursors.stream = %(stream)s
            LEFT JOIN ledgerlake.accounts
                   ON accounts.connection_id = c.connection_id AND accounts.account_id = cursors.account_id
            WHERE c.provider = %(provider)s AND c.state = 'active'
            GROUP BY c.connection_id
            ORDER BY 3 NULLS FIRST, 1
            """,
            {"provider": provider, "stream": stream},
        ).fetchall()
    return [Freshness(*row) for row in rows]


def quarantined(store: Store, provider: str, stream: str) -> dict[str, int]:
    """How many payloads of a stream are in quarantine now, by reason."""
    with store.connect() as connection:
        rows = connection.execute(
            """
            SELECT reason, count(*) FROM raw.quarantine
            WHERE provider = %s AND stream = %s AND released_at IS NULL
            GROUP BY reason ORDER BY 2 DESC, 1
            """,
            (provider, stream),
        ).fetchall()
    return {reason: int(count) for reason, count in rows}


def _paused(spec: dg.AssetCheckSpec, why: str) -> dg.AssetCheckResult:
    """What nobody is to call need not be fresh; that it is so is shown, and is no warning."""
    return dg.AssetCheckResult(
        asset_key=spec.asset_key, check_name=spec.name, passed=True, description=f"Not called: paused, {why}."
    )


def _freshness(spec: dg.AssetCheckSpec, found: list[Freshness], now: dt.datetime) -> dg.AssetCheckResult:
    behind = [one for one in found if one.read_at is None or now - one.read_at > DEADLINE]
    if not found:
        description = "There is no active connection: nothing can be fresh. `ledgerlake connect` adds one."
    elif behind:
        description = f"{len(behind)} of {len(found)} active connections are behind."
    else:
        description = f"All {len(found)} active connections were read in the last {_hours(DEADLINE)} hours."
    known = [one.read_at for one in found if one.read_at is not None]
    metadata: dict[str, dg.MetadataValue] = {
        "connections_active": dg.MetadataValue.int(len(found)),
        "connections_behind": dg.MetadataValue.int(len(behind)),
    }
    if known:
        metadata["oldest_hours"] = dg.MetadataValue.float(round((now - min(known)) / dt.timedelta(hours=1), 2))
        metadata["oldest_read"] = dg.MetadataValue.timestamp(min(known))
    if behind:
        rows = [
            f"| {one.connection_id} | {one.customer_id} | {one.read_at or 'never'} | {one.newest_on or ''} |"
            for one in behind[:_MOST]
        ]
        metadata["behind"] = dg.MetadataValue.md(
            "\n".join(["| connection | customer | last read | for the day |", "|---|---|---|---|", *rows])
        )
    return dg.AssetCheckResult(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=bool(found) and not behind,
        severity=dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=metadata,
    )


def _quarantine(spec: dg.AssetCheckSpec, found: dict[str, int]) -> dg.AssetCheckResult:
    total = sum(found.values())
    metadata: dict[str, dg.MetadataValue] = {"quarantined": dg.MetadataValue.int(total)}
    if found:
        rows = [f"| {count} | {reason.replace('|', '/')} |" for reason, count in list(found.items())[:_MOST]]
        metadata["reasons"] = dg.MetadataValue.md("\n".join(["| payloads | reason |", "|---:|---|", *rows]))
    return dg.AssetCheckResult(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{total} payloads are in quarantine, for {len(found)} reasons."
        if found
        else "Nothing is in quarantine.",
        metadata=metadata,
    )


def _hours(span: dt.timedelta) -> int:
    return int(span / dt.timedelta(hours=1))
