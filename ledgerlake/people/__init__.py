"""People: who may use the console and the API, and who is signed in.

Belongs here: users, sessions, tokens, roles and scopes, over PostgreSQL. Does not belong here: HTTP, cookies and pages
(``console``), the identity provider's protocol (``console.security``), what everybody did (``ledgerlake.store``).
"""

from ledgerlake.people._people import (
    BOOTSTRAP,
    People,
    Person,
    Role,
    Scope,
    Session,
    SignInRefused,
    Token,
    allows,
)

__all__ = [
    "BOOTSTRAP",
    "People",
    "Person",
    "Role",
    "Scope",
    "Session",
    "SignInRefused",
    "Token",
    "allows",
]
