"""The raw streams as assets: one step a provider, which syncs its connections and tells what each stream got.

Belongs here: specs and events of providers and raw streams. Does not belong here: how a sync works
(``ledgerlake.ingest``), checks on what it brought (``checks``).
"""

import asyncio
import datetime as dt
from collections.abc import Iterator, Sequence

import dagster as dg
from pydantic import Field

from connectors import PROVIDERS, Connector
from ledgerlake.ingest import ConnectionResult, Counts, SyncReport, sync
from orchestration import runs
from orchestration.engine import Engine

_NOT_CALLED = {"skipped", "paused"}
_QUIET = {"done", *_NOT_CALLED}
_CUSTOMER = {"needs_reauth", "gone"}

_SCOPE = {"connection": "one read for each connection", "account": "one read for each account"}


class SyncConfig(dg.Config):
    """What a sync fetches; by default what is new from every active connection, today."""

    today: str | None = None
    """The day it is, as 2026-01-31; for replays and the sandbox's clock."""
    since: str | None = None
    """Read everything dated that day or later again."""
    full: bool = False
    """Read everything again."""
    connections: list[str] | None = None
    """Only these connections."""
    since_of: dict[str, str] = Field(default_factory=dict)
    """Of some of them, by id, everything dated that day or later again, as webhooks name days."""


def api_key(provider: str) -> dg.AssetKey:
    return dg.AssetKey([provider, "api"])


def stream_key(provider: str, stream: str) -> dg.AssetKey:
    return dg.AssetKey(["raw", f"{provider}_{stream}"])


def source_specs() -> list[dg.AssetSpec]:
    """What others keep: each provider's API, and the tables that Ledgerlake itself writes beside the streams."""
    apis = [
        dg.AssetSpec(
            api_key(provider),
            description=f"{provider.capitalize()}'s API, where the customers' accounts are read.",
            group_name=provider,
            kinds={provider, "api"},
            owners=list(runs.OWNERS),
        )
        for provider in PROVIDERS
    ]
    known = [
        (["ledgerlake", "connections"], "One row a connection, with its state.", []),
        (["ledgerlake", "accounts"], "What the syncs learned of each account.", []),
        (["ledgerlake", "syncs"], "One row a sync of a connection.", []),
        (["ledgerlake", "findings"], "One row for each cause that a verification found.", []),
        (["ledgerlake", "verifications"], "One row a verification.", []),
        (["ledgerlake", "verification_results"], "How each stream of each connection fared at each step.", []),
        (
            ["raw", "quarantine"],
            "Payloads that break their stream's contract, byte for byte, with the reason.",
            [api_key(provider) for provider in PROVIDERS],
        ),
    ]
    return apis + [
        dg.AssetSpec(
            key,
            deps=deps,
            description=description,
            group_name="store",
            kinds={"postgres"},
            owners=list(runs.OWNERS),
            metadata={"dagster/table_name": ".".join(key)},
        )
        for key, description, deps in known
    ]


def build_sync_assets(buckets: int) -> list[dg.AssetsDefinition]:
    """One step a provider that gives all its streams."""
    return [_provider(connector, buckets) for connector in PROVIDERS.values()]


def _provider(connector: type[Connector], buckets: int) -> dg.AssetsDefinition:
    provider = connector.provider
    specs = [
        dg.AssetSpec(
            stream_key(provider, stream.name),
            deps=[api_key(provider)],
            description=(
                f"Every record of {provider.capitalize()}'s {stream.name} as the provider sent it: {_SCOPE[stream.scope]}"
                + (f", again after {stream.every_days} days." if stream.every_days else ", in every sync.")
            ),
            group_name=provider,
            kinds={provider, "postgres", "json"},
            owners=list(runs.OWNERS),
            tags={"layer": "raw"},
            metadata={"dagster/table_name": f"raw.{provider}_{stream.name}"},
        )
        for stream in connector.streams
    ]
    check = dg.AssetCheckSpec(
        "connections_synced",
        asset=specs[0].key,
        description="Every connection that was called was read to its end; those that somebody must look at are listed.",
    )

    @dg.multi_asset(
        name=f"sync_{provider}",
        specs=specs,
        check_specs=[check],
        description=f"Fetches what is new from every active {provider} connection.",
    )
    def sync_provider(
        context: dg.AssetExecutionContext, config: SyncConfig, engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.MaterializeResult[object] | dg.AssetCheckResult]:
        with runs.failures(context), engine.open(buckets=buckets) as opened:
            reports = [
                asyncio.run(
                    sync(
                        opened.store,
                        opened.settings,
                        providers=[provider],
                        connections=connections,
                        since=since,
                        full=config.full,
                        today=_day(config.today),
                        progress=engine.watcher.syncing,
                    )
                )
                for connections, since in _reads(config)
            ]
            report = SyncReport(
                tuple(one for each in reports for one in each.connections), sum(each.seconds for each in reports)
            )
            engine.watcher.synced(report)
        for spec, stream in zip(specs, connector.streams, strict=True):
            yield dg.MaterializeResult(
                asset_key=spec.key,
                metadata=_metadata(report, report.streams.get(f"{provider}_{stream.name}", Counts())),
            )
        yield _check(check, report)
        _note(context, provider, report)

    return sync_provider


