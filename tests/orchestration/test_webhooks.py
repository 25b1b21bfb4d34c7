"""The sensor of webhook events: what it asks for, and the whole way from a provider's delivery to a sync that is done."""

import asyncio
import contextlib
import datetime as dt
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import psycopg
import pytest
import uvicorn
from psycopg import AsyncConnection
from pydantic import SecretStr

import sandbox
from connectors import PROVIDERS
from connectors.webhooks import Event
from console import create_app
from console.server import config, listen
from ledgerlake.ingest import sync
from ledgerlake.lake import Lake
from ledgerlake.local import S3, Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Connection, Store, Vault, require_current
from ledgerlake.webhooks import keep
from orchestration.definitions import build_definitions
from orchestration.engine import Engine

Evaluate = Callable[..., tuple[list[dg.RunRequest], str | None, str | None]]

TODAY = dt.datetime.now(dt.UTC).date()
BEFORE = TODAY - dt.timedelta(days=3)
SYNCED, OURS, HOLDERS = "synced_at$", "(_at|_since)$", {"dim_customers", "dim_connections"}
SENDERS = ("plaid", "stripe", "teller", "tink")


@pytest.fixture
def buckets() -> int:
    """Two: what is built is built of all of them."""
    return 2


def tell(store: Store, provider: str, event: Event) -> None:
    async def kept() -> None:
        async with await AsyncConnection.connect(store.postgres_url, autocommit=True) as postgres:
            await keep(postgres, provider, event)

    asyncio.run(kept())


def synced(store: Store) -> None:
    """Every connection was synced a while ago."""
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.connections SET last_synced_at = now() - interval '1 hour'")


def test_the_connections_that_events_name_are_asked_for_once_in_one_run_without_a_key(
    evaluate: Evaluate, store: Store, vault: Vault, connect: Callable[[int], Connection]
) -> None:
    one, other = connect(0), connect(1)
    secrets = {"external_user_id": SecretStr("user"), "credentials_id": SecretStr("cred_1")}
    tink, _ = store.add_connection(vault, provider="tink", external_id="cred_1", customer_id="a", secrets=secrets)
    synced(store)
    for number, connection in enumerate((one, other, one)):
        tell(store, "teller", Event(event_id=f"wh_{number}", kind="k", asks=True, external_id=connection.external_id))
    window = dt.date(2026, 1, 5)
    tell(store, "tink", Event(event_id="a", kind="k", asks=True, external_id="cred_1", since=window))
    requests, _, _ = evaluate("webhook_events")
    expected: dict[str, Any] = {f"sync_{name}": {"config": {"connections": []}} for name in PROVIDERS} | {
        "sync_teller": {"config": {"connections": [one.connection_id, other.connection_id]}},
        "sync_tink": {"config": {"connections": [tink.connection_id], "since_of": {tink.connection_id: "2026-01-05"}}},
    }
    assert [(asked.run_key, asked.run_config, asked.tags) for asked in requests] == [
        (
            None,
            {"ops": expected},
            {
                "ledgerlake/syncs": "events",
                "ledgerlake/connections": "3",
                "dagster/priority": "10",
                "dagster/sensor_name": "webhook_events",
            },
        )
    ]
    assert evaluate("webhook_events") == ([], "No event asks for a sync.", None)


def test_events_wait_for_the_run_of_those_before_them_and_are_not_forgotten(
    evaluate: Evaluate,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    store: Store,
    connect: Callable[[int], Connection],
) -> None:
    connection = connect(0)
    synced(store)
    tell(store, "teller", Event(event_id="wh_1", kind="k", asks=True, external_id=connection.external_id))
    run = instance.create_run_for_job(
        definitions.resolve_job_def("sync_connections"),
        status=dg.DagsterRunStatus.STARTED,
        tags={"ledgerlake/syncs": "events"},
    )
    assert evaluate("webhook_events")[:2] == ([], "1 connections wait for the run of the events before theirs.")
    instance.report_run_failed(run)
    assert len(evaluate("webhook_events")[0]) == 1


