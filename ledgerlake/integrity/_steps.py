"""What each step holds, as tables of one shape, all as of one instant: what verification compares.

Belongs here: which model a stream goes through and ends in, and reading raw, staging and marts. Does not belong here:
what a difference is (``_compare``) and what it means (``_causes``).

In DuckDB there are then:

- ``records``: every raw record with what the independent reading of its payload (``_expect``) says of it.
- ``staged``, ``ended``, ``excluded``: the same records in the staging models, in the marts, and in excluded_records.
- ``waiting``: the records that the published state cannot hold yet.
"""
# ruff: noqa: S608 (names are the project's own models and streams; values go as parameters)

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from connectors import PROVIDERS
from ledgerlake.lake import Name, Reading

Expected = Callable[[str, str], str | None]
"""The independent reading of a stream's payloads: ``_expect.expected``."""

MONEY = "DECIMAL(28, 8)"
VALUES = ("amount", "currency", "day", "status", "account_id")
"""What a record says, in the order in which a difference is told."""


@dataclass(frozen=True)
class Mart:
    """Where a stream's records end: the model, and the expressions over its columns; None: it does not tell."""

    model: str
    key: str
    amount: str | None = None
    currency: str | None = None
    day: str | None = None
    status: str | None = None
    account_id: str | None = None
    keeps_removed: bool = False

    def values(self) -> dict[str, str]:
        return {name: told for name in VALUES if (told := getattr(self, name)) is not None}


_CREATED = "(created_at AT TIME ZONE 'UTC')::DATE"
_ACCOUNT = "substr(account_key, length(connection_id) + 2)"
_MARTS = {
    "accounts": Mart("dim_accounts", "provider_account_id", currency="currency", keeps_removed=True),
    "balances": Mart(
        "fct_balances",
        f"{_ACCOUNT} || ':' || as_of::VARCHAR",
        amount="booked",
        currency="currency",
        day="as_of",
        account_id=_ACCOUNT,
    ),
    "transactions": Mart(
        "fct_transactions",
        "provider_transaction_id",
        amount="amount",
        currency="currency",
        day="booked_on",
        status="status",
        account_id="provider_account_id",
    ),
    "charges": Mart("fct_charges", "provider_charge_id", "amount", "currency", _CREATED),
    "refunds": Mart("fct_refunds", "provider_refund_id", "amount", "currency", _CREATED),
    "payouts": Mart("fct_payouts", "provider_payout_id", "amount", "currency", _CREATED),
    "invoices": Mart("fct_invoices", "provider_invoice_id", "total", "currency", _CREATED),
    "subscriptions": Mart("fct_subscriptions", "provider_subscription_id", None, "currency", _CREATED),
    "balance_transactions": Mart(
        "fct_balance_transactions", "provider_balance_transaction_id", "amount", "currency", _CREATED
    ),
}
_SHARED = {"accounts", "balances", "transactions"}
# One payload of these is a list, and its staging model has a row for each of its items.
_OPENED = {("gocardless", "balances")}
# A staging model's id is provider_<singular>_id, but for the streams whose record is an account's.
_KEYS = {"details": "provider_account_id", "identity": "provider_account_id"}
# The amount of a model before its last one, by the first of these columns that it has.
_INNER = {
    "amount": ("amount", "ledger", "current_balance", "booked", "total"),
    "currency": ("currency",),
    "day": ("booked_on", "as_of"),
    "status": ("status",),
    "account_id": ("provider_account_id",),
}
_REF = re.compile(r"""\b(?:ref|everywhere)\(\s*['"](\w+)['"]\s*\)""")


@dataclass(frozen=True)
class Stream:
    """One stream of a provider, and the models that its records go through."""

    provider: str
    name: str

    @property
    def staging(self) -> str:
        return f"stg_{self.provider}__{self.name}"

    @property
    def key(self) -> str:
        """The column of its id in staging and intermediate models."""
        return _KEYS.get(self.name, f"provider_{self.name.removesuffix('s')}_id")

    @property
    def opened(self) -> bool:
        return (self.provider, self.name) in _OPENED

    @property
    def mart(self) -> Mart | None:
        return _MARTS.get(self.name)


STREAMS = tuple(Stream(provider, one.name) for provider, connector in PROVIDERS.items() for one in connector.streams)


