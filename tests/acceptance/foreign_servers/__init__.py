"""
Servers that are not ours: each provider by its documentation alone, over two days.

Belongs here: one module a provider, with its protocol, a dozen records that are awkward in the provider's own ways, and the marts
that a reader of the documentation works out of them by hand. A server refuses whatever the documentation does not allow. Not here:
anything of the connectors, of the models or of the sandbox, so that no misunderstanding of theirs is repeated.
"""

from tests.acceptance.foreign_servers._serving import Foreign, Tables, serving

__all__ = ["Foreign", "Tables", "serving"]
