"""What money moves in a month of a customer's life, before any bank shows it.

Salaries and payouts come in; rent, bills, subscriptions, purchases and fees go out; savings are set aside, the card is
paid with what was bought on it the month before. A pure function of (world, customer, month): nothing here knows the
day it is, and no month looks further back than the one before.
"""

from collections.abc import Callable, Iterator

from sandbox import catalogue
from sandbox._dice import Dice
from sandbox._months import first_of, length_of, month_of
from sandbox.movement import Intent
from sandbox.world import CARD, CHECKING, QUIET_DAYS, SAVINGS, Account, Customer, World


def month_of_money(world: World, customer: Customer, month: int, statement: Callable[[int], int]) -> Iterator[Intent]:
    """All that moves in `month`; `statement(month)` says what was bought on the card in a month, net of refunds.

    Purchases are `purchases`: they come apart, since the next month's statement asks for them.
    """
    dice = Dice(world.seed, "money", customer.index, month)
    if customer.kind == "business":
        yield from _business(dice, customer, month)
    else:
        yield from _person(dice, customer, month)
    slots = {account.slot for account in world.standing(customer)}
    yield from _bills(dice, customer, month)
    yield from _bank(dice, customer, month, SAVINGS in slots)
    if CARD in slots:
        yield from _card_payment(dice, month, statement(month - 1))
    for opened in range(month - 3, month + 1):
        pot = world.pot(customer, opened)
        if pot is not None and pot.opens_on >= world.opening:
            yield from _pot(pot, month)
    if customer.index == 0 and world.busy:
        yield from _takings(Dice(world.seed, "takings", month), month, world.busy)


def purchases(world: World, customer: Customer, month: int) -> Iterator[Intent]:
    """What is bought with cards in `month`, and what of it is sent back (up to 12 days later)."""
    dice = Dice(world.seed, "purchases", customer.index, month)
    has_card = any(account.slot == CARD for account in world.standing(customer))
    business = customer.kind == "business"
    merchants = catalogue.SUPPLIERS if business else catalogue.MERCHANTS
    first, days = first_of(month), length_of(month)
    budget = customer.income * (18 if business else 40) // 100
    for _ in range(dice.between(22, 48)):
        merchant = dice.pick(merchants)
        amount = dice.between(merchant.low, merchant.high)
        slot = CARD if has_card and dice.chance(0.65) else CHECKING
        day, returned, after = first + dice.below(days), dice.chance(0.03), dice.between(3, 12)
        budget -= amount
        if budget < 0:
            break
        yield Intent(
            slot, day, -amount, "card", merchant.terminal, merchant.name, merchant.category, merchant.name, card=True
        )
        if returned:
            yield Intent(
                slot,
                day + after,
                amount,
                "card",
                f"RETURN {merchant.terminal}",
                f"{merchant.name} refund",
                merchant.category,
                merchant.name,
                card=True,
            )
    subscriptions = Dice(world.seed, "subscriptions", customer.index)
    for _ in range(subscriptions.between(2, 4)):
        service, day = subscriptions.pick(catalogue.SUBSCRIPTIONS), first + subscriptions.below(28)
        yield Intent(
            CARD if has_card else CHECKING,
            day,
            -service.low,
            "card",
            service.terminal,
            service.name,
            service.category,
            service.name,
            card=True,
        )


def _person(dice: Dice, customer: Customer, month: int) -> Iterator[Intent]:
    employer = Dice(customer.ref, "employer").pick(catalogue.EMPLOYERS)
    for day in (0, 14):
        yield Intent(
            CHECKING,
            first_of(month) + day,
            customer.income // 2,
            "ach",
            f"{employer.upper()} DES:PAYROLL",
            f"{employer.upper()} DES:PAYROLL",
            "income",
            employer,
        )
    if dice.chance(0.5):
        friend = f"{dice.pick(catalogue.FIRST_NAMES)} {dice.pick(catalogue.LAST_NAMES)}"
        amount = dice.between(10, 180) * 100 * (1 if dice.chance(0.4) else -1)
        text = f"Zelle {'from' if amount > 0 else 'to'} {friend}"
        day = first_of(month) + dice.below(28)
        yield Intent(CHECKING, day, amount, "digital", text, text, "general", friend, party_is_person=True)
    for _ in range(dice.between(0, 2)):
        day, amount = first_of(month) + dice.below(28), dice.between(2, 12) * 2000
        yield Intent(CHECKING, day, -amount, "atm", "ATM WITHDRAWAL 004417", "ATM Withdrawal", "general", "Cash")


