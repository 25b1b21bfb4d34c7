"""A sandbox of twelve customers that answers on loopback, and a small client of it that knows no connector."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date
from typing import Any

import httpx
import pytest

import sandbox

TODAY = date(2026, 3, 1)


class Client:
    """Plain HTTP to one sandbox: the control endpoints, and Teller as one customer."""

    def __init__(self, server: sandbox.Server) -> None:
        self.server = server
        self.http = httpx.Client(timeout=30)
        told: list[dict[str, Any]] = self.control("GET", "/customers").json()
        self.customers = [one for one in told if one["provider"] == "teller"]

    def control(self, method: str, path: str, body: object = None) -> httpx.Response:
        """One request to a control endpoint; a body is sent as JSON."""
        return self.http.request(method, self.server.control_url + path, json=body)

    def token(self, customer: int) -> str:
        """The access token of the customer of this index."""
        token: str = self.customers[customer]["secrets"]["access_token"]
        return token

    def teller(self, customer: int, path: str, **query: object) -> httpx.Response:
        """One GET as this customer."""
        params = {name: str(value) for name, value in query.items()}
        return self.http.get(self.server.teller_url + path, params=params, auth=(self.token(customer), ""))

    def accounts(self, customer: int) -> list[dict[str, Any]]:
        """The customer's accounts, as Teller lists them."""
        found: list[dict[str, Any]] = self.teller(customer, "/accounts").json()
        return found

    def truth(self, customer: int) -> dict[str, Any]:
        """What a perfect client holds of this customer."""
        told: dict[str, Any] = self.control("GET", f"/truth?token={self.token(customer)}").json()
        return told

    def fault(self, **fault: object) -> None:
        """Set a fault."""
        answer = self.control("POST", "/faults", fault)
        assert answer.status_code == 200, answer.text


@pytest.fixture(scope="session")
def _server() -> Iterator[sandbox.Server]:
    """One server for the tests that leave it as they found it."""
    world = sandbox.World.of(seed=1, customers=12, years=1, today=TODAY)
    with sandbox.Server(world, sandbox.Clock(TODAY)) as server:
        yield server


@pytest.fixture
def client(_server: sandbox.Server) -> Iterator[Client]:
    """A client of a sandbox that others use too: it may set faults and clock, not break or delete connections."""
    client = Client(_server)
    client.control("DELETE", "/requests")
    with closing(client.http):
        yield client
        client.control("DELETE", "/faults")
        client.control("POST", "/clock", {"today": TODAY.isoformat()})


@pytest.fixture
def own_client() -> Iterator[Client]:
    """A client of a sandbox of its own."""
    world = sandbox.World.of(seed=1, customers=12, years=1, today=TODAY)
    with sandbox.Server(world, sandbox.Clock(TODAY)) as server:
        client = Client(server)
        with closing(client.http):
            yield client


@pytest.fixture
def short_client() -> Iterator[Client]:
    """A client of a sandbox of its own with a history of two months, which is quickly told."""
    world = sandbox.World.of(seed=1, customers=12, years=0, today=TODAY)
    with sandbox.Server(world, sandbox.Clock(TODAY)) as server:
        client = Client(server)
        with closing(client.http):
            yield client
