"""Plaid: a token of ES256 over the body's hash, with keys that are asked for once."""

import asyncio
import hashlib
from typing import Any, Self, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from pydantic import SecretStr

from connectors import Client, ClientConfig, Misconfigured, Retryable
from connectors.webhooks import Delivery, Keys, Plaid, Refused
from connectors.webhooks._keys import KNOWN_FOR, NEW_A_MINUTE

AT = 1700000000
BODY = b'{\n  "webhook_type": "TRANSACTIONS",\n  "webhook_code": "SYNC_UPDATES_AVAILABLE",\n  "item_id": "item_1"\n}'
CANARY = "canary-secret"
UNKNOWN = {"error_type": "INVALID_INPUT", "error_code": "INVALID_WEBHOOK_VERIFICATION_KEY_ID", "request_id": "r"}


class Published:
    """A server that publishes keys, and the client that asks it."""

    def __init__(self, serve: Any, *keys: dict[str, Any]) -> None:
        self.keys = {key["kid"]: key for key in keys}
        self.fault: Any = None
        self.now = 0.0
        self._serve = serve

    async def __aenter__(self) -> Self:
        self._opened = self._serve(self._say)
        self.server = await self._opened.__aenter__()
        credentials = {"client_id": SecretStr("id"), "secret": SecretStr(CANARY)}
        self._client = Client(ClientConfig(base_url=self.server.url, attempts=1, credentials=credentials))
        self.receiver = Plaid(Keys(self._client, clock=lambda: self.now))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        await self._opened.__aexit__(None, None, None)

    def _say(self, heard: Any) -> Any:
        assert (heard.path, heard.json["client_id"], heard.json["secret"]) == (
            "/webhook_verification_key/get",
            "id",
            CANARY,
        )
        if self.fault is not None:
            return self.fault
        key = self.keys.get(heard.json["key_id"])
        return (400, UNKNOWN) if key is None else (200, {"key": key, "request_id": "r"})

    @property
    def asked(self) -> list[str]:
        return [heard.json["key_id"] for heard in self.server.heard]

    async def verify(self, token: str, body: bytes = BODY, late: float = 0) -> int:
        return await self.receiver.verify(Delivery({"plaid-verification": token}, body, AT + late))


@pytest.mark.anyio
async def test_a_token_of_a_published_key_is_verified_and_the_key_is_asked_for_once(serve: Any, plaid_key: Any) -> None:
    key = plaid_key("kid-1")
    async with Published(serve, key.jwk()) as plaid:
        assert await asyncio.gather(*(plaid.verify(key.token(BODY, AT)) for _ in range(5))) == [AT] * 5
        assert plaid.asked == ["kid-1"]


@pytest.mark.anyio
async def test_a_key_that_plaid_does_not_know_is_asked_for_once_and_refused_each_time(
    serve: Any, plaid_key: Any
) -> None:
    async with Published(serve) as plaid:
        for _ in range(3):
            with pytest.raises(Refused, match="a key that Plaid does not know, or that has expired"):
                await plaid.verify(plaid_key("made-up").token(BODY, AT))
        assert plaid.asked == ["made-up"]


@pytest.mark.anyio
async def test_keys_that_are_made_up_are_asked_for_a_few_times_a_minute(serve: Any, plaid_key: Any) -> None:
    key = plaid_key("good")
    async with Published(serve, key.jwk()) as plaid:
        await plaid.verify(key.token(BODY, AT))
        for number in range(NEW_A_MINUTE - 1):
            with pytest.raises(Refused):
                await plaid.verify(key.token(BODY, AT, kid=f"made-up-{number}"))
        with pytest.raises(Retryable, match="somebody makes them up"):
            await plaid.verify(key.token(BODY, AT, kid="one-more"))
        assert await plaid.verify(key.token(BODY, AT)) == AT
        assert len(plaid.asked) == NEW_A_MINUTE
        plaid.now += 61
        with pytest.raises(Refused):
            await plaid.verify(key.token(BODY, AT, kid="one-more"))


@pytest.mark.anyio
async def test_a_key_that_has_expired_is_refused(serve: Any, plaid_key: Any) -> None:
    key = plaid_key("kid-1")
    async with Published(serve, key.jwk(expired_at=AT - 1)) as plaid:
        with pytest.raises(Refused, match="has expired"):
            await plaid.verify(key.token(BODY, AT))


@pytest.mark.anyio
async def test_a_key_that_is_known_is_asked_for_again_after_an_hour(serve: Any, plaid_key: Any) -> None:
    key = plaid_key("kid-1")
    async with Published(serve, key.jwk()) as plaid:
        await plaid.verify(key.token(BODY, AT))
        plaid.keys["kid-1"] = key.jwk(expired_at=AT)
        plaid.now += KNOWN_FOR - 1
        await plaid.verify(key.token(BODY, AT))
        plaid.now += 2
        with pytest.raises(Refused, match="has expired"):
            await plaid.verify(key.token(BODY, AT))


@pytest.mark.anyio
async def test_when_plaid_signs_with_a_new_key_the_old_one_is_asked_for_again(serve: Any, plaid_key: Any) -> None:
    old, new = plaid_key("old"), plaid_key("new")
    async with Published(serve, old.jwk()) as plaid:
        await plaid.verify(old.token(BODY, AT))
        plaid.keys = {"old": old.jwk(expired_at=AT), "new": new.jwk()}
        await plaid.verify(new.token(BODY, AT))
        with pytest.raises(Refused, match="has expired"):
            await plaid.verify(old.token(BODY, AT))
        assert plaid.asked == ["old", "new", "old"]


