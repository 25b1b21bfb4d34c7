"""What a sync tells: while it runs, and at its end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, Self

Outcome = Literal[
    "done",  # everything it asked for was read
    "partial",  # some of it was; the error names the first part that was not
    "needs_reauth",  # the customer has to sign in again
    "gone",  # it will not come back
    "misconfigured",  # the operator has to act
    "retry",  # the provider was busy, down or broken: the next sync goes on where this one ended
    "bad_data",  # an answer was not what the protocol says
    "busy",  # another sync of the connection was running
    "skipped",  # it was not called, by its state, its provider's, or the settings
    "paused",  # it, or its provider, was paused meanwhile: it stopped at a page, and the next sync goes on from there
    "failed",  # a fault of ours
]


@dataclass(frozen=True)
class Counts:
    """Records by what they were to the store. A record that came twice counts as unchanged the second time."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    quarantined: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def records(self) -> int:
        """All that came."""
        return self.new + self.changed + self.unchanged + self.quarantined


@dataclass(frozen=True)
class ConnectionResult:
    """What one connection's sync did. `error` is a sentence for people where `outcome` is not "done"."""

    connection_id: str
    customer_id: str
    provider: str
    outcome: Outcome
    error: str | None = None
    requests: int = 0
    retries: int = 0
    bytes: int = 0
    seconds: float = 0.0
    streams: Mapping[str, Counts] = field(default_factory=dict)

    @property
    def counts(self) -> Counts:
        return sum(self.streams.values(), Counts())


@dataclass(frozen=True)
class SyncReport:
    """All connections of one sync, in the order in which they were asked for."""

    connections: tuple[ConnectionResult, ...]
    seconds: float

    @property
    def counts(self) -> Counts:
        return sum((one.counts for one in self.connections), Counts())

    @property
    def streams(self) -> dict[str, Counts]:
        """By provider and stream, as ``teller_transactions``."""
        totals: dict[str, Counts] = {}
        for one in self.connections:
            for stream, counts in one.streams.items():
                name = f"{one.provider}_{stream}"
                totals[name] = totals.get(name, Counts()) + counts
        return totals

    @property
    def requests(self) -> int:
        return sum(one.requests for one in self.connections)

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.connections)

    @property
    def failed(self) -> tuple[ConnectionResult, ...]:
        """Those that somebody has to look at; a connection that somebody chose not to call is not among them."""
        return tuple(one for one in self.connections if one.outcome not in {"done", "skipped", "paused"})

    @property
    def broken(self) -> tuple[ConnectionResult, ...]:
        """Those that failed for a reason which is not their customer's: with one of them a sync has not succeeded."""
        return tuple(one for one in self.failed if one.outcome not in {"needs_reauth", "gone"})


@dataclass(frozen=True)
class Event:
    """One step of progress: connections done of all, and records stored so far."""

    done: int
    total: int
    records: int
    finished: ConnectionResult | None = None


Progress = Callable[[Event], None]
