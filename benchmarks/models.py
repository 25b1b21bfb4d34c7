"""Faults of models: one more step at the end of a model's SQL that loses, doubles or alters chosen records of one connection.

Each is restricted to the records that it names, so faults of one build do not meet: no two of them concern the same
stream of a connection. What each must be found as is worked out here from the models as the clean town has them.
Does not belong here: faults of the store and of files (``rows``).
"""

import random
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.planted import Expected, Named, Place, Planted
from benchmarks.town import Connection, Town

BANKS = ("teller", "plaid", "gocardless", "tink")
_BILLING = ("charges", "refunds", "payouts", "invoices", "subscriptions", "balance_transactions")
_LAYERS = {"staging": "staging", "intermediate": "intermediate", "marts": "main"}
_MOST = 40
"""How many records one fault concerns at most."""
_LAST = re.compile(r"\)\s*\nselect \* from (\w+)\s*$")


@dataclass(frozen=True)
class Target:
    """A model that faults are planted in: its columns, and what the key of its stream is there."""

    model: str
    layer: str
    stream: str
    key: str
    amount: str | None = None
    currency: str | None = None
    day: str | None = None

    @property
    def name(self) -> tuple[str, str]:
        return _LAYERS[self.layer], self.model


@dataclass(frozen=True)
class Row:
    """One record as a model of the clean town has it."""

    connection_id: str
    record_id: str
    account_id: str | None
    amount: Decimal | None
    currency: str | None
    hour: int | None
    """Of its time of the day where the model tells one; a bare day is its first hour."""


def _targets() -> Iterator[Target]:
    transaction, balance = "provider_transaction_id", "provider_balance_id"
    account = "provider_account_id"
    of_account = "substr(account_key, length(connection_id) + 2)"
    for provider in BANKS:
        currency = None if provider == "teller" else "currency"
        yield Target(
            f"stg_{provider}__transactions", "staging", "transactions", transaction, "amount", currency, "booked_on"
        )
        yield Target(f"stg_{provider}__accounts", "staging", "accounts", account)
    yield Target("stg_stripe__accounts", "staging", "accounts", account)
    yield Target("stg_teller__balances", "staging", "balances", balance, "ledger")
    yield Target("stg_plaid__balances", "staging", "balances", balance, "current_balance")
    yield Target("stg_tink__balances", "staging", "balances", balance, "booked")
    yield Target("stg_gocardless__balances", "staging", "balances", balance)
    yield Target("stg_teller__identity", "staging", "identity", account)
    yield Target("stg_tink__consents", "staging", "consents", "provider_consent_id")
    for stream in ("customers", "products", "prices"):
        yield Target(f"stg_stripe__{stream}", "staging", stream, f"provider_{stream.removesuffix('s')}_id")
    yield Target("int_gocardless__accounts", "intermediate", "accounts", account)
    yield Target("int_gocardless__balances", "intermediate", "balances", balance, "booked")
    yield Target(
        "int_gocardless__transactions", "intermediate", "transactions", transaction, "amount", "currency", "booked_on"
    )
    yield Target("int_accounts", "intermediate", "accounts", account, currency="currency")
    yield Target("int_balances", "intermediate", "balances", balance, "booked", "currency")
    yield Target("int_transactions", "intermediate", "transactions", transaction, "amount", "currency", "booked_on")
    yield Target("dim_accounts", "marts", "accounts", account, currency="currency")
    yield Target("fct_balances", "marts", "balances", f"{of_account} || ':' || as_of::varchar", "booked", "currency")
    yield Target("fct_transactions", "marts", "transactions", transaction, "amount", "currency", "booked_on")
    for stream in _BILLING:
        key = f"provider_{stream.removesuffix('s')}_id"
        amount = {"invoices": "total", "subscriptions": None}.get(stream, "amount")
        yield Target(f"stg_stripe__{stream}", "staging", stream, key, amount, "currency", "created_at")
        yield Target(f"int_stripe_{stream}", "intermediate", stream, key, amount, "currency", "created_at")
        yield Target(f"fct_{stream}", "marts", stream, key, amount, "currency", "created_at")


TARGETS = tuple(_targets())
_ENDS = {one.stream: one for one in TARGETS if one.layer == "marts"}


@dataclass(frozen=True)
class Fault:
    """A kind of fault: how it changes a record, `change` of the value in `column`, or else whether it keeps it."""

    name: str
    kind: str
    field: str | None
    sql: Callable[[Target, str], str]
    changes: Callable[[Row], bool]


def _filter(target: Target, which: str) -> str:
    return f"select * from {{before}} where not coalesce({which}, false)"


def _double(target: Target, which: str) -> str:
    return (
        "select before.* from {before} as before left join (select unnest([1, 2]) as time) as again "
        f"on again.time > 0 and {which}"
    )


