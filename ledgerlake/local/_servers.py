"""Where PostgreSQL and S3 are: from the settings, or embedded ones under LEDGERLAKE_HOME."""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ledgerlake.errors import ServerError, UsageError
from ledgerlake.local import _postgres, _process, _s3
from ledgerlake.local._process import Process, State
from ledgerlake.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@dataclass(frozen=True)
class S3:
    """An S3 prefix and how to reach it; `endpoint` is None on AWS itself."""

    url: str
    endpoint: str | None
    access_key: str | None = field(repr=False)
    secret_key: str | None = field(repr=False)
    region: str

    @classmethod
    def named(cls, settings: Settings) -> "S3 | None":
        """The one that the settings name, whether it answers or not; None where they leave it to the embedded one."""
        if settings.s3_url is None:
            return None
        access, secret = settings.aws_access_key_id, settings.aws_secret_access_key
        return cls(
            settings.s3_url,
            settings.aws_endpoint_url_s3,
            access.get_secret_value() if access else None,
            secret.get_secret_value() if secret else None,
            settings.aws_region,
        )

    @property
    def bucket(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def prefix(self) -> str:
        """The key prefix without slashes at its ends; may be empty."""
        return urlsplit(self.url).path.strip("/")

    def client(self, seconds: float = 10) -> "S3Client":
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(connect_timeout=seconds, read_timeout=seconds, retries={"max_attempts": 1}),
        )

    def check(self) -> None:
        """Raise ServerError, in one sentence, when the bucket cannot be used."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.client().head_bucket(Bucket=self.bucket)
        except ClientError as error:
            status = int(error.response["ResponseMetadata"]["HTTPStatusCode"])
            if status == 404:
                found = f"there is no bucket {self.bucket}; create it, or name another in LEDGERLAKE_S3_URL"
            elif status in {400, 401, 403}:
                found = (
                    f"the server refuses the credentials for bucket {self.bucket} (HTTP {status}); "
                    "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION"
                )
            else:
                found = f"HTTP {status}"
            raise ServerError(f"S3 at {self.endpoint or 'AWS'}: {found}.") from None
        except BotoCoreError as error:
            raise ServerError(
                f"S3 at {self.endpoint or 'AWS'} cannot be reached ({type(error).__name__}); "
                "check AWS_ENDPOINT_URL_S3 and that the server runs."
            ) from None


@dataclass(frozen=True)
class Servers:
    """Where the two servers answer."""

    postgres_url: str = field(repr=False)
    s3: S3


class _Embedded:
    """One embedded server's file, and how to start and stop it."""

    def __init__(
        self,
        home: Path,
        name: str,
        start: Callable[[Path, Mapping[str, int]], State],
        stop: Callable[[State], None],
    ) -> None:
        self.home, self.name, self._start, self._stop = home, name, start, stop
        self.path = home / f"{name}.json"

    def join(self, token: str) -> State:
        known = _process.read(self.path)
        if known is not None and known.process.alive():
            state = known
        else:
            # Whoever used the one that died looks for it where it was.
            state = self._start(self.home, known.ports if known is not None and known.in_use() else {})
        if known is not None:
            state.keep, state.users = known.keep, known.users
        me = Process.of(os.getpid())
        assert me is not None
        state.users[token] = me
        _process.write(self.path, state)
        return state

    def leave(self, token: str) -> None:
        state = _process.read(self.path)
        if state is None:
            return
        state.users.pop(token, None)
        if not state.in_use():
            self._stop(state)
        _process.write(self.path, state)

    def keep(self, keep: bool) -> None:
        state = _process.read(self.path)
        if state is not None:
            state.keep = keep
            _process.write(self.path, state)


def _lock(home: Path) -> contextlib.AbstractContextManager[None]:
    return _process.locked(home / "servers.lock")


def _embedded(settings: Settings) -> dict[str, _Embedded]:
    found = {}
    if settings.postgres_url is None:
        found["postgres"] = _Embedded(settings.home, "postgres", _postgres.start, _postgres.stop)
    if settings.s3_url is None:
        found["s3"] = _Embedded(settings.home, "s3", _s3.start, _s3.stop)
    return found


@contextlib.contextmanager
def servers(settings: Settings) -> Iterator[Servers]:
    """Both servers, answering; what this call started is stopped when its last user leaves.

    Raises:
        ServerError: one of them cannot be reached or started.
        UsageError: LEDGERLAKE_HOME cannot be written.
    """
    embedded = _embedded(settings)
    token = secrets.token_hex(8)
    if embedded:
        _make_home(settings.home)
        with _lock(settings.home), ThreadPoolExecutor(2) as pool:
            starting = {name: pool.submit(one.join, token) for name, one in embedded.items()}
            failed = [future.exception() for future in starting.values() if future.exception() is not None]
        if failed:
            _leave(settings.home, embedded, token)
            raise (failed[0] if isinstance(failed[0], ServerError) else ServerError(f"A local server: {failed[0]}"))
        states = {name: future.result() for name, future in starting.items()}
    try:
        if settings.postgres_url is not None:
            postgres_url = settings.postgres_url.get_secret_value()
        else:
            postgres_url = _postgres.url(settings.home, states["postgres"])
        if (s3 := S3.named(settings)) is not None:
            s3.check()
        else:
            own = _s3.keys(settings.home)
            s3 = S3(f"s3://{_s3.BUCKET}", _s3.endpoint(states["s3"]), own.access_key, own.secret_key, "us-east-1")
        yield Servers(postgres_url, s3)
    finally:
        if embedded:
            _leave(settings.home, embedded, token)


def keep(settings: Settings) -> None:
    """Let the embedded servers run on after their last user left, until `stop`."""
    with _lock(settings.home):
        for one in _embedded(settings).values():
            one.keep(True)


def stop(settings: Settings) -> None:
    """End the embedded servers as soon as nobody uses them: at once where no command runs."""
    if not settings.home.exists():
        return
    with _lock(settings.home):
        for one in _embedded(settings).values():
            one.keep(False)
            one.leave("")


def _leave(home: Path, embedded: dict[str, _Embedded], token: str) -> None:
    with _lock(home):
        for one in embedded.values():
            one.leave(token)


def _make_home(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / ".gitignore").write_text("*\n")
    except OSError as error:
        raise UsageError(
            f"LEDGERLAKE_HOME={home} cannot be written: {error.strerror}. Name a folder that can."
        ) from None
