"""Tink's streams."""

import sqlalchemy as sa
from alembic import op

from ledgerlake.store import _tables

revision = "0004"
down_revision = "0003"

_STREAMS = {
    "tink_accounts": "Accounts as GET /data/v2/accounts lists them; record_id is the account id.",
    "tink_consents": "The consent as GET /api/v1/provider-consents shows it; record_id is the credentials id.",
    "tink_balances": "The balances that come with an account, one reading a day; record_id is <account id>:<day>.",
    "tink_transactions": "Transactions as GET /data/v2/transactions lists them; record_id is the transaction id.",
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
