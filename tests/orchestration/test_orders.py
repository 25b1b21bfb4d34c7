"""Orders under Dagster: each becomes one run, and whatever becomes of that run is told; and the whole way of one."""

import asyncio
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import psycopg
import pytest
from pydantic import SecretStr

from connectors import PROVIDERS
from console import create_app
from ledgerlake.orders import Order, Orders
from ledgerlake.people import People
from ledgerlake.settings import Settings
from ledgerlake.store import Connection, Store
from orchestration import orders as sensors
from orchestration import runs
from orchestration.definitions import build_definitions
from orchestration.engine import Engine
from orchestration.outcomes import MADE_WITHIN, PATIENCE
from tests.ledgerlake.integrity.house import TODAY, House

Evaluate = Callable[..., tuple[list[dg.RunRequest], str | None, str | None]]
Connect = Callable[[int], Connection]
Make = Callable[[dg.RunRequest, str, str], dg.DagsterRun]


@pytest.fixture
def orders(store: Store) -> Orders:
    return Orders(store)


@pytest.fixture
def make(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Make:
    """The run that a request asks for, as the daemon makes it, in that state."""

    def made(request: dg.RunRequest, job: str, status: str) -> dg.DagsterRun:
        resolved = definitions.resolve_job_def(job)
        run = instance.create_run_for_job(
            resolved,
            run_config=request.run_config,
            tags={**resolved.tags, **request.tags},
            status=dg.DagsterRunStatus.STARTED,
        )
        if status == "FAILURE":
            instance.report_run_failed(run)
        elif status == "CANCELED":
            instance.report_run_canceled(run)
        elif status == "SUCCESS":
            instance.report_dagster_event(
                dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, resolved.name), run.run_id
            )
        return run

    return made


def told(orders: Orders) -> list[tuple[str | None, str | None]]:
    """What is shown of each order, the oldest first."""
    return [(one.outcome, one.message) for one in reversed(orders.newest())]


def later(store: Store, by: dt.timedelta) -> None:
    """As if the orders had been asked for and taken so long ago."""
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.orders SET taken_at = taken_at - %s, asked_at = asked_at - %s", (by, by))


def test_all_orders_of_syncs_are_one_run_and_each_is_asked_for_once(
    evaluate: Evaluate, orders: Orders, connect: Connect
) -> None:
    one, other = connect(0), connect(1)
    asked = [
        orders.sync("ana", one.connection_id),
        orders.sync("ana", other.connection_id, dt.date(2026, 2, 1)),
        orders.sync("ben", other.connection_id, dt.date(2026, 1, 5)),
    ]
    config: dict[str, Any] = {f"sync_{name}": {"config": {"connections": []}} for name in PROVIDERS}
    config["sync_teller"] = {
        "config": {
            "connections": sorted([one.connection_id, other.connection_id]),
            "since_of": {other.connection_id: "2026-01-05"},
        }
    }
    requests, _, _ = evaluate("sync_orders")
    assert [(each.run_key, each.run_config, each.tags) for each in requests] == [
        (
            None,
            {"ops": config},
            {
                "ledgerlake/syncs": "asked",
                "ledgerlake/orders": " ".join(str(order.order_id) for order in asked),
                "ledgerlake/connections": "2",
                "dagster/priority": "20",
                "dagster/sensor_name": "sync_orders",
            },
        )
    ]
    assert evaluate("sync_orders") == ([], "Nobody asked for a sync.", None)
    assert evaluate("repair_orders") == ([], "Nobody asked for a repair.", None)


def test_all_orders_of_repairs_are_one_run_and_no_more_than_a_tag_can_name(
    evaluate: Evaluate, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "MOST", 2)
    ids = [orders.repair("ana", finding_id).order_id for finding_id in (7, 8, 9)]
    assert evaluate("sync_orders") == ([], "Nobody asked for a sync.", None)
    asked = [evaluate("repair_orders")[0] for _ in range(2)]
    assert [[one.run_config for one in requests] for requests in asked] == [
        [{"ops": {"repair_findings": {"config": {"orders": ids[:2]}}}}],
        [{"ops": {"repair_findings": {"config": {"orders": ids[2:]}}}}],
    ]
    assert evaluate("repair_orders") == ([], "Nobody asked for a repair.", None)


@pytest.mark.parametrize("sensor", ["sync_orders", "repair_orders", "findings"])
def test_a_store_that_is_away_is_a_sentence_and_no_order_is_taken(
    settings: Settings, instance: dg.DagsterInstance, definitions: dg.Definitions, sensor: str
) -> None:
    away = Engine(settings.model_copy(update={"postgres_url": SecretStr("postgresql://x:y@127.0.0.1:1/canary")}))
    with dg.build_sensor_context(instance, resources={"engine": away}) as context:
        tick = definitions.resolve_sensor_def(sensor).evaluate_tick(context)
    assert tick.run_requests in ([], None)
    assert tick.skip_message is not None
    assert "127.0.0.1:1" in tick.skip_message or "PostgreSQL" in tick.skip_message


