"""GoCardless' streams."""

import sqlalchemy as sa
from alembic import op

from ledgerlake.store import _tables

revision = "0005"
down_revision = "0004"

_STREAMS = {
    "gocardless_accounts": "Metadata as GET /accounts/{id}/ tells it; record_id is the account id.",
    "gocardless_details": "Details as GET /accounts/{id}/details/ tells them; record_id is the account id.",
    "gocardless_balances": "One reading of all balances of an account per day; record_id is <account id>:<day>.",
    "gocardless_transactions": "Transactions; record_id is <account id>:<internal id>, or what stands for it.",
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
