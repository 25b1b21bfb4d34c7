"""From differences of all steps to findings: one for each cause, at the earliest step, with all records behind it.

Belongs here: what explains what. A record that raw lost is not told again at staging and marts; a transaction whose
account went wrong first belongs to the account's finding; rows of a published file that is not what it was belong to the
file's. Does not belong here: where a record goes wrong (``_trail``).
"""
# ruff: noqa: S608 (names are the project's own models and streams; values go as parameters)

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from ledgerlake.integrity._earlier import lost
from ledgerlake.integrity._published import Fault, Published
from ledgerlake.integrity._receipts import Place, Skipped, Told
from ledgerlake.integrity._report import SAMPLE, Behind, Finding, Kind, Repair, Step
from ledgerlake.integrity._steps import MONEY, Steps, Stream

_MADE_UP = Repair("person", advice="find out who wrote them, delete them from raw, then `ledgerlake build --all`")
_SHOWN = 20
"""How many models, buckets or fields a sentence names."""

# What the causes of all suspects are told by. `place` tells findings apart that are of one connection.
_COLUMNS = f"""
    seq BIGINT, kind VARCHAR, step VARCHAR, model VARCHAR, stream VARCHAR, whose VARCHAR, whose_account VARCHAR, fields VARCHAR[], fault INTEGER,
    found_at VARCHAR, of_stream VARCHAR, connection_id VARCHAR, record_id VARCHAR, account_id VARCHAR, provider VARCHAR,
    bucket SMALLINT, expected VARCHAR[], found VARCHAR[], reason VARCHAR, risk {MONEY}, risk_currency VARCHAR, dated DATE
"""


@dataclass(frozen=True)
class Cause:
    """What a finding is of, before its records are counted."""

    kind: Kind
    step: Step
    model: str | None
    stream: str | None
    connection_id: str | None
    fields: tuple[str, ...]
    fault: int | None


def causes(
    steps: Steps,
    published: Published,
    told: Mapping[Place, Told],
    skipped: Mapping[str, Skipped],
    homes: Mapping[str, tuple[str, int]],
) -> list[Finding]:
    """The findings of raw, models and the published state, of ``located``; makes ``caused``: each suspect's cause.

    `homes`: of each connection its provider and its bucket.
    """
    _upstream(steps)
    _faults(steps, published.faults)
    _raw(steps, told, skipped, homes)
    _models(steps)
    _sources(steps)
    _accounts(steps)
    return [
        *(_whole(one, told) for one in _findings(steps, published.faults)),
        *_uncovered(steps, published.faults),
        *_receipts(steps, told, skipped),
    ]


def _upstream(steps: Steps) -> None:
    duck = steps.at.duck
    duck.execute("CREATE OR REPLACE TEMP TABLE upstream (model VARCHAR, reads VARCHAR)")
    pairs = [(model, one) for model, reads in steps.graph.upstream.items() for one in reads]
    duck.execute("INSERT INTO upstream SELECT unnest(?), unnest(?)", [[one[side] for one in pairs] for side in (0, 1)])


def _faults(steps: Steps, faults: Sequence[Fault]) -> None:
    duck = steps.at.duck
    duck.execute("CREATE OR REPLACE TEMP TABLE faults (fault INTEGER, kind VARCHAR, model VARCHAR, bucket SMALLINT)")
    rows = [
        [number, fault.kind, model, bucket] for number, fault in enumerate(faults) for model, bucket in fault.places
    ]
    if rows:
        duck.executemany("INSERT INTO faults VALUES (?, ?, ?, ?)", rows)