def test_an_order_whose_run_was_never_made_is_asked_for_again(
    evaluate: Evaluate, orders: Orders, store: Store, connect: Connect
) -> None:
    order = orders.sync("ana", connect(0).connection_id)
    assert len(evaluate("sync_orders")[0]) == 1
    assert evaluate("sync_orders")[0] == [], "its run may be on the way"
    later(store, MADE_WITHIN)
    [again] = evaluate("sync_orders")[0]
    assert again.tags["ledgerlake/orders"] == str(order.order_id)


def test_an_order_whose_run_waits_or_works_is_left_to_it_however_long_that_takes(
    evaluate: Evaluate, orders: Orders, store: Store, make: Make
) -> None:
    orders.repair("ana", 7)
    [request] = evaluate("repair_orders")[0]
    make(request, "repair", "STARTED")
    later(store, dt.timedelta(hours=5))
    assert evaluate("repair_orders")[0] == []
    assert evaluate("sync_orders")[0] == []
    assert told(orders) == [(None, None)]


@pytest.mark.parametrize(("status", "how"), [("FAILURE", "failed"), ("CANCELED", "was cancelled")])
def test_an_order_whose_run_failed_is_told_of_at_once(
    evaluate: Evaluate, orders: Orders, make: Make, connect: Connect, status: str, how: str
) -> None:
    orders.sync("ana", connect(0).connection_id)
    orders.repair("ana", 7)
    made = [
        make(evaluate(sensor)[0][0], job, status)
        for sensor, job in (("sync_orders", "sync_connections"), ("repair_orders", "repair"))
    ]
    for sensor in ("sync_orders", "repair_orders"):
        assert evaluate(sensor)[0] == []
    assert told(orders) == [("failed", f"its run {run.run_id} {how}; Dagster's UI shows why") for run in made]


def test_an_order_whose_run_was_killed_is_told_of_and_the_run_ended(
    evaluate: Evaluate, orders: Orders, instance: dg.DagsterInstance, make: Make
) -> None:
    orders.repair("ana", 7)
    [request] = evaluate("repair_orders")[0]
    run = make(request, "repair", "STARTED")
    host = runs.process_tags()["ledgerlake/process"].partition(":")[0]
    instance.add_run_tags(run.run_id, {"ledgerlake/process": f"{host}:1:1.00"})
    for _ in range(2):
        assert evaluate("repair_orders")[0] == []
    assert told(orders) == [("failed", f"its run {run.run_id} failed; Dagster's UI shows why")]


def test_an_order_waits_for_the_retry_of_its_run(
    evaluate: Evaluate, orders: Orders, instance: dg.DagsterInstance, make: Make, connect: Connect
) -> None:
    orders.sync("ana", connect(0).connection_id)
    [request] = evaluate("sync_orders")[0]
    run = make(request, "sync_connections", "FAILURE")
    instance.add_run_tags(run.run_id, {"dagster/will_retry": "true"})
    assert evaluate("sync_orders")[0] == []
    assert told(orders) == [(None, None)]
    make(request, "sync_connections", "STARTED")
    assert evaluate("sync_orders")[0] == []
    assert told(orders) == [(None, None)]


def test_a_retry_that_waits_is_not_taken_for_the_killed_run_whose_tags_it_has(
    evaluate: Evaluate, orders: Orders, instance: dg.DagsterInstance, make: Make, connect: Connect
) -> None:
    orders.sync("ana", connect(0).connection_id)
    [request] = evaluate("sync_orders")[0]
    killed = make(request, "sync_connections", "FAILURE")
    retry = make(request, "sync_connections", "STARTED")
    host = runs.process_tags()["ledgerlake/process"].partition(":")[0]
    instance.add_run_tags(
        retry.run_id, {"ledgerlake/process": f"{host}:1:1.00", "ledgerlake/process_of": killed.run_id}
    )
    assert evaluate("sync_orders")[0] == []
    found = instance.get_run_by_id(retry.run_id)
    assert found is not None
    assert (found.status, told(orders)) == (dg.DagsterRunStatus.STARTED, [(None, None)])


@pytest.mark.parametrize("pause", ["connection", "provider"])
def test_an_order_whose_connection_was_paused_meanwhile_is_told_of(
    evaluate: Evaluate, orders: Orders, store: Store, make: Make, connect: Connect, pause: str
) -> None:
    connection = connect(0).connection_id
    orders.sync("ana", connection)
    [request] = evaluate("sync_orders")[0]
    if pause == "connection":
        store.pause(connection, "moving", "ben")
    else:
        store.pause_provider("teller", "moving", "ben")
    make(request, "sync_connections", "SUCCESS")
    assert evaluate("sync_orders")[0] == []
    said = f"{connection} is paused: it was not called"
    assert told(orders) == [("failed", said if pause == "connection" else "it was not called: all of teller: moving")]


