"""Jobs and their schedules: what runs together, when, and before what.

Belongs here: selections, tags, priorities, hours. Does not belong here: what asks for a run by itself (``sensors``).
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from orchestration import runs
from orchestration.orders import build_repair_job
from orchestration.retention import build_retention_job

UnresolvedJob = Any
"""What `define_asset_job` returns: its class has no public name."""

NEW_FIRST = 10
BUILDS_THEN = 5
DAILY_LAST = 0

_RETRIES = {"dagster/max_retries": "2"}


def build_jobs(
    syncs: Sequence[dg.AssetsDefinition],
    checks: Sequence[dg.AssetChecksDefinition],
    models: dg.AssetsDefinition,
    audit: dg.AssetChecksDefinition,
    verified: dg.AssetChecksDefinition,
    buckets: int,
) -> dict[str, UnresolvedJob]:
    """All jobs, by name."""
    fetch = dg.AssetSelection.assets(*syncs)
    look = dg.AssetSelection.checks(*checks)
    transform = dg.AssetSelection.assets(models)
    verify = dg.AssetSelection.checks(audit)
    # Those on the assets of a selection belong to it unless they are taken out.
    told = dg.AssetSelection.checks(verified)
    specs = [spec for definition in (*syncs, models) for spec in definition.specs]
    jobs: list[UnresolvedJob] = [
        dg.define_asset_job(
            "daily",
            (fetch | look | transform | verify) - told,
            description="The daily pass: sync every connection, look at what came, build and publish what changed, verify.",
            config={"ops": {"build": {"config": {"changed": True}}}},
            tags={runs.SYNCS: "all", runs.BUILDS: "dirty", **runs.priority(DAILY_LAST), **_RETRIES},
            executor_def=dg.in_process_executor,
        ),
        dg.define_asset_job(
            "sync_connections",
            (fetch | look) - told,
            description="Sync connections, without a build.",
            tags={runs.SYNCS: "all", **runs.priority(NEW_FIRST), **_RETRIES},
            executor_def=dg.in_process_executor,
        ),
        dg.define_asset_job(
            "build_buckets",
            transform - verify - told,
            description="Build, audit and publish buckets, without a sync.",
            tags={runs.BUILDS: "chosen", **runs.priority(BUILDS_THEN), **_RETRIES},
            executor_def=dg.in_process_executor,
        ),
        dg.define_asset_job(
            "look",
            look | told,
            description="Look whether every connection's data is fresh, what is in quarantine, and what was verified.",
            executor_def=dg.in_process_executor,
        ),
        build_repair_job(buckets),
        build_retention_job(specs, buckets),
    ]
    return {job.name: job for job in jobs}


def build_schedules(jobs: dict[str, UnresolvedJob], buckets: int) -> list[dg.ScheduleDefinition]:
    """When the jobs run by themselves, in UTC as all days here are."""

    def over_all_buckets(_: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(tags=runs.partition_range(0, buckets - 1))

    running = dg.DefaultScheduleStatus.RUNNING
    return [
        dg.ScheduleDefinition(
            name="daily_schedule",
            job=jobs["daily"],
            cron_schedule="0 5 * * *",
            execution_timezone="UTC",
            execution_fn=over_all_buckets,
            default_status=running,
            description="Every morning, when banks have booked the day before.",
        ),
        dg.ScheduleDefinition(
            name="look_schedule",
            job=jobs["look"],
            cron_schedule="30 * * * *",
            execution_timezone="UTC",
            default_status=running,
            description="Every hour: also a sync that did not happen is noticed.",
        ),
        dg.ScheduleDefinition(
            name="retention_schedule",
            job=jobs["retention"],
            cron_schedule="0 3 * * *",
            execution_timezone="UTC",
            default_status=running,
            description="Every night.",
        ),
    ]
