"""What each provider's events name, and that a signed body is an event whatever it is."""

import datetime as dt
import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.webhooks import Event, Keys, Plaid, Receiver, Stripe, Teller, Tink
from connectors.webhooks._event import UNREADABLE, hashed_id

AT = 1700000000
RECEIVERS: list[Receiver] = [Teller([]), Tink([]), Stripe([]), Plaid(cast("Keys", None))]


def read(receiver: Receiver, body: dict[str, Any]) -> Event:
    return receiver.read(json.dumps(body).encode(), AT)


def teller(kind: str, payload: dict[str, Any]) -> Event:
    return read(Teller([]), {"id": "wh_1", "type": kind, "timestamp": "2026-03-01T10:00:00Z", "payload": payload})


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("enrollment.disconnected", {"enrollment_id": "enr_1", "reason": "disconnected.account_locked"}),
        ("transactions.processed", {"enrollment_id": "enr_1", "transactions": [{"id": "txn_1"}]}),
        ("something.new", {"enrollment_id": "enr_1"}),
    ],
)
def test_an_event_of_teller_names_its_enrollment(kind: str, payload: dict[str, Any]) -> None:
    assert teller(kind, payload) == Event(event_id="wh_1", kind=kind, asks=True, external_id="enr_1")


def test_the_test_of_tellers_webhook_asks_for_nothing() -> None:
    assert teller("webhook.test", {}) == Event(event_id="wh_1", kind="webhook.test")


def tink(event: str, content: dict[str, Any]) -> tuple[Event, str]:
    body = {"context": {"userId": "u", "externalUserId": "e"}, "content": content, "event": event}
    return read(Tink([]), body), hashed_id(json.dumps(body).encode(), AT)


def test_a_refresh_of_tink_names_the_consent() -> None:
    found, event_id = tink("refresh:finished", {"credentialsId": "cred_1", "credentialsStatus": "STATUS_UPDATED"})
    assert found == Event(event_id=event_id, kind="refresh:finished", asks=True, external_id="cred_1")


@pytest.mark.parametrize("kind", ["account-transactions:modified", "account-booked-transactions:modified"])
def test_changed_transactions_of_tink_name_the_account_and_the_days(kind: str) -> None:
    window = {"earliestModifiedBookedDate": "2026-01-05", "latestModifiedBookedDate": "2026-01-09", "inserted": "1"}
    found, event_id = tink(kind, {"account": {"id": "acc_1"}, "transactions": window})
    assert found == Event(
        event_id=event_id,
        kind=kind,
        asks=True,
        account_id="acc_1",
        since=dt.date(2026, 1, 5),
        until=dt.date(2026, 1, 9),
    )


def test_changed_transactions_of_tink_without_days_ask_for_what_is_new() -> None:
    window = {"earliestModifiedBookedDate": 1767571200000}
    found, _ = tink("account-transactions:modified", {"account": {"id": "acc_1"}, "transactions": window})
    assert (found.asks, found.since, found.until) == (True, None, None)


def test_deleted_transactions_of_tink_are_named_by_their_ids() -> None:
    content = {"account": {"id": "acc_1"}, "transactions": {"ids": ["t1", "t2"]}}
    found, event_id = tink("account-transactions:deleted", content)
    assert found == Event(
        event_id=event_id,
        kind="account-transactions:deleted",
        asks=True,
        account_id="acc_1",
        stream="transactions",
        record_ids=("t1", "t2"),
    )


def test_a_new_account_of_tink_is_named() -> None:
    found, event_id = tink("account:created", {"id": "acc_1"})
    assert found == Event(event_id=event_id, kind="account:created", asks=True, account_id="acc_1")


