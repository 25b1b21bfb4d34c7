"""A whole provider is paused and resumed by one command each."""

from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]

SECRETS = '{"access_token": "token_canary_9c1e", "enrollment_id": "enr_1"}'


def test_a_provider_is_paused_shown_and_resumed(ledgerlake: Run) -> None:
    added = ledgerlake("connect", "teller", "--customer", "acme", "--secrets", "-", "--json", stdin=SECRETS).json
    assert ledgerlake("pause", "--provider", "teller", "--reason", "moving").out == "teller is paused.\n"
    assert "all of teller: paused: moving" in ledgerlake("connections").err
    status = ledgerlake("status", "--json").json
    assert (status["paused"], status["connections"]) == ({"teller": "moving"}, {"active": 1})

    (skipped,) = ledgerlake("sync", "--json").json["connections"]
    assert (skipped["outcome"], skipped["error"]) == ("skipped", "paused: all of teller: moving")

    assert ledgerlake("resume", "--provider", "teller").out == "teller is active.\n"
    assert ledgerlake("status", "--json").json["paused"] == {}
    assert added["state"] == "active"


def test_pause_wants_one_connection_or_one_provider(ledgerlake: Run) -> None:
    one = "Expected the id of a connection, or --provider with its name, and not both."
    for arguments, sentence in (
        ((), one),
        (("con_x", "--provider", "teller"), one),
        (("--provider", "tellar"), "There is no provider tellar; known: gocardless"),
    ):
        for command in ("pause", "resume"):
            done = ledgerlake(command, *arguments)
            assert (done.code, done.err.startswith(f"ledgerlake: {sentence}")) == (2, True), done.err