def test_a_provider_that_is_paused_is_not_asked_for(
    evaluate: Evaluate, store: Store, connect: Callable[[int], Connection]
) -> None:
    connection = connect(0)
    synced(store)
    tell(store, "teller", Event(event_id="wh_1", kind="k", asks=True, external_id=connection.external_id))
    store.pause_provider("teller", "a test", "ana")
    assert evaluate("webhook_events")[0] == []
    store.resume_provider("teller", "ana")
    assert len(evaluate("webhook_events")[0]) == 1


def test_an_event_of_nobody_is_said_to_wait(evaluate: Evaluate, store: Store) -> None:
    tell(store, "plaid", Event(event_id="a", kind="k", asks=True, external_id="item_of_nobody"))
    assert evaluate("webhook_events")[:2] == (
        [],
        "No event asks for a sync. 1 name no connection of this store, and wait for it.",
    )


def test_the_retention_job_lets_old_events_go(
    definitions: dg.Definitions, instance: dg.DagsterInstance, store: Store
) -> None:
    for event_id in ("old", "new"):
        tell(store, "teller", Event(event_id=event_id, kind="k"))
    with store.connect() as postgres:
        postgres.execute(
            "UPDATE ledgerlake.webhook_events SET received_at = now() - interval '31 days' WHERE event_id = 'old'"
        )
    done = definitions.resolve_job_def("retention").execute_in_process(instance=instance)
    assert done.success
    with store.connect() as postgres:
        assert postgres.execute("SELECT event_id FROM ledgerlake.webhook_events").fetchall() == [("new",)]


# The whole way: a sandbox of its own, whose clock ends on the day that it is.


@pytest.fixture(scope="module")
def providers() -> Iterator[sandbox.Server]:
    world = sandbox.World.of(seed=3, customers=4, years=0, today=BEFORE)
    with sandbox.Server(world, sandbox.Clock(BEFORE)) as server:
        yield server


@pytest.fixture
def reached(settings: Settings, providers: sandbox.Server) -> Settings:
    """The test's own servers, and the sandbox as every provider, with the secrets of its webhooks."""
    told = providers.where()
    update: dict[str, Any] = {}
    for name in PROVIDERS:
        update[f"{name}_url"] = told[f"{name}_url"]
        update[f"{name}_requests_per_second"] = 1000
        update |= {f"{name}_{key}": SecretStr(value) for key, value in told.get(f"{name}_credentials", {}).items()}
        if (secrets := told.get(f"{name}_webhook_secrets")) is not None:
            update[f"{name}_webhook_secrets"] = tuple(map(SecretStr, secrets.split(",")))
    return settings.model_copy(update=update)


def connect_one_of_each(store: Store, settings: Settings, server: sandbox.Server) -> dict[str, str]:
    """One connection of each provider that sends webhooks, by provider."""
    added: dict[str, str] = {}
    for one in httpx.get(f"{server.control_url}/customers", trust_env=False).json():
        provider = one["provider"]
        if provider in SENDERS and provider not in added:
            secrets = PROVIDERS[provider].secrets(one["secrets"])
            connection, _ = store.add_connection(
                Vault.of(settings),
                provider=provider,
                external_id=PROVIDERS[provider].external_id(secrets),
                customer_id=one["customer_id"],
                secrets=secrets,
            )
            added[provider] = connection.connection_id
    return added


def sync_all(store: Store, settings: Settings, today: dt.date) -> None:
    report = asyncio.run(sync(store, settings, today=today))
    assert {one.outcome for one in report.connections} == {"done"}, [one.error for one in report.connections]


