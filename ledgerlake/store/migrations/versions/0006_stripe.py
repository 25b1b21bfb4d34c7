"""Stripe's streams."""

import sqlalchemy as sa
from alembic import op

from ledgerlake.store import _tables

revision = "0006"
down_revision = "0005"

_STREAMS = {
    "stripe_accounts": "The account that the key reads, as GET /v1/account gives it; record_id is its id.",
    "stripe_customers": "Customers of GET /v1/customers; record_id is the customer id.",
    "stripe_products": "Products of GET /v1/products; record_id is the product id.",
    "stripe_prices": "Prices of GET /v1/prices, active or not; record_id is the price id.",
    "stripe_subscriptions": "Subscriptions of GET /v1/subscriptions, canceled ones too; record_id is the subscription id.",
    "stripe_subscription_items": "All items of a subscription; record_id is <subscription>:<item>, account_id the subscription.",
    "stripe_invoices": "Invoices of GET /v1/invoices; record_id is the invoice id.",
    "stripe_invoice_lines": "All lines of an invoice; record_id is <invoice>:<line>, account_id the invoice.",
    "stripe_charges": "Charges of GET /v1/charges; record_id is the charge id.",
    "stripe_refunds": "Refunds of GET /v1/refunds; record_id is the refund id.",
    "stripe_disputes": "Disputes of GET /v1/disputes; record_id is the dispute id.",
    "stripe_credit_notes": "Credit notes of GET /v1/credit_notes; record_id is the credit note id.",
    "stripe_credit_note_lines": "All lines of a credit note; record_id is <credit note>:<line>, account_id the credit note.",
    "stripe_payouts": "Payouts of GET /v1/payouts; record_id is the payout id.",
    "stripe_balance_transactions": "Balance transactions of GET /v1/balance_transactions; record_id is their id.",
    "stripe_events": "Events of GET /v1/events, kept beyond the 30 days that Stripe keeps them; record_id is the event id.",
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
