"""
How a customer's consent is asked for and proved at each provider, before there is a connection: one module a provider.

Belongs here: the requests, addresses and signatures of Teller Connect, Tink Link, Plaid Link, GoCardless' requisitions and
Stripe Connect. Not here: pages, states and who the customer is (`console.connect`), reading what was consented to (the
connectors). All raise the tree of `connectors._errors`; NeedsReauth: this consent is void, the customer begins again.
"""
