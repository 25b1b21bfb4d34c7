"""The control endpoints under `/_sandbox`: the truth, the clock, faults, connections. For tests and demonstrations.

They know no provider's words but through `Provider`. Amounts here are decimal text signed from the holder's side.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.bank import Bank
from sandbox.faults import Fault, Faults
from sandbox.gate import Requests
from sandbox.movement import Movement, Phase
from sandbox.provider import Provider
from sandbox.world import Account, Customer

T = TypeVar("T")


class _ClockOrder(msgspec.Struct, forbid_unknown_fields=True):
    today: date | msgspec.UnsetType | None = msgspec.UNSET
    days: int | None = None


class _OutageOrder(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""
    as_of: date | None = None


class _Wrong(Exception):  # noqa: N818 - an answer, not a failure
    """A request that cannot be done, with its status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Control:
    """The control endpoints over a bank and the providers that show it."""

    def __init__(self, bank: Bank, providers: Mapping[str, Provider], faults: Faults, requests: Requests) -> None:
        self._bank = bank
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
        token = request.query_params.get("token", "")
        provider, customer = self._find_token(token)
        with_rows = request.query_params.get("rows", "true") != "false"
        outage = self._bank.broken(customer)
        return _answer(
            {
                "today": self._bank.clock.today,
                "provider": provider.name,
                "customer_id": customer.customer_id,
                "connection_id": provider.connection_id(customer),
                "state": "disconnected" if outage else "active",
                "reason": outage.reason if outage else None,
                "accounts": [
                    self._account(provider, customer, account, with_rows) for account in self._bank.accounts(customer)
                ],
            }
        )

    def _account(self, provider: Provider, customer: Customer, account: Account, with_rows: bool) -> dict[str, Any]:
        as_of = self._bank.readable_on(customer, account)
        closed = self._bank.closed(account)
        streams = provider.streams(account)
        shown = provider.balances(account, as_of) if as_of is not None else None
        rows = []
        posted = pending = count = 0
        if as_of is not None and "transactions" in streams:
            for month in self._bank.books.months(account, as_of):
                for row in reversed(self._bank.books.rows(account, month, as_of)):
                    count += 1
                    if row.phase.posted:
                        posted += row.phase.amount
                    else:
                        pending += row.phase.amount
                    if with_rows:
                        rows.append(_row(provider, account, row.movement, row.phase, row.enriched))
        return {
            "id": provider.account_id(account),
            "name": account.name,
            "kind": account.kind,
            "subtype": account.subtype,
            "currency": account.currency,
            "status": "closed" if closed else "open",
            "as_of": date.fromordinal(as_of) if as_of is not None else None,
            "streams": sorted(streams),
            "opening": _money(account.opening),
            "balances": {
                "ledger": _money(shown.ledger) if shown else None,
                "available": _money(shown.available) if shown else None,
            },
            "totals": {"transactions": count, "posted": _money(posted), "pending": _money(pending)},
            "transactions": rows,
        }

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
                for customer in map(self._bank.world.customer, range(self._bank.world.size))
                for provider in self._providers.values()
            ]
        )

    async def _show_clock(self, _: Request) -> Response:
        clock = self._bank.clock
        return _answer({"today": clock.today, "fixed": clock.fixed})

    async def _move_clock(self, request: Request) -> Response:
        order = await _read(request, _ClockOrder)
        if (order.today is msgspec.UNSET) == (order.days is None):
            raise _Wrong(400, 'expected either {"today": "YYYY-MM-DD" or null} or {"days": N}')
        try:
            if order.today is not msgspec.UNSET:
                self._bank.clock.set(order.today)
            else:
                self._bank.clock.move(order.days or 0)
        except OverflowError:
            raise _Wrong(400, f"there is no day {order.days} days from {self._bank.clock.today}") from None
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
        customer = self._find_connection(request)
        order = await _read(request, _OutageOrder)
        self._bank.break_connection(customer, order.reason, _ordinal(order.as_of))
        return Response(status_code=204)

    async def _repair(self, request: Request) -> Response:
        self._bank.repair(self._find_connection(request))
        return Response(status_code=204)

    async def _close(self, request: Request) -> Response:
        account_id = request.path_params["account_id"]
        order = await _read(request, _OutageOrder)
        for provider in self._providers.values():
            account = self._bank.world.find_account(provider.account_ref(account_id), self._bank.day)
            if account is not None and provider.account_id(account) == account_id:
                self._bank.close(account, order.reason, _ordinal(order.as_of))
                return Response(status_code=204)
        raise _Wrong(404, f"no provider here has an account {account_id!r}")

    async def _show_requests(self, _: Request) -> Response:
        counted = self._requests
        return _answer({"total": counted.routes.total(), "routes": dict(counted.routes), "paths": dict(counted.paths)})

    async def _clear_requests(self, _: Request) -> Response:
        self._requests.clear()
        return Response(status_code=204)

    def _find_token(self, token: str) -> tuple[Provider, Customer]:
        for provider in self._providers.values():
            customer = provider.customer(token)
            if customer is not None:
                return provider, customer
        raise _Wrong(404, "no provider here knows this token: give one of /_sandbox/customers as ?token=")

    def _find_connection(self, request: Request) -> Customer:
        connection_id = request.path_params["connection_id"]
        for provider in self._providers.values():
            customer = provider.find_connection(connection_id)
            if customer is not None:
                return customer
        raise _Wrong(404, f"no provider here has a connection {connection_id!r}")


def _row(provider: Provider, account: Account, movement: Movement, phase: Phase, enriched: bool) -> dict[str, Any]:
    return {
        "id": provider.record_id(phase.ref),
        "date": date.fromordinal(phase.day),
        "status": "posted" if phase.posted else "pending",
        "amount": _money(phase.amount),
        "currency": account.currency,
        "description": phase.text,
        "type": provider.kind(movement.kind),
        "category": movement.category if enriched else None,
        "counterparty": movement.party if enriched else None,
    }


def _ordinal(day: date | None) -> int | None:
    return None if day is None else day.toordinal()


def _money(amount: int | None) -> str | None:
    if amount is None:
        return None
    whole, cents = divmod(abs(amount), 100)
    return f"{'-' if amount < 0 else ''}{whole}.{cents:02}"


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
