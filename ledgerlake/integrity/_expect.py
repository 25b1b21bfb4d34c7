"""What a payload says, read a second time: the oracle that marts are compared with.

Belongs here: for each provider and stream one SELECT over payloads, written from the provider's documentation alone
(``expect/<provider>.sql``). Does not belong here: anything of the models or the connectors; this shares no code, macro
or SQL with them, so that a mistake has to be made twice to go unseen.

An amount that DECIMAL(28,8) does not hold exactly is NULL: nothing is rounded.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files

PROVIDERS = ("gocardless", "plaid", "stripe", "teller", "tink")

_HEADING = re.compile(r"^-- stream: (.+)$", re.MULTILINE)
_CALL = re.compile(r"\b(exact|scaled|as_it_stands|of_double|a_day)\(([^()]*)\)")

_FEW = r"-?[0-9]{1,11}(\.[0-9]{1,4})?"
"""15 digits at most, of which a double holds each."""


def expected(provider: str, stream: str) -> str | None:
    """A DuckDB SELECT that reads the payloads of a stream; None for a stream whose records are in no mart with a day or money.

    It reads two relations, each with ``connection_id, record_id, account_id, record_date, pending, payload``:
    ``payloads``, those to be read, and ``account_payloads``, those of the provider's accounts (for GoCardless its
    accounts and its details).

    Its columns are

    - ``connection_id``, ``record_id``, ``account_id``: ids as the payload tells them, else as they were handed in;
    - ``day`` DATE: when it counts: the day of booking, of a reading, or of creation (UTC); NULL for accounts;
    - ``source_amount`` DECIMAL(28,8): as the provider signs it; of a balance the booked one; in the currency's main unit;
    - ``amount`` DECIMAL(28,8): from the holder's side; NULL too where that takes an account which is not there;
    - ``currency``: NULL where the payload does not tell; an account's follows from other streams then;
    - ``pending``;
    - ``available`` DECIMAL(28,8): of a balance what is available, from the holder's side; else NULL.
    """
    return _queries(provider).get(stream) if provider in PROVIDERS else None


@cache
def _queries(provider: str) -> Mapping[str, str]:
    """The provider's queries by stream."""
    text = (files(__package__) / "expect" / f"{provider}.sql").read_text()
    _, *parts = _HEADING.split(text)
    found: dict[str, str] = {}
    for streams, query in zip(parts[::2], parts[1::2], strict=True):
        whole = _CALL.sub(_expand, query.strip())
        found |= {stream.strip(): whole for stream in streams.split(",")}
    return found


def _expand(call: re.Match[str]) -> str:
    return _FUNCTIONS[call[1]](*(one.strip() for one in call[2].split(",")))


def _exact(text: str) -> str:
    """A decimal number's text, with or without an exponent, as DECIMAL(28,8); NULL where that is not all of it."""
    mantissa, exponent = f"regexp_extract({text}, '^[-+]?([0-9.]*)', 1)", f"regexp_extract({text}, '[eE](.*)$', 1)"
    digits = f"replace({mantissa}, '.', '')"
    behind = f"CASE WHEN contains({mantissa}, '.') THEN length({mantissa}) - instr({mantissa}, '.') ELSE 0 END"
    zeros = f"(length({digits}) - length(rtrim({digits}, '0')))"
    # How many decimals the value has, zeros at its end aside; 0 has none, whatever its zeros.
    decimals = f"({behind}) - coalesce(try_cast({exponent} AS INTEGER), 0) - {zeros}"
    return (
        # DuckDB reads a text as a wide decimal a hundred times slower than as one of 64 bits.
        f"CASE WHEN regexp_full_match({text}, '{_FEW}') THEN try_cast({text} AS DECIMAL(18, 4))::DECIMAL(28, 8)"
        f" WHEN regexp_full_match({text}, '[-+]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][-+]?[0-9]{{1,3}})?')"
        f" AND (rtrim({digits}, '0') = '' OR {decimals} <= 8) THEN try_cast({text} AS DECIMAL(28, 8)) END"
    )


def _scaled(unscaled: str, scale: str) -> str:
    """The text of unscaled x 10^-scale, two integers as text."""
    units = {"1": "0.1", "2": "0.01", "3": "0.001", "4": "0.0001"}
    small = " ".join(
        f"WHEN '{one}' THEN (try_cast({unscaled} AS DECIMAL(11, 0)) * {unit})::VARCHAR" for one, unit in units.items()
    )
    whole = f"regexp_full_match({unscaled}, '-?[0-9]+') AND regexp_full_match({scale}, '-?[0-9]{{1,3}}')"
    return (
        f"CASE WHEN regexp_full_match({unscaled}, '-?[0-9]{{1,11}}') AND {scale} IN ('1', '2', '3', '4')"
        f" THEN CASE {scale} {small} END"
        f" WHEN {whole} THEN {unscaled} || 'e' || (-try_cast({scale} AS INTEGER))::VARCHAR END"
    )


def _as_it_stands(payload: str, name: str, seen: str) -> str:
    """The text of a JSON number. DuckDB hands it on as a double (`seen`): the member `name` whose double that is.

    One of few digits is taken as it was handed on: what its text may say besides is a double's noise.
    """
    texts = f"""regexp_extract_all({payload}::VARCHAR, '"' || {name} || '"\\s*:\\s*(-?[0-9][-+.0-9eE]*)', 1)"""
    same = f"list_filter({texts}, lambda one: try_cast(one AS DOUBLE) = try_cast({seen} AS DOUBLE))[1]"
    return f"CASE WHEN regexp_full_match({seen}, '{_FEW}') THEN {seen} ELSE {same} END"


def _of_double(text: str) -> str:
    """A double's text as a decimal, without the noise behind the 15th digit.

    It is noise where the first 15 digits tell no more than four decimals: 0.30000000000000004 is 0.3. From 10^11 on they
    do not reach so far, and the text stands.
    """
    wide = f"try_cast({text} AS DECIMAL(32, 18))"
    short = f"try_cast({text} AS DECIMAL(18, 4))"
    whole = f"length(trunc(abs({short}))::BIGINT::VARCHAR)"
    # One unit of the 15th digit.
    last = f"CASE WHEN abs({short}) < 1 THEN 1e-15 ELSE ('1e-' || (15 - {whole}))::DECIMAL(18, 17) END::DECIMAL(18, 17)"
    noisy = f"abs({short}) < 100000000000 AND abs({wide} - {short}) BETWEEN 1e-18::DECIMAL(18, 18) AND {last}"
    few = f"regexp_full_match({text}, '{_FEW}')"
    return f"CASE WHEN {few} THEN {short}::DECIMAL(28, 8) WHEN {noisy} THEN {short}::DECIMAL(28, 8) ELSE {_exact(text)} END"


def _day(text: str) -> str:
    """A calendar day's text, YYYY-MM-DD."""
    return f"CASE WHEN regexp_full_match({text}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}') THEN try_cast({text} AS DATE) END"


_FUNCTIONS: Mapping[str, Callable[..., str]] = {
    "exact": _exact,
    "scaled": _scaled,
    "as_it_stands": _as_it_stands,
    "of_double": _of_double,
    "a_day": _day,
}
"""What the queries call by these names: written out where they are called, so that a query needs nothing prepared."""
