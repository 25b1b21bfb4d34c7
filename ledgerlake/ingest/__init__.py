"""Ingest: every record of every connection into the store, exactly once.

Belongs here: which connection is read when, the merge of pages with their receipts and cursors, removals, and what
an error does to a connection. Does not belong here: any provider's protocol (``connectors``).
"""

from ledgerlake.ingest._report import ConnectionResult, Counts, Event, Outcome, Progress, SyncReport
from ledgerlake.ingest._sync import sync

__all__ = ["ConnectionResult", "Counts", "Event", "Outcome", "Progress", "SyncReport", "sync"]
