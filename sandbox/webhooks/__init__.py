"""What each provider tells of its own accord: webhooks with its own bodies, signed as it signs.

One file a provider makes the bodies; `signature` signs them, `sender` sends them and works faults. Not here: what
happened (`sandbox.bank`), and the endpoints that register receivers (`sandbox.control`).
"""