def test_an_order_that_met_another_sync_is_asked_for_again_for_a_while(
    evaluate: Evaluate, orders: Orders, store: Store, make: Make, connect: Connect
) -> None:
    orders.sync("ana", connect(0).connection_id)
    for _ in range(2):
        [request] = evaluate("sync_orders")[0]
        make(request, "sync_connections", "SUCCESS")
    later(store, PATIENCE)
    assert evaluate("sync_orders")[0] == []
    assert told(orders) == [("failed", "it was not called: another sync of it was running; ask again")]


Ask = Callable[..., Any]


def console(settings: Settings, postgres_url: str) -> Ask:
    """`ask(method, path)`: the console's API, by a program that may act."""
    _, token = People(Store(postgres_url)).add_token("test", "a program", ("read", "act"), 1)

    async def answered(method: str, path: str) -> Any:
        app = create_app(settings, postgres_url)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://c/api/v1/") as client,
        ):
            answer = await client.request(method, path, headers={"authorization": f"Bearer {token}"})
        assert answer.is_success, answer.text
        return answer.json()

    return lambda method, path: asyncio.run(answered(method, path))


def test_a_sync_that_is_asked_for_in_the_console_is_run_and_its_outcome_shown(
    evaluate: Evaluate,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    settings: Settings,
    postgres_url: str,
    connect: Connect,
) -> None:
    connection = connect(0).connection_id
    ask = console(settings, postgres_url)
    order = ask("POST", f"connections/{connection}/sync")
    [request] = evaluate("sync_orders")[0]
    config: Any = request.run_config
    config["ops"]["sync_teller"]["config"]["today"] = TODAY.isoformat()
    job = definitions.resolve_job_def("sync_connections")
    assert job.execute_in_process(config, instance=instance, tags=dict(request.tags)).success
    assert evaluate("sync_orders")[0] == []
    [shown] = ask("GET", f"connections/{connection}")["orders"]
    with psycopg.connect(postgres_url) as postgres:
        [new] = postgres.execute("SELECT new FROM ledgerlake.syncs").fetchall()
    assert (shown["order_id"], shown["outcome"], shown["message"]) == (
        *(order["order_id"], "done"),
        f"{new[0]} new, 0 changed, 0 removed",
    )


def test_a_repair_that_is_asked_for_in_the_console_is_run_and_its_outcome_shown(
    mine: House, instance: dg.DagsterInstance, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBT_TARGET_PATH", str(shared / "dbt"))
    [(record_id, payload)] = mine.run(
        """
        SELECT record_id, payload::text FROM raw.teller_transactions
        WHERE NOT pending AND removed_at IS NULL AND record_date BETWEEN '2026-02-10' AND '2026-02-20'
        ORDER BY connection_id, record_id LIMIT 1
        """
    )
    altered = payload.replace('"amount":"', '"amount":"9', 1)
    mine.run("UPDATE raw.teller_transactions SET payload = %s::json WHERE record_id = %s", altered, record_id)
    mine.verify()
    settings = mine.settings.model_copy(update={"buckets": Store(mine.where.postgres_url).buckets()})
    engine = Engine(settings)
    definitions = build_definitions(settings, engine)

    def evaluate() -> list[dg.RunRequest]:
        with dg.build_sensor_context(instance, resources={"engine": engine}) as context:
            return list(definitions.resolve_sensor_def("repair_orders").evaluate_tick(context).run_requests or ())

    ask = console(mine.settings, mine.where.postgres_url)
    [finding] = ask("GET", "findings")
    path = f"findings/{finding['finding_id']}"
    ask("POST", f"{path}/repair")
    # Nobody asks for it by the API, which looks first: the finding was settled since, say.
    Orders(Store(mine.where.postgres_url)).repair("ben", 4711)
    [request] = evaluate()
    config: Any = request.run_config
    config["ops"]["repair_findings"]["config"]["today"] = TODAY.isoformat()
    job = definitions.resolve_job_def("repair")
    assert job.execute_in_process(config, instance=instance, tags=dict(request.tags)).success
    assert evaluate() == []
    shown = ask("GET", path)
    assert shown["finding"]["state"] == "resolved"
    assert [(one["outcome"], one["message"]) for one in shown["orders"]] == [
        ("done", "mended: 0 new, 1 changed, 0 removed")
    ]
    assert told(Orders(Store(mine.where.postgres_url)))[1] == (
        "failed",
        "There is no finding 4711; `ledgerlake findings` lists them.",
    )


def test_a_repair_that_breaks_off_keeps_no_other_from_being_carried_out(
    definitions: dg.Definitions, instance: dg.DagsterInstance, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Order] = [orders.repair("ana", 1), orders.repair("ana", 2)]

    def broken(*given: Any, **_: Any) -> None:
        raise KeyError("canary-of-a-secret")

    monkeypatch.setattr(sensors, "repair", broken)
    done = definitions.resolve_job_def("repair").execute_in_process(
        {"ops": {"repair_findings": {"config": {"orders": [one.order_id for one in asked]}}}},
        instance=instance,
        raise_on_error=False,
    )
    assert not done.success
    assert told(orders) == [("failed", f"the repair broke off; see the run {done.run_id}")] * 2