def _value(column: Callable[[Target], str | None], change: str) -> Callable[[Target, str], str]:
    def step(target: Target, which: str) -> str:
        name = column(target)
        return f"select * replace (if({which}, {change.format(name)}, {name}) as {name}) from {{before}}"

    return step


def _shift(target: Target, which: str) -> str:
    """As one who takes midnight in UTC for a time of New York: the day before."""
    day = target.day
    moved = f"{day} - interval 5 hour" if day == "created_at" else f"({day}::timestamp - interval 5 hour)::date"
    return f"select * replace (if({which}, {moved}, {day}) as {day}) from {{before}}"


_CUT = "if({0} <> round({0}, 2), round({0}, 2), trunc({0}))::decimal(28, 8)"
FAULTS = (
    Fault("a filter in a staging model", "missing", None, _filter, lambda row: True),
    Fault("a filter in an intermediate model", "missing", None, _filter, lambda row: True),
    Fault("a filter in a mart", "missing", None, _filter, lambda row: True),
    Fault("a join that doubles rows", "duplicate", None, _double, lambda row: True),
    Fault("a wrong sign", "mismatch", "amount", _value(lambda one: one.amount, "-{}"), lambda row: bool(row.amount)),
    Fault(
        "a wrong currency",
        "mismatch",
        "currency",
        _value(lambda one: one.currency, "'XXX'"),
        lambda row: row.currency is not None,
    ),
    Fault(
        "an amount cut to two digits",
        "mismatch",
        "amount",
        _value(lambda one: one.amount, _CUT),
        lambda row: row.amount is not None and row.amount != int(row.amount),
    ),
    Fault(
        "a date shifted by a time zone",
        "mismatch",
        "day",
        _shift,
        lambda row: row.hour is not None and row.hour < 5,
    ),
)
_LAYER_OF = {
    "a filter in a staging model": "staging",
    "a filter in an intermediate model": "intermediate",
    "a filter in a mart": "marts",
}


@dataclass(frozen=True)
class Clean:
    """The rows of the clean town's models, by model and connection."""

    rows: Mapping[str, Mapping[str, Sequence[Row]]]
    months: Sequence[tuple[str, str, str]]

    @classmethod
    def of(cls, town: Town) -> "Clean":
        rows: dict[str, dict[str, list[Row]]] = {}
        with town.lake.reading() as at:
            for one in TARGETS:
                by_connection: dict[str, list[Row]] = defaultdict(list)
                if one.name in at.tables:
                    columns = {column for column, _ in at.tables[one.name].columns}
                    account = "provider_account_id" if "provider_account_id" in columns else "NULL"
                    if one.model == "fct_balances":
                        account = "substr(account_key, length(connection_id) + 2)"
                    query = f"""
                        SELECT DISTINCT connection_id, {one.key}, {account}, {one.amount or "NULL"}, {one.currency or "NULL"},
                               {one.day or "NULL"}
                        FROM {at.relation(one.name)} ORDER BY ALL
                    """
                    for connection_id, record_id, account_id, amount, currency, day in at.duck.execute(
                        query
                    ).fetchall():
                        by_connection[connection_id].append(
                            Row(connection_id, record_id, account_id, amount, currency, _hour(day))
                        )
                rows[one.model] = by_connection
            months = at.duck.execute(
                f"SELECT customer_id, month::VARCHAR, currency FROM {at.relation(('main', 'customer_months'))} ORDER BY ALL"
            ).fetchall()
        return cls(rows, months)

    def ended(self, stream: str, connection_id: str) -> Mapping[str, Row]:
        """Records of a stream that reach their mart."""
        return {row.record_id: row for row in self.rows[_ENDS[stream].model].get(connection_id, ())}

    def of_accounts(self, connection_id: str, accounts: set[str], *, ended: bool) -> set[Place]:
        """Transactions and balances of these accounts: those that reach their marts, or all."""
        found = set()
        for stream in ("transactions", "balances"):
            model = _ENDS[stream].model if ended else f"int_{stream}"
            found |= {
                (connection_id, stream, row.record_id)
                for row in self.rows[model].get(connection_id, ())
                if row.account_id in accounts
            }
        return found


def _hour(day: Any) -> int | None:
    if day is None:
        return None
    if isinstance(day, datetime):
        return day.hour
    return 0


@dataclass(frozen=True)
class Change:
    """A fault at its place: the step to add to the model, and what it must be found as."""

    model: str
    step: str
    planted: Planted


