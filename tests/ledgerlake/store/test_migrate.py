import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import psycopg
import pytest
from alembic.script import ScriptDirectory
from pydantic import SecretStr

from ledgerlake.errors import SchemaError, ServerError
from ledgerlake.store import Store, Vault, migrate, position, require_current
from ledgerlake.store._migrate import _SCRIPTS

ROW = """
    INSERT INTO raw.teller_transactions (bucket, connection_id, record_id, pending, payload, hash, version, sync_id,
                                         first_synced_at, synced_at)
    VALUES (1, 'con_1', 'txn_1', false, '{"id": "txn_1"}', gen_random_uuid(), 1, 1, now(), now())
"""


def test_a_store_with_data_goes_up_down_and_up_again(empty_postgres_url: str, vault: Vault) -> None:
    newest = position(empty_postgres_url).newest
    assert migrate(empty_postgres_url, buckets=4) == (None, newest)
    store = Store(empty_postgres_url)
    secrets = {"access_token": SecretStr("token")}
    store.add_connection(vault, provider="teller", external_id="enr_1", customer_id="acme", secrets=secrets)
    with psycopg.connect(empty_postgres_url) as connection:
        connection.execute(ROW)

    for version in reversed(position(empty_postgres_url).known[1:]):
        assert migrate(empty_postgres_url, buckets=4, to=version)[1] == version
    assert [c.customer_id for c in store.connections()] == ["acme"]
    assert migrate(empty_postgres_url, buckets=4, to="base")[1] is None
    assert migrate(empty_postgres_url, buckets=4) == (None, newest)
    assert store.connections() == []


def test_the_versions_are_those_that_alembic_finds(empty_postgres_url: str) -> None:
    scripts = ScriptDirectory(str(_SCRIPTS))
    assert position(empty_postgres_url).known == tuple(script.revision for script in scripts.walk_revisions())


def _migrate(url: str) -> tuple[str | None, str | None]:
    return migrate(url, buckets=4)


def test_two_processes_migrate_at_once_and_both_find_it_done(empty_postgres_url: str) -> None:
    newest = position(empty_postgres_url).newest
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        done = list(pool.map(_migrate, [empty_postgres_url] * 2))
    assert sorted(done, key=str) == sorted([(None, newest), (newest, newest)], key=str)


def test_a_store_that_is_not_there_yet_is_made(empty_postgres_url: str) -> None:
    require_current(empty_postgres_url, buckets=3)
    assert Store(empty_postgres_url).buckets() == 3


def test_a_store_behind_the_code_is_refused_before_anything_is_done(postgres_url: str) -> None:
    migrate(postgres_url, buckets=4, to="0001")
    with pytest.raises(SchemaError, match=r"is at version 0001, this Ledgerlake needs .*: run `ledgerlake migrate`"):
        require_current(postgres_url, buckets=4)
    assert position(postgres_url).at == "0001"


def test_a_store_newer_than_the_code_is_refused(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE ledgerlake.schema_version SET version_num = '9999'")
    for attempt in (require_current, migrate):
        with pytest.raises(SchemaError, match="9999, which this Ledgerlake does not know"):
            attempt(postgres_url, buckets=4)


def test_a_table_in_use_stops_the_migration_in_one_sentence(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as holder:
        holder.execute("SELECT count(*) FROM raw.teller_transactions")
        with pytest.raises(SchemaError, match="The store is in use"):
            migrate(postgres_url, buckets=4, to="0001", lock_timeout="100ms")
    assert position(postgres_url).current


def test_an_unreachable_server_is_told_without_its_password() -> None:
    with pytest.raises(ServerError, match="PostgreSQL cannot be reached") as caught:
        position("postgresql://ledgerlake:canary-password@127.0.0.1:1/ledgerlake")
    assert "canary" not in str(caught.value)


def test_a_malformed_address_is_told_without_its_password() -> None:
    with pytest.raises(ServerError, match="not an address of PostgreSQL") as caught:
        position("postgresql://ledgerlake:canary-password@127.0.0.1:not-a-port/ledgerlake?x=y")
    assert "canary" not in str(caught.value)
