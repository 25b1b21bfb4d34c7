"""Connections: one consent of one customer at one institution, through one provider."""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

State = Literal["active", "needs_reauth", "paused", "gone"]


@dataclass(frozen=True)
class Provider:
    """A provider that was ever paused as a whole. While it is, none of its connections is called, whatever its state."""

    provider: str
    state: Literal["active", "paused"]
    reason: str | None
    state_since: dt.datetime


@dataclass(frozen=True)
class Connection:
    """A connection as the store holds it, without its secrets.

    `state` tells whether it is called: only an active one is. `reason` says why it is not, since `state_since`.
    """

    connection_id: str
    customer_id: str
    provider: str
    external_id: str
    institution_id: str | None
    institution_name: str | None
    bucket: int
    state: State
    reason: str | None
    state_since: dt.datetime
    created_at: dt.datetime
    last_synced_at: dt.datetime | None
    revision: int
