"""What a verification found."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "missing",  # the earlier step has it, the later one has not
    "unexpected",  # the later step has it, the earlier one has not
    "mismatch",  # both have it, and not the same
    "quarantined",  # its payload breaks the stream's contract
    "not_compared",  # there was nothing to compare with: no pass, and no proof of a loss
]
Step = Literal["source", "receipts", "raw", "staging", "marts"]


@dataclass(frozen=True)
class Finding:
    """One difference between two steps of one connection's stream; `step` is the later one, where it shows.

    `records` is how many records it concerns, `sample` the ids of at most five of them.
    """

    kind: Kind
    step: Step
    connection_id: str | None
    stream: str | None
    records: int
    sample: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Report:
    """A verification: records compared, of how many connections, and what was found."""

    compared: int
    connections: int
    findings: tuple[Finding, ...]
    seconds: float
