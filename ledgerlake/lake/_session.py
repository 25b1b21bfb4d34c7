"""A DuckDB connection as every part of the lake needs it.

Belongs here: extensions from their wheels, credentials, attaching PostgreSQL and the lake, limits.
Does not belong here: what is asked of them.
"""

import contextlib
from collections.abc import Iterator

import duckdb
from duckdb import DuckDBPyConnection
from psycopg.conninfo import conninfo_to_dict

from ledgerlake.errors import ServerError
from ledgerlake.local import S3, Servers
from ledgerlake.settings import Settings

METADATA_SCHEMA = "ducklake"
"""The PostgreSQL schema of the lake's catalog."""

_SECRET_FIELDS = {"host": "host", "hostaddr": "host", "port": "port", "dbname": "database", "user": "user"}


@contextlib.contextmanager
def session(settings: Settings) -> Iterator[DuckDBPyConnection]:
    """A connection in memory with the settings' limits; nothing is attached."""
    with duckdb.connect(":memory:") as connection:
        limit(connection, settings)
        yield connection


def limit(connection: DuckDBPyConnection, settings: Settings) -> None:
    """Bound its memory, and let it spill under LEDGERLAKE_HOME."""
    spill = settings.home / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    connection.execute(f"set memory_limit = {quoted(settings.memory_limit)}")
    connection.execute(f"set temp_directory = {quoted(str(spill))}")
    connection.execute("set preserve_insertion_order = false")
    connection.execute("set autoinstall_known_extensions = false")
    connection.execute("set TimeZone = 'UTC'")
    if settings.threads is not None:
        connection.execute(f"set threads = {settings.threads:d}")


def load(connection: DuckDBPyConnection, *names: str) -> None:
    """Load extensions from their wheels: nothing is downloaded."""
    from duckdb_extensions import import_extension  # type: ignore[import-untyped]

    for name in names:
        try:
            connection.load_extension(name)
        except duckdb.Error:
            import_extension(name, con=connection)
            connection.load_extension(name)


def use_s3(connection: DuckDBPyConnection, s3: S3) -> None:
    """Let it read and write below `s3.url`, and nowhere else on S3.

    A file is written once and never changed, so what a connection has read of it need not be asked for again.
    """
    load(connection, "httpfs")
    connection.execute("set enable_http_metadata_cache = true")
    connection.execute("set validate_external_file_cache = 'NO_VALIDATION'")
    access, secret, token = s3.access_key, s3.secret_key, None
    if access is None:
        access, secret, token = _credentials_of_the_machine()
    options = {
        "type": "s3",
        "key_id": access,
        "secret": secret,
        "session_token": token,
        "region": s3.region,
        "scope": s3.url,
    }
    if s3.endpoint is not None:
        scheme, _, host = s3.endpoint.rpartition("://")
        options |= {"endpoint": host, "url_style": "path", "use_ssl": str(scheme == "https").lower()}
    given = ", ".join(f"{name} {quoted(value)}" for name, value in options.items() if value is not None)
    connection.execute(f"create or replace secret ledgerlake_s3 ({given})")


def attach_postgres(connection: DuckDBPyConnection, postgres_url: str) -> None:
    """Attach the store read-only as `pg`. The password is in a secret, so that no statement shows it."""
    load(connection, "postgres_scanner")
    rest = _postgres_secret(connection, postgres_url)
    with _server_errors():
        connection.execute(f"attach {quoted(rest)} as pg (type postgres, secret ledgerlake_postgres, read_only)")


def attach_lake(
    connection: DuckDBPyConnection, where: Servers, *, read_only: bool, snapshot: int | None = None
) -> None:
    """Attach the lake as `lake`, made at the first call that may write; `snapshot` pins what is seen."""
    load(connection, "postgres_scanner", "ducklake")
    use_s3(connection, where.s3)
    rest = _postgres_secret(connection, where.postgres_url)
    options = [
        f"metadata_schema {quoted(METADATA_SCHEMA)}",
        "meta_secret 'ledgerlake_postgres'",
        f"data_path {quoted(where.s3.url.rstrip('/') + '/')}",
    ]
    if read_only:
        options += ["read_only", "create_if_not_exists false"]
    if snapshot is not None:
        options.append(f"snapshot_version {snapshot:d}")
    with _server_errors():
        connection.execute(f"attach {quoted('ducklake:postgres:' + rest)} as lake ({', '.join(options)})")


def quoted(text: str) -> str:
    """The SQL literal of a text."""
    return "'" + text.replace("'", "''") + "'"


def named(*parts: str) -> str:
    """The SQL name of a table or column: ``named('main', 'dim_accounts')``."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def _postgres_secret(connection: DuckDBPyConnection, postgres_url: str) -> str:
    """Put the credentials into a DuckDB secret; returns the remaining options, none of them secret."""
    given = {name: str(value) for name, value in conninfo_to_dict(postgres_url).items() if value is not None}
    password = given.pop("password", None)
    options = {field: given.pop(name) for name, field in _SECRET_FIELDS.items() if name in given}
    if password is not None:
        options["password"] = password
    text = ", ".join(f"{name} {quoted(value)}" for name, value in options.items() if value)
    connection.execute(f"create or replace secret ledgerlake_postgres (type postgres, {text})")
    return " ".join(f"{name}={value}" for name, value in given.items())


def _credentials_of_the_machine() -> tuple[str | None, str | None, str | None]:
    """What AWS's own chain finds: profile, container or instance role."""
    import boto3

    found = boto3.Session().get_credentials()
    if found is None:
        return None, None, None
    now = found.get_frozen_credentials()
    return now.access_key, now.secret_key, now.token


@contextlib.contextmanager
def _server_errors() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        first = str(error).splitlines()[0]
        raise ServerError(f"PostgreSQL or the lake's catalog cannot be opened: {first}") from None
