"""What can go wrong between the store and the reader of the lake.

LedgerlakeError
 ├── BuildFailed       a model or a test failed: nothing was published
 ├── PublishFailed     the audit passed, the commit did not: nothing was published
 ├── LakeError         the lake has no such snapshot or table, or not yet
 │    ├── LakeEmpty    nothing was published yet
 │    └── TooSlow      a query took longer than its reader may wait
 ├── LakeAway          a server error: the lake's files cannot be read now
 └── QueryError        the reader's SQL cannot be answered (exit 2)
"""
# ruff: noqa: N818 (the names say what happened)

from ledgerlake.errors import LedgerlakeError, ServerError


class BuildFailed(LedgerlakeError):
    """A model or a test of the build failed; readers still see what was published before."""


class PublishFailed(LedgerlakeError):
    """The files were built and audited, and the commit did not go through."""


class LakeError(LedgerlakeError):
    """The lake does not hold what was asked for."""


class LakeEmpty(LakeError):
    """Nothing was published yet."""


class TooSlow(LakeError):
    """A query was ended because it took longer than its reader may wait."""


class LakeAway(ServerError):
    """The lake's files cannot be read: S3 does not answer, or refuses."""


class QueryError(LedgerlakeError):
    """SQL that cannot be answered, or may not be: the lake is read-only."""

    exit_code = 2