@dataclass(frozen=True)
class Graph:
    """Which model reads which, as the project's files say; `reads[model]` are the models that it names."""

    reads: Mapping[str, frozenset[str]]
    layers: Mapping[str, str]

    @classmethod
    def of(cls, project: Path) -> "Graph":
        found, layers = {}, {}
        for path in sorted((project / "models").rglob("*.sql")):
            found[path.stem] = frozenset(_REF.findall(path.read_text()))
            layers[path.stem] = path.relative_to(project / "models").parts[0]
        return cls(found, layers)

    @cached_property
    def upstream(self) -> dict[str, frozenset[str]]:
        """Of each model all that it reads, directly or not."""
        known: dict[str, frozenset[str]] = {}

        def of(model: str) -> frozenset[str]:
            if model not in known:
                known[model] = frozenset()  # dbt allows no circle; a file that is half written may have one
                direct = self.reads.get(model, frozenset())
                known[model] = direct.union(*(of(one) for one in direct))
            return known[model]

        return {model: of(model) for model in self.reads}

    def way(self, first: str, last: str) -> list[str]:
        """The models between two, in an order in which each comes after all that it reads; both ends are among them."""
        between = [
            model for model in self.reads if first in self.upstream[model] and model in self.upstream.get(last, ())
        ]
        return [first, *sorted(between, key=lambda model: (len(self.upstream[model]), model)), last]


