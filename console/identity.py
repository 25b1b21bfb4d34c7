"""Who signs in: the identity provider's client, what its groups mean, and how often somebody may try."""

import warnings
from collections.abc import Mapping
from typing import Any

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from ledgerlake.people import Role
from ledgerlake.settings import Settings

PER_NAME = parse("5/minute")
PER_ADDRESS = parse("30/minute")


class Limiter:
    """How often somebody may try to sign in: by name, and by address."""

    def __init__(self) -> None:
        self._windows = MovingWindowRateLimiter(MemoryStorage())

    def allows(self, name: str, address: str) -> bool:
        by_address = self._windows.hit(PER_ADDRESS, "address", address)
        return self._windows.hit(PER_NAME, "name", name.strip().lower()[:200]) and by_address


def identity_provider(settings: Settings) -> Any | None:
    """The client of the identity provider; None where none is set."""
    if settings.oidc_issuer is None:
        return None
    with warnings.catch_warnings():
        # Authlib announces that it will speak HTTP by another library; nothing here depends on which.
        warnings.simplefilter("ignore", DeprecationWarning)
        from authlib.integrations.starlette_client import OAuth  # type: ignore[import-untyped]
    secret = settings.oidc_client_secret
    oauth = OAuth()
    return oauth.register(
        "oidc",
        client_id=settings.oidc_client_id,
        client_secret=secret.get_secret_value() if secret else None,
        server_metadata_url=settings.oidc_issuer.rstrip("/") + "/.well-known/openid-configuration",
        client_kwargs={"scope": settings.oidc_scope, "code_challenge_method": "S256"},
    )


def role_of(settings: Settings, claims: Mapping[str, Any]) -> Role | None:
    """The role that the identity provider's groups give; None for somebody who is in none of them."""
    given = claims.get(settings.oidc_groups_claim) or ()
    groups = {given} if isinstance(given, str) else {str(one) for one in given}
    if groups & set(settings.oidc_admin_groups):
        return "admin"
    if groups & set(settings.oidc_support_groups):
        return "support"
    if not settings.oidc_viewer_groups or groups & set(settings.oidc_viewer_groups):
        return "viewer"
    return None
