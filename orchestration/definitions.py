"""What Dagster loads: every asset, check, job, schedule and sensor of Ledgerlake.

`build_definitions` makes them for production and for tests alike. Loading talks to no server, so the UI opens also
while PostgreSQL is down; what a run needs is opened when it runs (``engine``).
"""

from pathlib import Path

import dagster as dg

from ledgerlake.lake import PROJECT
from ledgerlake.settings import Settings, load
from orchestration.audit import build_audit, build_findings_sensor
from orchestration.checks import build_raw_checks
from orchestration.engine import Engine
from orchestration.jobs import build_jobs, build_schedules
from orchestration.manifest import load_manifest
from orchestration.models import build_model_assets
from orchestration.sensors import build_sensors
from orchestration.streams import build_sync_assets, source_specs
from orchestration.verified import Places, build_verified


def build_definitions(settings: Settings, engine: Engine, *, project: Path = PROJECT) -> dg.Definitions:
    """The definitions for a store of the settings' number of buckets, whose work `engine` does."""
    buckets = settings.buckets
    syncs = build_sync_assets(buckets)
    checks = build_raw_checks(buckets)
    models = build_model_assets(load_manifest(settings, project), buckets)
    places = Places(models.specs)
    audit, verified = build_audit(places, buckets), build_verified(places, buckets)
    jobs = build_jobs(syncs, checks, models, audit, verified, buckets)
    return dg.Definitions(
        assets=[*source_specs(), *syncs, models],
        asset_checks=[*checks, audit, verified],
        jobs=list(jobs.values()),
        schedules=build_schedules(jobs, buckets),
        sensors=[*build_sensors(jobs, buckets), build_findings_sensor(buckets)],
        resources={"engine": engine},
        executor=dg.in_process_executor,
    )


@dg.definitions
def definitions() -> dg.Definitions:
    """The definitions of this process's settings."""
    return build_definitions(load(), Engine())