@pytest.mark.parametrize(
    ("kind", "asks"),
    [
        ("TRANSACTIONS.SYNC_UPDATES_AVAILABLE", True),
        ("TRANSACTIONS.DEFAULT_UPDATE", False),
        ("TRANSACTIONS.INITIAL_UPDATE", False),
        ("TRANSACTIONS.HISTORICAL_UPDATE", False),
        ("TRANSACTIONS.TRANSACTIONS_REMOVED", False),
        ("ITEM.ERROR", True),
        ("ITEM.USER_PERMISSION_REVOKED", True),
        ("ITEM.NEW_ACCOUNTS_AVAILABLE", True),
        ("ITEM.SOMETHING_NEW", True),
        ("ITEM.PENDING_EXPIRATION", False),
        ("ITEM.WEBHOOK_UPDATE_ACKNOWLEDGED", False),
        ("AUTH.AUTOMATICALLY_VERIFIED", False),
    ],
)
def test_an_event_of_plaid_names_its_item_and_asks_where_a_sync_would_find_something(kind: str, asks: bool) -> None:
    first, code = kind.split(".")
    body = {"webhook_type": first, "webhook_code": code, "item_id": "item_1", "environment": "production"}
    event_id = hashed_id(json.dumps(body).encode(), AT)
    found = read(Plaid(cast("Keys", None)), body)
    assert found == Event(event_id=event_id, kind=kind, asks=asks, external_id="item_1")


def stripe(**fields: Any) -> Event:
    return read(Stripe([]), {"id": "evt_1", "object": "event", "type": "invoice.paid", **fields})


def test_an_event_of_a_connected_account_of_stripe_names_it() -> None:
    found = stripe(account="acct_1", data={"object": {"id": "in_1", "object": "invoice", "customer": "cus_1"}})
    assert (found.external_id, found.record_ids, found.asks) == ("acct_1", ("cus_1",), True)


@pytest.mark.parametrize(
    ("subject", "named"),
    [
        ({"id": "in_1", "object": "invoice", "customer": "cus_1"}, ("cus_1",)),
        ({"id": "cus_1", "object": "customer"}, ("cus_1",)),
        ({"object": "invoice", "customer": {"id": "cus_1"}}, ()),
        ({"id": "po_1", "object": "payout"}, ()),
    ],
)
def test_an_event_of_a_keys_own_account_names_its_customer(subject: dict[str, Any], named: tuple[str, ...]) -> None:
    assert stripe(data={"object": subject}) == Event(
        event_id="evt_1",
        kind="invoice.paid",
        asks=True,
        stream="customers" if named else None,
        record_ids=named,
    )


@pytest.mark.parametrize("receiver", RECEIVERS, ids=lambda one: one.provider)
@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"id": 1}', b'{"id": "\x00"}'],
    ids=["empty", "text", "list", "null", "bytes", "deep", "type", "control"],
)
def test_a_signed_body_that_cannot_be_read_is_an_event_with_a_fault(receiver: Receiver, body: bytes) -> None:
    found = receiver.read(body, AT)
    assert found.fault is not None
    assert found == Event(event_id=hashed_id(body, AT), kind=UNREADABLE, fault=found.fault)
    assert found.fault.startswith(f"{len(body)} bytes are not an event as the provider documents it: ")


@pytest.mark.parametrize("receiver", RECEIVERS, ids=lambda one: one.provider)
@given(body=st.one_of(st.binary(), st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.dictionaries(
    st.sampled_from(["id", "type", "payload", "event", "content", "account", "data", "object", "webhook_type"]), inner
)).map(lambda value: json.dumps(value).encode())))  # fmt: skip
def test_reading_never_fails_and_every_id_fits_a_database_key(receiver: Receiver, body: bytes) -> None:
    found = receiver.read(body, AT)
    ids = [found.event_id, found.kind, found.external_id, found.account_id, *found.record_ids]
    assert [one for one in ids if one is not None and not (0 < len(one) <= 255 and one.isprintable())] == []


def test_the_same_body_signed_later_is_another_event_where_the_provider_gives_no_id() -> None:
    body = b'{"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE", "item_id": "item_1"}'
    receiver = Plaid(cast("Keys", None))
    assert receiver.read(body, AT) == receiver.read(body, AT)
    assert receiver.read(body, AT).event_id != receiver.read(body, AT + 1).event_id
