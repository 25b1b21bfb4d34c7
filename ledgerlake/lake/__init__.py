"""The lake: from the store's raw records to published Parquet tables, and back to older ones.

Belongs here: building with dbt, auditing, publishing through DuckLake, querying, rolling back, letting old files go.
Does not belong here: what the models say (``dbt_project``), fetching and keeping raw records (``ingest``, ``store``).
"""

from ledgerlake.lake._catalog import Snapshot
from ledgerlake.lake._errors import BuildFailed, LakeError, PublishFailed, QueryError
from ledgerlake.lake._lake import BuildReport, Lake, Reading, Status
from ledgerlake.lake._plan import File
from ledgerlake.lake._project import PROJECT, fingerprint
from ledgerlake.lake._publish import Cleaned
from ledgerlake.lake._query import Answer
from ledgerlake.lake._runner import ModelResult, Progress, TestResult

__all__ = [
    "PROJECT",
    "Answer",
    "BuildFailed",
    "BuildReport",
    "Cleaned",
    "File",
    "Lake",
    "LakeError",
    "ModelResult",
    "Progress",
    "PublishFailed",
    "QueryError",
    "Reading",
    "Snapshot",
    "Status",
    "TestResult",
    "fingerprint",
]
