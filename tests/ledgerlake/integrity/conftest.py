"""What the tests of this folder do to a real house (``house.py``)."""

from collections.abc import Callable, Iterator

import pytest

from tests.ledgerlake.integrity.house import House


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
