"""Ingest: every record of every connection into the store, exactly once.

Belongs here: which connection is read when, the merge of pages with their receipts and cursors, removals, and what
an error does to a connection. Does not belong here: any provider's protocol (``connectors``).
"""

from ledgerlake.ingest._connect import Connected, connect
from ledgerlake.ingest._history import PastSync, Standing, past_syncs, standings
from ledgerlake.ingest._report import ConnectionResult, Counts, Event, Outcome, Progress, SyncReport
from ledgerlake.ingest._sync import client_config, switched_off, sync

__all__ = [
    "Connected",
    "ConnectionResult",
    "Counts",
    "Event",
    "Outcome",
    "PastSync",
    "Progress",
    "Standing",
    "SyncReport",
    "client_config",
    "connect",
    "past_syncs",
    "standings",
    "switched_off",
    "sync",
]
