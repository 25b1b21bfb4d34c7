"""What is asked of the lake whenever there is a new snapshot: the figures of the pages as they open.

Does not belong here: what a page asks once somebody has chosen (a customer, another number of days).
"""

from ledgerlake.figures._money import currencies, flows, mrr
from ledgerlake.figures._sources import DAYS, additions, customers, habits, likely, mixes
from ledgerlake.lake import Look


def asked(look: Look) -> None:
    """Ask for all of them, so that their answers are kept."""
    mixes(look)
    customers(look)
    additions(look)
    habits(look, DAYS)
    likely(look, DAYS)
    if known := currencies(look):
        flows(look, known[0])
        mrr(look, known[0])
