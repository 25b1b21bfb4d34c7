"""From Teller's payloads to the marts: one store with every case in it, built once, and looked at from all sides."""

import datetime as dt
import shutil
from decimal import Decimal

import pytest

from ledgerlake.lake import BuildFailed, Lake
from ledgerlake.lake._project import PROJECT

AT = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)


def rows(lake: Lake, sql: str) -> list[tuple[object, ...]]:
    return lake.query(sql).rows


def test_transactions_are_signed_from_the_holders_side_to_the_last_digit(books, lake: Lake) -> None:
    book = books()
    book.account("checking")
    book.account("card", "credit", subtype="credit_card", currency="eur")
    book.transaction("salary", "12345678901234567890.12345678")
    book.transaction("fee", "-0.00000001", pending=True)
    book.transaction("round", "1000000")
    book.transaction("purchase", "42.47", "card")
    book.transaction("refund", "-5", "card")
    book.transaction(
        "enriched",
        "1.5",
        description="Shop\u0000 & Café",
        details={"processing_status": "complete", "category": "bar", "counterparty": {"name": "Zoë", "type": "person"}},
    )

    lake.build(buckets=[1], select="+fct_transactions")

    facts = rows(lake, "select provider_transaction_id, status, amount, currency from fct_transactions order by 1")
    assert facts == [
        ("enriched", "posted", Decimal("1.50000000"), "USD"),
        ("fee", "pending", Decimal("-0.00000001"), "USD"),
        ("purchase", "posted", Decimal("-42.47000000"), "EUR"),
        ("refund", "posted", Decimal("5.00000000"), "EUR"),
        ("round", "posted", Decimal("1000000.00000000"), "USD"),
        ("salary", "posted", Decimal("12345678901234567890.12345678"), "USD"),
    ]
    assert rows(lake, "select * exclude (amount) from fct_transactions where provider_transaction_id = 'enriched'") == [
        (
            "con_1:enriched",
            "con_1:checking",
            "cust_1",
            "con_1",
            "teller",
            "checking",
            "enriched",
            "posted",
            dt.date(2026, 1, 15),
            None,
            "USD",
            "Shop & Café",
            "Zoë",
            "bar",
            AT,
            AT,
            1,
        )
    ]
    assert dict(zip(*(lambda a: (a.columns, a.types))(lake.query("from fct_transactions")), strict=True)) == {
        "transaction_key": "VARCHAR",
        "account_key": "VARCHAR",
        "customer_id": "VARCHAR",
        "connection_id": "VARCHAR",
        "provider": "VARCHAR",
        "provider_account_id": "VARCHAR",
        "provider_transaction_id": "VARCHAR",
        "status": "VARCHAR",
        "booked_on": "DATE",
        "value_on": "DATE",
        "amount": "DECIMAL(28,8)",
        "currency": "VARCHAR",
        "description": "VARCHAR",
        "counterparty": "VARCHAR",
        "category": "VARCHAR",
        "first_synced_at": "TIMESTAMP WITH TIME ZONE",
        "synced_at": "TIMESTAMP WITH TIME ZONE",
        "bucket": "SMALLINT",
    }


