"""
A delivery and who takes it.

Belongs here: the values that every provider's receiver works with. Not here: any provider's signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from connectors.webhooks._event import Event


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """A delivery that is not proved to be the provider's. The reason is a sentence for the log and holds nothing of it."""


@dataclass(frozen=True)
class Delivery:
    """
    One request of a provider: its headers by their names in small letters (one that came twice is joined by a comma),
    the body as it came over the wire, and the Unix time at which it came.
    """

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: float


class Receiver(Protocol):
    """A provider's webhooks: how they are proved and read. `refused_status` is what a delivery is refused with."""

    provider: ClassVar[str]
    refused_status: ClassVar[int]

    async def verify(self, delivery: Delivery) -> int:
        """
        The Unix time at which the provider signed this delivery.

        Raises Refused when it did not, or not lately; ConnectorError when that cannot be told now.
        """
        ...

    def read(self, body: bytes, signed_at: int) -> Event:
        """What a verified body names."""
        ...
