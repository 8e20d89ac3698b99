"""Addresses that lead elsewhere than they seem to, and names that change their meaning: nothing of it is called."""

import threading
import time
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import httpcore2
import pytest
from starlette.testclient import TestClient

from tests.attacks.calls import CSV, DENIED, INNER, INSIDE, OUTSIDE, WAYS, Contexts, Rules, outcome
from tests.attacks.hostile import GARBAGE, SILENT, names
from tests.worker.receivers import Act, receiving, status
from worker import outbound
from worker.outbound import OutboundError, Policy
from worker.place import Place

# What is no address is refused at once

MALFORMED = {
    "backslash": "http://good.example\\@127.0.0.1/",
    "backslash in the path": "https://good.example/\\@127.0.0.1/",
    "user": "https://good.example@127.0.0.1/",
    "user and password": "https://good.example:443@127.0.0.1/",
    "empty user": "https://@127.0.0.1/",
    "fragment before the host": "https://good.example#@127.0.0.1/",
    "file": "file:///etc/passwd",
    "file with a host": "file://127.0.0.1/etc/passwd",
    "ftp": "ftp://good.example/a.csv",
    "gopher": "gopher://127.0.0.1:6379/_FLUSHALL",
    "data": "data:text/csv,a,b",
    "dict": "dict://127.0.0.1:11211/stats",
    "javascript": "javascript:alert(1)",
    "s3": "s3://bucket/key",
    "no scheme": "//127.0.0.1/",
    "capitals": "HTTPS://good.example/",
    "fullwidth digits": "https://１２７.０.０.１/",
    "circled digits": "https://①②⑦.⓪.⓪.①/",
    "ideographic dots": "https://127。0。0。1/",
    "idna": "https://bücher.example/",
    "soft hyphen": "https://good\u00ad.example/",
    "escaped dots": "https://127%2e0%2e0%2e1/",
    "zone": "https://[fe80::1%25eth0]/",
    "port 0": "https://good.example:0/",
    "port 65536": "https://good.example:65536/",
    "port of another script": "https://good.example:٤٤٣/",
    "two ports": "https://good.example:443:80/",
    "line feed": "https://good.example/\r\nX-Injected: 1",
    "tab": "https://good.\texample/",
    "space": " https://good.example/",
    "nul": "https://good.example\x01/",
    "3000 characters": "https://good.example/" + "x" * 3000,
    "a list": ["https://good.example/"],
    "a number": 2130706433,
    "nothing": None,
}


@pytest.mark.parametrize("attack", MALFORMED)
def test_what_is_no_address_is_refused_and_not_repeated(client: TestClient, ann: dict[str, str], attack: str) -> None:
    for path in ("/v1/datasets", "/v1/webhooks"):
        answer = client.post(path, json={"url": MALFORMED[attack]}, headers=ann)
        assert (answer.status_code, [fault["pointer"] for fault in answer.json()["errors"]]) == (422, ["/url"])
        told = answer.json()["errors"][0]["detail"]
        assert (len(answer.content) < 1000, "127" in told, "good" in told) == (True, False, False)


# Where an address leads

