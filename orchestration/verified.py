"""The checks `verified`: what the last verification says of each raw stream and each model, with links to its findings.

They are evaluated from what verifications left in the store, so each can be run alone at any time and costs a query: by
the job `look` every hour, which notices a verification that did not run, and by the step `verify` of the daily pass,
which tells of all of them itself. They are no step of the daily job: a check is skipped with the asset that it is on,
and on a day on which nothing is built all must be verified all the same.

Belongs here: which findings concern which asset, and what its check says. Does not belong here: how it is verified
(``ledgerlake.integrity``), the step that verifies (``audit``).
"""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

import dagster as dg

from ledgerlake.errors import LedgerlakeError
from ledgerlake.integrity import STREAMS, WRONG, Findings, StoredFinding, Stream, completeness
from ledgerlake.settings import Settings
from ledgerlake.store import Store
from orchestration.engine import Engine
from orchestration.streams import stream_key

CHECK = "verified"

_STAYING: tuple[Literal["open", "acknowledged", "repairing", "muted"], ...] = (
    "open",
    "acknowledged",
    "repairing",
    "muted",
)
_SEVERE = frozenset({"high", "critical"})
_RAW_STEPS = frozenset({"source", "receipts", "raw"})
_LAYERS = {"staging": "staging", "intermediate": "intermediate", "main": "marts"}
_MOST = 50


@dataclass(frozen=True)
class Counts:
    """Records in their classes, each in one."""

    compared: int = 0
    matched: int = 0
    missing: int = 0
    unexpected: int = 0
    duplicate: int = 0
    mismatched: int = 0
    late: int = 0
    excluded: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


@dataclass(frozen=True)
class Evidence:
    """What verifications left in the store.

    Attributes:
        ended_at: when one of all connections last came to its end.
        trouble: why nothing can be said now: none ended for too long, or the last one broke off.
        connections: how many there are, by provider.
        counts: by provider, stream and step, of each connection by the last verification that looked at it.
        findings: those that are not resolved, the most severe first.
    """

    ended_at: dt.datetime | None
    trouble: str | None
    connections: Mapping[str, int]
    counts: Mapping[tuple[str, str, str], Counts]
    findings: tuple[StoredFinding, ...]


@dataclass(frozen=True)
class Verdict:
    """What a check says."""

    passed: bool
    severity: dg.AssetCheckSeverity
    description: str
    metadata: Mapping[str, dg.MetadataValue] = field(default_factory=dict)


