"""Figures: the numbers that people look at, counted from the published lake and from the store.

Belongs here: what is counted, and how. Does not belong here: charts, pages and files (``console``), what a mart says
(``dbt_project``).
"""

from ledgerlake.figures._asked import asked
from ledgerlake.figures._cost import Dear, ModelTime, SyncDay, dearest, model_days, model_times, sync_days
from ledgerlake.figures._health import (
    Budget,
    Build,
    ProviderTotal,
    Waiting,
    budgets,
    connection_counts,
    finding_counts,
    last_builds,
    provider_totals,
    waiting,
)
from ledgerlake.figures._integrity import Complete, FindingDay, completeness, finding_days
from ledgerlake.figures._money import Flow, Mrr, currencies, flows, mrr
from ledgerlake.figures._sources import (
    DAYS,
    KINDS,
    MINIMUM,
    Added,
    Customer,
    Habit,
    Likely,
    Mix,
    additions,
    customers,
    habits,
    likely,
    mixes,
)

__all__ = [
    "DAYS",
    "KINDS",
    "MINIMUM",
    "Added",
    "Budget",
    "Build",
    "Complete",
    "Customer",
    "Dear",
    "FindingDay",
    "Flow",
    "Habit",
    "Likely",
    "Mix",
    "ModelTime",
    "Mrr",
    "ProviderTotal",
    "SyncDay",
    "Waiting",
    "additions",
    "asked",
    "budgets",
    "completeness",
    "connection_counts",
    "currencies",
    "customers",
    "dearest",
    "finding_counts",
    "finding_days",
    "flows",
    "habits",
    "last_builds",
    "likely",
    "mixes",
    "model_days",
    "model_times",
    "mrr",
    "provider_totals",
    "sync_days",
    "waiting",
]
