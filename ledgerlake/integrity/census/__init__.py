"""Counting again at the source: by ways of its own, within a budget of requests, and told when it was not possible.

Belongs here: what to ask of each provider and when, and keeping what it showed. Does not belong here: comparing that
with the store (``ledgerlake.integrity``). It shares the connectors' HTTP, never how they page, split or read.
"""

from ledgerlake.integrity.census._report import CensusReport, Outcome, Overdue, Read
from ledgerlake.integrity.census._run import census

__all__ = ["CensusReport", "Outcome", "Overdue", "Read", "census"]
