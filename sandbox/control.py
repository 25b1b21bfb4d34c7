"""The control endpoints under `/_sandbox`: the truth, the clock, faults, connections. For tests and demonstrations.

They know no provider's words but through `Provider`. Amounts here are decimal text signed from the holder's side.
"""

from collections.abc import Mapping
from datetime import date
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.clock import Clock
from sandbox.faults import Fault, Faults
from sandbox.gate import Requests
from sandbox.provider import Provider
from sandbox.world import Customer

T = TypeVar("T")


class _ClockOrder(msgspec.Struct, forbid_unknown_fields=True):
    today: date | msgspec.UnsetType | None = msgspec.UNSET
    days: int | None = None
    seconds: float | None = None


class _OutageOrder(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""
    as_of: date | None = None


class _Wrong(Exception):  # noqa: N818 - an answer, not a failure
    """A request that cannot be done, with its status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Control:
    """The control endpoints over a clock and the providers that go by it."""

    def __init__(self, clock: Clock, providers: Mapping[str, Provider], faults: Faults, requests: Requests) -> None:
        self._clock = clock
        self._providers = providers
        self._faults = faults
        self._requests = requests

    def app(self) -> Starlette:
        """The application to mount."""
        return Starlette(
            routes=[
                Route("/truth", self._truth),
                Route("/customers", self._customers),
                Route("/clock", self._show_clock, methods=["GET"]),
                Route("/clock", self._move_clock, methods=["POST"]),
                Route("/faults", self._show_faults, methods=["GET"]),
                Route("/faults", self._set_fault, methods=["POST"]),
                Route("/faults", self._clear_faults, methods=["DELETE"]),
                Route("/enrollments/{connection_id}/disconnect", self._disconnect, methods=["POST"]),
                Route("/enrollments/{connection_id}/repair", self._repair, methods=["POST"]),
                Route("/accounts/{account_id}/close", self._close, methods=["POST"]),
                Route("/requests", self._show_requests, methods=["GET"]),
                Route("/requests", self._clear_requests, methods=["DELETE"]),
            ],
            exception_handlers={_Wrong: _explain},
        )

    async def _truth(self, request: Request) -> Response:
        provider, customer = self._find(request)
        with_rows = request.query_params.get("rows", "true") != "false"
        outage = provider.bank.broken(customer)
        return _answer(
            {
                "today": self._clock.today,
                "provider": provider.name,
                "customer_id": customer.customer_id,
                "connection_id": provider.connection_id(customer),
                "state": "disconnected" if outage else "active",
                "reason": outage.reason if outage else None,
                **provider.truth(customer, rows=with_rows),
            }
        )

    async def _customers(self, _: Request) -> Response:
        return _answer(
            [
                {
                    "customer_id": customer.customer_id,
                    "name": customer.name,
                    "provider": provider.name,
                    "connection_id": provider.connection_id(customer),
                    "institution": {"id": customer.institution.slug, "name": customer.institution.name},
                    "secrets": provider.secrets(customer),
                }
                for provider in self._providers.values()
                for customer in map(provider.bank.world.customer, range(provider.bank.world.size))
                if provider.serves(customer)
            ]
        )

    async def _show_clock(self, _: Request) -> Response:
        return _answer({"today": self._clock.today, "fixed": self._clock.fixed})

    async def _move_clock(self, request: Request) -> Response:
        order = await _read(request, _ClockOrder)
        if [order.today is msgspec.UNSET, order.days is None, order.seconds is None].count(False) != 1:
            raise _Wrong(400, 'expected {"today": "YYYY-MM-DD" or null}, {"days": N} or {"seconds": N}')
        self._clock.skipped += order.seconds or 0
        try:
            if order.today is not msgspec.UNSET:
                self._clock.set(order.today)
            elif order.days is not None:
                self._clock.move(order.days)
        except OverflowError:
            raise _Wrong(400, f"there is no day {order.days} days from {self._clock.today}") from None
        return await self._show_clock(request)

    async def _show_faults(self, _: Request) -> Response:
        return _answer({"faults": self._faults.listed(), "struck": self._faults.struck})

    async def _set_fault(self, request: Request) -> Response:
        self._faults.add(await _read(request, Fault))
        return await self._show_faults(request)

    async def _clear_faults(self, _: Request) -> Response:
        self._faults.clear()
        return Response(status_code=204)

    async def _disconnect(self, request: Request) -> Response:
        provider, customer = self._find_connection(request.path_params["connection_id"])
        order = await _read(request, _OutageOrder)
        provider.bank.break_connection(customer, order.reason, _ordinal(order.as_of))
        return Response(status_code=204)

    async def _repair(self, request: Request) -> Response:
        provider, customer = self._find_connection(request.path_params["connection_id"])
        provider.bank.repair(customer)
        return Response(status_code=204)

    async def _close(self, request: Request) -> Response:
        account_id = request.path_params["account_id"]
        order = await _read(request, _OutageOrder)
        for provider in self._providers.values():
            bank = provider.bank
            account = bank.world.find_account(provider.account_ref(account_id), bank.day)
            if account is not None and provider.account_id(account) == account_id:
                bank.close(account, order.reason, _ordinal(order.as_of))
                return Response(status_code=204)
        raise _Wrong(404, f"no provider here has an account {account_id!r}")

    async def _show_requests(self, _: Request) -> Response:
        counted = self._requests
        return _answer({"total": counted.routes.total(), "routes": dict(counted.routes), "paths": dict(counted.paths)})

    async def _clear_requests(self, _: Request) -> Response:
        self._requests.clear()
        return Response(status_code=204)

    def _find(self, request: Request) -> tuple[Provider, Customer]:
        """The connection that a query names by its id, or by an access token of it."""
        if (connection_id := request.query_params.get("connection_id")) is not None:
            return self._find_connection(connection_id)
        token = request.query_params.get("token", "")
        for provider in self._providers.values():
            customer = provider.customer(token)
            if customer is not None:
                return provider, customer
        raise _Wrong(404, "no provider here knows this token: give one of /_sandbox/customers as ?token=")

    def _find_connection(self, connection_id: str) -> tuple[Provider, Customer]:
        for provider in self._providers.values():
            customer = provider.find_connection(connection_id)
            if customer is not None:
                return provider, customer
        raise _Wrong(404, f"no provider here has a connection {connection_id!r}")


def _ordinal(day: date | None) -> int | None:
    return None if day is None else day.toordinal()


async def _read(request: Request, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.body() or b"{}", type=kind)
    except msgspec.DecodeError as error:  # a ValidationError too
        raise _Wrong(400, f"the body is not what this endpoint takes: {error}") from None


async def _explain(_: Request, error: Exception) -> Response:
    assert isinstance(error, _Wrong)
    return Response(msgspec.json.encode({"error": str(error)}), error.status, media_type="application/json")


def _answer(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
