"""Which step lost it: a record that is not as it should be, followed through the models.

Belongs here: from the differences of staging and marts to the first model in which each record goes wrong. Does not
belong here: which of them have one cause (``_causes``).

The key of a stream is in all models between its staging model and its mart, so a record is looked up in each of them. It
goes wrong in the first where it is gone, comes twice, is left out for a reason that is not true, or says something else
than the independent reading of its payload: in staging the amount as the provider signs it, later as the holder does.
"""
# ruff: noqa: S608 (names are the project's own models and streams)

from ledgerlake.integrity._compare import Differences, compare
from ledgerlake.integrity._steps import MONEY, STREAMS, VALUES, Steps, Stream

_STAMPS = ("synced_at", "removed_at")

# A reason to leave a record out that the records themselves do not bear out. One that is not known here is believed.
_UNTRUE = """
    CASE excluded.reason
        WHEN 'removed' THEN records.removed_at IS NULL
        WHEN 'superseded' THEN records.removed_at IS NULL AND NOT (records.pending AND heir.record_id IS NOT NULL)
        WHEN 'no_amount' THEN records.told AND records.amount IS NOT NULL
        WHEN 'no_date' THEN records.told AND records.day IS NOT NULL
        WHEN 'no_currency' THEN records.told AND records.currency IS NOT NULL
        WHEN 'unreadable' THEN records.told AND coalesce(records.amount::VARCHAR, records.currency) IS NOT NULL
        WHEN 'unknown_account' THEN account.record_id IS NOT NULL
        ELSE false
    END
"""


def differences(steps: Steps) -> tuple[Differences, Differences]:
    """Compare raw with staging, and with the marts; makes ``suspects``: what is not as it should be, and not on its way."""
    duck = steps.at.duck
    staged = compare(
        duck,
        f"(SELECT connection_id, stream, record_id, {', '.join(_STAMPS)} FROM records ANTI JOIN waiting "
        f"USING (connection_id, stream, record_id) WHERE {_place('staging', steps)})",
        f"(SELECT connection_id, stream, record_id, {', '.join(_STAMPS)} FROM staged ANTI JOIN waiting "
        f"USING (connection_id, stream, record_id) WHERE {_place('staging', steps)})",
        key=("connection_id", "stream", "record_id"),
        group=("connection_id", "stream"),
        fields=_STAMPS,
        into="staging_differences",
    )
    keeps = ", ".join(f"'{one.name}'" for one in STREAMS if one.mart and one.mart.keeps_removed)
    ended = compare(
        duck,
        f"""(
            SELECT connection_id, stream, record_id, {_expected(steps)} FROM records
            ANTI JOIN waiting USING (connection_id, stream, record_id)
            ANTI JOIN excluded USING (connection_id, stream, record_id)
            WHERE (removed_at IS NULL OR stream IN ({keeps})) AND {_place("marts", steps)}
        )""",
        f"""(
            SELECT connection_id, stream, record_id, {", ".join(VALUES)} FROM ended
            ANTI JOIN waiting USING (connection_id, stream, record_id) WHERE {_place("marts", steps)}
        )""",
        key=("connection_id", "stream", "record_id"),
        group=("connection_id", "stream", "account_id", "day"),
        fields=VALUES,
        into="mart_differences",
    )
    _suspects(steps, staged, ended, keeps)
    return staged, ended


def _place(step: str, steps: Steps) -> str:
    """The streams and buckets that can be compared at a step: what is not published, or not readable, cannot."""
    tables = steps.at.tables
    streams, holes = [], []
    for one in STREAMS:
        model = one.staging if step == "staging" else one.mart.model if one.mart else None
        name = ("staging" if step == "staging" else "main", model or "")
        if model is None or name not in tables:
            continue
        streams.append(f"('{one.provider}', '{one.name}')")
        needed = [name] if step == "staging" else [name, ("main", "excluded_records")]
        buckets = {
            file.bucket
            for needs in needed
            if needs in tables
            for file in tables[needs].data
            if file.path in steps.unreadable
        }
        holes += [
            f"('{one.provider}', '{one.name}', {bucket})" for bucket in sorted(b for b in buckets if b is not None)
        ]
    return (f"(provider, stream) IN ({', '.join(streams)})" if streams else "false") + (
        f" AND (provider, stream, bucket) NOT IN ({', '.join(holes)})" if holes else ""
    )


