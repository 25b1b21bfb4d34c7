"""
How a request says who asks, and how what a customer left for that is checked.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

import httpx
from pydantic import SecretStr


class Bearer(httpx.Auth):
    """The header, made from a masked token at the last moment, so that no frame and no log holds it."""

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        yield request


def checked(
    given: Mapping[str, object], names: Sequence[str], what: str, *, ascii_only: bool = True
) -> dict[str, SecretStr]:
    """Those secrets, each a text of printable characters without space around it.

    Raises ValueError for `what`, which names all that is missing, unknown or no such text, and never a value.
    """
    faults = [f"{name} is missing" for name in names if name not in given]
    faults += [f"{name} is unknown" for name in sorted(set(given) - set(names))]
    secrets = {}
    for name in names:
        value = given.get(name)
        if (
            isinstance(value, str)
            and value.isprintable()
            and value.strip() == value != ""
            and (value.isascii() or not ascii_only)
        ):
            secrets[name] = SecretStr(value)
        elif name in given:
            faults.append(f"{name} is not a text of printable characters without space around it")
    if faults:
        raise ValueError(f"expected {what}, {{{', '.join(names)}}}: {'; '.join(faults)}")
    return secrets
