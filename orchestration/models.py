"""The dbt models and the published snapshot as assets: one step that builds, audits and publishes some buckets.

Lineage, descriptions, columns and tests come from dbt's manifest through dagster-dbt; the work is the engine's own
build, the same as the command line's, so a build of Dagster's and one of a person cannot differ.
Does not belong here: how a build works (``ledgerlake.lake``).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator

from ledgerlake.lake import BuildReport, File, Lake, ModelResult, Progress, Snapshot
from orchestration import runs
from orchestration.engine import Engine

SNAPSHOT = dg.AssetKey(["lake", "snapshot"])

_LAYERS = {"staging": "staging", "intermediate": "intermediate", "main": "marts"}
_UNCHANGED = "Nothing changed: every bucket is published as the store and the models say. Nothing was built."


class BuildConfig(dg.Config):
    """What of its partitions a run builds; by default all of them."""

    changed: bool = False
    """Only the buckets that changed."""
    buckets: list[int] | None = None
    """Only these buckets: a run has a range of partitions, which need not be without gaps."""


class Translator(DagsterDbtTranslator):
    """How a node of dbt is named and shown in Dagster."""

    def __init__(self, partitions: dg.PartitionsDefinition[str]) -> None:
        super().__init__()
        self._partitions = partitions

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Schema and name, as SQL knows the table."""
        return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        schema = str(dbt_resource_props["schema"])
        return _LAYERS.get(schema, schema)

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """dbt's description alone: the SQL is one click away, and long."""
        return str(dbt_resource_props["description"]).strip()

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        table = f"{dbt_resource_props['schema']}.{dbt_resource_props['name']}"
        columns = [
            dg.TableColumn(column["name"], column.get("data_type") or "?", column.get("description"))
            for column in dbt_resource_props["columns"].values()
        ]
        return {
            "dagster/table_name": table,
            "dagster/column_schema": dg.TableSchema(columns),
            "code": dg.MetadataValue.path(f"dbt_project/{dbt_resource_props['original_file_path']}"),
        }

    def get_tags(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, str]:
        return {"layer": self.get_group_name(dbt_resource_props)}

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        return list(runs.OWNERS)

    def get_partitions_def(self, dbt_resource_props: Mapping[str, Any]) -> dg.PartitionsDefinition[str] | None:
        """Buckets, but for a model over all customers."""
        bucketed = dbt_resource_props.get("config", {}).get("bucketed", True)
        return self._partitions if dbt_resource_props["resource_type"] == "model" and bucketed else None


def partitions_of(buckets: int) -> dg.StaticPartitionsDefinition:
    """A partition a bucket."""
    return dg.StaticPartitionsDefinition([str(bucket) for bucket in range(buckets)])


