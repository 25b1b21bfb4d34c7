"""Stripe's sandbox, synced and built: the marts of billing add up to its truth, in every currency."""

import asyncio
import datetime as dt
from decimal import Decimal
from typing import Any

import httpx
import pytest

import sandbox
from connectors import PROVIDERS
from ledgerlake.ingest import sync
from ledgerlake.lake import Lake
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault

TODAY = dt.date(2026, 3, 1)
_AMOUNTS = {"invoices": "total"}
_FACTS = ("charges", "refunds", "payouts", "invoices", "balance_transactions", "subscriptions")


@pytest.fixture
def buckets() -> int:
    """Two: what is built is built of all of them."""
    return 2


def test_the_marts_of_billing_equal_the_sandboxes_truth_for_each_business_and_currency(
    store: Store, vault: Vault, settings: Settings, lake: Lake
) -> None:
    world = sandbox.World.of(seed=1, customers=12, years=1, today=TODAY)
    with sandbox.Server(world, sandbox.Clock(TODAY)) as server, httpx.Client(base_url=server.control_url) as control:
        here = settings.model_copy(update={"stripe_url": f"{server.url}/stripe", "stripe_requests_per_second": 10_000})
        told = [one for one in control.get("/customers").json() if one["provider"] == "stripe"]
        owners = {}
        for one in told:
            secrets = PROVIDERS["stripe"].secrets(one["secrets"])
            external_id = PROVIDERS["stripe"].external_id(secrets)
            connection, _ = store.add_connection(
                vault, provider="stripe", external_id=external_id, customer_id=one["customer_id"], secrets=secrets
            )
            owners[connection.connection_id] = one["connection_id"]

        for today in (TODAY, TODAY + dt.timedelta(days=9)):
            control.post("/clock", json={"today": today.isoformat()})
            report = asyncio.run(sync(store, here, today=today))
            assert {result.outcome for result in report.connections} == {"done"}, [
                one.error for one in report.connections
            ]
            lake.build(buckets=None)

            found = _totals(lake)
            for connection_id, account_id in owners.items():
                billing = control.get("/truth", params={"connection_id": account_id, "rows": "false"}).json()["billing"]
                told_of_it = {stream: _told(billing[stream]) for stream in _FACTS}
                assert {stream: found.get(stream, {}).get(connection_id, {}) for stream in _FACTS} == told_of_it


def _told(stream: dict[str, Any]) -> dict[str, tuple[int, Decimal]]:
    return {currency: (one["count"], Decimal(one["amount"])) for currency, one in stream["totals"].items()}


def _totals(lake: Lake) -> dict[str, dict[str, dict[str, tuple[int, Decimal]]]]:
    """Stream, connection and currency -> count and sum."""
    found: dict[str, dict[str, dict[str, tuple[int, Decimal]]]] = {}
    for stream in _FACTS:
        amount = "0" if stream == "subscriptions" else f"sum({_AMOUNTS.get(stream, 'amount')})"
        query = f"select connection_id, currency, count(*), {amount} from fct_{stream} group by all"
        for connection_id, currency, count, total in lake.query(query).rows:
            found.setdefault(stream, {}).setdefault(connection_id, {})[currency] = (count, Decimal(total))
    return found
