"""
GoCardless Bank Account Data by its documentation (https://developer.gocardless.com/bank-account-data), over two days: the
marts are these tables, worked out by hand.

What is awkward here: four answers a day for each account and endpoint, ids that are missing, blank or given to several rows,
rows that are equal, a pending row without any id or day, a booked row that the bank rewrites under another id, several balances
of one type, currencies with no and with three decimals, and days that stand in four places.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, ClassVar

from tests.acceptance.foreign_servers._serving import Asked, Said, Tables

SECRET_ID, SECRET_KEY = "secret_id_checklist", "secret_key_checklist"
REQUISITION, AGREEMENT = "8126e9fb-93c9-4228-937c-68f0383c2df7", "2dea1b84-97b0-4cb4-8805-302c227587c8"
BANK = "N26_NTSBDEB1"
A_DAY = 4


def row(amount: str, currency: str = "EUR", **fields: Any) -> dict[str, Any]:
    return {"transactionAmount": {"amount": amount, "currency": currency}, **fields}


def booked(row_id: str, day: str, amount: str, currency: str = "EUR", **fields: Any) -> dict[str, Any]:
    known = {"internalTransactionId": row_id, "bookingDate": day, "remittanceInformationUnstructured": row_id}
    return row(amount, currency, **known, **fields)


RENT = booked(
    "rent", "2026-02-27", "-800.00", creditorName="Landlord", transactionId="8AD4A514", valueDate="2026-02-28"
)
BLANK = row("-6.06", transactionId=" ", bookingDate="2026-02-26", remittanceInformationUnstructured="blank id")
REUSED = [
    row("-1.10", transactionId="9998", bookingDate="2026-02-25", remittanceInformationUnstructured="reused 1"),
    row("-2.20", transactionId="9998", bookingDate="2026-02-24", remittanceInformationUnstructured="reused 2"),
]
EQUAL = row("-3.30", bookingDate="2026-02-23", remittanceInformationUnstructured="equal")
FOREIGN = row(
    "-1200", "JPY", transactionId="yen", valueDate="2026-02-22", remittanceInformationUnstructuredArray=["in", "yen"]
)
TIMED = row(
    "5",
    transactionId="timed",
    bookingDateTime="2026-02-21T23:59:59.000Z",
    debtorName="Jane",
    remittanceInformationStructured="timed",
)
MONDAY = {
    "eur": {
        "booked": [RENT, BLANK, *REUSED, EQUAL, EQUAL, FOREIGN, TIMED],
        "pending": [
            row("-45.00", valueDate="2026-03-04", remittanceInformationUnstructured="card pending"),
            row("-1.00", remittanceInformationUnstructured="no day"),
        ],
    },
    "bhd": {
        "booked": [
            booked("dinar", "2026-02-20", "-12.345", "BHD"),
            booked("moves", "2026-03-01", "7.000", "BHD", transactionId="bank-7"),
        ],
        "pending": [],
    },
}
TUESDAY = {
    "eur": {
        "booked": [booked("card", "2026-03-03", "-45.00"), *MONDAY["eur"]["booked"]],
        "pending": [row("-9.00", valueDate="2026-03-05", remittanceInformationUnstructured="another")],
    },
    # The bank moves the day of a row, and GoCardless gives it another id of its own.
    "bhd": {
        "booked": [booked("moved", "2026-03-02", "7.000", "BHD", transactionId="bank-7"), *MONDAY["bhd"]["booked"][:1]],
        "pending": [],
    },
}
BALANCES = {
    "eur": [
        ("657.49", "interimAvailable", "2026-03-02"),
        ("185.67", "interimAvailable", "2026-03-01"),
        ("700.00", "closingBooked", "2026-03-01"),
    ],
    "bhd": [],
}
DETAILS = {
    "eur": {"currency": "EUR", "name": "", "product": "Girokonto", "cashAccountType": "CACC", "iban": "DE00"},
    "bhd": {"currency": "BHD", "displayName": "Dinar", "name": "x", "cashAccountType": "SVGS"},
}


TRANSACTIONS = """
    select provider_account_id, status, booked_on, value_on, amount, currency, description, counterparty
    from fct_transactions where provider = 'gocardless' order by all
"""
OWNERS = """
    select provider_account_id, name, kind, subtype, currency, status, institution_name
    from dim_accounts where provider = 'gocardless' order by all
"""
READINGS = """
    select provider_account_id, as_of, booked, available, fct_balances.currency
    from fct_balances join dim_accounts using (account_key) where fct_balances.provider = 'gocardless' order by all
"""
EXCLUDED = """
    select stream, if(record_id = 'bhd:moves', record_id, 'pending'), reason
    from excluded_records where provider = 'gocardless' order by all
