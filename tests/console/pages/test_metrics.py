"""What Prometheus asks: with a token, of everybody only where the settings say so, and never a customer's name."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from console import create_app
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault

pytestmark = pytest.mark.anyio


async def asked(settings: Settings, postgres_url: str, path: str) -> httpx.Response:
    app = create_app(settings, postgres_url)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://c") as client:
        return await client.get(path)


async def test_without_a_token_it_is_refused_unless_the_settings_open_it(settings: Settings, postgres_url: str) -> None:
    closed = await asked(settings, postgres_url, "/metrics")
    opened = await asked(settings.model_copy(update={"metrics_public": True}), postgres_url, "/metrics")

    assert (closed.status_code, closed.headers["www-authenticate"]) == (401, "Bearer")
    assert opened.status_code == 200
    assert opened.headers["content-type"].startswith("text/plain")


async def test_figures_are_the_stores(settings: Settings, postgres_url: str, store: Store, vault: Vault) -> None:
    made, _ = store.add_connection(vault, provider="teller", external_id="e", customer_id="canary-customer", secrets={})
    with store.connect() as postgres:
        postgres.execute(
            "UPDATE ledgerlake.connections SET last_synced_at = now() - interval '100 s', institution_name = 'canary-bank'"
        )
        for outcome in ("done", "done", "retry", None):
            postgres.execute(
                """
                INSERT INTO ledgerlake.syncs (connection_id, today, mode, outcome, requests, bytes, new, changed)
                VALUES (%s, current_date, 'full', %s, 2, 10, 3, 1)
                """,
                (made.connection_id, outcome),
            )
        postgres.execute(
            "INSERT INTO ledgerlake.builds (build_id, ended_at, outcome, buckets) VALUES ('b', now() - interval '50 s', 'published', '{0}')"
        )
    answer = await asked(settings.model_copy(update={"metrics_public": True}), postgres_url, "/metrics")

    assert "canary" not in answer.text
    found = {  # the parser sorts labels by their names
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    lag, age = found.pop(("ledgerlake_lag_seconds", "teller")), found.pop(("ledgerlake_build_age_seconds",))
    assert 100 <= lag < 400
    assert 50 <= age < 350
    assert found == {
        ("ledgerlake_syncs_total", "done", "teller"): 2,
        ("ledgerlake_syncs_total", "retry", "teller"): 1,
        ("ledgerlake_records_total", "teller"): 12,
        ("ledgerlake_requests_total", "teller"): 6,
        ("ledgerlake_received_bytes_total", "teller"): 30,
        ("ledgerlake_connections", "teller", "active"): 1,
        **{("ledgerlake_findings", severity): 0 for severity in ("critical", "high", "medium", "low")},
        ("ledgerlake_webhook_events_waiting",): 0,
        ("ledgerlake_orders_waiting",): 0,
    }
