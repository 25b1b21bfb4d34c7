"""Balances: what the census read of each account against our reading of the same day, and the proof that ours is wrong.

Belongs here: which of the two readings the account's own transactions speak for. Does not belong here: balances on their way
through the models (``_trail``).

A bank may move between a sync and the census, so two readings of a day may differ and both be right: that alone is late.
Ours is wrong where

- **sums** prove it: what the account's balance is besides its transactions, its offset, was the same at the census before
  our reading, at the census after it, and at most of the last ones; and ours has another. Whatever a bank counts in,
  pendings or not, an account whose offset does not stay is not judged by it. A movement that our sync may have met on its
  way, between the balance and the transactions, is believed;
- or **it stays**: our last readings all tell the same, and the census saw another value after each of them.

Of each account only the newest reading is compared: a bank tells no balance of a day that is over.
"""
# ruff: noqa: S608 (names are the project's own streams; values go as parameters or are written as literals)

from collections import Counter, defaultdict
from collections.abc import Iterator

from ledgerlake.integrity._report import Compared
from ledgerlake.integrity._steps import MONEY, STREAMS, Steps, Stream, literal

LAST = 10
"""How many of the last readings of the census an account is judged by."""
STAYS = 3
"""So many readings of ours in a row that tell the same, while the source moves, are not refreshed."""

_SHOWN = """
    SELECT connections.provider, connections.bucket, shown.connection_id, shown.account_id, shown.record_id, shown.record_date,
           shown.read_id, shown.position, shown.hash, reads.read_at
    FROM ledgerlake.census_records AS shown
    JOIN ledgerlake.census_reads AS reads USING (read_id)
    JOIN ledgerlake.connections AS connections ON connections.connection_id = shown.connection_id
    WHERE reads.outcome = 'done' AND connections.state = 'active' AND shown.stream = 'balances' AND shown.account_id IS NOT NULL
"""
_FIELDS = ("amount", "currency", "available")


