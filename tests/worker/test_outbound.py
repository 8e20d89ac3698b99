"""Calls go where callers may send them, and nowhere else."""

import time
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from jobs import urls
from tests.worker.certificates import certified
from tests.worker.receivers import HERE, LOOPBACK, Act, drip, flood, nonsense, receiving, status
from worker import outbound
from worker.outbound import OutboundError, Policy

PUBLIC = "93.184.215.14"


def finds(*addresses: str) -> Policy:
    """A policy whose names all mean these addresses."""
    return Policy(resolve=lambda host, port: addresses)


def refusal(policy: Policy, url: str) -> str:
    with pytest.raises(OutboundError) as caught:
        outbound.post(policy, url, {}, b"{}")
    return caught.value.code


# Addresses as they are written


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://example.com", ("https", "example.com", 443, "/")),
        ("https://example.com/a?b=c%20d&e", ("https", "example.com", 443, "/a?b=c%20d&e")),
        ("http://a_b.internal:8080/", ("http", "a_b.internal", 8080, "/")),
        ("https://[2606:2800::1]:65535/x", ("https", "2606:2800::1", 65535, "/x")),
    ],
)
def test_an_address_is_taken_apart(text: str, address: tuple[str, str, int, str]) -> None:
    assert urls.parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "//example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "HTTPS://example.com/",
        "https://",
        "https:///x",
        "https://user@example.com/",
        "https://user:pass@example.com/",
        "https://good.com\\@127.0.0.1/",
        "https://good.com@127.0.0.1/",
        "https://good.com#@127.0.0.1/",
        "https://example.com/#fragment",
        "https://example.com/a\\b",
        "https://example.com/a b",
        " https://example.com/",
        "https://example.com/\n",
        "https://exam\tple.com/",
        "https://example.com\r\nX-Injected: 1/",
        "https://example.com\x00.evil.com/",
        "https://127。0。0。1/",
        "https://①②⑦.0.0.1/",
        "https://bücher.example/",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:+80/",
        "https://example.com:٤٤٣/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://.example.com/",
        "https://example.com?x",
        "https://example.com/" + "x" * 2048,
    ],
)
def test_what_two_readers_could_take_differently_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="Must be an address"):
        urls.parse(text)
    assert refusal(finds(PUBLIC), text) == "not_allowed"


# Where they lead


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1"),
        *("172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1"),
        *("203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
        *("64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1"),
        *("fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1", "5f00::1", "4000::1"),
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert refusal(finds(address), "https://example.com/") == "not_allowed"
    assert refusal(finds(PUBLIC, address), "https://example.com/") == "not_allowed"


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "172.32.0.1", "192.0.1.1"])
def test_a_public_address_is_allowed_by_https_on_its_ports(address: str) -> None:
    policy = finds(address)
    assert policy.addresses("https", "example.com", 443) == policy.addresses("https", "example.com", 8443) == [address]
    for scheme, port in (("http", 80), ("https", 22), ("https", 6379), ("http", 443)):
        with pytest.raises(OutboundError, match="not_allowed"):
            policy.addresses(scheme, "example.com", port)


def test_a_mapped_address_is_judged_and_called_as_what_it_stands_for() -> None:
    assert finds(f"::ffff:{PUBLIC}").addresses("https", "example.com", 443) == [PUBLIC]


@pytest.mark.parametrize("found", [[], ["nonsense"], ["300.1.1.1"]])
def test_a_name_that_means_nothing_is_refused_as_an_inner_one_is(found: list[str]) -> None:
    assert refusal(finds(*found), "https://example.com/") == "not_allowed"


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".com", "nowhere.invalid"])
def test_a_name_that_cannot_be_looked_up_is_refused(host: str) -> None:
    assert refusal(Policy(), f"https://{host}/") == "not_allowed"


def test_an_operators_network_is_allowed_by_http_on_any_port_and_only_as_a_whole() -> None:
    policy = replace(finds("10.1.2.3"), private=[ip_network("10.1.0.0/16")])
    assert policy.addresses("http", "inner", 9000) == ["10.1.2.3"]
    mixed = replace(policy, resolve=lambda host, port: ["10.1.2.3", PUBLIC])
    with pytest.raises(OutboundError, match="not_allowed"):
        mixed.addresses("http", "inner", 9000)
    assert refusal(replace(policy, private=[ip_network("10.2.0.0/16")]), "http://inner:9000/") == "not_allowed"


