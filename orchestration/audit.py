"""The last step of a daily pass: that nothing was lost between what the providers said and what is published; and who is told.

Does not belong here: how that is found out (``ledgerlake.integrity``).
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator

import dagster as dg

from ledgerlake.errors import LedgerlakeError
from ledgerlake.integrity import WRONG, Findings, Report, verify
from ledgerlake.settings import Settings
from orchestration import runs
from orchestration.engine import Engine
from orchestration.models import SNAPSHOT
from orchestration.verified import Evidence, Places, evaluations, evidence_of, failed, table

_SHOWN = 5


def build_audit(places: Places, buckets: int) -> dg.AssetChecksDefinition:
    """The check on the snapshot, whose step also tells of the check `verified` on every stream and model.

    Those are events of its run and no outputs of the step, so that it runs whether or not a model was built.
    """
    spec = dg.AssetCheckSpec(
        "nothing_lost",
        asset=SNAPSHOT,
        description="Source, receipts, raw records, models and published files, compared record by record.",
    )

    @dg.multi_asset_check(
        name="verify",
        specs=[spec],
        description="Compares every step of every stream, both ways.",
        config_schema={"today": dg.Field(str, is_required=False, description="The day it is, as 2026-01-31.")},
    )
    def verify_snapshot(
        context: dg.AssetCheckExecutionContext, engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.AssetCheckResult]:
        step = context.op_execution_context
        today = step.op_config.get("today")
        try:
            with runs.failures(step), engine.open(buckets=buckets) as opened:
                report = verify(opened.where, opened.settings, today=dt.date.fromisoformat(today) if today else None)
                evidence, settings = evidence_of(opened.store, opened.settings), opened.settings
        except Exception as error:
            said = error.description if isinstance(error, dg.Failure) else None
            sentence = f"The verification broke off: {said or f'see the run {context.run.run_id}'}"
            _tell(step, failed(places, sentence))
            yield dg.AssetCheckResult(
                asset_key=spec.asset_key, check_name=spec.name, passed=False, description=sentence
            )
            raise
        engine.watcher.verified(report)
        _tell(step, evaluations(places, evidence, settings))
        yield _result(spec, report, evidence, settings)
        lost = [one for one in report.findings if one.kind in WRONG]
        if lost:
            raise runs.failure(step, f"{len(lost)} findings. The first: {lost[0].message}", transient=False)

    return verify_snapshot


def _tell(step: dg.OpExecutionContext, said: Iterable[dg.AssetCheckEvaluation]) -> None:
    for one in said:
        # Dagster takes it; only the annotation of the method leaves it out.
        step.log_event(one)  # type: ignore[arg-type]


def _result(spec: dg.AssetCheckSpec, report: Report, evidence: Evidence, settings: Settings) -> dg.AssetCheckResult:
    kinds = Counter(one.kind for one in report.findings)
    metadata: dict[str, dg.MetadataValue] = {
        "compared": dg.MetadataValue.int(report.compared),
        "connections": dg.MetadataValue.int(report.connections),
        "findings": dg.MetadataValue.int(len(report.findings)),
        "seconds": dg.MetadataValue.float(round(report.seconds, 3)),
    }
    if evidence.findings:
        metadata["what"] = dg.MetadataValue.md(table(evidence.findings, settings.console_url))
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
        severity=dg.AssetCheckSeverity.ERROR if WRONG & kinds.keys() else dg.AssetCheckSeverity.WARN,
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
