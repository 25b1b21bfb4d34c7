"""The store as its users see it: connections, their states and secrets, and the counters that builds compare."""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import psycopg
from psycopg.rows import class_row
from pydantic import SecretStr

from ledgerlake.errors import NotThere, UsageError
from ledgerlake.store import _migrate
from ledgerlake.store._audit import audit
from ledgerlake.store._connections import Connection, Provider, State
from ledgerlake.store._vault import Vault


def bucket_of(customer_id: str, buckets: int) -> int:
    """The bucket of a customer: stable over processes, versions and machines."""
    return int.from_bytes(hashlib.blake2b(customer_id.encode(), digest_size=8).digest(), "big") % buckets


def connection_id_of(provider: str, external_id: str) -> str:
    """The same consent always has the same id, so connecting it again repairs it and never doubles it."""
    return f"con_{hashlib.blake2b(f'{provider}:{external_id}'.encode(), digest_size=10).hexdigest()}"


class Store:
    """Short transactions on the store's PostgreSQL; each call opens and closes its own connection.

    Args:
        postgres_url: where it is.
        keep: how many connections are kept open for the calls after, for a process that serves many; until `close`.
    """

    def __init__(self, postgres_url: str, *, keep: int = 0) -> None:
        self.postgres_url = postgres_url
        self._pool = _migrate.pool(postgres_url, keep) if keep else None

    def __repr__(self) -> str:
        return "Store()"

    @contextlib.contextmanager
    def connect(self) -> Iterator[psycopg.Connection]:
        """A connection in autocommit mode. Raises ServerError when PostgreSQL cannot be reached."""
        with _migrate.connect(self.postgres_url) if self._pool is None else _migrate.borrow(self._pool) as connection:
            yield connection

    def close(self) -> None:
        """Let go of the connections that are kept."""
        if self._pool is not None:
            self._pool.close()

    def buckets(self) -> int:
        with self.connect() as connection:
            row = connection.execute("SELECT buckets FROM ledgerlake.store").fetchone()
        assert row is not None
        return int(row[0])

    def bucket_revisions(self) -> dict[int, int]:
        """For each bucket that has a connection: a counter that grows with every committed change in it."""
        with self.connect() as connection:
            rows = connection.execute("SELECT bucket, sum(revision) FROM ledgerlake.connections GROUP BY bucket")
            return {bucket: int(revision) for bucket, revision in rows}

    def add_connection(
        self, vault: Vault, *, provider: str, external_id: str, customer_id: str, secrets: Mapping[str, SecretStr]
    ) -> tuple[Connection, bool]:
        """Add a connection, or give a known one new secrets and make it active again; True when it is new.

        Raises:
            UsageError: the provider's consent is already another customer's, or a newer one has replaced it.
        """
        with self.connect() as connection, connection.transaction():
            connection_id = self._known_as(connection, provider, external_id)
            row = connection.execute(
                """
                INSERT INTO ledgerlake.connections (connection_id, customer_id, provider, external_id, bucket)
                SELECT %s, %s, %s, %s, %s
                ON CONFLICT (connection_id) DO UPDATE
                SET state = 'active', reason = NULL, revision = connections.revision + 1,
                    state_since = CASE WHEN connections.state = 'active' THEN connections.state_since ELSE now() END
                RETURNING customer_id, xmax = 0
                """,
                (connection_id, customer_id, provider, external_id, bucket_of(customer_id, self._buckets(connection))),
            ).fetchone()
            assert row is not None
            if row[0] != customer_id:
                raise UsageError(
                    f"{provider} {external_id} is already connected for another customer; a consent belongs to one customer."
                )
            self._keep(connection, connection_id, vault.seal(connection_id, secrets))
        return self.connection(connection_id), bool(row[1])

    def renew_connection(
        self, vault: Vault, connection_id: str, *, external_id: str, secrets: Mapping[str, SecretStr]
    ) -> Connection:
        """Give a connection the new consent of its customer: it is active, and its records and cursors stay.

        Raises:
            UsageError: there is no such connection (NotThere), or the consent is another one's.
        """
        provider = self.connection(connection_id).provider
        with self.connect() as connection, connection.transaction():
            holder = self._known_as(connection, provider, external_id)
            if holder != connection_id and self._exists(connection, holder):
                raise UsageError(f"{provider} {external_id} is already {holder}. Nothing was changed.")
            connection.execute(
                """
                UPDATE ledgerlake.connections
                SET external_id = %(new)s, state = 'active', reason = NULL, revision = revision + 1,
                    state_since = CASE WHEN state = 'active' THEN state_since ELSE now() END,
                    former_ids = CASE WHEN external_id = %(new)s THEN former_ids ELSE former_ids || external_id END
                WHERE connection_id = %(id)s
                """,
                {"id": connection_id, "new": external_id},
            )
            self._keep(connection, connection_id, vault.seal(connection_id, secrets))
        return self.connection(connection_id)

    @staticmethod
    def _known_as(connection: psycopg.Connection, provider: str, external_id: str) -> str:
        """The id of the connection of that consent: the one that has it, else what a new one would get.

        Raises UsageError for a consent that a newer one has replaced.
        """
        row = connection.execute(
            """
            SELECT connection_id, external_id FROM ledgerlake.connections
            WHERE provider = %(provider)s AND (external_id = %(consent)s OR %(consent)s = ANY (former_ids))
            ORDER BY external_id = %(consent)s DESC
            FOR UPDATE
            """,
            {"provider": provider, "consent": external_id},
        ).fetchone()
        if row is None:
            return connection_id_of(provider, external_id)
        if row[1] != external_id:
            raise UsageError(
                f"{provider} {external_id} was replaced by {row[1]}, which the customer of {row[0]} signed later. "
                "Nothing was changed."
            )
        return str(row[0])

    @staticmethod
    def _exists(connection: psycopg.Connection, connection_id: str) -> bool:
        query = "SELECT FROM ledgerlake.connections WHERE connection_id = %s"
        return connection.execute(query, (connection_id,)).fetchone() is not None

    @staticmethod
    def _keep(connection: psycopg.Connection, connection_id: str, ciphertext: bytes) -> None:
        connection.execute(
            """
            INSERT INTO ledgerlake.secrets (connection_id, ciphertext) VALUES (%s, %s)
            ON CONFLICT (connection_id) DO UPDATE SET ciphertext = excluded.ciphertext, updated_at = now()
            """,
            (connection_id, ciphertext),
        )

    def account_ids(self, connection_id: str, *, state: Literal["open"] | None = None) -> set[str]:
        """The provider's ids of the accounts that a connection ever had, or of those in that state."""
        with self.connect() as connection:
            rows = connection.execute(
                """
                SELECT account_id FROM ledgerlake.accounts
                WHERE connection_id = %(id)s AND (%(state)s::text IS NULL OR state = %(state)s)
                """,
                {"id": connection_id, "state": state},
            )
            return {account_id for (account_id,) in rows}

    def connection(self, connection_id: str) -> Connection:
        """That connection. Raises NotThere when there is none."""
        for found in self.connections(ids=[connection_id]):
            return found
        raise NotThere(f"There is no connection {connection_id}; `ledgerlake connections` lists them.")

    def connections(
        self, *, ids: Sequence[str] | None = None, providers: Sequence[str] | None = None
    ) -> list[Connection]:
        """The connections, oldest first; all of them, or those ids and providers."""
        with self.connect() as connection, connection.cursor(row_factory=class_row(Connection)) as cursor:
            cursor.execute(
                """
                SELECT connection_id, customer_id, provider, external_id, institution_id, institution_name, bucket,
                       state, reason, state_since, created_at, last_synced_at, revision
                FROM ledgerlake.connections
                WHERE (%(ids)s::text[] IS NULL OR connection_id = ANY(%(ids)s))
                  AND (%(providers)s::text[] IS NULL OR provider = ANY(%(providers)s))
                ORDER BY created_at, connection_id
                """,
                {
                    "ids": list(ids) if ids is not None else None,
                    "providers": list(providers) if providers is not None else None,
                },
            )
            return cursor.fetchall()

    def set_state(self, connection_id: str, state: State, reason: str | None) -> None:
        """Move a connection to a state, with the reason; a state it has already keeps its `state_since`."""
        with self.connect() as connection:
            connection.execute(
                """
                UPDATE ledgerlake.connections
                SET state = %(state)s, reason = %(reason)s, state_since = now(), revision = revision + 1
                WHERE connection_id = %(id)s AND (state <> %(state)s OR reason IS DISTINCT FROM %(reason)s)
                """,
                {"id": connection_id, "state": state, "reason": reason},
            )

    def pause(self, connection_id: str, reason: str, actor: str) -> bool:
        """Stop calling a connection, until `resume`; False when it is paused already, and stays so.

        Raises:
            UsageError: there is no such connection (NotThere), or it is not called for another reason.
        """
        return self._move(connection_id, actor, of="active", to="paused", reason=reason)

    def resume(self, connection_id: str, actor: str) -> bool:
        """Call a paused connection again; False when it is active already.

        Raises:
            UsageError: there is no such connection (NotThere), or it is not called for another reason than a pause.
        """
        return self._move(connection_id, actor, of="paused", to="active", reason=None)

    def _move(
        self,
        connection_id: str,
        actor: str,
        *,
        of: Literal["active", "paused"],
        to: Literal["active", "paused"],
        reason: str | None,
    ) -> bool:
        """From one state to the other with its line in the audit log; a state that a sync has given meanwhile stays."""
        with self.connect() as connection, connection.transaction():
            row = connection.execute(
                "SELECT state FROM ledgerlake.connections WHERE connection_id = %s FOR UPDATE", (connection_id,)
            ).fetchone()
            if row is None:
                raise NotThere(f"There is no connection {connection_id}; `ledgerlake connections` lists them.")
            (state,) = row
            if state == to:
                return False
            if state != of:
                raise UsageError(
                    f"{connection_id} is {state}, and only an active connection can be paused and a paused one be resumed; "
                    "one that needs its customer is repaired by connecting it again."
                )
            connection.execute(
                """
                UPDATE ledgerlake.connections
                SET state = %(to)s, reason = %(reason)s, state_since = now(), revision = revision + 1
                WHERE connection_id = %(id)s
                """,
                {"id": connection_id, "to": to, "reason": reason},
            )
            done = "paused" if to == "paused" else "resumed"
            audit(connection, actor, done, connection_id, before=state, after=reason or to)
        return True

    def providers(self) -> dict[str, Provider]:
        """The providers that were ever paused as a whole; one that is not here is active."""
        with self.connect() as connection, connection.cursor(row_factory=class_row(Provider)) as cursor:
            cursor.execute("SELECT provider, state, reason, state_since FROM ledgerlake.providers ORDER BY provider")
            return {one.provider: one for one in cursor.fetchall()}

    def pause_provider(self, provider: str, reason: str, actor: str) -> None:
        """Stop calling a provider: a running sync of it stops at its next page, and none begins until it is resumed."""
        self._set_provider(provider, "paused", reason, actor)

    def resume_provider(self, provider: str, actor: str) -> None:
        """Call a provider again; each connection goes on where it stopped, in the state that it has."""
        self._set_provider(provider, "active", None, actor)

    def _set_provider(self, provider: str, state: str, reason: str | None, actor: str) -> None:
        with self.connect() as connection, connection.transaction():
            connection.execute(
                """
                INSERT INTO ledgerlake.providers AS known (provider, state, reason)
                VALUES (%(provider)s, %(state)s, %(reason)s)
                ON CONFLICT (provider) DO UPDATE
                SET state = excluded.state, reason = excluded.reason,
                    state_since = CASE WHEN known.state = excluded.state THEN known.state_since ELSE now() END
                """,
                {"provider": provider, "state": state, "reason": reason},
            )
            done = "paused" if state == "paused" else "resumed"
            audit(connection, actor, done, f"provider {provider}", after=reason)

    def rotate_secrets(self, vault: Vault) -> int:
        """Encrypt every connection's secrets under the vault's first key, all or none; how many there were."""
        with self.connect() as connection, connection.transaction():
            rows = connection.execute("SELECT connection_id, ciphertext FROM ledgerlake.secrets FOR UPDATE").fetchall()
            with connection.cursor() as cursor:
                cursor.executemany(
                    "UPDATE ledgerlake.secrets SET ciphertext = %s, updated_at = now() WHERE connection_id = %s",
                    [(vault.rotate(bytes(ciphertext)), connection_id) for connection_id, ciphertext in rows],
                )
        return len(rows)

    @staticmethod
    def _buckets(connection: psycopg.Connection) -> int:
        row = connection.execute("SELECT buckets FROM ledgerlake.store").fetchone()
        assert row is not None
        return int(row[0])
