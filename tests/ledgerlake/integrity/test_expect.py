"""The oracle on payloads written by hand: each is awkward in a way that some bank is, and read by the provider's page."""

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from ledgerlake.integrity._expect import PROVIDERS, expected

_COLUMNS = (
    "connection_id VARCHAR, record_id VARCHAR, account_id VARCHAR, record_date DATE, pending BOOLEAN, payload JSON"
)
_DAY = dt.date(2026, 3, 1)


class Reader:
    """Payloads in, what the oracle reads out."""

    def __init__(self) -> None:
        self.duck = duckdb.connect()
        self.duck.execute("SET TimeZone = 'Asia/Tokyo'")
        for name in ("payloads", "account_payloads"):
            self.duck.execute(f"CREATE TABLE {name} ({_COLUMNS})")

    def account(self, payload: object, account_id: str = "acc") -> None:
        self.duck.execute(
            "INSERT INTO account_payloads VALUES ('con', ?, ?, NULL, false, ?)",
            [account_id, account_id, json.dumps(payload)],
        )

    def rows(self, provider: str, stream: str, *payloads: object, pending: bool = False) -> list[dict[str, Any]]:
        """What the oracle reads of these, in their order; bytes and text are payloads as they are."""
        for number, one in enumerate(payloads):
            text = one if isinstance(one, str) else json.dumps(one)
            self.duck.execute(
                "INSERT INTO payloads VALUES ('con', ?, 'acc', ?, ?, ?)", [f"r{number:03}", _DAY, pending, text]
            )
        query = expected(provider, stream)
        assert query is not None
        found = self.duck.execute(f"SELECT * FROM ({query}) ORDER BY record_id")
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        self.duck.execute("DELETE FROM payloads")
        return rows

    def amounts(self, provider: str, stream: str, *payloads: object) -> list[Decimal | None]:
        return [row["amount"] for row in self.rows(provider, stream, *payloads)]


@pytest.fixture
def read() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.duck.close()


def _row(**told: Any) -> dict[str, Any]:
    """A row as the oracle reads it, but for what is told."""
    empty: dict[str, Any] = dict.fromkeys(("day", "source_amount", "amount", "currency", "available"))
    return {"connection_id": "con", "record_id": "r000", "account_id": "acc", "pending": False} | empty | told


def test_every_stream_that_ends_in_a_mart_of_money_is_read_and_no_other_is() -> None:
    bank = {"accounts", "balances", "transactions"}
    billing = {
        "accounts", "charges", "refunds", "disputes", "credit_notes", "payouts", "balance_transactions", "invoices", "subscriptions",
    }  # fmt: skip
    streams = bank | billing | {"identity", "details", "item", "consents", "events", "customers", "invoice_lines"}
    found = {provider: {stream for stream in streams if expected(provider, stream)} for provider in PROVIDERS}
    assert found == {"gocardless": bank, "plaid": bank, "stripe": billing, "teller": bank, "tink": bank}
    assert expected("a bank that nobody knows", "transactions") is None


def test_a_purchase_on_a_teller_card_is_money_out_and_one_on_a_checking_account_is_too(read: Reader) -> None:
    read.account({"id": "card", "type": "credit", "currency": "usd"}, "card")
    read.account({"id": "acc", "type": "depository", "currency": "USD"})
    row = {"id": "r000", "date": "2026-02-28", "status": "posted"}
    assert read.rows(
        "teller", "transactions", {**row, "account_id": "card", "amount": "42.47"},
        {**row, "id": "r001", "account_id": "acc", "amount": "-1000000", "status": "pending"},
        {**row, "id": "r002", "account_id": "nobody's", "amount": "1.00"},
    ) == [
        _row(account_id="card", day=dt.date(2026, 2, 28), source_amount=Decimal("42.47"), amount=Decimal("-42.47"), currency="USD"),
        _row(record_id="r001", day=dt.date(2026, 2, 28), source_amount=Decimal(-1000000), amount=Decimal(-1000000), currency="USD", pending=True),
        _row(record_id="r002", account_id="nobody's", day=dt.date(2026, 2, 28), source_amount=Decimal(1)),
    ]  # fmt: skip