def build_model_assets(manifest: Mapping[str, Any], buckets: int) -> dg.AssetsDefinition:
    """Every model of the manifest with its tests as checks, and the snapshot they are published in."""
    translator = Translator(partitions_of(buckets))
    specs = {
        node["name"]: _spec(translator, manifest, unique_id)
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] == "model"
    }
    by_key = {spec.key: spec for spec in specs.values()}
    read = {dep.asset_key for spec in specs.values() for dep in spec.deps}
    checks = dict(_checks(translator, manifest, by_key))
    snapshot = dg.AssetSpec(
        SNAPSHOT,
        # Every model is published: those that another one reads stand behind it.
        deps=[key for key in by_key if key not in read],
        description="One commit of the lake: all tables of a build become visible together, after the audit.",
        group_name="lake",
        kinds={"ducklake", "parquet", "s3"},
        owners=list(runs.OWNERS),
        tags={"layer": "lake"},
        skippable=True,
    )

    @dg.multi_asset(
        name="build",
        specs=[*specs.values(), snapshot],
        check_specs=list(checks.values()),
        can_subset=True,
        pool=runs.BUILD_POOL,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description="Builds, audits and publishes the buckets of the run's partitions, or those of them that changed.",
    )
    def build(
        context: dg.AssetExecutionContext, config: BuildConfig, engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.MaterializeResult[object] | dg.AssetCheckResult]:
        seen = _Seen(engine)
        with runs.failures(context), engine.open(buckets=buckets) as opened:
            lake = opened.lake
            try:
                report = lake.build(_chosen(context, config, lake), _select(context, specs), seen)
            finally:
                # Also those of a failed audit: it is they who say what is wrong.
                results = list(_check_results(seen.tests.values(), checks))
                selected = context.selected_asset_check_keys
                yield from (one for one in results if dg.AssetCheckKey(_key(one), _name(one)) in selected)
            engine.watcher.built(report)
            location = opened.where.s3.url
            standing = next(iter(lake.snapshots()), None) if report.snapshot is None else None
        if report.snapshot is None:
            # The same data version says that nothing is new; without an event, no step after this one would run.
            context.log.info(_UNCHANGED)
            if standing is not None and SNAPSHOT in context.selected_asset_keys:
                yield _standing(standing, report)
            return
        for model in report.models:
            spec = specs[model.name]
            for file in model.files:
                metadata = _file_metadata(file, model, report)
                if file.bucket is None:
                    yield dg.MaterializeResult(asset_key=spec.key, metadata=metadata)
                else:
                    # A result would stand for every partition of the run; an event stands for the one that was built.
                    context.log_event(_materialization(spec, file.bucket, metadata))
        if SNAPSHOT in context.selected_asset_keys:
            yield dg.MaterializeResult(
                asset_key=SNAPSHOT,
                metadata=_snapshot_metadata(report, location),
                data_version=dg.DataVersion(str(report.snapshot)),
            )

    return build


def _key(result: dg.AssetCheckResult) -> dg.AssetKey:
    assert result.asset_key is not None
    return result.asset_key


def _name(result: dg.AssetCheckResult) -> str:
    assert result.check_name is not None
    return result.check_name


class _Seen:
    """Keeps the last word on each test, and passes all on to the watcher."""

    def __init__(self, engine: Engine) -> None:
        self._watcher = engine.watcher
        self.tests: dict[str, Progress] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.kind == "test" and progress.status != "started":
            self.tests[progress.name] = progress
        self._watcher.building(progress)


def _spec(translator: Translator, manifest: Mapping[str, Any], unique_id: str) -> dg.AssetSpec:
    spec = translator.get_asset_spec(manifest, unique_id, None)
    return spec.replace_attributes(kinds={"dbt", "duckdb", "parquet"}, skippable=True)


def _checks(
    translator: Translator, manifest: Mapping[str, Any], by_key: Mapping[dg.AssetKey, dg.AssetSpec]
) -> Iterator[tuple[str, dg.AssetCheckSpec]]:
    """A check for each test, on the model it is attached to, or for a test of its own on the first model it reads."""
    for unique_id, node in manifest["nodes"].items():
        if node["resource_type"] != "test":
            continue
        parents = [parent for parent in manifest["parent_map"][unique_id] if parent.startswith("model.")]
        attached = node.get("attached_node") or (parents[0] if parents else None)
        if attached is None or not attached.startswith("model."):
            continue
        key = translator.get_asset_key(manifest["nodes"][attached])
        if key not in by_key:
            continue
        severity = str(node["config"]["severity"]).lower()
        yield (
            node["name"],
            dg.AssetCheckSpec(
                node["name"],
                asset=key,
                description=_described(node),
                metadata={"severity": severity, "dbt_test": unique_id},
            ),
        )


def _described(node: Mapping[str, Any]) -> str:
    if node.get("description"):
        return str(node["description"])
    generic = (node.get("test_metadata") or {}).get("name")
    column = node.get("column_name")
    return f"{generic} of {column}" if generic and column else str(generic or node["name"])


def _chosen(context: dg.AssetExecutionContext, config: BuildConfig, lake: Lake) -> list[int]:
    """The buckets of the run's partitions, and of those only the ones its config asks for."""
    buckets = [int(key) for key in context.partition_keys]
    if config.buckets is not None:
        buckets = [bucket for bucket in buckets if bucket in config.buckets]
    if config.changed:
        dirty = set(lake.dirty())
        buckets = [bucket for bucket in buckets if bucket in dirty]
    return buckets


