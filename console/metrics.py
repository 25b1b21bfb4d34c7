"""What machines ask: whether the process lives, whether it can work, and figures for Prometheus.

Belongs here: /healthz, /readyz and /metrics. Does not belong here: counting (``ledgerlake.figures``), alerts
(``orchestration``).

The figures are counted from the store when they are asked for, so that several consoles tell the same and a restart loses
nothing. Names follow https://prometheus.io/docs/practices/naming/; none of them names a customer.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import psycopg
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from console.house import House
from console.security import api, public
from ledgerlake.errors import LedgerlakeError
from ledgerlake.figures import budgets, connection_counts, finding_counts, last_builds, provider_totals, waiting
from ledgerlake.integrity import Findings
from ledgerlake.lake import LakeEmpty


def health_routes(pool: AsyncConnectionPool[Any], house: House | None) -> APIRouter:
    """The routes of health; with a house, also of the lake and of what Prometheus asks."""
    router = APIRouter()

    @router.get("/healthz", dependencies=[public("whoever watches the process asks")])
    async def lives() -> Response:
        return PlainTextResponse("ok")

    @router.get("/readyz", dependencies=[public("whoever watches the process asks")])
    async def can_work() -> Response:
        try:
            async with pool.connection() as postgres:
                await postgres.execute("SELECT FROM ledgerlake.store")
        except (psycopg.Error, PoolTimeout):
            return PlainTextResponse("PostgreSQL does not answer as it should.", 503)
        if house is not None:
            try:
                await run_in_threadpool(_lake_answers, house)
            except LedgerlakeError:
                return PlainTextResponse("The lake does not answer as it should.", 503)
        return PlainTextResponse("ok")

    if house is not None:
        right = public("LEDGERLAKE_METRICS_PUBLIC says so") if house.settings.metrics_public else api("read")

        @router.get("/metrics", dependencies=[right])
        def metrics() -> Response:
            registry = CollectorRegistry(auto_describe=False)
            registry.register(_Figures(house))
            return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _lake_answers(house: House) -> None:
    house.lake.check()
    try:
        house.lake.rows("select 1")
    except LakeEmpty:
        return


class _Figures(Collector):
    """The store's figures at the moment of the scrape."""

    def __init__(self, house: House) -> None:
        self._house = house

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        store, now = self._house.store, dt.datetime.now(dt.UTC)
        yield from _syncs(self._house)
        yield _gauge(
            "connections", "Connections by provider and state.", ("provider", "state"), connection_counts(store)
        )
        yield _gauge(
            "findings", "Findings that are not resolved, by severity.", ("severity",), finding_counts(store).items()
        )
        told = budgets(store)
        yield _gauge(
            *("budget_least_requests", "The least that is left of any account's daily requests.", ("provider",)),
            [(one.provider, one.least) for one in told],
        )
        yield _gauge(
            *("budgets_used_up", "Accounts and kinds of request with nothing left today.", ("provider",)),
            [(one.provider, one.used_up) for one in told],
        )
        left = waiting(store)
        yield _gauge("webhook_events_waiting", "Webhook events whose sync is not done.", (), [("", left.events)])
        yield _gauge("orders_waiting", "Orders of people that are not carried out.", (), [("", left.orders)])
        last = Findings(store, self._house.settings).last_verification()
        if last is not None:
            age = (now - last.ended_at).total_seconds()
            yield _gauge("verification_age_seconds", "Since the last whole verification ended.", (), [("", age)])
        builds = [one for one in last_builds(store, 20) if one.outcome == "published" and one.ended_at is not None]
        if builds and builds[0].ended_at is not None:
            age = (now - builds[0].ended_at).total_seconds()
            yield _gauge("build_age_seconds", "Since the last build was published.", (), [("", age)])


def _syncs(house: House) -> Iterator[Metric]:
    totals = provider_totals(house.store)
    syncs = CounterMetricFamily(
        "ledgerlake_syncs", "Syncs that ended, by how they ended.", labels=("provider", "outcome")
    )
    for one in totals:
        for outcome, count in one.outcomes.items():
            syncs.add_metric((one.provider, outcome), count)
    yield syncs
    for name, text, field in (
        ("records", "Records that syncs brought, new or changed.", "records"),
        ("requests", "Requests that syncs made.", "requests"),
        ("received_bytes", "Bytes that syncs fetched.", "bytes"),
    ):
        counter = CounterMetricFamily(f"ledgerlake_{name}", text, labels=("provider",))
        for one in totals:
            counter.add_metric((one.provider,), getattr(one, field))
        yield counter
    yield _gauge(
        *("lag_seconds", "Since the sync of the active connection that lags most went through.", ("provider",)),
        [(one.provider, one.lag_seconds) for one in totals if one.lag_seconds is not None],
    )


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Any) -> GaugeMetricFamily:
    """A gauge of rows (label, …, value); without labels of one row ("", value)."""
    gauge = GaugeMetricFamily(f"ledgerlake_{name}", text, labels=labels)
    for *given, value in values:
        gauge.add_metric(given if labels else (), value)
    return gauge