def _raw(
    steps: Steps,
    told: Mapping[Place, Told],
    skipped: Mapping[str, Skipped],
    homes: Mapping[str, tuple[str, int]],
) -> None:
    """What is wrong in raw itself: rows that are gone, and rows that are not what they were."""
    duck = steps.at.duck
    duck.execute(f"CREATE OR REPLACE TEMP TABLE caused ({_COLUMNS})")
    duck.execute(
        "CREATE OR REPLACE TEMP TABLE gone (connection_id VARCHAR, stream VARCHAR, step VARCHAR, lacking BIGINT)"
    )
    lacking = [
        [connection_id, stream, "raw", one.lacking] for (connection_id, stream), one in told.items() if one.lacking > 0
    ]
    lacking += [[connection_id, None, "receipts", one.rows] for connection_id, one in skipped.items()]
    if lacking:
        duck.executemany("INSERT INTO gone VALUES (?, ?, ?, ?)", lacking)
    # A row that is published and that raw has not: receipts tell of it, or its receipt is gone, too.
    duck.execute(
        """
        INSERT INTO caused BY NAME
        SELECT DISTINCT ON (located.connection_id, located.stream, record_id)
               seq, 'missing' AS kind, gone.step, located.stream, located.connection_id AS whose, [] AS fields, found_at,
               located.stream AS of_stream, located.connection_id, record_id, account_id, provider, bucket, risk,
               risk_currency, dated
        FROM located
        JOIN gone ON gone.connection_id = located.connection_id AND coalesce(gone.stream, located.stream) = located.stream
        WHERE class = 'unexpected' AND NOT known
        ORDER BY gone.step <> 'raw', risk IS NULL
        """
    )
    # A row that the source names by no id is the same as a published one of its account, day and amount: told already.
    duck.execute(
        """
        DELETE FROM source_suspects WHERE (connection_id, stream, record_id) IN (
            SELECT (connection_id, stream, nameless.record_id)
            FROM (
                SELECT *, row_number() OVER (PARTITION BY connection_id, stream, account_id, dated, risk ORDER BY record_id) AS nth
                FROM source_suspects WHERE class = 'missing' AND regexp_full_match(record_id, '#[0-9]+:[0-9]+')
            ) AS nameless
            JOIN (
                SELECT *, row_number() OVER (PARTITION BY connection_id, stream, account_id, dated, risk ORDER BY record_id) AS nth
                FROM caused
            ) AS told USING (connection_id, stream, account_id, dated, risk, nth)
        )
        """
    )
    # What the source shows and receipts tell of, and raw has not any more, is gone from raw, too: no more than is lacking.
    duck.execute(
        """
        INSERT INTO caused BY NAME
        WITH candidates AS (
            SELECT source.*, gone.step,
                   row_number() OVER (PARTITION BY gone.step, source.connection_id, gone.stream ORDER BY source.record_id)
                       + count(caused.record_id) OVER (PARTITION BY gone.step, source.connection_id, gone.stream) AS place,
                   gone.lacking, caused.record_id IS NOT NULL AS is_known
            FROM (FROM source_suspects WHERE class = 'missing') AS source
            JOIN gone ON gone.connection_id = source.connection_id AND coalesce(gone.stream, source.stream) = source.stream
            LEFT JOIN caused ON caused.connection_id = source.connection_id AND caused.stream = source.stream
                AND caused.record_id = source.record_id
        )
        SELECT DISTINCT ON (connection_id, stream, record_id)
               0 AS seq, 'missing' AS kind, step, stream, connection_id AS whose, [] AS fields, 'source' AS found_at,
               stream AS of_stream, connection_id, record_id, account_id, provider, bucket, risk, risk_currency, dated
        FROM candidates WHERE NOT is_known AND place <= lacking
        ORDER BY step <> 'raw'
        """
    )
    _named_by_older_snapshots(steps, told, homes)
    # Rows that no receipt tells of came into raw from outside, after what is published was built.
    surplus = [[connection_id, stream] for (connection_id, stream), one in told.items() if one.lacking < 0]
    duck.execute("CREATE OR REPLACE TEMP TABLE surplus (connection_id VARCHAR, stream VARCHAR)")
    if surplus:
        duck.executemany("INSERT INTO surplus VALUES (?, ?)", surplus)
    duck.execute(
        """
        INSERT INTO caused BY NAME
        SELECT DISTINCT ON (connection_id, stream, record_id)
               seq, 'unexpected' AS kind, 'raw' AS step, stream, connection_id AS whose, [] AS fields, found_at,
               stream AS of_stream, connection_id, record_id, account_id, provider, bucket, risk, risk_currency, dated
        FROM located SEMI JOIN surplus USING (connection_id, stream)
        WHERE class = 'missing' AND known AND step = 'staging'
        ORDER BY found_at
        """
    )
    # Of an altered row the published one tells what it was, where it was published before; else the source.
    duck.execute(
        """
        INSERT INTO caused BY NAME
        WITH published AS (FROM located WHERE class = 'mismatch' AND found_at = 'marts'),
        source AS (FROM source_suspects WHERE class = 'mismatch')
        SELECT coalesce(published.seq, 0) AS seq, 'mismatch' AS kind, 'raw' AS step, records.stream,
               records.connection_id AS whose, coalesce(published.fields, source.fields, ['payload']) AS fields,
               'raw' AS found_at, records.stream AS of_stream, records.connection_id, records.record_id, records.account_id,
               records.provider, records.bucket, coalesce(published.found, source.expected) AS expected,
               coalesce(published.expected, source.found) AS found,
               coalesce(published.risk, source.risk, abs(records.amount)) AS risk,
               coalesce(records.currency, source.risk_currency) AS risk_currency,
               coalesce(records.day, records.record_date) AS dated
        FROM records
        LEFT JOIN published USING (connection_id, stream, record_id)
        LEFT JOIN source USING (connection_id, stream, record_id)
        WHERE NOT records.intact
        """
    )


