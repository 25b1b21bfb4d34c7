"""The source, counted again by the census, against raw.

Belongs here: finding each row of the census in raw and each raw record in the census, and what a sync could not have seen
yet. Does not belong here: asking the source (``census``), balances, which move (``_balances``), and which step lost a
record (``_causes``).

Rows are found by their id; those that the source gives no id that stays, by their bytes, each once. Rows of one hash
are equal. Where the bytes differ, the values do that the independent reading tells of both.
"""
# ruff: noqa: S608 (names are the project's own streams)

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator

from ledgerlake.integrity._report import Compared, Finding, Repair
from ledgerlake.integrity._steps import MONEY, STREAMS, VALUES, Steps
from ledgerlake.integrity.census import CensusReport

_SHOWN = """
    SELECT connections.provider, connections.bucket, shown.stream, shown.connection_id, shown.read_id, shown.position,
           shown.record_id, CASE shown.stream WHEN 'accounts' THEN shown.record_id ELSE shown.account_id END AS account_id,
           shown.record_date, shown.pending, shown.hash, reads.read_at, reads.today
    FROM ledgerlake.census_records AS shown
    JOIN ledgerlake.census_reads AS reads USING (read_id)
    JOIN ledgerlake.connections AS connections ON connections.connection_id = shown.connection_id
    WHERE reads.outcome = 'done' AND connections.state = 'active' AND shown.stream <> 'balances'
"""
_READS = """
    SELECT reads.connection_id, reads.stream, reads.account_id, reads.since, reads.until, reads.whole_pending, reads.read_at,
           reads.today
    FROM ledgerlake.census_reads AS reads
    JOIN ledgerlake.connections AS connections USING (connection_id)
    WHERE reads.outcome = 'done' AND connections.state = 'active' AND reads.stream <> 'balances'
"""
# A stream of Stripe that the feed of events brings is read with that feed, as all of the connection.
_SEEN = """
    SELECT connection_id, stream, account_id, read_on, NULL::timestamptz AS started_at FROM ledgerlake.cursors
    JOIN ledgerlake.connections USING (connection_id) WHERE read_on IS NOT NULL AND provider <> 'stripe'
    UNION ALL
    SELECT connection_id, NULL, NULL, max(today), max(started_at) FROM ledgerlake.syncs WHERE outcome = 'done' GROUP BY 1
"""
_CLOSED = "SELECT connection_id, account_id FROM ledgerlake.accounts WHERE state <> 'open'"
_DOUBTS = "SELECT connection_id, stream, record_id FROM ledgerlake.doubts"
_ASIDE = """
    SELECT DISTINCT connection_id, stream, record_id, hash FROM raw.quarantine WHERE released_at IS NULL
"""


def against_raw(steps: Steps, today: dt.date) -> list[Compared]:
    """Makes ``source_suspects``: what the source shows and raw does not have so, and the other way round."""
    duck = steps.at.duck
    with steps.pinned():
        for name, query in {
            "census": _SHOWN,
            "reads": _READS,
            "seen": _SEEN,
            "closed": _CLOSED,
            "doubts": _DOUBTS,
            "aside": _ASIDE,
        }.items():
            mine = "SEMI JOIN scope USING (connection_id)" if steps.scope is not None else ""
            duck.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS FROM postgres_query('pg', $q${query}$q$) {mine}")
        _pair(steps)
        _read(steps)
    _judge(steps, today)
    return list(_classes(steps))