HOSTS = {
    "loopback": "127.0.0.1",
    "short": "127.1",
    "decimal": "2130706433",
    "hexadecimal": "0x7f000001",
    "octal": "0177.0.0.1",
    "mixed": "0x7f.1",
    "zero": "0",
    "a name": "localhost",
    "a name with a dot": "localhost.",
    "ipv6": "[::1]",
    "unspecified": "[::]",
    "no ipv6": "[B53aA0CB45A5eBa:9bB902.]",
    "mapped": "[::ffff:127.0.0.1]",
    "mapped in hexadecimal": "[::ffff:7f00:1]",
    "compatible": "[::127.0.0.1]",
    "nat64": "[64:ff9b::7f00:1]",
    "local nat64": "[64:ff9b:1::7f00:1]",
    "6to4": "[2002:7f00:1::]",
    "teredo": "[2001:0:7f00:1::]",
    "metadata": "169.254.169.254",
    "metadata as a number": "2852039166",
    "metadata over ipv6": "[fd00:ec2::254]",
    "mapped metadata": "[::ffff:169.254.169.254]",
    "private": "10.0.0.1",
    "link": "[fe80::1]",
    "site": "[fec0::1]",
    "multicast": "224.0.0.1",
    "broadcast": "255.255.255.255",
    "carrier": "100.64.0.1",
}


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Connections that were tried, wherever to; none comes about."""
    tried = Mock(side_effect=httpcore2.ConnectError)
    monkeypatch.setattr(httpcore2.SyncBackend, "connect_tcp", tried)
    return tried


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("attack", HOSTS)
def test_no_way_to_write_an_inner_address_leads_there(here: Place, dialled: Mock, attack: str, way: str) -> None:
    with receiving(status(200, CSV)) as inner:
        policy = Policy(ports={inner.port}, seconds=1)
        for url in (f"https://{HOSTS[attack]}:{inner.port}/", f"http://{HOSTS[attack]}:{inner.port}/"):
            assert outcome(here, way, url, policy) == INNER[way]
    assert (inner.callers, dialled.call_args_list) == (0, [])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("port", [1, 21, 22, 25, 53, 110, 2375, 3306, 5432, 6379, 8333, 9200, 11211, 65535])
def test_only_the_ports_of_the_web_are_called(here: Place, dialled: Mock, port: int, way: str) -> None:
    policy = Policy(resolve=lambda host, port: ["93.184.215.14"])
    assert outcome(here, way, f"https://good.example:{port}/", policy) == INNER[way]
    assert dialled.call_args_list == []


NAMES: dict[str, Any] = {
    "loopback": [[INSIDE]],
    "public and loopback": [[OUTSIDE, INSIDE]],
    "loopback and public": [[INSIDE, OUTSIDE]],
    "mapped": [[f"::ffff:{INSIDE}"]],
    "mapped metadata": [["::ffff:169.254.169.254"]],
    "nat64": [["64:ff9b::7f00:2"]],
    "6to4": [["2002:7f00:2::"]],
    "unspecified": [["0.0.0.0"]],
    "unspecified over ipv6": [["::"]],
    "a thousand": [[OUTSIDE] * 1000 + [INSIDE]],
    "none": [[]],
    "silence": [SILENT],
    "garbage": [GARBAGE],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("attack", NAMES)
def test_a_name_that_means_an_inner_address_is_not_called(here: Place, rules: Rules, attack: str, way: str) -> None:
    with (
        names(good_example=NAMES[attack]) as server,
        receiving(status(200, CSV)) as outer,
        receiving(status(200, CSV), host=INSIDE, port=outer.port) as inner,
    ):
        assert outcome(here, way, f"https://good.example:{inner.port}/", rules(server, inner)) == INNER[way]
        assert len(server.asked) == 1
    assert (inner.callers, outer.callers) == (0, 0)


@pytest.mark.parametrize("way", WAYS)
def test_a_name_server_that_does_not_answer_is_not_waited_for(here: Place, rules: Rules, way: str) -> None:
    with names(good_example=[SILENT]) as server, receiving(status(200, CSV)) as outer:
        server.patience = 5.0
        policy = replace(rules(server, outer), seconds=0.2)
        began = time.monotonic()
        assert outcome(here, way, f"https://good.example:{outer.port}/", policy) == {**INNER, "webhook": "timeout"}[way]
    assert time.monotonic() - began < 4


def test_silent_name_servers_get_no_more_threads_than_there_are_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "LOOKUPS", threading.BoundedSemaphore(2))
    with names(good_example=[SILENT], other_example=[[OUTSIDE]]) as server:
        server.patience = 0.5
        policy = Policy(resolve=server.look_up, denied=DENIED)
        for name in ("good", "good", "good", "other"):
            with pytest.raises(OutboundError, match="timeout"):
                policy.addresses("https", f"{name}.example", 443, 0.05)
        assert policy.addresses("https", "other.example", 443) == [OUTSIDE]
        assert server.asked == ["good.example", "good.example", "other.example"]


@pytest.mark.parametrize("way", WAYS)
def test_a_name_that_changes_its_meaning_is_called_where_it_was_checked(
    here: Place, rules: Rules, tls: Contexts, way: str
) -> None:
    with (
        names(rebinding_example=[[OUTSIDE], [INSIDE]]) as server,
        receiving(status(200, CSV), tls=tls[0]) as outer,
        receiving(status(200, CSV), tls=tls[0], host=INSIDE, port=outer.port) as inner,
    ):
        url, policy = f"https://rebinding.example:{outer.port}/a.csv", rules(server, outer)
        first = outcome(here, way, url, policy)
        assert (first, len(outer.seen), len(server.asked)) == ({"import": "profiling"}.get(way, "delivered"), 1, 1)
        assert outcome(here, way, url + "?again", policy) == INNER[way]
    assert (inner.callers, outer.callers, len(server.asked)) == (0, 1, 2)


def test_a_name_that_changes_its_meaning_between_two_hops_is_not_called(
    here: Place, rules: Rules, tls: Contexts
) -> None:
    with (
        names(rebinding_example=[[OUTSIDE], [INSIDE]]) as server,
        receiving(status(302, Location="/b.csv"), status(200, CSV), tls=tls[0]) as outer,
        receiving(status(200, CSV), tls=tls[0], host=INSIDE, port=outer.port) as inner,
    ):
        url = f"https://rebinding.example:{outer.port}/a.csv"
        assert outcome(here, "import", url, rules(server, outer)) == "fetch_failed"
    assert (inner.callers, outer.callers) == (0, 1)


REDIRECTS = {
    "loopback": "https://127.0.0.2:{port}/",
    "loopback by name": "https://inner.example:{port}/",
    "loopback in short": "https://127.2:{port}/",
    "loopback without tls": "http://127.0.0.2:{port}/",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "metadata by tls": "https://169.254.169.254/latest/meta-data/",
    "mapped metadata": "https://[::ffff:169.254.169.254]/",
    "file": "file:///etc/passwd",
    "ftp": "ftp://127.0.0.2/",
    "gopher": "gopher://127.0.0.2:6379/_FLUSHALL",
    "data": "data:text/csv,a,b",
    "no tls": "http://good.example:{port}/",
    "user": "https://good.example@127.0.0.2:{port}/",
    "backslash": "https://good.example\\@127.0.0.2:{port}/",
    "half an address": "https://[",
    "another port": "https://good.example:6379/",
    "not ascii": "https://g\u00f6\u00f6d.example:{port}/",
}


def moved(to: str) -> Act:
    """Sends on to the same port of another address."""
    return lambda handler: status(302, Location=to.format(port=handler.server.port))(handler)


@pytest.mark.parametrize("attack", REDIRECTS)
def test_a_redirect_leads_nowhere_where_the_first_address_may_not(
    here: Place, rules: Rules, tls: Contexts, attack: str
) -> None:
    with (
        names(good_example=[[OUTSIDE]], inner_example=[[INSIDE]]) as server,
        receiving(moved(REDIRECTS[attack]), tls=tls[0]) as outer,
        receiving(status(200, CSV), host=INSIDE, port=outer.port) as inner,
    ):
        url = f"https://good.example:{outer.port}/"
        assert outcome(here, "import", url, rules(server, outer)) == "fetch_failed"
        assert outcome(here, "webhook", url, rules(server, outer)) == "answered_302"
    assert (inner.callers, outer.callers, {seen.path for seen in outer.seen}) == (0, 2, {"/"})


@pytest.mark.parametrize("location", ["/", "", "?more"])
def test_redirects_in_a_circle_end(here: Place, rules: Rules, tls: Contexts, location: str) -> None:
    with names(good_example=[[OUTSIDE]]) as server, receiving(moved(location), tls=tls[0]) as outer:
        assert outcome(here, "import", f"https://good.example:{outer.port}/", rules(server, outer)) == "fetch_failed"
    assert len(outer.seen) == outbound.HOPS + 1


def test_nothing_of_ours_goes_along(
    here: Place,
    rules: Rules,
    tls: Contexts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://user:secret@127.0.0.2:1")
    with (
        names(good_example=[[OUTSIDE]], other_example=[[OUTSIDE]]) as server,
        receiving(status(200, CSV), tls=tls[0]) as last,
    ):
        move = status(302, Location=f"https://other.example:{last.port}/b", Set_Cookie="a=b")
        with receiving(move, tls=tls[0]) as first:
            url = f"https://good.example:{first.port}/a"
            assert outcome(here, "import", url, rules(server, first, last)) == "profiling"
    seen = [{**call.headers, "host": call.headers["host"].partition(":")[0]} for call in (*first.seen, *last.seen)]
    common = {"user-agent": "fitd", "accept-encoding": "identity"}
    assert seen == [{"host": "good.example", **common}, {"host": "other.example", **common}]
