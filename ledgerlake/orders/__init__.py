"""Orders: what people ask for in the console or by the API, and what has become of it.

Belongs here: the table of orders, and when one is done. Does not belong here: the runs that carry them out
(``orchestration``).
"""

from ledgerlake.orders._orders import Kind, Order, Orders

__all__ = ["Kind", "Order", "Orders"]
