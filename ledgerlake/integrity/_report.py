"""The values of a verification: what was compared, what was found, and the records behind it.

Belongs here: the shapes that every check returns and every reader shows. Does not belong here: how a finding is found
(the checks), and its life after this run (``_findings``).
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ledgerlake.integrity.census import CensusReport

Kind = Literal[
    "missing",  # the earlier step has it, the later one has not
    "unexpected",  # the later step has it, the earlier one has not
    "duplicate",  # the later step has it more than once
    "mismatch",  # both have it, and not the same
    "quarantined",  # its payload breaks the stream's contract
    "late",  # the later step has not got it yet, and has had the time to
    "stale",  # it stopped moving: a balance not refreshed, a silent connection, data behind its deadline
    "not_compared",  # there was nothing to compare with: no pass, and no proof of a loss
]
Step = Literal["source", "receipts", "raw", "staging", "intermediate", "marts", "published"]

WRONG: frozenset[Kind] = frozenset({"missing", "unexpected", "duplicate", "mismatch"})
"""The kinds that say that records were lost, made up or altered; the others say what could not be told."""

SAMPLE = 1_000
"""How many of the records behind a finding are kept with it."""


@dataclass(frozen=True)
class Behind:
    """One record behind a finding; of a mismatch with the field and both values, as text and exact."""

    connection_id: str
    stream: str
    account_id: str | None
    record_id: str
    field: str | None = None
    expected: str | None = None
    found: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Repair:
    """What would mend it: fetch these days of this account again, build these buckets again, or a person acts.

    `fetch` is followed by a build of the connection's bucket. `since` and `until` are both included; without an
    account, all accounts of the connection are fetched.
    """

    action: Literal["fetch", "build", "person"]
    connection_id: str | None = None
    stream: str | None = None
    account_id: str | None = None
    since: date | None = None
    until: date | None = None
    buckets: tuple[int, ...] = ()
    advice: str | None = None


@dataclass(frozen=True)
class Finding:
    """One cause, with all records behind it.

    Attributes:
        step: where it shows first; inside the models with the `model` that is at fault.
        connection_id: None where the cause is a model, or concerns several connections.
        records: how many records it concerns, exactly; `sample` holds at most `SAMPLE` of them.
        money: per currency the amounts at risk: of missing and doubled records their absolute amounts, of altered
            ones the absolute differences.
        message: a sentence: what was expected, what was found, what to do.
    """

    kind: Kind
    step: Step
    records: int
    message: str
    model: str | None = None
    provider: str | None = None
    connection_id: str | None = None
    stream: str | None = None
    account_id: str | None = None
    field: str | None = None
    sample: tuple[Behind, ...] = ()
    money: Mapping[str, Decimal] = dataclasses.field(default_factory=dict)
    repair: Repair | None = None

    @property
    def fingerprint(self) -> str:
        """The same for the same cause on every day; whose records are behind it is no part of a model's.

        Of an altered raw row the field shows only as long as the published one tells what it was.
        """
        whose = (self.connection_id, self.account_id) if self.model is None else (None, None)
        shown = None if (self.kind, self.step) == ("mismatch", "raw") else self.field
        cause = (self.kind, self.step, self.model, shown, self.stream, *whose)
        return hashlib.blake2b("\x1f".join(part or "" for part in cause).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Compared:
    """How one stream of one connection fared at one step: each record compared stands in exactly one of the classes."""

    connection_id: str
    stream: str
    step: Step
    compared: int
    matched: int
    missing: int = 0
    unexpected: int = 0
    duplicate: int = 0
    mismatched: int = 0
    late: int = 0
    excluded: int = 0


def completeness(compared: int, missing: int, late: int) -> Decimal | None:
    """Of a thousand records those that are where they should be, as `fct_verifications` has it; None where none was compared."""
    if not compared:
        return None
    return (Decimal(compared - missing - late) * 1000 / compared).quantize(Decimal("0.001"))


@dataclass(frozen=True)
class Report:
    """One verification: `compared` is the number of raw records, `connections` of how many connections."""

    verification_id: str
    snapshot: int | None
    connections: int
    compared: int
    classes: tuple[Compared, ...]
    findings: tuple[Finding, ...]
    census: "CensusReport | None"
    seconds: float
