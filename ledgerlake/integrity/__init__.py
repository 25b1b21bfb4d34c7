"""Integrity: that nothing was lost between what a provider said and what is published.

Belongs here: comparing receipts, raw records, staging rows and published rows of one instant. Does not belong here:
the conservation tests inside a build (``dbt_project``), which keep a bad build from being published at all.
"""

from ledgerlake.integrity._findings import FindingEvent, Findings, Merged, StoredFinding, Verification
from ledgerlake.integrity._repair import RepairReport, proposed, repair
from ledgerlake.integrity._report import WRONG, Behind, Compared, Finding, Kind, Repair, Report, Step, completeness
from ledgerlake.integrity._steps import STREAMS, Graph, Stream
from ledgerlake.integrity._verify import verify

__all__ = [
    "STREAMS",
    "WRONG",
    "Behind",
    "Compared",
    "Finding",
    "FindingEvent",
    "Findings",
    "Graph",
    "Kind",
    "Merged",
    "Repair",
    "RepairReport",
    "Report",
    "Step",
    "StoredFinding",
    "Stream",
    "Verification",
    "completeness",
    "proposed",
    "repair",
    "verify",
]
