"""What a provider's sandbox offers to the rest: its routes, and its own words for the world's things.

A provider is one file that speaks its wire protocol over a `Bank`. It is served under `/<name>`, behind the gate that
counts requests and works faults; the control endpoints use it to name connections and to tell the truth in its ids.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

from starlette.routing import BaseRoute
from starlette.types import Scope

from sandbox.bank import Bank
from sandbox.books import Row
from sandbox.faults import Fault
from sandbox.webhooks.hook import Hooks
from sandbox.world import Account, Customer


class Shown(NamedTuple):
    """The balances that a provider shows, in minor units from the holder's side; None where it shows none."""

    ledger: int | None
    available: int | None


class Rows(NamedTuple):
    """A list's rows in an answer, and the bytes of the answer before and after them."""

    before: bytes
    rows: list[bytes]
    after: bytes

    def body(self) -> bytes:
        """The answer with these rows."""
        return self.before + b",".join(self.rows) + self.after


class Refused(Exception):  # noqa: N818 - an answer, not a failure of the sandbox
    """An answer that is an error in the provider's words: status, JSON body, and headers besides."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


class Provider(Protocol):
    """One provider's protocol over a bank."""

    name: ClassVar[str]
    credentials: ClassVar[Mapping[str, str]]
    """The application's own credentials that it takes, by the provider's names; none where it wants none."""
    webhook_secrets: ClassVar[tuple[str, ...]]
    """The secrets that its webhooks are signed with, where they are signed with secrets."""
    pages: ClassVar[Mapping[str, str]]
    """Where in the browser customers consent, by the name of the setting: the path below its base URL."""
    page_parameter: ClassVar[str]
    """The query's name for the place to page on from."""
    bank: Bank
    """What it shows: the bank it was given, or another branch of it. What happens to its connections happens here alone."""
    hooks: Hooks | None
    """What it tells of its own accord; None for a provider without webhooks."""

    def __init__(self, bank: Bank) -> None: ...

    def serves(self, customer: Customer) -> bool:
        """Whether the customer has a connection through this provider."""
        ...

    def routes(self) -> list[BaseRoute]:
        """Its endpoints, relative to its base URL."""
        ...

    def token(self, scope: Scope) -> str | None:
        """The access token that a request carries."""
        ...

    def customer(self, token: str) -> Customer | None:
        """Whose connection a token opens; None when it is unknown or revoked."""
        ...

    def secrets(self, customer: Customer) -> dict[str, str]:
        """What a client must know to read the customer's connection, by the provider's names."""
        ...

    def connection_id(self, customer: Customer) -> str:
        """The provider's id of the customer's connection."""
        ...

    def find_connection(self, connection_id: str) -> Customer | None:
        """Whose connection has this id."""
        ...

    def account_id(self, account: Account) -> str:
        """The provider's id of an account."""
        ...

    def account_ref(self, account_id: str) -> str:
        """The world's ref of an account id."""
        ...

    def record_id(self, ref: str) -> str:
        """The provider's id of a movement's ref."""
        ...

    def streams(self, account: Account) -> frozenset[str]:
        """What of an account can be read: of "balances", "details", "transactions"."""
        ...

    def balances(self, account: Account, day: int) -> Shown:
        """The balances it shows on a day, whatever the state of the connection."""
        ...

    def truth(self, customer: Customer, *, rows: bool) -> dict[str, Any]:
        """What a perfect client holds of the customer's connection, with or without single records."""
        ...

    def tell_row(self, account: Account, row: Row) -> dict[str, Any]:
        """A transaction as the truth tells it, see `sandbox.truth`."""
        ...

    def kind(self, kind: str) -> str:
        """Its word for a kind of movement."""
        ...

    def disconnected(self, reason: str) -> tuple[int, bytes]:
        """Its answer for a broken connection: status and body."""
        ...

    def account_closed(self, reason: str) -> tuple[int, bytes]:
        """Its answer for a closed account: status and body."""
        ...

    def rate_limited(self) -> bytes:
        """The body of its answer 429."""
        ...

    def failed(self, status: int) -> bytes:
        """The body of its answer 5xx."""
        ...

    def rows(self, path: str, body: bytes) -> Rows | None:
        """The records in an answer of 200; None where the path gives no list of them."""
        ...

    def bad_row(self, fault: Fault, row: bytes, token: str | None) -> bytes:
        """A row like this one, of an id of its own, with what is wrong."""
        ...

    def missing_certificate(self) -> tuple[int, bytes]:
        """Its answer to a client that shows no certificate where one is required."""
        ...
