"""Somebody who is signed in, and a lake whose marts a test writes row by row, so that every figure can be told beforehand."""

import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
from fastapi import FastAPI

from console import create_app
from ledgerlake.local import S3, Servers
from ledgerlake.people import People, Role
from ledgerlake.settings import Settings
from ledgerlake.store import Store
from tests.ledgerlake.lake.conftest import Press

Enter = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
Publish = Callable[..., int]


@pytest.fixture
def app(settings: Settings, postgres_url: str) -> FastAPI:
    return create_app(settings, postgres_url)


@pytest.fixture
def people(store: Store) -> People:
    return People(store)


@pytest.fixture
def enter(app: FastAPI, people: People, store: Store) -> Enter:
    """`async with enter("viewer") as client`; `client.headers` carry the CSRF token."""

    @contextlib.asynccontextmanager
    async def signed_in(role: Role) -> AsyncIterator[httpx.AsyncClient]:
        person, _ = people.add("test", f"a {role}", role)
        with store.connect() as postgres:
            postgres.execute("UPDATE ledgerlake.users SET must_change = false WHERE user_id = %s", (person.user_id,))
        token, session = people.open_session(people.get(person.user_id))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=transport,
                base_url="http://c",
                cookies={"ledgerlake": token},
                headers={"x-csrf-token": session.csrf},
            ) as client,
        ):
            yield client

    return signed_in


@pytest.fixture
def publish(settings: Settings, postgres_url: str, s3: S3) -> Publish:
    """`publish(customer_months=[{…}])`: marts of these rows, with the contract's types. Texts are SQL literals of DuckDB."""
    from ledgerlake.lake._project import models

    press = Press(Servers(postgres_url, s3), settings)
    contracts = models()

    def table(name: str, rows: list[Mapping[str, object]]) -> str:
        columns = contracts[name].columns
        selects = [
            ", ".join(f"{_literal(row.get(column))}::{kind} as {column}" for column, kind in columns) for row in rows
        ]
        return " union all ".join(f"select {one}" for one in selects)

    def write(**marts: list[Mapping[str, object]]) -> int:
        everywhere = {"source_mix"}
        return press.publish(
            **{
                name: {None if name in everywhere else 0: table(name, [{"bucket": 0, **row} for row in rows])}
                for name, rows in marts.items()
            },
            # A build has a bucket at least; this mart makes one where a test publishes none.
            **({} if set(marts) - everywhere else {"excluded_records": {0: contracts["excluded_records"].nothing}}),
        )

    return write


def _literal(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, dt.date):
        return f"'{value.isoformat()}'"
    return "'" + str(value).replace("'", "''") + "'"
