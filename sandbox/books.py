"""What a bank holds: the movements of an account month by month, the rows it shows on a day, and the balances.

Laws, true on each day: the ledger is the opening balance and the sum of the posted rows shown; `pending` is the sum of the
pending rows shown; a row's running balance is what the ledger read right after the row was entered, and stays as it was
written then. Rows of a month come to rest `RESTLESS` days after it, and are the same from then on.
"""

from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

from sandbox._cache import Cache
from sandbox._dice import Dice, spell
from sandbox._months import first_of, month_of
from sandbox.money import month_of_money, purchases
from sandbox.movement import RESTLESS, Movement, Phase, live
from sandbox.world import CARD, QUIET_DAYS, Account, Customer, World


class Row(NamedTuple):
    """A movement as shown on a day; `running` is the ledger right after it was entered, None while pending."""

    movement: Movement
    phase: Phase
    enriched: bool
    running: int | None


class Change(NamedTuple):
    """A movement's record as it was on one day and is on a later one; None where it is not shown. Neither has `running`."""

    before: Row | None
    after: Row | None


class _Ledger(NamedTuple):
    """A month of entries and corrections: the days they were made on, the ledger after each, and after each row."""

    days: list[int]
    balances: list[int]
    running: dict[str, int]
    opening: int
    closing: int


class Books:
    """The books of all accounts of a world, read by day (an ordinal)."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._months: Cache[tuple[int, int], dict[int, list[Movement]]] = Cache(
            400_000, lambda month: 1 + sum(map(len, month.values()))
        )
        self._ledgers: Cache[tuple[str, int], _Ledger] = Cache(1_000_000, lambda ledger: 1 + len(ledger.days))
        self._closings: Cache[str, list[int]] = Cache(50_000, lambda _: 1)

    def movements(self, account: Account, month: int) -> list[Movement]:
        """What began to move in this account in this month, in order."""
        customer = self.world.customer(account.customer)
        key = (customer.index, month)
        return self._months.get(key, lambda: self._make_month(customer, month)).get(account.slot, [])

    def months(self, account: Account, day: int) -> range:
        """The months that may hold rows on this day, oldest first."""
        return range(month_of(account.opens_on), month_of(day) + 1)

    def at_rest(self, month: int, day: int) -> bool:
        """Whether the rows dated in this month will not change any more."""
        return day >= first_of(month + 1) + RESTLESS

    def rows(self, account: Account, month: int, day: int) -> list[Row]:
        """The rows dated in `month` that are shown on `day`, newest first: by date, then by the order of movements."""
        first, after = first_of(month), first_of(month + 1)
        shown = []
        for begun in (month - 1, month):
            for movement in self.movements(account, begun):
                phase = movement.on(day)
                if phase is not None and first <= phase.day < after:
                    shown.append((phase.day << 48 | movement.order, movement, phase))
        shown.sort(key=itemgetter(0), reverse=True)
        ledgers = {m: self._ledger(account, m).running for m in (month, month + 1) if first_of(m) <= day}
        rows = []
        for _, movement, phase in shown:
            running = None
            if phase.posted:
                running = next(known[phase.ref] for known in ledgers.values() if phase.ref in known)
            rows.append(Row(movement, phase, day >= movement.enriched_on, running))
        return rows

    def changes(self, account: Account, since: int, until: int) -> Iterator[Change]:
        """What is shown otherwise on the day `until` than on the day `since`."""
        first = max(month_of(account.opens_on), month_of(since) - 1)
        for month in range(first, month_of(until) + 1):
            for movement in self.movements(account, month):
                before, after = _row_on(movement, since), _row_on(movement, until)
                if before != after:
                    yield Change(before, after)

    def ledger(self, account: Account, day: int) -> int:
        """The posted balance on this day, in minor units from the holder's side."""
        book = self._ledger(account, month_of(day))
        made = bisect_right(book.days, day)
        return book.balances[made - 1] if made else book.opening

    def pending(self, account: Account, day: int) -> int:
        """The sum of the pending rows shown on this day."""
        month = month_of(day)
        return sum(
            phase.amount
            for begun in (month - 1, month)
            for movement in self.movements(account, begun)
            if (phase := movement.on(day)) is not None and not phase.posted
        )

    def _make_month(self, customer: Customer, month: int) -> dict[int, list[Movement]]:
        world = self.world
        intents = [
            *purchases(world, customer, month),
            *month_of_money(world, customer, month, lambda m: self._statement(customer, m)),
        ]
        intents.sort(key=lambda intent: intent.day)
        spans = {account.slot: _span(account) for account in world.standing(customer)}
        for opened in range(month - 3, month + 1):
            if (pot := world.pot(customer, opened)) is not None:
                spans[pot.slot] = _span(pot)
        dice = Dice(world.seed, "lives", customer.index, month)
        prefix = spell(month, 3)
        made: dict[int, list[Movement]] = {}
        for number, intent in enumerate(intents):
            order = month << 24 | number
            movement = live(dice, intent, order, prefix, world.seed, customer.index, intent.slot)
            first, last = spans[intent.slot]
            if max(first, world.opening) <= intent.day <= last:
                made.setdefault(intent.slot, []).append(movement)
        return made

    def _statement(self, customer: Customer, month: int) -> int:
        if first_of(month) < self.world.opening:
            return 0
        return -sum(i.amount for i in purchases(self.world, customer, month) if i.slot == CARD)

    def _ledger(self, account: Account, month: int) -> _Ledger:
        opening = self._closing(account, month - 1)
        return self._held_ledger(account, month, opening)

    def _held_ledger(self, account: Account, month: int, opening: int) -> _Ledger:
        return self._ledgers.get((account.ref, month), lambda: self._make_ledger(account, month, opening))

    def _closing(self, account: Account, month: int) -> int:
        opened = month_of(account.opens_on)
        if month < opened:
            return account.opening
        closings = self._closings.get(account.ref, list)
        while len(closings) <= month - opened:
            at = opened + len(closings)
            opening = closings[-1] if closings else account.opening
            closings.append(self._held_ledger(account, at, opening).closing)
        return closings[month - opened]

    def _make_ledger(self, account: Account, month: int, opening: int) -> _Ledger:
        days: list[int] = []
        balances: list[int] = []
        running: dict[str, int] = {}
        balance = opening
        for day, entry, _, delta, ref in sorted(self._changes(account, month)):
            balance += delta
            days.append(day)
            balances.append(balance)
            if entry:
                running[ref] = balance
        return _Ledger(days, balances, running, opening, balance)

    def _changes(self, account: Account, month: int) -> Iterator[tuple[int, bool, int, int, str]]:
        """What changed the ledger in this month: (day, whether it is an entry, order, by how much, ref)."""
        first, after = first_of(month), first_of(month + 1)
        for begun in (month - 1, month):
            for movement in self.movements(account, begun):
                entered: Phase | None = None
                for phase in movement.phases:
                    if phase.posted:
                        if first <= phase.since < after:
                            delta = phase.amount - (entered.amount if entered else 0)
                            yield phase.since, entered is None, movement.order, delta, phase.ref
                        entered = phase


def _row_on(movement: Movement, day: int) -> Row | None:
    phase = movement.on(day)
    return None if phase is None else Row(movement, phase, day >= movement.enriched_on, None)


def _span(account: Account) -> tuple[int, int]:
    last = account.closes_on - QUIET_DAYS - 1 if account.closes_on is not None else 2**31
    return account.opens_on, last
