import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

CANARY = "token_canary_9c1e"
SECRETS = f'{{"access_token": "{CANARY}", "enrollment_id": "enr_1"}}'


def test_a_connection_is_added_listed_paused_and_resumed(ledgerlake: Run) -> None:
    assert ledgerlake("connections").out == "There are no connections yet; `ledgerlake connect` adds one.\n"

    added = ledgerlake("connect", "teller", "--customer", "acme", "--secrets", "-", "--json", stdin=SECRETS)
    connection_id = added.json["connection_id"]
    assert (added.code, added.json["customer_id"], added.json["state"], added.json["new"]) == (
        0,
        "acme",
        "active",
        True,
    )

    assert ledgerlake("pause", connection_id, "--reason", "the bank moves").code == 0
    [listed] = ledgerlake("connections", "--json").json["connections"]
    assert (listed["connection_id"], listed["state"], listed["reason"]) == (connection_id, "paused", "the bank moves")
    assert ledgerlake("pause", connection_id).err.startswith(
        f"ledgerlake: {connection_id} is paused, and only an active"
    )

    skipped = ledgerlake("sync", "--json")
    assert (skipped.code, skipped.json["connections"][0]["outcome"], skipped.json["requests"]) == (0, "skipped", 0)

    assert ledgerlake("resume", connection_id).code == 0
    assert ledgerlake("connections").out.count("active") == 1


@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (
            ["connect", "tellar", "--customer", "a", "--secrets", "-"],
            SECRETS,
            "There is no provider tellar; known: gocardless, plaid, stripe, teller, tink.",
        ),
        (
            ["connect", "teller", "--customer", "a", "--secrets", "-"],
            CANARY,
            "expected a JSON object, found something that is not JSON",
        ),
        (
            ["connect", "teller", "--customer", "a", "--secrets", "-"],
            f'["{CANARY}"]',
            "expected a JSON object, found a list",
        ),
        (
            ["connect", "teller", "--customer", "a", "--secrets", "-"],
            f'{{"access_token": "{CANARY}"}}',
            "enrollment_id is missing",
        ),
        (["connect", "teller", "--customer", "a", "--secrets", "-"], SECRETS[:-1] + ', "x": 1}', "x is unknown"),
        (
            ["connect", "teller", "--customer", " ", "--secrets", "-"],
            SECRETS,
            "--customer: expected your id of the customer",
        ),
        (
            ["connect", "teller", "--customer", "a", "--secrets", "no-such-file"],
            None,
            "no-such-file cannot be read: No such file",
        ),
        (["pause", "con_x"], None, "There is no connection con_x; `ledgerlake connections` lists them."),
        (["sync", "--connection", "con_x"], None, "There is no connection con_x"),
        (["sync", "--provider", "x"], None, "There is no provider x; known: gocardless"),
        (["sync", "--since", "2026-02-30"], None, "2026-02-30"),
        (["sync", "--full", "--since", "2026-02-01"], None, "--since and --full exclude each other"),
        (["build", "--all", "--bucket", "1"], None, "--bucket and --all exclude each other"),
        (["build", "--bucket", "99"], None, "There is no bucket 99: they go from 0 to 3."),
        (["verify", "--connection", "con_x"], None, "There is no connection con_x"),
        (["migrate", "--to", "7777"], None, "There is no version 7777 of the store; known: 0001"),
        (["sink"], None, "No such command 'sink'"),
    ],
)
def test_wrong_words_are_one_sentence_and_exit_2(
    ledgerlake: Run, arguments: list[str], stdin: str | None, sentence: str
) -> None:
    done = ledgerlake(*arguments, stdin=stdin)
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert CANARY not in done.err


@pytest.mark.parametrize(
    ("env", "code", "sentence"),
    [
        ({"LEDGERLAKE_BUCKETS": "many"}, 2, "LEDGERLAKE_BUCKETS: Input should be a valid integer"),
        ({"LEDGERLAKE_POSTGRES_URL": "postgresql://u:canary@127.0.0.1:1/x"}, 1, "PostgreSQL cannot be reached"),
        ({"AWS_SECRET_ACCESS_KEY": "canary"}, 1, "refuses the credentials for bucket ledgerlake"),
        ({"LEDGERLAKE_S3_URL": "s3://nowhere-at-all"}, 1, "there is no bucket nowhere-at-all"),
        ({"LEDGERLAKE_S3_URL": "http://nowhere"}, 2, "LEDGERLAKE_S3_URL: String should match pattern"),
    ],
)
def test_wrong_settings_are_one_sentence(ledgerlake: Run, env: dict[str, str | None], code: int, sentence: str) -> None:
    done = ledgerlake("sync", env=env)
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert "canary" not in done.err


def test_a_missing_key_stops_connect_before_anything_is_stored(ledgerlake: Run) -> None:
    done = ledgerlake(
        "connect", "teller", "--customer", "a", "--secrets", "-", stdin=SECRETS, env={"LEDGERLAKE_SECRET_KEYS": None}
    )
    assert (done.code, CANARY in done.err) == (2, False)
    assert "LEDGERLAKE_SECRET_KEYS must be set" in done.err
    assert ledgerlake("connections", "--json").json == {"connections": []}


