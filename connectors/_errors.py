"""
What can go wrong at a provider, as one tree by who makes it good again:

    ConnectorError
      ├─ Retryable        nobody acts: the same call is worth another try later
      ├─ NeedsReauth      the customer acts: signs in at the bank again
      ├─ Misconfigured    the operator acts: credentials, certificate, settings
      ├─ Gone             nobody can: the account is closed, the connection is dead
      └─ BadData          whoever maintains the connector acts: an answer is not what the protocol says

Anything else that a connector raises is a bug of ours.

Belongs here: the classes and how far each error reaches. Not here: which answer of which provider means which
error (that is the provider's own module).
"""

# ruff: noqa: N818 (the names say who acts, as a bare "Error" would not)

from __future__ import annotations

from typing import Literal

Scope = Literal["record", "account", "stream", "connection", "provider"]
"""What an error makes unusable. Everything outside it goes on."""


class ConnectorError(Exception):
    """
    A provider did not give what was asked of it.

    `message` is a sentence for people: what was expected, what was found, what to do. It never holds a secret.
    `code` is the provider's own code, whole, where it sent one.
    """

    def __init__(self, message: str, *, code: str | None = None, scope: Scope = "connection") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.scope: Scope = scope


class Retryable(ConnectorError):
    """The provider is busy, down or answers broken: try later; `retry_after` is its own word for when, in seconds."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        scope: Scope = "connection",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code, scope=scope)
        self.retry_after = retry_after


class NeedsReauth(ConnectorError):
    """The customer has to sign in at the institution again; calling before that is useless."""


class Misconfigured(ConnectorError):
    """The operator has to correct credentials or settings; with scope `provider` no connection of it can work."""


class Gone(ConnectorError):
    """It will not come back: with scope `account` the account is closed, with scope `connection` access is over."""


class BadData(ConnectorError):
    """
    The two sides disagree about the protocol: a whole and readable answer is not what the protocol says it is, or the
    provider refuses a request that the protocol allows. Only an update of the connector or of the provider helps.
    """