def _select(context: dg.AssetExecutionContext, specs: Mapping[str, dg.AssetSpec]) -> str | None:
    """dbt's selection of the models in this run; None for all. The snapshot alone stands for all of them."""
    names = [name for name, spec in specs.items() if spec.key in context.selected_asset_keys]
    return None if not names or len(names) == len(specs) else " ".join(names)


def _check_results(tests: Iterable[Progress], checks: Mapping[str, dg.AssetCheckSpec]) -> Iterator[dg.AssetCheckResult]:
    for test in tests:
        spec = checks.get(test.name)
        if spec is None or test.status == "skipped":
            continue
        yield dg.AssetCheckResult(
            asset_key=spec.asset_key,
            check_name=spec.name,
            passed=test.status == "passed",
            severity=dg.AssetCheckSeverity.WARN if test.status == "warned" else dg.AssetCheckSeverity.ERROR,
            metadata={"failing_rows": test.rows or 0, "seconds": round(test.seconds or 0.0, 3)},
        )


def _materialization(
    spec: dg.AssetSpec, bucket: int, metadata: Mapping[str, dg.MetadataValue]
) -> dg.AssetMaterialization:
    tags = {"dagster/code_version": spec.code_version} if spec.code_version else {}
    return dg.AssetMaterialization(spec.key, partition=str(bucket), metadata=metadata, tags=tags)


def _file_metadata(file: File, model: ModelResult, report: BuildReport) -> dict[str, dg.MetadataValue]:
    """A bucket's own rows; seconds are those of the whole model."""
    counted = "dagster/row_count" if file.bucket is None else "dagster/partition_row_count"
    return {
        counted: dg.MetadataValue.int(file.rows),
        "rows": dg.MetadataValue.int(file.rows),
        "rows_of_this_build": dg.MetadataValue.int(model.rows),
        "seconds": dg.MetadataValue.float(round(model.seconds, 3)),
        "file": dg.MetadataValue.path(file.path),
        "snapshot": dg.MetadataValue.int(report.snapshot or 0),
        "build": dg.MetadataValue.text(report.build_id or ""),
    }


def _standing(snapshot: Snapshot, report: BuildReport) -> dg.MaterializeResult[object]:
    return dg.MaterializeResult(
        asset_key=SNAPSHOT,
        metadata={
            "snapshot": dg.MetadataValue.int(snapshot.id),
            "build": dg.MetadataValue.text(f"none: nothing changed since {snapshot.build_id}"),
            "buckets_built": dg.MetadataValue.int(0),
            "seconds": dg.MetadataValue.float(round(report.seconds, 3)),
        },
        data_version=dg.DataVersion(str(snapshot.id)),
    )


def _snapshot_metadata(report: BuildReport, location: str) -> dict[str, dg.MetadataValue]:
    rows = "\n".join(
        f"| {model.schema}.{model.name} | {model.rows} | {len(model.files)} | {model.seconds:.2f} |"
        for model in sorted(report.models, key=lambda one: (one.schema, one.name))
    )
    return {
        "snapshot": dg.MetadataValue.int(report.snapshot or 0),
        "build": dg.MetadataValue.text(report.build_id or ""),
        "buckets_built": dg.MetadataValue.int(len(report.buckets)),
        "buckets": dg.MetadataValue.text(", ".join(map(str, report.buckets))),
        "rows": dg.MetadataValue.int(sum(model.rows for model in report.models)),
        "files": dg.MetadataValue.int(sum(len(model.files) for model in report.models)),
        "tests": dg.MetadataValue.int(len(report.tests)),
        "tests_warned": dg.MetadataValue.int(sum(test.status == "warned" for test in report.tests)),
        "seconds": dg.MetadataValue.float(round(report.seconds, 3)),
        "where": dg.MetadataValue.path(location),
        "tables": dg.MetadataValue.md(f"| table | rows | files | seconds |\n|---|---:|---:|---:|\n{rows}"),
    }
