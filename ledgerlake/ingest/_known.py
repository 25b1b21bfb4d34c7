"""What the store holds of one stream and account, for a connector that wants to bound its read."""

from datetime import date

from psycopg import AsyncConnection, sql


class Known:
    """Answers a connector's questions from the leaf of the connection's bucket; see `connectors.Known`."""

    def __init__(
        self,
        connection: AsyncConnection,
        *,
        provider: str,
        stream: str,
        bucket: int,
        connection_id: str,
        account_id: str,
    ) -> None:
        self._connection = connection
        self._leaf = sql.Identifier("raw", f"{provider}_{stream}_b{bucket}")
        self._parameters = {"bucket": bucket, "connection": connection_id, "account": account_id}

    async def oldest_pending(self) -> date | None:
        return await self._date("SELECT min(record_date) FROM {leaf} WHERE {whose} AND pending AND removed_at IS NULL")

    async def newest_before(self, day: date) -> date | None:
        return await self._date(
            "SELECT max(record_date) FROM {leaf} WHERE {whose} AND removed_at IS NULL AND record_date < %(day)s",
            day=day,
        )

    async def _date(self, text: str, **parameters: date) -> date | None:
        whose = sql.SQL("connection_id = %(connection)s AND account_id = %(account)s")
        query = sql.SQL(text).format(leaf=self._leaf, whose=whose)
        cursor = await self._connection.execute(query, {**self._parameters, **parameters})
        row = await cursor.fetchone()
        assert row is not None
        found: date | None = row[0]
        return found
