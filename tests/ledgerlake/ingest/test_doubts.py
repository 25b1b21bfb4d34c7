"""What a complete read lacks: read again at once, believed at the next sync, or believed at once."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

from psycopg import AsyncConnection
from pydantic import SecretStr

from connectors import Complete, Page, Record
from ledgerlake.ingest._writer import Writer
from ledgerlake.store import Store, Vault

DAY = date(2026, 3, 1)


def record(name: str, *, pending: bool = False) -> Record:
    return Record(name, "acc_1", DAY, pending, json.dumps({"id": name}).encode())


def page(*names: str, complete: Complete | None = None, commit: bool = True, pending: tuple[str, ...] = ()) -> Page:
    records = [*(record(name) for name in names), *(record(name, pending=True) for name in pending)]
    return Page(stream="transactions", records=records, complete=complete, commit=commit, request="GET /", size=1)


def syncs(store: Store, vault: Vault, *each: Callable[[Writer], Awaitable[None]]) -> dict[str, str | None]:
    """Run syncs of one connection, one after the other; each record with why it was removed."""
    connection, _ = store.add_connection(
        vault, provider="teller", external_id="enr_1", customer_id="acme", secrets={"access_token": SecretStr("x")}
    )

    async def run() -> None:
        for work in each:
            async with await AsyncConnection.connect(store.postgres_url, autocommit=True) as postgres:
                cursor = await postgres.execute(
                    "INSERT INTO ledgerlake.syncs (connection_id, today, mode) VALUES (%s, %s, 'incremental') RETURNING sync_id",
                    (connection.connection_id, DAY),
                )
                row: Any = await cursor.fetchone()
                writer = Writer(
                    postgres,
                    provider="teller",
                    connection_id=connection.connection_id,
                    bucket=connection.bucket,
                    sync_id=row[0],
                )
                await writer.prepare()
                await writer.watch("transactions", "acc_1")
                await work(writer)

    asyncio.run(run())
    with store.connect() as postgres:
        rows = postgres.execute("SELECT record_id, removed_reason FROM raw.teller_transactions ORDER BY 1").fetchall()
    return dict(rows)


def writes(*pages: Page) -> Callable[[Writer], Awaitable[None]]:
    async def work(writer: Writer) -> None:
        for one in pages:
            await writer.write(one, account_id="acc_1")

    return work


def test_what_two_syncs_in_a_row_lack_is_removed_by_the_second(store: Store, vault: Vault) -> None:
    all_of_it = Complete("acc_1", None, doubt="next_sync")
    first, second = writes(page("a", "b")), writes(page("a", complete=all_of_it))
    assert syncs(store, vault, first, second) == {"a": None, "b": None}
    assert syncs(store, vault, second) == {"a": None, "b": "removed"}


def test_what_is_shown_in_between_is_no_doubt_any_more(store: Store, vault: Vault) -> None:
    all_of_it = Complete("acc_1", None, doubt="next_sync")
    lacking, whole = writes(page("a", complete=all_of_it)), writes(page("a", "b", complete=all_of_it))
    assert syncs(store, vault, writes(page("a", "b")), lacking, whole, lacking) == {"a": None, "b": None}


def test_a_set_that_is_whole_by_definition_is_believed_at_once_and_touches_no_other(store: Store, vault: Vault) -> None:
    pending = Complete("acc_1", None, of="pending", doubt="none")
    posted = Complete("acc_1", None, of="posted", doubt="next_sync")
    today = writes(page("a", complete=posted, commit=False), page(pending=("q",), complete=pending))
    assert syncs(store, vault, writes(page("a", "b", pending=("p",))), today) == {
        "a": None,
        "b": None,
        "p": "superseded",
        "q": None,
    }


def test_pages_that_were_given_up_leave_nothing(store: Store, vault: Vault) -> None:
    async def work(writer: Writer) -> None:
        await writer.write(page("wrong", commit=False), account_id="acc_1")
        await writer.roll_back()
        await writer.write(page("right"), account_id="acc_1")

    assert syncs(store, vault, work) == {"right": None}
