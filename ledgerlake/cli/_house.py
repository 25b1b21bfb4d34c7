"""What every command shares: its common options, and the servers and the store that it works with."""

import contextlib
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from ledgerlake import log
from ledgerlake.local import Servers, servers
from ledgerlake.settings import Settings, load
from ledgerlake.store import Store, require_current

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Today = Annotated[
    dt.datetime | None,
    typer.Option("--today", formats=["%Y-%m-%d"], help="The day it is, for windows and readings; by default today."),
]


@dataclass(frozen=True)
class House:
    """What a command works with."""

    settings: Settings
    where: Servers
    store: Store


@contextlib.contextmanager
def house(*, current: bool = True) -> Iterator[House]:
    """Settings, servers, and a store that fits this code."""
    settings = load()
    log.configure(settings.log_level)
    with servers(settings) as where:
        if current:
            require_current(where.postgres_url, buckets=settings.buckets)
        yield House(settings, where, Store(where.postgres_url))
