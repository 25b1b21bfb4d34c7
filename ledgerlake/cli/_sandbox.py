"""The sandbox beside a command: served while it runs, its customers connected where there are no connections yet.

The sandbox is a program of its own that shares no code with the engine: it is started as one, and asked over HTTP.
"""

import contextlib
import datetime as dt
import os
import sys
from collections import Counter
from collections.abc import Iterator

import httpx
import msgspec

from connectors import PROVIDERS
from ledgerlake.cli import _show
from ledgerlake.cli._house import House
from ledgerlake.errors import ServerError
from ledgerlake.local import Child
from ledgerlake.store import Vault

_SEED = 1
_PAGES = ("teller_connect_script", "plaid_link_script", "tink_link_url", "stripe_connect_url")
"""Where customers consent, by the names that the sandbox and the settings have in common."""
_CONSENT = {
    "LEDGERLAKE_TELLER_ENVIRONMENT": "sandbox",
    "LEDGERLAKE_TINK_MARKETS": "DE,GB,PT,SE",
    "LEDGERLAKE_GOCARDLESS_COUNTRIES": "DE,GB,SE",
}
"""What the sandbox's applications are for."""


@contextlib.contextmanager
def serving(
    at: House, *, customers: int = 12, today: dt.date | None = None, keep: bool = False
) -> Iterator[dict[str, str]]:
    """The environment in which providers are the sandbox's; with `keep` it goes on after the block ends."""
    ready = at.settings.home / "sandbox.ready"
    command = [
        *(sys.executable, "-m", "sandbox", "--port", "0", "--ready-file", str(ready)),
        *("--customers", str(customers), "--opening", _opening(at, today).isoformat(), "--seed", str(_SEED)),
        *(["--today", today.isoformat()] if today else []),
    ]
    child = Child(at.settings.home, "sandbox")
    child.stop()
    ready.unlink(missing_ok=True)
    child.start(command, ready=ready.exists, env=dict(os.environ))
    try:
        told = msgspec.json.decode(ready.read_bytes(), type=dict[str, str | dict[str, str]])
        connected = _connect_customers(at, str(told["control_url"]))
        if connected:
            shown = ", ".join(f"{count} at {provider}" for provider, count in sorted(connected.items()))
            _show.err.print(f"Connected the sandbox's customers: {shown}.")
        yield {**os.environ, **_environment(told)}
    finally:
        if not keep:
            child.stop()


def _opening(at: House, today: dt.date | None) -> dt.date:
    """The day on which the world's history begins, chosen once for a home: another day would be another history."""
    path = at.settings.home / "sandbox.opening"
    if not path.exists():
        at.settings.home.mkdir(parents=True, exist_ok=True)
        path.write_text(dt.date((today or dt.datetime.now(dt.UTC).date()).year - 1, 1, 1).isoformat())
    return dt.date.fromisoformat(path.read_text().strip())


def _environment(told: dict[str, str | dict[str, str]]) -> dict[str, str]:
    """The settings that make the sandbox's providers ours: ``<provider>_url`` and ``<provider>_credentials``."""
    given = {}
    for provider in PROVIDERS:
        prefix = f"LEDGERLAKE_{provider.upper()}"
        given[f"{prefix}_URL"] = str(told[f"{provider}_url"])
        given[f"{prefix}_REQUESTS_PER_SECOND"] = "1000"
        credentials = told.get(f"{provider}_credentials", {})
        if isinstance(credentials, dict):
            given |= {f"{prefix}_{name.upper()}": value for name, value in credentials.items()}
        if (secrets := told.get(f"{provider}_webhook_secrets")) is not None:
            given[f"{prefix}_WEBHOOK_SECRETS"] = str(secrets)
    return given | _CONSENT | {f"LEDGERLAKE_{page.upper()}": str(told[page]) for page in _PAGES}


def _connect_customers(at: House, control_url: str) -> Counter[str]:
    connected: Counter[str] = Counter()
    if at.store.connections():
        return connected
    try:
        offered = httpx.get(f"{control_url}/customers", trust_env=False).raise_for_status().json()
    except httpx.HTTPError as error:
        raise ServerError(f"The sandbox did not tell its customers: {error}.") from None
    vault = Vault.of(at.settings)
    for one in offered:
        connector = PROVIDERS[one["provider"]]
        secrets = connector.secrets(one["secrets"])
        at.store.add_connection(
            vault,
            provider=one["provider"],
            external_id=connector.external_id(secrets),
            customer_id=one["customer_id"],
            secrets=secrets,
        )
        connected[one["provider"]] += 1
    return connected
