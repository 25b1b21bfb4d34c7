"""Integrity: that nothing was lost between what a provider said and what is published.

Belongs here: comparing receipts, raw records, staging rows and published rows of one instant. Does not belong here:
the conservation tests inside a build (``dbt_project``), which keep a bad build from being published at all.
"""

from ledgerlake.integrity._report import Finding, Kind, Report, Step
from ledgerlake.integrity._verify import verify

__all__ = ["Finding", "Kind", "Report", "Step", "verify"]
