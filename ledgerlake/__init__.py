"""Ledgerlake: every record of your customers' accounts, exactly once, from the provider to the lake.

This package is the engine: settings, command line, local servers, store, ingest, lake and integrity. It knows
nothing of Dagster (see ``orchestration``) and nothing of any provider's protocol (see ``connectors``).
"""
