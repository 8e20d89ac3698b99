"""Servers that never end, promise too much or say anything else than a file: they occupy no worker for long, leave
nothing, and no owner learns by them what answers where."""

import hashlib
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from jobs import datasets, imports
from tests.attacks import hostile
from tests.attacks.calls import CSV, INSIDE, OUTSIDE, Contexts, Rules, outcome, settled, stored
from tests.attacks.hostile import names
from tests.worker.receivers import Act, drip, nonsense, receiving, status
from worker import fetching
from worker.outbound import Policy
from worker.place import Place

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
    here: Place, rules: Rules, tls: Contexts, attack: str
) -> None:
    act, code = BODIES[attack]
    with names(good_example=[[OUTSIDE]]) as server, receiving(act, tls=tls[0]) as outer:
        policy = replace(rules(server, outer), seconds=0.4)
        assert outcome(here, "import", f"https://good.example:{outer.port}/", policy) == code
    assert 1 <= len(outer.seen) <= len(imports.PAUSES) + 1
    assert stored(here) == []


@pytest.mark.parametrize("attack", ["a header, a byte at a time", "headers without end", "continues", "no http"])
def test_a_receiver_that_never_answers_is_left(here: Place, rules: Rules, tls: Contexts, attack: str) -> None:
    with names(good_example=[[OUTSIDE]]) as server, receiving(BODIES[attack][0], tls=tls[0]) as outer:
        policy = replace(rules(server, outer), seconds=0.4)
        assert outcome(here, "webhook", f"https://good.example:{outer.port}/", policy) in ("timeout", "bad_answer")


def test_all_hops_together_have_one_deadline(here: Place, rules: Rules, tls: Contexts) -> None:
    def slowly(handler: Any) -> None:
        handler.server.over.wait(0.3)
        status(302, Location="/")(handler)

    with names(good_example=[[OUTSIDE]]) as server, receiving(slowly, tls=tls[0]) as outer:
        policy = replace(rules(server, outer), seconds=0.5)
        found = settled(here, f"https://good.example:{outer.port}/", policy)
    assert (found.status, found.fetch_tries, len(outer.seen)) == ("invalid", 3, 8)


def test_a_bomb_is_not_unpacked(here: Place, rules: Rules, tls: Contexts) -> None:
    packed = status(200, hostile.BOMB, **{"Content-Encoding": "gzip"})
    with names(good_example=[[OUTSIDE]]) as server, receiving(packed, tls=tls[0]) as outer:
        found = settled(here, f"https://good.example:{outer.port}/", rules(server, outer))
    assert (found.bytes, found.sha256) == (len(hostile.BOMB), hashlib.sha256(hostile.BOMB).hexdigest())
    assert stored(here) == [found.sha256]


def test_who_has_stored_enough_imports_no_more(here: Place, rules: Rules, tls: Contexts) -> None:
    acts = [status(200, bytes([65 + n]) * 700_000) for n in range(3)]
    with names(good_example=[[OUTSIDE]]) as server, receiving(*acts, tls=tls[0]) as outer:
        url, policy = f"https://good.example:{outer.port}/", rules(server, outer)
        told = [outcome(here, "import", f"{url}{n}", policy) for n in range(3)]
    assert told == ["profiling", "profiling", "limit_reached"]
    assert len(stored(here)) == 2


# What an owner learns


def test_all_that_could_tell_what_answers_where_is_told_alike(here: Place, rules: Rules, tls: Contexts) -> None:
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


def test_an_inner_address_is_refused_in_the_same_time_whoever_is_there(here: Place, rules: Rules) -> None:
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
