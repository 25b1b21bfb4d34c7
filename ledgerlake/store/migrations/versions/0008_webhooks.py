"""Webhook events: what a provider told by itself, until the sync that it asks for is done."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE ledgerlake.webhook_events (
            provider text NOT NULL,
            event_id text NOT NULL,
            kind text NOT NULL,
            external_id text,
            account_id text,
            stream text,
            record_ids text[] NOT NULL DEFAULT '{}',
            since date,
            until date,
            fault text,
            connection_ids text[] NOT NULL DEFAULT '{}',
            received_at timestamptz NOT NULL DEFAULT now(),
            asked_at timestamptz,
            asked integer NOT NULL DEFAULT 0,
            handled_at timestamptz,
            PRIMARY KEY (provider, event_id)
        )
        """
    )
    for what, comment in (
        (
            "TABLE ledgerlake.webhook_events",
            "One row per event that a provider signed: what it names, not what it says.",
        ),
        (
            "COLUMN ledgerlake.webhook_events.event_id",
            "The provider''s own, or a hash of the body and its signed time.",
        ),
        ("COLUMN ledgerlake.webhook_events.external_id", "The connection that it names, by the provider''s own id."),
        ("COLUMN ledgerlake.webhook_events.record_ids", "Records of that stream that it names."),
        ("COLUMN ledgerlake.webhook_events.since", "With until: the days whose records changed, where it names them."),
        (
            "COLUMN ledgerlake.webhook_events.fault",
            "Why a signed body could not be read; such an event asks for nothing.",
        ),
        (
            "COLUMN ledgerlake.webhook_events.connection_ids",
            "Those it concerns; none while the store knows none of them.",
        ),
        (
            "COLUMN ledgerlake.webhook_events.asked",
            "How often a run was asked for on its account, the last time at asked_at.",
        ),
        (
            "COLUMN ledgerlake.webhook_events.handled_at",
            "When a sync that began after it ended, or at once where none is due.",
        ),
    ):
        op.execute(f"COMMENT ON {what} IS '{comment}'")
    op.execute("CREATE INDEX ON ledgerlake.webhook_events (received_at)")
    op.execute("CREATE INDEX ON ledgerlake.webhook_events (received_at) WHERE handled_at IS NULL")
    # An event of Tink names an account, one of Stripe a customer: whose they are is looked up by these alone.
    op.execute("CREATE INDEX accounts_account_id ON ledgerlake.accounts (account_id)")
    op.execute("CREATE INDEX stripe_customers_record_id ON raw.stripe_customers (record_id)")


def downgrade() -> None:
    op.execute("DROP INDEX raw.stripe_customers_record_id")
    op.execute("DROP INDEX ledgerlake.accounts_account_id")
    op.execute("DROP TABLE ledgerlake.webhook_events")