"""
SAME = [
    ("eur", "posted", "2026-02-21", None, "5", "EUR", "timed", "Jane"),
    ("eur", "posted", "2026-02-22", "2026-02-22", "-1200", "JPY", "in yen", None),
    ("eur", "posted", "2026-02-23", None, "-3.3", "EUR", "equal", None),
    ("eur", "posted", "2026-02-23", None, "-3.3", "EUR", "equal", None),
    ("eur", "posted", "2026-02-24", None, "-2.2", "EUR", "reused 2", None),
    ("eur", "posted", "2026-02-25", None, "-1.1", "EUR", "reused 1", None),
    ("eur", "posted", "2026-02-26", None, "-6.06", "EUR", "blank id", None),
    ("eur", "posted", "2026-02-27", "2026-02-28", "-800", "EUR", "rent", "Landlord"),
]
FIRST: Tables = {
    OWNERS: [
        ("bhd", "Dinar", "depository", "SVGS", "BHD", "open", BANK),
        ("eur", "Girokonto", "depository", "CACC", "EUR", "open", BANK),
    ],
    TRANSACTIONS: [
        ("bhd", "posted", "2026-02-20", None, "-12.345", "BHD", "dinar", None),
        ("bhd", "posted", "2026-03-01", None, "7", "BHD", "moves", None),
        ("eur", "pending", "2026-03-04", "2026-03-04", "-45", "EUR", "card pending", None),
        *SAME,
    ],
    READINGS: [("eur", "2026-03-02", "700", "657.49", "EUR")],
    EXCLUDED: [("transactions", "pending", "no_date")],
}
SECOND: Tables = {
    TRANSACTIONS: [
        ("bhd", "posted", "2026-02-20", None, "-12.345", "BHD", "dinar", None),
        ("bhd", "posted", "2026-03-02", None, "7", "BHD", "moved", None),
        ("eur", "pending", "2026-03-05", "2026-03-05", "-9", "EUR", "another", None),
        *SAME,
        ("eur", "posted", "2026-03-03", None, "-45", "EUR", "card", None),
    ],
    READINGS: [
        ("eur", "2026-03-02", "700", "657.49", "EUR"),
        ("eur", "2026-03-04", "700", "657.49", "EUR"),
    ],
    EXCLUDED: [
        ("transactions", "bhd:moves", "removed"),
        ("transactions", "pending", "superseded"),
        ("transactions", "pending", "superseded"),
    ],
}


class GoCardless:
    """One requisition of two accounts. Anything that the documentation does not allow is refused."""

    secrets: ClassVar = {"requisition_id": REQUISITION}
    credentials: ClassVar = {"secret_id": SECRET_ID, "secret_key": SECRET_KEY}
    path, first, second = "/api/v2", FIRST, SECOND

    def __init__(self) -> None:
        self.rows = MONDAY
        self.answered: Counter[tuple[str, str]] = Counter()
        self.asked: list[str] = []

    def go_on(self) -> None:
        self.rows = TUESDAY
        self.answered.clear()

    def check(self) -> None:
        assert set(self.answered.values()) == {A_DAY}, "each sync takes one answer, until none is left"

    def __call__(self, asked: Asked) -> Said:
        self.asked.append(str(asked))
        if asked.path == "/api/v2/token/new/" and asked.method == "POST":
            if json.loads(asked.body) != {"secret_id": SECRET_ID, "secret_key": SECRET_KEY}:
                return refuse(401, "Authentication failed", "No active account found with the given credentials")
            return 200, {
                "access": "access_jwt",
                "access_expires": 86400,
                "refresh": "refresh_jwt",
                "refresh_expires": 2592000,
            }
        if asked.headers.get("authorization") != "Bearer access_jwt":
            return refuse(401, "Invalid token", "Token is invalid or expired")
        match asked.path.removeprefix("/api/v2").strip("/").split("/") if asked.path.endswith("/") else []:
            case ["requisitions", one] if one == REQUISITION:
                linked = {
                    "id": one,
                    "status": "LN",
                    "agreement": AGREEMENT,
                    "institution_id": BANK,
                    "accounts": ["eur", "bhd"],
                }
                return 200, linked | {
                    "created": "2026-02-01T15:53:29.481Z",
                    "reference": "ref",
                    "link": "https://ob.example",
                }
            case ["agreements", "enduser", one] if one == AGREEMENT:
                granted = {"id": one, "max_historical_days": 90, "access_valid_for_days": 180, "institution_id": BANK}
                return 200, granted | {"created": "2026-02-01T15:53:29Z", "accepted": "2026-02-01T15:54:00.000Z"}
            case ["accounts", "eur" | "bhd" as one]:
                known = {
                    "id": one,
                    "created": "2026-02-01T15:54:01Z",
                    "last_accessed": None,
                    "iban": "DE00",
                    "institution_id": BANK,
                }
                return 200, known | {"status": "READY", "owner_name": "JOHN EXAMPLE"}
            case ["accounts", "eur" | "bhd" as one, "details" | "balances" | "transactions" as what]:
                return self.budgeted(one, what, asked)
        return refuse(404, "Not found.", "Not found.")

    def budgeted(self, account_id: str, what: str, asked: Asked) -> Said:
        left = A_DAY - self.answered[account_id, what]
        headers = {
            "http_x_ratelimit_account_success_limit": str(A_DAY),
            "http_x_ratelimit_account_success_reset": "3600",
        }
        if left <= 0:
            body = refuse(429, "Rate limit exceeded", "Daily request limit set by the Institution has been exceeded.")[
                1
            ]
            return 429, body | {"type": "RateLimitError"}, headers | {"http_x_ratelimit_account_success_remaining": "0"}
        self.answered[account_id, what] += 1
        headers["http_x_ratelimit_account_success_remaining"] = str(left - 1)
        match what:
            case "details":
                return 200, {"account": DETAILS[account_id]}, headers
            case "balances":
                listed = [
                    {"balanceAmount": {"amount": amount, "currency": "EUR"}, "balanceType": kind, "referenceDate": day}
                    for amount, kind, day in BALANCES[account_id]
                ]
                return 200, {"balances": listed}, headers
        first = asked.one("date_from") or "0000"
        shown = [one for one in self.rows[account_id]["booked"] if day_of(one) >= first]
        rows = {"booked": shown, "pending": self.rows[account_id]["pending"]}
        return 200, {"transactions": rows, "last_updated": "2026-03-02T11:29:24Z"}, headers


def day_of(one: dict[str, Any]) -> str:
    return str(one.get("bookingDate") or one.get("bookingDateTime", "")[:10] or one.get("valueDate"))


def refuse(status: int, summary: str, detail: str) -> Said:
    return status, {"summary": summary, "detail": detail, "status_code": status}