def _named_by_older_snapshots(steps: Steps, told: Mapping[Place, Told], homes: Mapping[str, tuple[str, int]]) -> None:
    """Rows that raw lacks, and that neither the newest snapshot nor the source names."""
    duck = steps.at.duck
    known = {
        (connection_id, stream): count
        for connection_id, stream, count in duck.execute(
            "SELECT whose, stream, count(*) FROM caused WHERE step = 'raw' AND kind = 'missing' GROUP BY ALL"
        ).fetchall()
    }
    for (connection_id, name), one in told.items():
        lacking = one.lacking - known.get((connection_id, name), 0)
        if lacking <= 0 or connection_id not in homes:
            continue
        provider, bucket = homes[connection_id]
        if lost(steps, Stream(provider, name), connection_id, bucket, lacking):
            duck.execute(
                """
                INSERT INTO caused BY NAME
                SELECT 0 AS seq, 'missing' AS kind, 'raw' AS step, $stream AS stream, $connection AS whose, [] AS fields,
                       'staging' AS found_at, $stream AS of_stream, $connection AS connection_id, record_id, account_id,
                       $provider AS provider, $bucket AS bucket, risk, risk_currency, dated
                FROM lost
                """,
                {"stream": name, "connection": connection_id, "provider": provider, "bucket": bucket},
            )


def _sources(steps: Steps) -> None:
    """What the source shows otherwise than raw, where raw is as the syncs left it; all of an account that raw has not
    is the account's."""
    steps.at.duck.execute(
        """
        INSERT INTO caused BY NAME
        WITH lost AS (
            SELECT DISTINCT connection_id, account_id, true AS is_lost FROM source_suspects
            WHERE stream = 'accounts' AND class = 'missing' AND NOT late
        )
        SELECT 0 AS seq, class AS kind, 'source' AS step, if(is_lost AND class = 'missing', 'accounts', stream) AS stream,
               connection_id AS whose, account_id AS whose_account, fields,
               'source' AS found_at, stream AS of_stream, connection_id, record_id, account_id, provider, bucket, expected, found,
               risk, risk_currency, dated
        FROM source_suspects
        LEFT JOIN lost USING (connection_id, account_id)
        ANTI JOIN (FROM caused WHERE step IN ('raw', 'receipts')) AS told USING (connection_id, stream, record_id)
        WHERE NOT late
        """
    )


def _models(steps: Steps) -> None:
    """All other suspects: the model where each goes wrong first, or the published file of it."""
    steps.at.duck.execute(
        """
        INSERT INTO caused BY NAME
        SELECT DISTINCT ON (connection_id, stream, record_id)
               seq, coalesce(faults.kind, class) AS kind, if(faults.fault IS NULL, step, 'published') AS step,
               if(faults.fault IS NULL, located.model, NULL) AS model, located.stream,
               if(step = 'raw', connection_id, NULL) AS whose,
               if(class = 'mismatch', fields, []) AS fields, faults.fault, found_at, located.stream AS of_stream, connection_id,
               record_id, account_id, provider, located.bucket, expected, found, reason, risk, risk_currency, dated
        FROM located
        LEFT JOIN faults ON faults.model = located.model AND faults.bucket = located.bucket
        ANTI JOIN caused USING (connection_id, stream, record_id)
        ORDER BY position, found_at <> 'marts'
        """
    )