def _pair(steps: Steps) -> None:
    """Find each row of the census in raw: ``shown`` are the rows, ``met`` the pairs."""
    steps.at.duck.execute(
        """
        CREATE OR REPLACE TEMP TABLE shown AS
        SELECT * REPLACE (coalesce(record_id, '#' || read_id || ':' || position) AS record_id), record_id IS NULL AS nameless
        FROM census
        QUALIFY row_number() OVER (
            PARTITION BY connection_id, stream, coalesce(record_id, '#' || read_id || ':' || position) ORDER BY read_id DESC
        ) = 1;

        CREATE OR REPLACE TEMP TABLE met AS
        SELECT connection_id, stream, shown.record_id, records.record_id AS held_as,
               shown.hash = records.hash AND records.intact AND records.removed_at IS NULL AS same
        FROM shown JOIN records USING (connection_id, stream, record_id)
        WHERE NOT nameless;

        INSERT INTO met
        WITH nameless AS (
            SELECT *, row_number() OVER (PARTITION BY connection_id, stream, account_id, hash ORDER BY record_id) AS time
            FROM shown WHERE nameless
        ),
        held AS (
            SELECT records.connection_id, records.stream, records.record_id, records.account_id, records.hash,
                   row_number() OVER (
                       PARTITION BY records.connection_id, records.stream, records.account_id, records.hash
                       ORDER BY records.record_id
                   ) AS time
            FROM records
            SEMI JOIN nameless USING (connection_id, stream, hash)
            ANTI JOIN met ON met.connection_id = records.connection_id AND met.stream = records.stream
                AND met.held_as = records.record_id
            WHERE removed_at IS NULL
        )
        SELECT connection_id, stream, nameless.record_id, held.record_id, true
        FROM nameless JOIN held USING (connection_id, stream, account_id, hash, time);
        """
    )


