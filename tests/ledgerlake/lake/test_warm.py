"""The warm reader: it follows the newest snapshot, serves threads, ends what is too slow, and opens nothing but the lake."""

import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from ledgerlake.errors import ServerError
from ledgerlake.lake import LakeAway, LakeEmpty, LakeReader, QueryError, TooSlow, _warm
from ledgerlake.local import S3, Servers

ONE = "select 0::smallint as bucket, 1.00000001::decimal(28,8) as amount, 'ana' as who"


@pytest.fixture
def reader(where: Servers, settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[LakeReader]:
    monkeypatch.setattr(_warm, "CHECK", 0.0)
    reader = LakeReader(where, settings, patience=5)
    yield reader
    reader.close()


def test_it_follows_the_newest_snapshot_and_a_look_stays_at_its_own(press, reader: LakeReader) -> None:
    with pytest.raises(LakeEmpty):
        reader.rows("select 1")
    first = press.publish(a={0: ONE})
    with reader.look() as look:
        assert look.rows("select amount from a", keep=True) == [(Decimal("1.00000001"),)]
        second = press.publish(a={0: ONE.replace("1.0", "2.0")})
        assert reader.rows("select amount from a", keep=True) == [(Decimal("2.00000001"),)]
        assert (look.snapshot, look.rows("select amount from a")) == (first, [(Decimal("1.00000001"),)])
    with reader.look() as look:
        assert look.snapshot == second


def test_a_thread_that_follows_shows_a_snapshot_once_what_was_asked_is_answered_of_it(
    press, where: Servers, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_warm, "FOLLOW", 0.01)
    waited, ask = [], _warm.Look._rows

    def noted(look: _warm.Look, sql: str, given: _warm.Parameters) -> list[tuple[Any, ...]]:
        if threading.current_thread() is threading.main_thread():
            waited.append((look.snapshot, sql))
        return ask(look, sql, given)

    monkeypatch.setattr(_warm.Look, "_rows", noted)
    amounts, count = "select amount from a where $less is null", "select count(*) from a"
    first = press.publish(a={0: ONE})
    reader = LakeReader(where, settings)
    reader.follow(lambda look: look.rows(count, keep=True))
    try:
        assert reader.rows(amounts, {"less": None}, keep=True) == [(Decimal("1.00000001"),)]
        second = press.publish(a={0: ONE.replace("1.0", "2.0")})
        for _ in range(2_000):
            with reader.look() as look:
                found = look.rows(amounts, {"less": None}, keep=True), look.rows(count, keep=True)
            if look.snapshot == second:
                break
            time.sleep(0.01)
    finally:
        reader.close()

    assert (look.snapshot, found) == (second, ([(Decimal("2.00000001"),)], [(1,)]))
    assert waited == [(first, amounts)]


def test_whoever_follows_outlives_a_server_that_goes_in_the_middle_of_an_answer(
    press, where: Servers, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_warm, "FOLLOW", 0.01)
    gone, newest = threading.Event(), _warm.Catalog.newest

    def interrupted(catalog: _warm.Catalog) -> int | None:
        if threading.current_thread() is not threading.main_thread() and not gone.is_set():
            gone.set()
            raise psycopg.OperationalError("the connection is lost")
        return newest(catalog)

    press.publish(a={0: ONE})
    reader = LakeReader(where, settings)
    assert reader.rows("select count(*) from a") == [(1,)]
    monkeypatch.setattr(_warm.Catalog, "newest", interrupted)
    reader.follow(lambda _: None)
    try:
        assert gone.wait(10)
        second = press.publish(a={0: ONE.replace("1.0", "2.0")})
        for _ in range(2_000):
            with reader.look() as look:
                pass
            if look.snapshot == second:
                break
            time.sleep(0.01)
    finally:
        reader.close()
    assert look.snapshot == second


def test_what_nobody_has_looked_at_for_long_is_not_taken_to_be_the_newest(
    press, where: Servers, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_warm, "TRUSTED", 0.0)
    monkeypatch.setattr(_warm, "FOLLOW", 60.0)
    press.publish(a={0: ONE})
    reader = LakeReader(where, settings)
    reader.follow(lambda _: None)
    try:
        reader.rows("select count(*) from a")
        second = press.publish(a={0: ONE.replace("1.0", "2.0")})
        with reader.look() as look:
            assert look.snapshot == second
    finally:
        reader.close()


def test_values_are_parameters_and_a_table_that_is_not_built_yet_is_empty(press, reader: LakeReader) -> None:
    press.publish(a={0: ONE})

    assert reader.rows("select count(*) from a where who = $who", {"who": "' or true --"}) == [(0,)]
    assert reader.rows("select count(*) from a where who = ?", ["ana"]) == [(1,)]
    assert reader.rows("select * from fct_charges union all by name select * from staging.stg_teller__accounts") == []


def test_nothing_but_the_lake_is_opened(press, reader: LakeReader, where: Servers) -> None:
    press.publish(a={0: ONE})
    for sql in (
        "select * from read_text('/etc/passwd')",
        f"select * from read_blob('{where.s3.url}/*')",
        "set enable_external_access = true",
        "attach '/tmp/x.db'",
        "select * from nowhere",
    ):
        with pytest.raises(QueryError):
            reader.rows(sql)


def test_a_query_that_takes_too_long_is_ended_and_the_next_one_is_answered(press, where: Servers, settings) -> None:
    press.publish(a={0: ONE})
    reader = LakeReader(where, settings, patience=0.3)
    with pytest.raises(TooSlow, match=r"^The lake took longer than 0\.3 s"):
        reader.rows("select count(*) from range(1000000) x, range(1000000) y where x.range % 7 = y.range % 11")
    reader.close()
    assert LakeReader(where, settings).rows("select who from a") == [("ana",)]


def test_threads_share_it_while_snapshots_change(press, reader: LakeReader) -> None:
    press.publish(a={0: ONE})
    wrong: list[object] = []

    def read() -> None:
        for _ in range(10):
            try:
                ((count, total),) = reader.rows("select count(*), sum(amount) from a")
                if (count, total) not in {(1, Decimal("1.00000001")), (1, Decimal("2.00000001"))}:
                    wrong.append((count, total))
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    press.publish(a={0: ONE.replace("1.0", "2.0")})
    for thread in threads:
        thread.join()

    assert wrong == []


def test_s3_that_is_gone_is_told_of_without_an_address(press, where: Servers, settings) -> None:
    press.publish(a={0: ONE})
    gone = Servers(where.postgres_url, S3(where.s3.url, "http://127.0.0.1:1", "k", "s", "r"))
    reader = LakeReader(gone, settings)
    with pytest.raises(LakeAway, match=r"^The lake's files cannot be read: S3 does not answer as it should\.$"):
        reader.rows("select * from a")
    with pytest.raises(ServerError):
        reader.check()
    reader.close()
