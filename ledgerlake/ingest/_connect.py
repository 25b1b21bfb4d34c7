"""Connecting a customer: a new connection, one that is known, or one whose customer signed a new consent.

Where a provider gives a new consent a new id, nothing but the accounts tells whether it is the old connection again.
One that were added anew would hold every record a second time, and one that were taken for another would mix two. So
the provider is asked which accounts the new consent has, and only an id that both have is believed.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import SecretStr

from connectors import PROVIDERS, Client, ConnectorError, Misconfigured
from ledgerlake.errors import LedgerlakeError, UsageError
from ledgerlake.ingest._sync import client_config
from ledgerlake.settings import Settings
from ledgerlake.store import Connection, Store, Vault


@dataclass(frozen=True)
class Connected:
    """A connection, and how it came to be: `new`, `repaired` under the id it had, or `renewed` by a new consent."""

    connection: Connection
    how: Literal["new", "repaired", "renewed"]
    left: tuple[str, ...] = ()
    """Accounts that the connection had open and the new consent does not name: the next sync finds them vanished."""


async def connect(
    store: Store,
    settings: Settings,
    *,
    provider: str,
    customer_id: str,
    secrets: Mapping[str, SecretStr],
    repair: str | None = None,
    today: dt.date | None = None,
) -> Connected:
    """Add the connection of these secrets, which `Connector.secrets` has checked, or find the one that they continue.

    A consent of a new id continues the connection `repair`, else that of the same customer at the same provider with
    which it shares an account. Its id, records, accounts and cursors stay.

    Raises:
        UsageError: `repair` is another customer's or provider's or shares no account with the new consent, or several
            connections share one, or the consent is another connection's.
        LedgerlakeError: the provider could not be asked, so that nothing was stored.
    """
    connector, vault = PROVIDERS[provider], Vault.of(settings)
    external_id = connector.external_id(secrets)
    known = store.connections(providers=[provider])
    target = _target(store, repair, provider, customer_id) if repair is not None else None
    same = next((one for one in known if one.external_id == external_id), None)
    if same is not None and target is not None and target.connection_id != same.connection_id:
        raise UsageError(
            f"{provider} {external_id} is already {same.connection_id}, so it cannot repair {target.connection_id}. "
            "Nothing was changed."
        )
    mine = [] if same else [target] if target else [one for one in known if one.customer_id == customer_id]
    if not mine or (target is None and not connector.lasting_accounts):
        connection, new = store.add_connection(
            vault, provider=provider, external_id=external_id, customer_id=customer_id, secrets=secrets
        )
        return Connected(connection, "new" if new else "repaired")

    listed = await _listed(settings, provider, secrets, today)
    held = {one.connection_id: store.account_ids(one.connection_id) for one in mine}
    shared = [one for one in mine if listed & held[one.connection_id]]
    if target is not None and not shared and held[target.connection_id]:
        raise UsageError(
            f"--repair {target.connection_id}: expected a consent with an account that the connection has "
            f"({_some(held[target.connection_id])}), found {_some(listed)}. The provider calls the accounts otherwise now, or "
            "they are others: records cannot be continued under another id. Leave --repair out to connect it as another."
        )
    if len(shared) > 1:
        raise UsageError(
            f"The accounts of this consent are in {', '.join(one.connection_id for one in shared)}: say with --repair which of "
            "them it continues. Nothing was changed."
        )
    continued = target or (shared[0] if shared else None)
    if continued is None:
        connection, _ = store.add_connection(
            vault, provider=provider, external_id=external_id, customer_id=customer_id, secrets=secrets
        )
        return Connected(connection, "new")
    renewed = store.renew_connection(vault, continued.connection_id, external_id=external_id, secrets=secrets)
    left = store.account_ids(continued.connection_id, state="open") - listed
    return Connected(renewed, "renewed", tuple(sorted(left)))


def _target(store: Store, connection_id: str, provider: str, customer_id: str) -> Connection:
    target = store.connection(connection_id)
    if (target.provider, target.customer_id) != (provider, customer_id):
        raise UsageError(
            f"--repair: expected a connection of {customer_id} at {provider}, found {connection_id} of {target.customer_id} at "
            f"{target.provider}. Nothing was changed."
        )
    return target


async def _listed(
    settings: Settings, provider: str, secrets: Mapping[str, SecretStr], today: dt.date | None
) -> set[str]:
    """The ids of the accounts that a consent names, as the provider lists them now."""
    try:
        async with Client(client_config(settings, provider)) as client:
            connector = PROVIDERS[provider](client.session(secrets))
            _, accounts = await connector.accounts(today or dt.datetime.now(dt.UTC).date())
    except ConnectorError as error:
        kind = UsageError if isinstance(error, Misconfigured) else LedgerlakeError
        raise kind(
            f"The customer has a connection at {provider} already, and whether this consent continues it cannot be told: "
            f"{error.message}. Nothing was changed."
        ) from None
    return {one.id for one in accounts}


def _some(ids: set[str], most: int = 5) -> str:
    told = ", ".join(sorted(ids)[:most]) or "none"
    return f"{told} and {len(ids) - most} more" if len(ids) > most else told
