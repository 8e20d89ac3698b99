"""`python -m bench.overload`: what becomes of requests when ten times as many come as the service works on at once.

A service of its own, on a database of its own, is asked by as many clients as fit within its bound, then by ten times
as many beside a thousand silent connections and a hundred that begin a body and do not go on.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from rich.console import Console
from rich.table import Table

from bench import machine, pages
from tests.api import server

SPEC = {"dataset": {"source": "builtin", "name": "wine"}, "epochs": 3}
HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
BODY = json.dumps(SPEC).encode()
SUBMIT = HEAD % len(BODY) + BODY
SLOW_BODY = HEAD % 900 + b"{"
IDLE, SLOW = 1000, 100
TIMES = 10


@dataclass
class Seen:
    """What clients saw."""

    accepted: list[float]
    """Seconds of each request that was worked on."""
    others: Counter[int]
    """By status."""
    health: list[float]
    """Seconds of each call of `/livez`."""
    cut: int
    """Calls whose connection was closed before an answer."""
    bytes: int
    """Resident memory of the service at the end."""


def main() -> int:
    """0 if all that was refused was told so by 503, and what was accepted took less than twice as long as without the
    crowd (p99)."""
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=__doc__)
    parser.add_argument("--bound", type=int, default=32, help="FITD_MAX_REQUESTS")
    parser.add_argument("--seconds", type=float, default=10, help="of each part")
    parser.add_argument("--write", type=Path, help="a Markdown file to renew the table of")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # All come from one address here.
        environment = {"FITD_MAX_REQUESTS": str(options.bound), "FITD_MAX_CONNECTIONS_PER_ADDRESS": "0"}
        with server.running(Path(folder), **environment) as running:
            parts = asyncio.run(_measured(running, options.bound, options.seconds))
    headings = ("", "answered/s", "p50 ms", "p99 ms", "refused", "of all", "cut", "/livez p99 ms", "memory MiB")
    rows = [_row(name, seen, options.seconds) for name, seen in parts.items()]
    table = Table(*headings)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    if options.write:
        command = " ".join(["python -m bench.overload", *sys.argv[1:]])
        text = f"`{command}`: {machine.processor()}, load {machine.load():.1f}.\n\n{pages.table(headings, rows)}"
        pages.renew(options.write, text, what="overload")
    usual, crowded, _ = (_p99(seen.accepted) for seen in parts.values())
    return int(crowded >= 2 * usual or any(set(seen.others) - {503} for seen in parts.values()))


async def _measured(running: server.Server, bound: int, seconds: float) -> dict[str, Seen]:
    await _asked(running, bound, seconds / 5)  # everything is loaded and connected
    nominal = await _asked(running, bound, seconds)
    idle = await _loitering(running.url)
    over = await _asked(running, TIMES * bound, seconds)
    for writer in idle:
        writer.close()
    again = await _asked(running, bound, seconds)
    return {f"{bound} clients": nominal, f"{TIMES * bound} clients": over, f"{bound} clients again": again}


async def _loitering(url: str) -> list[asyncio.StreamWriter]:
    address = urlsplit(url)
    made = [(await asyncio.open_connection(address.hostname, address.port))[1] for _ in range(IDLE + SLOW)]
    for writer in made[IDLE:]:
        writer.write(SLOW_BODY)
    return made


async def _asked(running: server.Server, clients: int, seconds: float) -> Seen:
    seen, end = Seen([], Counter(), [], 0, 0), time.monotonic() + seconds
    async with httpx2.AsyncClient(base_url=running.url, timeout=60) as http:
        await asyncio.gather(_health(http, seen, end), *(_submit(running.url, seen, end) for _ in range(clients)))
    seen.bytes = _resident(running.process.pid)
    return seen


async def _submit(url: str, seen: Seen, end: float) -> None:
    """A client on its own connection. Plain streams: the crowd shares the processors of the service that it asks."""
    address = urlsplit(url)
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            while time.monotonic() < end:
                await _call(reader, writer, seen)
        except (asyncio.IncompleteReadError, ConnectionError):  # it was idle for five seconds, say
            seen.cut += 1
        finally:
            writer.close()


async def _call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
    began = time.monotonic()
    writer.write(SUBMIT)
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    await reader.readexactly(int(headers["content-length"]))
    if (code := int(status.split()[1])) == 201:
        seen.accepted.append(time.monotonic() - began)
    else:
        seen.others[code] += 1
        await asyncio.sleep(float(headers.get("retry-after", 0)) / 2)


async def _health(http: httpx2.AsyncClient, seen: Seen, end: float) -> None:
    while time.monotonic() < end:
        began = time.monotonic()
        (await http.get("/livez")).raise_for_status()
        seen.health.append(time.monotonic() - began)
        await asyncio.sleep(0.05)


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def _row(name: str, seen: Seen, seconds: float) -> tuple[str, ...]:
    times, refused = [1000 * one for one in seen.accepted], sum(seen.others.values())
    return (
        name,
        f"{len(times) / seconds:.0f}",
        f"{statistics.median(times):.0f}",
        f"{_p99(times):.0f}",
        f"{refused:,}",
        f"{refused / (refused + len(times)):.0%}",
        f"{seen.cut}",
        f"{1000 * _p99(seen.health):.0f}",
        f"{seen.bytes / 2**20:.0f}",
    )


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


if __name__ == "__main__":
    sys.exit(main())
