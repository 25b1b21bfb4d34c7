"""Who may do what in the console: sessions, tokens, CSRF, sign-in and the headers of every answer.

Belongs here: everything between a request and the person behind it. Does not belong here: users and their rights
(``ledgerlake.people``), what a page shows.
"""

from console.security._guard import (
    Admin,
    Caller,
    MayAct,
    MayAdminister,
    MayRead,
    MustChange,
    NotSignedIn,
    SignedIn,
    Support,
    Viewer,
    api,
    own_path,
    public,
)
from console.security._headers import Headers, policy
from console.security._sign_in import sign_in_routes

__all__ = [
    "Admin",
    "Caller",
    "Headers",
    "MayAct",
    "MayAdminister",
    "MayRead",
    "MustChange",
    "NotSignedIn",
    "SignedIn",
    "Support",
    "Viewer",
    "api",
    "own_path",
    "policy",
    "public",
    "sign_in_routes",
]
