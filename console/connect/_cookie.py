"""The cookie of a link: that this browser claimed it, and what its consent needs here. Sealed, and never read by a page."""

import datetime as dt
import hashlib
from collections.abc import Mapping

from fastapi import Request
from pydantic import SecretStr
from starlette.responses import Response

from console.house import House
from ledgerlake.errors import LedgerlakeError
from ledgerlake.links import Link

PATH = "/connect"
AFTERWARDS = dt.timedelta(days=1)
"""How long the browser that connected can still see what came of it, once the link has expired."""


def key_of(token: str) -> str:
    """What names a link where its token must not stand: in cookies' names and in what providers are given."""
    return hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def read(house: House, request: Request, key: str) -> dict[str, str]:
    """What this browser has of the link of that key; nothing where there is no cookie of ours."""
    given = request.cookies.get(_name(house, key))
    if not given or not given.isascii():
        return {}
    try:
        return {
            name: one.get_secret_value() for name, one in house.vault.open(_name(house, key), given.encode()).items()
        }
    except LedgerlakeError:
        return {}


def write(house: House, answer: Response, key: str, link: Link, held: Mapping[str, str]) -> None:
    """Let this browser have it, for as long as the link is of use."""
    sealed = house.vault.seal(_name(house, key), {name: SecretStr(value) for name, value in held.items()})
    seconds = (link.expires_at + AFTERWARDS - dt.datetime.now(dt.UTC)).total_seconds()
    answer.set_cookie(
        _name(house, key),
        sealed.decode("ascii"),
        max_age=max(int(seconds), 1),
        path=PATH,
        secure=house.secure,
        httponly=True,
        samesite="lax",
    )


def _name(house: House, key: str) -> str:
    return f"{'__Secure-' if house.secure else ''}ledgerlake-link-{key}"
