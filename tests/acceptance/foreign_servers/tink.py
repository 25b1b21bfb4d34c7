"""
Tink by its documentation (https://docs.tink.com/api), over two days: the marts are these tables, worked out by hand.

What is awkward here: tokens by form alone and codes that work once, pages of accounts and of transactions, scales of any sign,
amounts as numbers and as text, currencies with no and with three decimals, an account of another consent of the same user, one
without balances, a pending row with its booking ahead, one that comes back under another id, a row that the bank takes back,
one without dates, and an account that was not refreshed.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar

from tests.acceptance.foreign_servers._serving import Asked, Said, Tables

CLIENT_ID, CLIENT_SECRET, USER, CONSENT = "client_checklist", "secret_checklist", "user_1", "credentials_1"
PAGE = 2
"""Accounts or rows that this server gives at most in one answer."""


def money(unscaled: str | int, scale: str | int, currency: str = "EUR") -> dict[str, Any]:
    return {"currencyCode": currency, "value": {"scale": scale, "unscaledValue": unscaled}}


def account(account_id: str, kind: str, refreshed: str, **balances: Any) -> dict[str, Any]:
    return {
        "balances": {name: {"amount": amount} for name, amount in balances.items()},
        "customerSegment": "UNDEFINED_CUSTOMER_SEGMENT",
        "dates": {"lastRefreshed": refreshed},
        "financialInstitutionId": "6e68cc6287704273984567b3300c5822",
        "id": account_id,
        "identifiers": {"iban": {"iban": "SE6930000000011273547693", "bban": "0000011273547693"}},
        "name": f"Konto {account_id}",
        "type": kind,
    }


def row(
    row_id: str, account_id: str, amount: dict[str, Any], booked: str | None, status: str = "BOOKED", **more: Any
) -> dict[str, Any]:
    dates = {} if booked is None else {"dates": {"booked": booked}}
    return (
        {
            "id": row_id,
            "accountId": account_id,
            "amount": amount,
            "status": status,
            "types": {"type": "DEFAULT"},
            "providerMutability": "MUTABILITY_UNDEFINED",
            "descriptions": {"original": f"Row {row_id}", "display": row_id},
        }
        | dates
        | more
    )


MORNING, NEXT = "2026-03-02T06:00:00Z", "2026-03-03T06:00:00Z"
CARD = account("card", "CREDIT_CARD", MORNING, booked=money("-45000", "2"))
SAVINGS = account("kwd", "SAVINGS", MORNING)
OTHERS = account("others", "CHECKING", MORNING, booked=money("1", "0"))
SHOP = {"merchantInformation": {"merchantName": "Local Transit", "merchantCategoryCode": "4111"}}
PEOPLE = {"counterparties": {"payee": {"name": "Joe Doe"}, "payer": {"name": "Jane Doe"}}}
MONDAY = [
    row("salary", "main", money("5", "-2"), "2026-02-27", **PEOPLE),
    row("tram", "main", money("-1300", "1"), "2026-02-28", **SHOP),
    row("same_id", "main", money("-999", "2"), "2026-03-07", "PENDING"),
    row("pending", "main", money("-250", "1"), "2026-03-04", "PENDING"),
    row("corrected", "main", money("-100", "0"), "2026-02-20", **PEOPLE),
    row("taken_back", "main", money("-77", "0"), "2026-02-19"),
    row("no_day", "main", money("-1", "0"), None),
    row("by_time", "main", money("-2", "0"), None, bookedDateTime="2026-02-18T09:25:12Z"),
    row("dinar", "kwd", money("-12345", "3", "KWD"), "2026-02-17"),
    row("dust", "kwd", money(1, 8, "KWD"), "2026-02-16"),
    row("yen", "card", money("-1200", "0", "JPY"), "2026-02-15"),
    row("others", "others", money("-1", "0"), "2026-02-14"),
]
TUESDAY = [
    *[one for one in MONDAY if one["id"] not in {"same_id", "pending", "corrected", "taken_back"}],
    row("same_id", "main", money("-1099", "2"), "2026-03-03"),
    row("posted", "main", money("-25", "0"), "2026-03-03"),
    row("corrected", "main", money("-10050", "2"), "2026-02-21", **PEOPLE),
    row("late", "main", money("3", "0"), "2026-02-10"),
]


TRANSACTIONS = """
    select provider_account_id, provider_transaction_id, status, booked_on, amount, currency, counterparty
    from fct_transactions where provider = 'tink' order by all