def _reads(config: SyncConfig) -> list[tuple[Sequence[str] | None, dt.date | None]]:
    """The syncs of one step: one, or one more for each day from which some of the connections are read again."""
    whole, since = config.connections, _day(config.since)
    if not config.since_of:
        return [(whole, since)]
    rest = [one for one in whole or () if one not in config.since_of]
    by_day: dict[str, list[str]] = {}
    for connection_id, day in sorted(config.since_of.items()):
        by_day.setdefault(day, []).append(connection_id)
    reads: list[tuple[Sequence[str] | None, dt.date | None]] = [(rest, since)] if rest else []
    return reads + [(found, _day(day)) for day, found in sorted(by_day.items())]


def _day(text: str | None) -> dt.date | None:
    return dt.date.fromisoformat(text) if text else None


def _metadata(report: SyncReport, counts: Counts) -> dict[str, dg.MetadataValue]:
    """Numbers under the same names in every run, so that the UI plots them."""
    numbers = {
        "records_new": counts.new,
        "records_changed": counts.changed,
        "records_unchanged": counts.unchanged,
        "records_removed": counts.removed,
        "records_quarantined": counts.quarantined,
        "requests": report.requests,
        "bytes": report.bytes,
        "connections_done": sum(one.outcome == "done" for one in report.connections),
        "connections_skipped": sum(one.outcome == "skipped" for one in report.connections),
        "connections_paused": sum(one.outcome == "paused" for one in report.connections),
        "connections_failed": len(report.failed),
    }
    shown: dict[str, dg.MetadataValue] = {name: dg.MetadataValue.int(value) for name, value in numbers.items()}
    shown["seconds"] = dg.MetadataValue.float(round(report.seconds, 3))
    return shown


def _check(spec: dg.AssetCheckSpec, report: SyncReport) -> dg.AssetCheckResult:
    listed = [one for one in report.connections if one.outcome not in _QUIET]
    ours = [one for one in listed if one.outcome not in _CUSTOMER]
    resting = [one for one in report.connections if one.outcome in _NOT_CALLED]
    if not report.connections:
        description = "There is no connection yet: `ledgerlake connect` adds one."
    elif listed:
        description = f"{len(listed)} of {len(report.connections)} connections were not read to their end."
    elif resting:
        description = (
            f"{len(resting)} of {len(report.connections)} connections are not called, or were paused while they were read; "
            "the others were read to their end."
        )
    else:
        description = f"All {len(report.connections)} connections were read to their end."
    return dg.AssetCheckResult(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=bool(report.connections) and not listed,
        severity=dg.AssetCheckSeverity.ERROR if ours else dg.AssetCheckSeverity.WARN,
        description=description,
        metadata={
            name: dg.MetadataValue.md(table(results))
            for name, results in (("connections", listed), ("not_called", resting))
            if results
        },
    )


def table(results: Sequence[ConnectionResult], most: int = 100) -> str:
    """Connections with what came of them, as a Markdown table."""
    rows = ["| connection | customer | outcome | why |", "|---|---|---|---|"]
    rows += [
        f"| {one.connection_id} | {_cell(one.customer_id)} | {one.outcome} | {_cell(one.error or '')} |"
        for one in results[:most]
    ]
    if len(results) > most:
        rows.append(f"| and {len(results) - most} more | | | |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _note(context: dg.AssetExecutionContext, provider: str, report: SyncReport) -> None:
    """Write on the run that nothing could be read at all: its last step fails then, and a build goes on before that.

    What other providers brought, and what was stored before, is still to be built.
    """
    called = [one for one in report.connections if one.outcome not in _NOT_CALLED]
    failed = [one for one in called if one.outcome not in _CUSTOMER | {"done", "partial"}]
    if failed and len(failed) == len(called):
        sentence = f"None of {len(failed)} {provider} connections could be read. The first: {failed[0].error}"
        context.instance.add_run_tags(context.run.run_id, {runs.UNREAD: sentence})
