"""Records: finding one, and its way from the provider's bytes to the published row.

Belongs here: the search, the way over store and lake, the differences between versions, and masking what is personal.
Does not belong here: pages (``console``), judging whether a record is as it should be (``ledgerlake.integrity``).
"""

from ledgerlake.records._changes import Change, changes
from ledgerlake.records._mask import masked, masked_matches, masked_payload, masked_text
from ledgerlake.records._search import LONGEST, MOST, Match, search
from ledgerlake.records._way import (
    Brought,
    Excluded,
    FindingBehind,
    Quarantined,
    Receipt,
    Seen,
    Step,
    Version,
    Way,
    as_json,
    way,
)

__all__ = [
    "LONGEST",
    "MOST",
    "Brought",
    "Change",
    "Excluded",
    "FindingBehind",
    "Match",
    "Quarantined",
    "Receipt",
    "Seen",
    "Step",
    "Version",
    "Way",
    "as_json",
    "changes",
    "masked",
    "masked_matches",
    "masked_payload",
    "masked_text",
    "search",
    "way",
]
