"""Where a customer consents, in the browser: each provider's hosted page or script, with its redirects and messages.

All sign in on one plain page (`login`), by a user name of the world; one file a provider says how its page is reached and
how it is left. Scripts of the providers' names (`connect.js`, `link-initialize.js`) show the page in an iframe. Not here:
what a consent changes (`sandbox.bank`).
"""
