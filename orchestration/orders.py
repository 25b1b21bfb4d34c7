"""What people ask for in the console or by the API, as runs: syncs and refetches by the job that syncs, repairs by one of their own.

Belongs here: the sensors that take orders, the job that repairs. Does not belong here: the orders themselves
(``ledgerlake.orders``), what a repair does (``ledgerlake.integrity``).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from connectors import PROVIDERS, ConnectorError
from ledgerlake.errors import LedgerlakeError
from ledgerlake.integrity import repair
from ledgerlake.orders import Kind, Order, Orders
from orchestration import runs
from orchestration.engine import Engine
from orchestration.outcomes import follow

EVERY = 5
FIRST = 20
"""Somebody waits for it: before everything else."""

MOST = 200
"""How many orders one run carries out: their numbers are a tag of it, which PostgreSQL keeps in an index."""


_FETCHED: tuple[Kind, ...] = ("sync", "refetch")
_REPAIRED: tuple[Kind, ...] = ("repair",)


class RepairConfig(dg.Config):
    """Which orders are carried out."""

    orders: list[int]
    today: str | None = None
    """The day it is, as 2026-01-31; for replays and the sandbox's clock."""


def build_repair_job(buckets: int) -> dg.JobDefinition:
    """The job that carries out repairs, one after the other."""

    @dg.op(description="Fetches or builds again what each finding proposes, verifies, and says what came of it.")
    def repair_findings(context: dg.OpExecutionContext, config: RepairConfig, engine: dg.ResourceParam[Engine]) -> None:
        today = dt.date.fromisoformat(config.today) if config.today else None
        mended = failed = 0
        broken: list[Exception] = []
        with runs.failures(context), engine.open(buckets=buckets) as opened:
            orders = Orders(opened.store)
            for order in orders.listed(config.orders):
                if order.ended_at is not None or order.finding_id is None:
                    continue
                try:
                    report = repair(opened.where, opened.settings, order.finding_id, actor=order.actor, today=today)
                except (LedgerlakeError, ConnectorError) as error:
                    orders.end(order.order_id, "failed", str(error))
                    failed += 1
                    continue
                except Exception as error:
                    # The orders after it are other people's, and other findings.
                    orders.end(order.order_id, "failed", f"the repair broke off; see the run {context.run.run_id}")
                    broken.append(error)
                    failed += 1
                    continue
                counts = report.counts
                said = f"{counts.new} new, {counts.changed} changed, {counts.removed} removed"
                if report.mended:
                    orders.end(order.order_id, "done", f"mended: {said}")
                    mended += 1
                else:
                    orders.end(order.order_id, "failed", f"the finding is still there: {said}")
                    failed += 1
        context.add_output_metadata({"mended": mended, "failed": failed})
        if broken:
            raise broken[0]

    @dg.job(
        name="repair",
        executor_def=dg.in_process_executor,
        description="Repairs findings that somebody asked to be repaired.",
        tags={runs.REPAIRS: "asked", "dagster/max_retries": "0", **runs.priority(FIRST)},
    )
    def repair_job() -> None:
        repair_findings()

    return repair_job


def build_order_sensors(sync_job: Any, repair_job: Any, buckets: int) -> list[dg.SensorDefinition]:
    """The sensors that take orders: one for what is fetched, one for what is repaired."""

    @dg.sensor(
        job=sync_job,
        minimum_interval_seconds=EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Syncs what people asked for in the console or by the API, and says what came of it.",
    )
    def sync_orders(
        context: dg.SensorEvaluationContext, engine: dg.ResourceParam[Engine]
    ) -> dg.RunRequest | dg.SkipReason:
        try:
            with engine.open(buckets=buckets) as opened:
                orders = Orders(opened.store)
                follow(context.instance, opened.store, opened.settings, _FETCHED)
                providers = {one.connection_id: one.provider for one in opened.store.connections()}
                taken = orders.take([one for one in orders.waiting() if one.kind != "repair"][:MOST])
        except LedgerlakeError as error:
            return dg.SkipReason(str(error))
        if not taken:
            return dg.SkipReason("Nobody asked for a sync.")
        return dg.RunRequest(
            run_config={
                "ops": {f"sync_{provider}": {"config": _config(provider, taken, providers)} for provider in PROVIDERS}
            },
            tags={
                runs.SYNCS: "asked",
                runs.ORDERS: _numbers(taken),
                "ledgerlake/connections": str(len({one.connection_id for one in taken})),
                **runs.priority(FIRST),
            },
        )

    @dg.sensor(
        # By name: Dagster would make a copy of a sensor that has the job itself, through a parameter in beta.
        job_name=repair_job.name,
        minimum_interval_seconds=EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Repairs the findings that people asked to be repaired.",
    )
    def repair_orders(
        context: dg.SensorEvaluationContext, engine: dg.ResourceParam[Engine]
    ) -> dg.RunRequest | dg.SkipReason:
        try:
            with engine.open(buckets=buckets) as opened:
                orders = Orders(opened.store)
                follow(context.instance, opened.store, opened.settings, _REPAIRED)
                taken = orders.take([one for one in orders.waiting() if one.kind == "repair"][:MOST])
        except LedgerlakeError as error:
            return dg.SkipReason(str(error))
        if not taken:
            return dg.SkipReason("Nobody asked for a repair.")
        ids = [one.order_id for one in taken]
        return dg.RunRequest(
            run_config={"ops": {"repair_findings": {"config": {"orders": ids}}}}, tags={runs.ORDERS: _numbers(taken)}
        )

    return [sync_orders, repair_orders]


def _numbers(orders: Sequence[Order]) -> str:
    return " ".join(str(one.order_id) for one in orders)


def _config(provider: str, syncs: Sequence[Order], providers: Mapping[str, str]) -> dict[str, object]:
    """The provider's own connections, and of those that are to be read again the earliest day that somebody asked for."""
    days: dict[str, str] = {}
    ids: set[str] = set()
    for one in syncs:
        if one.connection_id is None or providers.get(one.connection_id) != provider:
            continue
        ids.add(one.connection_id)
        if one.since is not None:
            days[one.connection_id] = min(one.since.isoformat(), days.get(one.connection_id, "9999"))
    return {"connections": sorted(ids), **({"since_of": days} if days else {})}
