"""What can go wrong between the store and the reader of the lake.

LedgerlakeError
 ├── BuildFailed       a model or a test failed: nothing was published
 ├── PublishFailed     the audit passed, the commit did not: nothing was published
 ├── LakeError         the lake has no such snapshot or table, or not yet
 └── QueryError        the reader's SQL cannot be answered (exit 2)
"""
# ruff: noqa: N818 (the names say what happened)

from ledgerlake.errors import LedgerlakeError


class BuildFailed(LedgerlakeError):
    """A model or a test of the build failed; readers still see what was published before."""


class PublishFailed(LedgerlakeError):
    """The files were built and audited, and the commit did not go through."""


class LakeError(LedgerlakeError):
    """The lake does not hold what was asked for."""


class QueryError(LedgerlakeError):
    """SQL that cannot be answered, or may not be: the lake is read-only."""

    exit_code = 2
