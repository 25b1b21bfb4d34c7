"""`ledgerlake connect-link`: a link with which a customer connects an account, or repairs a connection."""

import getpass
from typing import Annotated

import typer

from ledgerlake.cli import _show
from ledgerlake.cli._house import AsJson, house
from ledgerlake.local import Child
from ledgerlake.settings import Settings
from ledgerlake.store import Vault

_PORT = 3100


def connect_link(
    customer: Annotated[str, typer.Option(help="Your own id of the customer.")],
    connection: Annotated[
        str | None, typer.Option(help="A connection of the customer, to be repaired; else the link is for a new one.")
    ] = None,
    hours: Annotated[int, typer.Option(help="How many hours the link works, 720 at most.")] = 72,
    as_json: AsJson = False,
) -> None:
    """Make a link with which a customer connects an account; send its address to nobody else.

    The link works until it has connected something, and for the first browser that goes on with it.
    """
    from ledgerlake.links import Links

    with house() as at:
        link, token = Links(at.store, Vault.of(at.settings)).create(
            getpass.getuser(), customer, connection_id=connection, hours=hours
        )
        address = f"{_console(at.settings)}/connect/{token}"
    if as_json:
        _show.as_json(
            {
                "link_id": link.link_id,
                "customer_id": link.customer_id,
                "connection_id": link.connection_id,
                "expires_at": link.expires_at,
                "url": address,
            }
        )
        return
    # Printed whole and plain: what folds or colours a line would break it.
    typer.echo(address)


def _console(settings: Settings) -> str:
    """Where browsers find the console: as set, else where it runs, else where it will."""
    if settings.console_url is not None:
        return settings.console_url
    running = Child(settings.home, "console").running()
    port = running.ports["http"] if running is not None else settings.console_port or _PORT
    return f"http://127.0.0.1:{port}"
