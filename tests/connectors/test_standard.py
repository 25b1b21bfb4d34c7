"""Every connector keeps the standard suite, by one line; and the suite is able to fail."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from connectors import PROVIDERS, Connector
from ledgerlake.local import Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault
from tests.connectors.suite import CHECKS, GOCARDLESS, PLAID, STRIPE, TELLER, TINK, WRONG, Bench, Dialect, Step, Wrong

SUITE = (
    GOCARDLESS,
    PLAID,
    STRIPE,
    TELLER,
    TINK,
)
"""The connectors that are tried: another one is another line."""

ROOT = Path(__file__).parents[2]
_CODE = re.compile(r"`([^`]+)`")

Attempt = Callable[..., None]


@pytest.fixture(scope="module")
def attempt(shared_servers: Servers, _template: str) -> Iterator[Attempt]:
    """`attempt(check, dialect, wrong=None)`: the check of the dialect's connector, or of it made wrong."""
    base, name = shared_servers.postgres_url.rpartition("/")[0], f"test_{secrets.token_hex(6)}"
    key = SecretStr("x2ZRlGdZ7lYbLQ3jVYyDRMq3bq3aMqGmFrPyfjRkcHA=")
    settings = Settings(postgres_url=SecretStr(f"{base}/{name}"), secret_keys=(key,))
    stories: dict[type[Connector], list[Step]] = {}

    def attempting(check: str, dialect: Dialect, wrong: Wrong | None = None) -> None:
        connector = dialect.connector if wrong is None else wrong(dialect.connector)

        async def run() -> None:
            bench = Bench(dialect, connector, Store(f"{base}/{name}"), settings, Vault.of(settings), stories)
            async with bench.listening():
                await CHECKS[check](bench)

        asyncio.run(run())

    copy, drop = "CREATE DATABASE {} TEMPLATE {}", "DROP DATABASE {} WITH (FORCE)"
    with psycopg.connect(shared_servers.postgres_url, dbname="postgres", autocommit=True) as postgres:
        postgres.execute(sql.SQL(copy).format(sql.Identifier(name), sql.Identifier(_template)))
        yield attempting
        postgres.execute(sql.SQL(drop).format(sql.Identifier(name)))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("dialect", SUITE, ids=str)
def test_a_connector_keeps_the_standard(attempt: Attempt, dialect: Dialect, check: str) -> None:
    if check in dialect.lacks:
        pytest.skip(dialect.lacks[check])
    attempt(check, dialect)


@pytest.mark.parametrize(
    ("dialect", "check", "wrong"),
    [
        pytest.param(dialect, check, wrong, id=f"{dialect}-{check}-{wrong.__name__}")
        for check in CHECKS
        for number, wrong in enumerate(WRONG[check])
        for dialect in (SUITE if number == 0 else [TELLER])
        if check not in dialect.lacks
    ],
)
def test_a_connector_that_is_wrong_does_not(attempt: Attempt, dialect: Dialect, check: str, wrong: Wrong) -> None:
    with pytest.raises(AssertionError):
        attempt(check, dialect, wrong)


def test_every_provider_is_in_the_suite_and_every_check_can_fail() -> None:
    assert {dialect.name: dialect.connector for dialect in SUITE} == dict(PROVIDERS)
    assert {check: bool(wrong) for check, wrong in WRONG.items()} == dict.fromkeys(CHECKS, True)


def test_every_check_is_described() -> None:
    told = (ROOT / "docs" / "testing-a-connector.md").read_text()
    described = [f"| `{name}` | {' '.join((check.__doc__ or '').split())} |" for name, check in CHECKS.items()]
    assert [line for line in described if line not in told] == []


@pytest.mark.parametrize("dialect", SUITE, ids=str)
def test_what_a_protocol_lacks_is_a_check_and_has_a_reason(dialect: Dialect) -> None:
    told = (ROOT / "docs" / "testing-a-connector.md").read_text()
    for check, reason in dialect.lacks.items():
        assert check in CHECKS
        assert reason.endswith("."), "a sentence"
        assert f"| {dialect} | `{check}` | {reason} |" in told


@pytest.mark.parametrize("dialect", SUITE, ids=str)
def test_every_error_of_the_provider_s_page_is_in_its_table(dialect: Dialect) -> None:
    page = (ROOT / "docs" / "providers" / f"{dialect}.md").read_text()
    _, _, section = page.partition("rror\n" if "each error\n" in page else "## Errors\n")
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    documented = {code.strip("*…") for row in rows for code in _CODE.findall(row)}
    known = " ".join(f"{case} {case.code} {case.answer}" for case in dialect.errors)
    assert documented
    assert {code for code in documented if any(part not in known for part in code.split(" … "))} == set()