class _Uvicorn(uvicorn.Server):
    """A server that leaves signals to who runs the tests."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def console(settings: Settings, postgres_url: str) -> Iterator[str]:
    server = _Uvicorn(config(create_app(settings, postgres_url, only="webhooks")))
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def events(store: Store) -> list[tuple[str, bool, bool]]:
    """Provider, whether it names a connection, and whether it is handled: each combination once."""
    with store.connect() as postgres:
        return postgres.execute(
            """
            SELECT DISTINCT provider, connection_ids <> '{}', handled_at IS NOT NULL
            FROM ledgerlake.webhook_events ORDER BY 1, 2, 3
            """
        ).fetchall()


def calm(store: Store) -> None:
    """As if the syncs so far had been some minutes ago."""
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.syncs SET started_at = started_at - interval '5 minutes'")
        postgres.execute("UPDATE ledgerlake.webhook_events SET received_at = received_at - interval '1 second'")


def published(settings: Settings, postgres_url: str, s3: S3) -> list[tuple[Any, ...]]:
    """Every row of every mart, built and read, without the moments at which Ledgerlake itself did something."""
    lake = Lake(Servers(postgres_url, s3), settings)
    lake.build()
    marts = lake.query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'main'").rows
    rows = " UNION ALL ".join(
        f"""
        SELECT '{name}' AS mart, to_json(kept)::VARCHAR AS row
        FROM (SELECT COLUMNS(one -> NOT regexp_matches(one, '{OURS if name in HOLDERS else SYNCED}')) FROM {name}) AS kept
        """
        for (name,) in marts
    )
    return sorted(lake.query(rows).rows)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_signed_webhooks_lead_to_a_sync_of_what_they_name_and_the_marts_are_the_same_without_them(
    reached: Settings,
    postgres_url: str,
    empty_postgres_url: str,
    s3: S3,
    providers: sandbox.Server,
    instance: dg.DagsterInstance,
    shared: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DBT_TARGET_PATH", str(shared / "dbt"))
    require_current(empty_postgres_url, buckets=reached.buckets)
    store, without = Store(postgres_url), Store(empty_postgres_url)
    connected = connect_one_of_each(store, reached, providers)
    connect_one_of_each(without, reached, providers)
    for one in (store, without):
        sync_all(one, reached, BEFORE)

    with console(reached, postgres_url) as url, httpx.Client(base_url=providers.control_url, timeout=60) as control:
        for provider in SENDERS:
            body = {"provider": provider, "url": f"{url}/webhooks/{provider}"}
            assert control.post("/webhooks", json=body).status_code == 200
        control.post("/faults", json={"kind": "webhook_forged", "path": "/tink/account:updated", "times": 1})
        control.post("/clock", json={"days": 3})
        told = control.get("/webhooks", params={"wait": 60}).json()
        for provider, kind in (("teller", "webhook.test"), ("plaid", "ERROR")):
            external_id = store.connection(connected[provider]).external_id
            control.post("/webhooks/send", json={"provider": provider, "connection_id": external_id, "kind": kind})
    assert {one["state"] for one in told["deliveries"] if one["fault"] is None} == {"delivered"}
    assert [one["attempts"][0]["status"] for one in told["deliveries"] if one["fault"] == "webhook_forged"] == [412]
    assert {provider for provider, _, _ in events(store)} == set(SENDERS)

    engine = Engine(reached)
    definitions = build_definitions(reached, engine)

    def evaluate() -> Sequence[dg.RunRequest]:
        with dg.build_sensor_context(instance, resources={"engine": engine}) as context:
            return definitions.resolve_sensor_def("webhook_events").evaluate_tick(context).run_requests or ()

    calm(store)
    [request] = evaluate()
    asked = request.run_config["ops"]
    assert {name: asked[f"sync_{name}"]["config"]["connections"] for name in SENDERS} == {
        name: [connection_id] for name, connection_id in connected.items()
    }
    assert list(asked["sync_tink"]["config"]["since_of"]) == [connected["tink"]]
    job = definitions.resolve_job_def("sync_connections")
    assert job.execute_in_process(request.run_config, instance=instance, tags=dict(request.tags)).success
    assert evaluate() == ()
    # What is left are other customers' events, whose connections this store does not have.
    assert [one for one in events(store) if one[1] and not one[2]] == []

    with psycopg.connect(postgres_url) as postgres:
        modes = postgres.execute(
            "SELECT DISTINCT provider, mode FROM ledgerlake.syncs JOIN ledgerlake.connections USING (connection_id)"
        ).fetchall()
    assert sorted(modes) == [*((name, "incremental") for name in SENDERS), ("tink", "since")]

    for one in (store, without):
        sync_all(one, reached, TODAY)
    with_them = published(reached, postgres_url, s3)
    other = S3(f"{s3.url}/without", s3.endpoint, s3.access_key, s3.secret_key, s3.region)
    assert {"dim_connections", "fct_transactions", "fct_charges"} <= {mart for mart, _ in with_them}
    assert with_them == published(reached, empty_postgres_url, other)
