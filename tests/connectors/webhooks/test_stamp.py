"""Teller, Tink and Stripe: a body is theirs when it is stamped with a secret that is set, and lately."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from connectors.webhooks import Delivery, Receiver, Refused, Stripe, Teller, Tink

CANARY = "canary-secret"


class Scheme(NamedTuple):
    """A provider's scheme, with the vector that was computed by the steps of its page."""

    receiver: Callable[[Sequence[SecretStr]], Receiver]
    header: str
    tolerance: int
    secret: str
    at: int
    body: bytes
    signature: str


SCHEMES = [
    Scheme(
        Teller,
        "teller-signature",
        180,
        "teller_signing_secret",
        1688960969,
        b'{"id":"wh_test_000","payload":{},"timestamp":"2023-07-10T03:49:29Z","type":"webhook.test"}',
        "02f0f79cb3233ba32031c51d815f37e44d8ab9e3cdde32b5721792521413257b",
    ),
    Scheme(
        Tink,
        "x-tink-signature",
        300,
        "tink_webhook_secret",
        1620198421,
        b'{"context":{"userId":"u1","externalUserId":"ext1"},"content":{"credentialsId":"c1","credentialsStatus":"UPDATED",'
        b'"finished":1618395156625,"source":"OPERATION_SOURCE_BACKGROUND","sessionExpiryDate":1654623101000},'
        b'"event":"refresh:finished"}',
        "3ac4c1ddd61d11d06d35465130d4c59fedf036fd8019b7d1a51edb1676c1dada",
    ),
    Scheme(
        Stripe,
        "stripe-signature",
        300,
        "whsec_test_secret",
        1700000000,
        b'{"id":"evt_1","object":"event","type":"invoice.paid"}',
        "dfb4777aaaec4ea29ff455dd4df7fe6b2ef71096ad3a93a158db7e100109ea91",
    ),
]
each = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.header)


def verify(scheme: Scheme, header: str | None, *secrets: str, body: bytes | None = None, late: float = 0) -> int:
    """What a receiver with these secrets, or the vector's own, says so many seconds after the vector's time."""
    receiver = scheme.receiver([SecretStr(one) for one in secrets or [scheme.secret]])
    headers = {} if header is None else {scheme.header: header}
    return asyncio.run(receiver.verify(Delivery(headers, scheme.body if body is None else body, scheme.at + late)))


@each
def test_the_vector_of_the_providers_page_is_verified(scheme: Scheme) -> None:
    assert verify(scheme, f"t={scheme.at},v1={scheme.signature}") == scheme.at


@each
def test_any_signature_may_be_of_any_secret_while_one_replaces_another(scheme: Scheme, stamp: Any) -> None:
    for signed_with, we_have in ((["old"], ["new", "old"]), (["old", "new"], ["new"]), (["a", "b"], ["b", "c"])):
        assert verify(scheme, stamp(scheme.body, scheme.at, signed_with), *we_have) == scheme.at


@each
def test_other_names_in_the_header_are_passed_over(scheme: Scheme) -> None:
    assert verify(scheme, f"t={scheme.at},v0={'0' * 64},v1={scheme.signature},x=1") == scheme.at


@each
def test_a_wrong_secret_is_refused_and_no_secret_is_told(scheme: Scheme, stamp: Any) -> None:
    with pytest.raises(Refused, match=r"no signature in .* is of one of the 2 secrets") as caught:
        verify(scheme, stamp(scheme.body, scheme.at, ["wrong"]), CANARY, "other")
    told = f"{caught.value!r} {caught.value.__cause__!r} {Delivery({'a': CANARY}, CANARY.encode(), 0)!r}"
    assert CANARY not in told
    assert CANARY not in repr(vars(scheme.receiver([SecretStr(CANARY)])))


@each
def test_what_v0_signs_is_not_signed(scheme: Scheme) -> None:
    with pytest.raises(Refused, match="expected t=<seconds> and v1=<signature>"):
        verify(scheme, f"t={scheme.at},v0={scheme.signature}")


@each
@pytest.mark.parametrize(
    "header", ["", "t=", "v1=0", "t=1", "t=x,v1=0", "t=1,t=1,v1=0", "t=-1,v1=0", "t=1_0,v1=0", "\xff"]
)
def test_a_header_of_another_form_is_refused(scheme: Scheme, header: str) -> None:
    with pytest.raises(Refused, match="expected t=<seconds> and v1=<signature>"):
        verify(scheme, header)


@each
def test_a_header_with_very_many_signatures_costs_nothing(scheme: Scheme) -> None:
    with pytest.raises(Refused, match="found something else"):
        verify(scheme, f"t={scheme.at}" + f",v1={scheme.signature}" * 17)


@each
def test_a_missing_header_is_refused(scheme: Scheme) -> None:
    with pytest.raises(Refused, match="found none"):
        verify(scheme, None)


@each
def test_a_delivery_is_good_for_the_providers_tolerance_and_no_longer(scheme: Scheme) -> None:
    header = f"t={scheme.at},v1={scheme.signature}"
    assert verify(scheme, header, late=scheme.tolerance) == scheme.at
    with pytest.raises(
        Refused, match=f"within {scheme.tolerance} s of now, found one signed {scheme.tolerance + 1} s ago"
    ):
        verify(scheme, header, late=scheme.tolerance + 1)


@each
def test_a_delivery_of_the_future_is_refused_beyond_a_clock_that_is_a_little_off(scheme: Scheme) -> None:
    header = f"t={scheme.at},v1={scheme.signature}"
    assert verify(scheme, header, late=-scheme.tolerance) == scheme.at
    with pytest.raises(Refused, match="ahead of this clock"):
        verify(scheme, header, late=-scheme.tolerance - 1)


@each
@given(data=st.data())
def test_any_altered_byte_of_the_body_is_refused(scheme: Scheme, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(scheme.body) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda one: one != scheme.body[place]))
    altered = scheme.body[:place] + bytes([byte]) + scheme.body[place + 1 :]
    with pytest.raises(Refused):
        verify(scheme, f"t={scheme.at},v1={scheme.signature}", body=altered)


@each
@given(data=st.data())
def test_any_altered_character_of_the_header_is_refused(scheme: Scheme, data: st.DataObject) -> None:
    header = f"t={scheme.at},v1={scheme.signature}"
    place = data.draw(st.integers(0, len(header) - 1))
    other = data.draw(st.characters(max_codepoint=255).filter(lambda one: one != header[place]))
    with pytest.raises(Refused):
        verify(scheme, header[:place] + other + header[place + 1 :])
