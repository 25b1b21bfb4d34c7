"""Plaid against a server that keeps its protocol, and against servers that do not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from connectors import (
    PROVIDERS,
    Account,
    Ask,
    BadData,
    Complete,
    ConnectorError,
    Misconfigured,
    NeedsReauth,
    Page,
    Record,
    Rejected,
    Retryable,
)
from connectors.plaid import HISTORY, Plaid
from tests.connectors.suite import Reading, Unasked

pytestmark = pytest.mark.anyio

TOKEN = "access-production-canary7h3s3cr3t"
SECRET = "canary5ecretofapp"
SECRETS = {"access_token": SecretStr(TOKEN), "item_id": SecretStr("Item1")}
CREDENTIALS = {"client_id": SecretStr("client1"), "secret": SecretStr(SECRET)}
TODAY = date(2024, 3, 31)
SYNC = "POST /transactions/sync"
DONE = "HISTORICAL_UPDATE_COMPLETE"
READING = Reading(Plaid, SECRETS, TODAY, credentials=CREDENTIALS)
client, pages, read = READING.client, READING.pages, READING.read


def row(row_id: str, day: date | str = TODAY, *, pending: bool = False, **fields: Any) -> dict[str, Any]:
    return {
        "transaction_id": row_id,
        "account_id": "Acc1",
        "amount": 12.3,
        "iso_currency_code": "USD",
        "unofficial_currency_code": None,
        "date": str(day),
        "name": "COFFEE",
        "pending": pending,
        "pending_transaction_id": None,
    } | fields


def delta(
    added: Sequence[Any] = (),
    modified: Sequence[Any] = (),
    removed: Sequence[str] = (),
    *,
    cursor: str = "c1",
    more: bool = False,
    status: str = DONE,
) -> Any:
    body = {
        "accounts": [],
        "added": list(added),
        "modified": list(modified),
        "removed": [{"transaction_id": one, "account_id": "Acc1"} for one in removed],
        "next_cursor": cursor,
        "has_more": more,
        "transactions_update_status": status,
        "request_id": "r1",
    }
    return (200, body)


def fault(code: str, kind: str = "ITEM_ERROR", status: int = 400, **headers: str) -> Any:
    body = {"error_type": kind, "error_code": code, "error_message": "x", "display_message": None, "request_id": "r"}
    return (status, body, headers)


MUTATION = fault("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION", "TRANSACTIONS_ERROR")


def script(*answers: Any) -> Callable[[Any], Any]:
    """A server that gives these answers in turn, and holds each request to what Plaid asks of all."""
    left = list(answers)

    def say(heard: Any) -> Any:
        assert heard.method == "POST"
        assert heard.headers["plaid-client-id"] == "client1"
        assert heard.headers["plaid-secret"] == SECRET
        assert heard.headers["plaid-version"] == "2020-09-14"
        assert heard.json["access_token"] == TOKEN
        return left.pop(0)

    return say


async def failing(serve: Any, say: Any, stream: str = "transactions", **ask: Any) -> tuple[list[Page], ConnectorError]:
    """The pages that came before the error, and the error."""
    came: list[Page] = []
    async with serve(say) as server, client(server) as http:
        reading = Plaid(http.session(SECRETS)).read(stream, Ask(today=TODAY, known=Unasked(), **ask))

        async def drain() -> None:
            while True:
                came.append(await anext(reading))

        with pytest.raises(ConnectorError) as caught:
            await drain()
    return came, caught.value


async def heard(serve: Any, say: Any, **ask: Any) -> list[dict[str, Any]]:
    """What a read of transactions sends, without the token."""
    async with serve(say) as server, client(server) as http:
        await pages(http.session(SECRETS), **ask)
        return [{k: v for k, v in one.json.items() if k != "access_token"} for one in server.heard]


def record(one: dict[str, Any]) -> Record:
    return Record(
        one["transaction_id"],
        one["account_id"],
        date.fromisoformat(one["date"]),
        one["pending"],
        json.dumps(one).encode(),
    )


def size(answer: Any) -> int:
    return len(json.dumps(answer[1]).encode())


def page(answer: Any, records: Sequence[Record] = (), **fields: Any) -> Page:
    return Page(**{"stream": "transactions", "records": list(records), "request": SYNC, "size": size(answer), **fields})


@dataclass
class Store:
    """What a store holds after the pages of a read, by the rules of `Page`."""

    held: dict[str, bytes] = field(default_factory=dict)
    cursor: dict[str, Any] | None = None

    def take(self, read: Sequence[Page]) -> None:
        """Apply pages; what was not committed at the end does not count."""
        held, cursor = dict(self.held), self.cursor
        for one in read:
            if one.discard:
                held, cursor = dict(self.held), self.cursor
                continue
            for gone in one.removed:
                held.pop(gone, None)
            held |= {record.id: record.payload for record in one.records}
            cursor = one.cursor or cursor
            if one.commit:
                self.held, self.cursor = dict(held), cursor


def test_plaid_is_a_provider() -> None:
    assert PROVIDERS["plaid"] is Plaid
    assert [(one.name, one.scope, one.every_days) for one in Plaid.streams] == [
        ("accounts", "connection", 0),
        ("balances", "connection", 0),
        ("transactions", "connection", 0),
        ("item", "connection", 0),
    ]


def test_the_secrets_of_an_item_are_taken_and_masked() -> None:
    secrets = Plaid.secrets({"access_token": TOKEN, "item_id": "Item1"})
    assert {name: value.get_secret_value() for name, value in secrets.items()} == {
        "access_token": TOKEN,
        "item_id": "Item1",
    }
    assert TOKEN not in repr(secrets)
    assert Plaid.external_id(secrets) == "Item1"


UNFIT = (
    "access_token is not a text of printable characters without space around it;"
    " item_id is not a text of printable characters without space around it"
)


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({}, "access_token is missing; item_id is missing"),
        ({"access_token": TOKEN, "item_id": "i", "b": TOKEN, "a": 1}, "a is unknown; b is unknown"),
        (
            {"access_token": TOKEN + "\n", "item_id": 7},
            UNFIT,
        ),
    ],
)
def test_secrets_of_another_shape_are_refused_without_their_values(given: dict[str, object], faults: str) -> None:
    with pytest.raises(ValueError) as refused:
        Plaid.secrets(given)
    assert str(refused.value) == f"expected the secrets of a Plaid Item, {{access_token, item_id}}: {faults}"


@pytest.mark.parametrize(
    "credentials", [{}, {"client_id": SecretStr("client1")}, CREDENTIALS | {"secret": SecretStr("é")}]
)
async def test_without_the_applications_keys_nothing_is_sent(serve: Any, credentials: Any) -> None:
    async with serve(script()) as server, client(server, credentials=credentials) as http:
        with pytest.raises(Misconfigured, match="LEDGERLAKE_PLAID_CLIENT_ID") as caught:
            await pages(http.session(SECRETS))
        assert (caught.value.scope, server.heard) == ("provider", [])


CHECKING: dict[str, Any] = {
    "account_id": "Acc1",
    "balances": {
        "available": 100,
        "current": 110.25,
        "limit": None,
        "iso_currency_code": "USD",
        "unofficial_currency_code": None,
    },
    "mask": "0000",
    "name": "Checking",
    "official_name": None,
    "type": "depository",
    "subtype": "checking",
}
COINS: dict[str, Any] = CHECKING | {
    "account_id": "acc1",
    "type": "investment",
    "balances": {"available": None, "current": 0.5, "iso_currency_code": None, "unofficial_currency_code": "BTC"},
}
ITEM: dict[str, Any] = {"item_id": "Item1", "institution_id": "ins_3", "institution_name": "Chase", "error": None}
ACCOUNTS = (200, {"accounts": [CHECKING, COINS], "item": ITEM, "request_id": "r1"})


async def test_accounts_and_their_balances_come_in_one_request(serve: Any) -> None:
    async with serve(script(ACCOUNTS)) as server, client(server) as http:
        plaid = Plaid(http.session(SECRETS))
        listed_page, listed = await plaid.accounts(TODAY)
        balances = [one async for one in plaid.read("balances", Ask(today=TODAY, known=Unasked()))]
        assert server.targets == ["/accounts/get"]
    assert listed == [
        Account("Acc1", "depository", "USD", False, (), "ins_3", "Chase"),
        Account("acc1", "investment", "BTC", False, (), "ins_3", "Chase"),
    ]
    payloads = [json.dumps(one).encode() for one in (CHECKING, COINS)]
    told: dict[str, Any] = {"request": "POST /accounts/get", "size": size(ACCOUNTS)}
    assert listed_page == Page(
        stream="accounts",
        records=[Record("Acc1", "Acc1", None, False, payloads[0]), Record("acc1", "acc1", None, False, payloads[1])],
        complete=Complete(None, None),
        **told,
    )
    assert balances == [
        Page(
            stream="balances",
            records=[
                Record("Acc1:2024-03-31", "Acc1", TODAY, False, payloads[0]),
                Record("acc1:2024-03-31", "acc1", TODAY, False, payloads[1]),
            ],
            **told,
        )
    ]


async def test_balances_alone_are_asked_for(serve: Any) -> None:
    [only] = await read(serve, script(ACCOUNTS), "balances")
    assert [one.id for one in only.records] == ["Acc1:2024-03-31", "acc1:2024-03-31"]


@pytest.mark.parametrize(
    ("balances", "reason"),
    [
        ({"available": None, "current": None}, "neither available nor current is there, and one of them must be"),
        ({"available": "1.00"}, "amount '\"1.00\"' is not a number"),
        ({"available": 1, "limit": 1e400}, "amount 'Infinity' is not a number"),
    ],
)
async def test_a_reading_that_breaks_the_contract_goes_to_quarantine_under_its_id(
    serve: Any, balances: dict[str, Any], reason: str
) -> None:
    broken = CHECKING | {"balances": balances}
    body = json.dumps({"accounts": [broken, COINS], "item": ITEM}).replace("Infinity", "1e400").encode()
    [only] = await read(serve, script((200, body)), "balances")
    assert [one.id for one in only.records] == ["acc1:2024-03-31"]
    [rejected] = only.rejected
    assert (rejected.record_id, rejected.account_id) == ("Acc1:2024-03-31", "Acc1")
    assert rejected.reason == reason.replace(
        "'Infinity' is not a number", "'1e400' has more than 20 digits before the point"
    )


async def test_a_broken_account_and_an_item_of_another_shape_do_not_stop_the_others(serve: Any) -> None:
    answer = (200, {"accounts": [CHECKING | {"type": 7}, COINS], "item": "x"})
    async with serve(script(answer)) as server, client(server) as http:
        listed_page, listed = await Plaid(http.session(SECRETS)).accounts(TODAY)
    assert listed == [Account("acc1", "investment", "BTC", False, ())]
    assert [(one.record_id, one.reason) for one in listed_page.rejected] == [
        ("Acc1", "not an account of Plaid: Expected `str`, got `int` - at `$.type`")
    ]


async def test_a_loop_commits_its_pages_and_the_cursor_together_at_the_end(serve: Any) -> None:
    answers = [
        delta([row("a"), row("b", pending=True)], cursor="c1", more=True),
        delta([row("d")], [row("a", amount=5)], ["b"], cursor="c2", more=True),
        delta(cursor="c3"),
    ]
    assert await read(serve, script(*answers)) == [
        page(answers[0], [record(row("a")), record(row("b", pending=True))], commit=False),
        page(answers[1], [record(row("d")), record(row("a", amount=5))], removed=["b"], commit=False),
        page(answers[2], cursor={"cursor": "c3"}),
    ]


async def test_a_sync_begins_at_the_stored_cursor_and_pages_on_from_the_last(serve: Any) -> None:
    answers = [delta([row("a")], cursor="c1", more=True), delta(cursor="c2")]
    assert await heard(serve, script(*answers)) == [{"count": 500}, {"count": 500, "cursor": "c1"}]
    assert await heard(serve, script(*answers), cursor={"cursor": "c0"}) == [
        {"count": 500, "cursor": "c0"},
        {"count": 500, "cursor": "c1"},
    ]


async def test_a_sync_of_nothing_new_is_one_request(serve: Any) -> None:
    quiet = delta(cursor="c0")
    assert await read(serve, script(quiet), cursor={"cursor": "c0"}) == [page(quiet, cursor={"cursor": "c0"})]


async def test_a_row_that_one_answer_brings_and_removes_ends_removed(serve: Any) -> None:
    answer = delta([row("a"), row("b")], [row("c")], ["a", "c", "never seen"], cursor="c1")
    came = await read(serve, script(answer))
    assert came == [
        page(answer, [record(row("a")), record(row("b")), record(row("c"))], commit=False),
        page(answer, removed=["a", "c", "never seen"], cursor={"cursor": "c1"}),
    ]
    store = Store()
    store.take(came)
    assert set(store.held) == {"b"}


async def test_a_row_that_a_later_page_removes_ends_removed_and_one_that_it_restores_does_not(serve: Any) -> None:
    answers = [
        delta([row("a")], removed=["b"], cursor="c1", more=True),
        delta([row("b")], removed=["a"], cursor="c2"),
    ]
    store = Store({"b": b"old"})
    store.take(await read(serve, script(*answers)))
    assert set(store.held) == {"b"}


async def test_a_mutation_discards_the_loop_and_begins_it_again_where_it_began(serve: Any) -> None:
    answers = [
        delta([row("a")], cursor="c1", more=True),
        MUTATION,
        delta([row("b")], cursor="c5", more=True),
        delta([row("d")], cursor="c6"),
    ]
    async with serve(script(*answers)) as server, client(server) as http:
        came = await pages(http.session(SECRETS), cursor={"cursor": "c0"})
        assert [one.json.get("cursor") for one in server.heard] == ["c0", "c1", "c0", "c5"]
    assert came == [
        page(answers[0], [record(row("a"))], commit=False),
        page(MUTATION, discard=True, commit=False),
        page(answers[2], [record(row("b"))], commit=False),
        page(answers[3], [record(row("d"))], cursor={"cursor": "c6"}),
    ]
    store = Store()
    store.take(came)
    assert set(store.held) == {"b", "d"}


async def test_mutations_without_end_leave_the_cursor_where_it_was(serve: Any) -> None:
    answers = [delta([row("a")], more=True), MUTATION] * 4
    came, error = await failing(serve, script(*answers), cursor={"cursor": "c0"})
    assert isinstance(error, Retryable)
    assert (error.scope, error.code) == ("stream", "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")
    store = Store({"x": b""}, {"cursor": "c0"})
    store.take(came)
    assert (store.held, store.cursor) == ({"x": b""}, {"cursor": "c0"})


@pytest.mark.parametrize("failure", [fault("ITEM_LOGIN_REQUIRED"), fault("INTERNAL_SERVER_ERROR", "API_ERROR", 500)])
async def test_a_loop_that_fails_midway_has_committed_nothing(serve: Any, failure: Any) -> None:
    came, _ = await failing(serve, script(delta([row("a")], more=True), failure, failure))
    assert [(one.commit, one.cursor) for one in came] == [(False, None)]


@pytest.mark.parametrize(
    ("cursor", "status"),
    [("", "NOT_READY"), ("", "TRANSACTIONS_UPDATE_STATUS_UNKNOWN"), ("", "A_NEW_STATUS"), ("c1", "NOT_READY")],
)
async def test_an_item_that_is_not_ready_is_no_success_and_leaves_no_cursor(
    serve: Any, cursor: str, status: str
) -> None:
    answer = delta(cursor=cursor, status=status)
    came, error = await failing(serve, script(answer))
    assert came == [page(answer)]
    assert isinstance(error, Retryable)
    assert (error.scope, error.code) == ("stream", "NOT_READY")


async def test_an_item_without_transactions_is_a_success_without_a_cursor(serve: Any) -> None:
    answer = delta(cursor="")
    assert await read(serve, script(answer)) == [page(answer)]


async def test_rows_that_come_with_no_cursor_are_kept_and_come_again(serve: Any) -> None:
    answer = delta([row("a")], cursor="")
    came, error = await failing(serve, script(answer))
    assert came == [page(answer, [record(row("a"))])]
    assert (type(error), error.code) == (Retryable, "NOT_READY")


@pytest.mark.parametrize("length", [1, 2, 3, 7])
async def test_paging_in_a_circle_is_noticed(serve: Any, length: int) -> None:
    asked = 0

    def say(heard: Any) -> Any:
        nonlocal asked
        asked += 1
        assert asked < 50, "it goes round and round"
        return delta(cursor=f"c{asked % length}", more=True)

    came, error = await failing(serve, say)
    assert (type(error), error.scope) == (Retryable, "stream")
    assert not any(one.commit for one in came)


async def test_more_pages_without_a_cursor_are_no_end(serve: Any) -> None:
    came, error = await failing(serve, script(delta([row("a")], cursor="", more=True)))
    assert (came, type(error)) == ([], Retryable)


async def test_everything_again_leaves_the_cursor_alone_and_shows_what_is_absent(serve: Any) -> None:
    answers = [delta([row("a")], cursor="c1", more=True), delta([row("b")], cursor="c2")]
    async with serve(script(*answers)) as server, client(server) as http:
        came = await pages(http.session(SECRETS), cursor={"cursor": "c0"}, full=True)
        assert [one.json.get("cursor") for one in server.heard] == [None, "c1"]
    assert came == [
        page(answers[0], [record(row("a"))], commit=False),
        page(answers[1], [record(row("b"))], complete=Complete(None, TODAY - HISTORY)),
    ]


async def test_everything_of_an_item_still_filling_shows_nothing_to_be_absent(serve: Any) -> None:
    answer = delta([row("a")], status="INITIAL_UPDATE_COMPLETE")
    assert await read(serve, script(answer), full=True) == [page(answer, [record(row("a"))])]


async def test_a_cursor_that_plaid_takes_no_more_is_replaced_by_a_read_from_the_beginning(serve: Any) -> None:
    refused = fault("INVALID_FIELD", "INVALID_REQUEST")
    answers = [delta([row("z")], cursor="c1", more=True), refused, delta([row("a")], cursor="n1")]
    async with serve(script(*answers)) as server, client(server) as http:
        came = await pages(http.session(SECRETS), cursor={"cursor": "c0"})
        assert [one.json.get("cursor") for one in server.heard] == ["c0", "c1", None]
    assert came == [
        page(answers[0], [record(row("z"))], commit=False),
        page(refused, discard=True, commit=False),
        page(answers[2], [record(row("a"))], cursor={"cursor": "n1"}, complete=Complete(None, TODAY - HISTORY)),
    ]


async def test_a_refused_field_of_a_read_from_the_beginning_is_bad_data(serve: Any) -> None:
    came, error = await failing(serve, script(fault("INVALID_FIELD", "INVALID_REQUEST")))
    assert (came, type(error), error.code) == ([], BadData, "INVALID_FIELD")


async def test_a_cursor_of_another_version_is_named(serve: Any) -> None:
    came, error = await failing(serve, script(), cursor={"synced_on": "2024-03-01"})
    assert (came, type(error), error.scope) == ([], Misconfigured, "stream")


def ranged(rows: Sequence[Any], total: int) -> Any:
    return (200, {"accounts": [], "transactions": list(rows), "total_transactions": total, "item": ITEM})


RANGE = {"start_date": "2024-03-01", "end_date": "2024-05-01"}
SINCE = date(2024, 3, 1)


async def test_a_range_is_paged_by_offset_up_to_the_total_without_a_cursor(serve: Any) -> None:
    answers = [ranged([row("a"), row("b")], 3), ranged([row("d", SINCE)], 3)]
    async with serve(script(*answers)) as server, client(server) as http:
        came = await pages(http.session(SECRETS), cursor={"cursor": "c0"}, since=SINCE)
        assert [{k: v for k, v in one.json.items() if k != "access_token"} for one in server.heard] == [
            RANGE | {"options": {"count": 500, "offset": 0}},
            RANGE | {"options": {"count": 500, "offset": 2}},
        ]
    request = "POST /transactions/get"
    assert came == [
        page(answers[0], [record(row("a")), record(row("b"))], request=request),
        page(answers[1], [record(row("d", SINCE))], request=request, complete=Complete(None, SINCE)),
    ]


async def test_an_empty_range_is_complete(serve: Any) -> None:
    answer = ranged([], 0)
    assert await read(serve, script(answer), since=SINCE) == [
        page(answer, request="POST /transactions/get", complete=Complete(None, SINCE))
    ]


async def test_a_range_from_before_plaids_history_is_complete_only_within_it(serve: Any) -> None:
    [only] = await read(serve, script(ranged([row("a")], 1)), since=date(2020, 1, 1))
    assert only.complete == Complete(None, TODAY - HISTORY)


@pytest.mark.parametrize(
    "second",
    [ranged([row("d")], 4), ranged([], 3), ranged([row("b")], 3)],
    ids=["another total", "nothing more", "a row twice"],
)
async def test_a_range_that_changes_while_it_is_read_is_read_again(serve: Any, second: Any) -> None:
    first, good = ranged([row("a"), row("b")], 3), ranged([row("a"), row("b"), row("c")], 3)
    came = await read(serve, script(first, second, good), since=SINCE)
    assert [one.complete for one in came] == [None, None, Complete(None, SINCE)]
    came, error = await failing(serve, script(*[first, second] * 4), since=SINCE)
    assert (type(error), error.scope, {one.complete for one in came}) == (Retryable, "stream", {None})


async def test_a_broken_row_counts_towards_the_total_of_a_range(serve: Any) -> None:
    [only] = await read(serve, script(ranged([row("a"), {"amount": 1}], 2)), since=SINCE)
    assert (only.complete, len(only.rejected)) == (Complete(None, SINCE), 1)


STATUS = {"transactions": {"last_successful_update": "2024-03-31T01:02:03Z", "last_failed_update": None}}


async def test_the_item_is_kept_with_the_status_of_its_updates_but_not_the_requests_id(serve: Any) -> None:
    answer = (200, {"item": ITEM, "request_id": "r1", "status": STATUS})
    payload = b'{"item":%b,"status":%b}' % (json.dumps(ITEM).encode(), json.dumps(STATUS).encode())
    assert await read(serve, script(answer), "item") == [
        page(answer, [Record("Item1", None, None, False, payload)], stream="item", request="POST /item/get")
    ]


async def test_an_item_that_answers_but_needs_a_login_is_stored_and_says_so(serve: Any) -> None:
    broken = ITEM | {"error": {"error_type": "ITEM_ERROR", "error_code": "ITEM_LOGIN_REQUIRED"}}
    came, error = await failing(serve, script((200, {"item": broken, "status": STATUS})), "item")
    assert ([one.id for one in came[0].records], type(error)) == (["Item1"], NeedsReauth)
    new = ITEM | {"error": {"error_type": "ITEM_ERROR", "error_code": "SOMETHING_NEW"}}
    assert len(await read(serve, script((200, {"item": new})), "item")) == 1


async def test_an_item_without_its_id_goes_to_quarantine(serve: Any) -> None:
    [only] = await read(serve, script((200, {"item": {"error": None}})), "item")
    assert [one.reason for one in only.rejected] == [
        "not an Item of Plaid: Object missing required field `item_id` - at `$.item`"
    ]


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in row("t").items() if key != name}


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (without("transaction_id"), "not a transaction of Plaid: Object missing required field `transaction_id`"),
        (without("account_id"), "not a transaction of Plaid: Object missing required field `account_id`"),
        (without("amount"), "not a transaction of Plaid: Object missing required field `amount`"),
        (row("t", amount=None), "amount 'null' is not a number"),
        (row("t", amount="12.30"), "amount '\"12.30\"' is not a number"),
        (row("t", amount={"value": 1}), "amount '{\"value\": 1}' is not a number"),
        (row("t", amount=1.123456789), "amount '1.123456789' has more than 8 digits after the point"),
        (row("t", "2024-02-30"), "date '2024-02-30' is not a day of the calendar, YYYY-MM-DD"),
        (row("t", pending="no"), "not a transaction of Plaid: Expected `bool`, got `str` - at `$.pending`"),
        (row("t" * 256), f"id '{'t' * 63}…' is not 1 to 255 printable characters"),
    ],
)
async def test_a_transaction_that_breaks_the_contract_goes_to_quarantine_alone(
    serve: Any, broken: dict[str, Any], reason: str
) -> None:
    [only] = await read(serve, script(delta([broken, row("good")])))
    assert [one.id for one in only.records] == ["good"]
    known = broken.get("transaction_id", "")
    assert only.rejected == [
        Rejected(json.dumps(broken).encode(), reason, known if 0 < len(known) < 256 else None, broken.get("account_id"))
    ]
    assert only.cursor == {"cursor": "c1"}


async def test_a_removal_without_an_id_goes_to_quarantine_and_the_others_count(serve: Any) -> None:
    status, body = delta([], removed=["a"])
    body["removed"].append({"account_id": "Acc1"})
    [only] = await read(serve, script((status, body)))
    assert (only.removed, [one.reason for one in only.rejected]) == (
        ["a"],
        ["not a removed transaction of Plaid: Object missing required field `transaction_id`"],
    )


@pytest.mark.parametrize(
    "text",
    ["12.30", "0.30000000000000004", "1e2", "-0.0", "1234567890.1000001", "0.7999999999999999", "0.12345678", "5"],
)
async def test_amounts_are_taken_as_text_and_a_doubles_noise_is_no_fault(serve: Any, text: str) -> None:
    status, body = delta([row("a", amount="@")])
    raw = json.dumps(body).replace('"@"', text).encode()
    [only] = await read(serve, script((status, raw)))
    assert (only.rejected, f'"amount": {text},'.encode() in only.records[0].payload) == ([], True)


async def test_broken_utf_8_and_half_a_surrogate_set_their_own_record_aside(serve: Any) -> None:
    status, body = delta([row("a", name="@"), row("b", name="#"), row("d")])
    raw = json.dumps(body).encode().replace(b"@", b"\xff").replace(b"#", b"\\ud800")
    [only] = await read(serve, script((status, raw)))
    assert [one.id for one in only.records] == ["d"]
    assert [one.record_id for one in only.rejected] == ["a", "b"]
    assert only.cursor == {"cursor": "c1"}


async def test_what_the_connector_does_not_know_is_kept_byte_for_byte(serve: Any) -> None:
    odd = '{ "amount":12.30,"transaction_id":"T","new":{"a":[1.50]},\n"account_id":"A","date":"2024-03-31","pending":false }'
    body = f'{{"added":[{odd}],"modified":[],"removed":[],"next_cursor":"c","has_more":false,"more":{{"x":1}}}}'
    [only] = await read(serve, script((200, body.encode())))
    assert [one.payload for one in only.records] == [odd.encode()]
    assert only.cursor == {"cursor": "c"}


@pytest.mark.parametrize("change", [{"added": {}}, {"removed": None}, {"has_more": "no"}, {"next_cursor": None}])
@pytest.mark.parametrize("missing", [True, False])
async def test_an_answer_in_another_shape_is_bad_data(serve: Any, change: dict[str, Any], missing: bool) -> None:
    status, body = delta([row("a")])
    [name] = change
    body = {k: v for k, v in body.items() if k != name} if missing else body | change
    came, error = await failing(serve, script((status, body)))
    assert (came, type(error), error.scope) == ([], BadData, "stream")


@pytest.mark.parametrize("body", [[], "x", 1, None])
async def test_an_answer_that_is_no_object_is_bad_data(serve: Any, body: Any) -> None:
    came, error = await failing(serve, script((200, body)))
    assert (came, type(error), error.scope) == ([], BadData, "stream")


@pytest.mark.parametrize("stream", ["accounts", "identity"])
async def test_a_stream_that_cannot_be_read_so_is_a_bug(serve: Any, stream: str) -> None:
    with pytest.raises(ValueError, match="Plaid has no stream"):
        await read(serve, script(), stream)


async def test_no_single_record_is_shown(serve: Any) -> None:
    async with serve(script()) as server, client(server) as http:
        with pytest.raises(ValueError, match="no way to ask for one record"):
            await Plaid(http.session(SECRETS)).show("transactions", Account("a", "other", None, False, ()), "t")


async def test_a_limit_without_retry_after_waits_for_its_minute_and_one_with_it_does_as_told(serve: Any) -> None:
    limited = fault("TRANSACTIONS_SYNC_LIMIT", "RATE_LIMIT_EXCEEDED", 429)
    _, error = await failing(serve, script(limited, limited))
    assert isinstance(error, Retryable)
    assert error.retry_after == 30.0
    told = fault("TRANSACTIONS_SYNC_LIMIT", "RATE_LIMIT_EXCEEDED", 429, **{"Retry-After": "7"})
    _, error = await failing(serve, script(told, told))
    assert isinstance(error, Retryable)
    assert error.retry_after == 7.0


@dataclass
class Log:
    """An Item as a log of changes, whose cursor is a place in it: what Plaid promises, and a change while it is read."""

    log: list[tuple[str, str, int]] = field(default_factory=list)
    size: int = 2
    moves: list[tuple[int, tuple[str, str, int]]] = field(default_factory=list)
    asked: int = 0
    read_to: int | None = None

    def __call__(self, heard: Any) -> Any:
        self.asked += 1
        due = [event for at, event in self.moves if at == self.asked]
        self.moves = [(at, event) for at, event in self.moves if at != self.asked]
        self.log += due
        text = heard.json.get("cursor", "0:")
        place, end = text.split(":")
        if end and int(end) != len(self.log):
            return MUTATION
        at = int(place)
        events = self.log[at : at + self.size]
        after, more = at + len(events), at + len(events) < len(self.log)
        kinds: dict[str, list[Any]] = {"added": [], "modified": [], "removed": []}
        for kind, name, amount in events:
            kinds[kind].append(name if kind == "removed" else row(name, amount=amount))
        return delta(**kinds, cursor=f"{after}:{len(self.log) if more else ''}", more=more)

    def truth(self) -> dict[str, bytes]:
        held: dict[str, bytes] = {}
        for kind, name, amount in self.log:
            if kind == "removed":
                held.pop(name, None)
            else:
                held[name] = json.dumps(row(name, amount=amount)).encode()
        return held


def _events(draws: Sequence[tuple[str, int]]) -> list[tuple[str, str, int]]:
    """A log that can be: an id is added once, changed while it is there, and once removed stays away."""
    seen: dict[str, bool] = {}
    events = []
    for name, amount in draws:
        if name not in seen:
            seen[name] = True
            events.append(("added", name, amount))
        elif seen[name] and amount % 3 == 0:
            seen[name] = False
            events.append(("removed", name, 0))
        elif seen[name]:
            events.append(("modified", name, amount))
    return events


@pytest.fixture(scope="module")
def runner() -> Any:
    with asyncio.Runner() as running:
        yield running


DRAWS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 99)), max_size=24)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draws=DRAWS, cut=st.integers(0, 24), size=st.integers(1, 5), at=st.lists(st.integers(1, 6), max_size=2))
def test_incremental_syncs_with_changes_under_way_hold_what_the_item_holds(
    serve: Any, runner: asyncio.Runner, draws: list[tuple[str, int]], cut: int, size: int, at: list[int]
) -> None:
    events = _events(draws)
    late = [(when, ("added", f"late{number}", number)) for number, when in enumerate(at)]
    item = Log(events[:cut], size, late)

    async def syncs() -> Store:
        store = Store()
        async with serve(item) as server, client(server) as http:
            for more in (events[cut:], []):
                store.take(await pages(http.session(SECRETS), cursor=store.cursor))
                item.log += more
            item.moves.clear()
            store.take(await pages(http.session(SECRETS), cursor=store.cursor))
            everything = Store()
            everything.take(await pages(http.session(SECRETS), full=True))
            assert everything.held == item.truth()
        return store

    assert runner.run(syncs()).held == item.truth()


async def test_a_long_history_is_handed_on_page_by_page(serve: Any) -> None:
    asked = 0

    def say(heard: Any) -> Any:
        nonlocal asked
        asked += 1
        return delta([row(f"{asked}-{n}") for n in range(500)], cursor=f"c{asked}", more=asked < 20)

    async with serve(say) as server, client(server) as http:
        reading = Plaid(http.session(SECRETS)).read("transactions", Ask(today=TODAY, known=Unasked()))
        async for one in reading:
            assert len(one.records) == 500
            assert len(server.heard) == asked
    assert asked == 20
    assert timedelta(days=700) < HISTORY
