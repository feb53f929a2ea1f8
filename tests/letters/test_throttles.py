"""What one network may do in a while: counted across the processes of the web server, and kept from nobody else."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import pytest
import redis
import requests
from django.test import RequestFactory, override_settings

from letters import addresses
from tests.letters.test_drawings import THREADS, at_once
from tests.letters.visitor import CANVAS, Visitor, Z, not_when_counts_begin_anew, refused
from tests.running import Site

RATE, PICTURES, KEPT, CONTRIBUTORS = 60, 7, 10, 8  # on the frail site: two by the minute, two by the hour
HOUR = 3600
PREDICTIONS, DRAWINGS = "/api/v1/predictions", "/api/v1/drawings"


@pytest.fixture(autouse=True)
def _not_when_counts_begin_anew() -> None:
    not_when_counts_begin_anew(30)


def test_it_works(frail_visitor: Callable[[], Visitor]) -> None:
    """What is refused for another reason counts too: an address cannot try without end."""
    visitor = frail_visitor()
    for _ in range(RATE):
        refused(visitor.post(PREDICTIONS, json=[]), 400, "invalid")
    response = visitor.post(PREDICTIONS, json={"strokes": Z, "canvas": CANVAS})
    said = refused(response, 429, "throttled")["message"]
    assert said.startswith("too many requests from this network, 60 in 1 minute is all it may do: wait ")
    assert 1 <= int(response.headers["Retry-After"]) <= 61
    assert visitor.get("/api/v1/models/current").status_code == 200  # asking for other things is not throttled
    assert frail_visitor().predict()["label"]  # nor is anybody else


def test_keeping_is_counted_apart(frail_visitor: Callable[[], Visitor]) -> None:
    visitor = frail_visitor()
    for _ in range(RATE):
        refused(visitor.post(DRAWINGS, json=[]), 400, "invalid")
    refused(visitor.post(DRAWINGS, json=[]), 429, "throttled")
    assert visitor.predict()["label"]


def test_pictures_are_counted_apart(frail_visitor: Callable[[], Visitor]) -> None:
    """In whichever way they come, and whatever is in them; strokes go on being read."""
    visitor = frail_visitor()
    for number in range(PICTURES):
        if number % 2:
            answer = visitor.post(PREDICTIONS, files={"image": ("letter.png", b"no picture", "image/png")})
        else:
            answer = visitor.post(PREDICTIONS, json={"image": base64.b64encode(b"no picture").decode()})
        refused(answer, 415, "image_format", "image")
    for sent in ({"files": {"image": ("letter.png", b"no picture", "image/png")}}, {"json": {"image": "bm8="}}):
        said = refused(visitor.post(PREDICTIONS, **sent), 429, "throttled")["message"]
        assert "7 pictures in 1 minute" in said
    assert visitor.predict()["label"]


# --- Twenty threads --------------------------------------------------------------------------------------------------


def crowd(frail_visitor: Callable[[], Visitor]) -> list[Visitor]:
    """Twenty contributors of one network."""
    made = [frail_visitor() for _ in range(THREADS)]
    for each in made:
        each.headers["X-Forwarded-For"] = made[0].headers["X-Forwarded-For"]
    return made


def test_twenty_threads_do_not_pass_the_rate(frail_visitor: Callable[[], Visitor]) -> None:
    def ask(each: Visitor, _: int) -> list[int]:
        return [each.post(PREDICTIONS, json=[]).status_code for _ in range(4)]

    codes = [code for codes in at_once(crowd(frail_visitor), ask) for code in codes]
    assert (codes.count(400), codes.count(429)) == (RATE, 4 * THREADS - RATE)


def test_new_contributors_of_a_network_are_bounded(frail_site: Site, frail_visitor: Callable[[], Visitor]) -> None:
    """An id costs nothing; what it can be used for does, whichever of twenty threads comes first."""
    visitors = crowd(frail_visitor)
    tokens = [each.predict()["token"] for each in visitors]
    before = frail_site.count("drawing"), frail_site.count("contributor")
    answers = at_once(visitors, lambda each, number: each.ask_to_keep(token=tokens[number]))
    assert sorted(each.status_code for each in answers) == [201] * CONTRIBUTORS + [429] * (THREADS - CONTRIBUTORS)
    over = next(each for each in answers if each.status_code == 429)
    assert "8 new contributors in 1 hour" in refused(over, 429, "throttled")["message"]
    assert 1 <= int(over.headers["Retry-After"]) <= HOUR + 1
    after = frail_site.count("drawing"), frail_site.count("contributor")
    assert after == (before[0] + CONTRIBUTORS, before[1] + CONTRIBUTORS)


def test_what_is_kept_of_a_network_is_bounded(frail_site: Site, frail_visitor: Callable[[], Visitor]) -> None:
    """Known contributors too: each has kept one from elsewhere, and now they come by one router."""
    visitors = [frail_visitor() for _ in range(THREADS)]
    tokens = [each.predict()["token"] for each in visitors]
    first = [each.keep(token=token, key="from-home") for each, token in zip(visitors, tokens, strict=True)]
    for each in visitors:
        each.headers["X-Forwarded-For"] = visitors[0].headers["X-Forwarded-For"]
    before = frail_site.count("drawing")
    left = KEPT - 1  # the first has kept one by this very router
    answers = at_once(visitors, lambda each, number: each.ask_to_keep(token=tokens[number], key="at-school"))
    assert sorted(each.status_code for each in answers) == [201] * left + [429] * (THREADS - left)
    assert frail_site.count("drawing") == before + left
    again = at_once(visitors, lambda each, number: each.ask_to_keep(token=tokens[number], key="from-home"))
    assert [each.json() for each in again] == first  # what was kept is answered as before


def test_what_is_not_kept_is_not_counted(frail_visitor: Callable[[], Visitor]) -> None:
    visitor = frail_visitor()
    token = visitor.predict()["token"]
    for _ in range(KEPT + 1):
        refused(visitor.ask_to_keep(token=token, consent=False), 400, "consent_required", "consent")
    kept = visitor.keep(token=token, key="the-only-one")
    for _ in range(KEPT + 1):
        refused(visitor.ask_to_keep(token=token, key="the-only-one", character="a"), 409, "idempotency_conflict")
        assert visitor.keep(token=token, key="the-only-one") == kept
    for number in range(4):  # until its own quota of five is used up; then nothing is counted of the network either
        visitor.keep(token=token, key=f"one-of-four-{number}")
    for number in range(KEPT):
        refused(visitor.ask_to_keep(token=token, key=f"over-the-quota-{number}"), 429, "quota_exceeded")
    other = frail_visitor()
    other.headers["X-Forwarded-For"] = visitor.headers["X-Forwarded-For"]
    assert other.keep()


# --- Whose address it is ---------------------------------------------------------------------------------------------


def test_a_made_up_address_in_front_does_not_help(frail_visitor: Callable[[], Visitor]) -> None:
    """The last entry of X-Forwarded-For is our proxy's; whatever stands before it, the visitor wrote."""
    visitor = frail_visitor()
    address = visitor.headers["X-Forwarded-For"]
    for number in range(RATE):
        headers = {"X-Forwarded-For": f"172.16.0.{number}, {address!s}", "X-Real-IP": f"172.16.0.{number}"}
        visitor.post(PREDICTIONS, json=[], headers=headers)
    refused(visitor.post(PREDICTIONS, json=[]), 429, "throttled")


