"""Whatever a program sends that the API's document allows, or nearly allows, is answered, and never with a fault."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from console import create_app
from console.api import document
from ledgerlake.local import S3
from ledgerlake.people import People
from ledgerlake.settings import Settings
from ledgerlake.store import Store
from tests.ledgerlake.records.conftest import plant

EXAMPLES = 4
"""Of each operation, and as many again that break what the document asks for."""
IDS = {"connection_id": "con_1", "finding_id": 1, "stream": "transactions", "record_id": "t1"}


Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(settings: Settings, postgres_url: str, s3: S3, store: Store) -> Iterator[Ask]:
    """`ask(method=…, url=…)`: the answer of an application that stays open."""
    plant(postgres_url, s3, settings)
    _, secret = People(store).add_token("test", "a program", ("read", "act", "admin"), 1)
    app = create_app(settings, postgres_url)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False))
    with asyncio.Runner() as runner:
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())

        def request(**asked: Any) -> httpx.Response:
            asked["headers"] = {**asked["headers"], "Authorization": f"Bearer {secret}"}
            return runner.run(client.request(**asked))

        yield request
        runner.run(client.aclose())
        runner.run(lifespan.__aexit__(None, None, None))


# The threads of psycopg's pools draw from `random`, too, and Hypothesis takes that for the strategy's doing.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
def test_no_request_makes_a_fault(ask: Ask) -> None:
    operations = [one.ok() for one in schemathesis.openapi.from_dict(document()).get_all_operations()]
    assert len(operations) == sum(len(methods) for methods in document()["paths"].values())
    answered: set[int] = set()
    for operation in operations:
        known = {name: value for name, value in IDS.items() if f"{{{name}}}" in operation.path}
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            # Half of them ask for what is there: else every answer were a 404.
            cases = operation.as_strategy(mode)
            if mode is GenerationMode.POSITIVE and known:
                cases = st.one_of(operation.as_strategy(mode, path_parameters=known), cases)

            @settings(
                max_examples=EXAMPLES,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=cases)
            def one(case: schemathesis.Case) -> None:
                asked = case.as_transport_kwargs(base_url="http://testserver")
                asked.pop("cookies", None)
                asked["content"] = asked.pop("data", None)
                asked["headers"] = {k: v for k, v in asked["headers"].items() if k.lower() != "authorization"}
                answer = ask(**asked)
                answered.add(answer.status_code)
                assert answer.status_code < 500, (case.as_curl_command(), answer.text)
                assert answer.headers["content-type"] == "application/json"

            one()
    assert {200, 202, 404, 422} <= answered
