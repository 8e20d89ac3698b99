"""Addresses that lead elsewhere than they seem to, names that change their meaning, servers that never end: nothing of
it reaches an inner network, occupies a worker for long, or tells what answers where.

The rules are those of production. A test only says which name server is asked, whose certificates count, that the one
address 127.0.0.1 stands for a public one, and which port a public server has; all else of 127.0.0.0/8 stays inside.
"""

import hashlib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from jobs import artifacts, datasets, db, deliveries, imports, webhooks
from jobs.settings import Settings
from jobs.tables.datasets import Dataset
from jobs.tables.every import METADATA
from jobs.tables.webhooks import Delivery, Webhook
from tests.attacks import hostile
from tests.attacks.hostile import GARBAGE, SILENT, Names, names
from tests.worker.certificates import certified
from tests.worker.receivers import Act, Receiver, drip, nonsense, receiving, status
from worker import delivering, fetching, outbound
from worker.outbound import Policy
from worker.place import Place

CSV = b"a,b\n1,2\n"
OUTSIDE, INSIDE = "127.0.0.1", "127.0.0.2"
LOOPBACK = IPv4Network("127.0.0.0/8")
DENIED = [network for network in outbound.DENIED if network != LOOPBACK]
DENIED += LOOPBACK.address_exclude(IPv4Network(OUTSIDE))
Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
WAYS = ("import", "webhook")
INNER = {"import": "fetch_failed", "webhook": "not_allowed"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[db.Database]:
    found = db.connect(f"sqlite:///{tmp_path_factory.mktemp('own') / 'fitd.db'}")
    METADATA.create_all(found.engine)
    yield found
    found.engine.dispose()


@pytest.fixture
def here(own: db.Database, tmp_path: Path) -> Iterator[Place]:
    """A worker's, with nothing to do."""
    settings = Settings(data_dir=tmp_path, max_upload_bytes=1_000_000, max_stored_bytes=1_500_000)
    yield Place(settings, own, artifacts.connect(settings.artifacts))
    with own.writing() as session:
        for table in (Delivery, Webhook, Dataset):
            session.execute(sa.delete(table))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """Of all public servers, and who trusts them."""
    return certified(tmp_path_factory.mktemp("tls"), "good.example", "rebinding.example", "other.example")


@pytest.fixture
def rules(tls: Contexts) -> Callable[..., Policy]:
    """Those for the ports of these servers and the names of this name server."""

    def rules(names: Names, *servers: Receiver) -> Policy:
        ports = {server.port for server in servers}
        return Policy(seconds=1, resolve=names.look_up, tls=tls[1], denied=DENIED, ports=ports)

    return rules


def settled(here: Place, url: str, policy: Policy) -> Dataset:
    """A dataset after all tries to fetch it."""
    with here.database.writing() as session:
        made = imports.create(session, "ann", "set.csv", url)
    for _ in range(len(imports.PAUSES) + 1):
        hurry(here.database)
        fetching.fetch_next(here, policy)
    with here.database.reading() as session:
        return datasets.get(session, "ann", made.id)


def hurry(database: db.Database) -> None:
    with database.writing() as session:
        session.execute(sa.update(Dataset).where(Dataset.status == "fetching").values(fetch_at=db.now(-1)))


def outcome(here: Place, way: str, url: str, policy: Policy) -> str:
    """What an owner is told of a call."""
    if way == "import":
        found = settled(here, url, policy)
        return found.error.code if found.error else found.status
    with here.database.writing() as session:
        webhook = webhooks.create(session, "ann", url, webhooks.TERMINAL, None)
        deliveries.test(session, "ann", webhook.id)
    delivering.deliver_due(here, policy)
    with here.database.reading() as session:
        (delivery,) = deliveries.page(session, "ann", webhook.id, None, 9)
    return delivery.error or delivery.status


def stored(here: Place) -> list[str]:
    assert here.artifacts.root is not None
    return sorted(path.name for path in here.artifacts.root.rglob("*") if path.is_file())


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
        assert (len(answer.content) < 1000, "127" in answer.text, "good" in answer.text) == (True, False, False)


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


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("attack", HOSTS)
def test_no_way_to_write_an_inner_address_leads_there(here: Place, attack: str, way: str) -> None:
    with receiving(status(200, CSV)) as inner:
        policy = Policy(ports={inner.port}, seconds=1)
        for url in (f"https://{HOSTS[attack]}:{inner.port}/", f"http://{HOSTS[attack]}:{inner.port}/"):
            assert outcome(here, way, url, policy) == INNER[way]
    assert inner.callers == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("port", [1, 21, 22, 25, 53, 110, 2375, 3306, 5432, 6379, 8333, 9200, 11211, 65535])
def test_only_the_ports_of_the_web_are_called(here: Place, port: int, way: str) -> None:
    policy = Policy(resolve=lambda host, port: ["93.184.215.14"])
    assert outcome(here, way, f"https://good.example:{port}/", policy) == INNER[way]


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
def test_a_name_that_means_an_inner_address_is_not_called(
    here: Place, rules: Callable[..., Policy], attack: str, way: str
) -> None:
    with (
        names(good_example=NAMES[attack]) as server,
        receiving(status(200, CSV), host=INSIDE) as inner,
        receiving(status(200, CSV), port=inner.port) as outer,
    ):
        assert outcome(here, way, f"https://good.example:{inner.port}/", rules(server, inner)) == INNER[way]
        assert len(server.asked) == 1
    assert (inner.callers, outer.callers) == (0, 0)


@pytest.mark.parametrize("way", WAYS)
def test_a_name_that_changes_its_meaning_is_called_where_it_was_checked(
    here: Place, rules: Callable[..., Policy], tls: Contexts, way: str
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
    here: Place, rules: Callable[..., Policy], tls: Contexts
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
    "empty": "",
}


def moved(to: str, port: int) -> Act:
    return status(302, Location=to.format(port=port))


@pytest.mark.parametrize("attack", REDIRECTS)
def test_a_redirect_leads_nowhere_where_the_first_address_may_not(
    here: Place, rules: Callable[..., Policy], tls: Contexts, attack: str
) -> None:
    with (
        names(good_example=[[OUTSIDE]], inner_example=[[INSIDE]]) as server,
        receiving(status(200, CSV), host=INSIDE) as inner,
        receiving(
            status(302, Location=REDIRECTS[attack].format(port=inner.port)), port=inner.port, tls=tls[0]
        ) as outer,
    ):
        url = f"https://good.example:{outer.port}/"
        assert outcome(here, "import", url, rules(server, outer)) == "fetch_failed"
        assert outcome(here, "webhook", url, rules(server, outer)) == "answered_302"
    assert inner.callers == 0
    assert {seen.path for seen in outer.seen} == {"/"}


def test_redirects_in_a_circle_end(here: Place, rules: Callable[..., Policy], tls: Contexts) -> None:
    with names(good_example=[[OUTSIDE]]) as server, receiving(status(307, Location="/"), tls=tls[0]) as outer:
        assert outcome(here, "import", f"https://good.example:{outer.port}/", rules(server, outer)) == "fetch_failed"
    assert len(outer.seen) == outbound.HOPS + 1


def test_nothing_of_ours_goes_along(
    here: Place,
    rules: Callable[..., Policy],
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


# What answers

BODIES: dict[str, tuple[Act, str]] = {
    "endless": (hostile.ENDLESS, "too_large"),
    "a promise of ten terabytes": (hostile.PROMISING, "too_large"),
    "a promise of 5000 digits": (hostile.BOASTING, "fetch_failed"),
    "a byte at a time": (hostile.DRIPPING, "fetch_failed"),
    "a header, a byte at a time": (drip, "fetch_failed"),
    "headers without end": (hostile.HEADERS, "fetch_failed"),
    "a header without end": (hostile.ONE_HEADER, "fetch_failed"),
    "a chunk's size without end": (hostile.CHUNK_SIZE, "fetch_failed"),
    "trailers without end": (hostile.TRAILERS, "fetch_failed"),
    "continues": (hostile.CONTINUING, "fetch_failed"),
    "cut off": (hostile.CUT_OFF, "fetch_failed"),
    "two lengths": (hostile.TWO_LENGTHS, "fetch_failed"),
    "no http": (nonsense, "fetch_failed"),
    "empty": (status(200), "data_invalid"),
    "no content": (status(204), "fetch_failed"),
    "a part": (status(206, CSV), "fetch_failed"),
    "a login": (status(401, CSV, WWW_Authenticate="Basic"), "fetch_failed"),
    "an error": (status(500, CSV), "fetch_failed"),
}


@pytest.mark.parametrize("attack", BODIES)
def test_an_answer_that_is_no_file_costs_little_and_leaves_nothing(
    here: Place, rules: Callable[..., Policy], tls: Contexts, attack: str
) -> None:
    act, code = BODIES[attack]
    with names(good_example=[[OUTSIDE]]) as server, receiving(act, tls=tls[0]) as outer:
        policy = replace(rules(server, outer), seconds=0.4)
        assert outcome(here, "import", f"https://good.example:{outer.port}/", policy) == code
    assert 1 <= len(outer.seen) <= len(imports.PAUSES) + 1
    assert stored(here) == []


@pytest.mark.parametrize("attack", ["a header, a byte at a time", "headers without end", "continues", "no http"])
def test_a_receiver_that_never_answers_is_left(
    here: Place, rules: Callable[..., Policy], tls: Contexts, attack: str
) -> None:
    with names(good_example=[[OUTSIDE]]) as server, receiving(BODIES[attack][0], tls=tls[0]) as outer:
        policy = replace(rules(server, outer), seconds=0.4)
        assert outcome(here, "webhook", f"https://good.example:{outer.port}/", policy) in ("timeout", "bad_answer")


def test_a_bomb_is_not_unpacked(here: Place, rules: Callable[..., Policy], tls: Contexts) -> None:
    packed = status(200, hostile.BOMB, **{"Content-Encoding": "gzip"})
    with names(good_example=[[OUTSIDE]]) as server, receiving(packed, tls=tls[0]) as outer:
        found = settled(here, f"https://good.example:{outer.port}/", rules(server, outer))
    assert (found.bytes, found.sha256) == (len(hostile.BOMB), hashlib.sha256(hostile.BOMB).hexdigest())
    assert stored(here) == [found.sha256]


def test_who_has_stored_enough_imports_no_more(here: Place, rules: Callable[..., Policy], tls: Contexts) -> None:
    acts = [status(200, bytes([65 + n]) * 700_000) for n in range(3)]
    with names(good_example=[[OUTSIDE]]) as server, receiving(*acts, tls=tls[0]) as outer:
        url, policy = f"https://good.example:{outer.port}/", rules(server, outer)
        told = [outcome(here, "import", f"{url}{n}", policy) for n in range(3)]
    assert told == ["profiling", "profiling", "limit_reached"]
    assert len(stored(here)) == 2


# What an owner learns


def test_all_that_could_tell_what_answers_where_is_told_alike(
    here: Place, rules: Callable[..., Policy], tls: Contexts
) -> None:
    zone: Any = {"good_example": [[OUTSIDE]], "inner_example": [[INSIDE]], "other_example": [[OUTSIDE]]}
    acts = [status(404, b"secret words"), status(403, b"secret"), status(302, Location="https://inner.example/")]
    with receiving(status(200)) as gone:
        closed = gone.port
    with names(**zone) as server, receiving(*acts, drip, tls=tls[0]) as outer, receiving(nonsense) as plain:
        policy = replace(rules(server, outer, plain, gone), seconds=0.3)
        hosts = ["good.example", "good.example", "good.example", "good.example", "inner.example", "nobody.example"]
        urls = [f"https://{host}:{outer.port}/{n}" for n, host in enumerate(hosts)]
        urls += [f"https://good.example:{closed}/", f"https://good.example:{plain.port}/"]
        urls += [f"https://{INSIDE}:{outer.port}/", f"https://{INSIDE}:{closed}/"]
        found = [settled(here, url, policy) for url in urls]
    assert len({repr((one.status, one.error, one.bytes, one.sha256, one.preview)) for one in found}) == 1
    assert found[0].error is not None
    assert found[0].error.message == fetching.mend(policy)


def test_an_inner_address_is_refused_in_the_same_time_whoever_is_there(
    here: Place, rules: Callable[..., Policy]
) -> None:
    """In one try, before anything is called: an open port, a closed one and a name that there is not."""
    with (
        names(inner_example=[[INSIDE]]) as server,
        receiving(status(200, CSV), host=INSIDE) as inner,
        receiving(status(200), host=INSIDE) as gone,
    ):
        policy = rules(server, inner, gone)
        for host, port in (("inner.example", inner.port), ("inner.example", gone.port), ("nobody.example", inner.port)):
            with here.database.writing() as session:
                made = imports.create(session, "ann", "set.csv", f"https://{host}:{port}/")
            assert fetching.fetch_next(here, policy)
            with here.database.reading() as session:
                found = datasets.get(session, "ann", made.id)
            assert (found.status, found.attempt, found.fetch_tries) == ("invalid", 1, 0)
    assert (inner.callers, gone.callers) == (0, 0)


@pytest.mark.parametrize("network", ["127.0.0.2/32", "127.0.0.0/8"])
def test_an_operators_own_network_is_the_one_exception(here: Place, network: str) -> None:
    with receiving(status(200, CSV), host=INSIDE) as inner:
        policy = Policy([ip_network(network)])
        assert outcome(here, "import", f"http://{INSIDE}:{inner.port}/", policy) == "profiling"