def _read(steps: Steps) -> None:
    """What the payloads say that are not the same in raw: ``said``."""
    duck = steps.at.duck
    duck.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE said (
            stream VARCHAR, connection_id VARCHAR, record_id VARCHAR, amount {MONEY}, currency VARCHAR, day DATE, status VARCHAR,
            account_id VARCHAR
        );
        CREATE OR REPLACE TEMP TABLE other AS
        SELECT * FROM shown ANTI JOIN (FROM met WHERE same) AS met USING (connection_id, stream, record_id)
        """
    )
    present = duck.execute("SELECT DISTINCT provider, stream FROM other ORDER BY ALL").fetchall()
    for provider in dict.fromkeys(provider for provider, _ in present):
        duck.execute(f"CREATE OR REPLACE TEMP TABLE account_payloads AS {steps.account_payloads(provider)}")
        for stream in (one for one in STREAMS if (one.provider, one.name) in present and one.provider == provider):
            reading = steps.expected(provider, stream.name)
            if reading is None:
                continue
            reads = duck.execute(
                "SELECT DISTINCT read_id FROM other WHERE provider = ? AND stream = ?", [provider, stream.name]
            ).fetchall()
            listed = ", ".join(str(int(read_id)) for (read_id,) in reads)
            duck.execute(
                f"""
                CREATE OR REPLACE TEMP TABLE payloads AS
                SELECT other.connection_id, other.record_id, other.account_id, other.record_date, other.pending,
                       rows.payload::JSON AS payload
                FROM postgres_query('pg', $q$
                    SELECT read_id, position, payload FROM ledgerlake.census_records WHERE read_id IN ({listed})
                $q$) AS rows
                JOIN other USING (read_id, position)
                WHERE other.stream = '{stream.name}';
                INSERT INTO said
                SELECT '{stream.name}', connection_id, record_id, amount, currency, day, if(pending, 'pending', 'posted'), account_id
                FROM ({reading});
                DROP TABLE payloads;
                """
            )
    duck.execute("DROP TABLE IF EXISTS account_payloads")


def _judge(steps: Steps, today: dt.date) -> None:
    """Sort what differs into its classes; late is what no sync can have seen.

    A sync of the census's own day, or a later one, has seen what is dated before that day. What is dated on it is
    believed to be missing once a sync began after the census had read it.
    """
    fields = ", ".join(f"CASE WHEN said.{name} IS DISTINCT FROM held.{name} THEN '{name}' END" for name in VALUES)
    texts = {
        side: "list_transform(fields, lambda name: CASE name "
        + " ".join(f"WHEN '{name}' THEN {side}_{name}::VARCHAR" for name in VALUES)
        + f" WHEN 'removed_at' THEN {side}_removed_at::VARCHAR END)"
        for side in ("said", "held")
    }
    values = ", ".join(f"said.{name} AS said_{name}, held.{name} AS held_{name}" for name in VALUES)
    steps.at.duck.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE source_suspects AS
        WITH held AS (
            SELECT connection_id, stream, record_id, amount, currency, day, status, said_account_id AS account_id, account_id AS of,
                   removed_at, synced_at, told
            FROM records
        ),
        last AS (
            SELECT connection_id, max(read_on) AS read_on, max(started_at) AS started_at FROM seen WHERE stream IS NULL GROUP BY 1
        ),
        streams AS (
            SELECT connection_id, stream, account_id, max(read_on) AS read_on FROM seen WHERE stream IS NOT NULL GROUP BY ALL
        ),
        judged AS (
            SELECT other.provider, other.bucket, other.stream, other.connection_id, other.record_id, other.account_id,
                   other.read_at, other.today, other.pending, other.hash, other.record_date,
                   held.record_id IS NOT NULL AS is_held, held.synced_at, held.removed_at,
                   coalesce(said.day, other.record_date) AS dated,
                   CASE WHEN held.record_id IS NULL THEN []
                        WHEN held.removed_at IS NOT NULL THEN ['removed_at']
                        WHEN said.record_id IS NULL OR NOT held.told THEN []
                        ELSE list_filter([{fields}], lambda name: name IS NOT NULL) END AS fields,
                   {values}, NULL::TIMESTAMPTZ AS said_removed_at, held.removed_at AS held_removed_at,
                   coalesce(greatest(mine.read_on, alls.read_on), last.read_on) AS seen_on, last.started_at
            FROM other
            LEFT JOIN said USING (connection_id, stream, record_id)
            LEFT JOIN held USING (connection_id, stream, record_id)
            LEFT JOIN last USING (connection_id)
            LEFT JOIN streams AS mine ON mine.connection_id = other.connection_id AND mine.stream = other.stream
                AND mine.account_id = other.account_id
            LEFT JOIN streams AS alls ON alls.connection_id = other.connection_id AND alls.stream = other.stream
                AND alls.account_id = ''
        ),
        differing AS (
            SELECT *, if(is_held, 'mismatch', 'missing') AS class, {texts["said"]} AS expected, {texts["held"]} AS found,
                   seen_on IS NULL OR today > seen_on
                       OR coalesce(dated >= seen_on AND started_at < read_at, false)
                       OR pending AND today < DATE '{today.isoformat()}'
                       OR coalesce(greatest(synced_at, removed_at) >= read_at, false) AS late
            FROM judged WHERE NOT is_held OR len(fields) > 0
        ),
        made_up AS (
            SELECT records.provider, records.bucket, records.stream, records.connection_id, records.record_id,
                   records.account_id, max(reads.read_at) AS read_at, max(reads.today) AS today,
                   any_value(records.record_date) AS record_date, any_value(records.day) AS day,
                   any_value(records.amount) AS amount, any_value(records.currency) AS currency, any_value(last.started_at) AS started_at,
                   coalesce(greatest(any_value(mine.read_on), any_value(alls.read_on)), any_value(last.read_on)) AS seen_on
            FROM records
            JOIN reads ON reads.connection_id = records.connection_id AND reads.stream = records.stream
                AND (reads.account_id IS NULL OR reads.account_id = records.account_id)
                AND (records.record_date BETWEEN coalesce(reads.since, '-infinity'::DATE) AND coalesce(reads.until, 'infinity'::DATE)
                     OR records.pending AND reads.whole_pending
                     OR records.stream = 'accounts' AND reads.since IS NULL AND reads.until IS NULL)
                AND records.synced_at < reads.read_at
            ANTI JOIN met ON met.connection_id = records.connection_id AND met.stream = records.stream
                AND met.held_as = records.record_id
            ANTI JOIN closed ON closed.connection_id = records.connection_id AND closed.account_id = records.account_id
            ANTI JOIN doubts ON doubts.connection_id = records.connection_id AND doubts.stream = records.stream
                AND doubts.record_id = records.record_id
            LEFT JOIN last ON last.connection_id = records.connection_id
            LEFT JOIN streams AS mine ON mine.connection_id = records.connection_id AND mine.stream = records.stream
                AND mine.account_id = records.account_id
            LEFT JOIN streams AS alls ON alls.connection_id = records.connection_id AND alls.stream = records.stream
                AND alls.account_id = ''
            WHERE records.removed_at IS NULL
            GROUP BY ALL
        )
        SELECT provider, bucket, stream, connection_id, record_id, account_id, class, late, fields, expected, found, dated,
               abs(coalesce(CASE WHEN list_contains(fields, 'amount') THEN said_amount - held_amount END, said_amount, held_amount))
                   AS risk,
               coalesce(said_currency, held_currency) AS risk_currency
        FROM differing
        ANTI JOIN aside ON aside.connection_id = differing.connection_id AND aside.stream = differing.stream
            AND (aside.record_id = differing.record_id OR aside.hash = differing.hash)
        UNION ALL BY NAME
        SELECT provider, bucket, stream, connection_id, record_id, account_id, 'unexpected' AS class,
               seen_on IS NULL OR today > seen_on OR coalesce(coalesce(day, record_date) >= seen_on AND started_at < read_at, false)
                   AS late,
               []::VARCHAR[] AS fields, coalesce(day, record_date) AS dated, abs(amount) AS risk, currency AS risk_currency
        FROM made_up
        """
    )


