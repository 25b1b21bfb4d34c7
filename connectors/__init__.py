"""
Connectors: one module a provider, HTTP in and pages of raw records out. No database, no Dagster.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from connectors._errors import (
    BadData,
    ConnectorError,
    Gone,
    Misconfigured,
    NeedsReauth,
    Retryable,
    Scope,
)
from connectors._http import Client, ClientConfig, Session
from connectors._protocol import (
    Account,
    Ask,
    Complete,
    Connector,
    Cursor,
    Known,
    Page,
    Record,
    Rejected,
    Stream,
)
from connectors.gocardless import GoCardless
from connectors.plaid import Plaid
from connectors.stripe import Stripe
from connectors.teller import Teller
from connectors.tink import Tink

PROVIDERS: Mapping[str, type[Connector]] = MappingProxyType(
    {one.provider: one for one in (GoCardless, Plaid, Stripe, Teller, Tink)}
)
"""The connectors there are, by provider."""

__all__ = [
    "PROVIDERS",
    "Account",
    "Ask",
    "BadData",
    "Client",
    "ClientConfig",
    "Complete",
    "Connector",
    "ConnectorError",
    "Cursor",
    "Gone",
    "Known",
    "Misconfigured",
    "NeedsReauth",
    "Page",
    "Record",
    "Rejected",
    "Retryable",
    "Scope",
    "Session",
    "Stream",
]
