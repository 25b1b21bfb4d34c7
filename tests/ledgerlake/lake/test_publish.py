"""Publishing, without dbt: what readers see, and what is left behind."""

import threading
from collections.abc import Callable

import psycopg
import pytest

from ledgerlake.lake import Lake, PublishFailed
from ledgerlake.lake._catalog import Part, Record
from ledgerlake.lake._publish import Moved
from ledgerlake.lake._session import attach_lake, session


def rows(count: int, bucket: int, start: int = 0) -> str:
    return f"select {bucket}::smallint as bucket, range as id from range({start}, {start + count})"


EMPTY = "select 0::smallint as bucket, 1::bigint as id where false"


def test_all_tables_of_a_build_appear_at_once(press, lake: Lake) -> None:
    press.publish(a={0: rows(2, 0), 1: rows(3, 1)}, b={0: rows(4, 0), 1: rows(5, 1)})

    assert lake.query("select (select count(*) from a), (select count(*) from b)").rows == [(5, 9)]


def test_only_the_buckets_of_the_build_are_replaced(press, lake: Lake) -> None:
    press.publish(a={0: rows(2, 0), 1: rows(3, 1)})
    press.publish(a={1: rows(1, 1, start=50)})

    assert lake.query("select bucket, id from a order by all").rows == [(0, 0), (0, 1), (1, 50)]


def test_a_reader_never_sees_a_mixture_of_two_builds(press, where, settings) -> None:
    press.publish(a={0: rows(1, 0)}, b={0: rows(1, 0)})
    seen, done = set(), threading.Event()

    def read() -> None:
        with session(settings) as connection:
            attach_lake(connection, where, read_only=True)
            while not done.is_set():
                seen.add(
                    connection.execute(
                        "select (select count(*) from lake.main.a), (select count(*) from lake.main.b)"
                    ).fetchone()
                )

    reader = threading.Thread(target=read)
    reader.start()
    for count in range(2, 8):
        press.publish(a={0: rows(count, 0)}, b={0: rows(count, 0)})
    done.set()
    reader.join()

    assert len(seen) > 1
    assert all(a == b for a, b in seen)


def test_an_empty_table_is_published_with_its_columns(press, lake: Lake) -> None:
    press.publish(a={0: EMPTY})

    answer = lake.query("select * from a")

    assert (answer.columns, answer.types, answer.rows) == (("bucket", "id"), ("SMALLINT", "BIGINT"), [])


def test_a_bucket_that_became_empty_has_no_rows_left(press, lake: Lake) -> None:
    press.publish(a={0: rows(2, 0), 1: rows(1, 1)})
    press.publish(a={0: EMPTY})

    assert lake.query("select bucket, id from a").rows == [(1, 0)]


def test_replacing_a_bucket_writes_no_delete_files(press, postgres_url: str) -> None:
    for count in range(1, 5):
        press.publish(a={0: rows(count, 0), 1: rows(count, 1)})

    with psycopg.connect(postgres_url) as catalog:
        current = catalog.execute(
            "select count(*) from ducklake.ducklake_data_file where end_snapshot is null"
        ).fetchone()
        deletes = catalog.execute("select count(*) from ducklake.ducklake_delete_file").fetchone()
    assert (current, deletes) == ((2,), (0,))


def test_a_column_that_is_added_is_null_in_the_buckets_that_are_not_built(press, lake: Lake) -> None:
    press.publish(a={0: rows(1, 0), 1: rows(1, 1)})
    press.publish(a={1: "select 1::smallint as bucket, 7::bigint as id, 'x' as word"})

    assert lake.query("select bucket, id, word from a order by all").rows == [(0, 0, None), (1, 7, "x")]


def test_a_type_that_changes_needs_every_bucket(press, lake: Lake) -> None:
    press.publish(a={bucket: rows(1, bucket) for bucket in range(4)})
    text = "select {}::smallint as bucket, 'one' as id"

    with pytest.raises(PublishFailed) as failed:
        press.publish(a={1: text.format(1)})

    assert str(failed.value) == (
        "a changes id from BIGINT to VARCHAR, and its other buckets still have the old columns. "
        "Nothing was published; run `ledgerlake build --all`."
    )
    assert lake.query("select distinct id from a").rows == [(0,)]
    press.publish(a={bucket: text.format(bucket) for bucket in range(4)})
    assert lake.query("select bucket, id from a order by all").rows == [(bucket, "one") for bucket in range(4)]


