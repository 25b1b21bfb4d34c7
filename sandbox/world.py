"""Who exists: a world of customers, each with one connection to an institution and its accounts.

A pure function of (seed, number of customers, opening day). Nothing here knows a provider's words, what day it is, or what
money moved (`books`). A customer is made when asked for, so a world of ten thousand costs nothing; the first N customers
of a world are those of any larger one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from sandbox import catalogue
from sandbox._cache import Cache
from sandbox._dice import Dice, digest, spell, unspell
from sandbox._months import first_of, month_of

CHECKING, SAVINGS, CARD = 1, 2, 3
GUESTS = 4
"""So many people more there are than customers: two businesses and two persons who have not connected anything yet."""
MOST = 32**4 - GUESTS
"""The most customers that ids can name."""
QUIET_DAYS = 12
"""So long before it closes an account has no movement any more, so all its rows have come to rest."""
_BREAKS = (
    "account_locked",
    "credentials_invalid",
    "enrollment_inactive",
    "user_action.mfa_required",
    "user_action.web_login_required",
)


@dataclass(frozen=True)
class Account:
    """An account. Days are ordinals; `opening` is the balance before its first movement, in minor units, from the
    holder's side (what is owed is negative); `closes_on` is the first day on which it is closed."""

    ref: str
    customer: int
    slot: int
    kind: Literal["depository", "credit"]
    subtype: Literal["checking", "savings", "credit_card"]
    name: str
    currency: str
    number: str
    opening: int
    opens_on: int
    closes_on: int | None = None
    weekly: int = 0
    """What a pot (a savings account with a goal) is paid each week."""


@dataclass(frozen=True)
class Customer:
    """A person or a small business; one connection (`ref`) to one institution."""

    index: int
    ref: str
    customer_id: str
    name: str
    kind: Literal["person", "business"]
    institution: catalogue.Institution
    email: str
    phone: str
    street: str
    city: tuple[str, str, str]
    income: int
    """What comes in a month, in minor units, about."""


