"""Teller against a server that keeps its protocol, and against servers that do not."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
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
    Gone,
    Misconfigured,
    NeedsReauth,
    Page,
    Record,
    Rejected,
    Retryable,
)
from connectors.teller import Teller
from tests.connectors.suite import Held, Reading, ids

pytestmark = pytest.mark.anyio

TOKEN = "token_canary7h3s3cr3t"
BASIC = base64.b64encode(f"{TOKEN}:".encode()).decode()
SECRETS = {"access_token": SecretStr(TOKEN), "enrollment_id": SecretStr("enr_1")}
TODAY = date(2024, 3, 31)
BANK = ("security_cu", "Security Credit Union")
CHECKING = Account("acc_1", "depository", "USD", False, ("balances", "transactions", "details"), *BANK)
PATH = "/accounts/acc_1/transactions"
READING = Reading(Teller, SECRETS, TODAY, CHECKING, Held())
client, pages, read = READING.client, READING.pages, READING.read


def row(name: str, day: date | str = TODAY, *, pending: bool = False, **fields: Any) -> dict[str, Any]:
    return {
        "id": name,
        "account_id": "acc_1",
        "amount": "-12.30",
        "date": str(day),
        "description": "COFFEE",
        "status": "pending" if pending else "posted",
        "type": "card_payment",
        "running_balance": None,
        "details": {"processing_status": "complete", "category": "dining", "counterparty": None},
    } | fields


@dataclass
class Bank:
    """
    Transactions as Teller serves them: newest first, `start_date`, `count`, and `from_id` as "older than", exclusive.

    `cut` says how many of the rows due a page really has, for the n-th request. `forgotten` are ids it no longer knows.
    """

    rows: list[dict[str, Any]]
    cut: Callable[[int, int], int] = lambda request, due: due
    pending_first: bool = False
    forgotten: set[str] = field(default_factory=set)
    asked: int = 0

    def __call__(self, heard: Any) -> Any:
        assert heard.headers["authorization"] == f"Basic {BASIC}"
        assert heard.headers["teller-version"] == "2020-10-12"
        assert heard.path == PATH
        query = heard.query
        self.asked += 1
        rows = sorted(self.rows, key=lambda one: one["date"], reverse=True)
        if self.pending_first:
            rows.sort(key=lambda one: one["status"] != "pending")
        if from_id := query.get("from_id"):
            ids = [one["id"] for one in rows]
            if from_id in self.forgotten or from_id not in ids:
                return not_found()
            rows = rows[ids.index(from_id) + 1 :]
        rows = [one for one in rows if one["date"] >= query.get("start_date", "")]
        due = min(len(rows), int(query["count"]))
        return (200, rows[: max(min(1, due), self.cut(self.asked, due))])


def fault(status: int, code: str, message: str = "x", **headers: str) -> Any:
    return (status, {"error": {"code": code, "message": message}}, headers)


def not_found() -> Any:
    return fault(404, "not_found")


def record(one: dict[str, Any]) -> Record:
    return Record(
        one["id"],
        one["account_id"],
        date.fromisoformat(one["date"]),
        one["status"] == "pending",
        json.dumps(one).encode(),
    )


UNFIT = (
    "access_token is not a text of printable characters without space around it;"
    " enrollment_id is not a text of printable characters without space around it"
)


def test_teller_is_a_provider() -> None:
    assert PROVIDERS["teller"] is Teller
    assert [(one.name, one.scope, one.every_days) for one in Teller.streams] == [
        ("accounts", "connection", 0),
        ("balances", "account", 0),
        ("transactions", "account", 0),
        ("details", "account", 30),
        ("identity", "connection", 30),
    ]


def test_the_secrets_of_an_enrollment_are_taken_and_masked() -> None:
    secrets = Teller.secrets({"access_token": TOKEN, "enrollment_id": "enr_1"})
    assert {name: value.get_secret_value() for name, value in secrets.items()} == {
        "access_token": TOKEN,
        "enrollment_id": "enr_1",
    }
    assert TOKEN not in repr(secrets)
    assert Teller.external_id(secrets) == "enr_1"


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({}, "access_token is missing; enrollment_id is missing"),
        ({"access_token": TOKEN}, "enrollment_id is missing"),
        ({"access_token": TOKEN, "enrollment_id": "enr_1", "b": TOKEN, "a": 1}, "a is unknown; b is unknown"),
        (
            {"access_token": TOKEN + "\n", "enrollment_id": 7},
            UNFIT,
        ),
        (
            {"access_token": "", "enrollment_id": "enr_é"},
            UNFIT,
        ),
    ],
)
def test_secrets_of_another_shape_are_refused_without_their_values(given: dict[str, object], faults: str) -> None:
    with pytest.raises(ValueError) as refused:
        Teller.secrets(given)
    assert str(refused.value) == (
        f"expected the secrets of a Teller enrollment, {{access_token, enrollment_id}}: {faults}"
    )


ACCOUNT: dict[str, Any] = {
    "enrollment_id": "enr_1",
    "links": {
        "balances": "https://api.teller.io/accounts/acc_1/balances",
        "transactions": "https://api.teller.io/accounts/acc_1/transactions",
        "details": "https://api.teller.io/accounts/acc_1/details",
        "payments": "https://api.teller.io/accounts/acc_1/payments",
        "self": "https://api.teller.io/accounts/acc_1",
    },
    "institution": {"name": "Security Credit Union", "id": "security_cu"},
    "type": "depository",
    "name": "My Checking",
    "subtype": "checking",
    "currency": "USD",
    "id": "acc_1",
    "last_four": "7857",
    "status": "open",
}


async def accounts(serve: Any, say: Any) -> tuple[Page, list[Account]]:
    async with serve(say) as server, client(server) as http:
        return await Teller(http.session(SECRETS)).accounts(TODAY)


async def test_accounts_are_listed_with_the_streams_that_the_bank_supports(serve: Any) -> None:
    card = ACCOUNT | {"id": "acc_2", "type": "credit", "links": {"self": "x", "transactions": "x", "balances": None}}
    closed = ACCOUNT | {"id": "acc_3", "status": "closed", "currency": None}
    odd = ACCOUNT | {"id": "acc_4", "type": "loan", "status": "frozen", "subtype": "new", "more": [1.50, {}]}
    body = json.dumps([ACCOUNT, card, closed, odd], indent=1).encode()
    page, listed = await accounts(serve, lambda heard: (200, body))
    assert listed == [
        CHECKING,
        Account("acc_2", "credit", "USD", False, ("transactions",), *BANK),
        Account("acc_3", "depository", None, True, (), *BANK),
        Account("acc_4", "loan", "USD", False, ("balances", "transactions", "details"), *BANK),
    ]
    assert page == Page(
        stream="accounts",
        records=[
            Record(one, one, None, False, page.records[at].payload)
            for at, one in enumerate(["acc_1", "acc_2", "acc_3", "acc_4"])
        ],
        complete=Complete(None, None),
        request="GET /accounts",
        size=len(body),
    )
    assert [one.payload in body for one in page.records] == [True] * 4
    assert [json.loads(one.payload) for one in page.records] == [ACCOUNT, card, closed, odd]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"id": ""}, "id '' is not 1 to 255 printable characters"),
        ({"links": None}, "not an account of Teller: Expected `object`, got `null` - at `$.links`"),
        ({"currency": 840}, "not an account of Teller: Expected `str | null`, got `int` - at `$.currency`"),
        ({"status": None}, "not an account of Teller: Expected `str`, got `null` - at `$.status`"),
    ],
)
async def test_a_broken_account_does_not_stop_the_others(serve: Any, broken: dict[str, Any], reason: str) -> None:
    bad = ACCOUNT | {"id": "acc_9"} | broken
    page, listed = await accounts(serve, lambda heard: (200, [bad, ACCOUNT]))
    assert listed == [CHECKING]
    assert page.rejected == [Rejected(json.dumps(bad).encode(), reason, bad["id"] or None, None)]


@pytest.mark.parametrize("body", [{"accounts": [ACCOUNT]}, {}, "x", 1, None])
async def test_accounts_in_another_shape_are_bad_data(serve: Any, body: Any) -> None:
    with pytest.raises(BadData, match="expected a JSON array, each element an account of Teller, found"):
        await accounts(serve, lambda heard: (200, body))


async def test_a_first_read_brings_everything_and_can_go_on_after_each_page(serve: Any) -> None:
    rows = [row(f"txn_{n}", TODAY - timedelta(n), pending=n == 0) for n in range(5)]
    bank = Bank(rows, cut=lambda request, due: 2)
    read_pages = await read(serve, bank)
    backfill: list[Any] = [{"backfill": {"from_id": f"txn_{n}", "began_on": "2024-03-31"}} for n in (1, 3, 4)]
    assert read_pages == [
        Page(
            stream="transactions",
            records=[record(one) for one in part],
            cursor=cursor,
            complete=complete,
            request=request,
            size=len(json.dumps(part).encode()),
        )
        for part, cursor, complete, request in [
            (rows[:2], backfill[0], None, f"GET {PATH}?count=500"),
            (rows[2:4], backfill[1], None, f"GET {PATH}?count=500&from_id=txn_1"),
            (rows[4:], backfill[2], None, f"GET {PATH}?count=500&from_id=txn_3"),
            ([], {"synced_on": "2024-03-31"}, Complete("acc_1", None), f"GET {PATH}?count=500&from_id=txn_4"),
        ]
    ]


async def test_an_account_without_transactions_is_read_in_one_request(serve: Any) -> None:
    assert [(page.records, page.cursor, page.complete) for page in await read(serve, Bank([]))] == [
        ([], {"synced_on": "2024-03-31"}, Complete("acc_1", None))
    ]


async def test_a_first_read_goes_on_where_it_stopped_whatever_page_that_was(serve: Any) -> None:
    rows = [row(f"txn_{n}", TODAY - timedelta(n)) for n in range(7)]
    began = TODAY - timedelta(3)
    whole = await read(serve, Bank(rows, cut=lambda request, due: 2), today=began)
    for stopped in range(len(whole) - 1):
        cursor = whole[stopped].cursor
        rest = await read(serve, Bank(rows, cut=lambda request, due: 2), cursor=cursor)
        assert ids(rest) == ids(whole[stopped + 1 :])
        assert [page.cursor for page in rest] == [page.cursor for page in whole[stopped + 1 :]]
        assert [page.complete for page in rest] == [None] * len(rest)
    assert whole[-1].cursor == {"synced_on": str(began)}


async def test_a_first_read_begins_again_when_the_row_it_stopped_at_is_gone(serve: Any) -> None:
    rows = [row("txn_1"), row("txn_2", TODAY - timedelta(1))]
    cursor = {"backfill": {"from_id": "txn_gone", "began_on": "2024-03-01"}}
    read_pages = await read(serve, Bank(rows), cursor=cursor)
    assert ids(read_pages) == [["txn_1", "txn_2"], []]
    assert (read_pages[-1].cursor, read_pages[-1].complete) == ({"synced_on": "2024-03-31"}, Complete("acc_1", None))


async def test_a_sync_of_nothing_new_takes_one_request(serve: Any) -> None:
    rows = [row(f"txn_{n}", TODAY - timedelta(n)) for n in range(60)]
    held = Held([(one["id"], date.fromisoformat(one["date"]), False) for one in rows])
    read_pages = await read(serve, Bank(rows), cursor={"synced_on": "2024-03-31"}, known=held)
    assert [page.request for page in read_pages] == [f"GET {PATH}?count=500&start_date=2024-03-20"]
    assert ids(read_pages) == [[f"txn_{n}" for n in range(12)]]
    assert read_pages[0].cursor == {"synced_on": "2024-03-31"}
    assert read_pages[0].complete == Complete("acc_1", date(2024, 3, 21))


async def test_the_window_goes_back_to_the_oldest_record_still_pending(serve: Any) -> None:
    held = Held([("txn_1", date(2024, 2, 1), True), ("txn_2", date(2024, 3, 30), True)])
    read_pages = await read(serve, Bank([]), cursor={"synced_on": "2024-03-31"}, known=held)
    assert [page.request for page in read_pages] == [f"GET {PATH}?count=500&start_date=2024-02-01"]
    assert read_pages[-1].complete == Complete("acc_1", date(2024, 2, 1))


async def test_a_short_page_is_not_taken_for_the_end(serve: Any) -> None:
    rows = [row(f"txn_{n}", TODAY - timedelta(n)) for n in range(15)]
    held = Held([("txn_1", TODAY - timedelta(1), False), ("txn_14", TODAY - timedelta(14), False)])
    bank = Bank(rows, cut=lambda request, due: 3)
    read_pages = await read(serve, bank, cursor={"synced_on": "2024-03-31"}, known=held)
    assert [name for page in ids(read_pages) for name in page] == [f"txn_{n}" for n in range(12)]
    assert [page.cursor for page in read_pages] == [None, None, None, {"synced_on": "2024-03-31"}]


async def test_a_range_and_everything_leave_the_cursor_alone(serve: Any) -> None:
    rows = [row(f"txn_{n}", TODAY - timedelta(n)) for n in range(40)]
    cursor = {"synced_on": "2024-03-31"}
    since = await read(serve, Bank(rows), cursor=cursor, since=date(2024, 3, 1))
    full = await read(serve, Bank(rows), cursor=cursor, full=True)
    assert [(len(page.records), page.cursor, page.complete) for page in since] == [
        (31, None, None),
        (0, None, Complete("acc_1", date(2024, 3, 1))),
    ]
    assert [(len(page.records), page.cursor, page.complete) for page in full] == [
        (40, None, None),
        (0, None, Complete("acc_1", None)),
    ]


async def test_paging_goes_on_from_a_posted_row_and_pending_rows_may_come_again(serve: Any) -> None:
    rows = [row("posted"), row("pending_1", pending=True), row("pending_2", pending=True), row("old", "2024-01-01")]
    read_pages = await read(serve, Bank(rows, cut=lambda request, due: 2))
    assert ids(read_pages) == [["posted", "pending_1"], ["pending_1", "pending_2"], ["old"], []]


async def test_a_row_that_vanishes_between_two_pages_begins_the_read_again(serve: Any) -> None:
    rows = [row(f"txn_{n}", TODAY - timedelta(n)) for n in range(4)]
    bank = Bank(rows, cut=lambda request, due: 2)

    def say(heard: Any) -> Any:
        if heard.query.get("from_id") == "txn_1" and rows[1]["id"] == "txn_1":
            del rows[1]
        return bank(heard)

    read_pages = await read(serve, say, full=True)
    assert ids(read_pages) == [["txn_0", "txn_1"], ["txn_0", "txn_2"], ["txn_3"], []]
    assert read_pages[-1].complete == Complete("acc_1", None)


async def test_a_row_that_vanishes_again_and_again_ends_the_read(serve: Any) -> None:
    bank = Bank([row("txn_1"), row("txn_2")], forgotten={"txn_2"})
    with pytest.raises(Retryable, match="found that this row vanished, twice in one read") as again:
        await read(serve, bank, full=True)
    assert (again.value.scope, bank.asked) == ("stream", 4)


@pytest.mark.parametrize("length", [1, 2, 3, 7])
async def test_paging_in_a_circle_is_noticed(serve: Any, length: int) -> None:
    circle = [[row(f"txn_{n}_{k}") for k in range(3)] for n in range(length)]
    asked = 0

    def say(heard: Any) -> Any:
        nonlocal asked
        asked += 1
        return (200, circle[asked % length])

    with pytest.raises(Retryable, match=r"the page token repeats \('txn_") as loop:
        await read(serve, say)
    assert (loop.value.scope, asked <= 4 * length + 2) == ("stream", True)


_HISTORY = st.lists(
    st.tuples(
        st.integers(0, 40),  # days ago at the bank
        st.booleans(),  # pending
        st.none() | st.integers(0, 60),  # days ago as the store holds it; None: the store does not know it
    ),
    max_size=30,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    history=_HISTORY,
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=8),
    pending_first=st.booleans(),
    mode=st.sampled_from(["first", "full", "since", "incremental", "resumed"]),
    back=st.integers(0, 30),
)
def test_the_pages_of_a_read_show_exactly_the_rows_of_its_window(
    runner: asyncio.Runner,
    playground: Any,
    history: list[tuple[int, bool, int | None]],
    cuts: list[int],
    pending_first: bool,
    mode: str,
    back: int,
) -> None:
    rows = [row(f"txn_{n}", TODAY - timedelta(ago), pending=pending) for n, (ago, pending, _) in enumerate(history)]
    held = Held(
        [
            (f"txn_{n}", TODAY - timedelta(known), pending)
            for n, (_, pending, known) in enumerate(history)
            if known is not None
        ]
    )
    server, http = playground
    server.heard.clear()
    bank = server.say = Bank(rows, cut=lambda request, due: cuts[request % len(cuts)], pending_first=pending_first)
    session = http.session(SECRETS)
    synced = TODAY - timedelta(back)
    asks: dict[str, dict[str, Any]] = {
        "first": {},
        "full": {"full": True, "cursor": {"synced_on": str(synced)}},
        "since": {"since": synced},
        "incremental": {"cursor": {"synced_on": str(synced)}},
        "resumed": {},
    }
    shown = runner.run(pages(session, known=held, **asks[mode]))
    if mode == "resumed" and shown[0].cursor and "backfill" in shown[0].cursor:
        shown = shown[:1] + runner.run(pages(session, known=held, cursor=shown[0].cursor))
    first = {"since": synced, "incremental": synced - timedelta(10)}.get(mode, date.min)
    payloads = {one.payload for page in shown for one in page.records}
    served = {json.dumps(one).encode() for one in rows}
    assert {json.dumps(one).encode() for one in rows if one["date"] >= str(first)} <= payloads <= served
    assert [page.cursor is not None and "synced_on" in page.cursor for page in shown] == [False] * (len(shown) - 1) + [
        mode in {"first", "incremental", "resumed"}
    ]
    assert bank.asked <= 2 * len(rows) + 3


@pytest.fixture(scope="module")
def runner() -> Any:
    with asyncio.Runner() as running:
        yield running


@pytest.fixture(scope="module")
def playground(serve: Any, runner: asyncio.Runner) -> Any:
    """One server and one client for many examples."""
    serving = serve(Bank([]))
    server = runner.run(serving.__aenter__())
    http = client(server)
    yield server, http
    runner.run(http.close())
    runner.run(serving.__aexit__(None, None, None))


async def test_what_the_connector_does_not_know_is_kept_byte_for_byte(serve: Any) -> None:
    odd = (
        b'{ "new_field" : [1.10, 1e2,{"a":null}],"id":"txn_1","account_id":"acc_1","amount":"1000000",'
        b'"date":"2024-03-01","status":"posted","type":"teleport","description":null,"details":null,'
        b'"note":"\\u0000 \xc3\xa9 \\ud83d\\ude00" }'
    )
    absent = b'{"id":"txn_2","account_id":"acc_1","amount":"-0","date":"2024-03-01","status":"pending"}'
    read_pages = await read(
        serve, lambda heard: (200, b"[]" if "from_id" in heard.query else b"[%s,\n%s]" % (odd, absent))
    )
    assert read_pages[0].records == [
        Record("txn_1", "acc_1", date(2024, 3, 1), False, odd),
        Record("txn_2", "acc_1", date(2024, 3, 1), True, absent),
    ]


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in row("txn_bad").items() if key != name}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (without("id"), "not a transaction of Teller: Object missing required field `id`"),
        (without("amount"), "not a transaction of Teller: Object missing required field `amount`"),
        (row("txn_bad", amount=12.3), "not a transaction of Teller: Expected `str`, got `float` - at `$.amount`"),
        (row("txn_bad", amount="NaN"), "amount 'NaN' is not a decimal number"),
        (row("txn_bad", amount="1e400"), "amount '1e400' has more than 20 digits before the point"),
        (row("txn_bad", amount="0.123456789"), "amount '0.123456789' has more than 8 digits after the point"),
        (row("txn_bad", "2023-02-30"), "date '2023-02-30' is not a day of the calendar, YYYY-MM-DD"),
        (row("txn_bad", status="gone"), "not a transaction of Teller: Invalid enum value 'gone' - at `$.status`"),
        (row("txn_bad", account_id="acc_2"), "account_id is 'acc_2', and account 'acc_1' was asked for"),
        (
            row("txn_bad", description=5),
            "not a transaction of Teller: Expected `str | null`, got `int` - at `$.description`",
        ),
        (
            row("txn_bad", details="x"),
            "not a transaction of Teller: Expected `object | null`, got `str` - at `$.details`",
        ),
    ],
)
async def test_a_transaction_that_breaks_the_contract_goes_to_quarantine_alone(
    serve: Any, bad: dict[str, Any], reason: str
) -> None:
    rows = [row("txn_1"), bad, row("txn_2")]
    read_pages = await read(serve, lambda heard: (200, [] if "from_id" in heard.query else rows))
    assert ids(read_pages) == [["txn_1", "txn_2"], []]
    assert read_pages[0].rejected == [Rejected(json.dumps(bad).encode(), reason, bad.get("id"), "acc_1")]


async def test_broken_utf_8_in_one_record_sets_that_one_aside(serve: Any) -> None:
    good, bad = json.dumps(row("txn_1")).encode(), json.dumps(row("txn_2")).encode().replace(b"COFFEE", b"CAF\xe9")
    read_pages = await read(
        serve, lambda heard: (200, b"[]" if "from_id" in heard.query else b"[" + bad + b"," + good + b"]")
    )
    assert ids(read_pages) == [["txn_1"], []]
    assert [(one.payload, one.record_id) for one in read_pages[0].rejected] == [(bad, "txn_2")]
    assert read_pages[0].rejected[0].reason.startswith("text is not UTF-8 at byte ")


async def test_rejected_rows_do_not_stop_the_paging(serve: Any) -> None:
    rows = [row("bad_1", amount="x"), row("bad_2", amount="x"), row("txn_1", "2024-01-01")]
    read_pages = await read(serve, Bank(rows, cut=lambda request, due: 1))
    assert ids(read_pages) == [[], [], ["txn_1"], []]
    assert [one.record_id for page in read_pages for one in page.rejected] == ["bad_1", "bad_2"]


async def test_a_page_without_any_id_is_kept_and_ends_the_read_in_bad_data(serve: Any) -> None:
    async with serve(lambda heard: (200, [{"amount": "1"}])) as server, client(server) as http:
        reading = Teller(http.session(SECRETS)).read("transactions", Ask(today=TODAY, account=CHECKING, known=Held()))
        page = await anext(reading)
        with pytest.raises(BadData, match="expected an id to go on from in GET /accounts/acc_1/transactions"):
            await anext(reading)
    assert (len(page.rejected), page.cursor, page.complete) == (1, None, None)


async def test_a_cursor_of_another_version_is_named(serve: Any) -> None:
    with pytest.raises(
        Misconfigured, match="expected the cursor of the transactions of acc_1 as this version writes it"
    ):
        await read(serve, Bank([]), cursor={"page": 7})


async def test_a_balance_is_one_reading_a_day(serve: Any) -> None:
    body: dict[str, Any] = {"ledger": "28575.02", "available": None, "account_id": "acc_1", "links": {}}
    assert await read(serve, lambda heard: (200, body), "balances") == [
        Page(
            stream="balances",
            records=[Record("acc_1:2024-03-31", "acc_1", TODAY, False, json.dumps(body).encode())],
            request="GET /accounts/acc_1/balances",
            size=len(json.dumps(body)),
        )
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"account_id": "acc_1", "ledger": None}, "neither ledger nor available is there, and one of them must be"),
        ({"account_id": "acc_1", "ledger": "1", "available": "Infinity"}, "amount 'Infinity' is not a decimal number"),
        (
            {"account_id": "acc_1", "ledger": 1},
            "not balances of Teller: Expected `str | null`, got `int` - at `$.ledger`",
        ),
        ({"account_id": "acc_2", "ledger": "1"}, "account_id is 'acc_2', and account 'acc_1' was asked for"),
        ([], "not balances of Teller: Expected `object`, got `array`"),
    ],
)
async def test_a_balance_that_breaks_the_contract_goes_to_quarantine(serve: Any, body: Any, reason: str) -> None:
    (page,) = await read(serve, lambda heard: (200, body), "balances")
    assert (page.records, page.rejected) == ([], [Rejected(json.dumps(body).encode(), reason, None, "acc_1")])


async def test_details_are_one_record_of_the_account(serve: Any) -> None:
    body = {"account_id": "acc_1", "account_number": "1", "routing_numbers": {"ach": "2"}}
    (page,) = await read(serve, lambda heard: (200, json.dumps(body).encode() + b"\n"), "details")
    assert page.records == [Record("acc_1", "acc_1", None, False, json.dumps(body).encode())]


@pytest.mark.parametrize("code", ["account_number_verification_pending", "account_number_verification_expired"])
async def test_details_that_are_not_verified_are_none_yet(serve: Any, code: str) -> None:
    (page,) = await read(serve, lambda heard: fault(404, code), "details")
    assert (page.records, page.rejected, page.complete, page.request) == ([], [], None, "GET /accounts/acc_1/details")


async def test_identity_is_a_record_for_each_account(serve: Any) -> None:
    body: list[Any] = [{"account": ACCOUNT | {"id": name}, "owners": []} for name in ("acc_1", "acc_2")]
    (page,) = await read(serve, lambda heard: (200, body), "identity", account=None)
    assert page == Page(
        stream="identity",
        records=[
            Record(one["account"]["id"], one["account"]["id"], None, False, json.dumps(one).encode()) for one in body
        ],
        complete=Complete(None, None),
        request="GET /identity",
        size=len(json.dumps(body)),
    )


@pytest.mark.parametrize("answer", [(404, "not_found"), (404, ""), (405, ""), (501, "")])
@pytest.mark.parametrize(("stream", "account"), [("identity", None), ("details", CHECKING)])
async def test_a_bank_without_identity_or_details_has_none(
    serve: Any, stream: str, account: Account | None, answer: tuple[int, str]
) -> None:
    (page,) = await read(serve, lambda heard: fault(*answer), stream, account=account)
    assert (page.records, page.rejected, page.complete) == ([], [], None)


async def test_a_server_that_takes_from_id_as_inclusive_is_read_to_its_end(serve: Any) -> None:
    def inclusive(heard: Any) -> Any:
        return (200, [row("txn_1")]) if "from_id" in heard.query else (200, [row("txn_2"), row("txn_1")])

    first, last = await read(serve, inclusive)
    assert ([one.id for one in first.records], [one.id for one in last.records]) == (["txn_2", "txn_1"], ["txn_1"])
    assert last.complete == Complete("acc_1", None)


@pytest.mark.parametrize(
    ("stream", "account"), [("transactions", None), ("payments", CHECKING), ("accounts", CHECKING)]
)
async def test_a_stream_that_cannot_be_read_so_is_a_bug(serve: Any, stream: str, account: Account | None) -> None:
    with pytest.raises(ValueError, match=stream):
        await read(serve, Bank([]), stream, account=account)


async def show(serve: Any, say: Any, stream: str = "transactions") -> Any:
    async with serve(say) as server, client(server) as http:
        shown = await Teller(http.session(SECRETS)).show(stream, CHECKING, "txn/1")
        return shown, server.targets


async def test_one_transaction_is_shown_as_it_is_now(serve: Any) -> None:
    shown, targets = await show(serve, lambda heard: (200, row("txn/1")))
    assert shown == record(row("txn/1"))
    assert targets == ["/accounts/acc_1/transactions/txn%2F1"]


async def test_a_transaction_that_the_provider_does_not_know_is_none(serve: Any) -> None:
    assert await show(serve, lambda heard: not_found()) == (None, ["/accounts/acc_1/transactions/txn%2F1"])


async def test_a_transaction_that_breaks_the_contract_is_not_shown(serve: Any) -> None:
    with pytest.raises(BadData, match="it breaks the contract: amount 'x' is not a decimal number") as bad:
        await show(serve, lambda heard: (200, row("txn/1", amount="x")))
    assert bad.value.scope == "record"


async def test_nothing_but_transactions_is_shown_by_id(serve: Any) -> None:
    with pytest.raises(ValueError, match="not of balances"):
        await show(serve, lambda heard: not_found(), "balances")


async def test_an_enrollment_that_is_gone_says_what_to_do(serve: Any) -> None:
    with pytest.raises(
        Gone, match="the customer enrols again, and the new enrollment is added with `ledgerlake connect"
    ):
        await accounts(serve, lambda heard: fault(403, ""))


async def test_the_identity_of_a_disconnected_enrollment_is_no_empty_page(serve: Any) -> None:
    with pytest.raises(NeedsReauth):
        await read(serve, lambda heard: fault(404, "enrollment.disconnected"), "identity", account=None)