def test_a_commit_that_dies_half_way_leaves_nothing(press, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    press.publish(a={0: rows(1, 0)}, b={0: rows(1, 0)})
    before = lake.snapshots()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ledgerlake.lake._publish._add", die)
    with pytest.raises(KeyboardInterrupt):
        press.publish(a={0: rows(9, 0)}, b={0: rows(9, 0)})
    monkeypatch.undo()

    assert lake.query("select (select count(*) from a), (select count(*) from b)").rows == [(1, 1)]
    assert lake.snapshots() == before
    press.publish(a={0: rows(2, 0)}, b={0: rows(2, 0)})
    assert lake.query("select (select count(*) from a), (select count(*) from b)").rows == [(2, 2)]


def test_a_file_that_lost_rows_is_not_published(press, lake: Lake) -> None:
    press.publish(a={0: rows(1, 0)})
    plan = press.plan([0])
    (file,) = press.write(plan, "a", {0: rows(5, 0)})
    press.write(plan, "a", {0: rows(4, 0)})

    with pytest.raises(PublishFailed, match=r"0\.parquet: expected 5 rows, found 4\. Nothing was published"):
        press.publisher.publish(plan, [file], "code")

    assert lake.query("select count(*) from a").rows == [(1,)]


def test_a_file_that_is_gone_is_not_published(press, where, objects: Callable[[], list[str]]) -> None:
    plan = press.plan([0])
    (file,) = press.write(plan, "a", {0: rows(5, 0)})
    (key,) = objects()
    where.s3.client().delete_object(Bucket=where.s3.bucket, Key=f"{where.s3.prefix}/{key}")

    with pytest.raises(PublishFailed, match="A file of the build cannot be read"):
        press.publisher.publish(plan, [file], "code")


def test_builds_of_different_buckets_do_not_disturb_each_other(press, lake: Lake) -> None:
    press.publish(a={0: rows(1, 0), 1: rows(1, 1)})
    first, second = press.plan([0]), press.plan([1])
    press.publisher.publish(second, press.write(second, "a", {1: rows(3, 1)}), "code")

    press.publisher.publish(first, press.write(first, "a", {0: rows(2, 0)}), "code")

    assert lake.query("select bucket, count(*) from a group by all order by all").rows == [(0, 2), (1, 3)]


def test_an_older_build_does_not_overwrite_a_newer_one_of_its_bucket(press, lake: Lake) -> None:
    press.publish(a={0: rows(1, 0)})
    older = press.plan([0])
    press.publish(a={0: rows(3, 0)})

    with pytest.raises(Moved):
        press.publisher.publish(older, press.write(older, "a", {0: rows(2, 0)}), "code")

    assert lake.query("select count(*) from a").rows == [(3,)]


def test_a_model_over_all_customers_is_not_published_from_a_state_that_is_past(press) -> None:
    press.publish(a={0: rows(1, 0), 1: rows(1, 1)})
    older = press.plan([0])
    press.publish(a={1: rows(3, 1)})

    with pytest.raises(Moved):
        press.publisher.publish(older, press.write(older, "mix", {None: "select 2 as customers"}), "code")


def test_publishers_at_the_same_time_all_get_through(press, lake: Lake) -> None:
    press.publish(a={bucket: rows(1, bucket) for bucket in range(4)})
    plans = [press.plan([bucket]) for bucket in range(4)]
    files = [press.write(plan, "a", {bucket: rows(bucket + 2, bucket)}) for bucket, plan in enumerate(plans)]
    errors: list[BaseException] = []

    def publish(index: int) -> None:
        try:
            press.publisher.publish(plans[index], files[index], "code")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=publish, args=[index]) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert lake.query("select bucket, count(*) from a group by all order by all").rows == [
        (bucket, bucket + 2) for bucket in range(4)
    ]


def test_a_record_says_which_build_each_model_and_bucket_is_of() -> None:
    whole = Part("one", "code", ("a", "b"), {0: 5, 1: 6})
    record = Record("two", Record("one", (whole,)).with_part(Part("two", "code", ("b",), {1: 7})))

    assert record.published() == {
        ("a", 0): ("one", 5, "code"),
        ("a", 1): ("one", 6, "code"),
        ("b", 0): ("one", 5, "code"),
        ("b", 1): ("two", 7, "code"),
    }