def _business(dice: Dice, customer: Customer, month: int) -> Iterator[Intent]:
    first, days = first_of(month), length_of(month)
    processor = Dice(customer.ref, "processor").pick(catalogue.PROCESSORS)
    for day in range(days):
        if (first + day) % 7 in (2, 5):  # Tuesdays and Fridays
            amount = customer.income * dice.between(50, 90) // 1000
            text = f"{processor.upper()} TRANSFER ST-{dice.below(10**8):08}"
            yield Intent(CHECKING, first + day, amount, "ach", text, text, "income", processor)
    for _ in range(dice.between(1, 4)):
        client, number = dice.pick(catalogue.CLIENTS), dice.below(10**5)
        amount = customer.income * dice.between(60, 160) // 1000
        text = f"WIRE IN {client.upper()} INV {number:05}"
        yield Intent(CHECKING, first + dice.below(days), amount, "wire", text, text, "income", client)
    for day in (0, 14):
        text = "GUSTAVE PAYROLL NET"
        amount = -customer.income * 16 // 100
        yield Intent(CHECKING, first + day, amount, "ach", text, text, "general", "Gustave Payroll")
    for _ in range(dice.between(2, 5)):
        vendor, number = dice.pick(catalogue.VENDORS), dice.below(10**4)
        amount = -customer.income * dice.between(20, 60) // 1000
        text = f"ACH {vendor.upper()} {number:04}"
        yield Intent(CHECKING, first + dice.below(days), amount, "ach", text, text, "service", vendor)
    if month % 3 == 0:
        amount = -customer.income * 18 // 100
        yield Intent(CHECKING, first + 14, amount, "ach", "USATAXPYMT IRS", "USATAXPYMT IRS", "tax", "IRS")


def _bills(dice: Dice, customer: Customer, month: int) -> Iterator[Intent]:
    first = first_of(month)
    rent = customer.income * (8 if customer.kind == "business" else 27) // 100
    yield Intent(CHECKING, first + 2, -rent, "bill", "ALDER PROPERTY MGMT RENT", "Rent", "home", "Alder Property")
    power = dice.between(4500, 19000)
    yield Intent(CHECKING, first + 9, -power, "bill", "CITY POWER+LIGHT", "City Power", "utilities", "City Power")
    yield Intent(CHECKING, first + 17, -8500, "bill", "FONETIC WIRELESS", "Fonetic", "phone", "Fonetic Wireless")
    insured = customer.income * 2 // 100
    yield Intent(CHECKING, first + 21, -insured, "ach", "SHIELD INS PREM", "Shield", "insurance", "Shield Insurance")


def _bank(dice: Dice, customer: Customer, month: int, saves: bool) -> Iterator[Intent]:
    first, bank = first_of(month), customer.institution.name
    if dice.chance(0.15):
        day, fee = first + dice.below(20), dice.pick((1200, 1500, 3500))
        yield Intent(CHECKING, day, -fee, "fee", "SERVICE FEE", "Service fee", "service", bank)
        if dice.chance(0.4):
            day += dice.between(1, 6)
            yield Intent(CHECKING, day, fee, "fee", "FEE REVERSAL", "Fee reversal", "service", bank)
    if saves:
        amount = customer.income * dice.between(4, 9) // 100
        day = first + 15 + dice.below(5)
        yield from _transfer(CHECKING, SAVINGS, day, day + dice.below(2), amount, "Savings")
        interest = 37 + customer.income // 500
        yield Intent(
            SAVINGS, first + length_of(month) - 1, interest, "interest", "INTEREST", "Interest", "income", bank
        )


def _card_payment(dice: Dice, month: int, spent: int) -> Iterator[Intent]:
    day = first_of(month) + 19 + dice.below(5)
    if spent > 0:
        text = "ONLINE PAYMENT THANK YOU"
        yield Intent(CHECKING, day, -spent, "bill", "CARD AUTOPAY", "Card autopay", "loan", "Card payment", exact=True)
        yield Intent(CARD, day + dice.below(2), spent, "payment", text, text, "loan", "Card payment", exact=True)


def _transfer(source: int, target: int, leaves: int, arrives: int, amount: int, name: str) -> Iterator[Intent]:
    yield Intent(
        source, leaves, -amount, "transfer", f"Transfer to {name}", f"Transfer to {name}", "general", "Yourself",
        party_is_person=True, exact=True,
    )  # fmt: skip
    yield Intent(
        target, arrives, amount, "transfer", "Transfer from Checking", "Transfer from Checking", "general", "Yourself",
        party_is_person=True, exact=True,
    )  # fmt: skip


def _pot(pot: Account, month: int) -> Iterator[Intent]:
    if pot.closes_on is None:
        return
    emptied = pot.closes_on - QUIET_DAYS - 1
    days = range(pot.opens_on, emptied, 7)
    for day in days:
        if month_of(day) == month:
            yield from _transfer(CHECKING, pot.slot, day, day, pot.weekly, pot.name)
    if month_of(emptied) == month:
        yield from _transfer(CHECKING, pot.slot, emptied, emptied, -pot.weekly * len(days), pot.name)


def _takings(dice: Dice, month: int, busy: int) -> Iterator[Intent]:
    first = first_of(month)
    for day in range(length_of(month)):
        for _ in range(busy):
            amount = dice.between(200, 9800)
            if dice.chance(0.49):
                amount = -amount
            text = f"{'POS SALE' if amount > 0 else 'POS RETURN'} {dice.below(10**9):09}"
            yield Intent(CHECKING, first + day, amount, "card", text, text, "income", "Card terminal", card=True)
