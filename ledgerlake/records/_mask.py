"""Payloads and rows as each role may see them: whole for an admin alone.

What is not known to be harmless is masked. A field is harmless by its name and by what is in it: a status that reads like
a sentence, or an id that reads like an account number, is masked all the same. Nothing below an address, an owner or the
like is harmless, and neither are the names of fields that customers choose.
"""

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

from ledgerlake.people import Role, allows
from ledgerlake.records._changes import Change, Path
from ledgerlake.records._search import Match
from ledgerlake.records._way import Quarantined, Step, Version, Way

MASK = "•••"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ID = re.compile(r"[A-Za-z0-9_\-:.]{1,120}")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.\-/]{0,40}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}([T ][0-9:.]{5,16}(Z|[+-]\d{2}:?\d{2})?)?")
_EPOCH = range(10**8, 10**14)
_AMOUNT = re.compile(r"[+-]?\d{1,28}(\.\d{1,18})?")
_CURRENCY = re.compile(r"[A-Za-z]{3}")
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{8,30}")
_NUMBERS = re.compile(r"[\d \-]{6,}")
_NAME_OF_A_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,40}")

# The ids that providers give, by name; their own kinds of id, nothing that a bank or a customer wrote.
_IDS = _names(
    """
    id account_id accounts_id transaction_id internal_transaction_id pending_transaction_id enrollment_id item_id
    institution_id connection_id customer_id link_id sync_id record_id account_key transaction_key balance_key charge_key
    refund_key payout_key invoice_key subscription_key balance_transaction_key provider_account_id provider_transaction_id
    provider_balance_id provider_charge_id provider_refund_id provider_payout_id provider_invoice_id
    provider_subscription_id provider_balance_transaction_id provider_customer_id provider_source_id
    provider_payment_intent_id customer charge invoice payment_intent balance_transaction subscription payout refund source
    price product financial_institution_id category_id hash
    """
)
_DAYS = _names(
    """
    date datetime authorized_date authorized_datetime booked value booking_date booking_date_time value_date
    value_date_time reference_date last_change_date_time created created_at updated updated_at started_at ended_at
    canceled_at cancel_at trial_start trial_end current_period_start current_period_end period_start period_end due_date
    arrival_date available_on booked_on value_on as_of day first_synced_at synced_at removed_at arrives_on start_date
    start ends_at period_starts_at period_ends_at due_at finalized_at paid_at voided_at trial_started_at trial_ends_at
    """
)
_AMOUNTS = _names(
    """
    amount fee net total subtotal unscaled_value scale ledger available current limit running_balance booked
    booked_balance available_balance amount_due amount_paid amount_remaining amount_captured amount_refunded
    amount_received unit_amount unit_amount_decimal quantity exchange_rate balance starting_balance ending_balance
    iso_currency_scale current_balance credit_limit source_amount
    """
)
_CURRENCIES = frozenset({"currency", "currency_code", "iso_currency_code", "unofficial_currency_code"})
_WORDS = _names(
    """
    status type subtype category kind object processing_status payment_channel transaction_type transaction_code
    balance_type reporting_category personal_finance_category primary detailed confidence_level interval usage_type
    billing_scheme collection_method billing_reason reason removed_reason failure_code method cash_account_type usage
    provider stream model proprietary_bank_transaction_code bank_transaction_code credit_debit_indicator
    """
)
_FLAGS = frozenset(
    {"pending", "livemode", "paid", "captured", "refunded", "disputed", "automatic", "bucket", "version"}
)
# The last digits are how people tell accounts apart.
_ENDINGS = frozenset({"iban", "bban", "account_number", "account", "ach", "wire", "masked_pan", "mask", "last_four", "last4", "number"})  # fmt: skip
# Below these nothing is harmless.
_PRIVATE = _names(
    """
    address addresses location owners owner names emails phone_numbers billing_details shipping customer_address
    shipping_details counterparty counterparties creditor_account debtor_account ultimate_creditor ultimate_debtor
    merchant merchant_information payment_meta metadata custom_fields identity holder contact
    """
)
_CHOSEN = frozenset({"metadata", "custom_fields", "additional_data_structured"})
"""Objects whose fields customers name."""
_SECRET = re.compile(r"secret|token|password|authorization", re.IGNORECASE)


def masked_text(text: str, role: Role) -> str:
    """A text of a person or about one: nothing of it for viewers, its beginning and length for support."""
    if allows(role, "admin"):
        return text
    if not allows(role, "support") or len(text) <= 3:
        return MASK
    return f"{text[:2]}… ({len(text)})"


def masked_payload(payload: Any, role: Role) -> Any:
    """A payload as that role may see it. What opens something is shown to nobody."""
    return _inner(payload, (), role)


def _inner(value: Any, path: Path, role: Role) -> Any:
    if isinstance(value, dict):
        chosen = bool(path) and _plain(path[-1]) in _CHOSEN and not allows(role, "admin")
        return {
            _field(str(name), position, role, chosen=chosen): _inner(inner, (*path, str(name)), role)
            for position, (name, inner) in enumerate(value.items(), 1)
        }
    if isinstance(value, list | tuple):
        return [_inner(inner, (*path, position), role) for position, inner in enumerate(value)]
    return _leaf(value, path, role)


