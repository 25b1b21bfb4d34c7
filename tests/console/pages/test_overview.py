"""The first page: what needs somebody, and nothing where all is well."""

import datetime as dt

import pytest
from fastapi import FastAPI

from ledgerlake.integrity import Finding, Findings
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault
from tests.console.pages.conftest import Enter, Publish

pytestmark = pytest.mark.anyio


async def test_nothing_connected_says_how_to_begin(enter: Enter) -> None:
    async with enter("viewer") as client:
        page = (await client.get("/")).text

    assert "Nothing is connected yet" in page
    assert "No finding is open" in page


async def test_what_is_wrong_is_told_with_its_link(
    enter: Enter, store: Store, vault: Vault, settings: Settings
) -> None:
    made, _ = store.add_connection(vault, provider="gocardless", external_id="req", customer_id="ana", secrets={})
    store.set_state(made.connection_id, "needs_reauth", "the consent has ended")
    findings = Findings(store, settings)
    lost = Finding(kind="missing", step="raw", connection_id=made.connection_id, records=1, message="lost")
    today = dt.date(2026, 3, 1)
    findings.merge(findings.begin(today, None), [lost], (), today=today, scope=None, snapshot=None, compared=0)
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.verifications SET ended_at = now() - interval '3 days'")
        postgres.execute("UPDATE ledgerlake.findings SET severity = 'critical'")
        postgres.execute(
            """
            INSERT INTO ledgerlake.builds (build_id, ended_at, outcome, buckets, error)
            VALUES ('b', now(), 'failed', '{0}', 'test never_null <b>: 3 rows')
            """
        )
        postgres.execute(
            """
            INSERT INTO ledgerlake.cursors (connection_id, stream, account_id, cursor)
            SELECT %s, 'transactions', 'a', json_build_object('remaining', 0, 'reset_at', now() + interval '1 hour')
            """,
            (made.connection_id,),
        )
        postgres.execute(
            """
            INSERT INTO ledgerlake.webhook_events (provider, event_id, kind, received_at)
            VALUES ('teller', 'e', 'k', now() - interval '2 hours')
            """
        )
    async with enter("viewer") as client:
        page = (await client.get("/")).text

    for sentence in (
        '1 critical finding is open. <a href="/integrity">',
        "The last build failed: test never_null &lt;b&gt;: 3 rows.",
        '1 connection needs its customer. <a href="/connections?state=needs_reauth">',
        "1 of 1 daily budgets at gocardless are used up.",
        "1 webhook events wait, the oldest since",
        "No whole verification in 36 hours",
    ):
        assert sentence in page, sentence
    assert "No finding is open" not in page


async def test_a_lake_whose_s3_is_gone_is_told_of_and_its_pages_come_back(
    app: FastAPI, enter: Enter, publish: Publish
) -> None:
    publish(
        dim_customers=[{"customer_id": "ana", "connections": 1}],
        customer_months=[{"customer_id": "ana", "month": "2026-01-01", "currency": "USD"}],
    )
    lake = app.state.house.lake
    there = lake._where
    lake._where = type(there)(there.postgres_url, type(there.s3)(there.s3.url, "http://127.0.0.1:1", "k", "s", "r"))
    async with enter("viewer") as client:
        away = await client.get("/money")
        overview = await client.get("/")
        ready = await client.get("/readyz")
        lake.close()
        lake._where = there
        back = await client.get("/money")
        ready_again = await client.get("/readyz")

    assert (away.status_code, away.headers["retry-after"]) == (503, "5")
    assert "The lake is away" in away.text
    assert "127.0.0.1" not in away.text
    assert "The lake&#39;s files cannot be read" in overview.text
    assert (ready.status_code, ready.text) == (503, "The lake does not answer as it should.")
    assert (back.status_code, ready_again.status_code) == (200, 200)
