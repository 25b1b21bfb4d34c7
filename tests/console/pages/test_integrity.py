"""The page of findings: how whole each provider is, and the findings day by day, by verifications of all connections alone."""

import pytest
from pydantic import SecretStr

from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault
from tests.console.pages.conftest import Enter

pytestmark = pytest.mark.anyio

_VERIFIED = """
INSERT INTO ledgerlake.verifications (verification_id, today, started_at, ended_at, connections, compared, findings, error)
VALUES ('older', current_date - 1, now() - interval '1 day', now() - interval '1 day', NULL, 1000, 2, NULL),
       ('newest', current_date, now() - interval '2 minutes', now() - interval '1 minute', NULL, 4000, 1, NULL),
       ('of one', current_date, now() - interval '1 minute', now(), ARRAY[%(id)s], 7, 7, NULL),
       ('broken', current_date, now(), now(), NULL, 0, 0, 'it broke off')
"""
_FARED = """
INSERT INTO ledgerlake.verification_results
    (verification_id, connection_id, stream, step, compared, matched, missing, unexpected, duplicate, mismatched, late, excluded)
VALUES ('older', %(id)s, 'transactions', 'raw', 1000, 998, 2, 0, 0, 0, 0, 0),
       ('newest', %(id)s, 'transactions', 'raw', 3000, 2990, 3, 1, 1, 0, 1, 4),
       ('newest', %(id)s, 'accounts', 'raw', 1000, 1000, 0, 0, 0, 0, 0, 0),
       ('of one', %(id)s, 'accounts', 'raw', 7, 0, 7, 0, 0, 0, 0, 0)
"""


async def test_completeness_and_findings_are_told_of_each_days_last_whole_verification(
    enter: Enter, store: Store, settings: Settings
) -> None:
    secrets = {"access_token": SecretStr("token"), "enrollment_id": SecretStr("enr_1")}
    made, _ = store.add_connection(
        Vault.of(settings), provider="teller", external_id="enr_1", customer_id="ana", secrets=secrets
    )
    async with enter("viewer") as client:
        nothing = (await client.get("/integrity")).text
        assert "Completeness of each provider" not in nothing
        with store.connect() as postgres:
            for statement in (_VERIFIED, _FARED):
                postgres.execute(statement, {"id": made.connection_id})
        page = (await client.get("/integrity")).text

    cells = ("999.000 ‰", "4,000", "3,990", "3", "1", "2", "4")
    row = '<tr><th scope="row">teller</th>' + "".join(f'<td class="n">{cell}</td>' for cell in cells) + "</tr>"
    assert row in page
    assert '"y": ["998.000", "999.000"]' in page
    assert '"y": [2, 1]' in page
