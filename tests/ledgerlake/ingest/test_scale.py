"""A connection of any size streams through in bounded memory."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

SERVER = """
import asyncio, sys
ROWS, TAIL = int(sys.argv[1]), "x" * 250

def row(number):
    day = "%04d-%02d-%02d" % (2020 - number // 30000, 1 + number // 2500 % 12, 28 - number // 100 % 25)
    return ('{"id":"txn_%09d","account_id":"acc_1","date":"%s","amount":"-12.34","status":"posted","type":"card_payment",'
            '"description":"%s","details":{"processing_status":"complete","category":"dining","counterparty":'
            '{"name":"A CAFE","type":"organization"}},"running_balance":null,"links":{"self":"s","account":"a"}}'
            % (number, day, TAIL))

ACCOUNT = ('[{"id":"acc_1","type":"depository","status":"open","currency":"USD",'
           '"links":{"self":"s","transactions":"t"}}]').encode()

def answer(target):
    if target == "/accounts":
        return ACCOUNT
    if "/transactions" not in target:
        return b"[]"
    first = int(target.rpartition("from_id=txn_")[2]) + 1 if "from_id=" in target else 0
    return ("[" + ",".join(row(n) for n in range(first, min(first + 500, ROWS))) + "]").encode()

async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            body = answer(head.split(b" ", 2)[1].decode())
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture
def account_of() -> Iterator[Callable[[int], str]]:
    """Starts a server, in a process of its own, of one account with so many rows; its address."""
    started: list[subprocess.Popen[str]] = []

    def start(rows: int) -> str:
        process = subprocess.Popen([sys.executable, "-c", SERVER, str(rows)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return f"http://127.0.0.1:{int(process.stdout.readline())}"

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_times_the_records_take_the_same_memory(desk: Any, child: Any, account_of: Callable[[int], str]) -> None:
    peaks = {}
    for rows in (20_000, 200_000):
        desk.connect("token_any", f"enr_{rows}", "acme")
        desk.settings = desk.settings.model_copy(update={"teller_url": account_of(rows)})
        with desk.store.connect() as connection:
            connection.execute(
                "UPDATE ledgerlake.connections SET state = 'paused' WHERE external_id <> %s", (f"enr_{rows}",)
            )
        process = child(desk.settings)
        assert process.stdout.readline() == "ready\n"
        new, records, _, _, peak = process.stdout.readline().split()
        assert (int(new), int(records)) == (rows + 1, rows + 1)
        peaks[rows] = int(peak)
    assert peaks[200_000] - peaks[20_000] < 60 * 1024, peaks
