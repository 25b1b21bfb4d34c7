"""What the sensors decide, by the store and by what is under way."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from connectors import PROVIDERS
from ledgerlake.lake import Lake
from ledgerlake.store import Connection, Store, position
from orchestration import runs
from orchestration.sensors import announcement, due, failures_in_a_row

Evaluate = Callable[..., tuple[list[dg.RunRequest], str | None, str | None]]
NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def begin(instance: dg.DagsterInstance, definitions: dg.Definitions, job: str, **tags: str) -> dg.DagsterRun:
    """A run that is under way."""
    return instance.create_run_for_job(
        definitions.resolve_job_def(job),
        status=dg.DagsterRunStatus.STARTED,
        tags={f"ledgerlake/{name}": value for name, value in tags.items()},
    )


def test_all_new_connections_are_asked_for_in_one_run(evaluate: Evaluate, connect: Callable[[int], Connection]) -> None:
    added = [connect(index) for index in range(3)]
    others: dict[str, Any] = {f"sync_{name}": {"config": {"connections": []}} for name in PROVIDERS}
    requests, _, _ = evaluate("new_connections")
    assert [(one.run_key, one.run_config, one.tags) for one in requests] == [
        (
            None,
            {"ops": others | {"sync_teller": {"config": {"connections": [one.connection_id for one in added]}}}},
            {
                "ledgerlake/syncs": "new",
                "ledgerlake/connections": "3",
                "dagster/priority": "10",
                "dagster/sensor_name": "new_connections",
            },
        )
    ]


def test_nothing_is_asked_for_without_a_new_connection(
    evaluate: Evaluate,
) -> None:
    assert evaluate("new_connections") == ([], "No connection is new.", None)


def test_new_connections_wait_for_the_run_of_those_before_them(
    evaluate: Evaluate, definitions: dg.Definitions, instance: dg.DagsterInstance, connect: Callable[[int], Connection]
) -> None:
    connect(0)
    begin(instance, definitions, "sync_connections", syncs="new")
    assert evaluate("new_connections") == (
        [],
        "1 connections wait for the run that syncs the ones before them.",
        None,
    )


def test_new_connections_do_not_wait_for_the_daily_run(
    evaluate: Evaluate, definitions: dg.Definitions, instance: dg.DagsterInstance, connect: Callable[[int], Connection]
) -> None:
    connect(0)
    begin(instance, definitions, "daily", syncs="all", builds="dirty")
    requests, _, _ = evaluate("new_connections")
    assert len(requests) == 1


def test_a_run_whose_process_was_killed_is_ended_and_keeps_nobody_waiting(
    evaluate: Evaluate, definitions: dg.Definitions, instance: dg.DagsterInstance, connect: Callable[[int], Connection]
) -> None:
    connect(0)
    host = runs.process_tags()["ledgerlake/process"].partition(":")[0]
    run = begin(instance, definitions, "sync_connections", syncs="new", process=f"{host}:1:1.00")
    requests, _, _ = evaluate("new_connections")
    assert len(requests) == 1
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status == dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize(
    ("failures", "minutes", "is_due"), [(1, 1, False), (1, 3, True), (3, 7, False), (3, 9, True), (20, 61, True)]
)
def test_a_connection_that_cannot_be_synced_is_tried_ever_more_rarely(
    store: Store, connect: Callable[[int], Connection], failures: int, minutes: int, is_due: bool
) -> None:
    connection = connect(0)
    with store.connect() as postgres:
        for number in range(failures):
            postgres.execute(
                """
                INSERT INTO ledgerlake.syncs (connection_id, today, mode, started_at, ended_at, outcome)
                VALUES (%(id)s, '2026-03-01', 'incremental', %(at)s, %(at)s, 'retry')
                """,
                {
                    "id": connection.connection_id,
                    "at": NOW - dt.timedelta(minutes=minutes, hours=failures - 1 - number),
                },
            )
    assert [one.connection_id for one in due(store, NOW)] == ([connection.connection_id] if is_due else [])


def test_a_connection_that_needs_its_customer_is_not_due(store: Store, connect: Callable[[int], Connection]) -> None:
    connection = connect(0)
    store.set_state(connection.connection_id, "needs_reauth", "the customer has to sign in again")
    assert due(store, NOW) == []


def test_exactly_the_buckets_that_changed_are_asked_for_in_one_run(
    evaluate: Evaluate,
    connect: Callable[[int], Connection],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect(0)
    monkeypatch.setattr(Lake, "dirty", lambda _: [0, 2])
    requests, _, cursor = evaluate("changed_buckets")
    assert [(one.run_key, one.run_config, one.tags) for one in requests] == [
        (
            None,
            {"ops": {"build": {"config": {"buckets": [0, 2]}}}},
            {
                "ledgerlake/builds": "dirty",
                "ledgerlake/buckets": "0, 2",
                "dagster/asset_partition_range_start": "0",
                "dagster/asset_partition_range_end": "2",
                "dagster/sensor_name": "changed_buckets",
            },
        )
    ]
    again, why, _ = evaluate("changed_buckets", cursor)
    assert again == []
    assert why is not None
    assert why.startswith("Buckets 0, 2 were asked for and are not published")
    monkeypatch.setattr(Lake, "dirty", lambda _: [0, 2, 3])
    more, _, _ = evaluate("changed_buckets", cursor)
    assert len(more) == 1


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ({"builds": "dirty"}, "A build is under way."),
        ({"syncs": "new"}, "A sync is under way: its buckets are built when it is done."),
    ],
)
def test_no_build_is_asked_for_while_one_or_a_sync_is_under_way(
    evaluate: Evaluate,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    connect: Callable[[int], Connection],
    tags: dict[str, str],
    why: str,
) -> None:
    connect(0)
    begin(instance, definitions, "build_buckets", **tags)
    assert evaluate("changed_buckets") == ([], why, None)


def test_no_build_is_asked_for_without_a_connection(
    evaluate: Evaluate,
) -> None:
    assert evaluate("changed_buckets") == ([], "There is no connection yet.", None)


def test_a_store_that_does_not_fit_the_code_is_said_and_nothing_asked_for(evaluate: Evaluate, store: Store) -> None:
    newest = position(store.postgres_url).newest
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.schema_version SET version_num = '0001'")
    requests, why, _ = evaluate("new_connections")
    assert (requests, why) == (
        [],
        f"The store is at version 0001, this Ledgerlake needs {newest}: run `ledgerlake migrate`. Nothing was changed.",
    )


def test_failures_are_counted_since_a_run_last_went_through(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    job = definitions.resolve_job_def("daily")
    for status in ("FAILURE", "SUCCESS", "FAILURE", "FAILURE"):
        last = instance.create_run_for_job(job, status=dg.DagsterRunStatus(status))
    assert failures_in_a_row(instance, last) == 2


def test_the_first_failure_is_announced_and_its_repeats_ever_more_rarely() -> None:
    said = {times: announcement("daily", "no answer", times) for times in range(1, 9)}
    assert said == {
        1: "daily failed: no answer",
        2: "daily failed 2 times in a row, now: no answer",
        3: None,
        4: "daily failed 4 times in a row, now: no answer",
        5: None,
        6: None,
        7: None,
        8: "daily failed 8 times in a row, now: no answer",
    }
