"""SQL of people: the lake, and nothing else."""

import duckdb
import pytest

from ledgerlake.lake import Answer, Lake, LakeError, QueryError
from ledgerlake.lake._catalog import Catalog
from ledgerlake.lake._query import _make_views, lock
from ledgerlake.lake._session import attach_lake, session, use_s3

ONE = "select 0::smallint as bucket, 1.00000001::decimal(28,8) as amount"


@pytest.fixture
def published(press, lake: Lake) -> Lake:
    plan = press.plan([0])
    files = press.write(plan, "a", {0: ONE}) + press.write(plan, "stg", {0: ONE}, schema="staging")
    press.publisher.publish(plan, files, "code")
    return lake


def test_marts_are_views_of_their_own_name_and_the_steps_before_them_have_a_schema(published: Lake) -> None:
    answer = published.query("select a.amount + stg.amount as sum from a join staging.stg using (bucket)")

    assert answer == Answer(("sum",), ("DECIMAL(29,8)",), answer.rows)
    assert [str(value) for (value,) in answer.rows] == ["2.00000002"]


def test_an_older_snapshot_is_read_as_it_was(published: Lake, press) -> None:
    press.publish(a={0: ONE.replace("1.0", "2.0")})
    newest, first = (snapshot.id for snapshot in published.snapshots())

    assert [str(published.query("select amount from a", at=at).rows[0][0]) for at in (first, newest)] == [
        "1.00000001",
        "2.00000001",
    ]


def test_an_empty_lake_says_what_to_do(lake: Lake) -> None:
    with pytest.raises(LakeError, match=r"^The lake is empty: nothing was published yet\. Run `ledgerlake build`\.$"):
        lake.query("select 1")


NO_SELECT = [
    "drop view a",
    "create table x as select 1",
    "insert into a values (1, 2)",
    "copy a to '/tmp/a.csv'",
    "copy (select 1) to 's3://ledgerlake/x.parquet'",
    "explain analyze copy (select 1) to '/tmp/a.csv'",
    "attach '/tmp/x.db'",
    "install postgres",
    "load postgres_scanner",
    "set enable_external_access = true",
    "reset lock_configuration",
    "pragma enable_profiling",
    "create secret (type s3)",
    "call postgres_attach('')",
    "export database '/tmp/x'",
    "vacuum",
    "begin",
]


def test_a_statement_that_is_no_select_is_refused(published: Lake) -> None:
    for sql in NO_SELECT:
        with pytest.raises(QueryError, match=r"^Expected a SELECT, found [A-Z_]+: the lake is read-only"):
            published.query(sql)


def test_two_statements_are_refused(published: Lake) -> None:
    with pytest.raises(QueryError, match=r"^Expected one SELECT, found 2 statements\.$"):
        published.query("select 1; drop view a")


def test_nothing_outside_the_lake_can_be_read(published: Lake, where) -> None:
    reaching = [
        "select * from read_text('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from read_csv('/etc/hosts')",
        "select * from glob('/etc/*')",
        f"select * from glob('{where.s3.url}/*')",
        f"select * from read_parquet('{where.s3.url}/builds/*/main/a/*.parquet')",
        "select * from read_text('https://127.0.0.1/')",
        "select * from read_parquet('s3://other/x.parquet')",
    ]
    for sql in reaching:
        with pytest.raises(QueryError):
            published.query(sql)


def test_the_store_and_the_catalog_cannot_be_reached(published: Lake, postgres_url: str) -> None:
    reaching = [
        f"select * from postgres_scan('{postgres_url}', 'ledgerlake', 'secrets')",
        f"select * from postgres_query('{postgres_url}', 'select 1')",
        "select * from pg.ledgerlake.secrets",
        "select * from lake.main.a",
        "select * from __ducklake_metadata_lake.ducklake.ducklake_snapshot",
    ]
    for sql in reaching:
        with pytest.raises(QueryError):
            published.query(sql)
    assert published.query("select database_name from duckdb_databases() where not internal").rows == [("memory",)]


def test_no_secret_can_be_read(published: Lake, where, postgres_url: str) -> None:
    shown = [
        published.query(f"select * from {function}()").rows
        for function in ("duckdb_secrets", "duckdb_settings", "duckdb_databases", "duckdb_variables", "duckdb_views")
    ]

    with pytest.raises(QueryError):
        published.query("select * from duckdb_secrets(redact => false)")
    assert where.s3.secret_key is not None
    assert where.s3.secret_key not in str(shown)
    assert postgres_url not in str(shown)


def test_the_database_of_a_query_is_locked_also_for_what_is_no_select(published: Lake, where, settings) -> None:
    tables = Catalog(where).tables(published.snapshots()[0].id)
    with session(settings) as connection:
        use_s3(connection, where.s3)
        _make_views(connection, tables)
        lock(connection, tables)
        for sql in ("set enable_external_access = true", "attach '/tmp/x.db'", "copy a to '/tmp/a.csv'"):
            with pytest.raises(duckdb.Error):
                connection.execute(sql)


def test_wrong_sql_is_explained_in_one_line(published: Lake) -> None:
    wrong = {
        "select * from nothing": "Catalog Error: Table with name nothing does not exist",
        "select nothing from a": "Binder Error: Referenced column",
        "selec": "Parser Error: syntax error",
    }
    for sql, sentence in wrong.items():
        with pytest.raises(QueryError) as error:
            published.query(sql)
        assert str(error.value).startswith(sentence)
        assert "\n" not in str(error.value)


def test_rows_that_something_else_changed_are_not_answered_from_files_alone(
    published: Lake, press, where, settings
) -> None:
    with session(settings) as connection:
        attach_lake(connection, where, read_only=False)
        connection.execute("insert into lake.main.a values (0, 5)")
    with pytest.raises(LakeError) as error:
        published.query("select * from a")
    assert str(error.value) == (
        "main.a: rows were written or deleted by something else than Ledgerlake, which replaces whole files. "
        "Run `ledgerlake build --all` to publish them anew."
    )

    press.publish(a={0: ONE})

    assert published.query("select count(*) from a").rows == [(1,)]


def test_a_query_larger_than_memory_spills(published: Lake, where, settings) -> None:
    small = Lake(where, settings.model_copy(update={"memory_limit": "60MB"}))

    rows = small.query(
        "select range as n, md5(range::varchar) as m from range(1500000) order by m limit 1 offset 1400000"
    )

    assert len(rows.rows) == 1
