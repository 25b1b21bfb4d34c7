"""Going back to an older snapshot, and letting old files go."""

import datetime as dt
from collections.abc import Callable

import pytest

from ledgerlake.lake import Lake, LakeError, PublishFailed
from ledgerlake.lake._catalog import Catalog
from ledgerlake.lake._project import models
from ledgerlake.local import Servers

NOW = dt.datetime.now(dt.UTC)


def word(text: str, bucket: int = 0) -> str:
    return f"select {bucket}::smallint as bucket, '{text}' as word"


def test_a_rollback_publishes_the_build_before_the_newest(press, lake: Lake) -> None:
    press.publish(a={0: word("one"), 1: word("one", 1)}, b={0: word("one")})
    first = lake.snapshots()[0]
    press.publish(a={0: word("two")}, b={0: word("two")})

    snapshot = lake.rollback()

    assert snapshot.record.restored == first.id
    assert snapshot.record.parts == first.record.parts
    assert lake.query("select bucket, word from a order by all").rows == [(0, "one"), (1, "one")]
    assert lake.query("select word from b").rows == [("one",)]


def test_rolling_back_again_goes_one_build_further(press, lake: Lake) -> None:
    for text in ("one", "two", "three"):
        press.publish(a={0: word(text)})

    lake.rollback()
    assert lake.query("select word from a").rows == [("two",)]
    lake.rollback()
    assert lake.query("select word from a").rows == [("one",)]
    with pytest.raises(LakeError, match="There is no snapshot before the newest build; they are kept for 7 days"):
        lake.rollback()


def test_a_rollback_can_name_its_snapshot_also_a_newer_one(press, lake: Lake) -> None:
    for text in ("one", "two", "three"):
        press.publish(a={0: word(text)})
    newest = lake.snapshots()[0].id
    lake.rollback(lake.snapshots()[2].id)
    assert lake.query("select word from a").rows == [("one",)]

    lake.rollback(newest)

    assert lake.query("select word from a").rows == [("three",)]


def test_a_rollback_brings_back_columns_and_tables(press, lake: Lake) -> None:
    press.publish(a={bucket: word("one", bucket) for bucket in range(4)})
    press.publish(
        a={bucket: f"select {bucket}::smallint as bucket, 2 as word" for bucket in range(4)}, b={0: word("b")}
    )

    lake.rollback()

    assert lake.query("select distinct word from a").rows == [("one",)]
    tables = lake.query("select table_name from information_schema.tables where table_schema = 'main'").rows
    empty = {name for name, model in models().items() if model.provider and model.schema == "main"}
    assert {name for (name,) in tables} - empty == {"a"}


def test_a_rollback_brings_back_files_of_before_a_column_was_added(press, lake: Lake) -> None:
    press.publish(a={bucket: word("one", bucket) for bucket in range(4)})
    press.publish(a={0: "select 0::smallint as bucket, 'two' as word, 2 as more"})
    press.publish(a={bucket: word("three", bucket) + ", 3 as more" for bucket in range(4)})

    lake.rollback()

    found = lake.query("select bucket, word, more from a order by all").rows
    assert found == [(0, "two", 2), (1, "one", None), (2, "one", None), (3, "one", None)]


def test_a_damaged_file_is_in_nobodys_way(press, lake: Lake, where: Servers) -> None:
    press.publish(a={bucket: word("one", bucket) for bucket in range(4)})
    first = lake.snapshots()[0].id
    press.publish(a={0: word("two"), 1: word("two", 1)})
    [damaged] = [
        path for path in Catalog(where).tables(lake.snapshots()[0].id)["main", "a"].files if path.endswith("/0.parquet")
    ]
    bucket = where.s3.bucket
    where.s3.client().put_object(Bucket=bucket, Key=damaged.removeprefix(f"s3://{bucket}/"), Body=b"PAR1, and no more")

    lake.rollback(first)
    assert lake.query("select bucket, word from a order by all").rows == [(bucket, "one") for bucket in range(4)]
    with pytest.raises(PublishFailed, match=r"0.parquet.*Nothing was published"):
        lake.rollback(first + 1)
    press.publish(a={0: word("three")})

    assert lake.query("select bucket, word from a order by all").rows == [
        (0, "three"),
        (1, "one"),
        (2, "one"),
        (3, "one"),
    ]


def test_a_damaged_file_is_published_anew(press, lake: Lake, where: Servers) -> None:
    press.publish(a={bucket: word("one", bucket) for bucket in range(4)})
    [damaged] = [
        path for path in Catalog(where).tables(lake.snapshots()[0].id)["main", "a"].files if path.endswith("/0.parquet")
    ]
    bucket = where.s3.bucket
    where.s3.client().delete_object(Bucket=bucket, Key=damaged.removeprefix(f"s3://{bucket}/"))

    press.publish(a={0: word("three")})

    assert lake.query("select bucket, word from a order by all").rows == [
        (0, "three"),
        (1, "one"),
        (2, "one"),
        (3, "one"),
    ]
    assert Catalog(where).tables(lake.snapshots()[0].id)["main", "a"].foreign is False


def test_a_rollback_to_a_snapshot_that_is_not_there_names_those_that_are(press, lake: Lake) -> None:
    snapshot = press.publish(a={0: word("one")})

    with pytest.raises(LakeError) as error:
        lake.rollback(99)

    assert str(error.value) == f"There is no snapshot 99; kept for 7 days are: {snapshot}."


def test_what_a_rollback_brought_back_outlives_the_snapshot_it_came_from(
    press, lake: Lake, objects: Callable[[], list[str]]
) -> None:
    press.publish(a={0: word("one")})
    press.publish(a={0: word("two")})
    lake.rollback()

    later = NOW + dt.timedelta(days=9)
    lake.clean(later)
    lake.clean(later + dt.timedelta(days=2))

    assert lake.query("select word from a").rows == [("one",)]
    assert len(lake.snapshots()) == 1
    assert len(objects()) == 1


def test_young_snapshots_and_files_are_kept(press, lake: Lake, objects: Callable[[], list[str]]) -> None:
    press.publish(a={0: word("one")})
    press.publish(a={0: word("two")})
    plan = press.plan([0])
    press.write(plan, "a", {0: word("never published")})

    cleaned = lake.clean()

    assert (cleaned.snapshots, cleaned.files, len(objects())) == (0, 0, 3)
    assert [lake.query("select word from a", at=s.id).rows for s in lake.snapshots()] == [[("two",)], [("one",)]]


def test_files_of_a_build_that_failed_go_after_a_day(press, lake: Lake, objects: Callable[[], list[str]]) -> None:
    press.publish(a={0: word("one")})
    press.write(press.plan([0]), "a", {0: word("never published")})

    lake.clean(NOW + dt.timedelta(days=2))

    assert len(objects()) == 1
    assert lake.query("select word from a").rows == [("one",)]
