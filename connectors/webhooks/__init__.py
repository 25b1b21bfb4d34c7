"""
Webhooks: what a provider sends by itself. Here a delivery is proved to be the provider's, and read for what it names.

Belongs here: each provider's signature and the few fields of its events that say what to sync. Not here: the endpoint
that takes deliveries, where events are kept, and what is done about them. GoCardless sends none.

A delivery is verified on its raw bytes before anything of them is parsed. Reading never fails, for a signed body that is
not what the provider's page says is still an event: one with a fault, that asks for nothing.
"""

from connectors.webhooks._delivery import Delivery, Receiver, Refused
from connectors.webhooks._event import Event
from connectors.webhooks._keys import Keys
from connectors.webhooks.plaid import Plaid
from connectors.webhooks.stripe import Stripe
from connectors.webhooks.teller import Teller
from connectors.webhooks.tink import Tink

__all__ = ["Delivery", "Event", "Keys", "Plaid", "Receiver", "Refused", "Stripe", "Teller", "Tink"]
