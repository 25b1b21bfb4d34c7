"""Teller's streams."""

import sqlalchemy as sa
from alembic import op

from ledgerlake.store import _tables

revision = "0002"
down_revision = "0001"

_STREAMS = {
    "teller_accounts": "Accounts as GET /accounts lists them; record_id is the account id.",
    "teller_balances": "One reading of an account''s balance per day; record_id is <account id>:<day>.",
    "teller_transactions": "Transactions; record_id is the transaction id.",
    "teller_details": "Account and routing numbers; record_id is the account id.",
    "teller_identity": "Owners of an account; record_id is the account id.",
}


def upgrade() -> None:
    buckets: int = op.get_bind().execute(sa.text("SELECT buckets FROM ledgerlake.store")).scalar_one()
    for name, description in _STREAMS.items():
        for statement in _tables.create_stream(name, description, buckets):
            op.execute(statement)


def downgrade() -> None:
    for name in _STREAMS:
        for statement in _tables.drop_stream(name):
            op.execute(statement)
