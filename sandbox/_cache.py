"""A cache whose contents never weigh more than a limit: what makes a world of any size cost bounded memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Remembers what `make` returned, forgetting what was used longest ago when the weights pass `limit`.

    One value may weigh more than the limit: it is kept until the next one comes, since it was just asked for.
    """

    def __init__(self, limit: int, weigh: Callable[[V], int]) -> None:
        self.limit = limit
        self.weight = 0
        self._weigh = weigh
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of `key`, made now if it is not held."""
        held = self._held.get(key)
        if held is not None:
            self._held.move_to_end(key)
            return held[0]
        value = make()
        weight = self._weigh(value)
        self._held[key] = (value, weight)
        self.weight += weight
        while self.weight > self.limit and len(self._held) > 1:
            _, (_, dropped) = self._held.popitem(last=False)
            self.weight -= dropped
        return value
