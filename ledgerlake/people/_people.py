"""Users, their sessions, and the API's tokens. What is handed out is never kept, only its SHA-256."""
# ruff: noqa: S608 (the lists of columns are this module's constants)

import contextlib
import datetime as dt
import hashlib
import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import psycopg
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from psycopg.rows import class_row

from ledgerlake.errors import LedgerlakeError, NotThere, UsageError
from ledgerlake.store import Store, audit

Role = Literal["viewer", "support", "admin"]
"""What a user may do: look; also act on findings and connections and see masked payloads; also everything else."""
Scope = Literal["read", "act", "admin"]
"""What a token may do: as viewer, support and admin."""

ROLES: tuple[Role, ...] = get_args(Role)
SCOPES: tuple[Scope, ...] = get_args(Scope)

BOOTSTRAP = "admin"
"""The user that is made where there is no identity provider and nobody yet."""
SHORTEST = 12
"""Characters of a password."""
IDLE = dt.timedelta(hours=12)
LONGEST = dt.timedelta(days=7)
"""How long a session lasts unused, and at all."""
_TOUCH = dt.timedelta(minutes=1)
"""How exactly the last use of a session is kept: a page more within it writes nothing."""

_hasher = PasswordHasher()
# Whoever signs in by a name that is not there waits as long as by one that is.
_NOBODY = _hasher.hash(secrets.token_urlsafe())


class SignInRefused(LedgerlakeError):  # noqa: N818 - an answer, not a failure
    """Name and password do not belong together, or the user is disabled; which of these is not told."""


@dataclass(frozen=True)
class Person:
    """A user."""

    user_id: int
    name: str
    role: Role
    must_change: bool
    disabled_at: dt.datetime | None
    created_at: dt.datetime
    last_seen_at: dt.datetime | None


@dataclass(frozen=True)
class Session:
    """Somebody who is signed in; `csrf` is what forms of this session carry."""

    person: Person
    csrf: str


@dataclass(frozen=True)
class Token:
    """A token of the API, without its secret."""

    token_id: int
    name: str
    scopes: list[Scope]
    created_by: str
    created_at: dt.datetime
    expires_at: dt.datetime
    revoked_at: dt.datetime | None
    used_at: dt.datetime | None


def allows(role: Role, needed: Role) -> bool:
    """Whether a role includes another."""
    return ROLES.index(role) >= ROLES.index(needed)


_PERSON = "user_id, name, role, must_change, disabled_at, created_at, last_seen_at"


