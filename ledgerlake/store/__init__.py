"""The store: PostgreSQL with every raw record, the connections and what each sync did.

Belongs here: the schema and its migrations, connections and their secrets, reading and marking state, the audit log.
Does not belong here: how records are merged (``ingest``) and what becomes of them (``lake``).
"""

from ledgerlake.store._audit import Act, audit, audit_log
from ledgerlake.store._connections import Connection, Provider, State
from ledgerlake.store._migrate import Position, migrate, position, require_current
from ledgerlake.store._store import Store, bucket_of
from ledgerlake.store._vault import Vault

__all__ = [
    "Act",
    "Connection",
    "Position",
    "Provider",
    "State",
    "Store",
    "Vault",
    "audit",
    "audit_log",
    "bucket_of",
    "migrate",
    "position",
    "require_current",
]
