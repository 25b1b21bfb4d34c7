"""
Teller by its documentation (https://teller.io/docs/api), over two days: the marts are these tables, worked out by hand.

What is awkward here: a card's sign, an amount without decimals, balances with one side missing, accounts without links, a
server that gives fewer rows a page than it is asked for, a pending row that posts under another id, one that posts under its
own with another amount and date, one that is cancelled, enrichment that comes late, and a row dated before the last sync.
"""

from __future__ import annotations

import base64
from typing import Any, ClassVar

from tests.acceptance.foreign_servers._serving import Asked, Said, Tables

TOKEN, ENROLLMENT = "token_test_checklist", "enr_1"
URL = "https://api.teller.io/accounts"
PAGE = 3
"""Rows that this server gives at most."""


def account(account_id: str, kind: str, subtype: str, name: str, *links: str) -> dict[str, Any]:
    there = {"self": f"{URL}/{account_id}"} | {link: f"{URL}/{account_id}/{link}" for link in links}
    return {
        "enrollment_id": ENROLLMENT,
        "links": there,
        "institution": {"name": "Security Credit Union", "id": "security_cu"},
        "type": kind,
        "name": name,
        "subtype": subtype,
        "currency": "USD",
        "id": account_id,
        "last_four": "7857",
        "status": "open",
    }


def row(account_id: str, row_id: str, day: str, amount: str, status: str = "posted", **details: Any) -> dict[str, Any]:
    known = {
        "processing_status": "complete",
        "category": "general",
        "counterparty": {"name": "SHOP", "type": "organization"},
    }
    return {
        "details": known | details,
        "running_balance": None,
        "description": f"Row {row_id}",
        "id": row_id,
        "date": day,
        "account_id": account_id,
        "amount": amount,
        "type": "card_payment",
        "status": status,
        "links": {"self": f"{URL}/{account_id}/transactions/{row_id}", "account": f"{URL}/{account_id}"},
    }


PLAIN = {"processing_status": "pending", "category": None, "counterparty": {"name": None, "type": None}}
SALARY = row("acc_1", "txn_salary", "2026-01-10", "1000000")
GROCERIES = row("acc_1", "txn_groceries", "2026-02-27", "-12.30", category="groceries")
BACKDATED = row("acc_1", "txn_backdated", "2026-02-25", "-0.01", counterparty=None)
MONDAY = {
    "acc_1": [
        row("acc_1", "txn_reissued", "2026-03-02", "-45.00", "pending", **PLAIN),
        row("acc_1", "txn_same_id", "2026-03-02", "-8.99", "pending", **PLAIN),
        row("acc_1", "txn_cancelled", "2026-03-01", "-20.00", "pending", **PLAIN),
        GROCERIES,
        SALARY,
    ],
    "acc_2": [
        row("acc_2", "txn_atm", "2026-02-20", "42.47"),
        row("acc_2", "txn_payment", "2026-02-19", "-100.00", counterparty={"name": "YOURSELF", "type": "person"}),
    ],
}
WEDNESDAY = {
    "acc_1": [
        row("acc_1", "txn_posted", "2026-03-04", "-45.00"),
        row(
            "acc_1",
            "txn_same_id",
            "2026-03-03",
            "-9.49",
            category="dining",
            counterparty={"name": "CAFE", "type": "organization"},
        ),
        GROCERIES,
        BACKDATED,
        SALARY,
    ],
    "acc_2": MONDAY["acc_2"],
}


