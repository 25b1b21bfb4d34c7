"""Bringing the store to the version of this code, and refusing to work when it is not."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from ledgerlake.errors import SchemaError, ServerError

if TYPE_CHECKING:
    from psycopg_pool import ConnectionPool

_LOCK = 0x1ED6E51A  # any constant that is ours: the advisory lock under which migrations run
_OLDEST = 15
_PATIENCE = 3.0
"""Seconds that whoever asks a pool waits for a connection, and that the pool tries to make one."""
_SCRIPTS = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class Position:
    """Where a store stands: revisions as Alembic names them, None for a database without a store."""

    at: str | None
    newest: str
    known: tuple[str, ...]

    @property
    def current(self) -> bool:
        return self.at == self.newest


def _known() -> tuple[str, ...]:
    """The versions, the newest first, from the names of their files: every command asks, and Alembic takes half a second."""
    return tuple(sorted((path.name.partition("_")[0] for path in _SCRIPTS.glob("versions/[0-9]*_*.py")), reverse=True))


def position(postgres_url: str) -> Position:
    """Where the store stands. Raises ServerError when PostgreSQL cannot be reached or is too old."""
    with connect(postgres_url) as connection:
        return _position(connection)


def _position(connection: psycopg.Connection) -> Position:
    known, at = _known(), None
    if connection.execute("SELECT to_regclass('ledgerlake.schema_version')").fetchone() != (None,):
        row = connection.execute("SELECT version_num FROM ledgerlake.schema_version").fetchone()
        at = row[0] if row else None
    return Position(at, known[0], known)


def connect(postgres_url: str, **options: object) -> psycopg.Connection:
    """A connection to the store's PostgreSQL, or ServerError in one sentence that never holds the password."""
    try:
        connection = psycopg.connect(postgres_url, connect_timeout=10, autocommit=True, **options)  # type: ignore[arg-type]
    except psycopg.ProgrammingError:
        raise ServerError(
            "LEDGERLAKE_POSTGRES_URL is not an address of PostgreSQL; expected postgresql://user:password@host:port/database."
        ) from None
    except psycopg.OperationalError as error:
        found = str(error).strip().splitlines()
        raise _unreachable(found[0] if found else "no answer") from None
    version = connection.info.server_version // 10000
    if version < _OLDEST:
        connection.close()
        raise ServerError(f"PostgreSQL {_OLDEST} or newer is needed, this server is {version}. Name a newer one.")
    return connection


def _unreachable(found: str) -> ServerError:
    return ServerError(
        f"PostgreSQL cannot be reached: {found}. Check LEDGERLAKE_POSTGRES_URL and that the server runs."
    )


def pool(postgres_url: str, size: int) -> "ConnectionPool":
    """Connections for many short calls, opened by the first of them; a lock that a call holds goes when it gives back."""
    from psycopg_pool import ConnectionPool

    return ConnectionPool(
        postgres_url,
        min_size=1,
        max_size=size,
        timeout=_PATIENCE,
        reconnect_timeout=_PATIENCE,
        kwargs={"autocommit": True, "connect_timeout": 10},
        check=ConnectionPool.check_connection,
        reset=_let_go,
        name="store",
        open=False,
    )


def _let_go(connection: psycopg.Connection) -> None:
    connection.execute("SELECT pg_advisory_unlock_all()")


@contextlib.contextmanager
def borrow(pool: "ConnectionPool") -> Iterator[psycopg.Connection]:
    """One of its connections, for a moment. Raises ServerError when PostgreSQL cannot be reached."""
    from psycopg_pool import PoolTimeout

    pool.open()
    try:
        connection = pool.getconn()
    except PoolTimeout:
        raise _unreachable(f"no connection within {_PATIENCE:g} s") from None
    try:
        with connection:
            yield connection
    finally:
        pool.putconn(connection)


def require_current(postgres_url: str, *, buckets: int) -> None:
    """Return when the store fits this code; make it where there is none yet.

    Raises:
        SchemaError: the store is older (run `ledgerlake migrate`) or newer (upgrade Ledgerlake) than the code.
    """
    found = position(postgres_url)
    if found.at is None:
        migrate(postgres_url, buckets=buckets)
    elif found.at not in found.known:
        raise SchemaError(_newer(found))
    elif not found.current:
        raise SchemaError(
            f"The store is at version {found.at}, this Ledgerlake needs {found.newest}: run `ledgerlake migrate`. "
            "Nothing was changed."
        )


def _newer(found: Position) -> str:
    return (
        f"The store is at version {found.at}, which this Ledgerlake does not know (it knows up to {found.newest}): "
        "a newer Ledgerlake made it. Upgrade this one. Nothing was changed."
    )


def migrate(
    postgres_url: str, *, buckets: int, to: str = "head", lock_seconds: float = 60, lock_timeout: str = "10s"
) -> tuple[str | None, str | None]:
    """Bring the store to `to` ("head", a revision, or "base"), and return where it was and is.

    Safe to run twice and from several processes: each waits for the other's advisory lock, then finds its work done.

    Raises:
        SchemaError: the store is newer than the code, `to` is unknown, or a table stayed locked for `lock_timeout`.
    """
    import sqlalchemy as sa
    from alembic import command
    from alembic.config import Config

    with connect(postgres_url) as holder, _lock(holder, lock_seconds):
        before = _position(holder)
        if before.at is not None and before.at not in before.known:
            raise SchemaError(_newer(before))
        if to not in {"head", "base", *before.known}:
            raise SchemaError(f"There is no version {to} of the store; known: {', '.join(reversed(before.known))}.")
        holder.execute("CREATE SCHEMA IF NOT EXISTS ledgerlake")
        holder.execute("CREATE SCHEMA IF NOT EXISTS raw")
        config = Config()
        config.set_main_option("script_location", str(_SCRIPTS))
        config.set_main_option("path_separator", "os")
        engine = sa.create_engine(
            "postgresql+psycopg://",
            creator=lambda: psycopg.connect(postgres_url, options=f"-c lock_timeout={lock_timeout}"),
            poolclass=sa.NullPool,
        )
        up = to == "head" or (to != "base" and (before.at is None or to >= before.at))
        try:
            with engine.connect() as connection:
                config.attributes["connection"] = connection
                config.attributes["buckets"] = buckets
                (command.upgrade if up else command.downgrade)(config, to)
                connection.commit()
        except sa.exc.OperationalError as error:
            if isinstance(error.orig, psycopg.errors.LockNotAvailable):
                raise SchemaError(
                    f"The store is in use: a table stayed locked for {lock_timeout}. Nothing was changed; "
                    "run `ledgerlake migrate` again when no sync or build runs."
                ) from None
            raise
        return before.at, _position(holder).at


@contextlib.contextmanager
def _lock(connection: psycopg.Connection, seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone() != (True,):
        if time.monotonic() > deadline:
            raise SchemaError(
                f"Another `ledgerlake migrate` has been running for {seconds:.0f} s. Nothing was changed."
            )
        time.sleep(0.1)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))
