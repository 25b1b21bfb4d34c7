"""Doubts: what one sync missed where a provider allows too few requests to read it again at once."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE ledgerlake.doubts (
            connection_id text NOT NULL REFERENCES ledgerlake.connections ON DELETE CASCADE,
            stream text NOT NULL,
            record_id text NOT NULL,
            sync_id bigint NOT NULL,
            PRIMARY KEY (connection_id, stream, record_id)
        )
        """
    )
    op.execute(
        "COMMENT ON TABLE ledgerlake.doubts IS "
        "'Records that a complete read of sync_id lacked: removed when the next complete read lacks them, too.'"
    )


def downgrade() -> None:
    op.execute("DROP TABLE ledgerlake.doubts")
