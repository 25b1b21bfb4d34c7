"""The control endpoints under `/_sandbox`: the truth, the clock, faults, connections, webhooks. For tests and demonstrations.

They know no provider's words but through `Provider`. Amounts here are decimal text signed from the holder's side.
"""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.clock import Clock
from sandbox.consent.login import PASSWORD
from sandbox.faults import Fault, Faults
from sandbox.gate import Requests
from sandbox.provider import Provider
from sandbox.webhooks.hook import Hooks
from sandbox.webhooks.sender import Delivery, Sender
from sandbox.webhooks.signature import KeyRing, Secrets
from sandbox.world import Customer

T = TypeVar("T")


class _ClockOrder(msgspec.Struct, forbid_unknown_fields=True):
    today: date | msgspec.UnsetType | None = msgspec.UNSET
    days: int | None = None
    seconds: float | None = None


class _OutageOrder(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""
    as_of: date | None = None


class _ReceiverOrder(msgspec.Struct, forbid_unknown_fields=True):
    provider: str
    url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^/]")]


class _SendOrder(msgspec.Struct, forbid_unknown_fields=True):
    provider: str
    connection_id: str
    kind: str


class _RotateOrder(msgspec.Struct, forbid_unknown_fields=True):
    provider: str
    expire: bool = False
    adopt: bool = True


class _Wrong(Exception):  # noqa: N818 - an answer, not a failure
    """A request that cannot be done, with its status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Control:
    """The control endpoints over a clock and the providers that go by it."""

    def __init__(
        self, clock: Clock, providers: Mapping[str, Provider], faults: Faults, requests: Requests, sender: Sender
    ) -> None:
        self._clock = clock
        self._providers = providers
        self._faults = faults
        self._requests = requests
        self._sender = sender

    def app(self) -> Starlette:
        """The application to mount."""
        return Starlette(
            routes=[
                Route("/truth", self._truth),
                Route("/customers", self._customers),
                Route("/people", self._people),
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
                Route("/webhooks", self._show_webhooks, methods=["GET"]),
                Route("/webhooks", self._register, methods=["POST"]),
                Route("/webhooks", self._clear_webhooks, methods=["DELETE"]),
                Route("/webhooks/send", self._send, methods=["POST"]),
                Route("/webhooks/rotate", self._rotate, methods=["POST"]),
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
                for customer in provider.bank.world.everyone()
                if provider.serves(customer)
            ]
        )

    async def _people(self, _: Request) -> Response:
        """Who can sign in on the pages of consent, where they bank, and where they are connected already."""
        world = next(iter(self._providers.values())).bank.world
        return _answer(
            [
                {
                    "user": world.customer(index).customer_id,
                    "password": PASSWORD,
                    "name": world.customer(index).name,
                    "kind": world.customer(index).kind,
                    "guest": world.is_guest(world.customer(index)),
                    "institutions": {
                        name: provider.bank.world.customer(index).institution.slug
                        for name, provider in self._providers.items()
                    },
                    "connected": [
                        name
                        for name, provider in self._providers.items()
                        if provider.serves(provider.bank.world.customer(index))
                    ],
                }
                for index in (one.index for one in world.everyone())
            ]
        )

    async def _show_clock(self, _: Request) -> Response:
        return _answer({"today": self._clock.today, "fixed": self._clock.fixed})

    async def _move_clock(self, request: Request) -> Response:
        order = await _read(request, _ClockOrder)
        if [order.today is msgspec.UNSET, order.days is None, order.seconds is None].count(False) != 1:
            raise _Wrong(400, 'expected {"today": "YYYY-MM-DD" or null}, {"days": N} or {"seconds": N}')
        before = self._sender.look()
        self._clock.skipped += order.seconds or 0
        try:
            if order.today is not msgspec.UNSET:
                self._clock.set(order.today)
            elif order.days is not None:
                self._clock.move(order.days)
        except OverflowError:
            raise _Wrong(400, f"there is no day {order.days} days from {self._clock.today}") from None
        self._sender.tell(before)
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

    # Webhooks.

    async def _show_webhooks(self, request: Request) -> Response:
        """The receivers and what was sent, `?wait=SECONDS` until nothing is left to be sent."""
        if wait := request.query_params.get("wait"):
            try:
                await self._sender.settle(float(wait))
            except ValueError:
                raise _Wrong(400, f"wait must be a number of seconds, not {wait!r}") from None
        return _answer(
            {
                "receivers": [
                    {"provider": name, "url": one.url, **_proof(self._hooks(name))}
                    for name, one in self._sender.registered()
                ],
                "busy": self._sender.busy,
                "deliveries": list(self._sender.deliveries),
            }
        )

    async def _register(self, request: Request) -> Response:
        order = await _read(request, _ReceiverOrder)
        hooks = self._hooks(order.provider)
        self._sender.register(order.provider, hooks, order.url)
        return _answer({"provider": order.provider, "url": order.url, **_proof(hooks)})

    async def _clear_webhooks(self, _: Request) -> Response:
        self._sender.clear()
        return Response(status_code=204)

    async def _send(self, request: Request) -> Response:
        order = await _read(request, _SendOrder)
        hooks = self._hooks(order.provider)
        customer = self._providers[order.provider].find_connection(order.connection_id)
        if customer is None:
            raise _Wrong(404, f"{order.provider} has no connection {order.connection_id!r} here")
        if hooks.kinds and order.kind not in hooks.kinds:
            raise _Wrong(400, f"{order.provider} sends {', '.join(hooks.kinds)}, not {order.kind!r}")
        hook = hooks.make(customer, order.kind)
        if hook is None:
            raise _Wrong(409, f"nothing happened to this connection that {order.kind!r} would tell")
        deliveries: list[Delivery] = await self._sender.send(order.provider, hook)
        if not deliveries:
            raise _Wrong(409, "nobody receives it: register a receiver with POST /_sandbox/webhooks first")
        return _answer({"kind": hook.kind, "body": hook.body.decode(), "deliveries": deliveries})

    async def _rotate(self, request: Request) -> Response:
        order = await _read(request, _RotateOrder)
        signer = self._hooks(order.provider).signer
        if not isinstance(signer, KeyRing):
            raise _Wrong(400, f"{order.provider} signs with secrets, not with keys that rotate")
        made = signer.rotate(expire=order.expire, adopt=order.adopt)
        return _answer({"provider": order.provider, "made": made, **_proof(self._hooks(order.provider))})

    def _hooks(self, provider: str) -> Hooks:
        found = self._providers.get(provider)
        if found is None:
            raise _Wrong(404, f"there is no provider {provider!r} here: {', '.join(self._providers)}")
        if found.hooks is None:
            raise _Wrong(400, f"{provider} sends no webhooks")
        return found.hooks

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


def _proof(hooks: Hooks) -> dict[str, object]:
    """What a receiver verifies with: the secrets, or the id of the key that signs."""
    match hooks.signer:
        case Secrets() as signer:
            return {"header": signer.header, "secrets": signer.secrets}
        case KeyRing() as signer:
            return {"header": KeyRing.header, "key_id": signer.kid}
        case _:
            return {}


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