def test_what_is_owed_on_a_teller_card_is_a_negative_balance_and_a_balance_that_is_not_told_is_none(
    read: Reader,
) -> None:
    read.account({"id": "acc", "type": "credit", "currency": "USD"})
    assert read.rows(
        "teller", "balances", {"account_id": "acc", "ledger": "120.50", "available": "130.00"},
        {"account_id": "acc", "ledger": None, "available": "130.00"},
    ) == [
        _row(day=_DAY, source_amount=Decimal("120.50"), amount=Decimal("-120.50"), available=Decimal(-130), currency="USD"),
        _row(record_id="r001", day=_DAY, available=Decimal(-130), currency="USD"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("-12.50", "-12.50"),
        ("0.12345678", "0.12345678"),
        ("99999999999999999999.99999999", "99999999999999999999.99999999"),
        ("1.100000000000", "1.1"),
        ("1.5e3", "1500"),
        ("0.000000000", "0"),
        ("0.123456789", None),  # 9 decimals: not rounded
        ("1e-9", None),
        ("100000000000000000000", None),  # 21 digits
        ("NaN", None),
        ("12,50", None),
        ("", None),
    ],
)
def test_an_amount_is_read_exactly_or_not_at_all(read: Reader, text: str, amount: str | None) -> None:
    read.account({"id": "acc", "type": "depository", "currency": "USD"})
    row = {"id": "r000", "account_id": "acc", "date": "2026-02-28", "status": "posted", "amount": text}
    assert read.amounts("teller", "transactions", row) == [None if amount is None else Decimal(amount)]


def test_money_out_is_positive_at_plaid_for_every_account_and_a_currency_may_be_its_own(read: Reader) -> None:
    told = '{"transaction_id": "T1", "account_id": "acc", "amount": %s, "date": "2026-02-27", "pending": %s, %s}'
    assert read.rows(
        "plaid",
        "transactions",
        told % ("12.5", "false", '"iso_currency_code": "usd", "unofficial_currency_code": null'),
        told.replace("T1", "T2") % ("-3", "true", '"iso_currency_code": null, "unofficial_currency_code": "XCHbit"'),
    ) == [
        _row(
            record_id="T1",
            day=dt.date(2026, 2, 27),
            source_amount=Decimal("12.5"),
            amount=Decimal("-12.5"),
            currency="USD",
        ),
        _row(
            record_id="T2",
            day=dt.date(2026, 2, 27),
            source_amount=Decimal(-3),
            amount=Decimal(3),
            currency="XCHbit",
            pending=True,
        ),
    ]


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0.30000000000000004", "-0.3"),
        ("1234567890.1000001", "-1234567890.1"),
        ("9.900000000000006", "-9.9"),
        ("-8.899999999999999", "8.9"),
        ("123456789012.12345678", "-123456789012.12345678"),  # a double would say .12346
        ("12345678901234567.25", "-12345678901234567.25"),
        ("1234567.12345678", "-1234567.12345678"),
        ("0.00000001", "-0.00000001"),
        ("1e2", "-100"),
        ("2.5E-3", "-0.0025"),
        ("0.123456789", None),
    ],
)
def test_a_number_of_plaid_is_the_decimal_that_stands_there_without_a_double_s_noise(
    read: Reader, text: str, amount: str | None
) -> None:
    # Members of the same name elsewhere, and a text that looks like one, are not taken for it.
    payload = (
        '{"transaction_id": "T", "location": {"amount": 7}, "name": "\\"amount\\": 9", "amount" : '
        + text
        + ', "date": "2026-02-27", "pending": false, "iso_currency_code": "USD"}'
    )
    assert read.amounts("plaid", "transactions", payload) == [None if amount is None else Decimal(amount)]


