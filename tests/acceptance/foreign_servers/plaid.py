"""
Plaid by its documentation (https://plaid.com/docs/api, version 2020-09-14), over two days: the marts are these tables, worked
out by hand.

What is awkward here: positive is money out, numbers that are doubles, a currency without decimals and one without an ISO code,
a card's limit, pages of one loop that mutate between them, a pending row whose posted one comes on another page, a change, a
removal, a row that one loop adds and removes, and an account that is no longer listed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from tests.acceptance.foreign_servers._serving import Asked, Said, Tables

CLIENT_ID, SECRET, TOKEN, ITEM = "client_checklist", "secret_checklist", "access-sandbox-checklist", "item_1"
PAGE = 3
"""Changes that this server gives at most in one answer."""


def number(text: str) -> str:
    """A JSON number as the text that it is, once the document is written."""
    return f"@{text}@"


def written(document: Any) -> str:
    return re.sub(r'"@([^"@]*)@"', r"\1", json.dumps(document))


def account(
    account_id: str,
    kind: str,
    subtype: str,
    current: str,
    available: str | None,
    limit: str | None = None,
    **codes: str,
) -> dict[str, Any]:
    given = codes or {"iso_currency_code": "USD"}
    return {
        "account_id": account_id,
        "balances": {
            "available": number(available) if available else None,
            "current": number(current),
            "iso_currency_code": given.get("iso_currency_code"),
            "limit": number(limit) if limit else None,
            "unofficial_currency_code": given.get("unofficial_currency_code"),
        },
        "mask": "0000",
        "name": f"Plaid {account_id}",
        "official_name": None,
        "type": kind,
        "subtype": subtype,
    }


def row(
    row_id: str, account_id: str, day: str, amount: str, *, pending: bool = False, was: str | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "account_owner": None,
        "amount": number(amount),
        "authorized_date": None,
        "category": None,
        "date": day,
        "iso_currency_code": "USD",
        "unofficial_currency_code": None,
        "name": f"ROW {row_id}",
        "merchant_name": None,
        "payment_channel": "in store",
        "pending": pending,
        "pending_transaction_id": was,
        "transaction_id": row_id,
        "counterparties": [],
        "personal_finance_category": None,
    } | more


FOOD = {"primary": "FOOD_AND_DRINK", "detailed": "FOOD_AND_DRINK_COFFEE", "confidence_level": "LOW"}
ACCOUNTS = [
    account("chk", "depository", "checking", "1234.56", "1200.5"),
    account("card", "credit", "credit card", "410.25", "1589.75", "2000"),
    account("yen", "depository", "savings", "1250000", None, iso_currency_code="JPY"),
    account("coin", "investment", "crypto exchange", "0.12345678", None, unofficial_currency_code="BTC"),
]
MONDAY = [
    ("added", row("pay", "chk", "2026-02-27", "-2500.00")),
    ("added", row("coffee", "chk", "2026-02-28", "4.33", merchant_name="Cafe", personal_finance_category=FOOD)),
    ("added", row("pending", "card", "2026-03-01", "89.4", pending=True)),
    ("added", row("double", "chk", "2026-02-26", "0.30000000000000004")),
    ("added", row("yen_out", "yen", "2026-02-25", "1200", iso_currency_code="JPY")),
    (
        "added",
        row("coin_out", "coin", "2026-02-24", "1.2345e-4", iso_currency_code=None, unofficial_currency_code="BTC"),
    ),
    ("added", row("wrong", "chk", "2026-02-23", "5")),
    ("added", row("gone", "chk", "2026-02-22", "10.10")),
]
TUESDAY = [
    ("added", row("flash", "chk", "2026-03-02", "1.00", pending=True)),
    ("modified", row("wrong", "chk", "2026-02-23", "5.55")),
    ("removed", {"transaction_id": "pending", "account_id": "card"}),
    ("removed", {"transaction_id": "gone", "account_id": "chk"}),
    ("added", row("posted", "card", "2026-03-03", "89.40", was="pending")),
    ("removed", {"transaction_id": "flash", "account_id": "chk"}),
    ("added", row("late", "chk", "2026-01-05", "7", authorized_date="2026-01-04")),
]


THE_ITEM = {
    "item_id": ITEM,
    "institution_id": "ins_1",
    "institution_name": "First Platypus Bank",
    "webhook": None,
    "error": None,
    "available_products": ["balance"],
    "billed_products": ["transactions"],
    "products": ["transactions"],
    "consent_expiration_time": None,
    "update_type": "background",
}


TRANSACTIONS = """
    select provider_account_id, provider_transaction_id, status, booked_on, amount, currency, counterparty, category
    from fct_transactions where provider = 'plaid' order by all
"""
OWNERS = """
    select provider_account_id, kind, subtype, currency, status, institution_name
    from dim_accounts where provider = 'plaid' order by all
"""
BALANCES = """
    select provider_account_id, as_of, booked, available, fct_balances.currency
    from fct_balances join dim_accounts using (account_key) where fct_balances.provider = 'plaid' order by as_of, 1
