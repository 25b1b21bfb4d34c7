"""The bank side of a running sandbox: the world's books on the clock's day, and what happened to connections since the start.

The world says when a connection breaks and an account closes by itself; here is what the control endpoints and the
providers' own DELETE calls add, and what of it holds today. A restart forgets all of that: repairs, deletions, and also
breaks of before, so a server that starts on any day starts with every connection sound.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sandbox._months import month_of
from sandbox.books import Books, Change
from sandbox.clock import Clock
from sandbox.world import Account, Customer, World


class Outage(NamedTuple):
    """Why data cannot be read, and the last day (an ordinal) on which it could."""

    reason: str
    as_of: int


class State(NamedTuple):
    """How a connection stands: on which day (an ordinal), why it is broken if it is, and whether it was revoked."""

    day: int
    outage: Outage | None
    revoked: bool

    @property
    def read_on(self) -> int:
        """The last day on which its data could be read."""
        return self.day if self.outage is None else self.outage.as_of


class Bank:
    """What every provider's sandbox reads: world, books and clock, and the state of connections."""

    def __init__(self, world: World, clock: Clock) -> None:
        self.world = world
        self.books = Books(world)
        self.clock = clock
        self.started = self.day
        self._broken: dict[int, Outage] = {}
        self._mended: dict[int, int] = {}
        self._outages: dict[int, list[tuple[int, int]]] = {}
        self._closed: dict[str, Outage] = {}
        self._dropped_connections: set[int] = set()
        self._dropped_accounts: set[str] = set()
        self._joined: dict[int, int] = {}
        self.watch: Callable[[Customer, State], None] | None = None
        """Told of each connection that was broken, repaired or revoked here, with how it stood before."""

    @property
    def day(self) -> int:
        """Today as an ordinal."""
        return self.clock.today.toordinal()

    def accounts(self, customer: Customer) -> list[Account]:
        """The accounts that the connection reaches today, closed ones included."""
        return [a for a in self.world.accounts(customer, self.day) if a.ref not in self._dropped_accounts]

    def find_account(self, customer: Customer, ref: str) -> Account | None:
        """The customer's account of this ref, if the connection reaches it today."""
        account = self.world.find_account(ref, self.day)
        if account is None or account.customer != customer.index or ref in self._dropped_accounts:
            return None
        return account

    def broken(self, customer: Customer) -> Outage | None:
        """Why the connection is broken today; None while it is sound."""
        forced = self._broken.get(customer.index)
        if forced is not None:
            return forced
        sound_since = self.sound_since(customer)
        for month in range(month_of(sound_since), month_of(self.day) + 1):
            found = self.world.breaks(customer, month)
            if found is not None and sound_since < found[0] <= self.day:
                return Outage(found[1], found[0] - 1)
        return None

    def sound_since(self, customer: Customer) -> int:
        """The day on which the customer last gave the connection's consent."""
        return self._mended.get(customer.index, self.started)

    def state(self, customer: Customer) -> State:
        """How the connection stands now."""
        return State(self.day, self.broken(customer), self.dropped(customer))

    def changes(self, customer: Customer, since: int, until: int) -> Iterator[tuple[Account, Change]]:
        """What of the connection's accounts is shown otherwise on the day `until` than on the day `since`."""
        for account in self.accounts(customer):
            last = self.readable_on(customer, account)
            if last is not None and since < min(last, until):
                for change in self.books.changes(account, since, min(last, until)):
                    yield account, change

    def joined(self, customer: Customer) -> bool:
        """Whether the customer signed in here and had no connection before."""
        return customer.index in self._joined

    def consent(self, customer: Customer, *, new: bool) -> None:
        """What signing in does: a `new` connection from today on, or the one there is repaired."""
        if not new and not self.dropped(customer):
            self.repair(customer)
            return
        if new:
            self._joined[customer.index] = self.day
        self._dropped_connections.discard(customer.index)
        self._dropped_accounts -= {account.ref for account in self.world.accounts(customer, self.day)}
        self._broken.pop(customer.index, None)
        self._outages.pop(customer.index, None)
        self._mended[customer.index] = self.day
        # Before the first day nothing was shown, so all there is counts as new.
        self._tell(customer, State(self.world.opening - 1, None, revoked=True))

    def break_connection(self, customer: Customer, reason: str, as_of: int | None = None) -> None:
        """Break a connection now; `as_of` is the last day whose state could still be read, by default today."""
        before = self.state(customer)
        self._broken[customer.index] = Outage(reason, self.day if as_of is None else as_of)
        self._tell(customer, before)

    def repair(self, customer: Customer) -> None:
        """What the customer's new login does: the connection is sound from today on, with the same credentials."""
        before = self.state(customer)
        if (outage := before.outage) is not None:
            self._outages.setdefault(customer.index, []).append((outage.as_of + 1, self.day))
        self._broken.pop(customer.index, None)
        self._mended[customer.index] = self.day
        self._tell(customer, before)

    def closed(self, account: Account) -> Outage | None:
        """Why and since when the account is closed; None while it is open."""
        forced = self._closed.get(account.ref)
        if forced is not None:
            return forced
        if account.closes_on is not None and self.day >= account.closes_on:
            return Outage("", account.closes_on - 1)
        return None

    def close(self, account: Account, reason: str = "", as_of: int | None = None) -> None:
        """Close an account now; `as_of` as in `break_connection`."""
        self._closed[account.ref] = Outage(reason, self.day if as_of is None else as_of)

    def drop_connection(self, customer: Customer) -> None:
        """Revoke a connection's credentials."""
        before = self.state(customer)
        self._dropped_connections.add(customer.index)
        self._tell(customer, before)

    def dropped(self, customer: Customer) -> bool:
        """Whether the connection's credentials were revoked."""
        return customer.index in self._dropped_connections

    def drop_account(self, account: Account) -> None:
        """Take one account out of its connection."""
        self._dropped_accounts.add(account.ref)

    def readable_on(self, customer: Customer, account: Account) -> int | None:
        """The last day whose state of this account a client that reads daily since the start has read.

        Today while connection and account are sound; None when there was no such day.
        """
        day = self.day
        for outage in (self.broken(customer), self.closed(account)):
            if outage is not None:
                day = min(day, outage.as_of)
        for first, after in reversed(self._outages.get(customer.index, [])):
            if first <= day < after:
                day = first - 1
        started = self._joined.get(customer.index, self.started)
        if day < account.opens_on or (day < started and day < self.day):
            return None
        return day

    def _tell(self, customer: Customer, before: State) -> None:
        if self.watch is not None:
            self.watch(customer, before)
