"""The last step of a daily pass: that nothing was lost between what the providers said and what is published.

Does not belong here: how that is found out (``ledgerlake.integrity``).
"""

from collections import Counter
from collections.abc import Iterator

import dagster as dg

from ledgerlake.integrity import Report, verify
from orchestration import runs
from orchestration.engine import Engine
from orchestration.models import SNAPSHOT

LOSSES = frozenset({"missing", "unexpected", "mismatch"})
"""Kinds of findings that say a record was lost or made up; the others say what could not be compared."""

_MOST = 100


def build_audit(buckets: int) -> dg.AssetChecksDefinition:
    """The check on the snapshot."""
    spec = dg.AssetCheckSpec(
        "nothing_lost",
        asset=SNAPSHOT,
        description="Receipts, raw records, staging rows and published rows, compared record by record.",
    )

    @dg.multi_asset_check(name="verify", specs=[spec], description="Compares every step of every stream, both ways.")
    def verify_snapshot(
        context: dg.AssetCheckExecutionContext, engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.AssetCheckResult]:
        step = context.op_execution_context
        with runs.failures(step), engine.open(buckets=buckets) as opened:
            report = verify(opened.where, opened.settings)
        engine.watcher.verified(report)
        yield _result(spec, report)
        lost = [one for one in report.findings if one.kind in LOSSES]
        if lost:
            raise runs.failure(step, f"{len(lost)} findings. The first: {lost[0].message}", transient=False)

    return verify_snapshot


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
            f"| {', '.join(one.sample)} | {one.message.replace('|', '/')} |"
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