def _expected(steps: Steps) -> str:
    """What the mart must say of each record, and NULL for what it does not tell."""
    columns = []
    for name in VALUES:
        tells = ", ".join(
            f"('{one.provider}', '{one.name}')"
            for one in STREAMS
            if one in steps.told and one.mart and name in one.mart.values()
        )
        column = "said_account_id" if name == "account_id" else name
        columns.append(
            f"CASE WHEN (provider, stream) IN ({tells}) THEN {column} END AS {name}"
            if tells
            else f"NULL::{_type(name)} AS {name}"
        )
    return ", ".join(columns)


def _type(name: str) -> str:
    return {"amount": MONEY, "day": "DATE"}.get(name, "VARCHAR")


def _texts(side: str, names: tuple[str, ...]) -> str:
    cases = " ".join(f"WHEN '{name}' THEN {side}_{name}::VARCHAR" for name in names)
    return f"list_transform(fields, lambda name: CASE name {cases} END)"


def _suspects(steps: Steps, staged: Differences, ended: Differences, keeps: str) -> None:
    """One row for each record and step at which it is not as it should be."""
    parts = []
    if staged:
        parts.append(
            f"""
            SELECT 'staging' AS found_at, class, connection_id, stream, record_id, fields,
                   {_texts("expected", _STAMPS)} AS expected, {_texts("found", _STAMPS)} AS found
            FROM staging_differences
            """
        )
    if ended:
        # Of an account the payload does not always tell the currency: then the models may tell what they can.
        parts.append(
            f"""
            SELECT 'marts' AS found_at, class, connection_id, stream, record_id, fields,
                   {_texts("expected", VALUES)} AS expected, {_texts("found", VALUES)} AS found,
                   expected_amount, found_amount, coalesce(expected_currency, found_currency) AS money
            FROM mart_differences
            WHERE NOT (stream = 'accounts' AND class = 'mismatch' AND expected_currency IS NULL)
            """
        )
    place = _place("marts", steps)
    # A record is left out once, for a true reason; one that was removed is among those left out.
    parts.append(
        f"""
        SELECT 'marts' AS found_at,
               CASE WHEN records.record_id IS NULL THEN 'unexpected' WHEN untrue THEN 'missing' ELSE 'duplicate' END AS class,
               connection_id, stream, record_id, reason, if(untrue, 'untrue', NULL) AS because
        FROM (
            SELECT excluded.connection_id, excluded.stream, excluded.record_id, any_value(reason) AS reason,
                   count(*) AS times, bool_or({_UNTRUE}) AS untrue
            FROM excluded
            LEFT JOIN records USING (connection_id, stream, record_id)
            LEFT JOIN (FROM records WHERE stream = 'accounts') AS account
                ON account.connection_id = records.connection_id AND account.record_id = records.account_id
            LEFT JOIN heirs AS heir ON heir.connection_id = records.connection_id AND heir.stream = records.stream
                AND heir.record_id = records.record_id
            GROUP BY ALL
        )
        LEFT JOIN records USING (connection_id, stream, record_id)
        ANTI JOIN waiting USING (connection_id, stream, record_id)
        WHERE records.record_id IS NULL OR untrue OR times > 1
        """
    )
    parts.append(
        f"""
        SELECT 'marts' AS found_at, 'missing' AS class, connection_id, stream, record_id
        FROM records
        ANTI JOIN waiting USING (connection_id, stream, record_id)
        ANTI JOIN excluded USING (connection_id, stream, record_id)
        ANTI JOIN ended USING (connection_id, stream, record_id)
        WHERE removed_at IS NOT NULL AND stream NOT IN ({keeps}) AND {place}
        """
    )
    empty = f"""
        SELECT NULL::VARCHAR AS found_at, NULL::VARCHAR AS class, NULL::VARCHAR AS connection_id, NULL::VARCHAR AS stream,
               NULL::VARCHAR AS record_id, NULL::VARCHAR[] AS fields, NULL::VARCHAR[] AS expected, NULL::VARCHAR[] AS found,
               NULL::VARCHAR AS reason, NULL::VARCHAR AS because, NULL::{MONEY} AS expected_amount,
               NULL::{MONEY} AS found_amount, NULL::VARCHAR AS money
        WHERE false
    """
    steps.at.duck.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE suspects AS
        WITH found AS ({" UNION ALL BY NAME ".join([empty, *parts])}),
        homes AS (
            SELECT connection_id, stream, record_id, any_value(provider) AS provider, any_value(bucket) AS bucket,
                   any_value(account_id) AS account_id, any_value(day) AS day
            FROM (
                SELECT connection_id, stream, record_id, provider, bucket, account_id, day FROM ended
                UNION ALL SELECT connection_id, stream, record_id, provider, bucket, NULL, NULL FROM staged
                UNION ALL SELECT connection_id, stream, record_id, provider, bucket, NULL, NULL FROM excluded
            )
            SEMI JOIN (FROM found WHERE class = 'unexpected') AS made_up USING (connection_id, stream, record_id)
            GROUP BY ALL
        )
        SELECT row_number() OVER () AS seq, found.*,
               coalesce(records.provider, homes.provider) AS provider,
               coalesce(records.bucket, homes.bucket) AS bucket,
               coalesce(records.account_id, homes.account_id) AS account_id,
               records.record_id IS NOT NULL AS known,
               records.removed_at IS NOT NULL AND found.stream NOT IN ({keeps}) AS removed,
               coalesce(records.day, records.record_date, homes.day) AS dated,
               records.removed_at, records.record_date, records.pending, records.source_amount, records.amount,
               records.currency, records.day, records.status, records.said_account_id,
               abs(CASE WHEN class = 'mismatch' AND list_contains(fields, 'amount')
                        THEN coalesce(expected_amount, 0) - coalesce(found_amount, 0)
                        ELSE coalesce(records.amount, found_amount) END) AS risk,
               coalesce(money, records.currency) AS risk_currency
        FROM found
        LEFT JOIN records USING (connection_id, stream, record_id)
        LEFT JOIN homes USING (connection_id, stream, record_id);
        DROP TABLE IF EXISTS staging_differences; DROP TABLE IF EXISTS mart_differences;
        """
    )


def locate(steps: Steps) -> None:
    """Makes ``located``: for each suspect the step, and the model where it goes wrong first."""
    duck = steps.at.duck
    duck.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE states (
            seq BIGINT, position INTEGER, model VARCHAR, layer VARCHAR, times BIGINT, tells VARCHAR[], amount {MONEY},
            currency VARCHAR, day DATE, status VARCHAR, account_id VARCHAR, removed_at TIMESTAMPTZ, readable BOOLEAN,
            left_out VARCHAR
        )
        """
    )
    present = duck.execute("SELECT DISTINCT provider, stream FROM suspects").fetchall()
    for stream in (one for one in STREAMS if (one.provider, one.name) in present):
        for position, model in enumerate(_way(steps, stream)):
            _look(steps, stream, model, position)
    duck.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE located AS
        WITH wrong AS (
            SELECT seq, states.position, states.model, states.layer, {_raw_says_so()} AS raw_is_wrong
            FROM suspects JOIN states USING (seq)
            WHERE {_wrong()}
        ),
        first AS (
            SELECT seq, min(position) AS position, arg_min(model, position) AS model, arg_min(layer, position) AS layer,
                   arg_min(raw_is_wrong, position) AS raw_is_wrong
            FROM wrong GROUP BY seq
        ),
        last AS (
            SELECT seq, max(position) AS position, arg_max(model, position) AS model, arg_max(layer, position) AS layer
            FROM states GROUP BY seq
        )
        SELECT suspects.*,
               CASE WHEN coalesce(first.raw_is_wrong, false) THEN 'raw'
                    WHEN suspects.found_at = 'staging' THEN 'staging'
                    WHEN first.seq IS NULL AND removed AND class = 'missing' THEN 'marts'
                    ELSE coalesce(first.layer, last.layer, 'marts') END AS step,
               CASE WHEN coalesce(first.raw_is_wrong, false) THEN NULL
                    WHEN suspects.found_at = 'staging' THEN 'stg_' || provider || '__' || stream
                    WHEN first.seq IS NULL AND (removed OR reason IS NOT NULL) THEN 'excluded_records'
                    ELSE coalesce(first.model, last.model) END AS model,
               coalesce(first.position, last.position, 0) AS position
        FROM suspects
        LEFT JOIN first USING (seq)
        LEFT JOIN last USING (seq);
        DROP TABLE states;
        """
    )


def _way(steps: Steps, stream: Stream) -> list[str]:
    """The published models that a stream's records go through, with its key in each."""
    mart = stream.mart
    if mart is None:
        return [stream.staging]
    return [
        model
        for model in steps.graph.way(stream.staging, mart.model)
        if model == mart.model or {"connection_id", stream.key} <= steps.columns(model)
    ]


