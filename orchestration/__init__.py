"""Ledgerlake under Dagster: assets, checks, jobs, schedules and sensors around the engine, and the processes that run them.

Belongs here: everything that imports ``dagster``. Does not belong here: how to fetch, keep, build or publish
(``ledgerlake``), which is called and whose reports are turned into Dagster's events.
"""
