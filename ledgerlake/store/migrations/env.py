"""How Alembic runs: on the connection that ``ledgerlake.store.migrate`` hands it, under that one's lock."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table="schema_version",
    version_table_schema="ledgerlake",
)
with context.begin_transaction():
    context.run_migrations()