"""
EXCLUDED = "select stream, record_id, reason from excluded_records where provider = 'plaid' order by all"
SAME = [
    ("chk", "coffee", "posted", "2026-02-28", "-4.33", "USD", "Cafe", "FOOD_AND_DRINK"),
    ("chk", "double", "posted", "2026-02-26", "-0.3", "USD", None, None),
]
REST = [
    ("coin", "coin_out", "posted", "2026-02-24", "-0.00012345", "BTC", None, None),
    ("yen", "yen_out", "posted", "2026-02-25", "-1200", "JPY", None, None),
]
READ = [
    ("card", "2026-03-02", "-410.25", "-410.25", "USD"),
    ("chk", "2026-03-02", "1234.56", "1200.5", "USD"),
    ("coin", "2026-03-02", "0.12345678", None, "BTC"),
    ("yen", "2026-03-02", "1250000", None, "JPY"),
]
FIRST: Tables = {
    TRANSACTIONS: [
        ("card", "pending", "pending", "2026-03-01", "-89.4", "USD", None, None),
        *SAME,
        ("chk", "gone", "posted", "2026-02-22", "-10.1", "USD", None, None),
        ("chk", "pay", "posted", "2026-02-27", "2500", "USD", None, None),
        ("chk", "wrong", "posted", "2026-02-23", "-5", "USD", None, None),
        *REST,
    ],
    BALANCES: READ,
    EXCLUDED: [],
}
SECOND: Tables = {
    OWNERS: [
        ("card", "credit", "credit card", "USD", "open", "First Platypus Bank"),
        ("chk", "depository", "checking", "USD", "open", "First Platypus Bank"),
        ("coin", "investment", "crypto exchange", "BTC", "vanished", "First Platypus Bank"),
        ("yen", "depository", "savings", "JPY", "open", "First Platypus Bank"),
    ],
    TRANSACTIONS: [
        ("card", "posted", "posted", "2026-03-03", "-89.4", "USD", None, None),
        *SAME,
        ("chk", "late", "posted", "2026-01-05", "-7", "USD", None, None),
        ("chk", "pay", "posted", "2026-02-27", "2500", "USD", None, None),
        ("chk", "wrong", "posted", "2026-02-23", "-5.55", "USD", None, None),
        *REST,
    ],
    BALANCES: [
        *READ,
        ("card", "2026-03-04", "-410.25", "-410.25", "USD"),
        ("chk", "2026-03-04", "1234.56", "1200.5", "USD"),
        ("yen", "2026-03-04", "1250000", None, "JPY"),
    ],
    EXCLUDED: [
        ("transactions", "flash", "superseded"),
        ("transactions", "gone", "removed"),
        ("transactions", "pending", "superseded"),
    ],
}


class Plaid:
    """One Item: a log of changes, of which a cursor is a place. Anything that the documentation does not allow is refused."""

    secrets: ClassVar = {"access_token": TOKEN, "item_id": ITEM}
    credentials: ClassVar = {"client_id": CLIENT_ID, "secret": SECRET}
    path, first, second = "", FIRST, SECOND

    def __init__(self) -> None:
        self.accounts: Sequence[Any] = ACCOUNTS
        self.log = list(MONDAY)
        self.mutates = False

    def go_on(self) -> None:
        self.log += TUESDAY
        self.accounts = [one for one in ACCOUNTS if one["account_id"] != "coin"]
        self.mutates = True

    def check(self) -> None:
        assert not self.mutates, "the loop was never disturbed"

    def __call__(self, asked: Asked) -> Said:
        body = json.loads(asked.body)
        keys = {
            name: body.pop(name, None) or asked.headers.get(f"plaid-{name.replace('_', '-')}")
            for name in ("client_id", "secret")
        }
        if asked.method != "POST" or asked.headers.get("content-type") != "application/json":
            return refuse("INVALID_REQUEST", "INVALID_BODY")
        if keys != {"client_id": CLIENT_ID, "secret": SECRET}:
            return refuse("INVALID_INPUT", "INVALID_API_KEYS")
        if body.pop("access_token", None) != TOKEN:
            return refuse("INVALID_INPUT", "INVALID_ACCESS_TOKEN")
        allowed = {
            "/accounts/get": {"options"},
            "/item/get": set(),
            "/transactions/sync": {"cursor", "count", "options"},
        }
        if set(body) - allowed.get(asked.path, set()):
            return refuse("INVALID_REQUEST", "UNKNOWN_FIELDS")
        match asked.path:
            case "/accounts/get":
                return 200, written({"accounts": self.accounts, "item": THE_ITEM, "request_id": "r1"})
            case "/item/get":
                status = {
                    "transactions": {"last_successful_update": "2026-03-02T08:00:00Z", "last_failed_update": None}
                }
                return 200, written({"item": THE_ITEM, "status": status, "request_id": "r2"})
            case "/transactions/sync":
                return self.sync(body)
        return refuse("INVALID_REQUEST", "NOT_FOUND")

    def sync(self, body: dict[str, Any]) -> Said:
        cursor, count = body.get("cursor", "place-0"), body.get("count", 100)
        if not re.fullmatch(r"place-\d+", cursor) or not 1 <= count <= 500:
            return refuse("INVALID_REQUEST", "INVALID_FIELD")
        place = int(cursor.removeprefix("place-"))
        if self.mutates and place > len(MONDAY):
            self.mutates = False
            return refuse("TRANSACTIONS_ERROR", "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")
        shown = self.log[place : place + min(PAGE, count)]
        after = place + len(shown)
        return 200, written(
            {
                "accounts": [],
                **{
                    name: [change for kind, change in shown if kind == name]
                    for name in ("added", "modified", "removed")
                },
                "next_cursor": f"place-{after}",
                "has_more": after < len(self.log),
                "transactions_update_status": "HISTORICAL_UPDATE_COMPLETE",
                "request_id": "r3",
            }
        )


def refuse(kind: str, code: str) -> Said:
    return 400, {
        "error_type": kind,
        "error_code": code,
        "error_message": code,
        "display_message": None,
        "request_id": "r",
    }