@pytest.mark.parametrize(
    ("kind", "amount", "available"),
    [
        ("depository", "150.25", "140"),
        ("credit", "-150.25", "-860"),
        ("loan", "-150.25", None),
        ("investment", "150.25", None),
    ],
)
def test_a_balance_of_plaid_is_read_by_the_kind_of_the_account(
    read: Reader, kind: str, amount: str, available: str | None
) -> None:
    balances = {"current": 150.25, "available": 140, "limit": 1000, "iso_currency_code": "CAD"}
    assert read.rows("plaid", "balances", {"account_id": "acc", "type": kind, "balances": balances}) == [
        _row(
            day=_DAY,
            source_amount=Decimal("150.25"),
            amount=Decimal(amount),
            available=available and Decimal(available),
            currency="CAD",
        )
    ]


@pytest.mark.parametrize(
    ("unscaled", "scale", "amount"),
    [
        ("-1300", "1", "-130"),
        ("19", "-3", "19000"),
        (1050, 2, "10.50"),
        ("7", "0", "7"),
        ("-5", "4", "-0.0005"),
        ("-5", "8", "-0.00000005"),
        ("123456789012345678", "8", "1234567890.12345678"),
        ("1200000000000", "12", "1.2"),
        ("0", "30", "0"),
        ("5", "9", None),
        ("1.5", "1", None),
        ("5", "two", None),
        ("1", "-25", None),
    ],
)
def test_an_amount_of_tink_moves_the_point_by_a_scale_of_any_sign(
    read: Reader, unscaled: str | int, scale: str | int, amount: str | None
) -> None:
    money = {"currencyCode": "eur", "value": {"unscaledValue": unscaled, "scale": scale}}
    told = {"id": "T", "accountId": "acc", "amount": money, "status": "PENDING", "dates": {"booked": "2026-03-09"}}
    value = None if amount is None else Decimal(amount)
    assert read.rows("tink", "transactions", told) == [
        _row(record_id="T", day=dt.date(2026, 3, 9), source_amount=value, amount=value, currency="EUR", pending=True)
    ]


def test_a_row_of_tink_without_a_booked_day_counts_when_it_was_valued_or_made(read: Reader) -> None:
    rows = [
        {"id": "a", "bookedDateTime": "2026-02-03T23:30:00Z", "dates": {"value": "2026-02-04"}},
        {"id": "b", "dates": {"value": "2026-02-04", "transaction": "2026-02-01"}},
        {"id": "c", "dates": {"transaction": "2026-02-01"}},
        {"id": "d"},
    ]
    assert [row["day"] for row in read.rows("tink", "transactions", *rows)] == [
        dt.date(2026, 2, 3), dt.date(2026, 2, 4), dt.date(2026, 2, 1), None,
    ]  # fmt: skip


def test_a_balance_of_tink_is_negative_where_it_is_owed(read: Reader) -> None:
    def money(text: str) -> dict[str, Any]:
        return {"amount": {"currencyCode": "SEK", "value": {"unscaledValue": text, "scale": "2"}}}

    assert read.rows("tink", "balances", {"booked": money("-1904200"), "available": money("5")}) == [
        _row(
            day=_DAY,
            source_amount=Decimal(-19042),
            amount=Decimal(-19042),
            available=Decimal("0.05"),
            currency="SEK",
        )
    ]


@pytest.mark.parametrize(
    ("institution", "amount", "balance"),
    [
        ("SANDBOXFINANCE_SFIN0000", "947.26", "80.00"),
        ("EUROCARD_SE_SKHSFI21", "-947.26", "-80.00"),
        ("SEB_CARD_ESSESESS", "-947.26", "-80.00"),
        ("SEB_ESSESESS", "947.26", "80.00"),  # the bank, not its card
    ],
)
def test_the_cards_of_seb_kort_turn_the_sign_at_gocardless_and_no_other_bank_does(
    read: Reader, institution: str, amount: str, balance: str
) -> None:
    read.account({"id": "acc", "institution_id": institution, "status": "READY"})
    read.account({"account": {"currency": "SEK"}})
    row = {
        "transactionAmount": {"amount": "947.26", "currency": "sek"},
        "bookingDate": " ",
        "valueDateTime": "2026-02-05T23:59:59Z",
    }
    assert read.rows("gocardless", "transactions", row, pending=True) == [
        _row(
            day=dt.date(2026, 2, 5),
            source_amount=Decimal("947.26"),
            amount=Decimal(amount),
            currency="SEK",
            pending=True,
        )
    ]
    listed = [
        {"balanceAmount": {"amount": "80.00", "currency": "SEK"}, "balanceType": "closingBooked"},
        {"balanceAmount": {"amount": "5000", "currency": "SEK"}, "balanceType": "interimAvailable"},
    ]
    (found,) = read.rows("gocardless", "balances", {"balances": listed})
    assert (found["amount"], found["available"]) == (Decimal(balance), None if amount[0] == "-" else Decimal(5000))


