"""Webhooks as the engine sees them: events that are kept once, and the connections that are to be synced for them.

Belongs here: the table of events, which connections an event names, and when it is handled. Does not belong here:
signatures and bodies (``connectors.webhooks``), the endpoint (``console``), the run that syncs (``orchestration``).

A webhook is a hint. It moves no cursor and brings no record: it has a connection synced earlier than the daily sync
would, and the same records come without it.
"""

from ledgerlake.webhooks._events import Wanted, due, keep, mark_asked, prune, settle, unknown
from ledgerlake.webhooks._receivers import Closed, receivers

__all__ = ["Closed", "Wanted", "due", "keep", "mark_asked", "prune", "receivers", "settle", "unknown"]