"""
OWNERS = """
    select provider_account_id, name, kind, subtype, currency, status, institution_name
    from dim_accounts where provider = 'tink' order by all
"""
BALANCES = """
    select provider_account_id, as_of, booked, available, fct_balances.currency
    from fct_balances join dim_accounts using (account_key) where fct_balances.provider = 'tink' order by all
"""
EXCLUDED = "select stream, record_id, reason from excluded_records where provider = 'tink' order by all"
REST = [
    ("card", "yen", "posted", "2026-02-15", "-1200", "JPY", None),
    ("kwd", "dinar", "posted", "2026-02-17", "-12.345", "KWD", None),
    ("kwd", "dust", "posted", "2026-02-16", "0.00000001", "KWD", None),
    ("main", "by_time", "posted", "2026-02-18", "-2", "EUR", None),
]
FIRST: Tables = {
    OWNERS: [
        ("card", "Konto card", "credit", "credit_card", "EUR", "open", "se-demobank-password"),
        ("kwd", "Konto kwd", "depository", "savings", "KWD", "open", "se-demobank-password"),
        ("main", "Konto main", "depository", "checking", "EUR", "open", "se-demobank-password"),
    ],
    TRANSACTIONS: [
        *REST,
        ("main", "corrected", "posted", "2026-02-20", "-100", "EUR", "Joe Doe"),
        ("main", "pending", "pending", "2026-03-04", "-25", "EUR", None),
        ("main", "salary", "posted", "2026-02-27", "500", "EUR", "Jane Doe"),
        ("main", "same_id", "pending", "2026-03-07", "-9.99", "EUR", None),
        ("main", "taken_back", "posted", "2026-02-19", "-77", "EUR", None),
        ("main", "tram", "posted", "2026-02-28", "-130", "EUR", "Local Transit"),
    ],
    BALANCES: [
        ("card", "2026-03-02", "-450", None, "EUR"),
        ("main", "2026-03-02", "19000", "19042", "EUR"),
    ],
    EXCLUDED: [("transactions", "no_day", "no_date")],
}
SECOND: Tables = {
    TRANSACTIONS: [
        *REST,
        ("main", "corrected", "posted", "2026-02-21", "-100.5", "EUR", "Joe Doe"),
        ("main", "late", "posted", "2026-02-10", "3", "EUR", None),
        ("main", "posted", "posted", "2026-03-03", "-25", "EUR", None),
        ("main", "salary", "posted", "2026-02-27", "500", "EUR", "Jane Doe"),
        ("main", "same_id", "posted", "2026-03-03", "-10.99", "EUR", None),
        ("main", "tram", "posted", "2026-02-28", "-130", "EUR", "Local Transit"),
    ],
    BALANCES: [
        ("card", "2026-03-02", "-450", None, "EUR"),
        ("main", "2026-03-02", "19000", "19042", "EUR"),
        ("main", "2026-03-03", "18964.01", None, "EUR"),
    ],
    EXCLUDED: [
        ("transactions", "no_day", "no_date"),
        ("transactions", "pending", "superseded"),
        ("transactions", "taken_back", "removed"),
    ],
}


class Tink:
    """A user with two consents. Anything that the documentation does not allow is refused."""

    secrets: ClassVar = {"external_user_id": USER, "credentials_id": CONSENT}
    credentials: ClassVar = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    path, first, second = "", FIRST, SECOND

    def __init__(self) -> None:
        self.rows = MONDAY
        self.accounts = [
            account("main", "CHECKING", MORNING, booked=money("19", "-3"), available=money("1904200", "2")),
            OTHERS,
            SAVINGS,
            CARD,
        ]
        self.codes: set[str] = set()
        self.asked: list[str] = []

    def go_on(self) -> None:
        self.rows, self.asked = TUESDAY, []
        self.accounts = [account("main", "CHECKING", NEXT, booked=money(1896401, 2)), OTHERS, SAVINGS, CARD]

    def check(self) -> None:
        assert not [one for one in self.asked if "accountIdIn=kwd" in one or "accountIdIn=others" in one], self.asked

    def __call__(self, asked: Asked) -> Said:
        self.asked.append(str(asked))
        bearer = asked.headers.get("authorization")
        is_form = asked.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        match asked.method, asked.path:
            case "POST", "/api/v1/oauth/token" | "/api/v1/oauth/authorization-grant" if not is_form:
                return refuse(415)
            case "POST", "/api/v1/oauth/token":
                return self.token(asked.form)
            case "POST", "/api/v1/oauth/authorization-grant":
                if bearer != "Bearer client_token":
                    return refuse(401)
                if asked.form.get("external_user_id") != USER or "user_id" in asked.form:
                    return refuse(404, "USER_NOT_FOUND")
                self.codes.add(f"code_{len(self.asked)}")
                return 200, {"code": f"code_{len(self.asked)}"}
        if bearer != "Bearer user_token":
            return refuse(401)
        match asked.method, asked.path:
            case "GET", "/api/v1/provider-consents":
                return 200, {
                    "providerConsents": [
                        self.consent("credentials_0", ["others"]),
                        self.consent(CONSENT, ["main", "kwd", "card"]),
                    ]
                }
            case "GET", "/data/v2/accounts":
                return self.page("accounts", self.accounts, asked, {"pageSize", "pageToken"})
            case "GET", "/data/v2/transactions":
                first, last = asked.one("bookedDateGte") or "0000", asked.one("bookedDateLte") or "2026-03-02"
                shown = [
                    one
                    for one in self.rows
                    if one["accountId"] in asked.query.get("accountIdIn", [one["accountId"]])
                    and first <= one.get("dates", {}).get("booked", last) <= last
                ]
                known = {"pageSize", "pageToken", "accountIdIn", "statusIn", "bookedDateGte", "bookedDateLte"}
                return self.page("transactions", shown, asked, known)
        return refuse(404)

    def token(self, form: dict[str, str]) -> Said:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return refuse(401)
        made = {"token_type": "bearer", "expires_in": 1800, "scope": form.get("scope", "")}
        if form.get("grant_type") == "client_credentials":
            return 200, {"access_token": "client_token", **made}
        if form.get("grant_type") != "authorization_code" or form.get("code") not in self.codes:
            return refuse(400)
        self.codes.remove(form["code"])
        return 200, {"access_token": "user_token", **made}

    def consent(self, credentials_id: str, accounts: list[str]) -> dict[str, Any]:
        millis = int(dt.datetime(2026, 5, 1, tzinfo=dt.UTC).timestamp()) * 1000
        return {
            "accountIds": accounts,
            "credentialsId": credentials_id,
            "providerName": "se-demobank-password",
            "sessionExpiryDate": millis,
            "sessionExtendable": True,
            "status": "UPDATED",
            "statusUpdated": millis - 1,
        }

    def page(self, name: str, found: list[Any], asked: Asked, known: set[str]) -> Said:
        size = int(asked.one("pageSize") or 25)
        if set(asked.query) - known or not 1 <= size <= 100:
            return refuse(400)
        place = int((asked.one("pageToken") or "from-0").removeprefix("from-"))
        after = place + min(size, PAGE)
        return 200, {name: found[place:after], "nextPageToken": f"from-{after}" if after < len(found) else ""}


def refuse(status: int, code: str = "REFUSED") -> Said:
    return status, {"errorMessage": code.lower(), "errorCode": code}
