"""A webhook, who receives it, and what a provider's webhooks offer to who sends them."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from sandbox.bank import State
from sandbox.webhooks.signature import Signer
from sandbox.world import Customer


class Hook(NamedTuple):
    """One webhook: its kind in the provider's words, whose connection it is about, and its body."""

    kind: str
    connection_id: str
    body: bytes


class Receiver:
    """Where webhooks go, how they are signed for it, and which kinds it wants (None: all)."""

    def __init__(self, url: str, signer: Signer, kinds: frozenset[str] | None = None) -> None:
        self.url = url
        self.signer = signer
        self.kinds = kinds
        self.turn = asyncio.Lock()
        """Held while one is being sent, so that they arrive in the order they were made."""

    def address(self, hook: Hook) -> str:
        """The URL for a webhook: `{connection_id}` in it is filled in, as who registers one URL a connection would."""
        return self.url.replace("{connection_id}", hook.connection_id)


def to_nobody(_: Iterable[Hook]) -> None:
    """What announces webhooks before there is a sender."""


class Hooks(Protocol):
    """The webhooks of one provider."""

    kinds: tuple[str, ...]
    """What `make` takes; empty where any kind may be asked for that happened."""
    announce: Callable[[Iterable[Hook]], None]
    """Sends these in the background; set by the sender."""

    @property
    def signer(self) -> Signer:
        """What proves its webhooks to the receivers that share them all."""
        ...

    def tell(self, customer: Customer, before: State, after: State) -> Iterator[Hook]:
        """What the provider sends for what happened to a connection between two states."""
        ...

    def make(self, customer: Customer, kind: str) -> Hook | None:
        """A webhook of this kind now; None when nothing of the kind can be told of the connection."""
        ...

    def receivers(self, connection_id: str) -> list[Receiver]:
        """Those registered by the provider's own protocol for this connection."""
        ...

    def again(self, status: int | None) -> bool:
        """Whether it sends again after this answer; None: there was no answer."""
        ...
