"""What a provider's sandbox offers to the rest: its routes, and its own words for the world's things.

A provider is one file that speaks its wire protocol over a `Bank`. It is served under `/<name>`, behind the gate that
counts requests and works faults; the control endpoints use it to name connections and to tell the truth in its ids.
"""

from typing import ClassVar, NamedTuple, Protocol

from starlette.routing import BaseRoute
from starlette.types import Scope

from sandbox.bank import Bank
from sandbox.world import Account, Customer


class Shown(NamedTuple):
    """The balances that a provider shows, in minor units from the holder's side; None where it shows none."""

    ledger: int | None
    available: int | None


class Refused(Exception):  # noqa: N818 - an answer, not a failure of the sandbox
    """An answer that is an error in the provider's words: status and JSON body."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class Provider(Protocol):
    """One provider's protocol over a bank."""

    name: ClassVar[str]

    def __init__(self, bank: Bank) -> None: ...

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

    def missing_certificate(self) -> tuple[int, bytes]:
        """Its answer to a client that shows no certificate where one is required."""
        ...
