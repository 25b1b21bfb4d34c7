"""Connect links: signed, expiring, one browser's, used once; an answer counts only with its state."""

import threading

import pytest

from ledgerlake.errors import UsageError
from ledgerlake.links import Claimed, LinkRefused, Links
from ledgerlake.store import Store, Vault


@pytest.fixture
def links(store: Store, vault: Vault) -> Links:
    return Links(store, vault)


@pytest.fixture
def token(links: Links) -> str:
    return links.create("ana", "customer 1")[1]


def refused(call: object) -> str:
    with pytest.raises(LinkRefused) as caught:
        call()  # type: ignore[operator]
    return caught.value.reason


def test_the_way_of_a_link(links: Links, token: str) -> None:
    assert links.look(token, None).customer_id == "customer 1"
    claimed = links.claim(token, None)
    state = links.begin(token, claimed.browser, "tink", {"external_user_id": "canary"})
    pending = links.answer(token, claimed.browser, "tink", state)
    assert pending["external_user_id"].get_secret_value() == "canary"
    done = links.end(token, claimed.browser, "connected", "con_1")
    assert (done.outcome, done.connected_id, done.used_at is not None) == ("connected", "con_1", True)
    assert refused(lambda: links.look(token, claimed.browser)) == "used"
    assert links.connected(token, claimed.browser) == done
    assert refused(lambda: links.connected(token, "another browser")) == "elsewhere"


def test_looking_uses_nothing_up_and_claiming_binds_it_to_one_browser(links: Links, token: str) -> None:
    links.look(token, None)
    claimed = links.claim(token, None)
    assert links.claim(token, claimed.browser) == claimed
    for other in (None, "another", claimed.browser + "x"):
        assert refused(lambda other=other: links.look(token, other)) == "elsewhere"
        assert refused(lambda other=other: links.claim(token, other)) == "elsewhere"
        assert refused(lambda other=other: links.begin(token, other, "tink", {})) == "elsewhere"


def test_only_one_of_two_browsers_at_once_claims_it(links: Links, token: str) -> None:
    got: list[Claimed | str] = []

    def claim() -> None:
        try:
            got.append(links.claim(token, None))
        except LinkRefused as error:
            got.append(error.reason)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(type(one).__name__) for one in got) == ["Claimed", "str", "str", "str"]


def test_a_forged_altered_or_foreign_link_is_refused(links: Links, token: str, store: Store) -> None:
    from cryptography.fernet import Fernet
    from pydantic import SecretStr

    other = Links(store, Vault((SecretStr(Fernet.generate_key().decode()),)))
    for wrong in (
        "",
        "x",
        token[:-1],
        token + "x",
        "é" + token,
        token.swapcase(),
        other.create("eve", "customer 1")[1],
    ):
        assert refused(lambda wrong=wrong: links.look(wrong, None)) == "unknown"


def test_a_link_lives_on_through_a_rotation_of_keys(store: Store) -> None:
    from cryptography.fernet import Fernet
    from pydantic import SecretStr

    old, new = (SecretStr(Fernet.generate_key().decode()) for _ in range(2))
    token = Links(store, Vault((old,))).create("ana", "customer 1")[1]
    assert Links(store, Vault((new, old))).look(token, None).customer_id == "customer 1"
    assert refused(lambda: Links(store, Vault((new,))).look(token, None)) == "unknown"


def test_an_expired_link_is_refused_at_every_step(links: Links, token: str, store: Store) -> None:
    browser = links.claim(token, None).browser
    state = links.begin(token, browser, "tink", {})
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.connect_links SET expires_at = now()")
    for step in (
        lambda: links.look(token, browser),
        lambda: links.claim(token, browser),
        lambda: links.begin(token, browser, "tink", {}),
        lambda: links.answer(token, browser, "tink", state),
        lambda: links.end(token, browser, "connected", "con_1"),
    ):
        assert refused(step) == "expired"


def test_a_state_counts_once_for_its_provider_and_the_last_one_alone(links: Links, token: str) -> None:
    browser = links.claim(token, None).browser
    first = links.begin(token, browser, "tink", {"n": "1"})
    second = links.begin(token, browser, "plaid", {"n": "2"})
    assert refused(lambda: links.answer(token, browser, "tink", first)) == "state"
    assert refused(lambda: links.answer(token, browser, "tink", second)) == "state"
    assert refused(lambda: links.answer(token, browser, "plaid", "")) == "state"
    assert links.answer(token, browser, "plaid", second)["n"].get_secret_value() == "2"
    assert refused(lambda: links.answer(token, browser, "plaid", second)) == "state"


def test_cancelling_is_no_end(links: Links, token: str) -> None:
    browser = links.claim(token, None).browser
    links.answer(token, browser, "tink", links.begin(token, browser, "tink", {}))
    assert links.end(token, browser, "cancelled").used_at is None
    again = links.begin(token, browser, "plaid", {})
    links.answer(token, browser, "plaid", again)
    assert links.end(token, browser, "connected", "con_2").connected_id == "con_2"


def test_what_is_under_way_is_encrypted_and_bound_to_its_link(links: Links, token: str, store: Store) -> None:
    browser = links.claim(token, None).browser
    state = links.begin(token, browser, "tink", {"secret": "canary-of-the-consent"})
    with store.connect() as postgres:
        kept = postgres.execute("SELECT connect_links::text, pending FROM ledgerlake.connect_links").fetchone()
    assert kept is not None
    for secret in ("canary-of-the-consent", state, browser, token):
        assert secret not in kept[0]
        assert secret.encode() not in bytes(kept[1])


@pytest.mark.parametrize(
    ("customer", "given", "said"),
    [
        ("", {}, "expected your id"),
        ("a\nb", {}, "expected your id"),
        ("x" * 201, {}, "expected your id"),
        ("c", {"hours": 0}, "1 to 720"),
        ("c", {"connection_id": "con_none"}, "There is no connection con_none"),
    ],
)
def test_a_link_that_makes_no_sense_is_not_made(links: Links, customer: str, given: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        links.create("ana", customer, **given)


def test_a_link_repairs_only_its_customers_connection(links: Links, store: Store, vault: Vault) -> None:
    connection, _ = store.add_connection(vault, provider="teller", external_id="e", customer_id="c", secrets={})
    assert links.create("ana", "c", connection_id=connection.connection_id)[0].connection_id == connection.connection_id
    with pytest.raises(UsageError, match="not a connection of that customer"):
        links.create("ana", "d", connection_id=connection.connection_id)
