"""The application: every provider under its name, behind a gate, and the control endpoints under `/_sandbox`."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from sandbox.bank import Bank
from sandbox.clock import Clock
from sandbox.control import Control
from sandbox.faults import Faults
from sandbox.gate import Gate, Requests
from sandbox.gocardless import GoCardless
from sandbox.plaid import Plaid
from sandbox.provider import Provider, Refused
from sandbox.stripe import Stripe
from sandbox.teller import Teller
from sandbox.tink import Tink
from sandbox.webhooks.sender import Sender
from sandbox.world import World

PROVIDERS: tuple[type[Provider], ...] = (GoCardless, Plaid, Stripe, Teller, Tink)
"""The providers served; another one is another class here."""


def create_app(world: World, clock: Clock) -> Starlette:
    """A sandbox of `world` on the day of `clock`, which may be moved while it serves."""
    faults, requests = Faults(), Requests()
    providers: dict[str, Provider] = {kind.name: kind(Bank(world, clock)) for kind in PROVIDERS}
    sender = Sender(providers, faults)
    mounts = [
        Mount(
            f"/{name}",
            Gate(
                Starlette(routes=provider.routes(), exception_handlers={Refused: _refuse}),
                provider,
                faults,
                requests,
            ),
        )
        for name, provider in providers.items()
    ]
    return Starlette(routes=[Mount("/_sandbox", Control(clock, providers, faults, requests, sender).app()), *mounts])


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return Response(error.body, error.status, error.headers, media_type="application/json")
