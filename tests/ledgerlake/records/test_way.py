"""A record's way: every version with its differences, what brought it, where it went and where it stopped."""

import json
from decimal import Decimal

from ledgerlake.lake import LakeReader
from ledgerlake.records import Brought, Change, Excluded, as_json, changes, way
from ledgerlake.store import Store
from tests.ledgerlake.lake.conftest import Seed
from tests.ledgerlake.records.conftest import IBAN, PRIVATE, SCRIPT, Planted


def test_the_way_of_a_record_tells_all_that_happened_to_it(store: Store, lake: LakeReader, planted: Planted) -> None:
    found = way(store, lake, "con_1", "transactions", "t1")

    assert found is not None
    newest, oldest = found.versions
    assert (newest.version, newest.current, oldest.version, oldest.current) == (2, True, 1, False)
    assert (newest.payload["amount"], oldest.payload["amount"]) == (Decimal("12.75"), Decimal("12.5"))
    assert oldest.changes == ()
    assert set(newest.changes) == {
        Change(("amount",), "changed", Decimal("12.5"), Decimal("12.75")),
        Change(("description",), "changed", PRIVATE, SCRIPT),
        Change(("status",), "changed", "pending", "posted"),
        Change(("type",), "added", None, "card_payment"),
        Change(("iban",), "removed", IBAN, None),
    }
    assert [isinstance(one.brought, Brought) and one.brought.sync_id for one in found.versions] == [
        planted.second,
        planted.first,
    ]
    assert [[(one.sync_id, one.page, one.request) for one in each.receipts] for each in found.versions] == [
        [(planted.second, 2, "GET /transactions")],
        [(planted.first, 1, "GET /transactions")],
    ]
    assert [(one.payload, one.reason) for one in found.quarantined] == [("{broken", "expected JSON")]
    assert found.seen is not None
    assert found.seen.same
    steps = {one.model: one for one in found.steps}
    assert next(iter(steps)) == "stg_teller__transactions"
    assert list(steps)[-1] == "fct_transactions" == found.mart
    assert (steps["stg_teller__transactions"].layer, steps["stg_teller__transactions"].holds) == ("staging", True)
    assert not steps["int_transactions"].holds
    assert (steps["fct_transactions"].layer, steps["fct_transactions"].rows[0]["amount"]) == ("marts", "12.75000000")
    assert (found.published, found.excluded) == (True, ())
    assert [(one.finding_id, one.field, one.expected, one.found) for one in found.findings] == [
        (planted.finding_id, "amount", "12.75", "12.5")
    ]


def test_a_record_that_was_left_out_tells_by_which_model_and_why(
    store: Store, lake: LakeReader, planted: Planted
) -> None:
    found = way(store, lake, "con_1", "transactions", "t2")

    assert found is not None
    assert (found.published, found.excluded) == (False, (Excluded("int_transactions", "removed"),))
    assert [one.model for one in found.steps if one.holds] == ["stg_teller__transactions"]
    assert (found.versions[0].removed_reason, found.seen, found.findings) == ("removed", None, ())


def test_before_the_first_build_the_way_ends_in_the_store(store: Store, lake: LakeReader, postgres_url: str) -> None:
    Seed(postgres_url).customer().transaction("t1", "12.50")

    found = way(store, lake, "con_1", "transactions", "t1")

    assert found is not None
    assert (found.snapshot, found.steps, len(found.versions)) == (None, (), 1)


def test_what_is_not_there_has_no_way(store: Store, lake: LakeReader, postgres_url: str) -> None:
    Seed(postgres_url).customer().transaction("t1", "1")
    for ids in (
        ("con_none", "transactions", "t1"),
        ("con_1", "charges", "t1"),
        ("con_1", "no such stream", "t1"),
        ("con_1", "transactions", "none"),
        ("con_1", "transactions", "t1\0"),
        ("con_1", "transactions", "' or 1 = 1 --"),
    ):
        assert way(store, lake, *ids) is None, ids


def test_as_json_the_numbers_of_a_payload_are_as_they_came(store: Store, lake: LakeReader, postgres_url: str) -> None:
    exact = "12345678901234567890.123456789012345678"
    Seed(postgres_url).customer().record("transactions", "t1", f'{{"amount": {exact}}}')

    found = way(store, lake, "con_1", "transactions", "t1")

    assert found is not None
    text = as_json(found).decode()
    assert f'"amount":{exact}' in text
    assert json.loads(text)["record_id"] == "t1"


def test_differences_are_told_by_the_whole_path_and_know_true_from_one() -> None:
    assert changes({"a": [1, {"b": True}], "c": {}}, {"a": [1, {"b": 1}, 2]}) == (
        Change(("a", 1, "b"), "changed", True, 1),
        Change(("a", 2), "added", None, 2),
        Change(("c",), "removed", {}, None),
    )
    assert [one.field for one in changes({"a": [{"b": 1}]}, {"a": [{"b": 2}]})] == ["a[0].b"]
