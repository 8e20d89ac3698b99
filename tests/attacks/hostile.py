"""A name server on loopback that answers as an attacker would, the way to ask it, and what hostile web servers do."""

import contextlib
import gzip
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any

from worker import outbound

SILENT: tuple[str, ...] = ("silent",)
GARBAGE: tuple[str, ...] = ("garbage",)
A, AAAA = 1, 28


class Names:
    """Answers each question for a name by the next of its lists of addresses, the last one again and again."""

    def __init__(self, **zone: Sequence[Sequence[str]]) -> None:
        self.zone = {name.replace("_", "."): list(answers) for name, answers in zone.items()}
        self.asked: list[str] = []
        self.patience = 0.2
        """Seconds that whoever asks waits for an answer."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))

    def serve(self) -> None:
        """Until the socket is shut."""
        with contextlib.suppress(OSError):
            while True:
                packet, who = self.socket.recvfrom(4096)
                if not packet:
                    return
                name = _name(packet)
                self.asked.append(name)
                self._answer(packet, self._next(name), who)

    def _next(self, name: str) -> Sequence[str]:
        answers = self.zone.get(name, [[]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _answer(self, packet: bytes, found: Sequence[str], who: Any) -> None:
        if found == GARBAGE:
            self.socket.sendto(packet[:2] + b"\xff" * 40, who)
        elif found != SILENT:
            head = packet[:2] + struct.pack(">HHHHH", 0x8180, 1, len(found), 0, 0)
            self.socket.sendto(head + packet[12:] + b"".join(map(_record, found)), who)

    def look_up(self, host: str, port: int) -> Sequence[str]:
        """What this server says; of names that are addresses in themselves, what the system says."""
        if host not in self.zone and not host.endswith(".example"):
            return outbound.look_up(host, port)
        labels = b"".join(bytes([len(label)]) + label.encode() for label in host.split("."))
        question = b"\x12\x34" + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", A, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(self.patience)
            asking.sendto(question, self.socket.getsockname())
            return _addresses(asking.recv(65535), len(question))


def _name(packet: bytes) -> str:
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    return ".".join(labels)


def _record(text: str) -> bytes:
    """An answer with a time to live of 0; its name points to the question's."""
    packed = ip_address(text).packed
    return b"\xc0\x0c" + struct.pack(">HHIH", A if len(packed) == 4 else AAAA, 1, 0, len(packed)) + packed


def _addresses(packet: bytes, at: int) -> list[str]:
    found = []
    for _ in range(struct.unpack(">H", packet[6:8])[0]):
        if len(packet) < at + 12:
            raise OSError("no answer that can be read")
        length = struct.unpack(">H", packet[at + 10 : at + 12])[0]
        found.append(str(ip_address(packet[at + 12 : at + 12 + length])))
        at += 12 + length
    return found


@contextlib.contextmanager
def names(**zone: Sequence[Sequence[str]]) -> Iterator[Names]:
    """A name server for the length of the block; `good_example=[["127.0.0.1"]]` says what good.example means."""
    server = Names(**zone)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
            ending.sendto(b"", server.socket.getsockname())
        thread.join()
        server.socket.close()


# What web servers do


def head(*lines: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 200 OK", *lines, b"", b""))


def said(content: bytes, silence: float = 5) -> Callable[[Any], None]:
    """These bytes, then silence, then the end."""

    def act(handler: Any) -> None:
        handler.wfile.write(content)
        handler.wfile.flush()
        handler.server.over.wait(silence)
        handler.close_connection = True

    return act


def repeated(start: bytes, again: bytes, pause: float = 0.0) -> Callable[[Any], None]:
    """A start, and then the same without end."""

    def act(handler: Any) -> None:
        handler.wfile.write(start)
        while not handler.server.over.wait(pause):
            handler.wfile.write(again)
            handler.wfile.flush()

    return act


BOMB = gzip.compress(bytes(20_000_000))
ENDLESS = repeated(head(b"Transfer-Encoding: chunked"), b"10000\r\n" + bytes(0x10000) + b"\r\n")
DRIPPING = repeated(head(b"Content-Length: 1000"), b"1", 0.05)
PROMISING = said(head(b"Content-Length: 10000000000000"))
BOASTING = said(head(b"Content-Length: " + b"9" * 5000))
CUT_OFF = said(head(b"Content-Length: 8") + b"a,b\n", 0)
BOTH_LENGTHS = said(head(b"Content-Length: 4", b"Transfer-Encoding: chunked") + b"0\r\n\r\n")
TWO_LENGTHS = said(head(b"Content-Length: 4", b"Content-Length: 5") + b"a,b\n")
HEADERS = repeated(b"HTTP/1.1 200 OK\r\n", b"X-Bomb: " + b"x" * 8000 + b"\r\n")
ONE_HEADER = repeated(b"HTTP/1.1 200 OK\r\nX-Bomb: ", b"x" * 8000)
CONTINUING = repeated(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001)
CHUNK_SIZE = repeated(head(b"Transfer-Encoding: chunked") + b"1;", b"x" * 8000)
TRAILERS = repeated(head(b"Transfer-Encoding: chunked") + b"0\r\n", b"X-Bomb: " + b"x" * 8000 + b"\r\n")
