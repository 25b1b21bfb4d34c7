"""Who may use the console: users, sessions, tokens, and the audit log."""

import datetime as dt
import threading

import psycopg
import pytest

from ledgerlake.errors import UsageError
from ledgerlake.people import People, SignInRefused, allows
from ledgerlake.store import Store, audit_log


@pytest.fixture
def people(store: Store) -> People:
    return People(store)


def acts(store: Store) -> list[tuple[str, str, str | None, str | None, str | None]]:
    with store.connect() as postgres:
        return [(one.actor, one.act, one.target, one.before, one.after) for one in reversed(audit_log(postgres))]


def test_the_first_admin_gets_a_one_time_password_that_must_be_changed(people: People, store: Store) -> None:
    first = people.bootstrap()
    second = people.bootstrap()
    assert first is not None
    assert second is not None
    assert first != second
    with pytest.raises(SignInRefused):
        people.sign_in("admin", first)
    admin = people.sign_in("admin", second)
    assert (admin.role, admin.must_change) == ("admin", True)
    people.open_session(admin)
    assert people.bootstrap() is None, "whoever signed in once keeps the password"
    people.change_password(admin.user_id, second, "correct horse battery")
    assert people.sign_in("admin", "correct horse battery").must_change is False
    told = "".join(map(str, acts(store)))
    assert first not in told
    assert second not in told
    assert "correct horse" not in told


def test_nobody_is_made_where_somebody_is(people: People) -> None:
    people.from_provider("https://idp#1", "ana", "admin")
    assert people.bootstrap() is None


@pytest.mark.parametrize("name", ["nobody", "", "admin", "admin\0"])
def test_a_wrong_name_or_password_is_refused_alike(people: People, name: str) -> None:
    people.bootstrap()
    with pytest.raises(SignInRefused, match=r"^name and password do not belong together\.$"):
        people.sign_in(name.replace("\0", "\\0"), "wrong")


def test_a_session_is_known_by_its_cookie_alone_and_ends(people: People, store: Store) -> None:
    ana, _ = people.add("admin", "ana", "support")
    token, session = people.open_session(ana)
    found = people.session(token)
    assert found is not None
    assert (found.person.name, found.csrf) == ("ana", session.csrf)
    assert people.session(token[:-1]) is None
    with store.connect() as postgres:
        kept = postgres.execute("SELECT sessions::text FROM ledgerlake.sessions").fetchall()
    assert token not in str(kept)
    people.close_session(token)
    assert people.session(token) is None


@pytest.mark.parametrize("column", ["used_at", "created_at"])
def test_a_session_expires_unused_and_at_all(people: People, store: Store, column: str) -> None:
    token, _ = people.open_session(people.add("admin", "ana", "viewer")[0])
    age = dt.timedelta(hours=13) if column == "used_at" else dt.timedelta(days=8)
    with store.connect() as postgres:
        postgres.execute(f"UPDATE ledgerlake.sessions SET {column} = now() - %s", (age,))
    assert people.session(token) is None


def test_the_last_use_of_a_session_is_kept_to_the_minute(people: People, store: Store) -> None:
    token, _ = people.open_session(people.add("admin", "ana", "viewer")[0])
    with store.connect() as postgres:
        used = "SELECT used_at, now() - used_at < interval '1 minute' FROM ledgerlake.sessions"
        [(before, _)] = postgres.execute(used).fetchall()
        assert people.session(token) is not None
        assert postgres.execute(used).fetchall() == [(before, True)]
        postgres.execute("UPDATE ledgerlake.sessions SET used_at = now() - interval '2 minutes'")
        assert people.session(token) is not None
        [(after, fresh)] = postgres.execute(used).fetchall()
    assert (after > before, fresh) == (True, True)


