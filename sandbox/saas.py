"""The other side of a business: what it sells by subscription, to whom, and what came of it, as billing objects over time.

A pure function of (seed, business, opening day), simulated a day at a time and remembered as versions, so that any day up
to the last can be shown. Objects are in the shape of Stripe's, the only one who sells this here. Amounts are integers of the
currency's smallest unit. Not here: HTTP, lists, errors, and what day it is (`stripe`).
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from sandbox._dice import Dice, digest
from sandbox.world import Customer, World

API_VERSION = "2024-06-20"
"""The version in which events are rendered: older than what a request pins."""
DAY = 86_400
EPOCH = 719_163
"""The ordinal of 1 January 1970."""
EMBEDDED = 10
CURRENCIES = (("usd", "jpy"), ("eur", "kwd"), ("jpy",), ("kwd", "usd"))
_UNIT = {"usd": 100, "eur": 100, "jpy": 1, "kwd": 1000}
_RATE = {"usd": 1.0, "eur": 0.9, "jpy": 150.0, "kwd": 0.3}
_PLANS = (("Starter", 19), ("Team", 49), ("Business", 199))
_CYCLES = (("month", 1), ("year", 1), ("month", 3), ("week", 1))
_Object = dict[str, Any]
_json = msgspec.json.Encoder()


class Event(NamedTuple):
    """An event: when it happened, its place among those of the business, and its bytes."""

    created: int
    number: int
    type: str
    body: bytes


class Version(NamedTuple):
    """What an object was from a time on; `value` None when it is gone without a stub."""

    since: int
    value: _Object | None


class Subscriber:
    """Who buys: what the simulation must remember of them."""

    def __init__(self, number: int, customer: str, currency: str) -> None:
        self.number = number
        self.customer = customer
        self.currency = currency
        self.subscription: str | None = None
        self.renews = 0
        self.anchor = 0
        self.failures = 0
        self.unpaid: str | None = None
        self.actions: dict[int, str] = {}


class Business:
    """One business's billing account."""

    def __init__(self, world: World, customer: Customer) -> None:
        self._seed = world.seed
        self._index = customer.index
        self._name = customer.name
        self.account_id = self._id("acct", 0)
        self.currencies = CURRENCIES[customer.index // 3 % len(CURRENCIES)]
        self.versions: dict[str, list[Version]] = {}
        self.order: dict[str, list[str]] = {}
        self.lines: dict[str, list[_Object]] = {}
        self.events: list[Event] = []
        self._opening = world.opening
        self._day = world.opening - 1
        self._numbers: dict[str, int] = {}
        self._subscribers: list[Subscriber] = []
        self._agenda: dict[int, list[Callable[[int], None]]] = {}
        self._prices: dict[tuple[str, str, str, int], str] = {}
        self._unsettled: dict[str, list[tuple[int, str]]] = {one: [] for one in self.currencies}
        self.account = {
            "id": self.account_id,
            "object": "account",
            "business_profile": {"name": customer.name, "mcc": "5734", "url": None, "support_email": customer.email},
            "business_type": "company",
            "capabilities": {"card_payments": "active", "transfers": "active"},
            "charges_enabled": True,
            "country": "US",
            "created": seconds(world.opening),
            "default_currency": self.currencies[0],
            "details_submitted": True,
            "email": customer.email,
            "metadata": {},
            "payouts_enabled": True,
            "settings": {"dashboard": {"display_name": customer.name, "timezone": "Etc/UTC"}},
            "type": "standard",
        }

    @property
    def weight(self) -> int:
        """About how many bytes it takes."""
        return 4096 + sum(len(event.body) * 2 for event in self.events)

    def until(self, day: int) -> "Business":
        """Simulated to the end of that day at least."""
        while self._day < day:
            self._day += 1
            self._live(self._day)
        return self

    def at(self, object_id: str, now: int) -> _Object | None:
        """An object as it is at a time; None before it is made and when it is gone."""
        value = None
        for version in self.versions.get(object_id, []):
            if version.since > now:
                break
            value = version.value
        return value

    # What objects are made of.

    def _id(self, prefix: str, number: int) -> str:
        return f"{prefix}_{digest(16, self._seed, 'stripe', self._index, prefix, number)}"

    def _new(self, prefix: str, kind: str, at: int, **fields: Any) -> _Object:
        number = self._numbers[prefix] = self._numbers.get(prefix, 0) + 1
        made: _Object = {
            "id": self._id(prefix, number),
            "object": kind,
            "created": at,
            "livemode": False,
            "metadata": {},
        }
        self.order.setdefault(kind, []).append(made["id"])
        return made | fields

    def _put(self, at: int, value: _Object) -> None:
        self.versions.setdefault(value["id"], []).append(Version(at, copy.deepcopy(value)))

    def _get(self, object_id: str) -> _Object:
        value = self.versions[object_id][-1].value
        assert value is not None
        return copy.deepcopy(value)

    def _tell(self, at: int, type_: str, value: _Object, previous: _Object | None = None) -> None:
        number = self._numbers["evt"] = self._numbers.get("evt", 0) + 1
        # Nobody promises that events come in order: one may be dated seconds before what it follows.
        at -= Dice(self._seed, "event", self._index, number).below(4)
        shown = copy.deepcopy(cut(value))
        if shown["object"] == "subscription":
            # Events are of an older version, in which the period was the subscription's.
            item = shown["items"]["data"][0]
            shown |= {name: item.pop(name) for name in ("current_period_start", "current_period_end")}
        data: _Object = {"object": shown} if previous is None else {"object": shown, "previous_attributes": previous}
        event = {
            "id": self._id("evt", number),
            "object": "event",
            "api_version": API_VERSION,
            "created": at,
            "data": data,
            "livemode": False,
            "pending_webhooks": 0,
            "request": {"id": None, "idempotency_key": None},
            "type": type_,
        }
        self.events.append(Event(at, number, type_, _json.encode(event)))

    def _change(self, at: int, object_id: str, type_: str, **fields: Any) -> _Object:
        value = self._get(object_id)
        previous = {name: value.get(name) for name in fields if value.get(name) != fields[name]}
        value |= fields
        self._put(at, value)
        self._tell(at, type_, value, previous)
        return value

    def _later(self, day: int, act: Callable[[int], None]) -> None:
        self._agenda.setdefault(day, []).append(act)

    def _live(self, day: int) -> None:
        dice = Dice(self._seed, "saas", self._index, day)
        if day == self._opening:
            self._catalogue(day)
        for act in self._agenda.pop(day, []):
            act(day)
        if day < self._opening + 5 or dice.chance(1 / 20):
            self._sign_up(day, dice)
        for one in list(self._subscribers):
            action = one.actions.pop(day, None)
            if action is not None:
                self._act(one, action, day)
            if one.subscription is not None and day >= one.renews:
                self._renew(one, day)
        if (day - EPOCH) % 7 == 4:  # Mondays
            for currency in self.currencies:
                self._pay_out(currency, day)
        if dice.chance(1 / 45):
            self._draft(day, dice)

    # The catalogue.

    def _catalogue(self, day: int) -> None:
        at = seconds(day) + 3600
        for name, base in (*_PLANS, ("Seats", 0), ("Setup", 0)):
            product = self._new(
                "prod", "product", at, active=True, name=f"{self._name} {name}", description=None, images=[],
                type="service", updated=at, default_price=None, unit_label=None, tax_code=None, url=None,
            )  # fmt: skip
            self._put(at, product)
            self._tell(at, "product.created", product)
            for currency in self.currencies:
                for interval, count in _CYCLES if base else ():
                    months = {"month": count, "year": 10, "week": 0.25}[interval]
                    amount = int(base * months * _RATE[currency] * _UNIT[currency])
                    self._price(at, product["id"], name, currency, interval, count, str(amount))
            for currency in self.currencies:
                if name == "Seats":
                    self._price(at, product["id"], name, currency, "month", 1, "12.5")
                if name == "Setup":
                    self._price(at, product["id"], name, currency, "", 0, str(_UNIT[currency] * 99))

    def _price(self, at: int, product: str, name: str, currency: str, interval: str, count: int, amount: str) -> str:
        recurring = {
            "interval": interval, "interval_count": count, "meter": None, "usage_type": "licensed",
            "trial_period_days": None,
        }  # fmt: skip
        price = self._new(
            "price", "price", at, active=True, billing_scheme="per_unit", currency=currency, custom_unit_amount=None,
            lookup_key=None, nickname=None, product=product, recurring=recurring if interval else None,
            tax_behavior="unspecified", tiers_mode=None, transform_quantity=None,
            type="recurring" if interval else "one_time", unit_amount=None if "." in amount else int(amount),
            unit_amount_decimal=amount,
        )  # fmt: skip
        self._put(at, price)
        self._tell(at, "price.created", price)
        self._prices[name, currency, interval, count] = price["id"]
        return str(price["id"])

    # Subscribers.

    def _sign_up(self, day: int, dice: Dice) -> None:
        at = seconds(day) + 3600 * dice.between(7, 18)
        number = len(self._subscribers)
        currency = self.currencies[number % len(self.currencies)]
        customer = self._new(
            "cus", "customer", at, address=None, balance=0, currency=currency, default_source=None, delinquent=False,
            description=None, discount=None, email=f"buyer-{number}@example.com", invoice_prefix=f"B{number:05}",
            name=f"Buyer {number}", next_invoice_sequence=1, phone=None, preferred_locales=[], shipping=None,
            tax_exempt="none", test_clock=None,
        )  # fmt: skip
        self._put(at, customer)
        self._tell(at, "customer.created", customer)
        one = Subscriber(number, customer["id"], currency)
        self._subscribers.append(one)
        script = ("upgrade", "downgrade", "seats", "cancel", "leave", "end", "upgrade", "seats")[number % 8]
        one.actions[day + dice.between(40, 75)] = script
        if script in {"cancel", "leave"}:
            one.actions[day + dice.between(130, 170)] = "return" if script == "cancel" else "delete"
        self._subscribe(one, day, at, trial=14 if number % 3 == 1 else 0)

    def _subscribe(self, one: Subscriber, day: int, at: int, trial: int = 0) -> None:
        dice = Dice(self._seed, "subscribe", self._index, one.number, day)
        plan = ("Business", "Starter", "Team")[one.number % 3]
        interval, count = _CYCLES[(0, 0, 1, 0, 2, 0, 3)[one.number % 7]]
        items = [self._item(at, self._prices[plan, one.currency, interval, count], dice.between(1, 5))]
        if (interval, count) == ("month", 1) and plan != "Starter":
            items.append(self._item(at, self._prices["Seats", one.currency, "month", 1], dice.between(3, 41)))
        start = day + trial
        for item in items:
            ends = at + trial * DAY if trial else _next(at, interval, count)
            item |= {"current_period_start": at, "current_period_end": ends}
        subscription = self._new(
            "sub", "subscription", at, application=None, automatic_tax={"enabled": False, "liability": None},
            billing_cycle_anchor=at + trial * DAY, cancel_at=None, cancel_at_period_end=False, canceled_at=None,
            cancellation_details={"comment": None, "feedback": None, "reason": None}, currency=one.currency,
            collection_method="charge_automatically", customer=one.customer, days_until_due=None, description=None,
            discounts=[], ended_at=None, latest_invoice=None, pause_collection=None, schedule=None, start_date=at,
            status="trialing" if trial else "active", trial_start=at if trial else None,
            trial_end=at + trial * DAY if trial else None,
        )  # fmt: skip
        subscription["items"] = {
            "object": "list", "data": items, "has_more": False,
            "url": f"/v1/subscription_items?subscription={subscription['id']}",
        }  # fmt: skip
        for item in items:
            item["subscription"] = subscription["id"]
        self._put(at, subscription)
        self._tell(at, "customer.subscription.created", subscription)
        one.subscription, one.renews, one.anchor, one.failures = subscription["id"], start, start, 0

    def _item(self, at: int, price_id: str, quantity: int) -> _Object:
        number = self._numbers["si"] = self._numbers.get("si", 0) + 1
        return {
            "id": self._id("si", number), "object": "subscription_item", "created": at, "discounts": [], "metadata": {},
            "price": self._get(price_id), "quantity": quantity, "tax_rates": [],
        }  # fmt: skip

    def _renew(self, one: Subscriber, day: int) -> None:
        assert one.subscription is not None
        subscription = self._get(one.subscription)
        # Some bills are made late in the evening, and finalised the next day.
        late = (one.number + day) % 4 == 0
        at = seconds(day) + (DAY - 1200 if late else 3600 * 9 + one.number * 60)
        recurring = subscription["items"]["data"][0]["price"]["recurring"]
        ends = _next(seconds(day), recurring["interval"], recurring["interval_count"])
        if subscription["cancel_at_period_end"]:
            self._end(one, at)
            return
        items = copy.deepcopy(subscription["items"])
        for item in items["data"]:
            item |= {"current_period_start": seconds(day), "current_period_end": ends}
        status = "active" if subscription["status"] == "trialing" else subscription["status"]
        lines = [self._subscription_line(item, seconds(day), ends) for item in items["data"]]
        if one.number % 3 == 0:
            extra = Dice(self._seed, "extra", self._index, one.number, day).between(0, 16)
            unit = _UNIT[one.currency]
            lines += [self._item_line(one.currency, f"Project {n + 1}", unit * (n + 1)) for n in range(extra)]
        invoice = self._invoice(at, one, lines, "subscription_cycle", subscription["id"])
        self._change(
            at, subscription["id"], "customer.subscription.updated", items=items, status=status, latest_invoice=invoice
        )
        one.renews = (ends - seconds(0)) // DAY
        if late:
            self._later(day + 1, lambda next_: self._finalize(one, invoice, seconds(next_) + 900))
        else:
            self._finalize(one, invoice, at + 60)

    def _subscription_line(self, item: _Object, start: int, end: int) -> _Object:
        amount = worth(item["price"]["unit_amount_decimal"], item["quantity"])
        return self._line(
            item["price"]["currency"], amount, item["quantity"], f"{item['quantity']} x {item['price']['id']}", start, end,
            {"type": "subscription_item_details", "invoice_item_details": None, "subscription_item_details": {
                "invoice_item": None, "proration": False, "proration_details": None,
                "subscription": item.get("subscription"), "subscription_item": item["id"]}},
            item["price"],
        )  # fmt: skip

    def _item_line(self, currency: str, text: str, amount: int, *, proration: bool = False) -> _Object:
        return self._line(
            currency, amount, 1, text, 0, 0,
            {"type": "invoice_item_details", "subscription_item_details": None, "invoice_item_details": {
                "invoice_item": self._id("ii", self._numbers.get("il", 0)), "proration": proration,
                "proration_details": None, "subscription": None}},
            None,
        )  # fmt: skip

    def _line(
        self, currency: str, amount: int, quantity: int, text: str, start: int, end: int, parent: _Object,
        price: _Object | None,
    ) -> _Object:  # fmt: skip
        number = self._numbers["il"] = self._numbers.get("il", 0) + 1
        pricing = None
        if price is not None:
            details = {"price": price["id"], "product": price["product"]}
            pricing = {
                "type": "price_details", "price_details": details, "unit_amount_decimal": price["unit_amount_decimal"]
            }  # fmt: skip
        return {
            "id": self._id("il", number), "object": "line_item", "amount": amount, "currency": currency,
            "description": text, "discount_amounts": [], "discountable": True, "discounts": [], "livemode": False,
            "metadata": {}, "parent": parent, "period": {"start": start, "end": end}, "pretax_credit_amounts": [],
            "pricing": pricing, "quantity": quantity, "subtotal": amount, "taxes": [],
        }  # fmt: skip

    # Invoices and what is paid on them.

    def _invoice(self, at: int, one: Subscriber, lines: list[_Object], reason: str, subscription: str | None) -> str:
        total = sum(line["amount"] for line in lines)
        parent = None
        if subscription is not None:
            details = {"metadata": {}, "subscription": subscription}
            parent = {"type": "subscription_details", "quote_details": None, "subscription_details": details}
        invoice = self._new(
            "in", "invoice", at, account_country="US", account_name=self._name, amount_due=max(total, 0), amount_paid=0,
            amount_remaining=max(total, 0), amount_shipping=0, attempt_count=0, attempted=False, auto_advance=True,
            automatic_tax={"enabled": False, "liability": None, "status": None}, billing_reason=reason,
            collection_method="charge_automatically", currency=one.currency, customer=one.customer, customer_email=None,
            customer_name=None, default_tax_rates=[], description=None, discounts=[], due_date=None, effective_at=None,
            ending_balance=None, next_payment_attempt=at + 3600, number=None, parent=parent, period_start=at,
            period_end=at, post_payment_credit_notes_amount=0, pre_payment_credit_notes_amount=0, starting_balance=0,
            status="draft", subtotal=total, total=total, total_taxes=[],
            status_transitions={
                "finalized_at": None, "marked_uncollectible_at": None, "paid_at": None, "voided_at": None
            },
        )  # fmt: skip
        for line in lines:
            line["invoice"] = invoice["id"]
        self._set_lines(invoice, lines)
        self._put(at, invoice)
        self._tell(at, "invoice.created", invoice)
        return str(invoice["id"])

    def _set_lines(self, invoice: _Object, lines: list[_Object]) -> None:
        """All its lines, in the object itself: what shows it cuts the list after ten."""
        invoice["lines"] = {
            "object": "list", "data": lines, "has_more": False, "url": f"/v1/invoices/{invoice['id']}/lines"
        }  # fmt: skip

    def _finalize(self, one: Subscriber, invoice_id: str, at: int) -> None:
        invoice = self._get(invoice_id)
        number = self._numbers["bill"] = self._numbers.get("bill", 0) + 1
        changed = {
            "status": "open", "number": f"BILL-{number:04}", "effective_at": at, "ending_balance": 0,
            "status_transitions": invoice["status_transitions"] | {"finalized_at": at},
        }  # fmt: skip
        self._change(at, invoice_id, "invoice.finalized", **changed)
        self._attempt(one, invoice_id, at + 30)

    def _attempt(self, one: Subscriber, invoice_id: str, at: int) -> None:
        invoice = self._get(invoice_id)
        amount = invoice["amount_remaining"]
        dice = Dice(self._seed, "pay", invoice_id, invoice["attempt_count"])
        failed = amount > 0 and dice.chance(0.08 if one.failures == 0 else 0.5)
        attempts = invoice["attempt_count"] + 1
        if amount > 0:
            self._charge(one, invoice_id, amount, at, failed=failed, dice=dice)
        if not failed:
            self._change(
                at, invoice_id, "invoice.paid", status="paid", amount_paid=amount, amount_remaining=0, attempted=True,
                attempt_count=attempts, next_payment_attempt=None,
                status_transitions=invoice["status_transitions"] | {"paid_at": at},
            )  # fmt: skip
            if one.failures and one.subscription and self._get(one.subscription)["status"] in {"past_due", "unpaid"}:
                self._change(at, one.subscription, "customer.subscription.updated", status="active")
            one.failures = 0
            return
        one.failures += 1
        self._change(at, invoice_id, "invoice.payment_failed", attempted=True, attempt_count=attempts)
        if one.subscription is None:
            return
        if one.failures < 3:
            self._change(at, one.subscription, "customer.subscription.updated", status="past_due")
            self._later((at // DAY) + EPOCH + 3, lambda day: self._attempt(one, invoice_id, seconds(day) + 36_000))
        else:
            transitions = self._get(invoice_id)["status_transitions"] | {"marked_uncollectible_at": at}
            self._change(
                at, invoice_id, "invoice.marked_uncollectible", status="uncollectible", status_transitions=transitions
            )
            if one.number % 2:
                self._change(at, one.subscription, "customer.subscription.updated", status="unpaid")
                one.renews = 10**9
            else:
                self._end(one, at)

    def _charge(self, one: Subscriber, invoice: str, amount: int, at: int, *, failed: bool, dice: Dice) -> None:
        charge = self._new(
            "ch", "charge", at, amount=amount, amount_captured=0 if failed else amount, amount_refunded=0,
            application=None, application_fee=None, application_fee_amount=None, balance_transaction=None,
            billing_details={"address": None, "email": None, "name": None, "phone": None}, captured=not failed,
            currency=one.currency, customer=one.customer, description="Subscription", disputed=False,
            failure_balance_transaction=None, failure_code="card_declined" if failed else None,
            failure_message="Your card was declined." if failed else None, fraud_details={}, on_behalf_of=None,
            outcome={"type": "issuer_declined" if failed else "authorized"}, paid=not failed, payment_intent=None,
            payment_method=None, receipt_email=None, receipt_url=None, refunded=False, shipping=None,
            statement_descriptor=None, status="failed" if failed else "succeeded", transfer_data=None,
            transfer_group=None,
        )  # fmt: skip
        if failed:
            self._put(at, charge)
            self._tell(at, "charge.failed", charge)
            return
        fee = amount * 29 // 1000 + 3 * _UNIT[one.currency] // 10
        charge["balance_transaction"] = self._move(at, one.currency, amount, fee, "charge", charge["id"], days=3)
        self._put(at, charge)
        self._tell(at, "charge.succeeded", charge)
        day = at // DAY + EPOCH
        if dice.chance(0.05):
            part = amount if dice.chance(0.5) else amount // 3
            self._later(day + dice.between(2, 9), lambda on: self._refund(charge["id"], part, seconds(on) + 50_000))
        elif dice.chance(0.03):
            self._later(day + dice.between(8, 14), lambda on: self._dispute(charge["id"], seconds(on) + 52_000))
        if dice.chance(0.04):
            self._later(day + 1, lambda on: self._credit(one, invoice, seconds(on) + 54_000))

    def _move(self, at: int, currency: str, amount: int, fee: int, type_: str, source: str, *, days: int = 0) -> str:
        details = [
            {
                "amount": fee, "application": None, "currency": currency, "description": "Stripe processing fees",
                "type": "stripe_fee",
            }
        ]  # fmt: skip
        category = {"adjustment": "dispute"}.get(type_, type_)
        move = self._new(
            "txn", "balance_transaction", at, amount=amount, available_on=(at // DAY + days) * DAY,
            balance_type="payments", currency=currency, description=None, exchange_rate=None, fee=fee,
            fee_details=details if fee else [], net=amount - fee, reporting_category=category, source=source,
            status="pending" if days else "available", type=type_,
        )  # fmt: skip
        del move["livemode"], move["metadata"]
        self._put(at, move)
        if days:
            # It becomes available without a word: no event tells it.
            self._put(move["available_on"] + 60, move | {"status": "available"})
        if type_ != "payout":
            self._unsettled[currency].append((move["available_on"], move["id"]))
        return str(move["id"])

    def _refund(self, charge_id: str, amount: int, at: int) -> None:
        charge = self._get(charge_id)
        if charge["disputed"]:
            return
        refund = self._new(
            "re", "refund", at, amount=amount, balance_transaction=None, charge=charge_id, currency=charge["currency"],
            destination_details=None, payment_intent=None, reason="requested_by_customer", receipt_number=None,
            source_transfer_reversal=None, status="pending", transfer_reversal=None,
        )  # fmt: skip
        refund["balance_transaction"] = self._move(at, charge["currency"], -amount, 0, "refund", refund["id"])
        self._put(at, refund)
        self._tell(at, "refund.created", refund)
        self._change(at, charge_id, "charge.refunded", amount_refunded=amount, refunded=amount == charge["amount"])

        def arrive(on: int) -> None:
            self._change(seconds(on) + 100, refund["id"], "refund.updated", status="succeeded")

        self._later(at // DAY + EPOCH + 1, arrive)

    def _dispute(self, charge_id: str, at: int) -> None:
        charge = self._get(charge_id)
        if charge["amount_refunded"]:
            return
        dispute = self._new(
            "dp", "dispute", at, amount=charge["amount"], balance_transactions=[], charge=charge_id,
            currency=charge["currency"], evidence={}, evidence_details={"due_by": at + 9 * DAY, "has_evidence": False},
            is_charge_refundable=False, payment_intent=None, reason="fraudulent", status="needs_response",
        )  # fmt: skip
        move = self._move(
            at, charge["currency"], -charge["amount"], 15 * _UNIT[charge["currency"]], "adjustment", dispute["id"]
        )
        dispute["balance_transactions"] = [self._get(move)]
        self._put(at, dispute)
        self._tell(at, "charge.dispute.created", dispute)
        # Who disputes tells nothing of the charge: it is another object now, and has no event.
        self._put(at, charge | {"disputed": True})
        won = Dice(self._seed, "dispute", dispute["id"]).chance(0.5)
        self._later(at // DAY + EPOCH + 12, lambda on: self._settle(dispute["id"], seconds(on) + 40_000, won=won))

    def _settle(self, dispute_id: str, at: int, *, won: bool) -> None:
        dispute = self._get(dispute_id)
        moves = dispute["balance_transactions"]
        if won:
            back = self._move(at, dispute["currency"], dispute["amount"], 0, "adjustment", dispute_id)
            moves = [*moves, self._get(back)]
        self._change(
            at, dispute_id, "charge.dispute.closed", status="won" if won else "lost", balance_transactions=moves
        )

    def _credit(self, one: Subscriber, invoice_id: str, at: int) -> None:
        invoice = self._get(invoice_id)
        if invoice["status"] != "paid":
            return
        amount = max(invoice["total"] // 10, 1)
        number = self._numbers.get("cn", 0) + 1
        note = self._new(
            "cn", "credit_note", at, amount=amount, amount_shipping=0, currency=invoice["currency"],
            customer=one.customer, customer_balance_transaction=None, discount_amount=0, discount_amounts=[],
            effective_at=at, invoice=invoice_id, memo=None, number=f"{invoice['number']}-CN-{number:02}",
            out_of_band_amount=amount, pdf=None, post_payment_amount=amount, pre_payment_amount=0, reason=None,
            refunds=[], status="issued", subtotal=amount, total=amount, total_taxes=[], type="post_payment",
            voided_at=None,
        )  # fmt: skip
        line = {
            "id": self._id("cnli", number), "object": "credit_note_line_item", "amount": amount,
            "description": "Goodwill", "discount_amount": 0, "discount_amounts": [], "livemode": False, "quantity": 1,
            "tax_rates": [], "taxes": [], "type": "custom_line_item", "unit_amount": amount,
            "unit_amount_decimal": str(amount),
        }  # fmt: skip
        note["lines"] = {
            "object": "list", "data": [line], "has_more": False, "url": f"/v1/credit_notes/{note['id']}/lines"
        }  # fmt: skip
        self._put(at, note)
        self._tell(at, "credit_note.created", note)
        self._put(at, invoice | {"post_payment_credit_notes_amount": amount})

    def _pay_out(self, currency: str, day: int) -> None:
        at = seconds(day) + 6 * 3600
        due = [one for one in self._unsettled[currency] if one[0] <= at]
        amount = sum(self._get(move)["net"] for _, move in due)
        if amount <= 0:
            return
        self._unsettled[currency] = [one for one in self._unsettled[currency] if one[0] > at]
        payout = self._new(
            "po", "payout", at, amount=amount, application_fee=None, application_fee_amount=None,
            arrival_date=seconds(day + 2), automatic=True, balance_transaction=None, currency=currency,
            description="STRIPE PAYOUT", destination=None, failure_balance_transaction=None, failure_code=None,
            failure_message=None, method="standard", original_payout=None, reconciliation_status="completed",
            reversed_by=None, source_type="card", statement_descriptor=None, status="in_transit", type="bank_account",
        )  # fmt: skip
        payout["balance_transaction"] = self._move(at, currency, -amount, 0, "payout", payout["id"])
        self._put(at, payout)
        self._tell(at, "payout.created", payout)
        fails = Dice(self._seed, "payout", payout["id"]).chance(0.06)

        def arrive(on: int) -> None:
            self._change(seconds(on) + 7000, payout["id"], "payout.paid", status="paid")
            if fails:
                self._later(on + 1, fail)

        def fail(on: int) -> None:
            back = self._move(seconds(on) + 7000, currency, amount, 0, "payout_failure", payout["id"])
            self._change(
                seconds(on) + 7000, payout["id"], "payout.failed", status="failed", failure_code="account_closed",
                failure_message="The bank account has been closed.", failure_balance_transaction=back,
            )  # fmt: skip

        self._later(day + 2, arrive)

    # What subscribers do.

    def _act(self, one: Subscriber, action: str, day: int) -> None:
        at = seconds(day) + 14 * 3600 + one.number
        if action == "return":
            self._subscribe(one, day, at)
            return
        if action == "delete":
            customer = self._get(one.customer)
            self._put(at, {"id": one.customer, "object": "customer", "deleted": True})
            self._tell(at, "customer.deleted", customer)
            return
        if one.subscription is None:
            return
        subscription = self._get(one.subscription)
        items = copy.deepcopy(subscription["items"])
        first = items["data"][0]
        match action:
            case "upgrade" | "downgrade" | "seats":
                if action == "seats":
                    first["quantity"] += 3
                else:
                    recurring = first["price"]["recurring"]
                    plan = "Business" if action == "upgrade" else "Starter"
                    key = (plan, one.currency, recurring["interval"], recurring["interval_count"])
                    first["price"] = self._get(self._prices[key])
                    first["quantity"] += action == "upgrade"
                self._change(at, subscription["id"], "customer.subscription.updated", items=items)
                lines = [
                    self._item_line(one.currency, "Unused time", -_UNIT[one.currency] * 3, proration=True),
                    self._item_line(one.currency, "Remaining time", _UNIT[one.currency] * 7, proration=True),
                ]
                invoice = self._invoice(at, one, lines, "subscription_update", subscription["id"])
                self._finalize(one, invoice, at + 5)
            case "cancel":
                self._change(
                    at, subscription["id"], "customer.subscription.updated", cancel_at_period_end=True, canceled_at=at,
                    cancel_at=first["current_period_end"],
                )  # fmt: skip
            case _:
                self._end(one, at)

    def _end(self, one: Subscriber, at: int) -> None:
        assert one.subscription is not None
        subscription = self._get(one.subscription)
        self._change(
            at, one.subscription, "customer.subscription.deleted", status="canceled", ended_at=at,
            canceled_at=subscription["canceled_at"] or at,
        )  # fmt: skip
        one.subscription = None

    def _draft(self, day: int, dice: Dice) -> None:
        """A draft that loses lines the next day, and is deleted the day after."""
        one = dice.pick(self._subscribers)
        if self.at(one.customer, seconds(day + 1)) is None or "deleted" in self._get(one.customer):
            return
        lines = [self._item_line(one.currency, f"Hour {n + 1}", _UNIT[one.currency] * 80) for n in range(12)]
        invoice_id = self._invoice(seconds(day) + 60_000, one, lines, "manual", None)

        def shorten(on: int) -> None:
            invoice = self._get(invoice_id)
            lines = invoice["lines"]["data"][:-4]
            total = sum(line["amount"] for line in lines)
            previous = {"total": invoice["total"]}
            self._set_lines(invoice, lines)
            invoice |= {"subtotal": total, "total": total, "amount_due": total, "amount_remaining": total}
            self._put(seconds(on) + 30_000, invoice)
            self._tell(seconds(on) + 30_000, "invoice.updated", invoice, previous)

        def delete(on: int) -> None:
            invoice = self._get(invoice_id)
            self.versions[invoice_id].append(Version(seconds(on) + 30_000, None))
            self._tell(seconds(on) + 30_000, "invoice.deleted", invoice)

        self._later(day + 1, shorten)
        self._later(day + 2, delete)


def seconds(day: int) -> int:
    """The Unix time at which an ordinal day begins, UTC."""
    return (day - EPOCH) * DAY


def _next(at: int, interval: str, count: int) -> int:
    """When a period ends that begins at a time: its months have 30 days."""
    return at + {"week": 7, "month": 30, "year": 365}[interval] * count * DAY


def worth(unit: str, quantity: int) -> int:
    """A unit price, decimal text of smallest units, times a quantity: whole units, half up."""
    whole, _, part = unit.partition(".")
    scale: int = 10 ** len(part)
    return (int(whole + part) * quantity * 2 + scale) // (2 * scale)


def cut(value: _Object) -> _Object:
    """An object as it is shown: of a list within it no more than the first ten."""
    for field in ("lines", "items"):
        nested = value.get(field)
        if isinstance(nested, dict) and len(nested["data"]) > EMBEDDED:
            value = value | {field: nested | {"data": nested["data"][:EMBEDDED], "has_more": True}}
    return value