class Changes:
    """The changes of one build: draws them so that none meets another."""

    def __init__(self, clean: Clean, chance: random.Random, connections: Sequence[Connection]) -> None:
        self._clean = clean
        self._chance = chance
        self._providers = {one.connection_id: one.provider for one in connections}
        self._customers = {one.customer_id for one in connections}
        self._streams: set[tuple[str, str]] = set()
        self._findings: set[tuple[str, str, str | None]] = set()
        self.made: list[Change] = []

    def models(self) -> set[str]:
        return {one.model for one in self.made}

    def draw(self, name: str) -> bool:
        """One more fault of this name; False where none fits any more."""
        [fault] = [one for one in FAULTS if one.name == name]
        targets = [one for one in TARGETS if _LAYER_OF.get(name, one.layer) == one.layer]
        places = [(target, connection_id) for target in targets for connection_id in sorted(self._providers)]
        self._chance.shuffle(places)
        if name == "a filter in a mart" and self._chance.random() < 0.1 and self._month():
            return True
        for target, connection_id in places:
            if (fault.kind, target.model, fault.field) not in self._findings and self._is_free(target, connection_id):
                change = self._change(fault, target, connection_id)
                if change is not None:
                    self.made.append(change)
                    self._findings.add((fault.kind, target.model, fault.field))
                    self._streams.add((connection_id, target.stream))
                    return True
        return False

    def _month(self) -> bool:
        """A month that its summary lacks."""
        months = [one for one in self._clean.months if one[0] in self._customers]
        if ("missing", "customer_months", None) in self._findings or not months:
            return False
        customer, month, currency = self._chance.choice(months)
        step = (
            f"select * from {{before}} where not (customer_id = '{customer}' and month = date '{month}' "
            f"and currency = '{currency}')"
        )
        named = Named("missing", "marts", "customer_months")
        record = ("", "customer_months", f"{customer}:{month}:{currency}")
        planted = Planted("a filter in a mart", named, Expected(frozenset({record})))
        self._findings.add(("missing", "customer_months", None))
        self.made.append(Change("customer_months", step, planted))
        return True

    def _is_free(self, target: Target, connection_id: str) -> bool:
        taken = {stream for one, stream in self._streams if one == connection_id}
        if target.stream == "accounts" and self._providers[connection_id] in BANKS:
            return not taken
        return target.stream not in taken and ("accounts" not in taken or self._providers[connection_id] not in BANKS)

    def _change(self, fault: Fault, target: Target, connection_id: str) -> Change | None:
        rows = [row for row in self._clean.rows[target.model].get(connection_id, ()) if fault.changes(row)]
        if fault.kind == "mismatch":
            if getattr(target, fault.field or "") is None:
                return None
            ended = self._clean.ended(target.stream, connection_id)
            rows = [row for row in rows if row.record_id in ended]
            if target.stream == "accounts" and self._providers[connection_id] not in ("teller", "plaid"):
                return None
        if target.model == "stg_gocardless__balances" and fault.kind != "missing":
            return None
        if not rows:
            return None
        most = 1 if target.stream == "accounts" else min(_MOST, len(rows))
        chosen = self._chance.sample(rows, self._chance.randint(1, most))
        ids = ", ".join(f"'{row.record_id}'" for row in chosen)
        which = f"connection_id = '{connection_id}' and {target.key} in ({ids})"
        named = Named(fault.kind, target.layer, target.model, target.stream, fault.field)
        records = {(connection_id, target.stream, row.record_id) for row in chosen}
        if target.stream == "accounts" and target.layer != "marts" and self._providers[connection_id] in BANKS:
            records |= self._with_account(fault, connection_id, {row.record_id for row in chosen})
        return Change(target.model, fault.sql(target, which), Planted(fault.name, named, Expected(frozenset(records))))

    def _with_account(self, fault: Fault, connection_id: str, accounts: set[str]) -> set[Place]:
        """What goes wrong with its account: a currency only where the record has none of its own."""
        found = self._clean.of_accounts(connection_id, accounts, ended=fault.kind != "duplicate")
        if fault.kind == "mismatch" and self._providers[connection_id] != "teller":
            found = {one for one in found if one[1] == "balances"}
        return found


def project(base: Path, folder: Path, changes: Sequence[Change]) -> Path:
    """A copy of the project with these changes."""
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("target", "logs"))
    by_model: dict[str, list[Change]] = defaultdict(list)
    for one in changes:
        by_model[one.model].append(one)
    for model, ones in by_model.items():
        [path] = folder.rglob(f"{model}.sql")
        text = path.read_text()
        last = _LAST.search(text)
        if last is None:
            raise ValueError(f"expected {model}.sql to end in `select * from` its last step")
        before, steps = last[1], []
        for number, one in enumerate(ones):
            name = f"planted_{number}"
            steps.append(f"{name} as (\n    {one.step.format(before=before)}\n)")
            before = name
        path.write_text(f"{text[: last.start()]}),\n\n" + ",\n\n".join(steps) + f"\n\nselect * from {before}\n")
    return folder
