"""Benchmarks: how fast and how big Ledgerlake is, beside a peer or a limit measured in the same run.

Belongs here: what is measured, the static bank it is measured on, and the table of results. Does not belong here:
tests (nothing in the suite is timed), and anything that the platform itself needs.
"""
