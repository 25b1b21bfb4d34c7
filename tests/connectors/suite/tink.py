"""Tink, as the standard suite needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from connectors import BadData, Gone, Misconfigured, NeedsReauth, Retryable
from connectors.tink import Tink
from sandbox.tink import Tink as Sandbox
from tests.connectors.suite._dialect import Case, Dialect, Fact, Row, bank_facts
from tests.connectors.suite._hostile import Answer
from tests.connectors.suite._server import Heard

_TOKEN, _GRANT = "/api/v1/oauth/token", "/api/v1/oauth/authorization-grant"
_CONSENTS, _ACCOUNTS, _ROWS = "/api/v1/provider-consents", "/data/v2/accounts", "/data/v2/transactions"


def _fact(stream: str, told: Any, row: Row) -> Fact | None:
    if stream != "transactions":
        return None
    value = told["amount"]["value"]
    amount = abs(Decimal(value["unscaledValue"]).scaleb(-int(value["scale"])))
    status = "pending" if row.pending else "posted"
    return Fact(stream, told["id"], status, told["dates"]["booked"], amount, told["descriptions"]["original"])


def _unknown(row: dict[str, Any]) -> None:
    row["types"] = {"type": "TELEPORT", "rite": True}
    row["providerMutability"] = "FLUID"
    if row["status"] == "BOOKED":
        row["status"] = "CARVED_IN_STONE"


def _more(told: dict[str, Any], number: int) -> None:
    told |= {"transactions": [], "nextPageToken": f"place-{number}"}


def _consent(status: str, reason: str = "", kind: str = "", **fields: Any) -> Callable[..., Answer]:
    """The consent in that state."""
    trouble = {"detailedError": {"type": kind, "details": {"reason": reason, "retryable": False}}} if kind else {}

    def answer(heard: Heard, secrets: Mapping[str, str]) -> Answer:
        consent = {"credentialsId": secrets["credentials_id"], "status": status, **trouble, **fields}
        return Answer.of(200, {"providerConsents": [consent]})

    return answer


def _said(status: int, code: str = "") -> Answer:
    return Answer.of(status, {"errorMessage": "x", "errorCode": code} if code else {})


TINK = Dialect(
    connector=Tink,
    sandbox=Sandbox,
    seed=54,
    customers=(4, 1),
    facts=bank_facts,
    fact=_fact,
    unknown=_unknown,
    swap=(b'"type":"CHECKING"', b'"type":"BURROW"'),
    # Two tokens and a code, the consents and the accounts: what was not refreshed since is not asked for.
    quiet=lambda accounts: 5,
    size="pageSize",
    refused=_said(400, "INVALID_PAGE_TOKEN"),
    more=_more,
    canaries=("external_user_id",),
    rate_limit=_said(429, "RATE_LIMIT_EXCEEDED"),
    revoked=Case("consent deleted", Answer.of(200, {"providerConsents": []}), Gone, code="DELETED", at=_CONSENTS),
    errors=(
        Case("consent deleted", Answer.of(200, {"providerConsents": []}), Gone, code="DELETED", at=_CONSENTS),
        *(Case(f"consent {status}", _consent(status), NeedsReauth, code=status, at=_CONSENTS)
          for status in ("AUTHENTICATION_ERROR", "SESSION_EXPIRED", "AWAITING_SUPPLEMENTAL_INFORMATION", "AWAITING_NEW")),
        *(Case(f"consent {status}", _consent(status), Gone, code=status, at=_CONSENTS)
          for status in ("DELETED", "PERMANENT_ERROR")),
        *(Case(f"consent {status}", _consent(status), Retryable, code=status, at=_CONSENTS)
          for status in ("CREATED", "AUTHENTICATING", "TEMPORARY_ERROR")),
        *(Case(f"consent {status}", _consent(status), None, at=_CONSENTS) for status in ("UPDATING", "UPDATED", "NEW")),
        Case("session ended", _consent("UPDATED", sessionExpiryDate=1_700_000_000_000), NeedsReauth,
             code="SESSION_EXPIRED", at=_CONSENTS),
        *(Case(f"for now, {kind}", _consent("TEMPORARY_ERROR", reason, kind), meaning, code=f"TEMPORARY_ERROR.{reason}",
               at=_CONSENTS)
          for kind, reason, meaning in (
              ("USER_LOGIN_ERROR", "STATIC_CREDENTIALS_INCORRECT", NeedsReauth),
              ("AUTHORIZATION_ERROR", "SESSION_EXPIRED", NeedsReauth),
              ("ACCOUNT_INFORMATION_ERROR", "NO_ACCOUNTS", Gone),
              ("PROVIDER_ERROR", "LICENSED_PARTY_REJECTED", Misconfigured),
              ("PROVIDER_ERROR", "PROVIDER_UNAVAILABLE", Retryable),
          )),
        Case("user unknown", _said(404, "USER_NOT_FOUND"), Gone, code="USER_NOT_FOUND", at=_GRANT),
        Case("wrong client secret", _said(401, "UNAUTHORIZED"), Misconfigured, "provider", "UNAUTHORIZED", _TOKEN),
        Case("wrong client", _said(400), Misconfigured, "provider", "400", _TOKEN),
        Case("token of the application refused", _said(401), Misconfigured, "provider", "401", _GRANT),
        Case("scope not granted", _said(403, "MISSING_SCOPE"), Misconfigured, "provider", "MISSING_SCOPE", _CONSENTS),
        Case("grant refused", _said(400), Misconfigured, code="400", at=_GRANT),
        Case("grant forbidden", _said(403), Misconfigured, "provider", "403", _GRANT),
        Case("token of the user refused again", _said(401), Misconfigured, code="401", at=_ACCOUNTS),
        Case("busy", _said(409), Retryable, code="409", at=_ACCOUNTS),
        Case("too many", _said(429), Retryable, code="429", at=_ACCOUNTS),
        Case("too many, by the code", _said(400, "INVALID_STATE_REFRESH_CREDENTIALS_RATE_LIMITED"), Retryable,
             code="INVALID_STATE_REFRESH_CREDENTIALS_RATE_LIMITED", at=_ACCOUNTS),
        Case("too many tokens", _said(400, "RATE_LIMITED"), Retryable, code="RATE_LIMITED", at=_TOKEN),
        Case("out of order", _said(500, "INTERNAL_ERROR"), Retryable, code="INTERNAL_ERROR", at=_ROWS),
        Case("down", _said(503), Retryable, code="503", at=_ACCOUNTS),
        Case("a firewall's page", Answer(401, b"<html>Access denied</html>"), Retryable, code="401", at=_ACCOUNTS),
        Case("elsewhere", Answer.of(302, {}, Location="https://elsewhere.example"), Misconfigured, "provider", "302",
             _ACCOUNTS),
        Case("refused rows", _said(400, "BAD_REQUEST"), BadData, "stream", "BAD_REQUEST", _ROWS),
        Case("no such endpoint", _said(404), BadData, "stream", "404", _CONSENTS),
        Case("no token in the answer", Answer.of(200, {"access_token": 7}), BadData, at=_TOKEN),
        Case("no code in the answer", Answer.of(200, {}), BadData, at=_GRANT),
        Case("no list in the answer", Answer.of(200, {}), BadData, "stream", at=_CONSENTS),
    ),
)  # fmt: skip