def test_a_name_is_looked_up_once_and_the_checked_address_is_called() -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    with receiving(status(200)) as server:
        policy = replace(HERE, resolve=lambda host, port: next(answers))
        url = f"http://rebinding.example:{server.port}/hook"
        assert outbound.post(policy, url, {"X-Own": "1"}, b"{}") == 200
    (seen,) = server.seen
    assert (seen.method, seen.path, seen.body) == ("POST", "/hook", b"{}")
    assert (seen.headers["host"], seen.headers["x-own"]) == (f"rebinding.example:{server.port}", "1")
    assert next(answers) == ["127.0.0.2"]


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with receiving(status(204)) as server:
        assert outbound.post(HERE, server.url, {}, b"") == 204


# How they behave


def test_a_redirect_of_a_message_is_an_answer_and_not_followed() -> None:
    with receiving(status(302, Location="/elsewhere"), status(200)) as server:
        assert outbound.post(HERE, server.url, {}, b"{}") == 302
    assert len(server.seen) == 1


@pytest.mark.parametrize(("act", "code"), [(drip, "timeout"), (nonsense, "bad_answer")])
def test_whoever_does_not_answer_is_left_at_the_deadline(act: Act, code: str) -> None:
    began = time.monotonic()
    with receiving(act) as server:
        assert refusal(replace(HERE, seconds=0.5), server.url) == code
    assert time.monotonic() - began < 5


def test_nobody_there_is_no_answer() -> None:
    with receiving(status(200)) as server:
        url = server.url
    assert refusal(HERE, url) == "connection_failed"


def test_the_next_address_is_tried_where_the_first_does_not_answer() -> None:
    with receiving(status(200)) as server:
        policy = replace(HERE, resolve=lambda host, port: ["127.0.0.9", "127.0.0.1"])
        assert outbound.post(policy, f"http://two.example:{server.port}/", {}, b"") == 200


def test_a_message_does_not_read_the_answer() -> None:
    began = time.monotonic()
    with receiving(flood) as server:
        assert outbound.post(HERE, server.url, {}, b"{}") == 200
    assert time.monotonic() - began < 5


# Downloads


def test_a_download_follows_redirects_to_where_it_may() -> None:
    with receiving(status(302, Location="/b"), status(307, location="/c"), status(200, b"rows")) as server:
        found = b"".join(outbound.fetch(HERE, server.url, 4))
    assert [seen.path for seen in server.seen] == ["/hook", "/b", "/c"]
    assert (found, server.seen[0].headers["accept-encoding"]) == (b"rows", "identity")


@pytest.mark.parametrize(("act", "code"), [(flood, "too_large"), (status(404), "answered_404"), (drip, "timeout")])
def test_a_download_that_is_too_large_or_not_there_fails(act: Act, code: str) -> None:
    chunks: list[bytes] = []
    with receiving(act) as server, pytest.raises(OutboundError, match=code):
        chunks.extend(outbound.fetch(replace(HERE, seconds=2), server.url, 1_000_000))
    assert sum(map(len, chunks)) <= 1_000_000


# TLS


def here(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


def test_a_certificate_must_be_that_of_the_name(tmp_path: Path) -> None:
    server, client = certified(tmp_path, "hooks.example.com")
    names: list[str | None] = []
    server.sni_callback = lambda connection, name, context: names.append(name)
    policy = Policy([LOOPBACK], resolve=here, tls=client)
    with receiving(status(200), tls=server) as receiver:
        assert outbound.post(policy, f"https://hooks.example.com:{receiver.port}/", {}, b"") == 200
        assert refusal(policy, f"https://other.example.com:{receiver.port}/") == "connection_failed"
        assert refusal(replace(policy, tls=None), f"https://hooks.example.com:{receiver.port}/") == "connection_failed"
    assert names == ["hooks.example.com", "other.example.com", "hooks.example.com"]
    assert len(receiver.seen) == 1