def test_a_made_up_header_of_its_own_does_not_help(frail_site: Site, frail_visitor: Callable[[], Visitor]) -> None:
    """Some proxies add a line and leave the visitor's as it is."""
    import http.client

    address = str(frail_visitor().headers["X-Forwarded-For"])
    host, _, port = frail_site.base_url.removeprefix("http://").partition(":")
    line = http.client.HTTPConnection(host, int(port), timeout=60)
    codes = []
    for number in range(RATE + 1):
        line.putrequest("POST", PREDICTIONS)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", "2")):
            line.putheader(name, value)
        line.putheader("X-Forwarded-For", f"172.16.1.{number}")
        line.putheader("X-Forwarded-For", address)
        line.endheaders(b"[]")
        answer = line.getresponse()
        answer.read()
        codes.append(answer.status)
    line.close()
    assert codes == [400] * RATE + [429]


def hashed(proxies: int = 0, now: float = 0.0, **meta: str) -> str:
    with override_settings(PROXIES=proxies):
        return addresses.hashed(RequestFactory().get("/", **meta), now)


def of(address: str) -> str:
    return hashed(REMOTE_ADDR=address)


def by(forwarded: str, proxies: int = 1) -> str:
    return hashed(proxies, REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=forwarded)


def test_networks_are_told_apart() -> None:
    assert len({of("192.0.2.1"), of("192.0.2.2"), of("2001:db8::1"), of("2001:db8:0:1::1"), of("")}) == 5
    assert of("2001:db8::1") == of("2001:db8::ffff:ffff:ffff:ffff")  # a /64 is one household's
    assert of("::ffff:192.0.2.1") == of("192.0.2.1")
    assert of("fe80::1%eth0") == of("fe80::2")