TRANSACTIONS = """
    select provider_account_id, provider_transaction_id, status, booked_on, amount, currency, counterparty, category
    from fct_transactions where provider = 'teller' order by all
"""
ACCOUNTS = """
    select provider_account_id, name, kind, subtype, currency, status, institution_name
    from dim_accounts where provider = 'teller' order by all
"""
BALANCES = """
    select provider_account_id, as_of, booked, available, fct_balances.currency
    from fct_balances join dim_accounts using (account_key) where fct_balances.provider = 'teller' order by all
"""
EXCLUDED = "select stream, record_id, reason from excluded_records where provider = 'teller' order by all"
CARD = [
    ("acc_2", "txn_atm", "posted", "2026-02-20", "-42.47", "USD", "SHOP", "general"),
    ("acc_2", "txn_payment", "posted", "2026-02-19", "100", "USD", "YOURSELF", "general"),
]
SHOWN = [
    ("acc_1", "Checking", "depository", "checking", "USD", "open", "Security Credit Union"),
    ("acc_2", "Platinum Card", "credit", "credit_card", "USD", "open", "Security Credit Union"),
    ("acc_3", "Certificate", "depository", "certificate_of_deposit", "USD", "open", "Security Credit Union"),
]
FIRST: Tables = {
    ACCOUNTS: SHOWN,
    TRANSACTIONS: [
        ("acc_1", "txn_cancelled", "pending", "2026-03-01", "-20", "USD", None, None),
        ("acc_1", "txn_groceries", "posted", "2026-02-27", "-12.3", "USD", "SHOP", "groceries"),
        ("acc_1", "txn_reissued", "pending", "2026-03-02", "-45", "USD", None, None),
        ("acc_1", "txn_salary", "posted", "2026-01-10", "1000000", "USD", "SHOP", "general"),
        ("acc_1", "txn_same_id", "pending", "2026-03-02", "-8.99", "USD", None, None),
        *CARD,
    ],
    BALANCES: [
        ("acc_1", "2026-03-02", "999933.72", None, "USD"),
        ("acc_2", "2026-03-02", "-250.1", "-245.1", "USD"),
    ],
    EXCLUDED: [],
}
SECOND: Tables = {
    ACCOUNTS: SHOWN,
    TRANSACTIONS: [
        ("acc_1", "txn_backdated", "posted", "2026-02-25", "-0.01", "USD", None, "general"),
        ("acc_1", "txn_groceries", "posted", "2026-02-27", "-12.3", "USD", "SHOP", "groceries"),
        ("acc_1", "txn_posted", "posted", "2026-03-04", "-45", "USD", "SHOP", "general"),
        ("acc_1", "txn_salary", "posted", "2026-01-10", "1000000", "USD", "SHOP", "general"),
        ("acc_1", "txn_same_id", "posted", "2026-03-03", "-9.49", "USD", "CAFE", "dining"),
        *CARD,
    ],
    BALANCES: [
        ("acc_1", "2026-03-02", "999933.72", None, "USD"),
        ("acc_1", "2026-03-04", None, "999900", "USD"),
        ("acc_2", "2026-03-02", "-250.1", "-245.1", "USD"),
        ("acc_2", "2026-03-04", "-250.1", "-245.1", "USD"),
    ],
    EXCLUDED: [
        ("transactions", "txn_cancelled", "superseded"),
        ("transactions", "txn_reissued", "superseded"),
    ],
}


class Teller:
    """Three accounts behind one token. Anything that the documentation does not allow is refused."""

    secrets: ClassVar = {"access_token": TOKEN, "enrollment_id": ENROLLMENT}
    credentials: ClassVar[dict[str, str]] = {}
    path, first, second = "", FIRST, SECOND

    def __init__(self) -> None:
        self.rows = MONDAY
        self.balance: tuple[str | None, str | None] = ("999933.72", None)
        self.asked: list[str] = []

    def go_on(self) -> None:
        self.rows, self.balance = WEDNESDAY, (None, "999900")

    def check(self) -> None:
        assert not [one for one in self.asked if "acc_3/" in one], "asked for what has no link"

    def __call__(self, asked: Asked) -> Said:
        self.asked.append(str(asked))
        basic = base64.b64encode(f"{TOKEN}:".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {basic}":
            return refuse(403, "forbidden")
        match asked.path.strip("/").split("/"):
            case ["accounts"]:
                return 200, [
                    account("acc_1", "depository", "checking", "Checking", "balances", "transactions", "details"),
                    account("acc_2", "credit", "credit_card", "Platinum Card", "balances", "transactions"),
                    account("acc_3", "depository", "certificate_of_deposit", "Certificate"),
                ]
            case ["accounts", ("acc_1" | "acc_2") as one, "balances"]:
                readings = {"acc_1": self.balance, "acc_2": ("250.10", "245.10")}[one]
                links = {"account": f"{URL}/{one}", "self": f"{URL}/{one}/balances"}
                return 200, {"ledger": readings[0], "links": links, "account_id": one, "available": readings[1]}
            case ["accounts", "acc_1", "details"]:
                return refuse(404, "account_number_verification_pending")
            case ["accounts", ("acc_1" | "acc_2") as one, "transactions"]:
                return self.transactions(one, asked)
            case ["accounts", ("acc_1" | "acc_2") as one, "transactions", row_id]:
                found = [each for each in self.rows[one] if each["id"] == row_id]
                return (200, found[0]) if found else refuse(404, "not_found")
            case ["identity"]:
                return 200, []
        return refuse(404, "not_found")

    def transactions(self, account_id: str, asked: Asked) -> Said:
        if set(asked.query) - {"count", "from_id", "start_date", "end_date"}:
            return refuse(400, "bad_request")
        first, last = asked.one("start_date") or "0000", asked.one("end_date") or "9999"
        shown = [each for each in self.rows[account_id] if first <= each["date"] <= last]
        if (after := asked.one("from_id")) is not None:
            ids = [each["id"] for each in self.rows[account_id]]
            if after not in ids:
                return refuse(404, "not_found")
            older = set(ids[ids.index(after) + 1 :])
            shown = [each for each in shown if each["id"] in older]
        return 200, shown[: min(PAGE, int(asked.one("count") or PAGE))]


def refuse(status: int, code: str) -> Said:
    return status, {"error": {"code": code, "message": f"{code}."}}
