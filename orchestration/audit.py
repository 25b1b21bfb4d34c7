"""The last step of a daily pass: that nothing was lost between what the providers said and what is published; and who is told.

Does not belong here: how that is found out (``ledgerlake.integrity``).
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Sequence

import dagster as dg

from connectors import PROVIDERS
from ledgerlake.errors import LedgerlakeError
from ledgerlake.integrity import Findings, Report, StoredFinding, verify
from orchestration import runs
from orchestration.engine import Engine
from orchestration.models import SNAPSHOT
from orchestration.streams import stream_key

LOSSES = frozenset({"missing", "unexpected", "duplicate", "mismatch"})
"""Kinds of findings that say a record was lost or made up; the others say what could not be compared."""

_MOST = 100
_SHOWN = 5


def build_audit(models: dg.AssetsDefinition, buckets: int) -> dg.AssetChecksDefinition:
    """The check on the snapshot, and one on each stream and model: whether it is where something was lost."""
    snapshot = dg.AssetCheckSpec(
        "nothing_lost",
        asset=SNAPSHOT,
        description="Source, receipts, raw records, models and published files, compared record by record.",
    )
    keys = [stream_key(provider, stream.name) for provider, one in PROVIDERS.items() for stream in one.streams]
    keys += sorted(key for key in models.keys if key != SNAPSHOT)
    parts = [
        dg.AssetCheckSpec(
            "verified", asset=key, description="No open finding of the last verification names this as its place."
        )
        for key in keys
    ]

    @dg.multi_asset_check(
        name="verify",
        specs=[snapshot, *parts],
        description="Compares every step of every stream, both ways.",
        config_schema={"today": dg.Field(str, is_required=False, description="The day it is, as 2026-01-31.")},
    )
    def verify_snapshot(
        context: dg.AssetCheckExecutionContext, engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.AssetCheckResult]:
        step = context.op_execution_context
        with runs.failures(step), engine.open(buckets=buckets) as opened:
            today = step.op_config.get("today")
            report = verify(opened.where, opened.settings, today=dt.date.fromisoformat(today) if today else None)
            open_ones = Findings(opened.store, opened.settings).listed()
            console = opened.settings.console_url
        engine.watcher.verified(report)
        yield _result(snapshot, report)
        for spec in parts:
            yield _part(spec, [one for one in open_ones if place(one) == spec.asset_key], report, console)
        lost = [one for one in report.findings if one.kind in LOSSES]
        if lost:
            raise runs.failure(step, f"{len(lost)} findings. The first: {lost[0].message}", transient=False)

    return verify_snapshot


def place(finding: StoredFinding) -> dg.AssetKey | None:
    """The asset at which a finding shows: its model, or its raw stream; None for one of the whole."""
    if finding.model is not None:
        layer = {"stg": "staging", "int": "intermediate"}.get(finding.model.partition("_")[0], "main")
        return dg.AssetKey([layer, finding.model])
    if finding.provider is not None and finding.stream is not None:
        return stream_key(finding.provider, finding.stream)
    return None


def _part(
    spec: dg.AssetCheckSpec, found: Sequence[StoredFinding], report: Report, console: str | None
) -> dg.AssetCheckResult:
    links = [
        f"[{one.finding_id}]({console}/integrity/{one.finding_id}): {one.message}"
        if console
        else f"{one.finding_id}: {one.message}"
        for one in found[:_MOST]
    ]
    return dg.AssetCheckResult(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=not found and bool(report.connections),
        severity=dg.AssetCheckSeverity.ERROR
        if any(one.kind in LOSSES for one in found)
        else dg.AssetCheckSeverity.WARN,
        description=(
            f"{len(found)} open findings: `ledgerlake findings show {found[0].finding_id}`."
            if found
            else "No open finding."
            if report.connections
            else "There is no connection yet: nothing could be compared."
        ),
        metadata={
            "findings": dg.MetadataValue.int(len(found)),
            "records": dg.MetadataValue.int(sum(one.records for one in found)),
            **({"what": dg.MetadataValue.md("\n".join(f"- {line}" for line in links))} if links else {}),
        },
    )


def _result(spec: dg.AssetCheckSpec, report: Report) -> dg.AssetCheckResult:
    kinds = Counter(one.kind for one in report.findings)
    metadata: dict[str, dg.MetadataValue] = {
        "compared": dg.MetadataValue.int(report.compared),
        "connections": dg.MetadataValue.int(report.connections),
        "findings": dg.MetadataValue.int(len(report.findings)),
        "seconds": dg.MetadataValue.float(round(report.seconds, 3)),
    }
    if report.findings:
        rows = [
            f"| {one.kind} | {one.step} | {one.connection_id or ''} | {one.stream or ''} | {one.records} "
            f"| {', '.join(each.record_id for each in one.sample[:_SHOWN])} | {one.message.replace('|', '/')} |"
            for one in report.findings[:_MOST]
        ]
        head = ["| kind | step | connection | stream | records | sample | what |", "|---|---|---|---|---:|---|---|"]
        metadata["what"] = dg.MetadataValue.md("\n".join([*head, *rows]))
    if not report.connections:
        description = "There is no connection yet: nothing could be compared."
    elif report.findings:
        description = "Findings: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) + "."
    else:
        description = f"{report.compared} records of {report.connections} connections, and nothing was lost."
    return dg.AssetCheckResult(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=bool(report.connections) and not report.findings,
        severity=dg.AssetCheckSeverity.ERROR if LOSSES & kinds.keys() else dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=metadata,
    )


def build_findings_sensor(buckets: int) -> dg.SensorDefinition:
    """The sensor that tells of findings: each once, and also of a verification that did not run."""

    @dg.sensor(
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of each new finding once, the most severe first, and of a verification that did not run.",
    )
    def findings(context: dg.SensorEvaluationContext, engine: dg.ResourceParam[Engine]) -> dg.SkipReason:
        try:
            with engine.open(buckets=buckets) as opened:
                kept = Findings(opened.store, opened.settings)
                kept.overdue()
                new = kept.unannounced()
                for one in new:
                    context.log.error(f"finding {one.finding_id}, {one.severity}: {one.message}")
                kept.announced([one.finding_id for one in new])
        except LedgerlakeError as error:
            return dg.SkipReason(str(error))
        told = "; ".join(f"{one.finding_id} ({one.severity}): {one.message}" for one in new[:_SHOWN])
        return dg.SkipReason(f"Told of {len(new)} findings: {told}" if new else "No finding is new.")

    return findings
