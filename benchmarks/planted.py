"""What a planted fault is to be found as. Does not belong here: planting it, and judging what was found."""

from dataclasses import dataclass
from typing import NamedTuple

Place = tuple[str, str, str]
"""Connection, stream and record."""


class Named(NamedTuple):
    """How a finding names its cause. Of a model, or a published file, the connection says nothing."""

    kind: str
    step: str
    model: str | None = None
    stream: str | None = None
    field: str | None = None
    connection_id: str | None = None


@dataclass(frozen=True)
class Expected:
    """The records behind a finding: all of `records`, perhaps some of `perhaps`, no other.

    Attributes:
        perhaps: records that go with the cause and that another step may still hold back as late.
        count: how many there are, where a finding can tell of rows only, and not which.
    """

    records: frozenset[Place] = frozenset()
    perhaps: frozenset[Place] = frozenset()
    count: int | None = None


@dataclass(frozen=True)
class Planted:
    """One fault: the row of the table that it counts in, and the finding that it must be."""

    fault: str
    named: Named
    expected: Expected

    @property
    def connections(self) -> frozenset[str]:
        """Whose records it concerns."""
        places = self.expected.records | self.expected.perhaps
        own = {self.named.connection_id} if self.named.connection_id else set()
        return frozenset({connection_id for connection_id, _, _ in places} | own)
