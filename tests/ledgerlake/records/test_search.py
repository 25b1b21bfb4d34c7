"""What a text may mean, exactly; and what it may not be used for."""

from decimal import Decimal

import pytest

from ledgerlake.lake import LakeReader
from ledgerlake.records import search
from ledgerlake.records._search import amount_of
from ledgerlake.store import Store
from tests.ledgerlake.lake.conftest import Seed
from tests.ledgerlake.records.conftest import Planted

MEANS: dict[str, list[tuple[str, str | None]]] = {
    "t1": [("record", "t1")],
    " t1 ": [("record", "t1")],
    "t2": [("record", "t2")],
    "12.75": [("amount", "t1")],
    "-12.75": [],
    "12.7": [],
    "zwetschken": [("description", "t1")],
    "zw": [],
    "con_1": [("connection", None), ("connection", "t1")],
    "cust_con_1": [("customer", None), ("customer", "t1")],
    "acc": [("record", "acc"), ("account", None), ("account", "t1")],
    "' or 1 = 1 --": [],
    "%": [],
    "": [],
    "t1\0": [],
    "x" * 1000: [],
}


def test_a_text_finds_what_it_means_and_nothing_else(store: Store, lake: LakeReader, planted: Planted) -> None:
    with store.connect() as postgres:
        postgres.execute("INSERT INTO ledgerlake.accounts VALUES ('con_1', 'acc', 'open', NULL, '2026-01-01')")
    assert {text: [(one.why, one.record_id) for one in search(store, lake, text)] for text in MEANS} == MEANS


def test_whoever_may_not_read_descriptions_may_not_look_into_them(
    store: Store, lake: LakeReader, planted: Planted
) -> None:
    assert search(store, lake, "zwetschken", descriptions=False) == []


def test_a_record_that_is_not_published_yet_is_found_in_the_store(
    store: Store, lake: LakeReader, postgres_url: str
) -> None:
    Seed(postgres_url).customer().transaction("fresh", "1")
    assert [(one.why, one.stream, one.record_id) for one in search(store, lake, "fresh")] == [
        ("record", "transactions", "fresh")
    ]


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("12.50", Decimal("12.50")),
        ("-1,234.5", Decimal("-1234.5")),
        ("+7", Decimal(7)),
        ("1,23", None),
        ("1e3", None),
        ("NaN", None),
        ("12.50 USD", None),
        ("9" * 40, None),
    ],
)
def test_an_amount_is_read_exactly_or_not_at_all(text: str, amount: Decimal | None) -> None:
    assert amount_of(text) == amount
