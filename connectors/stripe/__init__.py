"""
Stripe (stripe.com): billing, by a secret or restricted key, for the key's own account or for a connected one.

Belongs here: all that is known of Stripe's API as it is read. Not here: what an integer of the smallest unit is worth,
which depends on the currency and is decided where marts are made; creating anything; webhooks.

How Stripe is read. No list has a filter of changes, so

- each stream is listed once, newest first, with a cursor after each page;
- from then on `events` says what changed. It is read first in each sync, so its first cursor is from before the lists.
  The events since the last read, with an overlap, are collected; their order means nothing and the objects in them are of
  another API version, so each object that they name is asked for once and stored as it is now. Those that are new come by
  the list of what was created since, where they are many;
- events are kept for 30 days. Whoever was away for longer lists everything again;
- balance transactions have no events: what was created since comes by the `created` filter, and so does what was pending
  until its day. Refunds and payouts have events, and are read that way once a week besides, since they are money.

The clock is Stripe's: times of cursors are those of the newest objects seen, days are the sync's.

The lists within objects (lines of an invoice, items of a subscription) hold ten at most and are followed to their end.
Each of their elements is a record of a stream of its own whose account is the object that it belongs to.

Source: https://docs.stripe.com/api
"""

from __future__ import annotations

from connectors.stripe._connector import Stripe

__all__ = ["Stripe"]