@pytest.mark.anyio
async def test_two_keys_that_are_good_at_once_are_not_asked_for_in_turns(serve: Any, plaid_key: Any) -> None:
    keys = [plaid_key("a"), plaid_key("b")]
    async with Published(serve, *(key.jwk() for key in keys)) as plaid:
        for _ in range(4):
            for key in keys:
                await plaid.verify(key.token(BODY, AT))
        assert plaid.asked == ["a", "b", "a"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ((500, {"error_type": "API_ERROR", "error_code": "INTERNAL_SERVER_ERROR"}), Retryable),
        ((429, {"error_type": "RATE_LIMIT_EXCEEDED", "error_code": "RATE_LIMIT"}), Retryable),
        ((502, b"<html>bad gateway</html>"), Retryable),
        ((400, {"error_type": "INVALID_INPUT", "error_code": "INVALID_API_KEYS"}), Misconfigured),
    ],
)
async def test_a_key_that_cannot_be_asked_for_now_is_not_taken_for_unknown(
    serve: Any, plaid_key: Any, fault: Any, error: type[Exception]
) -> None:
    key = plaid_key("kid-1")
    async with Published(serve, key.jwk()) as plaid:
        plaid.fault = fault
        with pytest.raises(error) as caught:
            await plaid.verify(key.token(BODY, AT))
        assert CANARY not in str(caught.value)
        plaid.fault = None
        assert await plaid.verify(key.token(BODY, AT)) == AT


@pytest.mark.anyio
async def test_what_can_be_refused_without_a_key_asks_for_none(serve: Any, plaid_key: Any) -> None:
    key = plaid_key("kid-1")
    token = key.token(BODY, AT)
    async with Published(serve, key.jwk()) as plaid:
        for wrong, late in (
            ("", 0.0),
            ("a.b", 0),
            ("x" * 5000, 0),
            (token.replace(".", ".."), 0),
            (token + "=", 0),
            (key.token(BODY + b" ", AT), 0),
            (key.token(BODY, AT, alg="none"), 0),
            (key.token(BODY, AT, alg="HS256"), 0),
            (key.token(BODY, AT, kid="../kid"), 0),
            (key.token(BODY, AT, kid=None), 0),
            (token, 301),
            (token, -301),
        ):
            with pytest.raises(Refused):
                await plaid.verify(wrong, late=late)
        with pytest.raises(Refused, match="found none"):
            await plaid.receiver.verify(Delivery({}, BODY, AT))
        assert plaid.asked == []
        assert await plaid.verify(token, late=300) == AT


@pytest.mark.anyio
async def test_a_token_of_another_key_under_a_good_name_is_refused(serve: Any, plaid_key: Any) -> None:
    async with Published(serve, plaid_key("kid-1").jwk()) as plaid:
        with pytest.raises(Refused, match="is not of the key that it names"):
            await plaid.verify(plaid_key("kid-1").token(BODY, AT))


@pytest.mark.anyio
async def test_an_answer_with_another_key_than_asked_for_is_none(serve: Any, plaid_key: Any) -> None:
    key, other = plaid_key("kid-1"), plaid_key("kid-2")
    async with Published(serve) as plaid:
        plaid.keys["kid-1"] = other.jwk()
        with pytest.raises(Refused):
            await plaid.verify(key.token(BODY, AT))


class _Known:
    """The key of each name, without a request."""

    def __init__(self, key: Any) -> None:
        jwk = key.jwk()
        self._key = ECKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y")})

    async def get(self, _: str) -> ECKey:
        return self._key


@pytest.fixture(scope="module")
def signed(plaid_key: Any) -> tuple[Plaid, str]:
    key = plaid_key("kid-1")
    return Plaid(cast("Keys", _Known(key))), key.token(BODY, AT)


def verify(receiver: Plaid, token: str, body: bytes) -> int:
    return asyncio.run(receiver.verify(Delivery({"plaid-verification": token}, body, AT)))


def test_the_token_that_the_properties_alter_is_good(signed: tuple[Plaid, str]) -> None:
    assert verify(*signed, BODY) == AT


@given(data=st.data())
def test_any_altered_byte_of_the_body_is_refused(signed: tuple[Plaid, str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(BODY) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda one: one != BODY[place]))
    with pytest.raises(Refused):
        verify(*signed, BODY[:place] + bytes([byte]) + BODY[place + 1 :])


@given(data=st.data())
def test_any_altered_character_of_the_token_is_refused(signed: tuple[Plaid, str], data: st.DataObject) -> None:
    receiver, token = signed
    # The last one of each part too, whose lowest bits a lenient reader would not look at.
    ends = [place - 1 for place, one in enumerate(token + ".") if one == "."]
    place = data.draw(st.one_of(st.sampled_from(ends), st.integers(0, len(token) - 1)))
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ "
    other = data.draw(st.sampled_from(letters).filter(lambda one: one != token[place]))
    with pytest.raises(Refused):
        verify(receiver, token[:place] + other + token[place + 1 :], BODY)


def test_the_hash_is_of_the_raw_body_and_not_of_what_it_means(plaid_key: Any) -> None:
    key = plaid_key("kid-1")
    receiver = Plaid(cast("Keys", _Known(key)))
    assert verify(receiver, key.token(BODY, AT), BODY) == AT
    compact = BODY.replace(b"\n", b"").replace(b" ", b"")
    assert hashlib.sha256(compact).digest() != hashlib.sha256(BODY).digest()
    with pytest.raises(Refused, match="is of another body"):
        verify(receiver, key.token(BODY, AT), compact)