def test_a_store_behind_the_code_stops_every_job_and_migrate_mends_it(ledgerlake: Run) -> None:
    assert ledgerlake("migrate", "--to", "0001", "--json").json["to"] == "0001"
    for command in ("sync", "build", "verify"):
        done = ledgerlake(command)
        assert (done.code, "run `ledgerlake migrate`" in done.err) == (1, True)
    assert ledgerlake("status", "--json").json["store"]["current"] is False
    assert ledgerlake("migrate").code == 0
    assert ledgerlake("migrate").code == 0
    assert ledgerlake("sync").code == 0


def test_keys_are_made_and_rotated(ledgerlake: Run) -> None:
    connected = ledgerlake("connect", "teller", "--customer", "a", "--secrets", "-", stdin=SECRETS)
    assert connected.code == 0
    key = ledgerlake("new-key").out.strip()
    refused = ledgerlake("rotate-keys", env={"LEDGERLAKE_SECRET_KEYS": key})
    assert (refused.code, "cannot be decrypted with any key" in refused.err) == (1, True)
    both = f"{key},x2ZRlGdZ7lYbLQ3jVYyDRMq3bq3aMqGmFrPyfjRkcHA="
    assert ledgerlake("rotate-keys", env={"LEDGERLAKE_SECRET_KEYS": both}).out.startswith("1 connections' secrets")
    assert ledgerlake("rotate-keys", env={"LEDGERLAKE_SECRET_KEYS": key}).code == 0


def test_the_whole_path_by_hand(ledgerlake: Run, teller: Any, tmp_path: Path) -> None:
    env = {"LEDGERLAKE_TELLER_URL": teller.url}
    tokens = []
    for customer in teller.customers:
        (tmp_path / "secrets.json").write_text(str(customer["secrets"]).replace("'", '"'))
        tokens.append(customer["secrets"]["access_token"])
        done = ledgerlake("connect", "teller", "--customer", customer["customer_id"], "--secrets", "secrets.json")
        assert done.code == 0

    synced = ledgerlake("sync", "--today", "2026-03-01", "--json", env=env, started=True)
    assert (synced.code, synced.json["quarantined"], synced.json["new"] > 100) == (0, 0, True)
    assert ledgerlake("verify").code == 1  # nothing is published yet, and that is no pass
    built = ledgerlake("build", "--json", started=True)
    assert built.code == 0, built.err
    assert built.json["snapshot"] is not None

    [counted] = ledgerlake(
        "sql", "SELECT count(*) AS n, sum(amount) AS total FROM fct_transactions", "--format", "json"
    ).json
    truth = [row for token in tokens for row in teller.truth(token)]
    assert counted["n"] == len(truth)
    assert cents(counted["total"]) == sum(cents(row["amount"]) for row in truth)

    again = ledgerlake("sync", "--today", "2026-03-01", "--json", env=env).json
    assert (again["new"], again["changed"], again["removed"]) == (0, 0, 0)
    assert ledgerlake("build").out == "Nothing changed since the last build; nothing was published.\n"
    verified = ledgerlake("verify", "--today", "2026-03-01", "--json", env=env, started=True)
    assert (verified.code, verified.json["findings"], verified.json["compared"]) == (0, [], synced.json["new"])
    status = ledgerlake("status", "--json").json
    assert (status["connections"], status["lake"]["behind"]) == ({"active": len(tokens)}, [])
    for shown in (synced, built, verified):
        assert not any(token in shown.out + shown.err for token in tokens)


def cents(amount: str) -> int:
    """An exact amount of two decimals as an integer; more decimals than zeros are an error."""
    sign, whole, fraction = re.fullmatch(r"(-?)(\d+)(?:\.(\d\d)0*)?", amount).groups(default="00")  # type: ignore[union-attr]
    return (-1 if sign == "-" else 1) * (int(whole) * 100 + int(fraction))


def test_a_store_changed_from_outside_is_found(ledgerlake: Run, teller: Any, store: Any) -> None:
    env = {"LEDGERLAKE_TELLER_URL": teller.url}
    customer = teller.customers[0]
    secrets = str(customer["secrets"]).replace("'", '"')
    ledgerlake("connect", "teller", "--customer", customer["customer_id"], "--secrets", "-", stdin=secrets)
    assert ledgerlake("sync", "--today", "2026-03-01", env=env).code == 0
    assert ledgerlake("build").code == 0
    with store.connect() as connection:
        connection.execute(
            "DELETE FROM raw.teller_transactions WHERE record_id = (SELECT min(record_id) FROM raw.teller_transactions)"
        )
        connection.execute(
            """
            UPDATE raw.teller_transactions SET synced_at = synced_at + interval '1 s'
            WHERE record_id = (SELECT max(record_id) FROM raw.teller_transactions)
            """
        )
    verified = ledgerlake("verify", "--today", "2026-03-01", "--json", env=env)
    found = {(f["kind"], f["step"], f["stream"], f["records"]) for f in verified.json["findings"]}
    assert (verified.code, found) == (
        1,
        {("missing", "raw", "transactions", 1), ("mismatch", "staging", "transactions", 1)},
    )
    # What it names is what the other commands know by these numbers.
    named = {one["finding_id"]: (one["severity"], one["kind"]) for one in verified.json["findings"]}
    listed = ledgerlake("findings", "--json").json["findings"]
    assert named == {one["finding_id"]: (one["severity"], one["kind"]) for one in listed}
    table = ledgerlake("verify", "--connection", listed[0]["connection_id"], "--today", "2026-03-01", env=env)
    assert table.code == 1
    assert {line.split()[0] for line in table.out.splitlines() if " high " in line} == {str(one) for one in named}
