"""The connector: one account at Stripe, its secrets, and which stream is read how."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from datetime import date
from typing import ClassVar

from pydantic import SecretStr

from connectors._errors import BadData
from connectors._http import Session
from connectors._protocol import Account, Ask, Complete, Page, Record, Stream
from connectors._split import read
from connectors._values import identifier
from connectors.stripe._answers import is_gone, missing
from connectors.stripe._api import Api
from connectors.stripe._events import Events
from connectors.stripe._listings import listed
from connectors.stripe._lists import Lists, alone, page_of
from connectors.stripe._movements import moved
from connectors.stripe._objects import KINDS, NESTED, OWNER, Build, Owner, path_of

_SECRET = re.compile(r"[!-~]{1,255}")


class Stripe:
    """One account at Stripe."""

    provider: ClassVar[str] = "stripe"
    lasting_accounts: ClassVar[bool] = True
    streams: ClassVar[tuple[Stream, ...]] = tuple(
        Stream(name, "connection")
        for name in ("accounts", "events", *(one for one in KINDS if one != "events"), *NESTED)
    )

    @classmethod
    def secrets(cls, given: Mapping[str, object]) -> dict[str, SecretStr]:
        """A key, and for a connected account its id: {"api_key": "rk_live_…", "account": "acct_…"}."""
        faults = [] if "api_key" in given else ["api_key is missing"]
        faults += [f"{name} is unknown" for name in sorted(set(given) - {"api_key", "account"})]
        secrets = {}
        for name, starts in (("api_key", ("sk_", "rk_")), ("account", ("acct_",))):
            value = given.get(name)
            if isinstance(value, str) and _SECRET.fullmatch(value) and value.startswith(starts):
                secrets[name] = SecretStr(value)
            elif name in given and not (name == "account" and value is None):
                faults.append(f"{name} is not a text that starts with {' or '.join(starts)}, without space in it")
        if faults:
            raise ValueError(f"expected the secrets of a Stripe account, {{api_key, account?}}: {'; '.join(faults)}")
        return secrets

    @classmethod
    def external_id(cls, secrets: Mapping[str, SecretStr]) -> str:
        """The connected account's id; of a key's own account a digest of the key, which does not tell its account."""
        if "account" in secrets:
            return secrets["account"].get_secret_value()
        return f"key_{hashlib.sha256(secrets['api_key'].get_secret_value().encode()).hexdigest()[:16]}"

    def __init__(self, session: Session) -> None:
        self._api = Api(session)
        self._lists = Lists(self._api)
        self._feed = Events(self._lists)

    async def accounts(self, today: date) -> tuple[Page, list[Account]]:
        """The one account that the key reads. It has no streams of its own: they are the connection's."""
        reply = await self._api.get("/v1/account")
        found: list[Account] = []

        def build(row: Owner, payload: bytes) -> Record:
            currency = row.default_currency.upper() if row.default_currency else None
            record = Record(identifier(row.id), row.id, None, False, payload)
            found.append(Account(row.id, "other", currency, False, (), "stripe", "Stripe"))
            return record

        made = read(reply.body.strip(), OWNER, build)
        return page_of("accounts", reply, alone(made), complete=Complete(None, None)), found

    def read(self, stream: str, ask: Ask) -> AsyncIterator[Page]:
        """The stream's pages. Those of `events` are of all streams; those of nested streams come with their parents."""
        if stream == "events":
            return self._feed.read(ask)
        if stream == "balance_transactions":
            return moved(self._lists, ask, self._feed.gap)
        if stream in KINDS:
            return listed(self._lists, stream, ask, self._feed.gap)
        if stream in NESTED:
            return _nothing()
        raise ValueError(f"Stripe has no stream {stream} to be read")

    async def show(self, stream: str, account: Account, record_id: str) -> Record | None:
        """One object as it is now, or None when it is deleted or unknown."""
        if stream not in KINDS:
            raise ValueError(f"Stripe shows one record of a list, not of {stream}")
        reply = await self._api.get(path_of(stream, record_id), passing=missing)
        if is_gone(reply):
            return None
        made = read(reply.body.strip(), KINDS[stream].fields, Build(stream))
        if isinstance(made, Record):
            return made
        raise BadData(
            f"expected {KINDS[stream].fields.what} from {reply.request}, found that it breaks the contract: {made.reason}",
            scope="record",
        )


async def _nothing() -> AsyncIterator[Page]:
    """No pages: what there is comes with another stream."""
    pages: tuple[Page, ...] = ()
    for page in pages:
        yield page