def _field(name: str, position: int, role: Role, *, chosen: bool) -> str:
    if allows(role, "admin") or (not chosen and _NAME_OF_A_FIELD.fullmatch(name)):
        return name
    return f"field {position}"


def _path(path: Path, role: Role) -> Path:
    """A path whose names are shown as in the payload; positions of hidden names are not told."""
    shown: list[str | int] = []
    chosen = False
    for part in path:
        hidden = isinstance(part, str) and (chosen or not _NAME_OF_A_FIELD.fullmatch(part))
        shown.append(MASK if hidden and not allows(role, "admin") else part)
        chosen = isinstance(part, str) and _plain(part) in _CHOSEN
    return tuple(shown)


def _leaf(value: Any, path: Path, role: Role) -> Any:
    if value is None or isinstance(value, bool) or value in ({}, []):
        return value
    names = [_plain(part) for part in path if isinstance(part, str)]
    name = names[-1] if names else ""
    if isinstance(value, str) and _SECRET.search(name) and not name.endswith("_type"):
        return MASK
    if allows(role, "admin"):
        return value
    private = any(one in _PRIVATE for one in names)
    text = value if isinstance(value, str) else str(value)
    if not private and _harmless(name, value, text):
        return value
    if name in _ENDINGS or (isinstance(value, str) and _numbered(text)):
        compact = re.sub(r"[^A-Za-z0-9]", "", text)
        return f"•••• {compact[-4:]}" if len(compact) >= 8 or name in {"mask", "last_four", "last4"} else MASK
    if isinstance(value, str):
        return masked_text(value, role)
    # A number that says nothing about anybody: a count, a rank. Longer ones may be phones, places or accounts.
    return value if not private and isinstance(value, int) and abs(value) < 100_000 else MASK


def _harmless(name: str, value: Any, text: str) -> bool:
    if name in _IDS:
        return bool(_ID.fullmatch(text)) and not _numbered(text)
    if name in _DAYS and (_DAY.fullmatch(text) or (isinstance(value, int) and value in _EPOCH)):
        return True
    if name in _AMOUNTS and _AMOUNT.fullmatch(text):
        return True
    if name in _CURRENCIES:
        return bool(_CURRENCY.fullmatch(text))
    if name in _WORDS:
        return bool(_WORD.fullmatch(text)) and not _IBAN.fullmatch(text)
    return name in _FLAGS and bool(_AMOUNT.fullmatch(text)) and len(text) < 6


def _numbered(text: str) -> bool:
    """Whether it reads like an account, a card or a phone."""
    return bool(_IBAN.fullmatch(text.replace(" ", "")) or _NUMBERS.fullmatch(text))


def _plain(name: str | int) -> str:
    """``remittanceInformation`` and ``Remittance-Information`` as ``remittance_information``."""
    return re.sub(r"[^A-Za-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(name))).strip("_").lower()


def masked(found: Way, role: Role) -> Way:
    """A record's way as that role may see it."""
    return dataclasses.replace(
        found,
        versions=tuple(_version(one, role) for one in found.versions),
        quarantined=tuple(_quarantined(one, role) for one in found.quarantined),
        seen=found.seen and dataclasses.replace(found.seen, payload=masked_payload(found.seen.payload, role)),
        steps=tuple(_step(one, role) for one in found.steps),
        findings=tuple(
            dataclasses.replace(
                one,
                expected=_told(one.expected, one.field, role),
                found=_told(one.found, one.field, role),
            )
            for one in found.findings
        ),
    )


def _version(one: Version, role: Role) -> Version:
    return dataclasses.replace(
        one,
        payload=masked_payload(one.payload, role),
        changes=tuple(
            Change(_path(each.path, role), each.kind, _leaf(each.before, each.path, role), _leaf(each.after, each.path, role))
            for each in one.changes
        ),
    )  # fmt: skip


def _quarantined(one: Quarantined, role: Role) -> Quarantined:
    # The sentence of a broken payload may quote it.
    return dataclasses.replace(
        one,
        payload=masked_payload(one.payload, role),
        reason=one.reason if allows(role, "admin") else _sentence(one.reason),
    )


def _sentence(text: str) -> str:
    """A sentence of ours without what it quotes."""
    return re.sub(r"'[^']*'?|\"[^\"]*\"?|`[^`]*`?|\d{6,}", MASK, text)


def _step(one: Step, role: Role) -> Step:
    rows = tuple({name: _leaf(value, (name,), role) for name, value in row.items()} for row in one.rows)
    return dataclasses.replace(one, rows=rows)


def _told(text: str | None, field: str | None, role: Role) -> str | None:
    if text is None:
        return None
    told = _leaf(text, (field or "",), role)
    return told if isinstance(told, str) else str(told)


def masked_matches(found: Iterable[Match], role: Role) -> list[Match]:
    """Matches as that role may see them."""
    return [
        dataclasses.replace(one, description=one.description and masked_text(one.description, role)) for one in found
    ]