class World:
    """All customers of a seed, and a few guests: people like them, who are nobody's customers before they sign in.

    `busy`: about how many card takings a day the first customer's checking account carries besides, to make an account
    of any size.

    `branch` and `institutions`: the same people at other banks, with accounts and money of their own there.
    """

    def __init__(
        self,
        seed: int,
        customers: int,
        opening: date,
        busy: int = 0,
        *,
        branch: str = "",
        institutions: Sequence[catalogue.Institution] = catalogue.INSTITUTIONS,
    ) -> None:
        if customers < 1 or customers > MOST:
            raise ValueError(f"expected 1 to {MOST} customers, got {customers}")
        self._people = seed
        self._institutions = institutions
        self.seed = f"{seed}/{branch}" if branch else seed
        self.size = customers
        self.opening = opening.toordinal()
        self.busy = busy
        self._customers: Cache[int, Customer] = Cache(50_000, lambda _: 1)
        self._accounts: Cache[int, tuple[Account, ...]] = Cache(50_000, lambda _: 1)

    @classmethod
    def of(cls, seed: int, customers: int, years: int, today: date, busy: int = 0) -> "World":
        """The world whose history begins on the 1 January that is at least `years` years before `today`.

        So restarting a server on another day of the year gives the same world, grown by that day.
        """
        return cls(seed, customers, date(today.year - years, 1, 1), busy)

    def branch(self, name: str, institutions: Sequence[catalogue.Institution]) -> "World":
        """The same people at these other banks: their connections, accounts and money there are not those of here."""
        opening = date.fromordinal(self.opening)
        return World(self._people, self.size, opening, branch=name, institutions=institutions)

    def everyone(self) -> Iterator[Customer]:
        """The customers and the guests."""
        return map(self.customer, range(self.size + GUESTS))

    def is_guest(self, customer: Customer) -> bool:
        """Whether this is one of the guests."""
        return customer.index >= self.size

    def customer(self, index: int) -> Customer:
        """The customer of an index, 0 up to `size`; from there on the guests."""
        return self._customers.get(index, lambda: self._make_customer(index))

    def find_customer(self, ref: str) -> Customer | None:
        """The customer whose connection has this ref."""
        index = unspell(ref[:4])
        if index is None or index >= self.size + GUESTS:
            return None
        found = self.customer(index)
        return found if found.ref == ref else None

    def accounts(self, customer: Customer, day: int) -> list[Account]:
        """The customer's accounts that have been opened by `day`, closed ones included."""
        pots = [
            pot
            for month in range(month_of(self.opening), month_of(day) + 1)
            if (pot := self.pot(customer, month)) is not None and self.opening <= pot.opens_on <= day
        ]
        standing = [account for account in self.standing(customer) if account.opens_on <= day]
        return [*standing, *pots]

    def standing(self, customer: Customer) -> tuple[Account, ...]:
        """The customer's accounts that are always there: checking, most often savings, most often a card."""
        return self._accounts.get(customer.index, lambda: tuple(self._make_accounts(customer)))

    def pot(self, customer: Customer, month: int) -> Account | None:
        """The savings pot that opens in this month, if one does: an account that newly appears, and closes weeks later.

        Every fourth customer has one every other month, so that any two months see one appear and one close.
        """
        if customer.index % 4 != 3 or (month + customer.index // 4) % 2:
            return None
        dice = Dice(self.seed, "pot", customer.index, month)
        opens = first_of(month) + dice.between(2, 24)
        return Account(
            ref=self._account_ref(customer.index, month),
            customer=customer.index,
            slot=month,
            kind="depository",
            subtype="savings",
            name=dice.pick(("Holiday Pot", "Tax Pot", "Rainy Day Pot")),
            currency=customer.institution.currency,
            number=f"{dice.below(10**10):010}",
            opening=0,
            opens_on=opens,
            closes_on=opens + dice.between(40, 58),
            weekly=dice.between(20, 120) * 100,
        )

    def breaks(self, customer: Customer, month: int) -> tuple[int, str] | None:
        """The day in this month on which the customer's connection breaks, and why; None in most months.

        Two customers of twelve break every other month, in turn; any other one about every 25 years.
        """
        turn = customer.index % 12
        dice = Dice(self.seed, "break", customer.index, month)
        day, reason = first_of(month) + dice.between(3, 25), dice.pick(_BREAKS)
        if turn in (5, 10):
            return (day, reason) if month % 2 == (turn == 10) else None
        return (day, reason) if dice.chance(1 / 300) else None

    def find_account(self, ref: str, day: int) -> Account | None:
        """The account of this ref if it has been opened by `day`."""
        index, slot = unspell(ref[:4]), unspell(ref[4:7])
        if index is None or slot is None or index >= self.size + GUESTS:
            return None
        customer = self.customer(index)
        choices = self.standing(customer) if slot < 12 else (self.pot(customer, slot),)
        for account in choices:
            if account is not None and account.ref == ref and self.opening <= account.opens_on <= day:
                return account
        return None

    def _make_customer(self, index: int) -> Customer:
        dice = Dice(self._people, "customer", index)
        kind: Literal["person", "business"] = "business" if index % 3 == 0 else "person"
        first, last = dice.pick(catalogue.FIRST_NAMES), dice.pick(catalogue.LAST_NAMES)
        name = f"{last} {dice.pick(catalogue.TRADES)}" if kind == "business" else f"{first} {last}"
        low, high = (18_000, 90_000) if kind == "business" else (2_800, 9_500)
        return Customer(
            index=index,
            ref=spell(index, 4) + digest(14, self.seed, "connection", index),
            customer_id=f"customer-{index + 1:05}",
            name=name,
            kind=kind,
            institution=self._institutions[index % len(self._institutions)],
            email=f"customer-{index + 1:05}@example.com",
            phone=f"+1555{dice.below(10**7):07}",
            street=f"{dice.between(1, 980)} {dice.pick(catalogue.STREETS)}",
            city=dice.pick(catalogue.CITIES),
            income=dice.between(low, high) * 100,
        )

    def _account_ref(self, index: int, slot: int) -> str:
        return spell(index, 4) + spell(slot, 3) + digest(11, self.seed, "account", index, slot)

    def _make_accounts(self, customer: Customer) -> list[Account]:
        dice = Dice(self.seed, "accounts", customer.index)
        business = customer.kind == "business"
        slots = [CHECKING]
        # The first two of each dozen have all three, so that small worlds show every kind.
        if customer.index % 12 < 2 or dice.chance(0.7):
            slots.append(SAVINGS)
        if customer.index % 12 < 2 or dice.chance(0.75):
            slots.append(CARD)
        names = {
            CHECKING: "Business Checking" if business else "Everyday Checking",
            SAVINGS: "Reserve Savings" if business else "High-Yield Savings",
            CARD: "Business Platinum Card" if business else "Rewards Card",
        }
        made = []
        for slot in slots:
            opening = {
                CHECKING: customer.income * dice.between(120, 300) // 100,
                SAVINGS: customer.income * dice.between(50, 600) // 100,
                CARD: -customer.income * dice.between(2, 12) // 100,
            }[slot]
            made.append(
                Account(
                    ref=self._account_ref(customer.index, slot),
                    customer=customer.index,
                    slot=slot,
                    kind="credit" if slot == CARD else "depository",
                    subtype={CHECKING: "checking", SAVINGS: "savings", CARD: "credit_card"}[slot],  # type: ignore[arg-type]
                    name=names[slot],
                    currency=customer.institution.currency,
                    number=f"{dice.below(10**10):010}",
                    opening=opening,
                    opens_on=self.opening,
                )
            )
        return made
