"""A link is signed, expires, and belongs to the first browser that goes on with it, until a connection comes of it.

Looking at a link uses nothing up, since mail programs and chats look at links, too: claiming it does.
"""

import datetime as dt
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from itsdangerous import BadSignature, URLSafeSerializer
from psycopg.rows import class_row
from pydantic import SecretStr

from ledgerlake.errors import LedgerlakeError, UsageError
from ledgerlake.store import Store, Vault, audit

Reason = Literal["unknown", "expired", "used", "elsewhere", "state"]

_SENTENCES: Mapping[Reason, str] = {
    "unknown": "This link is not one of ours, or it was not copied whole. Ask for a new one.",
    "expired": "This link has expired. Ask for a new one.",
    "used": "This link was used already: the account is connected. Ask for a new one to connect another.",
    "elsewhere": "This link is open in another browser. Go on there, or ask for a new one.",
    "state": "This answer does not belong to the step that you are at. Begin again from your link.",
}

_COLUMNS = """
    link_id, customer_id, connection_id, created_by, created_at, expires_at, opened_at, provider, used_at, outcome, connected_id
"""


class LinkRefused(LedgerlakeError):  # noqa: N818 - an answer, not a failure
    """A link or an answer of a provider cannot be used; the sentence is for the customer."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(_SENTENCES[reason])
        self.reason: Reason = reason


@dataclass(frozen=True)
class Link:
    """A link. `connection_id` is the connection that it repairs, `connected_id` the one that came of it."""

    link_id: str
    customer_id: str
    connection_id: str | None
    created_by: str
    created_at: dt.datetime
    expires_at: dt.datetime
    opened_at: dt.datetime | None
    provider: str | None
    used_at: dt.datetime | None
    outcome: Literal["connected", "cancelled", "failed"] | None
    connected_id: str | None


@dataclass(frozen=True)
class Claimed:
    """A link in the browser that it belongs to; `browser` is new where the link was claimed just now."""

    link: Link
    browser: str


class Links:
    """The connect links of a store."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        # The last of the keys signs.
        self._signer = URLSafeSerializer(vault.derived("connect links")[::-1], salt="connect")

    def create(
        self, actor: str, customer_id: str, *, connection_id: str | None = None, hours: int = 72
    ) -> tuple[Link, str]:
        """A link for a customer; the text is what the address ends with.

        Raises:
            UsageError: no customer, a time that is no use, or a connection that is not this customer's.
        """
        if not customer_id.strip() or len(customer_id) > 200 or not customer_id.isprintable():
            raise UsageError("expected your id of the customer: 1 to 200 printable characters.")
        if not 1 <= hours <= 24 * 30:
            raise UsageError("expected 1 to 720 hours.")
        if connection_id is not None and self._store.connection(connection_id).customer_id != customer_id:
            raise UsageError(f"{connection_id} is not a connection of that customer.")
        link_id = f"lnk_{secrets.token_hex(10)}"
        with self._store.connect() as postgres, postgres.transaction():
            postgres.execute(
                """
                INSERT INTO ledgerlake.connect_links (link_id, customer_id, connection_id, created_by, expires_at)
                VALUES (%s, %s, %s, %s, now() + make_interval(hours => %s))
                """,
                (link_id, customer_id, connection_id, actor, hours),
            )
            audit(postgres, actor, "link made", f"customer {customer_id}", after=link_id)
            link = _get(postgres, link_id)
        assert link is not None
        token = self._signer.dumps(link_id)
        return link, token if isinstance(token, str) else token.decode()

    def look(self, token: str, browser: str | None) -> Link:
        """The link, when this browser may go on with it. Raises LinkRefused with what to do."""
        with self._store.connect() as postgres:
            return self._look(postgres, token, browser)

    def claim(self, token: str, browser: str | None) -> Claimed:
        """Bind the link to this browser, from now on the only one that it opens in."""
        with self._store.connect() as postgres, postgres.transaction():
            link = self._look(postgres, token, browser, lock=True)
            if link.opened_at is not None:
                assert browser is not None
                return Claimed(link, browser)
            browser = secrets.token_urlsafe(32)
            postgres.execute(
                "UPDATE ledgerlake.connect_links SET opened_at = now(), session_hash = %s WHERE link_id = %s",
                (_hash(browser), link.link_id),
            )
            found = _get(postgres, link.link_id)
        assert found is not None
        return Claimed(found, browser)

    def begin(self, token: str, browser: str | None, provider: str, pending: Mapping[str, str]) -> str:
        """A consent begins: remember what it needs at its end. Returns the state that the answer must bring, once.

        Beginning again, as after the back button, ends what was under way.
        """
        state = secrets.token_urlsafe(24)
        with self._store.connect() as postgres, postgres.transaction():
            link = self._look(postgres, token, browser, lock=True)
            if link.opened_at is None:
                raise LinkRefused("elsewhere")
            sealed = self._vault.seal(link.link_id, {name: SecretStr(value) for name, value in pending.items()})
            postgres.execute(
                "UPDATE ledgerlake.connect_links SET provider = %s, state_hash = %s, pending = %s WHERE link_id = %s",
                (provider, _hash(state), sealed, link.link_id),
            )
        return state

    def answer(self, token: str, browser: str | None, provider: str, state: str) -> dict[str, SecretStr]:
        """The provider's answer has come: what `begin` remembered. The state is used up, whatever comes of it."""
        with self._store.connect() as postgres, postgres.transaction():
            link = self._look(postgres, token, browser, lock=True)
            row = postgres.execute(
                """
                UPDATE ledgerlake.connect_links AS link SET state_hash = NULL, pending = NULL
                FROM (SELECT link_id, pending FROM ledgerlake.connect_links WHERE link_id = %s) AS before
                WHERE link.link_id = before.link_id AND link.provider = %s AND link.state_hash = %s
                RETURNING before.pending
                """,
                (link.link_id, provider, _hash(state)),
            ).fetchone()
            if row is None:
                raise LinkRefused("state")
        return self._vault.open(link.link_id, bytes(row[0]))

    def end(
        self,
        token: str,
        browser: str | None,
        outcome: Literal["connected", "cancelled", "failed"],
        connected_id: str | None = None,
    ) -> Link:
        """What came of the consent. Only a connection uses the link up."""
        with self._store.connect() as postgres, postgres.transaction():
            link = self._look(postgres, token, browser, lock=True)
            postgres.execute(
                """
                UPDATE ledgerlake.connect_links
                SET outcome = %(outcome)s, connected_id = %(connection)s, state_hash = NULL, pending = NULL,
                    used_at = CASE WHEN %(outcome)s = 'connected' THEN now() END
                WHERE link_id = %(link)s
                """,
                {"outcome": outcome, "connection": connected_id, "link": link.link_id},
            )
            audit(postgres, f"customer {link.customer_id}", outcome, f"link {link.link_id}", after=connected_id)
            found = _get(postgres, link.link_id)
        assert found is not None
        return found

    def connected(self, token: str, browser: str | None) -> Link:
        """A link that was used, for its own browser: it goes on to show what came of it."""
        with self._store.connect() as postgres:
            link = self._signed(postgres, token)
            if link.used_at is None or not self._is_browser(postgres, link, browser):
                raise LinkRefused("elsewhere")
            return link

    def all(self, customer_id: str | None = None, most: int = 200) -> list[Link]:
        """The links, the newest first."""
        with self._store.connect() as postgres, postgres.cursor(row_factory=class_row(Link)) as cursor:
            return cursor.execute(
                f"""
                SELECT {_COLUMNS} FROM ledgerlake.connect_links
                WHERE %(customer)s::text IS NULL OR customer_id = %(customer)s
                ORDER BY created_at DESC, link_id LIMIT %(most)s
                """,  # noqa: S608 - this module's own columns
                {"customer": customer_id, "most": most},
            ).fetchall()

    def _look(self, postgres: psycopg.Connection, token: str, browser: str | None, *, lock: bool = False) -> Link:
        link = self._signed(postgres, token, lock=lock)
        if link.used_at is not None:
            raise LinkRefused("used")
        if link.expires_at <= dt.datetime.now(dt.UTC):
            raise LinkRefused("expired")
        if link.opened_at is not None and not self._is_browser(postgres, link, browser):
            raise LinkRefused("elsewhere")
        return link

    def _signed(self, postgres: psycopg.Connection, token: str, *, lock: bool = False) -> Link:
        try:
            link_id: Any = self._signer.loads(token)
        except BadSignature:
            raise LinkRefused("unknown") from None
        link = _get(postgres, link_id, lock=lock) if isinstance(link_id, str) else None
        if link is None:
            raise LinkRefused("unknown")
        return link

    @staticmethod
    def _is_browser(postgres: psycopg.Connection, link: Link, browser: str | None) -> bool:
        if browser is None:
            return False
        row = postgres.execute(
            "SELECT FROM ledgerlake.connect_links WHERE link_id = %s AND session_hash = %s",
            (link.link_id, _hash(browser)),
        ).fetchone()
        return row is not None


def _get(postgres: psycopg.Connection, link_id: str, *, lock: bool = False) -> Link | None:
    with postgres.cursor(row_factory=class_row(Link)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM ledgerlake.connect_links WHERE link_id = %s {'FOR UPDATE' if lock else ''}",  # noqa: S608 - this module's own columns
            (link_id,),
        ).fetchone()


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
