"""The lake: from the store's raw records to published Parquet tables, and back to older ones.

Belongs here: building with dbt, auditing, publishing through DuckLake, querying, rolling back, letting old files go.
Does not belong here: what the models say (``dbt_project``), fetching and keeping raw records (``ingest``, ``store``).
"""

from ledgerlake.lake._catalog import DataFile, Name, Part, Record, Snapshot, Table
from ledgerlake.lake._errors import (
    BuildFailed,
    LakeAway,
    LakeEmpty,
    LakeError,
    PublishFailed,
    QueryError,
    TooSlow,
)
from ledgerlake.lake._lake import BuildReport, Lake, Reading, Status
from ledgerlake.lake._plan import File
from ledgerlake.lake._project import PROJECT, fingerprint
from ledgerlake.lake._publish import Cleaned
from ledgerlake.lake._query import Answer
from ledgerlake.lake._runner import ModelResult, Progress, TestResult
from ledgerlake.lake._warm import LakeReader, Look

__all__ = [
    "PROJECT",
    "Answer",
    "BuildFailed",
    "BuildReport",
    "Cleaned",
    "DataFile",
    "File",
    "Lake",
    "LakeAway",
    "LakeEmpty",
    "LakeError",
    "LakeReader",
    "Look",
    "ModelResult",
    "Name",
    "Part",
    "Progress",
    "PublishFailed",
    "QueryError",
    "Reading",
    "Record",
    "Snapshot",
    "Status",
    "Table",
    "TestResult",
    "TooSlow",
    "fingerprint",
]