def _accounts(steps: Steps) -> None:
    """A record whose account went wrong in a model that the record's own reads, or in raw, went wrong with it."""
    steps.at.duck.execute(
        """
        CREATE OR REPLACE TEMP TABLE roots AS
        SELECT DISTINCT ON (connection_id, account_id)
               connection_id, record_id AS account_id, kind, step, caused.model, stream, whose, fields, fault,
               coalesce(readers, []) AS readers
        FROM caused
        LEFT JOIN (SELECT reads, list(model) AS readers FROM upstream GROUP BY 1) AS below ON below.reads = caused.model
        WHERE stream IN ('accounts', 'details')
        ORDER BY step <> 'raw', stream;

        CREATE OR REPLACE TEMP TABLE caused AS
        SELECT caused.* REPLACE (
                   coalesce(roots.kind, caused.kind) AS kind,
                   coalesce(roots.step, caused.step) AS step,
                   if(roots.kind IS NULL, caused.model, roots.model) AS model,
                   coalesce(roots.stream, caused.stream) AS stream,
                   if(roots.kind IS NULL, caused.whose, roots.whose) AS whose,
                   if(roots.kind IS NULL, caused.whose_account, NULL) AS whose_account,
                   if(roots.kind IS NULL, caused.fields, roots.fields) AS fields,
                   if(roots.kind IS NULL, caused.fault, roots.fault) AS fault
               ),
               caused.fields AS own_fields
        FROM caused
        LEFT JOIN roots
            ON roots.connection_id = caused.connection_id AND roots.account_id = caused.account_id
            AND caused.stream NOT IN ('accounts', 'details') AND caused.step NOT IN ('source', 'raw', 'receipts')
            AND (roots.step IN ('raw', 'receipts') OR list_contains(roots.readers, caused.model));
        DROP TABLE roots;
        """
    )


def _findings(steps: Steps, faults: Sequence[Fault]) -> list[Finding]:
    """One finding a cause. Differences of several fields that some records share are one cause."""
    duck = steps.at.duck
    rows = duck.execute(
        """
        SELECT kind, step, model, stream, whose, fields, fault, count(*), list(DISTINCT provider ORDER BY provider),
               list(DISTINCT bucket ORDER BY bucket), whose_account
        FROM caused GROUP BY kind, step, model, stream, whose, fields, fault, whose_account
        """
    ).fetchall()
    groups: dict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        kind, step, model, stream, whose, _, fault = row[:7]
        groups[(kind, step, model, stream, whose, row[10]) if fault is None else ("fault", fault)].append(row)
    return [_finding(steps, connected, faults) for ones in groups.values() for connected in _connected(ones)]


def _whole(finding: Finding, told: Mapping[Place, Told]) -> Finding:
    """Of lost rows all that receipts tell of, also those that nothing names any more."""
    if (finding.kind, finding.step) != ("missing", "raw") or finding.connection_id is None or finding.stream is None:
        return finding
    one = told.get((finding.connection_id, finding.stream))
    if one is None or one.lacking <= finding.records:
        return finding
    message = _message("missing", "raw", None, finding.stream, [], one.lacking, ())
    return replace(finding, records=one.lacking, message=message, repair=Repair("fetch", finding.connection_id))


