"""What each model of a build took, so that a slow new one is seen the day it lands."""

from alembic import op

revision = "0014"
down_revision = "0013"

_UP = [
    """
    CREATE TABLE ledgerlake.build_models (
        build_id text NOT NULL REFERENCES ledgerlake.builds ON DELETE CASCADE,
        model text NOT NULL,
        seconds double precision NOT NULL,
        rows bigint NOT NULL,
        files integer NOT NULL,
        PRIMARY KEY (build_id, model)
    )
    """,
    """
    COMMENT ON TABLE ledgerlake.build_models IS
        'One row per model that a build made, whether the build was published or not: what it took, and what came of it.'
    """,
    """
    COMMENT ON COLUMN ledgerlake.build_models.files IS 'Parquet files: one per bucket, one of a table over all customers.'
    """,
]


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE ledgerlake.build_models")
