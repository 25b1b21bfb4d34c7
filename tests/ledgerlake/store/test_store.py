import copy
import json
import logging
import pickle

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from ledgerlake.errors import LedgerlakeError, UsageError
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault, bucket_of

CANARY = "token_canary_7f3a"


def connect(store: Store, vault: Vault, external_id: str = "enr_1", customer: str = "acme") -> str:
    secrets = {"access_token": SecretStr(CANARY), "enrollment_id": SecretStr(external_id)}
    connection, _ = store.add_connection(
        vault, provider="teller", external_id=external_id, customer_id=customer, secrets=secrets
    )
    return connection.connection_id


def ciphertext(store: Store, connection_id: str) -> bytes:
    with store.connect() as connection:
        row = connection.execute(
            "SELECT ciphertext FROM ledgerlake.secrets WHERE connection_id = %s", (connection_id,)
        ).fetchone()
    assert row is not None
    return bytes(row[0])


def test_secrets_are_encrypted_at_rest_and_come_back_whole(store: Store, vault: Vault) -> None:
    connection_id = connect(store, vault)
    sealed = ciphertext(store, connection_id)
    assert CANARY.encode() not in sealed
    opened = vault.open(connection_id, sealed)
    assert {name: secret.get_secret_value() for name, secret in opened.items()} == {
        "access_token": CANARY,
        "enrollment_id": "enr_1",
    }


def test_an_opened_secret_shows_asterisks_wherever_it_is_shown(
    store: Store, vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    connection_id = connect(store, vault)
    secrets = vault.open(connection_id, ciphertext(store, connection_id))
    secret = secrets["access_token"]
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").info("%s %r", secret, secrets)
    shown = [str(secret), repr(secret), f"{secrets}", str(ValueError(secret)), caplog.text, repr(vault), repr(store)]
    assert all(CANARY not in text for text in shown)
    with pytest.raises(TypeError):
        json.dumps(secrets)


def test_a_ciphertext_moved_to_another_connection_is_refused(store: Store, vault: Vault) -> None:
    first, second = connect(store, vault, "enr_1"), connect(store, vault, "enr_2")
    with pytest.raises(LedgerlakeError, match="belong to another connection"):
        vault.open(second, ciphertext(store, first))


def test_keys_rotate_without_the_customer(store: Store, vault: Vault, settings: Settings) -> None:
    connection_id = connect(store, vault)
    new = SecretStr(Fernet.generate_key().decode())
    assert store.rotate_secrets(Vault((new, *settings.secret_keys))) == 1
    assert (
        Vault((new,)).open(connection_id, ciphertext(store, connection_id))["access_token"].get_secret_value() == CANARY
    )
    with pytest.raises(LedgerlakeError, match="cannot be decrypted with the keys at hand"):
        vault.open(connection_id, ciphertext(store, connection_id))


def test_rotation_with_a_missing_key_changes_nothing(store: Store, vault: Vault) -> None:
    connection_id = connect(store, vault)
    before = ciphertext(store, connection_id)
    with pytest.raises(LedgerlakeError, match="cannot be decrypted with any key"):
        store.rotate_secrets(Vault((SecretStr(Fernet.generate_key().decode()),)))
    assert ciphertext(store, connection_id) == before


def test_a_named_server_needs_named_keys(settings: Settings) -> None:
    with pytest.raises(UsageError, match="LEDGERLAKE_SECRET_KEYS must be set where LEDGERLAKE_POSTGRES_URL is"):
        Vault.of(settings.model_copy(update={"secret_keys": ()}))


def test_the_embedded_store_gets_one_key_that_only_its_owner_reads(settings: Settings) -> None:
    own = settings.model_copy(update={"secret_keys": (), "postgres_url": None})
    sealed = Vault.of(own).seal("con_1", {"a": SecretStr("b")})
    assert Vault.of(own).open("con_1", sealed)["a"].get_secret_value() == "b"
    assert (own.home / "secret.key").stat().st_mode & 0o777 == 0o600


def test_a_malformed_key_is_told_without_the_key() -> None:
    with pytest.raises(UsageError, match="expected Fernet keys") as caught:
        Vault((SecretStr("canary-key"),))
    assert "canary" not in str(caught.value)


def test_connecting_again_repairs_and_does_not_double(store: Store, vault: Vault) -> None:
    connection_id = connect(store, vault)
    store.set_state(connection_id, "needs_reauth", "enrollment.disconnected: the bank asks for a new login")
    broken = store.connection(connection_id)
    assert (broken.state, broken.reason) == (
        "needs_reauth",
        "enrollment.disconnected: the bank asks for a new login",
    )
    assert connect(store, vault) == connection_id
    repaired = store.connection(connection_id)
    assert (repaired.state, repaired.reason) == ("active", None)
    assert repaired.state_since > broken.state_since
    assert len(store.connections()) == 1


def test_a_consent_belongs_to_one_customer(store: Store, vault: Vault) -> None:
    connect(store, vault, customer="acme")
    with pytest.raises(UsageError, match="already connected for another customer"):
        connect(store, vault, customer="globex")
    assert [c.customer_id for c in store.connections()] == ["acme"]


def test_a_state_it_has_already_moves_nothing(store: Store, vault: Vault) -> None:
    connection_id = connect(store, vault)
    store.set_state(connection_id, "paused", "by hand")
    before = store.connection(connection_id)
    store.set_state(connection_id, "paused", "by hand")
    assert store.connection(connection_id) == before


def test_every_change_moves_the_revision_of_its_bucket_alone(store: Store, vault: Vault) -> None:
    connect(store, vault, "enr_1", "acme")
    other = next(f"customer-{n}" for n in range(99) if bucket_of(f"customer-{n}", 4) != bucket_of("acme", 4))
    second = connect(store, vault, "enr_2", other)
    before = store.bucket_revisions()
    store.set_state(second, "paused", "by hand")
    after = store.bucket_revisions()
    assert after[bucket_of("acme", 4)] == before[bucket_of("acme", 4)]
    assert after[bucket_of(other, 4)] > before[bucket_of(other, 4)]


def test_buckets_are_the_same_on_every_machine() -> None:
    assert [bucket_of(name, 8) for name in ("acme", "globex", "initech", "umbrella")] == [1, 2, 0, 2]


def test_an_unknown_connection_is_a_sentence(store: Store) -> None:
    with pytest.raises(UsageError, match="There is no connection con_x; `ledgerlake connections` lists them"):
        store.connection("con_x")


def test_connections_travel_between_processes_without_secrets(store: Store, vault: Vault) -> None:
    connection = store.connection(connect(store, vault))
    assert copy.deepcopy(connection) == connection
    assert CANARY.encode() not in pickle.dumps(connection)
