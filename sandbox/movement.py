"""The life of one movement of money, as the phases in which a bank shows it.

A movement is decided once; each of its phases says from which day until which day it is shown, under which ref and how.
So a record's state is a function of the day, and moving the clock a day reveals exactly the next state. Everything that
happens to a record happens within `RESTLESS` days of its date.
"""

from collections.abc import Callable

import msgspec

from sandbox._dice import Dice, digest

FOREVER = 2**31
RESTLESS = 10
"""So many days after its date a record may still appear, change or go."""


class Intent(msgspec.Struct, frozen=True, gc=False):
    """Money that somebody means to move; `amount` in minor units from the holder's side: positive is money in."""

    slot: int
    day: int
    amount: int
    kind: str
    raw: str
    text: str
    category: str
    party: str
    party_is_person: bool = False
    card: bool = False
    """Whether it is authorised first and posts later, as cards do."""
    exact: bool = False
    """Whether its amount is never corrected: a leg of a transfer, or a sum of other movements."""


class Phase(msgspec.Struct, frozen=True, gc=False):
    """How a movement is shown on days `since` <= day < `until`."""

    since: int
    until: int
    ref: str
    day: int
    posted: bool
    amount: int
    text: str


class Movement(msgspec.Struct, frozen=True, gc=False):
    """One movement in one account. `order` is its place among all of the account's, for a total order of equal days."""

    order: int
    kind: str
    category: str
    party: str
    party_is_person: bool
    enriched_on: int
    phases: tuple[Phase, ...]

    def on(self, day: int) -> Phase | None:
        """The phase shown on this day, or None: not yet, or no longer."""
        for phase in self.phases:
            if phase.since <= day < phase.until:
                return phase
        return None


def live(dice: Dice, intent: Intent, order: int, prefix: str, *names: object) -> Movement:
    """Give an intent its life. `prefix` leads its refs, so that a ref says where to look; `names` make them unique."""
    ref = prefix + digest(15, *names, order)
    phases: tuple[Phase, ...]
    if intent.card:
        phases = _authorised(dice, intent, ref, lambda: prefix + digest(15, *names, order, "again"))
    else:
        since = intent.day + (dice.between(1, 6) if dice.chance(0.06) else 0)
        phases = (Phase(since, FOREVER, ref, intent.day, True, intent.amount, intent.text),)
    last = phases[-1]
    if last.posted and dice.chance(0.02):
        phases = (*phases[:-1], *_corrected(dice, intent, last))
    enriched_on = phases[0].since + (dice.between(1, 3) if dice.chance(0.15) else 0)
    return Movement(order, intent.kind, intent.category, intent.party, intent.party_is_person, enriched_on, phases)


def _authorised(dice: Dice, intent: Intent, ref: str, again: Callable[[], str]) -> tuple[Phase, ...]:
    posts = intent.day + dice.between(1, 5)
    shown_as = dice.roll()
    pending = Phase(intent.day, posts, ref, intent.day, False, intent.amount, intent.raw)
    if shown_as < 0.03:
        return (pending,)
    text = intent.text if dice.chance(0.7) else intent.raw
    if shown_as < 0.23:
        # A tip or a fill-up: the amount grew so much that the bank did not know its own record again.
        amount = intent.amount if dice.chance(0.6) else intent.amount * dice.between(101, 120) // 100
        return (pending, Phase(posts, FOREVER, again(), posts, True, amount, text))
    return (pending, Phase(posts, FOREVER, ref, posts, True, intent.amount, text))


def _corrected(dice: Dice, intent: Intent, posted: Phase) -> tuple[Phase, Phase]:
    changes = max(posted.since + 1, posted.day + dice.between(1, 9))
    if intent.exact or dice.chance(0.6):
        amount, text = posted.amount, f"{posted.text} REF {dice.below(10**6):06}"
    else:
        amount, text = posted.amount * dice.between(85, 99) // 100 or posted.amount, f"{posted.text} ADJ"
    first = msgspec.structs.replace(posted, until=changes)
    return first, Phase(changes, FOREVER, posted.ref, posted.day, True, amount, text)
