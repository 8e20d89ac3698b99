"""Calls to addresses that callers chose: only to public ones, or into networks that the operator names.

A name is looked up once, every address found is checked, and the connection goes to one of those: what the name means
a moment later does not matter. There are no proxies, nothing is followed or decoded unasked, and a call has one
deadline for everything from the name to the last byte.
"""

import functools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urljoin

import httpcore2

from jobs import urls

Resolver = Callable[[str, int], Sequence[str]]
"""From a host and a port to addresses."""

DENIED: tuple[IPv4Network | IPv6Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by customers of a carrier
        "127.0.0.0/8",
        "169.254.0.0/16",  # the link, and the metadata of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "::/3",  # all but 2000::/3 is special: loopback, NAT64, …
        "4000::/2",
        "8000::/1",  # … private, link, multicast
        "2001::/23",  # Teredo and other protocols
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)
"""What is not public; Python's `is_global` takes NAT64, 6to4 and multicast for public."""
PORTS = frozenset({80, 443, 8080, 8443})
HOPS = 3
"""Redirects that a download follows."""
SILENCE = 30.0
"""Seconds without a byte, a connection or an address, after which a call is given up before its time."""
LOOKUPS = threading.BoundedSemaphore(32)
"""Names that this process looks up at a time. The system's way knows no deadline: whoever gave up leaves a thread
behind that ends when the system does, with a silent name server after half a minute. Eight senders of ten seconds each
and a few downloads leave fewer than this."""


class OutboundError(Exception):
    """A call that came to nothing."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
        """`not_allowed`, `timeout`, `connection_failed`, `bad_answer`, `answered_<status>` or `too_large`. Nothing
        of what the other side said: who chose the address is not to read it through us."""


def look_up(host: str, port: int) -> Sequence[str]:
    """The system's answer."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class Policy:
    """Where calls may go, and how long one may take."""

    private: Sequence[IPv4Network | IPv6Network] = ()
    """Networks that are allowed though not public, there also by `http` and to any port."""
    seconds: float = 10.0
    resolve: Resolver = look_up
    tls: ssl.SSLContext | None = None
    """Whom to trust; the system's certificates if None."""
    denied: Sequence[IPv4Network | IPv6Network] = DENIED
    ports: Collection[int] = PORTS

    def addresses(self, scheme: str, host: str, port: int, seconds: float = SILENCE) -> list[str]:
        """What to connect to.

        Raises:
            OutboundError: the host is unknown, or one of its addresses is not allowed; or nobody said within so many
                seconds.
        """
        answer = _looked_up(self.resolve, host, port, seconds)
        try:
            found = [ip_address(text) for text in answer.result()]
        except (OSError, ValueError):
            found = []
        addresses = [getattr(address, "ipv4_mapped", None) or address for address in found]
        if not addresses or not all(self._allows(scheme, address, port) for address in addresses):
            raise OutboundError("not_allowed")  # one answer for both: names of an inner network stay unknown
        return [str(address) for address in addresses]

    def _allows(self, scheme: str, address: IPv4Address | IPv6Address, port: int) -> bool:
        if any(address in network for network in self.private):
            return True
        return scheme == "https" and port in self.ports and not any(address in network for network in self.denied)


def _looked_up(resolve: Resolver, host: str, port: int, seconds: float) -> futures.Future[Sequence[str]]:
    """What a resolver says, or raises. It has a thread of its own, which nobody waits for beyond the deadline."""
    answer: futures.Future[Sequence[str]] = futures.Future()
    room, until = LOOKUPS, time.monotonic() + seconds

    def look() -> None:
        try:
            answer.set_result(resolve(host, port))
        except Exception as error:
            answer.set_exception(error)
        finally:
            room.release()

    if room.acquire(timeout=seconds):
        threading.Thread(target=look, name="look up", daemon=True).start()
        futures.wait([answer], max(0.0, until - time.monotonic()))
    if not answer.done():
        raise OutboundError("timeout")
    return answer


def post(policy: Policy, url: str, headers: Mapping[str, str], body: bytes) -> int:
    """The status of the answer; the rest of it is not read.

    Raises:
        OutboundError: there was none.
    """
    with _asked(policy, _Deadline(policy.seconds), "POST", url, headers, body) as response:
        return response.status


def fetch(policy: Policy, url: str, most: int) -> Generator[bytes, None, None]:
    """What is there, as it comes; every hop of a redirect is checked as the first address is. Nothing is decoded.

    Raises:
        OutboundError: it cannot be had, or is larger than `most` bytes.
    """
    deadline = _Deadline(policy.seconds)
    for _ in range(HOPS + 1):
        with _asked(policy, deadline, "GET", url, {"Accept-Encoding": "identity"}) as response:
            named = {name.lower(): value for name, value in response.headers}
            if response.status == 200:
                yield from _limited(named.get(b"content-length", b""), response.iter_stream(), most)
                return
            if b"location" not in named or not 300 <= response.status < 400:
                raise OutboundError(f"answered_{response.status}")
            url = _joined(url, named[b"location"])
    raise OutboundError("not_allowed")


def _limited(declared: bytes, chunks: Iterable[bytes], most: int) -> Iterator[bytes]:
    if declared.isdigit() and int(declared) > most:
        raise OutboundError("too_large")
    for chunk in chunks:
        most -= len(chunk)
        if most < 0:
            raise OutboundError("too_large")
        yield chunk


def _joined(url: str, location: bytes) -> str:
    try:
        return urljoin(url, location.decode(errors="replace"))
    except ValueError:
        raise OutboundError("not_allowed") from None


@contextmanager
def _asked(
    policy: Policy,
    deadline: "_Deadline",
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> Iterator[httpcore2.Response]:
    """An answer whose body may be read within the deadline."""
    try:
        scheme, host, port, target = urls.parse(url)
    except ValueError:
        raise OutboundError("not_allowed") from None
    address = httpcore2.URL(scheme=scheme, host=host, port=port, target=target)
    named = [("Host", _host(scheme, host, port)), ("User-Agent", "fitd"), *headers.items()]
    pool = httpcore2.ConnectionPool(policy.tls or _trusted(), network_backend=_Guard(policy, scheme, deadline))
    try:
        with pool, pool.stream(method, address, headers=named, content=body) as response:
            yield response
    except httpcore2.TimeoutException:
        raise OutboundError("timeout") from None
    except httpcore2.NetworkError:
        raise OutboundError("connection_failed") from None
    except httpcore2.ProtocolError:
        raise OutboundError("bad_answer") from None


def _host(scheme: str, host: str, port: int) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if (scheme, port) in (("http", 80), ("https", 443)) else f"{name}:{port}"


@functools.cache
def _trusted() -> ssl.SSLContext:
    return httpcore2.default_ssl_context()


class _Guard(httpcore2.NetworkBackend):
    """Connects to addresses that were checked."""

    def __init__(self, policy: Policy, scheme: str, deadline: "_Deadline") -> None:
        self._policy = policy
        self._scheme = scheme
        self._plain = httpcore2.SyncBackend()
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        failure: Exception = httpcore2.ConnectError()
        for address in self._policy.addresses(self._scheme, host, port, self._deadline.left()):
            try:
                return _Timed(self._plain.connect_tcp(address, port, self._deadline.left()), self._deadline)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class _Timed(httpcore2.NetworkStream):
    """A connection that ends at a deadline, however slowly the other side speaks."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: "_Deadline") -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, self._deadline.left()), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Deadline:
    """The end of a call with all its hops."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that the next step may take."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout
        return min(left, SILENCE)
