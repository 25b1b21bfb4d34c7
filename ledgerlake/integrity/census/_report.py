"""What a census was able to count, in numbers, and each read that it was not able to make.

Belongs here: the values. Does not belong here: what is found by comparing them with the store (``ledgerlake.integrity``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

Outcome = Literal["done", "refused", "budget", "failed"]
"""done: everything asked for was shown; refused: the provider does not show it; budget: there were no requests left for
it; failed: no whole answer came."""


@dataclass(frozen=True)
class Read:
    """One read. `since` to `until` is what it answers for, None without an end."""

    connection_id: str
    provider: str
    stream: str
    account_id: str | None
    since: date | None
    until: date | None
    outcome: Outcome
    requests: int
    rows: int
    error: str | None = None


@dataclass(frozen=True)
class Overdue:
    """Days of a stream that were not counted for more than twice the days in which all of it should be; `last` None: never."""

    connection_id: str
    provider: str
    stream: str
    account_id: str | None
    since: date | None
    until: date | None
    last: date | None


@dataclass(frozen=True)
class CensusReport:
    """One census.

    Attributes:
        off: LEDGERLAKE_CENSUS_REQUESTS is 0, so nothing was counted.
        connections: how many were to be counted; those that are not active are not.
        reads: how many reads had which outcome.
        troubles: the reads that are not done.
        postponed: how many reads were left for another day: of the past, where the allowance was used up, or of any days,
            where a provider's own budget is the sync's first.
        sync_requests: what the syncs of the same connections asked on the same day.
    """

    census_id: str
    today: date
    off: bool
    connections: int
    reads: Mapping[Outcome, int]
    troubles: tuple[Read, ...]
    overdue: tuple[Overdue, ...]
    postponed: int
    requests: int
    bytes: int
    rows: int
    sync_requests: int
    seconds: float

    @property
    def share(self) -> float | None:
        """Its requests as a share of the syncs'; None where there was no sync on that day."""
        return self.requests / self.sync_requests if self.sync_requests else None