def _look(steps: Steps, stream: Stream, model: str, position: int) -> None:
    """What a model has of the suspects of a stream."""
    columns = steps.columns(model)
    if not columns:
        return
    mart = stream.mart
    is_mart = mart is not None and model == mart.model
    told = steps.inner(stream, model) if stream in steps.told else {}
    layer = "marts" if is_mart else steps.graph.layers.get(model, "intermediate")
    schema = {"staging": "staging", "intermediate": "intermediate"}.get(steps.graph.layers.get(model, ""), "main")
    inner = {
        "removed_at": ("removed_at", "TIMESTAMPTZ"),
        "is_readable": ("is_readable", "BOOLEAN"),
        "excluded_because": ("excluded_because", "VARCHAR"),
    }
    values = [f"{told.get(name, f'NULL::{_type(name)}')} AS {name}" for name in VALUES]
    values += [
        f"{column if column in columns else f'NULL::{kind}'} AS {name}" for name, (column, kind) in inner.items()
    ]
    tells = [*told, *(name for name in inner if name in columns)]
    whose = f"WHERE provider = '{stream.provider}'" if "provider" in columns else ""
    key = mart.key if is_mart and mart is not None else stream.key
    listed = ", ".join(f"any_value(model.{name})" for name in VALUES)
    steps.at.duck.execute(
        f"""
        INSERT INTO states
        SELECT suspects.seq, {position}, '{model}', '{layer}',
               {"least(count(model.record_id), 1)" if stream.opened and position == 0 else "count(model.record_id)"},
               [{", ".join(f"'{name}'" for name in tells)}]::VARCHAR[], {listed},
               any_value(model.removed_at), bool_and(model.is_readable), any_value(model.excluded_because)
        FROM (FROM suspects WHERE provider = '{stream.provider}' AND stream = '{stream.name}') AS suspects
        LEFT JOIN (
            SELECT connection_id, {key} AS record_id, {", ".join(values)}
            FROM {steps.relation((schema, model))} {whose}
        ) AS model ON model.connection_id = suspects.connection_id AND model.record_id = suspects.record_id
        GROUP BY suspects.seq
        """
    )


