"""One house for all tests of this folder that verify a real one."""

import datetime as dt
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

import sandbox
from ledgerlake.lake import Lake
from ledgerlake.local import S3, Servers
from ledgerlake.settings import Settings
from tests.ledgerlake.integrity.house import TODAY, House, connect, reached


@pytest.fixture(scope="session")
def house(shared_servers: Servers, _template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Four customers of three providers and two months, synced and published once for all tests of a worker."""
    there = shared_servers.s3
    s3 = S3(f"{there.url}/{secrets.token_hex(6)}", there.endpoint, there.access_key, there.secret_key, there.region)
    template = replace(
        shared_servers, postgres_url=f"{shared_servers.postgres_url.rpartition('/')[0]}/{_template}", s3=s3
    )
    with sandbox.Server(sandbox.World(7, 4, dt.date(2026, 1, 1)), sandbox.Clock(TODAY)) as server:
        told = server.where()
        settings = Settings(
            home=tmp_path_factory.mktemp("house"),
            secret_keys=(SecretStr("x2ZRlGdZ7lYbLQ3jVYyDRMq3bq3aMqGmFrPyfjRkcHA="),),
            s3_url=s3.url,
            aws_endpoint_url_s3=s3.endpoint,
            aws_access_key_id=SecretStr(s3.access_key or ""),
            aws_secret_access_key=SecretStr(s3.secret_key or ""),
            aws_region=s3.region,
        ).model_copy(update=reached(told))
        empty = House(template, settings, shared_servers, server)
        made = empty.copy()
        connect(made)
        made.sync(TODAY)
        Lake(made.where, made.settings).build()
        yield made
        made.drop_copies()
        empty.drop_copies()


@pytest.fixture
def mine(house: House) -> House:
    """This test's own copy."""
    return house.copy()


@pytest.fixture
def restored(mine: House) -> Iterator[Callable[[str, bytes], None]]:
    """Puts bytes in the place of a published file, and the file back in the end."""
    client, bucket = mine.where.s3.client(), mine.where.s3.bucket
    before = {}

    def put(path: str, content: bytes) -> None:
        key = path.removeprefix(f"s3://{bucket}/")
        before[key] = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        client.put_object(Bucket=bucket, Key=key, Body=content)

    yield put
    for key, content in before.items():
        client.put_object(Bucket=bucket, Key=key, Body=content)