def test_a_disabled_user_is_out_at_once(people: People) -> None:
    ana, password = people.add("admin", "ana", "admin")
    ben, _ = people.add("admin", "ben", "admin")
    token, _ = people.open_session(ana)
    people.disable("ben", ana.user_id)
    assert people.session(token) is None
    with pytest.raises(SignInRefused):
        people.sign_in("ana", password)
    with pytest.raises(UsageError, match="only admin"):
        people.disable("ben", ben.user_id)
    with pytest.raises(UsageError, match="only admin"):
        people.set_role("ben", ben.user_id, "viewer")
    people.enable("ben", ana.user_id)
    assert people.sign_in("ana", password).name == "ana"


def test_a_changed_password_ends_all_sessions(people: People) -> None:
    ana, password = people.add("admin", "ana", "viewer")
    token, _ = people.open_session(ana)
    with pytest.raises(SignInRefused):
        people.change_password(ana.user_id, "wrong", "a new one that is long")
    with pytest.raises(UsageError, match="at least 12"):
        people.change_password(ana.user_id, password, "short")
    people.change_password(ana.user_id, password, "a new one that is long")
    assert people.session(token) is None


def test_the_identity_provider_decides_the_role(people: People, store: Store) -> None:
    first = people.from_provider("https://idp#1", "ana", "viewer")
    again = people.from_provider("https://idp#1", "ana", "admin")
    assert (first.user_id, first.role, again.user_id, again.role) == (again.user_id, "viewer", first.user_id, "admin")
    with pytest.raises(SignInRefused, match="another user's"):
        people.from_provider("https://idp#2", "ana", "admin")
    people.from_provider("https://idp#3", "ben", "admin")
    people.disable("ben", first.user_id)
    with pytest.raises(SignInRefused, match="disabled"):
        people.from_provider("https://idp#1", "ana", "admin")
    assert ("ana", "role changed by the identity provider", "user ana", "viewer", "admin") in acts(store)


def test_a_token_has_scopes_and_ends(people: People, store: Store) -> None:
    token, secret = people.add_token("ana", "BI", ["act", "read"], 30)
    found = people.token(secret)
    assert found is not None
    assert (found.token_id, found.scopes) == (token.token_id, ["read", "act"])
    assert people.token(secret + "x") is None
    people.revoke_token("ana", token.token_id)
    assert people.token(secret) is None
    other, secret = people.add_token("ana", "old", ["read"], 1)
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.api_tokens SET expires_at = now()")
    assert people.token(secret) is None
    assert secret not in str(acts(store))
    assert [one.name for one in people.tokens()] == ["old", "BI"]
    for wrong in ({"scopes": []}, {"scopes": ["root"]}, {"days": 0}, {"days": 400}, {"name": " "}):
        with pytest.raises(UsageError):
            people.add_token("ana", **({"name": "n", "scopes": ["read"], "days": 1} | wrong))  # type: ignore[arg-type]
    assert other.token_id != token.token_id


def test_the_audit_log_can_only_grow(people: People, store: Store) -> None:
    people.add("ana", "ben", "viewer")
    for statement in (
        "UPDATE ledgerlake.audit_log SET actor = 'x'",
        "DELETE FROM ledgerlake.audit_log",
        "TRUNCATE ledgerlake.audit_log",
    ):
        with store.connect() as postgres, pytest.raises(psycopg.errors.RaiseException, match="append only"):
            postgres.execute(statement)
    assert acts(store) == [("ana", "user added", "user ben", None, "viewer")]


def test_two_starts_at_once_make_one_admin(people: People) -> None:
    made: list[str | None] = []
    threads = [threading.Thread(target=lambda: made.append(people.bootstrap())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(_signs_in(people, password) for password in made) == 1


def _signs_in(people: People, password: str | None) -> bool:
    try:
        return password is not None and bool(people.sign_in("admin", password))
    except SignInRefused:
        return False


def test_a_role_includes_the_lesser_ones() -> None:
    assert [
        (role, need)
        for role in ("viewer", "support", "admin")
        for need in ("viewer", "support", "admin")
        if allows(role, need)
    ] == [
        ("viewer", "viewer"),
        ("support", "viewer"),
        ("support", "support"),
        ("admin", "viewer"),
        ("admin", "support"),
        ("admin", "admin"),
    ]
