-- Where Dagster keeps its own tables; run once, when compose makes the database.
CREATE SCHEMA IF NOT EXISTS dagster;