def _connected(rows: list[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
    """Rows that share a field, directly or over others, together."""
    parts: list[tuple[set[str], list[tuple[Any, ...]]]] = []
    for row in rows:
        fields, together = set(row[5]) or {""}, [row]
        if row[6] is not None or row[1] == "raw":
            fields = {""}
        for part in [one for one in parts if one[0] & fields]:
            parts.remove(part)
            fields |= part[0]
            together += part[1]
        parts.append((fields, together))
    return [together for _, together in parts]


def _finding(steps: Steps, rows: list[tuple[Any, ...]], faults: Sequence[Fault]) -> Finding:
    duck = steps.at.duck
    kind, step, model, stream, whose, _, fault = rows[0][:7]
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        for name in row[5]:
            counts[name] += row[7]
    fields = sorted(counts, key=lambda name: (-counts[name], name))
    records = sum(row[7] for row in rows)
    duck.execute(
        """
        CREATE OR REPLACE TEMP TABLE together AS
        SELECT * FROM caused
        WHERE kind = $kind AND step = $step AND model IS NOT DISTINCT FROM $model AND stream IS NOT DISTINCT FROM $stream
          AND whose IS NOT DISTINCT FROM $whose AND whose_account IS NOT DISTINCT FROM $account AND fault IS NULL
          AND list_contains($fields::VARCHAR[][], fields)
        """
        if fault is None
        else "CREATE OR REPLACE TEMP TABLE together AS SELECT * FROM caused WHERE fault = $fault",
        {
            "kind": kind,
            "step": step,
            "model": model,
            "stream": stream,
            "whose": whose,
            "account": rows[0][10],
            "fields": [row[5] for row in rows],
        }
        if fault is None
        else {"fault": fault},
    )
    sample, money = _sample(steps), _money(steps)
    if fault is not None:
        base = faults[fault].finding(max(records, faults[fault].rows or 0))
        return Finding(**{**vars(base), "sample": sample, "money": money})
    providers = sorted({one for row in rows for one in row[8] if one is not None})
    buckets = tuple(sorted({one for row in rows for one in row[9] if one is not None}))
    return Finding(
        kind=kind,
        step=step,
        model=model,
        provider=providers[0] if len(providers) == 1 else None,
        connection_id=whose,
        stream=stream,
        account_id=rows[0][10],
        field=fields[0] if kind == "mismatch" and fields else None,
        records=records,
        sample=sample,
        money=money,
        message=_message(kind, step, model, stream, fields, records, sample),
        repair=_repair(steps, kind, step, model, whose, stream, buckets),
    )


def _sample(steps: Steps) -> tuple[Behind, ...]:
    rows = steps.at.duck.execute(
        f"""
        SELECT connection_id, of_stream, account_id, record_id, own_fields, expected, found, reason FROM together
        ORDER BY of_stream <> stream, connection_id, record_id LIMIT {SAMPLE}
        """
    ).fetchall()
    return tuple(
        Behind(
            connection_id,
            stream,
            account_id,
            record_id,
            fields[0] if fields else None,
            _plain(expected[0]) if expected else None,
            _plain(found[0]) if found else None,
            reason,
        )
        for connection_id, stream, account_id, record_id, fields, expected, found, reason in rows
    )


def _money(steps: Steps) -> dict[str, Decimal]:
    rows = steps.at.duck.execute(
        "SELECT risk_currency, sum(risk) FROM together WHERE risk_currency IS NOT NULL AND risk > 0 GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return {currency: _short(amount) for currency, amount in rows}


def _plain(text: str | None) -> str | None:
    """A decimal's text without the zeros that its type adds."""
    if text is not None and "." in text and text.lstrip("-").replace(".", "", 1).isdigit():
        return text.rstrip("0").rstrip(".")
    return text


def _short(amount: Decimal) -> Decimal:
    """The same amount with no zeros behind the point but two at most."""
    short = amount.normalize()
    exponent = short.as_tuple().exponent
    return short.quantize(Decimal("0.01")) if isinstance(exponent, int) and exponent > -2 else short


def _message(
    kind: str, step: str, model: str | None, stream: str, fields: list[str], records: int, sample: Sequence[Behind]
) -> str:
    what = f"{records:,} record{'' if records == 1 else 's'} of {stream}"
    if step == "source":
        if kind == "missing":
            return f"expected {what} in raw that the source shows, found none of them: never fetched; fetch them again"
        if kind == "unexpected":
            return f"{what} are current in raw, and the source shows none of them any more; fetch them again"
        return f"{what}: the source shows another {_fields(fields)} than raw, and no sync fetched it; fetch them again"
    if step in {"raw", "receipts"}:
        if kind == "missing":
            tells = "as their receipts tell" if step == "raw" else "as the published tables tell"
            return f"expected {what} in raw, {tells}, found none of them: the store was changed from outside; fetch them again"
        return f"{what}: raw is not what the provider sent ({_fields(fields)}): the store was changed from outside; fetch them again"
    told = f"correct {model}, then `ledgerlake build --all`"
    if kind == "mismatch":
        first = next((one for one in sample if one.field), None)
        example = f", such as {first.expected} against {first.found}" if first else ""
        return f"{what}: {model} says another {_fields(fields)} than the payload{example}; {told}"
    if kind == "missing":
        reasons = sorted({one.reason for one in sample if one.reason})
        why = f", for the reason {', '.join(reasons)}, which is not true of them" if reasons else ""
        return f"expected {what} in {model}, which leaves them out{why}; {told}"
    if kind == "duplicate":
        return f"expected {what} once in {model}, found them more than once; {told}"
    return f"{what} are in {model} and should not be; {told}"


def _fields(fields: list[str]) -> str:
    return ", ".join(fields[:_SHOWN]) or "payload"


def _repair(
    steps: Steps,
    kind: str,
    step: str,
    model: str | None,
    connection_id: str | None,
    stream: str,
    buckets: tuple[int, ...],
) -> Repair:
    if (kind, step) == ("unexpected", "raw"):
        return _MADE_UP
    if step in {"source", "raw", "receipts"}:
        row = steps.at.duck.execute(
            """
            SELECT min(dated), max(dated), count(*) - count(dated),
                   if(count(DISTINCT account_id) = 1, any_value(account_id), NULL)
            FROM together
            """
        ).fetchone()
        since, until, undated, account_id = row or (None, None, 1, None)
        if undated:
            since = until = None
        return Repair("fetch", connection_id, stream, account_id, since, until, buckets)
    if set(buckets) & steps.at.behind:
        return Repair("build", buckets=buckets, advice=f"{model} changed since these buckets were built")
    return Repair("person", buckets=buckets, advice=f"correct {model}, then `ledgerlake build --all`")


def _uncovered(steps: Steps, faults: Sequence[Fault]) -> list[Finding]:
    """What is wrong with the published state, and shows in no record that is compared."""
    seen = {
        fault
        for (fault,) in steps.at.duck.execute("SELECT DISTINCT fault FROM caused WHERE fault IS NOT NULL").fetchall()
    }
    return [fault.finding(fault.rows or 0) for number, fault in enumerate(faults) if number not in seen]


def _receipts(steps: Steps, told: Mapping[Place, Told], skipped: Mapping[str, Skipped]) -> list[Finding]:
    """What only the receipts tell: rows that are nowhere any more, and rows that no sync wrote."""
    duck = steps.at.duck
    told_already = duck.execute(
        "SELECT DISTINCT step, whose, stream, kind FROM caused WHERE step IN ('raw', 'receipts') AND kind <> 'mismatch'"
    ).fetchall()
    shown = {tuple(row[:3]) for row in told_already if row[3] == "missing"}
    made_up = {tuple(row[1:3]) for row in told_already if row[3] == "unexpected"}
    found = []
    surplus: dict[str, int] = defaultdict(int)
    for (connection_id, stream), one in sorted(told.items()):
        if one.lacking > 0 and ("raw", connection_id, stream) not in shown:
            found.append(
                Finding(
                    kind="missing",
                    step="raw",
                    connection_id=connection_id,
                    stream=stream,
                    records=one.lacking,
                    message=(
                        f"receipts tell of {one.lacking:,} more records of {stream} than raw holds: rows were deleted from "
                        "the store from outside, and may be back by a later sync; fetch them again"
                    ),
                    repair=Repair("fetch", connection_id, stream),
                )
            )
        surplus[connection_id] += max(-one.lacking, 0)
    for (connection_id, stream), one in sorted(told.items()):
        # Rows whose receipts are gone are not rows too many.
        explained = skipped[connection_id].rows if connection_id in skipped else 0
        if one.lacking < 0 and surplus[connection_id] > explained and (connection_id, stream) not in made_up:
            found.append(_surplus(steps, connection_id, stream, -one.lacking))
    for connection_id, gap in sorted(skipped.items()):
        if not any(key[:2] == ("receipts", connection_id) for key in shown):
            message = (
                f"expected a receipt of every page, found none of {gap.pages}: the store was changed from outside; "
                "fetch the connection again"
            )
            found.append(
                Finding(
                    kind="missing",
                    step="receipts",
                    connection_id=connection_id,
                    records=gap.rows,
                    message=message,
                    repair=Repair("fetch", connection_id),
                )
            )
    return found


def _surplus(steps: Steps, connection_id: str, stream: str, rows: int) -> Finding:
    """Rows that no receipt tells of; those of a sync that never was are known."""
    sample = steps.at.duck.execute(
        f"""
        SELECT connection_id, stream, account_id, record_id FROM records
        WHERE connection_id = ? AND stream = ? AND sync_id NOT IN (SELECT sync_id FROM known_syncs)
        ORDER BY record_id LIMIT {SAMPLE}
        """,
        [connection_id, stream],
    ).fetchall()
    return Finding(
        kind="unexpected",
        step="raw",
        connection_id=connection_id,
        stream=stream,
        records=rows,
        sample=tuple(Behind(*one) for one in sample),
        message=f"{rows:,} records of {stream} are in raw, and no receipt tells of them: the store was changed from outside",
        repair=_MADE_UP,
    )
