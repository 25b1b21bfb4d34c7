"""A bank that never changes: one account, its transactions as pages made beforehand, over HTTP in its own process.

It speaks as much of Teller's protocol as a first read and a read in full need (`/accounts`, `/identity`,
`/accounts/acc_1/transactions?count=&from_id=`), and costs the machine next to nothing while it does. The answers are
the same bytes for whoever asks. Does not belong here: a bank that behaves like one (``sandbox``).
"""

import asyncio
import contextlib
import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

COUNT = 500
"""Transactions a page."""

NEWEST = dt.date(2026, 1, 31)
_A_DAY = 137
_BASE = "https://api.teller.io/accounts/acc_1"
_SHOPS = ("Whole Foods Market", "Shell Oil", "Amazon Marketplace", "Trader Joe's", "Delta Air Lines", "Con Edison")
_CATEGORIES = ("groceries", "fuel", "shopping", "groceries", "transport", "utilities")


def row(number: int) -> bytes:
    """The transaction of that number, 0 the newest: about 500 bytes."""
    shop, cents = number % len(_SHOPS), number * 7919 % 99_991
    identity = _identity(number)
    transaction = {
        "id": identity,
        "account_id": "acc_1",
        "amount": f"-{cents // 100}.{cents % 100:02d}",
        "date": (NEWEST - dt.timedelta(days=number // _A_DAY)).isoformat(),
        "description": f"POS PURCHASE {_SHOPS[shop].upper()} #{number % 9973:04d} NEW YORK NY US",
        "status": "posted",
        "type": "card_payment",
        "running_balance": f"{number % 77_777}.{number % 100:02d}",
        "details": {
            "processing_status": "complete",
            "category": _CATEGORIES[shop],
            "counterparty": {"name": _SHOPS[shop], "type": "organization"},
        },
        "links": {"self": f"{_BASE}/transactions/{identity}", "account": _BASE},
    }
    return json.dumps(transaction, separators=(",", ":")).encode()


def pages(rows: int) -> list[bytes]:
    """All transactions, newest first, as the bodies of pages; the last one is empty."""
    starts = range(0, rows, COUNT)
    bodies = [b"[" + b",".join(row(n) for n in range(at, min(at + COUNT, rows))) + b"]" for at in starts]
    return [*bodies, b"[]"]


@contextlib.contextmanager
def bank(rows: int) -> Iterator[str]:
    """The bank in another process; its base URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bank", str(rows)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        port = process.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"expected the port of the benchmarks' bank, found that it ended ({process.wait()})")
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()
            process.wait(10)


def _identity(number: int) -> str:
    return f"txn_{number:012d}"


def _account() -> bytes:
    account = {
        "id": "acc_1",
        "type": "depository",
        "subtype": "checking",
        "status": "open",
        "currency": "USD",
        "name": "Everyday",
        "last_four": "0001",
        "enrollment_id": "enr_1",
        "institution": {"id": "bank", "name": "Bank"},
        "links": {"self": _BASE, "transactions": f"{_BASE}/transactions"},
    }
    return json.dumps([account], separators=(",", ":")).encode()


class _Bank(asyncio.Protocol):
    """One client; requests come one after another, without bodies."""

    def __init__(self, pages: list[bytes], account: bytes) -> None:
        self._pages = pages
        self._account = account
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._received += data
        while b"\r\n\r\n" in self._received:
            request, _, self._received = self._received.partition(b"\r\n\r\n")
            body = self._answer(request.split(b" ", 2)[1].decode())
            status = "404 Not Found" if body is None else "200 OK"
            body = b'{"error":{"code":"not_found","message":"not found"}}' if body is None else body
            head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self._transport.writelines([head.encode(), body])

    def _answer(self, target: str) -> bytes | None:
        url = urlsplit(target)
        match url.path:
            case "/accounts":
                return self._account
            case "/identity":
                return b"[]"
            case "/accounts/acc_1/transactions":
                return self._page(parse_qs(url.query))
        return None

    def _page(self, query: dict[str, list[str]]) -> bytes | None:
        """The page behind `from_id`: this bank knows only the pages it has made."""
        (after,) = query.get("from_id", ["txn_-1"])
        at, rest = divmod(int(after.removeprefix("txn_")) + 1, COUNT)
        if query.get("count") != [str(COUNT)]:
            return None
        return self._pages[at + (1 if rest else 0)]


async def _serve(rows: int) -> None:
    bodies, account = pages(rows), _account()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Bank(bodies, account), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        # The parent's end of stdin closes with the parent, however that ends.
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