def test_a_record_that_is_left_out_is_excluded_with_its_reason(books, lake: Lake) -> None:
    book = books()
    book.account("checking")
    book.account("bare", currency=None)
    book.transaction("kept", "1")
    book.transaction("cancelled", "1", pending=True, removed_at=AT, removed_reason="removed")
    book.transaction("reissued", "1", pending=True, removed_at=AT, removed_reason="superseded")
    book.transaction("homeless", "1", "nowhere")
    book.transaction("coinless", "1", "bare")
    book.transaction("wordy", "a lot")
    book.record(
        "transactions", "surrogate", '{"amount": "1", "date": "2026-01-15", "description": "\\ud800"}', "checking"
    )
    book.quarantine("transactions", None, "Expected a JSON object, found half of one.")
    book.quarantine(
        "balances",
        "checking:2026-01-31",
        "Expected ledger or available, found neither.",
    )
    book.quarantine("accounts", "checking", "A good version came later.", released_at=AT)
    book.balance("checking", "2026-01-31", "1")
    book.balance("nowhere", "2026-01-31", "1")

    lake.build(buckets=[1])

    assert rows(lake, "select stream, record_id, model, reason from excluded_records order by all") == [
        ("balances", "checking:2026-01-31", "quarantine", "Expected ledger or available, found neither."),
        ("balances", "nowhere:2026-01-31", "int_balances", "unknown_account"),
        ("transactions", "cancelled", "int_transactions", "removed"),
        ("transactions", "coinless", "int_transactions", "no_currency"),
        ("transactions", "homeless", "int_transactions", "unknown_account"),
        (
            "transactions",
            "quarantine:00000000-0000-0000-0000-000000000001",
            "quarantine",
            "Expected a JSON object, found half of one.",
        ),
        ("transactions", "reissued", "int_transactions", "superseded"),
        ("transactions", "surrogate", "int_transactions", "unreadable"),
        ("transactions", "wordy", "int_transactions", "no_amount"),
    ]
    assert rows(lake, "select provider_transaction_id from fct_transactions") == [("kept",)]
    assert rows(lake, "select distinct provider, connection_id, synced_at, bucket from excluded_records") == [
        ("teller", "con_1", AT, 1)
    ]


def test_accounts_balances_customers_and_months(books, lake: Lake) -> None:
    book = books()
    book.account("checking")
    book.account("card", "credit", subtype="credit_card")
    book.account("closed", status="closed")
    book.account("lost", "loan-ish")
    book.state("lost", "vanished")
    gone = books("con_2", customer_id="cust_1", state="gone")
    gone.account("old", status="closed")
    books("con_3", bucket=2, customer_id="cust_2")
    book.balance("checking", "2026-01-30", "90.5", "80.5")
    book.balance("checking", "2026-01-31", "100", "95")
    book.balance("card", "2026-01-31", "250.25")
    book.balance("lost", "2026-01-02", None, "7")
    book.transaction("in", "30.1")
    book.transaction("out", "-10.05")
    book.transaction("purchase", "1", "card")
    book.transaction("pending", "99", pending=True)
    book.transaction("next month", "2", day="2026-02-01")
    gone.transaction("history", "3", "old", day="2025-12-31")

    lake.build(buckets=[1, 2])

    assert rows(lake, "select account_key, kind, status, name, institution_name from dim_accounts order by 1") == [
        ("con_1:card", "credit", "open", "Everyday", "Chase"),
        ("con_1:checking", "depository", "open", "Everyday", "Chase"),
        ("con_1:closed", "depository", "closed", "Everyday", "Chase"),
        ("con_1:lost", "other", "vanished", "Everyday", "Chase"),
        ("con_2:old", "depository", "gone", "Everyday", "Chase"),
    ]
    assert rows(lake, "select account_key, as_of, booked, available from fct_balances order by all") == [
        ("con_1:card", dt.date(2026, 1, 31), Decimal("-250.25000000"), None),
        ("con_1:checking", dt.date(2026, 1, 30), Decimal("90.50000000"), Decimal("80.50000000")),
        ("con_1:checking", dt.date(2026, 1, 31), Decimal("100.00000000"), Decimal("95.00000000")),
        ("con_1:lost", dt.date(2026, 1, 2), None, Decimal("7.00000000")),
    ]
    assert rows(lake, "from dim_customers order by 1") == [
        ("cust_1", 2, 1, 5, 2, AT, 1),
        ("cust_2", 1, 1, 0, 0, AT, 2),
    ]
    months = "select month, inflow::varchar, outflow::varchar, net::varchar, closing_balance::varchar from customer_months order by 1"
    assert rows(lake, months) == [
        (dt.date(2025, 12, 1), "3.00000000", "0.00000000", "3.00000000", None),
        (dt.date(2026, 1, 1), "30.10000000", "11.05000000", "19.05000000", "-150.25000000"),
        (dt.date(2026, 2, 1), "2.00000000", "0.00000000", "2.00000000", None),
    ]
    assert rows(lake, "select connection_id, status from dim_connections order by 1") == [
        ("con_1", "active"),
        ("con_2", "gone"),
        ("con_3", "active"),
    ]