def _classes(steps: Steps) -> Iterator[Compared]:
    """Each row of the census in its class, and what raw has besides."""
    duck = steps.at.duck
    counted: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for connection_id, stream, rows in duck.execute(
        "SELECT connection_id, stream, count(*) FROM shown GROUP BY ALL"
    ).fetchall():
        counted[connection_id, stream]["compared"] += rows
    for connection_id, stream, kind, late, rows in duck.execute(
        "SELECT connection_id, stream, class, late, count(*) FROM source_suspects GROUP BY ALL"
    ).fetchall():
        name = "late" if late else "mismatched" if kind == "mismatch" else kind
        counted[connection_id, stream] += Counter({name: rows, "compared": rows if kind == "unexpected" else 0})
    for (connection_id, stream), one in sorted(counted.items()):
        rest = {name: count for name, count in one.items() if name != "compared"}
        yield Compared(
            connection_id,
            stream,
            "source",
            compared=one["compared"],
            matched=one["compared"] - sum(rest.values()),
            **rest,
        )


def unread(report: CensusReport) -> list[Finding]:
    """What the census could not count: no pass."""
    if report.off:
        message = (
            "the census is switched off (LEDGERLAKE_CENSUS_REQUESTS is 0), so nothing was counted again at the sources"
        )
        return [Finding("not_compared", "source", 0, message)]
    found = [
        _unread(
            one.connection_id, one.provider, one.stream, one.account_id, f"{one.outcome}: {one.error or 'no answer'}"
        )
        for one in report.troubles
    ]
    for one in report.overdue:
        days = f"{one.since or 'the beginning'} to {one.until or 'today'}"
        last = f"last on {one.last}" if one.last else "never yet"
        said = f"the days from {days} were counted {last}, which is too long ago"
        found.append(_unread(one.connection_id, one.provider, one.stream, one.account_id, said))
    return found


def _unread(connection_id: str, provider: str, stream: str, account_id: str | None, said: str) -> Finding:
    return Finding(
        kind="not_compared",
        step="source",
        provider=provider,
        connection_id=connection_id,
        stream=stream,
        account_id=account_id,
        records=0,
        message=f"{stream} could not be counted again at the source: {said}",
        repair=Repair("person", connection_id, stream, account_id, advice="verify again when the source answers"),
    )


def nothing(steps: Steps) -> None:
    """Makes an empty ``source_suspects``, where the source was not compared."""
    steps.at.duck.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE source_suspects (
            provider VARCHAR, bucket SMALLINT, stream VARCHAR, connection_id VARCHAR, record_id VARCHAR, account_id VARCHAR,
            class VARCHAR, late BOOLEAN, fields VARCHAR[], expected VARCHAR[], found VARCHAR[], dated DATE, risk {MONEY},
            risk_currency VARCHAR
        )
        """
    )
