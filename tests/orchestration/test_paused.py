"""What is paused asks for no run, warns of nothing, and is shown."""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import pytest

from ledgerlake.settings import Settings
from ledgerlake.store import Connection, Store
from orchestration.definitions import build_definitions
from orchestration.engine import Engine

Evaluate = Callable[..., tuple[list[dg.RunRequest], str | None, str | None]]


def test_a_provider_that_is_switched_off_asks_for_no_sync_until_it_is_on_again(
    evaluate: Evaluate, store: Store, connect: Callable[[int], Connection]
) -> None:
    connect(0)
    store.pause_provider("teller", "moving", "ana")
    assert evaluate("new_connections") == ([], "No connection is new.", None)
    store.resume_provider("teller", "ana")
    requests, _, _ = evaluate("new_connections")
    assert len(requests) == 1


def test_a_sync_that_was_paused_is_asked_for_again_once_it_may_go_on(
    evaluate: Evaluate, store: Store, connect: Callable[[int], Connection]
) -> None:
    connection = connect(0)
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.connections SET last_synced_at = now() - interval '1 day'")
        postgres.execute(
            """
            INSERT INTO ledgerlake.syncs (connection_id, today, mode, started_at, ended_at, outcome)
            VALUES (%s, '2026-03-01', 'incremental', now() - interval '1 hour', now() - interval '1 hour', 'paused')
            """,
            (connection.connection_id,),
        )
    requests, _, _ = evaluate("new_connections")
    assert len(requests) == 1


@pytest.mark.parametrize("by", ["store", "settings"])
def test_freshness_and_a_sync_show_that_a_provider_is_paused_and_pass(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    store: Store,
    settings: Settings,
    connect: Callable[[int], Connection],
    by: str,
) -> None:
    connection = connect(0)
    why = "all of teller: moving" if by == "store" else "LEDGERLAKE_TELLER_ENABLED is false"
    if by == "store":
        store.pause_provider("teller", "moving", "ana")
    else:
        settings = settings.model_copy(update={"teller_enabled": False})
        definitions = build_definitions(settings, Engine(settings))

    looked = definitions.resolve_job_def("look").execute_in_process(instance=instance)
    fresh = [one for one in looked.get_asset_check_evaluations() if one.check_name == "fresh"]
    teller = {(one.passed, one.description) for one in fresh if one.asset_key.path[-1].startswith("teller_")}
    assert teller == {(True, f"Not called: paused, {why}.")}

    synced = definitions.resolve_job_def("sync_connections").execute_in_process(instance=instance)
    checks = [one for one in synced.get_asset_check_evaluations() if one.check_name == "connections_synced"]
    (check,) = [one for one in checks if one.asset_key.path[-1] == "teller_accounts"]
    assert (check.passed, check.description) == (
        True,
        "1 of 1 connections are not called, or were paused while they were read; the others were read to their end.",
    )
    shown: Mapping[str, Any] = check.metadata
    assert (
        f"| {connection.connection_id} | {connection.customer_id} | skipped | paused: {why} |"
        in shown["not_called"].value
    )
