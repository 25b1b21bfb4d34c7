"""Plaid's streams."""

import sqlalchemy as sa
from alembic import op

from ledgerlake.store import _tables

revision = "0003"
down_revision = "0002"

_STREAMS = {
    "plaid_accounts": "Accounts as POST /accounts/get lists them; record_id is the account id.",
    "plaid_balances": "One reading of an account''s cached balances per day; record_id is <account id>:<day>.",
    "plaid_transactions": "Transactions as POST /transactions/sync tells them; record_id is the transaction id.",
    "plaid_item": "The Item and the status of its updates, as POST /item/get tells them; record_id is the item id.",
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
