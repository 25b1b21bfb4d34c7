"""Faults on demand: what goes wrong with the next answers and webhooks, told by tests through the control endpoint.

A fault is chosen here and carried out by the `gate`. It concerns requests whose path (relative to the provider's base)
matches a pattern, perhaps of one token only; it strikes the next `times` of them, or each with a `probability` drawn from a
seed, or both. Of several faults that match, the one set first strikes.

A fault whose kind begins with `webhook_` strikes what is sent, not what is answered: its path is matched with
`/<provider>/<kind of webhook>`, its token with the connection's id; `sandbox.webhooks` carries it out.
"""

import fnmatch
from typing import Annotated, Any, Literal

import msgspec

from sandbox._dice import Dice

Kind = Literal[
    "rate_limited", "error", "reset", "slow", "truncated", "html", "bad_utf8", "empty", "short_page", "endless_page",
    "bad_row", "disconnected", "account_closed",
    "webhook_twice", "webhook_reordered", "webhook_late", "webhook_stale", "webhook_forged", "webhook_unsigned", "webhook_lost",
]  # fmt: skip
BadRow = Literal[
    "missing_id", "missing_amount", "nan", "1e400", "nine_decimals", "february_30", "nul", "wrong_type", "shared_id",
]  # fmt: skip


class Fault(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One fault. Fields after `seed` belong to some kinds only, as their comments say."""

    kind: Kind
    path: str = "*"
    token: str | None = None
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    probability: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    seed: int = 0
    retry_after: Annotated[float, msgspec.Meta(ge=0)] | None = None  # rate_limited: the header, none by default
    status: Literal[500, 502, 503, 504] = 502  # error
    seconds: Annotated[float, msgspec.Meta(ge=0)] = 1.0  # slow, webhook_late: how long before the true one
    reason: str = ""  # disconnected, account_closed: what follows the code
    row: BadRow = "missing_id"  # bad_row: what is wrong with the row put first in the page


class Faults:
    """The faults that are set, in order."""

    def __init__(self) -> None:
        self._set: list[tuple[Fault, Dice]] = []
        self.struck: dict[str, int] = {}

    def add(self, fault: Fault) -> None:
        """Set a fault after those that are set already."""
        self._set.append((fault, Dice("fault", fault.seed)))

    def clear(self) -> None:
        """Take all faults away, and their counts."""
        self._set.clear()
        self.struck.clear()

    def listed(self) -> list[dict[str, Any]]:
        """The faults still set, as they were given, with what is left of `times`."""
        return [msgspec.to_builtins(fault) for fault, _ in self._set]

    def strike(self, path: str, token: str | None, *, webhook: bool = False) -> Fault | None:
        """The fault that strikes this request, or webhook, which is counted."""
        for number, (fault, dice) in enumerate(self._set):
            if fault.kind.startswith("webhook_") is not webhook:
                continue
            if not fnmatch.fnmatchcase(path, fault.path) or fault.token not in (None, token):
                continue
            if not dice.chance(fault.probability):
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    del self._set[number]
            self.struck[fault.kind] = self.struck.get(fault.kind, 0) + 1
            return fault
        return None