def test_only_our_proxies_are_believed() -> None:
    assert by("192.0.2.9", proxies=0) == of("10.0.0.1")  # without any, nobody
    assert by("192.0.2.9, 192.0.2.1") == of("192.0.2.1")
    assert by("192.0.2.9, 192.0.2.1, 10.9.9.9", proxies=2) == of("192.0.2.1")
    assert by("192.0.2.1", proxies=2) == of("192.0.2.1")  # it came by one of them alone
    assert hashed(1, REMOTE_ADDR="10.0.0.1") == of("10.0.0.1")
    for written in ("192.0.2.1:5060", "[::ffff:192.0.2.1]:443", " 192.0.2.1 ", "::ffff:192.0.2.1"):
        assert by(f"made up, {written}") == of("192.0.2.1"), written
    assert by("192.0.2.1, unknown") == of("")  # all of whom nothing is known are one network


def test_the_hash_is_another_one_each_hour_and_on_each_site() -> None:
    one = hashed(now=0.0)
    assert hashed(now=3599.9) == one != hashed(now=3600.0)
    with override_settings(SECRET_KEY="another"):
        assert hashed(now=0.0) != one
    assert len(one) == 32


def test_no_address_is_kept_and_no_count_for_longer_than_an_hour(
    frail_site: Site, frail_visitor: Callable[[], Visitor]
) -> None:
    visitor = frail_visitor()
    with redis.Redis.from_url(frail_site.env["REDIS_URL"]) as client:
        of_others = set(client.scan_iter("letterloop:quota:*"))
        visitor.keep()
        keys = set(client.scan_iter("letterloop:quota:*")) - of_others
        assert {key.rpartition(b":")[2] for key in keys} == {b"predictions", b"drawings", b"kept", b"contributors"}
        for key in keys:
            assert 0 < client.pttl(key) <= HOUR * 1000
            assert client.get(key).isdigit()
            assert len(key.split(b":")[2]) == 32
            for address in (visitor.headers["X-Forwarded-For"], "127.0.0.1"):
                assert str(address).encode() not in key


# --- Without Redis ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "silent"])
def test_without_redis_the_quota_of_the_database_holds(
    frail_site: Site, frail_visitor: Callable[[], Visitor], how: str
) -> None:
    """A visitor is told within three seconds, and what was predicted before can still be kept: five of a person."""
    assert frail_site.redis
    visitor = frail_visitor()
    token = visitor.predict()["token"]
    crowd_ = [frail_visitor() for _ in range(THREADS)]
    (frail_site.redis.kill if how == "killed" else frail_site.redis.pause)()
    try:
        began = time.monotonic()
        refused(visitor.post(PREDICTIONS, json={"strokes": Z, "canvas": CANVAS}), 503, "inference_unavailable")
        assert time.monotonic() - began < 3

        def keep(each: Visitor, number: int) -> tuple[int, float]:
            started = time.monotonic()
            answer: requests.Response = each.ask_to_keep(token=token, key=f"in-the-dark-{number}")
            return answer.status_code, time.monotonic() - started

        answers = at_once(crowd_, keep)
        assert sorted(code for code, _ in answers) == [201] * 5 + [429] * (THREADS - 5)
        alone = visitor.ask_to_keep(token=token, key="in-the-dark-alone")
        refused(alone, 429, "quota_exceeded")
        assert alone.elapsed.total_seconds() < 3
    finally:
        (frail_site.redis.start if how == "killed" else frail_site.redis.resume)()
        frail_site.wait_until_ready()