class Places:
    """The assets that have the check, and which findings concern them.

    Args:
        models: the specs of all models: their dependencies are the way that records go.
    """

    def __init__(self, models: Iterable[dg.AssetSpec]) -> None:
        self._streams = {stream_key(one.provider, one.name): one for one in STREAMS}
        self._reads = {
            spec.key: frozenset(dep.asset_key for dep in spec.deps) for spec in models if spec.key.path[0] in _LAYERS
        }
        self._above = {key: frozenset(self._climb(key)) for key in self._reads}

    @property
    def keys(self) -> list[dg.AssetKey]:
        return [*self._streams, *self._reads]

    def judge(self, key: dg.AssetKey, evidence: Evidence, console_url: str | None) -> Verdict:
        """What its check says, by that evidence. It passes only where something was compared, and nothing is open."""
        streams = self._streams_of(key)
        steps = {step: self._counted(key, streams, evidence, step) for step in self._steps_of(key)}
        own = [one for one in evidence.findings if self._is_at(one, key)]
        above = [one for one in evidence.findings if one not in own and self._reaches(one, key)]
        metadata = _metadata(steps, own, above, evidence, console_url)
        severity, passed, description = self._said(key, streams, evidence, steps, own, above)
        return Verdict(passed, severity, description, metadata)

    def _said(
        self,
        key: dg.AssetKey,
        streams: Collection[Stream],
        evidence: Evidence,
        steps: Mapping[str, Counts | None],
        own: Sequence[StoredFinding],
        above: Sequence[StoredFinding],
    ) -> tuple[dg.AssetCheckSeverity, bool, str]:
        error, warn = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
        providers = sorted({one.provider for one in streams})
        if not any(evidence.connections.values()):
            return warn, False, "There is no connection yet: nothing could be compared."
        if evidence.trouble is not None:
            return error, False, evidence.trouble
        if own:
            severe = any(one.severity in _SEVERE and one.state != "muted" for one in own)
            return error if severe else warn, False, _sentence(own)
        if above:
            return warn, False, f"What it is made of has findings. {_sentence(above)}"
        if providers and not any(evidence.connections.get(one) for one in providers):
            named = ", ".join(providers)
            return warn, False, f"There is no connection of {named}: nothing could be compared."
        if streams and all(one is None for one in self._raw(streams, evidence)):
            return warn, False, "No record of it was ever read: nothing could be compared."
        counts = list(steps.values())
        expected = sum((one for one in self._raw(streams, evidence) if one is not None), Counts()).compared
        if key in self._reads and expected and counts and all(one is None for one in counts):
            return error, False, f"{expected:,} records of it are in the store, and none was compared here."
        compared = max((one.compared for one in counts if one is not None), default=0)
        if not streams:
            return warn, True, "No records of a provider go through it; its published files are whole."
        return error, True, f"{compared:,} records compared, and nothing was lost."

    def _steps_of(self, key: dg.AssetKey) -> tuple[str, ...]:
        if key in self._streams:
            return ("source", "raw")
        return ("staging",) if key.path[0] == "staging" else ("marts",)

    def _streams_of(self, key: dg.AssetKey) -> list[Stream]:
        """The streams whose records go through it."""
        if key in self._streams:
            return [self._streams[key]]
        return [self._streams[one] for one in sorted(self._above[key] & self._streams.keys())]

    def _counted(self, key: dg.AssetKey, streams: Iterable[Stream], evidence: Evidence, step: str) -> Counts | None:
        """Of a mart that streams end in those streams alone; of other models of all that go through them."""
        ending = [one for one in streams if one.mart is not None and one.mart.model == key.path[-1]]
        wanted = ending or [one for one in streams if step != "marts" or one.mart is not None]
        found = [evidence.counts.get((one.provider, one.name, step)) for one in wanted]
        known = [one for one in found if one is not None]
        return sum(known, Counts()) if known else None

    def _raw(self, streams: Iterable[Stream], evidence: Evidence) -> list[Counts | None]:
        return [evidence.counts.get((one.provider, one.name, "raw")) for one in streams]

    def _is_at(self, finding: StoredFinding, key: dg.AssetKey) -> bool:
        """Whether the finding is of this asset itself."""
        if finding.model is not None:
            return key in self._reads and key.path[-1] == finding.model
        of = [one for one in self._streams_of(key) if finding.provider in (None, one.provider)]
        here = any(finding.stream in (None, one.name) for one in of)
        if finding.step in _RAW_STEPS:
            return key in self._streams and here
        if key in self._streams:
            return False
        everywhere = finding.provider is None and finding.stream is None
        return (here or everywhere) and finding.step in ("published", _LAYERS[key.path[0]])

    def _reaches(self, finding: StoredFinding, key: dg.AssetKey) -> bool:
        """Whether it is of something that this asset is made of, and tells that records are wrong, or not compared."""
        unknown = finding.kind == "not_compared" and finding.step != "source"
        if key not in self._reads or not (finding.kind in WRONG or unknown):
            return False
        return any(self._is_at(finding, one) for one in self._above[key] if one in self._reads or one in self._streams)

    def _climb(self, key: dg.AssetKey) -> Iterator[dg.AssetKey]:
        seen: set[dg.AssetKey] = set()
        waiting = list(self._reads[key])
        while waiting:
            one = waiting.pop()
            if one not in seen:
                seen.add(one)
                yield one
                waiting += self._reads.get(one, ())


def evidence_of(store: Store, settings: Settings, now: dt.datetime | None = None) -> Evidence:
    """What the store says of verifications, as of now."""
    now = now or dt.datetime.now(dt.UTC)
    with store.connect() as postgres, postgres.transaction():
        postgres.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connections = postgres.execute("SELECT provider, count(*) FROM ledgerlake.connections GROUP BY 1").fetchall()
        row = postgres.execute(
            """
            SELECT (SELECT max(ended_at) FROM ledgerlake.verifications WHERE connections IS NULL AND error IS NULL),
                   (SELECT error FROM ledgerlake.verifications
                    WHERE connections IS NULL AND ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT 1)
            """
        ).fetchone()
        counts = postgres.execute(
            """
            WITH last AS (
                SELECT DISTINCT ON (connection_id) connection_id, provider, verification_id
                FROM ledgerlake.connections
                JOIN ledgerlake.verifications ON verifications.connections IS NULL OR connection_id = ANY(verifications.connections)
                WHERE verifications.ended_at IS NOT NULL AND verifications.error IS NULL
                ORDER BY connection_id, verifications.ended_at DESC
            )
            SELECT provider, stream, step, sum(compared)::bigint, sum(matched)::bigint, sum(missing)::bigint,
                   sum(unexpected)::bigint, sum(duplicate)::bigint, sum(mismatched)::bigint, sum(late)::bigint,
                   sum(excluded)::bigint
            FROM last JOIN ledgerlake.verification_results USING (connection_id, verification_id)
            GROUP BY 1, 2, 3
            """
        ).fetchall()
    ended_at, error = row or (None, None)
    return Evidence(
        ended_at,
        _trouble(ended_at, error, settings, now),
        {provider: int(count) for provider, count in connections},
        {(provider, stream, step): Counts(*classes) for provider, stream, step, *classes in counts},
        tuple(Findings(store, settings).listed(states=_STAYING)),
    )