@dataclass
class Steps:
    """The steps as of one reading.

    Attributes:
        scope: the connections that are looked at; None for all.
        unreadable: paths of published files that cannot be read: they are left out, and so are their models and buckets.
        unpublished: streams with records, by the model that is not published and should be.
    """

    at: Reading
    expected: Expected
    graph: Graph
    scope: Sequence[str] | None
    unreadable: frozenset[str] = frozenset()
    told: set[Stream] = field(default_factory=set)
    unpublished: dict[Stream, str] = field(default_factory=dict)
    counted: dict[tuple[str, str], int] = field(default_factory=dict)

    def read_raw(self) -> None:
        """Make ``records``."""
        duck = self.at.duck
        duck.execute("CREATE OR REPLACE TEMP TABLE scope (connection_id VARCHAR)")
        if self.scope is not None:
            duck.executemany("INSERT INTO scope VALUES (?)", [[one] for one in self.scope])
        with self.pinned():
            self._held()
            self._truth()
            self._heirs()
        duck.execute(
            """
            CREATE OR REPLACE TEMP TABLE records AS
            SELECT held.*, truth.connection_id IS NOT NULL AS told, truth.day, truth.source_amount, truth.amount,
                   truth.currency, if(truth.pending, 'pending', 'posted') AS status, truth.account_id AS said_account_id
            FROM held
            LEFT JOIN (SELECT DISTINCT ON (connection_id, stream, record_id) * FROM truth) AS truth ON held.connection_id = truth.connection_id AND held.stream = truth.stream
                AND held.record_id = truth.record_id;
            DROP TABLE held; DROP TABLE truth;
            """
        )
        rows = duck.execute("SELECT provider, stream, count(*) FROM records GROUP BY ALL").fetchall()
        self.counted = {(provider, stream): count for provider, stream, count in rows}

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """A transaction in which PostgreSQL is read as it was at the instant of the reading."""
        duck = self.at.duck
        duck.execute("BEGIN")
        try:
            duck.execute(f"CALL postgres_execute('pg', $$SET TRANSACTION SNAPSHOT '{self.at.postgres_snapshot}'$$)")
            yield
        except BaseException:
            duck.execute("ROLLBACK")
            raise
        duck.execute("COMMIT")

    def _held(self) -> None:
        """Every raw record without its payload; PostgreSQL itself compares the payload with its hash."""
        each = " UNION ALL ".join(
            f"""
            SELECT '{one.provider}'::text AS provider, '{one.name}'::text AS stream, bucket, connection_id, record_id,
                   account_id, record_date, pending, hash, sync_id, synced_at, removed_at, removed_reason,
                   substr(sha256(convert_to(payload::text, 'UTF8')), 1, 16) = uuid_send(hash) AS intact
            FROM raw.{one.provider}_{one.name} WHERE {self._mine()}
            """
            for one in STREAMS
        )
        self.at.duck.execute(f"CREATE OR REPLACE TEMP TABLE held AS FROM postgres_query('pg', $q${each}$q$)")

    def _heirs(self) -> None:
        """The pending records that a posted one says it came of: Plaid alone tells, and may show both for a while."""
        self.at.duck.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE heirs AS FROM postgres_query('pg', $q$
                SELECT DISTINCT connection_id, 'transactions'::text AS stream, payload->>'pending_transaction_id' AS record_id
                FROM raw.plaid_transactions
                WHERE removed_at IS NULL AND NOT pending AND payload->>'pending_transaction_id' IS NOT NULL AND {self._mine()}
            $q$)
            """
        )

    def _truth(self) -> None:
        duck = self.at.duck
        duck.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE truth (
                stream VARCHAR, connection_id VARCHAR, record_id VARCHAR, account_id VARCHAR, day DATE,
                source_amount {MONEY}, amount {MONEY}, currency VARCHAR, pending BOOLEAN
            )
            """
        )
        providers = {
            provider
            for (provider,) in duck.execute("SELECT DISTINCT provider FROM held").fetchall()
            if provider in PROVIDERS
        }
        for provider in sorted(providers):
            duck.execute(f"CREATE OR REPLACE TEMP TABLE account_payloads AS {self.account_payloads(provider)}")
            for stream in (one for one in STREAMS if one.provider == provider):
                reading = self.expected(provider, stream.name)
                if reading is None:
                    continue
                duck.execute(f"CREATE OR REPLACE TEMP VIEW payloads AS {self.payloads(stream)}")
                duck.execute(
                    f"""
                    INSERT INTO truth
                    SELECT '{stream.name}', connection_id, record_id, account_id, day, source_amount, amount, currency, pending
                    FROM ({reading})
                    """
                )
                self.told.add(stream)
        duck.execute("DROP VIEW IF EXISTS payloads; DROP TABLE IF EXISTS account_payloads")

    def payloads(self, stream: Stream) -> str:
        """The relation that the independent reading reads, of raw."""
        return (
            "SELECT * REPLACE (payload::JSON AS payload) FROM postgres_query('pg', $q$"
            "SELECT connection_id, record_id, account_id, record_date, pending, payload "
            f"FROM raw.{stream.provider}_{stream.name} WHERE {self._mine()}$q$)"
        )

    def account_payloads(self, provider: str) -> str:
        """What tells of the provider's accounts, of raw."""
        names = {stream.name for stream in STREAMS if stream.provider == provider}
        return " UNION ALL ".join(
            self.payloads(Stream(provider, name)) for name in ("accounts", "details") if name in names
        )

    def _mine(self) -> str:
        return "true" if self.scope is None else f"connection_id IN ({', '.join(literal(one) for one in self.scope)})"

    def read_published(self) -> None:
        """Make ``staged``, ``ended`` and ``excluded``."""
        self.at.duck.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE staged AS {self._union(self._staged(), _STAGED)};
            CREATE OR REPLACE TEMP TABLE ended AS {self._union(self._ended(), _ENDED)};
            CREATE OR REPLACE TEMP TABLE excluded AS {self._union(self._excluded(), _EXCLUDED)};
            """
        )

    def _union(self, parts: Iterator[str], columns: Mapping[str, str]) -> str:
        empty = ", ".join(f"NULL::{kind} AS {name}" for name, kind in columns.items())
        mine = "" if self.scope is None else "SEMI JOIN scope USING (connection_id)"
        return (
            f"SELECT {', '.join(columns)} FROM ({' UNION ALL '.join([*parts, f'SELECT {empty} WHERE false'])}) {mine}"
        )

    def _staged(self) -> Iterator[str]:
        for one in STREAMS:
            if ("staging", one.staging) in self.at.tables:
                yield f"""
                    SELECT {"DISTINCT" if one.opened else ""} '{one.provider}' AS provider, '{one.name}' AS stream, bucket,
                           connection_id, {one.key} AS record_id, synced_at, removed_at
                    FROM {self.relation(("staging", one.staging))}
                """
            elif self.counted.get((one.provider, one.name)):
                self.unpublished[one] = one.staging

    def _ended(self) -> Iterator[str]:
        for one in STREAMS:
            mart = one.mart
            if mart is None:
                continue
            if ("main", mart.model) not in self.at.tables:
                if self.counted.get((one.provider, one.name)):
                    self.unpublished.setdefault(one, mart.model)
                continue
            told = mart.values() if one in self.told else {}
            values = ", ".join(f"{told.get(name, f'NULL::{_ENDED[name]}')} AS {name}" for name in VALUES)
            yield f"""
                SELECT '{one.provider}' AS provider, '{one.name}' AS stream, bucket, connection_id, {mart.key} AS record_id, {values}
                FROM {self.relation(("main", mart.model))}
                {f"WHERE provider = '{one.provider}'" if one.name in _SHARED else ""}
            """

    def _excluded(self) -> Iterator[str]:
        if ("main", "excluded_records") in self.at.tables:
            yield f"""
                SELECT provider, stream, bucket, connection_id, record_id, model, reason
                FROM {self.relation(("main", "excluded_records"))} WHERE model <> 'quarantine'
            """

    def relation(self, name: Name) -> str:
        """A published table, without the files that cannot be read."""
        return self.at.relation(name, self.unreadable)

    def columns(self, model: str) -> set[str]:
        """The columns of a published model."""
        schema = {"staging": "staging", "intermediate": "intermediate"}.get(self.graph.layers.get(model, ""), "main")
        table = self.at.tables.get((schema, model))
        return {column for column, _ in table.columns} if table is not None else set()

    def inner(self, stream: Stream, model: str) -> dict[str, str]:
        """What a model on the way of a stream's records tells of them: name -> expression."""
        mart = stream.mart
        if mart is not None and model == mart.model:
            return mart.values()
        columns = self.columns(model)
        if stream.opened and model == stream.staging:
            return {}
        told = {
            name: found
            for name, known in _INNER.items()
            if (found := next((one for one in known if one in columns), ""))
        }
        if stream.provider == "stripe":
            created = {"day": _CREATED} if "created_at" in columns else {}
            return created | {name: told[name] for name in ("amount", "currency") if name in told}
        return told

    def wait(self, grounds: Mapping[int, dt.datetime]) -> int:
        """Make ``waiting``: of each bucket what was stamped since its ground, with all that belongs to such an account."""
        duck = self.at.duck
        duck.execute("CREATE OR REPLACE TEMP TABLE grounds (bucket SMALLINT, ground TIMESTAMPTZ)")
        if grounds:
            duck.executemany("INSERT INTO grounds VALUES (?, ?)", [list(one) for one in grounds.items()])
        duck.execute(
            """
            CREATE OR REPLACE TEMP TABLE waiting AS
            WITH stamped AS (
                SELECT stream, connection_id, record_id, account_id, bucket, greatest(synced_at, removed_at) AS since
                FROM records
                SEMI JOIN grounds ON records.bucket = grounds.bucket
            ),
            fresh AS (
                SELECT stamped.* FROM stamped JOIN grounds USING (bucket) WHERE since >= ground
            ),
            accounts AS (
                SELECT connection_id, record_id AS account_id, max(since) AS since FROM fresh
                WHERE stream IN ('accounts', 'details') GROUP BY ALL
            )
            SELECT connection_id, stream, record_id, max(since) AS since FROM (
                SELECT connection_id, stream, record_id, since FROM fresh
                UNION ALL
                SELECT stamped.connection_id, stream, record_id, accounts.since
                FROM stamped JOIN accounts USING (connection_id, account_id)
            )
            GROUP BY ALL
            """
        )
        found = duck.execute("SELECT count(*) FROM waiting").fetchone()
        return int(found[0]) if found else 0


_STAGED = {
    "provider": "VARCHAR",
    "stream": "VARCHAR",
    "bucket": "SMALLINT",
    "connection_id": "VARCHAR",
    "record_id": "VARCHAR",
    "synced_at": "TIMESTAMPTZ",
    "removed_at": "TIMESTAMPTZ",
}
_ENDED = {
    "provider": "VARCHAR",
    "stream": "VARCHAR",
    "bucket": "SMALLINT",
    "connection_id": "VARCHAR",
    "record_id": "VARCHAR",
    "amount": MONEY,
    "currency": "VARCHAR",
    "day": "DATE",
    "status": "VARCHAR",
    "account_id": "VARCHAR",
}
_EXCLUDED = {
    "provider": "VARCHAR",
    "stream": "VARCHAR",
    "bucket": "SMALLINT",
    "connection_id": "VARCHAR",
    "record_id": "VARCHAR",
    "model": "VARCHAR",
    "reason": "VARCHAR",
}


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