def test_account_numbers_and_owners_names_stay_in_the_store(books, lake: Lake) -> None:
    book = books()
    book.account("checking")
    book.record("details", "checking", {"account_number": "142999287346", "routing_numbers": {"ach": "066474405"}})
    owner = {
        "type": "person",
        "names": [{"data": "Jane Doe"}, {"data": "J. Doe"}],
        "addresses": [],
        "emails": [{"data": "j@x"}],
    }
    book.record("identity", "checking", {"owners": [owner, {"type": "unknown", "names": []}]})

    lake.build(buckets=[1], select="stg_teller__details stg_teller__identity")

    assert rows(lake, "select account_number_last_four, routing_number_ach from staging.stg_teller__details") == [
        ("7346", "066474405")
    ]
    assert rows(lake, "select owners, names, addresses, phone_numbers, emails from staging.stg_teller__identity") == [
        (2, 2, 0, 0, 1)
    ]


def test_source_mix_counts_customers_by_their_kinds_of_source_each_day(books, lake: Lake) -> None:
    def at(day: int) -> dt.datetime:
        return dt.datetime(2026, 1, day, 23, 59, tzinfo=dt.UTC)

    books("con_1", bucket=1, customer_id="a", created_at=at(1), last_synced_at=at(4))
    books("con_2", bucket=1, customer_id="a", provider="stripe", created_at=at(3), last_synced_at=None)
    books("con_3", bucket=2, customer_id="b", created_at=at(2), state="gone", state_since=at(4), last_synced_at=None)
    books("con_5", bucket=0, customer_id="d", provider="stripe", created_at=at(4), last_synced_at=None)

    lake.build(select="+source_mix")
    books("con_4", bucket=3, customer_id="c", created_at=at(4), last_synced_at=None)
    lake.build(buckets=[3], select="+source_mix")

    assert rows(lake, "select day(day), combination, next_kind, customers from source_mix order by all") == [
        (1, "bank", "billing", 1),
        (2, "bank", "billing", 1),
        (2, "bank", None, 1),
        (3, "bank", None, 1),
        (3, "bank+billing", None, 1),
        (4, "bank", None, 1),
        (4, "bank+billing", None, 1),
        (4, "billing", None, 1),
    ]


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        ("where excluded_because is null and provider_transaction_id <> 'two'", "fct_transactions"),
        (
            "where excluded_because is null union all from {{ ref('int_transactions') }} where provider_transaction_id = 'two'",
            "fct_transactions",
        ),
        ("where excluded_because is null or excluded_because = 'removed'", "fct_transactions"),
    ],
    ids=["a row is lost", "a row is doubled", "a row is in both"],
)
def test_a_model_that_loses_or_doubles_a_row_fails_the_audit(
    books, lake: Lake, settings, tmp_path, broken: str, found: str
) -> None:
    project = tmp_path / "dbt_project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    model = project / "models" / "marts" / "fct_transactions.sql"
    model.write_text(model.read_text().replace("where excluded_because is null", broken))
    book = books()
    book.account("checking")
    book.transaction("one", "1")
    book.transaction("two", "2")
    book.transaction("three", "3", removed_at=AT, removed_reason="removed")

    with pytest.raises(BuildFailed, match=rf"test {found}_conserves_teller_transactions: 1 row of {found}"):
        Lake(lake._where, settings, project).build(buckets=[1], select="+fct_transactions +excluded_records")