def _trouble(ended_at: dt.datetime | None, error: str | None, settings: Settings, now: dt.datetime) -> str | None:
    if error is not None:
        return f"The last verification broke off: {error}"
    if ended_at is None:
        return "No verification has come to its end yet: nothing was compared."
    if now - ended_at > dt.timedelta(hours=settings.verify_hours):
        return (
            f"The last verification ended at {ended_at:%Y-%m-%d %H:%M} UTC, expected one every {settings.verify_hours} hours: "
            "run `ledgerlake verify`, and look why the daily job did not."
        )
    return None


def evaluations(places: Places, evidence: Evidence, settings: Settings) -> Iterator[dg.AssetCheckEvaluation]:
    """What every check says."""
    for key in places.keys:
        said = places.judge(key, evidence, settings.console_url)
        yield dg.AssetCheckEvaluation(
            key, CHECK, said.passed, said.metadata, severity=said.severity, description=said.description
        )


def failed(places: Places, sentence: str) -> Iterator[dg.AssetCheckEvaluation]:
    """What every check says when nothing could be verified."""
    for key in places.keys:
        yield dg.AssetCheckEvaluation(key, CHECK, False, severity=dg.AssetCheckSeverity.ERROR, description=sentence)


def build_verified(places: Places, buckets: int) -> dg.AssetChecksDefinition:
    """The checks as a step of their own, which reads the store alone."""
    specs = [
        dg.AssetCheckSpec(
            CHECK,
            asset=key,
            description="By the last verification, every record was compared here, and nothing was lost, doubled or altered.",
        )
        for key in places.keys
    ]

    @dg.multi_asset_check(
        name="look_at_verification",
        specs=specs,
        can_subset=True,
        description="Tells of each stream and model what the last verification found; verifies nothing itself.",
    )
    def look_at_verification(
        context: dg.AssetCheckExecutionContext, engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.AssetCheckResult]:
        wanted = context.selected_asset_check_keys
        console_url = None
        evidence: Evidence | None = None
        trouble = ""
        try:
            with engine.open(buckets=buckets) as opened:
                evidence, console_url = evidence_of(opened.store, opened.settings), opened.settings.console_url
        except LedgerlakeError as error:
            trouble = f"It cannot be told what was verified: {error}"
        for spec in specs:
            if spec.key in wanted:
                said = (
                    places.judge(spec.asset_key, evidence, console_url)
                    if evidence is not None
                    else Verdict(False, dg.AssetCheckSeverity.ERROR, trouble)
                )
                yield dg.AssetCheckResult(
                    asset_key=spec.asset_key,
                    check_name=CHECK,
                    passed=said.passed,
                    severity=said.severity,
                    description=said.description,
                    metadata=said.metadata,
                )

    return look_at_verification


def _sentence(findings: Sequence[StoredFinding]) -> str:
    kinds = Counter(one.kind for one in findings)
    return (
        "Findings: "
        + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        + f". The first: {findings[0].message}"
    )


def _metadata(
    steps: Mapping[str, Counts | None],
    own: Sequence[StoredFinding],
    above: Sequence[StoredFinding],
    evidence: Evidence,
    console_url: str | None,
) -> dict[str, dg.MetadataValue]:
    """The numbers of the last step under the same names in every run, so that the UI plots them."""
    shown: dict[str, dg.MetadataValue] = {}
    if evidence.ended_at is not None:
        shown["verified_at"] = dg.MetadataValue.timestamp(evidence.ended_at)
    known = {step: one for step, one in steps.items() if one is not None}
    if known:
        last = list(known.values())[-1]
        shown |= {one.name: dg.MetadataValue.int(getattr(last, one.name)) for one in fields(last)}
        whole = completeness(last.compared, last.missing, last.late)
        if whole is not None:
            shown["completeness_per_mille"] = dg.MetadataValue.float(float(whole))
    if "source" in known and "raw" in known:
        shown["compared_with_the_source"] = dg.MetadataValue.int(known["source"].compared)
        shown["missing_of_the_source"] = dg.MetadataValue.int(known["source"].missing)
    for name, found in (("findings", own), ("findings_before_it", above)):
        if found:
            shown[name] = dg.MetadataValue.md(table(found, console_url))
    return shown


def table(findings: Sequence[StoredFinding], console_url: str | None) -> str:
    """Findings as a Markdown table, each a link to its page where the console's address is known."""
    rows = ["| finding | severity | state | kind | step | records | what |", "|---|---|---|---|---|---:|---|"]
    rows += [
        f"| {_link(one.finding_id, console_url)} | {one.severity} | {one.state} | {one.kind} | {one.model or one.step} "
        f"| {one.records} | {_cell(one.message)} |"
        for one in findings[:_MOST]
    ]
    if len(findings) > _MOST:
        rows.append(f"| and {len(findings) - _MOST} more | | | | | | |")
    return "\n".join(rows)


def _link(finding_id: int, console_url: str | None) -> str:
    if console_url is None:
        return f"{finding_id}: `ledgerlake findings show {finding_id}`"
    return f"[{finding_id}]({console_url}/integrity/{finding_id})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