def balances(steps: Steps) -> list[Compared]:
    """Add to ``source_suspects`` the newest readings of ours that are wrong, and those that only may be, as late."""
    duck = steps.at.duck
    mine = "SEMI JOIN scope USING (connection_id)" if steps.scope is not None else ""
    with steps.pinned():
        duck.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE readings AS FROM postgres_query('pg', $q${_SHOWN}$q$) {mine};

            CREATE OR REPLACE TEMP TABLE newest AS
            SELECT readings.*, held.record_id IS NOT NULL AS is_held, held.synced_at,
                   coalesce(held.hash = readings.hash AND held.intact, false) AS same
            FROM (
                FROM readings QUALIFY row_number() OVER (PARTITION BY connection_id, account_id ORDER BY read_id DESC) = 1
            ) AS readings
            LEFT JOIN (FROM records WHERE stream = 'balances' AND removed_at IS NULL) AS held
                ON held.connection_id = readings.connection_id AND held.record_id = readings.record_id;

            CREATE OR REPLACE TEMP TABLE doubtful AS
            SELECT DISTINCT provider, connection_id, account_id FROM newest WHERE is_held AND NOT same;
            """
        )
        _read(steps)
        _moved(steps)
    _judge(steps)
    return list(_classes(steps))


def _read(steps: Steps) -> None:
    """What the census and we read of the doubtful accounts: ``read``, of the newest readings the fields that differ:
    ``differing``."""
    duck = steps.at.duck
    duck.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE read (
            connection_id VARCHAR, account_id VARCHAR, record_id VARCHAR, read_id BIGINT, position BIGINT, seen_at TIMESTAMPTZ,
            amount {MONEY}, available {MONEY}, currency VARCHAR
        )
        """
    )
    for provider in _providers(steps):
        duck.execute(f"CREATE OR REPLACE TEMP TABLE account_payloads AS {steps.account_payloads(provider)}")
        duck.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE payloads AS
            SELECT shown.connection_id, 'census:' || read_id || ':' || position AS record_id, shown.account_id,
                   readings.record_date, false AS pending, shown.payload::JSON AS payload
            FROM postgres_query('pg', $q$
                SELECT connection_id, account_id, read_id, position, payload FROM ledgerlake.census_records
                WHERE stream = 'balances' AND connection_id IN ({_connections(steps, provider)})
            $q$) AS shown
            JOIN readings USING (read_id, position)
            SEMI JOIN doubtful ON doubtful.connection_id = shown.connection_id AND doubtful.account_id = shown.account_id
            UNION ALL
            SELECT connection_id, 'held:' || record_id, account_id, record_date, pending, payload::JSON
            FROM postgres_query('pg', $q$
                SELECT connection_id, record_id, account_id, record_date, pending, payload FROM raw.{provider}_balances
                WHERE removed_at IS NULL AND connection_id IN ({_connections(steps, provider)})
            $q$)
            SEMI JOIN doubtful USING (connection_id, account_id);

            CREATE OR REPLACE TEMP TABLE said AS FROM ({steps.expected(provider, "balances")});

            INSERT INTO read
            SELECT said.connection_id, readings.account_id, readings.record_id, readings.read_id, readings.position, readings.read_at,
                   said.amount, said.available, said.currency
            FROM said JOIN readings ON said.connection_id = readings.connection_id
                AND said.record_id = 'census:' || readings.read_id || ':' || readings.position
            UNION ALL
            SELECT said.connection_id, records.account_id, records.record_id, NULL, NULL, records.synced_at,
                   said.amount, said.available, said.currency
            FROM said JOIN records ON records.stream = 'balances' AND said.connection_id = records.connection_id
                AND said.record_id = 'held:' || records.record_id;

            DROP TABLE payloads;
            """
        )
    differs = ", ".join(f"CASE WHEN shown.{name} IS DISTINCT FROM held.{name} THEN '{name}' END" for name in _FIELDS)
    duck.execute(
        f"""
        DROP TABLE IF EXISTS account_payloads;
        DROP TABLE IF EXISTS said;

        CREATE OR REPLACE TEMP TABLE differing AS
        SELECT newest.provider, newest.bucket, newest.connection_id, newest.account_id, newest.record_id, newest.record_date,
               shown.seen_at AS shown_at, held.seen_at AS held_at, {", ".join(f"shown.{one} AS shown_{one}, held.{one} AS held_{one}" for one in _FIELDS)},
               list_filter([{differs}], lambda name: name IS NOT NULL) AS fields
        FROM newest
        JOIN read AS shown ON shown.read_id = newest.read_id AND shown.position = newest.position
        JOIN read AS held ON held.read_id IS NULL AND held.connection_id = newest.connection_id AND held.record_id = newest.record_id
        WHERE len(fields) > 0;

        CREATE OR REPLACE TEMP TABLE doubtful AS FROM doubtful SEMI JOIN differing USING (connection_id, account_id);
        """
    )


def _moved(steps: Steps) -> None:
    """Every version of the transactions of these accounts, with the time in which raw held it: ``versions``."""
    duck = steps.at.duck
    duck.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE versions AS
        SELECT connection_id, account_id, amount, currency, status = 'pending' AS pending, day, synced_at AS since,
               removed_at AS until
        FROM records SEMI JOIN doubtful USING (connection_id, account_id)
        WHERE stream = 'transactions';

        CREATE OR REPLACE TEMP TABLE replaced (
            connection_id VARCHAR, account_id VARCHAR, amount {MONEY}, currency VARCHAR, pending BOOLEAN, day DATE,
            record_id VARCHAR, version INTEGER
        )
        """
    )
    for provider in _providers(steps):
        reading = steps.expected(provider, "transactions")
        duck.execute(f"CREATE OR REPLACE TEMP TABLE account_payloads AS {steps.account_payloads(provider)}")
        duck.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE earlier AS
            SELECT * REPLACE (payload::JSON AS payload) FROM postgres_query('pg', $q$
                SELECT connection_id, record_id, account_id, record_date, pending, payload, version, synced_at,
                       least(removed_at, superseded_at) AS until
                FROM raw.history
                WHERE provider = '{provider}' AND stream = 'transactions' AND connection_id IN ({_connections(steps, provider)})
            $q$)
            SEMI JOIN doubtful USING (connection_id, account_id)
            """
        )
        # The reading names a record by its id alone, so each is read one version at a time.
        numbers = duck.execute("SELECT DISTINCT version FROM earlier ORDER BY 1").fetchall()
        for (number,) in numbers:
            duck.execute(
                f"""
                CREATE OR REPLACE TEMP TABLE payloads AS SELECT * EXCLUDE (version, synced_at, until) FROM earlier WHERE version = {int(number)};
                INSERT INTO versions BY NAME
                SELECT said.connection_id, earlier.account_id, said.amount, said.currency, said.pending, said.day,
                       earlier.synced_at AS since, earlier.until
                FROM ({reading}) AS said
                JOIN earlier USING (connection_id, record_id) WHERE earlier.version = {int(number)};
                """
            )
        duck.execute("DROP TABLE IF EXISTS payloads; DROP TABLE earlier; DROP TABLE account_payloads")


def _judge(steps: Steps) -> None:
    """Which of the differing readings are proven wrong, by field; the others are late."""
    texts = {
        side: "list_transform(fields, lambda name: CASE name "
        + " ".join(f"WHEN '{name}' THEN {side}_{name}::VARCHAR" for name in _FIELDS)
        + " END)"
        for side in ("shown", "held")
    }
    steps.at.duck.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE offsets AS
        WITH totals AS (
            SELECT read.connection_id, read.account_id, read.read_id, read.position, any_value(read.seen_at) AS seen_at,
                   any_value(read.amount) AS amount, any_value(read.available) AS available,
                   coalesce(sum(versions.amount) FILTER (NOT versions.pending), 0) AS posted,
                   coalesce(sum(versions.amount), 0) AS whole
            FROM read
            SEMI JOIN doubtful USING (connection_id, account_id)
            LEFT JOIN versions ON versions.connection_id = read.connection_id AND versions.account_id = read.account_id
                AND versions.currency IS NOT DISTINCT FROM read.currency AND versions.since <= read.seen_at
                AND (versions.until IS NULL OR versions.until > read.seen_at)
            WHERE read.read_id IS NOT NULL
            GROUP BY ALL
        )
        SELECT connection_id, account_id, seen_at, each.field, each.measure, each.value - each.total AS rest,
               first_value(each.value - each.total) OVER (
                   PARTITION BY connection_id, account_id, each.field, each.measure ORDER BY seen_at DESC
               ) AS now
        FROM (
            SELECT *, unnest([
                {{'field': 'amount', 'measure': 'posted', 'value': amount, 'total': posted}},
                {{'field': 'amount', 'measure': 'whole', 'value': amount, 'total': whole}},
                {{'field': 'available', 'measure': 'posted', 'value': available, 'total': posted}},
                {{'field': 'available', 'measure': 'whole', 'value': available, 'total': whole}}
            ]) AS each
            FROM totals
        )
        WHERE each.value IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY connection_id, account_id, each.field, each.measure ORDER BY seen_at DESC) <= {LAST};

        CREATE OR REPLACE TEMP TABLE proven AS
        WITH judged AS (
            SELECT differing.connection_id, differing.account_id, field, measure,
                   arg_max(rest, seen_at) FILTER (seen_at < held_at) = any_value(now) AS as_before,
                   2 * count(*) FILTER (rest = now) > count(*) AS as_ever
            FROM differing JOIN offsets USING (connection_id, account_id)
            WHERE held_at < shown_at AND list_contains(fields, field)
            GROUP BY ALL
        ),
        -- What a sync may have met on its way: of the reading's day, and taken after the reading.
        met AS (
            SELECT differing.connection_id, differing.account_id, sum(amount) AS whole, sum(amount) FILTER (NOT pending) AS posted,
                   list(amount) AS each
            FROM differing JOIN versions USING (connection_id, account_id)
            WHERE since >= held_at AND since <= shown_at AND until IS NULL
              AND (day >= record_date OR day IS NULL)
            GROUP BY ALL
        ),
        by_sums AS (
            SELECT connection_id, account_id, field
            FROM judged
            JOIN differing USING (connection_id, account_id)
            LEFT JOIN met USING (connection_id, account_id)
            WHERE as_before AND as_ever
              AND NOT coalesce(list_contains(
                  list_concat([met.whole, met.posted], met.each),
                  if(field = 'amount', shown_amount - held_amount, shown_available - held_available)
              ), false)
        ),
        last AS (
            SELECT differing.connection_id, differing.account_id, read.seen_at, read.amount, read.available,
                   held_amount, held_available,
                   lead(read.seen_at) OVER (PARTITION BY read.connection_id, read.account_id ORDER BY read.seen_at) AS next_at
            FROM read JOIN differing USING (connection_id, account_id)
            WHERE read.read_id IS NULL AND read.seen_at <= held_at
            QUALIFY row_number() OVER (PARTITION BY read.connection_id, read.account_id ORDER BY read.seen_at DESC) <= {STAYS}
        ),
        witnesses AS (
            SELECT last.connection_id, last.account_id, last.seen_at, max(read.amount) AS amount, max(read.available) AS available,
                   bool_or(read.amount = held_amount) AS amount_too, bool_or(read.available = held_available) AS available_too
            FROM last
            JOIN read ON read.connection_id = last.connection_id AND read.account_id = last.account_id
                AND read.read_id IS NOT NULL AND read.seen_at > last.seen_at AND (last.next_at IS NULL OR read.seen_at < last.next_at)
            GROUP BY ALL
        ),
        by_staying AS (
            SELECT last.connection_id, last.account_id,
                   bool_and(last.amount = held_amount AND NOT amount_too) AND min(witnesses.amount) < max(witnesses.amount)
                       AS amount,
                   bool_and(last.available = held_available AND NOT available_too)
                       AND min(witnesses.available) < max(witnesses.available) AS available
            FROM last JOIN witnesses USING (connection_id, account_id, seen_at)
            GROUP BY ALL HAVING count(*) = {STAYS}
        )
        SELECT DISTINCT connection_id, account_id, field FROM (
            SELECT connection_id, account_id, field FROM by_sums
            UNION ALL SELECT connection_id, account_id, 'amount' FROM by_staying WHERE amount
            UNION ALL SELECT connection_id, account_id, 'available' FROM by_staying WHERE available
            -- A balance's currency does not move.
            UNION ALL SELECT connection_id, account_id, 'currency' FROM differing
            WHERE shown_currency <> held_currency
        );

        INSERT INTO source_suspects BY NAME
        SELECT provider, bucket, 'balances' AS stream, connection_id, record_id, account_id, 'mismatch' AS class, late,
               fields, {texts["shown"]} AS expected, {texts["held"]} AS found, record_date AS dated,
               abs(CASE WHEN list_contains(fields, 'amount') THEN shown_amount - held_amount
                        ELSE shown_available - held_available END) AS risk,
               coalesce(shown_currency, held_currency) AS risk_currency
        FROM (
            SELECT differing.*, proven.account_id IS NULL AS late
            FROM differing
            LEFT JOIN (SELECT DISTINCT connection_id, account_id FROM proven) AS proven USING (connection_id, account_id)
        )
        """
    )


