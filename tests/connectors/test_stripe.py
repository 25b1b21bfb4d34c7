"""Stripe against a server that keeps its protocol, and against servers that do not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from pydantic import SecretStr

from connectors import (
    PROVIDERS,
    Account,
    Ask,
    BadData,
    Client,
    ClientConfig,
    Complete,
    Misconfigured,
    Page,
    Record,
    Retryable,
)
from connectors.stripe import Stripe

pytestmark = pytest.mark.anyio

KEY = "rk_live_canary7h3s3cr3t"
SECRETS = {"api_key": SecretStr(KEY)}
TODAY = date(2026, 3, 1)
NOON = 1_772_366_400
"""Noon of that day."""
HOUR = 3600
DAY = 86_400


class Nothing:
    """A store that holds nothing."""

    async def oldest_pending(self) -> date | None:
        return None

    async def newest_before(self, day: date) -> date | None:
        return None


def thing(name: str, kind: str, created: int = NOON, **fields: Any) -> dict[str, Any]:
    money = {"currency": "usd", "amount": 100} if kind in {"charge", "refund", "dispute", "payout"} else {}
    return {"id": name, "object": kind, "created": created} | money | fields


def lines(owner: str, count: int) -> list[dict[str, Any]]:
    return [{"id": f"il_{owner}_{n:03}", "object": "line_item", "amount": n} for n in range(count)]


def invoice(name: str, count: int = 1, created: int = NOON, **fields: Any) -> dict[str, Any]:
    money = {"currency": "usd", "total": 1, "amount_due": 1, "amount_paid": 0, "amount_remaining": 1}
    return thing(name, "invoice", created, **money, lines={"data": lines(name, count)}) | fields


def movement(name: str, created: int, status: str = "available", available_on: int = NOON) -> dict[str, Any]:
    money = {"currency": "usd", "amount": 100, "fee": 3, "net": 97, "status": status, "available_on": available_on}
    return thing(name, "balance_transaction", created, **money)


def event(name: str, type_: str, subject: Mapping[str, Any], created: int = NOON) -> dict[str, Any]:
    return thing(name, "event", created, type=type_, data={"object": subject})


def error(status: int, code: str | None = None, headers: Mapping[str, str] | None = None, **fields: Any) -> Any:
    return status, {"error": {"type": "invalid_request_error", "message": f"no, {KEY}", "code": code} | fields}, headers


@dataclass
class Shop:
    """Lists and objects as Stripe serves them: newest first, `starting_after`, `created`, lists within cut at ten."""

    held: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    limit: int = 100
    asked: list[str] = field(default_factory=list)

    def __call__(self, heard: Any) -> Any:
        assert heard.headers["authorization"] == f"Bearer {KEY}"
        assert heard.headers["stripe-version"] == "2026-08-26.dahlia"
        asked = re.sub(r"\?limit=100$|&limit=100|limit=100&", "", unquote(heard.target)).removeprefix("/v1/")
        self.asked.append(asked)
        _, _, stream, *rest = heard.path.split("/")
        query = heard.query
        if stream == "subscription_items":
            return self.page(self.find("subscriptions", query["subscription"])["items"]["data"], query)
        if rest[1:] == ["lines"]:
            return self.page(self.find(stream, rest[0])["lines"]["data"], query)
        if rest:
            found = self.find(stream, rest[0])
            if rest[0] in self.deleted:
                return 200, {"id": rest[0], "object": "customer", "deleted": True}
            return (200, self.shown(found)) if found else error(404, "resource_missing", param="id")
        rows = [one for one in self.held.get(stream, []) if one["id"] not in self.deleted and self.passes(one, query)]
        return self.page(sorted(rows, key=lambda one: -one["created"]), query)

    def find(self, stream: str, name: str) -> Any:
        return next((one for one in self.held.get(stream, []) if one["id"] == name), None)

    def passes(self, one: Mapping[str, Any], query: Mapping[str, str]) -> bool:
        if one["object"] == "price" and str(one["active"]).lower() != query.get("active", "true"):
            return False
        if one["object"] == "subscription" and one["status"] == "canceled" and query.get("status") != "all":
            return False
        after, before = int(query.get("created[gte]", 0)), int(query.get("created[lte]", 10**12))
        return bool(after <= one["created"] <= before)

    def shown(self, one: dict[str, Any]) -> dict[str, Any]:
        for name in ("lines", "items"):
            if name in one:
                nested = one[name]["data"]
                one = one | {name: {"object": "list", "data": nested[:10], "has_more": len(nested) > 10}}
        return one

    def page(self, rows: Sequence[dict[str, Any]], query: Mapping[str, str]) -> Any:
        start, size = 0, min(int(query["limit"]), self.limit)
        if (after := query.get("starting_after")) is not None:
            ids = [one["id"] for one in rows]
            if after not in ids:
                return error(400, "resource_missing", param="starting_after")
            start = ids.index(after) + 1
        shown = [self.shown(one) for one in rows[start : start + size]]
        return 200, {"object": "list", "data": shown, "has_more": len(rows) > start + size}


@dataclass
class Store:
    """What an engine holds: the records of each stream, and the cursors of those that were read."""

    rows: dict[str, dict[str, Record]] = field(default_factory=dict)
    cursors: dict[str, Any] = field(default_factory=dict)

    async def sync(
        self, url: str, today: date = TODAY, *, only: Sequence[str] = (), stop: int | None = None
    ) -> list[Page]:
        """Read each stream; `stop` after so many pages, as if killed."""
        pages: list[Page] = []
        async with client(url) as http:
            stripe = Stripe(http.session(SECRETS))
            for stream in Stripe.streams:
                if stream.name == "accounts" or (only and stream.name not in only):
                    continue
                ask = Ask(today=today, cursor=self.cursors.get(stream.name), known=Nothing())
                async for page in stripe.read(stream.name, ask):
                    self.write(stream.name, page)
                    pages.append(page)
                    if page.commit and stop is not None and len(pages) >= stop:
                        return pages
        return pages

    def write(self, read: str, page: Page) -> None:
        held = self.rows.setdefault(page.stream, {})
        held |= {record.id: record for record in page.records}
        for gone in page.removed:
            held.pop(gone, None)
        if page.complete is not None and page.complete.doubt == "none":
            shown = {record.id for record in page.records}
            for one in [id_ for id_, row in held.items() if row.account_id == page.complete.account_id]:
                if one not in shown:
                    del held[one]
        if page.cursor is not None:
            self.cursors[read] = json.loads(json.dumps(page.cursor))

    def ids(self, stream: str) -> list[str]:
        return sorted(self.rows.get(stream, {}))

    def payload(self, stream: str, name: str) -> Any:
        return json.loads(self.rows[stream][name].payload)


def client(url: str, **changes: Any) -> Client:
    settings: dict[str, Any] = {"requests_per_second": 100_000, "attempts": 2} | changes
    return Client(ClientConfig(base_url=url, **settings))


async def ask_once(serve: Any, say: Any, stream: str = "charges", secrets: Any = SECRETS, **given: Any) -> list[Page]:
    async with serve(say) as server, client(server.url) as http:
        settings: dict[str, Any] = {"today": TODAY, "known": Nothing()} | given
        return [page async for page in Stripe(http.session(secrets)).read(stream, Ask(**settings))]


def test_the_registry_has_it_and_it_tells_its_streams() -> None:
    assert PROVIDERS["stripe"] is Stripe
    assert [stream.name for stream in Stripe.streams] == [
        "accounts", "events", "customers", "products", "prices", "subscriptions", "invoices", "charges", "refunds",
        "disputes", "credit_notes", "payouts", "balance_transactions", "subscription_items", "invoice_lines",
        "credit_note_lines",
    ]  # fmt: skip


def test_secrets_are_a_key_and_perhaps_an_account_and_what_is_wrong_is_named_without_its_value() -> None:
    given = {"api_key": KEY, "account": "acct_1"}
    assert {name: one.get_secret_value() for name, one in Stripe.secrets(given).items()} == given
    assert Stripe.secrets({"api_key": KEY, "account": None}) == SECRETS
    assert Stripe.external_id(Stripe.secrets(given)) == "acct_1"
    assert Stripe.external_id(SECRETS).startswith("key_")
    assert len(Stripe.external_id(SECRETS)) == 20
    with pytest.raises(ValueError) as raised:
        Stripe.secrets({"api_key": "pk_live_canary", "acount": "x"})
    assert "canary" not in str(raised.value)
    assert str(raised.value) == (
        "expected the secrets of a Stripe account, {api_key, account?}: acount is unknown; api_key is not a text that"
        " starts with sk_ or rk_, without space in it"
    )
    with pytest.raises(ValueError, match="api_key is missing"):
        Stripe.secrets({})


async def test_the_account_is_the_one_record_and_the_connected_account_is_named_in_a_header(serve: Any) -> None:
    body = b'{"id": "acct_1", "object": "account", "default_currency": "jpy"}'
    async with serve(lambda heard: (200, body)) as server, client(server.url) as http:
        secrets = SECRETS | {"account": SecretStr("acct_1")}
        page, accounts = await Stripe(http.session(secrets)).accounts(TODAY)
    assert page.records == [Record("acct_1", "acct_1", None, False, body)]
    assert (page.request, page.complete) == ("GET /v1/account", Complete(None, None))
    assert accounts == [Account("acct_1", "other", "JPY", False, (), "stripe", "Stripe")]
    assert server.heard[0].headers["stripe-account"] == "acct_1"


async def test_everything_is_listed_once_and_then_nothing_new_costs_two_requests(serve: Any) -> None:
    shop = Shop(
        {
            "customers": [thing(f"cus_{n}", "customer", NOON - n) for n in range(205)],
            "prices": [
                thing("price_1", "price", currency="usd", active=True),
                thing("price_0", "price", currency="usd", active=False),
            ],
            "subscriptions": [
                thing(
                    "sub_1", "subscription", status="canceled", items={"data": [{"id": f"si_{n}"} for n in range(12)]}
                )
            ],
            "balance_transactions": [movement("txn_1", NOON)],
            "events": [event("evt_1", "customer.created", thing("cus_0", "customer"))],
        }
    )
    store = Store()
    async with serve(shop) as server:
        pages = await store.sync(server.url)
        assert {name: len(rows) for name, rows in store.rows.items() if rows} == {
            "events": 1, "customers": 205, "prices": 2, "subscriptions": 1, "subscription_items": 12,
            "balance_transactions": 1,
        }  # fmt: skip
        assert store.rows["subscription_items"]["sub_1:si_11"] == Record(
            "sub_1:si_11", "sub_1", None, False, b'{"id": "si_11"}'
        )
        assert [page.complete for page in pages if page.stream == "customers"] == [None, None, Complete(None, None)]
        # What was made within an invoice is not in the list of prices, so this list proves nothing.
        assert [page.complete for page in pages if page.stream == "prices"] == [None, None]
        shop.asked.clear()
        for later in range(7):
            assert [page.stream for page in await store.sync(server.url, TODAY + timedelta(days=later))] == [
                "events", "balance_transactions",
            ]  # fmt: skip
        window = f"created[gte]={NOON - HOUR}"
        assert shop.asked == [f"events?{window}", f"balance_transactions?{window}"] * 7


async def test_a_first_listing_that_is_killed_at_any_page_goes_on_there(serve: Any) -> None:
    shop = Shop({"invoices": [invoice(f"in_{n}", n, NOON - n) for n in range(8)]}, limit=3)
    whole = Store()
    async with serve(shop) as server:
        count = len(await whole.sync(server.url, only=["invoices"]))
        for stop in range(1, count + 1):
            store = Store()
            await store.sync(server.url, only=["invoices"], stop=stop)
            shop.asked.clear()
            rest = await store.sync(server.url, only=["invoices"])
            assert store.rows == whole.rows
            assert store.cursors == whole.cursors == {"invoices": {"listed": "2026-03-01", "swept": "2026-03-01"}}
            assert [page.complete for page in rest if page.stream == "invoices"] == [None] * len(
                [page for page in rest if page.stream == "invoices"]
            )


async def test_all_lines_of_an_invoice_are_kept_as_they_came_and_the_invoice_untouched(serve: Any) -> None:
    bill = invoice("in_1", 230)
    shop, store = Shop({"invoices": [bill]}), Store()
    async with serve(shop) as server:
        pages = await store.sync(server.url, only=["invoices"])
    assert shop.asked == [
        "invoices",
        "invoices/in_1/lines?starting_after=il_in_1_009",
        "invoices/in_1/lines?starting_after=il_in_1_109",
        "invoices/in_1/lines?starting_after=il_in_1_209",
    ]
    assert [(page.stream, page.commit, len(page.records)) for page in pages] == [
        ("invoice_lines", False, 230),
        ("invoices", True, 1),
    ]
    assert store.payload("invoices", "in_1") == shop.shown(bill)
    assert [store.payload("invoice_lines", f"in_1:{one['id']}") for one in bill["lines"]["data"]] == bill["lines"][
        "data"
    ]


async def test_what_events_name_is_asked_for_once_as_it_is_now_whatever_their_order(serve: Any) -> None:
    shop = Shop({"charges": [thing("ch_old", "charge", NOON - 9 * DAY)], "customers": [thing("cus_1", "customer", 1)]})
    store = Store()
    async with serve(shop) as server:
        await store.sync(server.url)
        shop.held["charges"][0] |= {"disputed": True, "amount": 90}
        dispute = thing("dp_1", "dispute", NOON + 5, charge="ch_old")
        shop.held["disputes"] = [dispute]
        stale = thing("ch_old", "charge", amount=100)
        shop.held["events"] = [
            event("evt_2", "charge.dispute.created", dispute, NOON + 6),
            event("evt_3", "charge.updated", stale, NOON + 5),
            event("evt_1", "charge.refunded", stale, NOON + 7),
            event("evt_4", "invoice.upcoming", {"object": "invoice"}, NOON + 8),
            event("evt_5", "payment_intent.created", thing("pi_1", "payment_intent"), NOON + 8),
        ]
        shop.asked.clear()
        await store.sync(server.url)
        assert [one for one in shop.asked if "?" not in one] == ["charges/ch_old", "disputes/dp_1"]
        assert store.payload("charges", "ch_old")["amount"] == 90
        assert store.ids("disputes") == ["dp_1"]
        assert store.ids("events") == ["evt_1", "evt_2", "evt_3", "evt_4", "evt_5"]
        # One that appears late, dated within the overlap, is not missed; those that were seen are not asked for again.
        shop.held["customers"][0]["name"] = "new"
        shop.held["events"].append(event("evt_0", "customer.updated", thing("cus_1", "customer", 1), NOON - HOUR + 60))
        shop.asked.clear()
        await store.sync(server.url)
        assert [one for one in shop.asked if "?" not in one] == ["customers/cus_1"]
        assert store.payload("customers", "cus_1")["name"] == "new"


async def test_many_new_objects_come_by_one_list(serve: Any) -> None:
    shop, store = Shop(), Store()
    async with serve(shop) as server:
        await store.sync(server.url)
        new = [thing(f"ch_{n}", "charge", NOON + n) for n in range(30)]
        shop.held["charges"] = new[1:]
        shop.held["events"] = [event(f"evt_{n}", "charge.succeeded", one, NOON + n) for n, one in enumerate(new)]
        shop.asked.clear()
        await store.sync(server.url)
    assert len(store.ids("charges")) == 29
    # One of them is gone since: it is asked for by its id.
    assert [one for one in shop.asked if one.startswith("charges")] == [
        f"charges?created[gte]={NOON}&created[lte]={NOON + 29}",
        "charges/ch_0",
    ]


def many_changes(shop: Shop, count: int, since: int = NOON) -> None:
    """So many charges change, each once, a minute after the other, and one of them again and again."""
    for number in range(count):
        charge = shop.find("charges", f"ch_{number:03}")
        charge["amount"] += 1
        shop.held["events"].append(event(f"evt_{number:03}", "charge.updated", charge, since + 60 * number))
        often = shop.find("charges", "ch_000")
        shop.held["events"].append(event(f"evt_{number:03}_also", "charge.updated", often, since + 60 * number + 30))


async def behind(shop: Shop, url: str, monkeypatch: pytest.MonkeyPatch, batch: int) -> Store:
    """A store that knows forty charges, ten pages of whose events it has not read yet."""
    monkeypatch.setattr("connectors.stripe._events.BATCH", batch)
    shop.held = {"charges": [thing(f"ch_{n:03}", "charge", NOON - DAY + n) for n in range(40)], "events": []}
    shop.limit, store = 8, Store()
    await store.sync(url, only=["events", "charges"])
    many_changes(shop, 40)
    return store


async def test_a_catch_up_of_events_that_is_killed_goes_on_there(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    tomorrow = TODAY + timedelta(days=1)
    async with serve(shop) as server:
        whole = await behind(shop, server.url, monkeypatch, 3)
        shop.asked.clear()
        pages = len(await whole.sync(server.url, tomorrow, only=["events"]))
        uninterrupted = [one for one in shop.asked if one.startswith("charges/")]
        assert sorted(uninterrupted) == [f"charges/ch_{number:03}" for number in range(40)]  # each of them once
        for stop in range(1, pages):
            store = await behind(shop, server.url, monkeypatch, 3)
            await store.sync(server.url, tomorrow, only=["events"], stop=stop)
            stored = {one for one, row in store.rows["charges"].items() if json.loads(row.payload)["amount"] > 100}
            # What happens while nobody reads comes with the same sync, and is not taken for read by the old one.
            late = shop.find("charges", "ch_039")
            late["amount"] = 999
            shop.held["events"].append(event("evt_late", "charge.updated", late, NOON + 3 * HOUR))
            shop.asked.clear()
            await store.sync(server.url, tomorrow, only=["events"])
            assert [store.payload("charges", one["id"])["amount"] for one in shop.held["charges"]] == [
                one["amount"] for one in shop.held["charges"]
            ]
            again = {one.removeprefix("charges/") for one in shop.asked if one.startswith("charges/")} & stored
            assert len(again) <= 3 * shop.limit, (
                stop
            )  # at most the batch that was under way, of all that was read before
            cursor = store.cursors["events"]
            assert (cursor["read_on"], cursor["newest"], cursor["seen"][0], "after" in cursor) == (
                "2026-03-02",
                NOON + 3 * HOUR,
                "evt_late",
                False,
            )
            quiet = len(shop.asked)
            await store.sync(server.url, tomorrow, only=["events"])
            assert [one for one in shop.asked[quiet:] if one.startswith("charges/")] == []


async def test_a_catch_up_goes_on_on_another_day_as_of_the_day_that_it_began(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop()
    async with serve(shop) as server:
        store = await behind(shop, server.url, monkeypatch, 1)
        await store.sync(server.url, TODAY + timedelta(days=1), only=["events"], stop=12)
        stopped = store.cursors["events"]
        assert (stopped["read_on"], stopped["began"], "after" in stopped) == ("2026-03-01", "2026-03-02", True)
        # Events are kept for 30 days: what was not read by then is lost, however far down the read came.
        shop.asked.clear()
        await store.sync(server.url, TODAY + timedelta(days=30), only=["events", "charges"])
        assert (store.cursors["events"]["gap"], "charges" in shop.asked) == ("2026-03-31", True)


async def test_a_catch_up_whose_event_to_go_on_from_is_gone_begins_at_the_top(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop()
    async with serve(shop) as server:
        store = await behind(shop, server.url, monkeypatch, 1)
        await store.sync(server.url, TODAY + timedelta(days=1), only=["events"], stop=20)
        shop.deleted.add(store.cursors["events"]["after"])
        await store.sync(server.url, TODAY + timedelta(days=1), only=["events"])
        assert [store.payload("charges", one["id"])["amount"] for one in shop.held["charges"]] == [
            one["amount"] for one in shop.held["charges"]
        ]
        assert "after" not in store.cursors["events"]


async def test_deletions_are_removals_and_a_canceled_subscription_is_none(serve: Any) -> None:
    sub = thing("sub_1", "subscription", 1, status="active", items={"data": [{"id": "si_1"}]})
    shop = Shop(
        {
            "customers": [thing(f"cus_{n}", "customer", 1) for n in range(3)],
            "subscriptions": [sub],
            "invoices": [invoice("in_1", 12, 1)],
        }
    )
    store = Store()
    async with serve(shop) as server:
        await store.sync(server.url)
        assert len(store.ids("invoice_lines")) == 12
        shop.deleted |= {"cus_0", "cus_1"}
        shop.held["invoices"].clear()
        sub["status"] = "canceled"
        shop.held["events"] = [
            event("evt_1", "customer.deleted", thing("cus_0", "customer"), NOON + 1),
            event("evt_2", "customer.updated", thing("cus_1", "customer"), NOON + 1),
            event("evt_3", "customer.subscription.deleted", sub, NOON + 1),
            event("evt_4", "invoice.deleted", {"id": "in_1", "object": "invoice"}, NOON + 1),
        ]
        await store.sync(server.url)
    assert store.ids("customers") == ["cus_2"]
    assert store.ids("invoices") == store.ids("invoice_lines") == []
    assert store.payload("subscriptions", "sub_1")["status"] == "canceled"


async def test_a_draft_that_loses_lines_loses_them_here(serve: Any) -> None:
    shop, store = Shop({"invoices": [invoice("in_1", 14, 1), invoice("in_2", 2, 1)]}), Store()
    async with serve(shop) as server:
        await store.sync(server.url)
        shop.held["invoices"][0]["lines"]["data"] = lines("in_1", 11)[1:]
        shop.held["events"] = [event("evt_1", "invoice.updated", {"id": "in_1", "object": "invoice"}, NOON + 1)]
        await store.sync(server.url)
    assert store.ids("invoice_lines") == [f"in_1:il_in_1_{n:03}" for n in range(1, 11)] + [
        "in_2:il_in_2_000",
        "in_2:il_in_2_001",
    ]


async def test_who_was_away_for_thirty_days_lists_everything_again_and_says_that_it_is_all(serve: Any) -> None:
    shop = Shop({"charges": [thing("ch_1", "charge", 1)], "events": [event("evt_1", "x", {"object": "x"})]})
    store = Store()
    async with serve(shop) as server:
        await store.sync(server.url)
        shop.asked.clear()
        await store.sync(server.url, TODAY + timedelta(days=29))
        assert shop.asked[:2] == [f"events?created[gte]={NOON - HOUR}", "refunds?created[gte]=1772236800"]
        shop.held["charges"][0]["amount"] = 7
        shop.asked.clear()
        back = TODAY + timedelta(days=59)
        # It is remembered although this sync dies before the charges are listed.
        await store.sync(server.url, back, stop=1)
        assert shop.asked == ["events"]
        pages = await store.sync(server.url, back)
        assert store.payload("charges", "ch_1")["amount"] == 7
        assert {page.stream for page in pages if page.complete == Complete(None, None)} == {
            "customers", "products", "subscriptions", "invoices", "charges", "refunds", "disputes", "credit_notes",
            "payouts", "balance_transactions",
        }  # fmt: skip
        shop.asked.clear()
        await store.sync(server.url, back)
        assert len(shop.asked) == 2


async def test_a_pending_movement_is_looked_at_again_on_its_day_and_not_before(serve: Any) -> None:
    shop = Shop({"balance_transactions": [movement("txn_1", NOON - 3 * DAY, "pending", NOON + DAY)]})
    shop.held["balance_transactions"].append(movement("txn_2", NOON))
    store = Store()
    async with serve(shop) as server:
        only = ["balance_transactions"]
        await store.sync(server.url, only=only)
        assert store.rows["balance_transactions"]["txn_1"].pending is True
        shop.asked.clear()
        await store.sync(server.url, only=only)
        shop.held["balance_transactions"][0]["status"] = "available"
        for later in (1, 2):
            await store.sync(server.url, TODAY + timedelta(days=later), only=only)
    assert shop.asked == [
        f"balance_transactions?created[gte]={gte}" for gte in (NOON - HOUR, NOON - 3 * DAY, NOON - HOUR)
    ]
    assert store.rows["balance_transactions"]["txn_1"].pending is False


async def test_a_range_or_everything_is_read_again_without_a_cursor(serve: Any) -> None:
    shop = Shop({"charges": [thing("ch_1", "charge", NOON), thing("ch_2", "charge", NOON - 9 * DAY)]})
    day = date(2026, 2, 27)
    recent = await ask_once(serve, shop, since=day)
    every = await ask_once(serve, shop, full=True, cursor={"listed": "2026-01-01"})
    assert [(one.complete, one.cursor, [row.id for row in one.records]) for one in (*recent, *every)] == [
        (Complete(None, day), None, ["ch_1"]),
        (Complete(None, None), None, ["ch_1", "ch_2"]),
    ]
    assert recent[0].records[0].date == TODAY


async def test_an_object_to_page_on_from_that_vanished_begins_the_list_again(serve: Any) -> None:
    shop = Shop({"charges": [thing(f"ch_{n}", "charge", NOON - n) for n in range(5)]})
    pages = await ask_once(serve, shop, cursor={"began": "2026-02-01", "after": "ch_gone"})
    assert [len(page.records) for page in pages] == [5]
    assert (pages[0].cursor, pages[0].complete) == (
        {"listed": "2026-02-01", "swept": "2026-02-01"},
        Complete(None, None),
    )


async def test_a_list_that_never_ends_is_given_up(serve: Any) -> None:
    row = thing("ch_1", "charge")
    with pytest.raises(Retryable, match="found 'ch_1' again"):
        await ask_once(serve, lambda heard: (200, {"data": [row], "has_more": True}))
    endless = invoice("in_1")
    endless["lines"]["has_more"] = True
    whole = {"data": [endless], "has_more": False}
    with pytest.raises(Retryable, match="found none that are new"):
        await ask_once(serve, lambda heard: (200, endless["lines"] if "lines" in heard.path else whole), "invoices")


@pytest.mark.parametrize("body", [{"data": []}, {"data": [], "has_more": None}, {"has_more": False}, []])
async def test_an_answer_that_is_no_list_is_bad_data(serve: Any, body: Any) -> None:
    with pytest.raises(BadData) as raised:
        await ask_once(serve, lambda heard: (200, body))
    assert raised.value.scope == "stream"


async def test_a_broken_object_is_set_aside_with_the_reason_and_its_neighbours_kept(serve: Any) -> None:
    good = json.dumps(thing("ch_1", "charge"))
    broken = (
        '{"id": "ch_2", "created": 1, "currency": "usd", "amount": "12"}',
        '{"created": 1, "currency": "usd", "amount": 1}',
        '{"id": "ch_3", "created": 1, "currency": "usd", "amount": 123456789012345678901}',
        '{"id": "ch_4", "created": 99999999999999999, "currency": "usd", "amount": 1}',
        '{"id": "ch_\\ud800", "created": 1, "currency": "usd", "amount": 1}',
    )
    body = f'{{"object": "list", "data": [{", ".join((good, *broken))}], "has_more": false}}'.encode()
    (page,) = await ask_once(serve, lambda heard: (200, body))
    assert [record.payload for record in page.records] == [good.encode()]
    assert [one.payload for one in page.rejected] == [one.encode() for one in broken]
    assert [one.record_id for one in page.rejected] == ["ch_2", None, "ch_3", "ch_4", None]


@pytest.mark.parametrize(("word", "requests"), [("true", 2), ("false", 1), ("", 2)])
async def test_stripes_word_on_trying_again_wins(serve: Any, word: str, requests: int) -> None:
    answer = error(500, None, {"Stripe-Should-Retry": word} if word else {})
    async with serve(lambda heard: answer) as server, client(server.url) as http:
        ask = Ask(today=TODAY, known=Nothing())
        with pytest.raises(Retryable):
            _ = [page async for page in Stripe(http.session(SECRETS)).read("charges", ask)]
    assert len(server.heard) == requests


async def test_one_object_is_shown_as_it_is_or_not_at_all(serve: Any) -> None:
    shop = Shop({"charges": [thing("ch_1", "charge")], "customers": [thing("cus_1", "customer")]}, {"cus_1"})
    account = Account("acct_1", "other", "USD", False, ())
    async with serve(shop) as server, client(server.url) as http:
        stripe = Stripe(http.session(SECRETS))
        found = await stripe.show("charges", account, "ch_1")
        assert found is not None
        assert found.id == "ch_1"
        assert await stripe.show("charges", account, "ch_2") is None
        assert await stripe.show("customers", account, "cus_1") is None
        with pytest.raises(ValueError, match="not of invoice_lines"):
            await stripe.show("invoice_lines", account, "in_1:il_1")


async def test_a_cursor_of_another_version_is_the_operators_affair(serve: Any) -> None:
    with pytest.raises(Misconfigured, match="--full"):
        await ask_once(serve, Shop(), cursor={"offset": 3})
