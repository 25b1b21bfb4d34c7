"""SQL of people over the published lake: read-only, and nothing but the lake.

The catalog is asked which files each table has; the SQL then runs in a database that has neither the catalog nor
PostgreSQL, may open those files alone, and cannot change its own settings.
"""
# ruff: noqa: S608 (names go through `named`, texts through `quoted`; DuckDB takes no parameters there)

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection

from ledgerlake.lake._catalog import Catalog, Name, Table, require_own
from ledgerlake.lake._errors import LakeEmpty, LakeError, QueryError
from ledgerlake.lake._project import models
from ledgerlake.lake._session import named, quoted, session, use_s3
from ledgerlake.local import Servers
from ledgerlake.settings import Settings


@dataclass(frozen=True)
class Answer:
    """Rows of a query, with the names and DuckDB types of its columns; money is Decimal."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def query(sql: str, where: Servers, settings: Settings, at: int | None = None) -> Answer:
    """Answer one SELECT over the lake as it is, or was at snapshot `at`; every table at the same snapshot.

    Raises:
        QueryError: the SQL is wrong, is not one SELECT, or reaches for something other than the lake.
        LakeError: nothing was published yet, there is no snapshot `at`, or something else changed the tables.
    """
    statement = _one_select(sql)
    _, tables = published(Catalog(where), at)
    with session(settings) as connection:
        use_s3(connection, where.s3)
        _make_views(connection, tables)
        _make_empty_views(connection, tables)
        lock(connection, tables)
        try:
            cursor = connection.execute(statement)
            columns = cursor.description or []
            return Answer(
                tuple(column[0] for column in columns),
                tuple(str(column[1]) for column in columns),
                cursor.fetchall(),
            )
        except duckdb.Error as error:
            raise QueryError(explained(error)) from None


def _one_select(sql: str) -> duckdb.Statement:
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(explained(error)) from None
    if len(statements) != 1:
        raise QueryError(f"Expected one SELECT, found {len(statements)} statements.")
    if statements[0].type != duckdb.StatementType.SELECT:
        raise QueryError(
            f"Expected a SELECT, found {statements[0].type.name}: the lake is read-only, builds alone write to it."
        )
    return statements[0]


def published(catalog: Catalog, at: int | None = None) -> tuple[int, dict[Name, Table]]:
    """The newest snapshot, or `at`, with its tables.

    Raises:
        LakeEmpty: nothing was published yet.
        LakeError: there is no snapshot `at`, or something else changed the tables.
    """
    newest = catalog.newest()
    known = [snapshot.id for snapshot in catalog.snapshots()]
    if newest is None or not known:
        raise LakeEmpty("The lake is empty: nothing was published yet. Run `ledgerlake build`.")
    if at is not None and at not in known:
        raise LakeError(f"There is no snapshot {at}; there are {', '.join(str(id_) for id_ in sorted(known))}.")
    snapshot = newest if at is None else at
    tables = catalog.tables(snapshot)
    require_own(tables)
    return snapshot, tables


def relation(table: Table, without: Collection[str] = ()) -> str:
    """A SELECT in parentheses of a table's columns over its files, but for the paths `without`."""
    columns = ", ".join(f"{named(column)}::{kind} as {named(column)}" for column, kind in table.columns)
    if files := ", ".join(quoted(path) for path in table.files if path not in without):
        empty = ", ".join(f"null::{kind} as {named(column)}" for column, kind in table.columns)
        source = f"(select * from read_parquet([{files}], union_by_name => true) union all by name select {empty} where false)"
    else:
        empty = ", ".join(f"null as {named(column)}" for column, _ in table.columns)
        source = f"(select {empty} where false)"
    return f"(select {columns} from {source})"


def _make_views(connection: DuckDBPyConnection, tables: dict[Name, Table]) -> None:
    for name, table in tables.items():
        make_view(connection, name, f"from {relation(table)}")


def make_view(connection: DuckDBPyConnection, name: Name, source: str) -> None:
    """A view of a published table; `source` is its SELECT."""
    connection.execute(f"create schema if not exists {named(name[0])}")
    connection.execute(f"create or replace view {named(*name)} as {source}")


def _make_empty_views(connection: DuckDBPyConnection, tables: dict[Name, Table]) -> None:
    """A table of a provider that nobody connects yet is there, and empty."""
    for model in models().values():
        if model.provider and (model.schema, model.name) not in tables:
            make_view(connection, (model.schema, model.name), model.nothing)


def lock(connection: DuckDBPyConnection, tables: dict[Name, Table]) -> None:
    """Let it open the tables' files and nothing else, for good."""
    files = ", ".join(quoted(path) for table in tables.values() for path in table.files)
    connection.execute(f"set allowed_paths = [{files}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def explained(error: duckdb.Error) -> str:
    """What is wrong with somebody's SQL, in one line."""
    text = str(error)
    if isinstance(error, duckdb.PermissionException):
        return "The lake's own tables can be read, and nothing else: no files, no other servers, no settings."
    return " ".join(text.split("LINE 1:")[0].split())