def _differs(name: str) -> str:
    """Whether a model says something else of a field than it must, where it tells at all.

    An account's currency may be found out later than in staging.
    """
    expected = {
        "amount": "if(states.layer = 'staging', suspects.source_amount, suspects.amount)",
        "account_id": "suspects.said_account_id",
    }.get(name, f"suspects.{name}")
    late = (
        " AND NOT (suspects.stream = 'accounts' AND states.layer = 'staging' AND states.currency IS NULL)"
        if name == "currency"
        else ""
    )
    return f"list_contains(tells, '{name}') AND states.{name} IS DISTINCT FROM {expected}{late}"


def _wrong() -> str:
    left_out = "states.left_out IS NOT NULL"
    removed = "list_contains(tells, 'removed_at') AND states.removed_at IS NOT NULL AND suspects.removed_at IS NULL"
    unreadable = "list_contains(tells, 'is_readable') AND NOT states.readable"
    by_reason = {"no_amount": "amount", "no_date": "day", "no_currency": "currency", "unknown_account": "account_id"}
    reasons = " ".join(f"WHEN '{reason}' THEN {_differs(name)}" for reason, name in by_reason.items())
    fields = " OR ".join(f"list_contains(fields, '{name}') AND {_differs(name)}" for name in VALUES)
    return f"""
        CASE
            WHEN class = 'missing' AND removed THEN times = 0 OR list_contains(tells, 'excluded_because') AND NOT {left_out}
            WHEN class = 'missing' THEN times = 0 OR {left_out} OR ({removed}) OR ({unreadable})
                OR CASE reason {reasons} ELSE false END
            WHEN class = 'duplicate' THEN times > 1
            WHEN class = 'mismatch' THEN times > 0 AND ({fields})
            WHEN NOT known THEN times > 0
            WHEN list_contains(tells, 'excluded_because') THEN times > 0 AND NOT {left_out}
            WHEN list_contains(tells, 'removed_at') THEN removed AND times > 0 AND states.removed_at IS NULL
            ELSE times > 0
        END
    """


def _raw_says_so() -> str:
    """Whether staging says what a column of raw says, and the payload something else: then raw is at fault."""
    return """
        states.layer = 'staging' AND class = 'mismatch' AND (
            list_contains(fields, 'day') AND states.day = suspects.record_date AND suspects.day IS DISTINCT FROM states.day
            OR list_contains(fields, 'status') AND suspects.status IS DISTINCT FROM states.status
                AND (states.status = 'pending') = suspects.pending
            OR list_contains(fields, 'account_id') AND states.account_id = suspects.account_id
                AND suspects.said_account_id IS DISTINCT FROM states.account_id
        )
    """
