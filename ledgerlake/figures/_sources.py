"""Which kinds of source customers connect, what they add next, and who is likely to add one.

A customer has a kind of source from the first connection of that kind on. `mixes` follows the mart `source_mix`, in which
a kind ends when the last connection of it is gone; what is asked of additions looks at first connections alone.
"""
# ruff: noqa: S608 (the SQL is put together from this module's constants; every value is a parameter)

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from ledgerlake.lake import Look

KINDS: Mapping[str, str] = {
    "teller": "bank",
    "tink": "bank",
    "plaid": "bank",
    "gocardless": "bank",
    "stripe": "billing",
}
"""The kind of each provider, as `source_mix` has it."""

DAYS = 90
"""Days within which a customer adds another source, or does not, unless somebody wants to know of another number."""
MINIMUM = 10
"""Customers that must have been watched long enough before a share of them says anything."""


@dataclass(frozen=True)
class Mix:
    """How many customers had exactly that combination of kinds on a day."""

    day: dt.date
    combination: str
    customers: int


@dataclass(frozen=True)
class Customer:
    """A customer with the kinds of source ever connected, since when they are these, and the providers."""

    customer_id: str
    combination: str
    since: dt.date
    providers: str
    connections: int


@dataclass(frozen=True)
class Added:
    """How many customers, having another kind already, added this one in a month."""

    month: dt.date
    kind: str
    customers: int


@dataclass(frozen=True)
class Habit:
    """What customers with a combination added within so many days.

    Attributes:
        watched: customers who came to the combination at least so many days ago.
        added: those of them who added the kind within so many days.
        share: added / watched, in percent; None where fewer than `MINIMUM` were watched.
        median_days: from the combination to the addition, of all who ever added it.
    """

    combination: str
    kind: str
    watched: int
    added: int
    share: Decimal | None
    median_days: int | None


@dataclass(frozen=True)
class Likely:
    """A customer who may still add a kind within the days that `Habit` looks at; `share` None: unknown."""

    customer_id: str
    combination: str
    kind: str
    since: dt.date
    days_left: int
    share: Decimal | None
    watched: int


_KINDS = "kinds(provider, kind) as (values " + ", ".join(f"('{one}', '{kind}')" for one, kind in KINDS.items()) + ")"

# `entries`: each combination that a customer came to, and on which day.
_ENTRIES = f"""
with {_KINDS},
firsts as (
    select customer_id, kind, min(created_at)::date as from_day
    from dim_connections join kinds using (provider) group by all
),
entries as (
    select came.customer_id, came.from_day as since,
           string_agg(had.kind, '+' order by had.kind) as combination, list(had.kind) as had
    from (select distinct customer_id, from_day from firsts) as came
    join firsts as had on had.customer_id = came.customer_id and had.from_day <= came.from_day
    group by all
),
today as (select max(greatest(created_at, coalesce(last_synced_at, created_at)))::date as day from dim_connections),
chances as (
    select entries.*, wanted.kind, firsts.from_day as added_on, date_diff('day', since, firsts.from_day) as days
    from entries
    cross join (select distinct kind from kinds) as wanted
    left join firsts on firsts.customer_id = entries.customer_id and firsts.kind = wanted.kind
    where not list_contains(had, wanted.kind)
),
habits as (
    select combination, kind,
           count(*) filter (since + $days::integer <= today.day) as watched,
           count(*) filter (since + $days::integer <= today.day and days <= $days) as added,
           median(days)::integer as median_days
    from chances, today group by all
)
"""


def mixes(look: Look, days: int = 365) -> list[Mix]:
    """The combinations of each of the last `days` days, the oldest first."""
    rows = look.rows(
        """
        select day, combination, sum(customers)::bigint from source_mix
        where day > (select max(day) from source_mix) - $days::integer
        group by all order by day, combination
        """,
        {"days": days},
        keep=True,
    )
    return [Mix(*row) for row in rows]


def customers(look: Look) -> list[Customer]:
    """Every customer with its sources, those with the most kinds first."""
    rows = look.rows(
        f"""
        {_ENTRIES},
        providers as (
            select customer_id, string_agg(distinct provider, ', ' order by provider) as providers, count(*) as connections
            from dim_connections group by all
        )
        select customer_id, arg_max(combination, since), max(since) as latest, providers, connections
        from entries join providers using (customer_id)
        group by customer_id, providers, connections
        order by max(len(had)) desc, latest desc, customer_id
        """,
        {"days": 0},
        keep=True,
    )
    return [Customer(*row) for row in rows]


def additions(look: Look) -> list[Added]:
    """Which kinds were added by customers who had another one, month by month."""
    rows = look.rows(
        f"""
        {_ENTRIES}
        select date_trunc('month', from_day)::date as month, kind, count(*)
        from firsts
        where from_day > (select min(other.from_day) from firsts as other where other.customer_id = firsts.customer_id)
        group by all order by month, kind
        """,
        {"days": 0},
        keep=True,
    )
    return [Added(*row) for row in rows]


def habits(look: Look, days: int) -> list[Habit]:
    """Of the customers with each combination, how many added each other kind within `days` days."""
    rows = look.rows(
        f"{_ENTRIES} select combination, kind, watched, added, median_days from habits order by combination, kind",
        {"days": days},
        keep=True,
    )
    return [
        Habit(combination, kind, watched, added, _share(added, watched), median)
        for combination, kind, watched, added, median in rows
    ]


def likely(look: Look, days: int) -> list[Likely]:
    """The customers who came to their combination within the last `days` days, the likeliest first.

    The rule is the plainest that is honest: the share of the customers with the same combination who added the kind in that
    time. It knows nothing of the customer, and says "unknown" where too few were watched.
    """
    rows = look.rows(
        f"""
        {_ENTRIES}
        select customer_id, combination, kind, since, date_diff('day', today.day, since + $days::integer) as days_left,
               habits.added, habits.watched
        from chances join habits using (combination, kind), today
        where added_on is null and since + $days::integer > today.day
        qualify since = max(since) over (partition by customer_id)
        order by customer_id, kind
        """,
        {"days": days},
        keep=True,
    )
    found = [
        Likely(customer, combination, kind, since, left, _share(added, watched), watched)
        for customer, combination, kind, since, left, added, watched in rows
    ]
    return sorted(found, key=lambda one: (one.share is None, -(one.share or 0), one.days_left, one.customer_id))


def _share(added: int, watched: int) -> Decimal | None:
    return None if watched < MINIMUM else (Decimal(100 * added) / watched).quantize(Decimal("0.1"))
