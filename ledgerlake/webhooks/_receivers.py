"""Who takes each provider's deliveries, by the settings."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import SecretStr

from connectors import Client, ConnectorError
from connectors.webhooks import Keys, Plaid, Receiver, Stripe, Teller, Tink
from ledgerlake.ingest import client_config
from ledgerlake.settings import Settings, variable

_PATIENCE = 4.0
"""Seconds for the one request that is made while a provider waits for its answer."""


@dataclass(frozen=True)
class Closed:
    """A provider that sends webhooks, none of which can be proved: why, and what to set."""

    reason: str


@contextlib.asynccontextmanager
async def receivers(settings: Settings) -> AsyncIterator[Mapping[str, Receiver | Closed]]:
    """The receiver of each provider that sends webhooks, open for as long as the block lasts."""
    found: dict[str, Receiver | Closed] = {}
    for kind in (Teller, Tink, Stripe):
        secrets: Sequence[SecretStr] = getattr(settings, f"{kind.provider}_webhook_secrets")
        name = variable(f"{kind.provider}_webhook_secrets")
        found[kind.provider] = kind(secrets) if secrets else Closed(f"{name} is not set, so no delivery can be proved")
    async with contextlib.AsyncExitStack() as stack:
        found[Plaid.provider] = await _plaid(settings, stack)
        yield found


async def _plaid(settings: Settings, stack: contextlib.AsyncExitStack) -> Receiver | Closed:
    """Plaid's keys are public, and are asked for with the application's credentials."""
    if settings.plaid_client_id is None or settings.plaid_secret is None:
        return Closed(
            f"{variable('plaid_client_id')} and {variable('plaid_secret')} are not set, with which the keys of its "
            "webhooks are asked for"
        )
    config = replace(client_config(settings, "plaid"), attempts=2, budget=_PATIENCE, total_timeout=_PATIENCE)
    try:
        return Plaid(Keys(await stack.enter_async_context(Client(config))))
    except ConnectorError as error:
        return Closed(error.message)
