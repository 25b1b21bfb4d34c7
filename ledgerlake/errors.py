"""What a person is told when something cannot go on.

LedgerlakeError
 ├── UsageError        wrong words or settings: nothing was tried (exit 2)
 │    └── NotThere     what was named is not there
 ├── ServerError       a server that Ledgerlake needs is not there, or not as needed
 ├── SchemaError       the store and this version of the code do not fit each other
 └── …                 the rooms derive their own (BuildFailed, …)

Each message is one sentence or two: what was expected, what was found, what to do. The errors that a provider
causes are another tree, by recovery: ``connectors``.
"""


class LedgerlakeError(Exception):
    """Something a person can act on; ``exit_code`` is what the command line ends with."""

    exit_code = 1


class UsageError(LedgerlakeError):
    """Wrong words or settings: nothing was tried."""

    exit_code = 2


class NotThere(UsageError):  # noqa: N818 - an answer, not a failure
    """What was named is not there: a connection, a finding, a user."""


class ServerError(LedgerlakeError):
    """PostgreSQL or S3 cannot be reached, refuses, or is not as Ledgerlake needs it."""


class SchemaError(LedgerlakeError):
    """The store's schema is older or newer than this version of the code."""
