"""What a connection was called by its provider before its customer signed anew."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("ALTER TABLE ledgerlake.connections ADD COLUMN former_ids text[] NOT NULL DEFAULT '{}'")
    op.execute(
        "COMMENT ON COLUMN ledgerlake.connections.former_ids IS "
        "'External ids that it had before, of consents that a newer one replaced; the oldest first.'"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE ledgerlake.connections DROP COLUMN former_ids")
