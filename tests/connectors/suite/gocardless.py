"""GoCardless Bank Account Data, as the standard suite needs it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from connectors import BadData, ConnectorError, Gone, Misconfigured, NeedsReauth, Retryable, Scope
from connectors.gocardless import GoCardless
from sandbox.gocardless import GoCardless as Sandbox
from tests.connectors.suite._dialect import Case, Dialect, Fact, Row, bank_facts
from tests.connectors.suite._hostile import Answer

_TOKEN, _DATA, _REQUISITION = "/token/new/", "/accounts/*/*/", "/requisitions/*/"
_AGREEMENT, _ACCOUNT = "/agreements/enduser/*/", "/accounts/????????-????-????-????-????????????/"


def _fact(stream: str, told: Any, row: Row) -> Fact | None:
    if stream != "transactions":
        return None
    day = next(told[name] for name in ("bookingDate", "bookingDateTime", "valueDate", "valueDateTime") if name in told)
    amount = abs(Decimal(told["transactionAmount"]["amount"]))
    status = "pending" if row.pending else "posted"
    said = told["remittanceInformationUnstructured"]
    return Fact(stream, told.get("internalTransactionId"), status, day[:10], amount, said)


def _unknown(row: dict[str, Any]) -> None:
    row |= {"proprietaryBankTransactionCode": "TELEPORT", "purposeCode": "ALCH", "rite": {"moons": [1.10, None]}}


def _said(status: int, summary: str, detail: str = "x", kind: str | None = None) -> Answer:
    told = {"summary": summary, "detail": detail, "status_code": status} | ({"type": kind} if kind else {})
    return Answer.of(status, told)


def _case(
    status: int,
    summary: str,
    meaning: type[ConnectorError],
    scope: Scope = "connection",
    code: str | None = None,
    *,
    kind: str | None = None,
    detail: str = "x",
    at: str = _DATA,
) -> Case:
    about = f"{status} {kind or summary}"
    return Case(about, _said(status, summary, detail, kind), meaning, scope, code or kind or str(status), at)


def _requisition(status: str) -> Answer:
    return Answer.of(200, {"id": "r", "status": status, "accounts": [], "agreement": None})


def _account(status: str) -> Callable[..., Answer]:
    return lambda heard, secrets: Answer.of(200, {"id": heard.path.split("/")[2], "status": status})


GOCARDLESS = Dialect(
    connector=GoCardless,
    sandbox=Sandbox,
    seed=168,
    customers=(4, 1),
    facts=bank_facts,
    fact=_fact,
    unknown=_unknown,
    swap=(b'"cashAccountType":"CACC"', b'"cashAccountType":"BRRW"'),
    # A token, the requisition, its agreement, and each account with its balances and its rows.
    quiet=lambda accounts: 3 + 3 * accounts,
    canaries=(),
    rate_limit=_said(429, "Rate limit exceeded", "The rate limit for this resource is 4/day.", "RateLimitError"),
    revoked=Case("requisition deleted", _said(404, "Not found."), Gone, code="404", at=_REQUISITION),
    errors=(
        Case("requisition deleted", _said(404, "Not found."), Gone, code="404", at=_REQUISITION),
        *(Case(f"requisition in {status}", _requisition(status), NeedsReauth, code=status, at=_REQUISITION)
          for status in ("EX", "SU", "ER", "RJ", "CR", "GC", "UA", "SA")),
        Case("access about to be granted", _requisition("GA"), Retryable, code="GA", at=_REQUISITION),
        Case("requisition in a new status", _requisition("XX"), BadData, at=_REQUISITION),
        Case("agreement over", Answer.of(200, {"id": "a", "access_valid_for_days": 90, "max_historical_days": 90,
             "accepted": "2020-01-01T00:00:00Z"}), NeedsReauth, code="EX", at=_AGREEMENT),
        Case("agreement unknown", _said(404, "Not found."), NeedsReauth, code="404", at=_AGREEMENT),
        *(Case(f"account in {status}", _account(status), NeedsReauth, "account", status, _ACCOUNT)
          for status in ("EXPIRED", "SUSPENDED")),
        *(Case(f"account in {status}", _account(status), Retryable, "account", status, _ACCOUNT)
          for status in ("DISCOVERED", "PROCESSING", "ERROR")),
        Case("an account that is no more", _said(404, "Not found."), None, at=_ACCOUNT),
        _case(401, "End User Agreement (EUA) 76c7 has expired", NeedsReauth, code="EUA",
              detail="EUA was valid for 90 days and it expired at 2026-06-30 15:57:27+00:00."),
        _case(401, "x", NeedsReauth, kind="AccessExpiredError"),
        _case(403, "No valid End User Agreement", NeedsReauth),
        _case(409, "Account suspended", NeedsReauth, detail="numerous errors"),
        _case(403, "x", NeedsReauth, "account", kind="AccountAccessForbidden"),
        _case(401, "x", Gone, "account", kind="AccountInactiveError"),
        _case(404, "Not found.", Gone, "account"),
        _case(401, "Authentication credentials were not provided.", Misconfigured),
        _case(401, "Invalid token", Misconfigured, "provider", detail="Token is invalid or expired"),
        _case(401, "Authentication failed", Misconfigured, "provider", at=_TOKEN),
        _case(402, "Payment Required", Misconfigured, "provider", detail="Free usage limit exceeded"),
        _case(403, "IP address access denied", Misconfigured, "provider"),
        _case(429, "x", Retryable, "stream", kind="RateLimitError"),
        _case(429, "Rate limit exceeded", Retryable),
        _case(500, "x", Retryable, kind="UnknownRequestError"),
        _case(503, "x", Retryable, kind="ServiceError"),
        _case(503, "x", Retryable, kind="ConnectionError"),
        Case("bad gateway", Answer(502, b""), Retryable, code="502"),
        Case("a firewall's page", Answer(403, b"<html>Access denied</html>"), Retryable, code="403", at=_DATA),
        Case("400 by field", Answer.of(400, {"date_from": {"summary": "x", "detail": "y"}, "status_code": 400}), BadData,
             "stream", "400", _DATA),
        Case("400 by field, listed", Answer.of(400, {"access_scope": [{"summary": "x"}], "status_code": 400}), BadData,
             "stream", "400", _DATA),
        _case(403, "Something new", BadData, "stream"),
    ),
    lacks={
        "a_pending_row_posts_under_its_own_id": "A pending row has no id at GoCardless.",
        "duplicates_across_pages_are_one_record": "GoCardless has no pages: an answer is the whole window.",
        "a_place_that_is_refused_is_no_end": "GoCardless has neither pages nor a cursor: an answer is the whole window.",
        "a_list_without_end_is_given_up": "GoCardless has no pages: an answer is the whole window.",
    },
)  # fmt: skip
