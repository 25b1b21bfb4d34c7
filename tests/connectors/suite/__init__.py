"""
The standard suite: what every connector has to keep, whatever its provider.

Belongs here: the checks (`_days`, `_pages`, `_troubles`), what they are made on (`_bench`, `_hostile`, `_server`), what
they have to know of each provider (`_dialect`, and a module a provider), and connectors that are wrong on purpose
(`_wrong`); besides, what single providers' tests set up (`_reading`). Not here: what only one provider promises; that is its own test module.
"""

from tests.connectors.suite._bench import Bench, Step, Vacuous
from tests.connectors.suite._days import CHECKS as _DAYS
from tests.connectors.suite._dialect import Case, Dialect, Fact, Row
from tests.connectors.suite._pages import CHECKS as _PAGES
from tests.connectors.suite._reading import Held, Reading, Unasked, ids
from tests.connectors.suite._server import Heard, Say, Server, serving
from tests.connectors.suite._troubles import CHECKS as _TROUBLES
from tests.connectors.suite._wrong import WRONG, Wrong
from tests.connectors.suite.gocardless import GOCARDLESS
from tests.connectors.suite.plaid import PLAID
from tests.connectors.suite.stripe import STRIPE
from tests.connectors.suite.teller import TELLER
from tests.connectors.suite.tink import TINK

CHECKS = {check.__name__: check for check in (*_DAYS, *_PAGES, *_TROUBLES)}

__all__ = [
    "CHECKS",
    "GOCARDLESS",
    "PLAID",
    "STRIPE",
    "TELLER",
    "TINK",
    "WRONG",
    "Bench",
    "Case",
    "Dialect",
    "Fact",
    "Heard",
    "Held",
    "Reading",
    "Row",
    "Say",
    "Server",
    "Step",
    "Unasked",
    "Vacuous",
    "Wrong",
    "ids",
    "serving",
]
