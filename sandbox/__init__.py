"""Local servers that speak each provider's wire protocol over a generated world, with faults on demand and the truth.

A room of its own: it imports no other package of this project, so that it cannot share a misunderstanding with the
connectors. `world`, `money`, `movement`, `books` are the world and know no provider; `bank` is its state on the clock's
day; `teller` speaks Teller (another provider is another such file in `app.PROVIDERS`), `webhooks` what each provider
tells of its own accord, `consent` the pages in the browser; `gate`, `faults` and `control` are what tests steer; `server`
and `command` run it. docs/sandbox.md is its protocol.
"""

from sandbox.app import create_app
from sandbox.clock import Clock
from sandbox.command import main
from sandbox.server import CannotListen, Server
from sandbox.world import World

__all__ = ["CannotListen", "Clock", "Server", "World", "create_app", "main"]
