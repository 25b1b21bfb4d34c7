"""People: who may use the console and the API, who is signed in, and what everybody did.

Belongs here: users, sessions, tokens, roles and scopes, and the audit log, over PostgreSQL. Does not belong here: HTTP,
cookies and pages (``console``), the identity provider's protocol (``console.security``).
"""

from ledgerlake.people._audit import Act, audit, audit_log
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
    "Act",
    "People",
    "Person",
    "Role",
    "Scope",
    "Session",
    "SignInRefused",
    "Token",
    "allows",
    "audit",
    "audit_log",
]
