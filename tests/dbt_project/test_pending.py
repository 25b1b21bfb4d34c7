"""Pending and posted of one purchase are never both counted, whichever way the provider has from one to the other."""

import asyncio
import datetime as dt
from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

import sandbox
from connectors import PROVIDERS
from ledgerlake.ingest import sync
from ledgerlake.lake import Lake
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault

TODAY = dt.date(2026, 3, 1)
DAYS = 6
BANKS = ("teller", "plaid", "tink", "gocardless")

Row = tuple[str, str, dt.date, Decimal]


@pytest.mark.timeout(300)
def test_what_was_pending_and_is_posted_is_counted_once_at_every_bank_provider(
    store: Store, vault: Vault, settings: Settings, lake: Lake
) -> None:
    world = sandbox.World.of(seed=1, customers=6, years=1, today=TODAY)
    with sandbox.Server(world, sandbox.Clock(TODAY)) as server, httpx.Client(base_url=server.control_url) as control:
        settings = settings.model_copy(update=_settings(server.where()))
        connections = _connect(control, store, vault)
        pending: dict[str, dict[str, Counter[Row]]] = defaultdict(dict)
        for days in range(DAYS):
            today = TODAY + dt.timedelta(days=days)
            control.post("/clock", json={"today": today.isoformat()})
            asyncio.run(sync(store, settings, today=today))
            for connection_id, (_, external_id) in connections.items():
                if days < DAYS - 1:
                    seen = pending[connection_id].setdefault("pending", Counter())
                    seen.update(set(_rows(control, external_id, "pending")))
        truth = {one: _rows(control, external_id) for one, (_, external_id) in connections.items()}

    lake.build(buckets=None)
    columns = "connection_id, provider_account_id, status, booked_on, amount"
    found: dict[str, Counter[Row]] = {one: Counter() for one in connections}
    for connection_id, *row in lake.query(f"select {columns} from fct_transactions").rows:
        found[str(connection_id)][(str(row[0]), str(row[1]), row[2], Decimal(row[3]))] += 1  # type: ignore[index]
    assert found == truth

    # And each provider showed purchases that were pending on one day and are not any more, most of them posted.
    gone = Counter(
        provider
        for connection_id, (provider, _) in connections.items()
        for row in pending[connection_id]["pending"]
        if row not in truth[connection_id]
    )
    assert {provider for provider, times in gone.items() if times > 3} == set(BANKS)
    posted_by_another_id = dict(
        lake.query("select provider, count(*) from excluded_records where stream = 'transactions' group by 1").rows
    )
    posted_by_the_same_id = dict(_same_id(store))
    assert {name for name in BANKS if posted_by_another_id.get(name)} == set(BANKS)
    # A pending row of GoCardless has no identity: the set is replaced, and none is posted by its id.
    assert set(posted_by_the_same_id) == {"teller", "tink"}


def _settings(where: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for provider in BANKS:
        keys = where.get(f"{provider}_credentials", {})
        given |= {f"{provider}_url": where[f"{provider}_url"], f"{provider}_requests_per_second": 1e6}
        given |= {f"{provider}_{name}": SecretStr(value) for name, value in keys.items()}
    return given


def _connect(control: httpx.Client, store: Store, vault: Vault) -> dict[str, tuple[str, str]]:
    """The provider of each connection, and its id there."""
    found = {}
    for one in control.get("/customers").json():
        if one["provider"] in BANKS:
            connector = PROVIDERS[one["provider"]]
            secrets = connector.secrets(one["secrets"])
            connection, _ = store.add_connection(
                vault,
                provider=one["provider"],
                external_id=connector.external_id(secrets),
                customer_id=one["customer_id"],
                secrets=secrets,
            )
            found[connection.connection_id] = (one["provider"], one["connection_id"])
    return found


def _rows(control: httpx.Client, external_id: str, *statuses: str) -> Counter[Row]:
    """What the bank shows now: account, status, day and amount."""
    told = control.get("/truth", params={"connection_id": external_id}).json()
    return Counter(
        (account["id"], row["status"], dt.date.fromisoformat(row["date"]), Decimal(row["amount"]))
        for account in told["accounts"]
        for row in account["transactions"]
        if not statuses or row["status"] in statuses
    )


def _same_id(store: Store) -> list[tuple[str, int]]:
    """How many records of each provider were pending in an older version, and are posted now."""
    found = []
    with store.connect() as connection:
        for provider in BANKS:
            row = connection.execute(
                f"""
                SELECT count(DISTINCT (connection_id, record_id))
                FROM raw.{provider}_transactions AS now JOIN raw.history AS before USING (connection_id, record_id)
                WHERE before.provider = '{provider}' AND before.stream = 'transactions'
                  AND before.pending AND NOT now.pending AND now.removed_at IS NULL
                """
            ).fetchone()
            assert row is not None
            if row[0]:
                found.append((provider, int(row[0])))
    return found
