"""The vault: secrets at rest, encrypted with keys that can be rotated.

Plaintexts live only in ``SecretStr``: printing, logging, raising or serialising one shows asterisks.
"""

import hmac
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from ledgerlake.errors import LedgerlakeError, UsageError
from ledgerlake.settings import Settings

_FILE = "secret.key"


class _Sealed(msgspec.Struct):
    """What is encrypted: the secrets, and whose they are, so that a ciphertext cannot be moved to another row."""

    connection_id: str
    secrets: dict[str, str]


class Vault:
    """Encrypts and decrypts a connection's secrets. The first key encrypts, all of them decrypt."""

    def __init__(self, keys: tuple[SecretStr, ...]) -> None:
        self._keys = keys
        try:
            self._fernet = MultiFernet([Fernet(key.get_secret_value()) for key in keys])
        except ValueError:
            raise UsageError(
                "LEDGERLAKE_SECRET_KEYS: expected Fernet keys (32 bytes, url-safe base64), comma separated; "
                "`ledgerlake new-key` prints one."
            ) from None

    @classmethod
    def of(cls, settings: Settings) -> "Vault":
        """The vault of these settings; a key is generated once under LEDGERLAKE_HOME for the embedded store only."""
        if settings.secret_keys:
            return cls(settings.secret_keys)
        if settings.postgres_url is not None:
            raise UsageError(
                "LEDGERLAKE_SECRET_KEYS must be set where LEDGERLAKE_POSTGRES_URL is; `ledgerlake new-key` prints one."
            )
        return cls((_own_key(settings.home / _FILE),))

    def seal(self, connection_id: str, secrets: Mapping[str, SecretStr]) -> bytes:
        plain = {name: secret.get_secret_value() for name, secret in secrets.items()}
        return self._fernet.encrypt(msgspec.json.encode(_Sealed(connection_id, plain)))

    def open(self, connection_id: str, ciphertext: bytes) -> dict[str, SecretStr]:
        """The secrets of that connection.

        Raises:
            LedgerlakeError: no key of this vault encrypted it, or it is another connection's.
        """
        try:
            sealed = msgspec.json.decode(self._fernet.decrypt(ciphertext), type=_Sealed)
        except InvalidToken:
            raise LedgerlakeError(
                f"The secrets of {connection_id} cannot be decrypted with the keys at hand: the key that encrypted them "
                "must be in LEDGERLAKE_SECRET_KEYS (or in secret.key under LEDGERLAKE_HOME). Nothing was changed."
            ) from None
        if sealed.connection_id != connection_id:
            raise LedgerlakeError(f"The secrets stored for {connection_id} belong to another connection.")
        return {name: SecretStr(value) for name, value in sealed.secrets.items()}

    def derived(self, purpose: str) -> list[bytes]:
        """A key for that purpose of each of the vault's keys, the first one's first: for signing, with rotation."""
        return [
            hmac.digest(key.get_secret_value().encode(), f"ledgerlake {purpose}".encode(), "sha256")
            for key in self._keys
        ]

    def rotate(self, ciphertext: bytes) -> bytes:
        """The same secrets under the first key. Raises LedgerlakeError where no key decrypts them."""
        try:
            return self._fernet.rotate(ciphertext)
        except InvalidToken:
            raise LedgerlakeError(
                "A stored secret cannot be decrypted with any key in LEDGERLAKE_SECRET_KEYS: add the key that encrypted "
                "it behind the new one. Nothing was changed."
            ) from None


def _own_key(path: Path) -> SecretStr:
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = path.with_suffix(".new")
        aside.touch(mode=0o600)
        aside.write_bytes(Fernet.generate_key())
        aside.rename(path)
    return SecretStr(path.read_text().strip())
