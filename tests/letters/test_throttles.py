from __future__ import annotations

from collections.abc import Callable

from tests.letters.visitor import CANVAS, Visitor, Z, refused

RATE = 60  # a minute, on the frail site


def test_it_works(frail_visitor: Callable[[], Visitor]) -> None:
    """What is refused for another reason counts too: an address cannot try without end."""
    visitor = frail_visitor()
    for _ in range(RATE):
        refused(visitor.post("/api/v1/predictions", json=[]), 400, "invalid")
    response = visitor.post("/api/v1/predictions", json={"strokes": Z, "canvas": CANVAS})
    refused(response, 429, "throttled")
    assert 1 <= int(response.headers["Retry-After"]) <= 61
    assert visitor.get("/api/v1/models/current").status_code == 200  # asking for other things is not throttled
    assert frail_visitor().predict()["label"]  # nor is anybody else


def test_keeping_is_counted_apart(frail_visitor: Callable[[], Visitor]) -> None:
    visitor = frail_visitor()
    for _ in range(RATE):
        refused(visitor.post("/api/v1/drawings", json=[]), 400, "invalid")
    refused(visitor.post("/api/v1/drawings", json=[]), 429, "throttled")
    assert visitor.predict()["label"]


def test_a_made_up_address_in_front_does_not_help(frail_visitor: Callable[[], Visitor]) -> None:
    """The last entry of X-Forwarded-For is our proxy's; whatever stands before it, the visitor wrote."""
    visitor = frail_visitor()
    address = visitor.headers["X-Forwarded-For"]
    for number in range(RATE):
        headers = {"X-Forwarded-For": f"172.16.0.{number}, {address!s}"}
        visitor.post("/api/v1/predictions", json=[], headers=headers)
    refused(visitor.post("/api/v1/predictions", json=[]), 429, "throttled")
