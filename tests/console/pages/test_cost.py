"""The page of cost and speed: what syncs took, and a slow new model on the day it lands."""

import csv
import io

import pytest

from ledgerlake.store import Store, Vault
from tests.console.pages.conftest import Enter

pytestmark = pytest.mark.anyio


@pytest.fixture
def synced(store: Store, vault: Vault) -> list[str]:
    """Two connections with syncs of today and one of last year."""
    ids = []
    for number, customer in enumerate(("=1+1", "ben")):
        made, _ = store.add_connection(
            vault, provider="teller", external_id=f"enr_{number}", customer_id=customer, secrets={}
        )
        ids.append(made.connection_id)
    with store.connect() as postgres:
        for connection_id, began, outcome, requests, size in (
            (ids[0], "date_trunc('day', now(), 'UTC')", "done", 5, 1000),
            (ids[1], "date_trunc('day', now(), 'UTC')", "done", 7, 2000),
            (ids[1], "date_trunc('day', now(), 'UTC')", "failed", 1, 10),
            (ids[1], "now() - interval '1 year'", "done", 1000, 10),
        ):
            postgres.execute(
                f"""
                INSERT INTO ledgerlake.syncs (connection_id, today, mode, started_at, ended_at, outcome, requests, bytes, new, changed)
                VALUES (%s, current_date, 'incremental', {began}, {began} + interval '2.5 s', %s, %s, %s, 3, 1)
                """,
                (connection_id, outcome, requests, size),
            )
    return ids


async def test_syncs_are_counted_by_day_and_connection(enter: Enter, synced: list[str]) -> None:
    async with enter("viewer") as client:
        days = list(csv.reader(io.StringIO((await client.get("/cost.csv")).text)))
        dear = list(csv.reader(io.StringIO((await client.get("/cost.csv?what=connections")).text)))
        page = await client.get("/cost")

    assert days[0] == ["day", "provider", "syncs", "failed", "requests", "bytes", "seconds", "records"]
    assert [row[1:] for row in days[1:]] == [["teller", "3", "1", "13", "3010", "7.500", "12"]]
    assert dear[1:] == [
        [synced[1], "ben", "teller", "", "2", "8", "2010", "5.000", "8"],
        [synced[0], "'=1+1", "teller", "", "1", "5", "1000", "2.500", "4"],
    ]
    assert page.status_code == 200
    assert '"x": ["' in page.text


async def test_a_slow_new_model_and_one_that_became_slow_are_told_of(enter: Enter, store: Store) -> None:
    with store.connect() as postgres:
        for hours, times in (
            (3, {"fct_transactions": 1.0, "dim_accounts": 0.1}),
            (2, {"fct_transactions": 3.0, "dim_accounts": 0.1}),
            (1, {"fct_transactions": 9.0, "dim_accounts": 0.3, "customer_risk": 6.5}),
        ):
            postgres.execute(
                """
                INSERT INTO ledgerlake.builds (build_id, started_at, ended_at, outcome, buckets)
                VALUES (%s, now() - make_interval(hours => %s), now(), 'published', '{0,1}')
                """,
                (f"build {hours}", hours),
            )
            for model, seconds in times.items():
                postgres.execute(
                    "INSERT INTO ledgerlake.build_models VALUES (%s, %s, %s, 10, 2)", (f"build {hours}", model, seconds)
                )
    async with enter("viewer") as client:
        rows = list(csv.reader(io.StringIO((await client.get("/cost.csv?what=models")).text)))
        page = (await client.get("/cost")).text

    assert [[*row[:2], *row[3:]] for row in rows] == [
        ["model", "build_id", "buckets", "rows", "seconds", "before", "builds"],
        ["fct_transactions", "build 1", "2", "10", "9.000", "2.000", "2"],
        ["customer_risk", "build 1", "2", "10", "6.500", "", "0"],
        ["dim_accounts", "build 1", "2", "10", "0.300", "0.100", "2"],
    ]
    assert "<code>customer_risk</code> is new, and takes 6.50 s." in page
    assert "<code>fct_transactions</code> took 9.00 s; it used to take 2.00 s." in page
    assert "<code>dim_accounts</code> took" not in page, "nobody notices a third of a second"
