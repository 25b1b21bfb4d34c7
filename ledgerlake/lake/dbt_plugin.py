"""Prepares each DuckDB database that dbt opens for this project; dbt_project/profiles.yml names it.

In the database are then: the schemas `raw` and `ledgerlake` with the sources, read from PostgreSQL at one snapshot;
`pg` and `lake`, attached read-only; a view of its published table for each model, which a run replaces for the
models it builds; `everywhere`, the same over all buckets; and `build`, what the materialization needs to know.

Inside `ledgerlake build` the plan is handed over. Under a plain `dbt` command the plugin makes one: all buckets (or
those of LEDGERLAKE_BUILD_BUCKETS, comma separated), into a scratch folder, so that nothing is published.
"""
# ruff: noqa: S608 (names go through `named`, texts through `quoted`; DuckDB takes no parameters there)

import atexit
import contextlib
import itertools
import os
import shutil
import tempfile
from pathlib import Path

from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb import DuckDBPyConnection

from ledgerlake.errors import UsageError
from ledgerlake.lake._catalog import Catalog
from ledgerlake.lake._plan import HANDOVER, Ground, Plan, ground, new_build_id
from ledgerlake.lake._project import PROJECT, absent, models
from ledgerlake.lake._session import attach_lake, attach_postgres, limit, named, quoted, use_s3
from ledgerlake.local import servers
from ledgerlake.settings import Settings
from ledgerlake.settings import load as load_settings

_SCHEMAS = ("staging", "intermediate", "main")


class Plugin(BasePlugin):
    """The name is dbt-duckdb's convention."""

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        plan = HANDOVER.plan or _own_plan()
        limit(conn, plan.settings)
        use_s3(conn, plan.where.s3)
        attach_postgres(conn, plan.where.postgres_url)
        if plan.base is not None:
            attach_lake(conn, plan.where, read_only=True, snapshot=plan.base)
        _make_plan(conn, plan)
        _make_sources(conn, plan)
        _make_published(conn, plan)
        if HANDOVER.plan is plan:
            HANDOVER.opened(conn)


def _own_plan() -> Plan:
    """The plan of a plain dbt command; servers, snapshot and scratch folder last as long as the process."""
    settings = _own_settings()
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    where = stack.enter_context(servers(settings))
    base = Catalog(where).newest()
    now = stack.enter_context(ground(where.postgres_url))
    settings.home.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.mkdtemp(prefix="dbt-", dir=settings.home)
    stack.callback(shutil.rmtree, scratch, ignore_errors=True)
    for schema, model in itertools.product(_SCHEMAS, models()):
        Path(scratch, schema, model).mkdir(parents=True)
    unused = absent(now.providers)
    return Plan(new_build_id(), settings, where, scratch, _buckets_asked_for(now), now, base, unused)


def _own_settings() -> Settings:
    """In the project's folder, where dbt is at home, `.env` and `.ledgerlake` are those of the checkout around it."""
    folder = Path.cwd()
    with contextlib.chdir(PROJECT.parent if folder.is_relative_to(PROJECT) else folder):
        return load_settings()


def _buckets_asked_for(now: Ground) -> tuple[int, ...]:
    asked = os.environ.get("LEDGERLAKE_BUILD_BUCKETS", "")
    try:
        buckets = tuple(sorted({int(part) for part in asked.split(",")})) if asked else tuple(now.revisions)
    except ValueError:
        buckets = (-1,)
    if not set(buckets) <= set(now.revisions):
        raise UsageError(
            f"LEDGERLAKE_BUILD_BUCKETS={asked}: expected numbers from 0 to {max(now.revisions)}, comma separated."
        )
    return buckets


def _make_plan(conn: DuckDBPyConnection, plan: Plan) -> None:
    buckets = ", ".join(str(bucket) for bucket in plan.buckets)
    conn.execute(
        f"""
        create schema build;
        create table build.files (schema_name varchar, model varchar, bucket smallint, path varchar, row_count bigint);
        create table build.published (schema_name varchar, table_name varchar);
        create table build.absent (schema_name varchar, table_name varchar);
        create table build.plan as
        select
            {quoted(plan.build_id)} as build_id,
            {quoted(plan.prefix)} as prefix,
            {quoted(plan.ground.snapshot)} as snapshot,
            [{buckets}]::smallint[] as buckets
        """
    )


def _make_sources(conn: DuckDBPyConnection, plan: Plan) -> None:
    """One view a stream over the leaves of the plan's buckets: with `bucket` set, only that leaf is scanned."""
    conn.execute("create schema raw; create schema ledgerlake")
    streams = conn.execute(
        """
        from postgres_query('pg', $$
            select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = 'raw' and c.relkind = 'p' order by 1
        $$)
        """
    ).fetchall()
    for (stream,) in streams:
        leaves = " union all ".join(
            f"select * from pg.raw.{named(f'{stream}_b{bucket}')} where {_in_bucket(str(bucket))}"
            for bucket in plan.buckets
        )
        conn.execute(f"create view raw.{named(stream)} as {leaves}")
    buckets = f"bucket in ({', '.join(map(str, plan.buckets))}) and {_in_bucket('bucket')}"
    conn.execute(
        f"""
        create view raw.quarantine as from pg.raw.quarantine where {buckets};
        create view ledgerlake.connections as from pg.ledgerlake.connections where {buckets};
        create view ledgerlake.findings as from pg.ledgerlake.findings;
        create view ledgerlake.verifications as from pg.ledgerlake.verifications;
        """
    )
    for table in ("accounts", "syncs", "verification_results"):
        conn.execute(
            f"""
            create view ledgerlake.{table} as
            select connections.bucket, of_connection.*
            from pg.ledgerlake.{table} as of_connection
            inner join ledgerlake.connections as connections on of_connection.connection_id = connections.connection_id
            """
        )


def _make_published(conn: DuckDBPyConnection, plan: Plan) -> None:
    """A view of each published table, restricted to the plan's buckets, and one of all buckets."""
    conn.execute("create schema everywhere; create schema staging; create schema intermediate")
    for model in plan.absent:
        conn.execute("insert into build.absent values (?, ?)", [model.schema, model.name])
        conn.execute(f"create view {named(model.schema, model.name)} as {model.nothing}")
        conn.execute(f"create view everywhere.{named(model.name)} as {model.nothing}")
    if plan.base is None:
        return
    tables = conn.execute(
        """
        select schema_name, table_name, bool_or(column_name = 'bucket')
        from duckdb_columns()
        where database_name = 'lake' and schema_name in (select unnest(?))
        group by all
        """,
        [list(_SCHEMAS)],
    ).fetchall()
    buckets = f"where bucket in ({', '.join(map(str, plan.buckets))}) and {_in_bucket('bucket')}"
    for schema, table, bucketed in tables:
        published = f"lake.{named(schema, table)}"
        conn.execute("insert into build.published values (?, ?)", [schema, table])
        conn.execute(f"create or replace view {named(schema, table)} as from {published} {buckets if bucketed else ''}")
        conn.execute(f"create or replace view everywhere.{named(table)} as from {published}")


def _in_bucket(bucket: str) -> str:
    """True in the bucket that is being built, everywhere while none is."""
    return f"{bucket} = coalesce(getvariable('bucket'), {bucket})"
