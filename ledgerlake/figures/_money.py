"""What came in, went out and was there, month by month. Nothing is summed across currencies."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from ledgerlake.lake import Look


@dataclass(frozen=True)
class Flow:
    """A month in one currency.

    Attributes:
        closing_balance: sum of what was read of each account last in the month; None where nothing was read.
        customers: those with a transaction or a reading.
        with_balance: those of them whose balance was read.
    """

    currency: str
    month: dt.date
    inflow: Decimal
    outflow: Decimal
    net: Decimal
    closing_balance: Decimal | None
    customers: int
    with_balance: int


@dataclass(frozen=True)
class Mrr:
    """Monthly recurring revenue in one currency: starting + new + reactivation + expansion + contraction + churn = ending."""

    currency: str
    month: dt.date
    starting: Decimal
    new: Decimal
    reactivation: Decimal
    expansion: Decimal
    contraction: Decimal
    churn: Decimal
    ending: Decimal
    subscribers: int


def currencies(look: Look, customer_id: str | None = None) -> list[str]:
    """The currencies of flows and MRR, the one with the most rows first; of one customer, or of all."""
    rows = look.rows(
        """
        select currency from (
            select customer_id, currency from customer_months
            union all select customer_id, currency from customer_mrr_months
        )
        where $customer::varchar is null or customer_id = $customer
        group by currency order by count(*) desc, currency
        """,
        {"customer": customer_id},
        keep=True,
    )
    return [currency for (currency,) in rows]


def flows(look: Look, currency: str | None = None, customer_id: str | None = None) -> list[Flow]:
    """Every month of a currency, or of each: of one customer, or of all together."""
    rows = look.rows(
        """
        select currency, month, sum(inflow), sum(outflow), sum(net), sum(closing_balance),
               count(distinct customer_id), count(distinct customer_id) filter (closing_balance is not null)
        from customer_months
        where ($customer::varchar is null or customer_id = $customer)
          and ($currency::varchar is null or currency = $currency)
        group by currency, month order by currency, month
        """,
        {"customer": customer_id, "currency": currency},
        keep=True,
    )
    return [Flow(*row) for row in rows]


def mrr(look: Look, currency: str | None = None, customer_id: str | None = None) -> list[Mrr]:
    """The movements of every month of a currency, or of each: of one customer, or of all together."""
    rows = look.rows(
        """
        select currency, month, sum(starting), sum(new), sum(reactivation), sum(expansion), sum(contraction), sum(churn),
               sum(ending), sum(subscribers)::bigint
        from customer_mrr_months
        where ($customer::varchar is null or customer_id = $customer)
          and ($currency::varchar is null or currency = $currency)
        group by currency, month order by currency, month
        """,
        {"customer": customer_id, "currency": currency},
        keep=True,
    )
    return [Mrr(*row) for row in rows]