class People:
    """The users of a store's console. Every change is written to the audit log in its transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # Users.

    def all(self) -> list[Person]:
        with self._store.connect() as postgres, postgres.cursor(row_factory=class_row(Person)) as cursor:
            return cursor.execute(f"SELECT {_PERSON} FROM ledgerlake.users ORDER BY name").fetchall()

    def get(self, user_id: int) -> Person:
        """That user. Raises NotThere when there is none."""
        with self._store.connect() as postgres:
            return _person(postgres, user_id)

    def bootstrap(self) -> str | None:
        """Make the first admin and return the one-time password; None where there is somebody already.

        An admin who never signed in gets a new password each time: the last one that was printed is the one that counts.
        """
        password = secrets.token_urlsafe(18)
        with self._transaction() as postgres:
            postgres.execute("LOCK TABLE ledgerlake.users IN SHARE ROW EXCLUSIVE MODE")
            row = postgres.execute(
                """
                INSERT INTO ledgerlake.users (name, role, password_hash, must_change)
                SELECT %(name)s, 'admin', %(hash)s, true
                WHERE NOT EXISTS (SELECT FROM ledgerlake.users WHERE name <> %(name)s)
                ON CONFLICT (name) DO UPDATE SET password_hash = excluded.password_hash
                WHERE users.must_change AND users.last_seen_at IS NULL
                RETURNING user_id
                """,
                {"name": BOOTSTRAP, "hash": _hasher.hash(password)},
            ).fetchone()
            if row is None:
                return None
            audit(postgres, "ledgerlake", "one-time password made", f"user {BOOTSTRAP}")
        return password

    def add(self, actor: str, name: str, role: Role) -> tuple[Person, str]:
        """A user who signs in with a password; returns the one-time password that must be changed at first.

        Raises:
            UsageError: the name is taken, or no name.
        """
        name = name.strip()
        if not name or len(name) > 200:
            raise UsageError("expected a name of at most 200 characters.")
        password = secrets.token_urlsafe(18)
        with self._transaction() as postgres:
            row = postgres.execute(
                """
                INSERT INTO ledgerlake.users (name, role, password_hash, must_change) VALUES (%s, %s, %s, true)
                ON CONFLICT (name) DO NOTHING RETURNING user_id
                """,
                (name, role, _hasher.hash(password)),
            ).fetchone()
            if row is None:
                raise UsageError("there is a user of that name already.")
            audit(postgres, actor, "user added", f"user {name}", after=role)
            return _person(postgres, row[0]), password

    def from_provider(self, subject: str, name: str, role: Role) -> Person:
        """Who signed in at the identity provider, new or known, with the role that it gives now.

        Raises:
            SignInRefused: the user is disabled here.
        """
        with self._transaction() as postgres:
            before = postgres.execute(
                "SELECT user_id, role, disabled_at FROM ledgerlake.users WHERE subject = %s FOR UPDATE", (subject,)
            ).fetchone()
            if before is None:
                row = postgres.execute(
                    """
                    INSERT INTO ledgerlake.users (name, subject, role) VALUES (%(name)s, %(subject)s, %(role)s)
                    ON CONFLICT (name) DO UPDATE SET name = users.name RETURNING user_id, subject
                    """,
                    {"name": name, "subject": subject, "role": role},
                ).fetchone()
                assert row is not None
                if row[1] != subject:
                    raise SignInRefused(f"the name {name} is another user's; an admin has to rename one of them.")
                audit(postgres, name, "user added", f"user {name}", after=role)
                return _person(postgres, row[0])
            user_id, old, disabled = before
            if disabled is not None:
                raise SignInRefused("this user is disabled.")
            if old != role:
                postgres.execute("UPDATE ledgerlake.users SET role = %s WHERE user_id = %s", (role, user_id))
                audit(postgres, name, "role changed by the identity provider", f"user {name}", before=old, after=role)
            return _person(postgres, user_id)

    def set_role(self, actor: str, user_id: int, role: Role) -> Person:
        """Give a user another role. Raises UsageError when no admin would be left."""
        with self._transaction() as postgres:
            person = _person(postgres, user_id)
            if role != "admin":
                _keep_an_admin(postgres, person)
            postgres.execute("UPDATE ledgerlake.users SET role = %s WHERE user_id = %s", (role, user_id))
            audit(postgres, actor, "role changed", f"user {person.name}", before=person.role, after=role)
            return _person(postgres, user_id)

    def disable(self, actor: str, user_id: int) -> Person:
        """Let a user in no more, from this moment on. Raises UsageError when no admin would be left."""
        with self._transaction() as postgres:
            person = _person(postgres, user_id)
            _keep_an_admin(postgres, person)
            postgres.execute(
                "UPDATE ledgerlake.users SET disabled_at = coalesce(disabled_at, now()) WHERE user_id = %s", (user_id,)
            )
            postgres.execute("DELETE FROM ledgerlake.sessions WHERE user_id = %s", (user_id,))
            audit(postgres, actor, "user disabled", f"user {person.name}")
            return _person(postgres, user_id)

    def enable(self, actor: str, user_id: int) -> Person:
        """Let a user in again."""
        with self._transaction() as postgres:
            person = _person(postgres, user_id)
            postgres.execute("UPDATE ledgerlake.users SET disabled_at = NULL WHERE user_id = %s", (user_id,))
            audit(postgres, actor, "user enabled", f"user {person.name}")
            return _person(postgres, user_id)

    def change_password(self, user_id: int, old: str, new: str) -> None:
        """Take a new password for the old one; all other sessions of the user end.

        Raises:
            SignInRefused: the old one is wrong.
            UsageError: the new one is too short, or the old one.
        """
        if len(new) < SHORTEST:
            raise UsageError(f"expected a password of at least {SHORTEST} characters.")
        if len(new) > 1000:
            raise UsageError("expected a password of at most 1000 characters.")
        if new == old:
            raise UsageError("expected another password than the one you have.")
        with self._transaction() as postgres:
            row = postgres.execute(
                "SELECT name, password_hash FROM ledgerlake.users WHERE user_id = %s FOR UPDATE", (user_id,)
            ).fetchone()
            if row is None or not _fits(row[1], old):
                raise SignInRefused("the present password is not that.")
            postgres.execute(
                "UPDATE ledgerlake.users SET password_hash = %s, must_change = false WHERE user_id = %s",
                (_hasher.hash(new), user_id),
            )
            postgres.execute("DELETE FROM ledgerlake.sessions WHERE user_id = %s", (user_id,))
            audit(postgres, row[0], "password changed", f"user {row[0]}")

    # Sessions.

    def sign_in(self, name: str, password: str) -> Person:
        """Who that is. Raises SignInRefused when name and password do not belong together."""
        with self._store.connect() as postgres:
            row = postgres.execute(
                "SELECT user_id, password_hash, disabled_at FROM ledgerlake.users WHERE name = %s", (name.strip(),)
            ).fetchone()
            user_id, kept, disabled = row or (None, None, None)
            if not _fits(kept, password) or user_id is None or disabled is not None:
                raise SignInRefused("name and password do not belong together.")
            return _person(postgres, user_id)

    def open_session(self, person: Person) -> tuple[str, Session]:
        """A new session; the text is the cookie's value, which is kept nowhere."""
        token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
        with self._transaction() as postgres:
            postgres.execute(
                "DELETE FROM ledgerlake.sessions WHERE used_at < now() - %s OR created_at < now() - %s", (IDLE, LONGEST)
            )
            postgres.execute(
                "INSERT INTO ledgerlake.sessions (session_hash, user_id, csrf) VALUES (%s, %s, %s)",
                (_hash(token), person.user_id, csrf),
            )
            postgres.execute("UPDATE ledgerlake.users SET last_seen_at = now() WHERE user_id = %s", (person.user_id,))
            audit(postgres, person.name, "signed in", f"user {person.name}")
        return token, Session(person, csrf)

    def session(self, token: str) -> Session | None:
        """Whose session that is; None when it is unknown, has expired, or its user is disabled."""
        with self._store.connect() as postgres:
            row = postgres.execute(
                """
                SELECT user_id, csrf, used_at < now() - %(touch)s
                FROM ledgerlake.sessions JOIN ledgerlake.users USING (user_id)
                WHERE session_hash = %(hash)s AND disabled_at IS NULL
                  AND used_at > now() - %(idle)s AND sessions.created_at > now() - %(longest)s
                """,
                {"hash": _hash(token), "touch": _TOUCH, "idle": IDLE, "longest": LONGEST},
            ).fetchone()
            if row is None:
                return None
            user_id, csrf, old = row
            if old:
                postgres.execute(
                    "UPDATE ledgerlake.sessions SET used_at = now() WHERE session_hash = %s", (_hash(token),)
                )
            return Session(_person(postgres, user_id), csrf)

    def close_session(self, token: str) -> None:
        with self._transaction() as postgres:
            row = postgres.execute(
                """
                DELETE FROM ledgerlake.sessions USING ledgerlake.users
                WHERE session_hash = %s AND users.user_id = sessions.user_id RETURNING users.name
                """,
                (_hash(token),),
            ).fetchone()
            if row is not None:
                audit(postgres, row[0], "signed out", f"user {row[0]}")

    # Tokens.

    def add_token(self, actor: str, name: str, scopes: Collection[Scope], days: int) -> tuple[Token, str]:
        """A token of the API; the text is shown once and kept nowhere."""
        if not name.strip() or len(name) > 200:
            raise UsageError("expected a name of at most 200 characters.")
        if not scopes or not set(scopes) <= set(SCOPES):
            raise UsageError(f"expected scopes of {', '.join(SCOPES)}.")
        if not 1 <= days <= 366:
            raise UsageError("expected 1 to 366 days.")
        secret = f"llk_{secrets.token_urlsafe(32)}"
        with self._transaction() as postgres, postgres.cursor(row_factory=class_row(Token)) as cursor:
            token = cursor.execute(
                f"""
                INSERT INTO ledgerlake.api_tokens (name, token_hash, scopes, created_by, expires_at)
                VALUES (%s, %s, %s, %s, now() + make_interval(days => %s)) RETURNING {_COLUMNS}
                """,
                (name.strip(), _hash(secret), sorted(scopes, key=SCOPES.index), actor, days),
            ).fetchone()
            assert token is not None
            audit(postgres, actor, "token made", f"token {token.token_id}", after=f"{name}: {', '.join(token.scopes)}")
        return token, secret

    def tokens(self) -> list[Token]:
        with self._store.connect() as postgres, postgres.cursor(row_factory=class_row(Token)) as cursor:
            return cursor.execute(f"SELECT {_COLUMNS} FROM ledgerlake.api_tokens ORDER BY token_id DESC").fetchall()

    def revoke_token(self, actor: str, token_id: int) -> None:
        """End a token at once. Raises NotThere when there is none of that id."""
        with self._transaction() as postgres:
            row = postgres.execute(
                "UPDATE ledgerlake.api_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE token_id = %s RETURNING name",
                (token_id,),
            ).fetchone()
            if row is None:
                raise NotThere("there is no such token.")
            audit(postgres, actor, "token revoked", f"token {token_id}", before=row[0])

    def token(self, secret: str) -> Token | None:
        """The token that this secret is; None when it is unknown, revoked or has expired."""
        with self._store.connect() as postgres, postgres.cursor(row_factory=class_row(Token)) as cursor:
            return cursor.execute(
                f"""
                UPDATE ledgerlake.api_tokens SET used_at = now()
                WHERE token_hash = %s AND revoked_at IS NULL AND expires_at > now() RETURNING {_COLUMNS}
                """,
                (_hash(secret),),
            ).fetchone()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection]:
        with self._store.connect() as postgres, postgres.transaction():
            yield postgres


_COLUMNS = "token_id, name, scopes, created_by, created_at, expires_at, revoked_at, used_at"


def _person(postgres: psycopg.Connection, user_id: int) -> Person:
    with postgres.cursor(row_factory=class_row(Person)) as cursor:
        found = cursor.execute(f"SELECT {_PERSON} FROM ledgerlake.users WHERE user_id = %s", (user_id,)).fetchone()
    if found is None:
        raise NotThere("there is no such user.")
    return found


def _keep_an_admin(postgres: psycopg.Connection, person: Person) -> None:
    row = postgres.execute(
        """
        SELECT count(*) FROM (
            SELECT FROM ledgerlake.users WHERE role = 'admin' AND disabled_at IS NULL AND user_id <> %s FOR UPDATE
        ) AS others
        """,
        (person.user_id,),
    ).fetchone()
    if person.role == "admin" and (row is None or row[0] == 0):
        raise UsageError("this is the only admin; make another one first.")


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _fits(kept: str | None, password: str) -> bool:
    try:
        return _hasher.verify(kept or _NOBODY, password[:1000]) and kept is not None
    except (Argon2Error, InvalidHashError):
        return False