def test_of_several_balances_at_gocardless_the_own_currency_s_booked_one_of_the_latest_day_counts(read: Reader) -> None:
    read.account({"account": {"currency": "EUR"}})
    told = [
        ("interimBooked", "1.00", "GBP", "2026-02-28"),
        ("closingBooked", "2.00", "EUR", "2026-02-27"),
        ("closingBooked", "3.00", "EUR", "2026-02-28"),
        ("expected", "4.00", "EUR", "2026-03-02"),
        ("openingAvailable", "5.00", "EUR", None),
    ]
    listed = [
        {"balanceType": kind, "balanceAmount": {"amount": amount, "currency": currency}, "referenceDate": day}
        for kind, amount, currency, day in told
    ]
    assert read.rows("gocardless", "balances", {"balances": listed}, {"balances": []}) == [
        _row(day=_DAY, source_amount=Decimal(3), amount=Decimal(3), available=Decimal(5), currency="EUR"),
        _row(record_id="r001", day=_DAY, currency="EUR"),
    ]


@pytest.mark.parametrize(
    ("currency", "amount"), [("usd", "12345.67"), ("jpy", "1234567"), ("kwd", "1234.567"), ("isk", "12345.67"), (None, None)]
)  # fmt: skip
def test_a_smallest_unit_of_stripe_is_worth_what_its_currency_says(
    read: Reader, currency: str | None, amount: str | None
) -> None:
    charge = {"id": "ch", "object": "charge", "created": 1772236799, "currency": currency, "amount": 1234567}
    invoice = {"id": "in", "object": "invoice", "created": 1772236800, "currency": currency, "total": 1234567}
    value = None if amount is None else Decimal(amount)
    code = currency and currency.upper()
    found = read.rows("stripe", "charges", charge, invoice | {"amount": 1})
    assert found == [
        _row(record_id="ch", day=dt.date(2026, 2, 27), source_amount=value, amount=value, currency=code),
        _row(record_id="in", day=dt.date(2026, 2, 28), source_amount=value, amount=value, currency=code),
    ]


def test_a_movement_of_stripe_is_pending_until_it_is_available_and_a_subscription_has_no_amount(read: Reader) -> None:
    movement = {
        "object": "balance_transaction",
        "created": 1772236800,
        "currency": "eur",
        "amount": -250,
        "status": "pending",
    }
    subscription = {
        "object": "subscription",
        "created": 1772236800,
        "currency": "eur",
        "amount": 1,
        "status": "trialing",
    }
    day = dt.date(2026, 2, 28)
    assert read.rows("stripe", "balance_transactions", movement, subscription) == [
        _row(day=day, source_amount=Decimal("-2.5"), amount=Decimal("-2.5"), currency="EUR", pending=True),
        _row(record_id="r001", day=day, currency="EUR"),
    ]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_payload_that_duckdb_cannot_read_costs_no_other_one(read: Reader, provider: str) -> None:
    stream = "charges" if provider == "stripe" else "transactions"
    lone, odd = '{"id": "x", "description": "\\ud800"}', '["not", "an", {"object": 1e400}]'
    read.duck.execute("ALTER TABLE payloads ALTER payload TYPE VARCHAR")
    assert [row["amount"] for row in read.rows(provider, stream, "{}", lone, odd)] == [None, None, None]
