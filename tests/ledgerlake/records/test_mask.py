"""What each role sees of a payload: nothing personal below admin, whatever field it is in."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerlake.people import Role
from ledgerlake.records import masked_payload, masked_text

_LETTERS = "abcdefghijklmnopqrstuvwxyzäöüßñABCDEFGHIJKLMNOPQRSTUVWXYZ "
_PRIVATE_FIELDS = (
    "description", "name", "merchant_name", "counterparty", "creditorName", "debtorName", "email", "receipt_email",
    "street", "city", "postal_code", "remittanceInformationUnstructured", "additionalInformation", "account_owner",
    "check_number", "endToEndId", "statement_descriptor", "original", "display", "something nobody knows",
    "phone_numbers", "Legal-Name", "nachname", "text", "note", "reference", "hosted_invoice_url",
)  # fmt: skip
texts = st.text(_LETTERS, min_size=4, max_size=40)
private = st.recursive(
    st.dictionaries(st.sampled_from(_PRIVATE_FIELDS), texts, min_size=1, max_size=4),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3),
        st.dictionaries(st.sampled_from((*_PRIVATE_FIELDS, "details", "address", "metadata")), inner, min_size=1, max_size=3),
    ),
    max_leaves=8,
)  # fmt: skip


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [one for inner in value.values() for one in strings(inner)]
    if isinstance(value, list):
        return [one for inner in value for one in strings(inner)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("role", ["viewer", "support"])
@given(payload=private)
def test_no_string_of_a_private_field_survives(role: Role, payload: Any) -> None:
    shown = strings(masked_payload(payload, role))
    for text in strings(payload):
        for start in range(len(text) - 3):
            assert not any(text[start : start + 4] in one for one in shown)


@given(payload=st.dictionaries(st.text(min_size=1), texts, min_size=1))
def test_fields_that_customers_name_are_not_named_either(payload: dict[str, str]) -> None:
    shown = masked_payload({"metadata": payload}, "viewer")
    assert list(shown["metadata"].items()) == [(f"field {position}", "•••") for position in range(1, len(payload) + 1)]


PAYLOAD = {
    "id": "txn_1",
    "transactionId": "2026010112345678",
    "account_id": "acc_1",
    "amount": {"value": {"unscaledValue": "-1250", "scale": "2"}, "currencyCode": "EUR"},
    "date": "2026-01-02",
    "dates": {"booked": "2026-01-02"},
    "created": 1767312000,
    "status": "posted",
    "type": "Anna Zwetschkenbaum",
    "category": "DE89370400440532013000",
    "description": "REWE sagt danke",
    "iban": "DE89370400440532013000",
    "account_number": "12345678",
    "last_four": "7857",
    "location": {"lat": 52, "country": "DE", "city": "Wien"},
    "pending": False,
    "client_secret": "canary-secret",
    "phone": 436601234567,
    "nothing": None,
}


def test_a_viewer_sees_what_is_harmless_and_how_accounts_end() -> None:
    assert masked_payload(PAYLOAD, "viewer") == {
        **PAYLOAD,
        "transactionId": "•••• 5678",
        "type": "•••",
        "category": "•••• 3000",
        "description": "•••",
        "iban": "•••• 3000",
        "account_number": "•••• 5678",
        "last_four": "•••• 7857",
        "location": {"lat": "•••", "country": "•••", "city": "•••"},
        "client_secret": "•••",
        "phone": "•••",
    }


def test_support_sees_how_a_text_begins_and_how_long_it_is() -> None:
    shown = masked_payload(PAYLOAD, "support")
    assert (shown["description"], shown["type"], shown["location"]["country"]) == ("RE… (15)", "An… (19)", "•••")
    assert masked_text("Bo", "support") == "•••"


def test_an_admin_sees_all_but_what_opens_something() -> None:
    assert masked_payload(PAYLOAD, "admin") == {**PAYLOAD, "client_secret": "•••"}


def test_a_payload_that_is_no_json_is_one_private_text() -> None:
    assert json.dumps(masked_payload("{broken Anna", "viewer")) == json.dumps("•••")