def _classes(steps: Steps) -> Iterator[Compared]:
    """Each account's newest reading of the census in its class."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for connection_id, compared, missing in steps.at.duck.execute(
        "SELECT connection_id, count(*), count(*) FILTER (NOT is_held) FROM newest GROUP BY 1"
    ).fetchall():
        counted[connection_id] += Counter(compared=compared, late=missing)
    for connection_id, late, rows in steps.at.duck.execute(
        "SELECT connection_id, late, count(*) FROM source_suspects WHERE stream = 'balances' GROUP BY ALL"
    ).fetchall():
        counted[connection_id] += Counter({"late" if late else "mismatched": rows})
    for connection_id, one in sorted(counted.items()):
        yield Compared(
            connection_id,
            "balances",
            "source",
            compared=one["compared"],
            matched=one["compared"] - one["late"] - one["mismatched"],
            mismatched=one["mismatched"],
            late=one["late"],
        )


def _providers(steps: Steps) -> list[str]:
    """The providers of the doubtful accounts."""
    rows = steps.at.duck.execute("SELECT DISTINCT provider FROM doubtful ORDER BY 1").fetchall()
    return [provider for (provider,) in rows if Stream(provider, "balances") in STREAMS]


def _connections(steps: Steps, provider: str) -> str:
    """The connections of the doubtful accounts, as a list of SQL."""
    rows = steps.at.duck.execute(
        "SELECT DISTINCT connection_id FROM doubtful WHERE provider = ? ORDER BY 1", [provider]
    ).fetchall()
    return ", ".join(literal(connection_id) for (connection_id,) in rows)
