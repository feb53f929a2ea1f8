"""What a visitor is told while something is broken, and how long it takes until nothing is."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import requests

from tests.letters.training import WATCH
from tests.letters.visitor import CANVAS, Visitor, Z, refused, scaled
from tests.running import Site, wait_for

PROMISED = 3.0  # seconds in which whoever asks is told
TRIES = 3
BODY = {"strokes": Z, "canvas": CANVAS}
_numbers = itertools.count()


def in_time(ask: Callable[[], requests.Response], promised: float = PROMISED) -> requests.Response:
    """The answer, which came within the time promised. Asked again where a machine that had more to do was late:
    what the site itself waits for, it waits for each time."""
    for _ in range(TRIES):
        began = time.monotonic()
        answer = ask()
        took = time.monotonic() - began
        if took < promised:
            return answer
    raise AssertionError(f"{took:.1f} s for {answer.request.method} {answer.request.url}: {answer.text[:100]}")


def told(ask: Callable[[], requests.Response], code: str, promised: float = PROMISED) -> dict[str, Any]:
    """The body of a 503, in time, which says when to come again."""

    def is_told() -> requests.Response:
        answer = ask()
        assert 1 <= int(answer.headers.get("Retry-After", 0)) <= 60, answer.text
        refused(answer, 503, code)
        return answer

    value: dict[str, Any] = in_time(is_told, promised).json()
    return value


def predict(visitor: Visitor) -> requests.Response:
    """Whatever comes of it."""
    return visitor.post("/api/v1/predictions", json=BODY)


def another_letter() -> dict[str, Any]:
    """A drawing that no other is like: its strokes and canvas."""
    number = next(_numbers)
    return {"strokes": scaled(Z, 0.5 + 0.4 * (number % 13) / 13, number % 7, number % 11), "canvas": CANVAS}


def keeper(visitor: Visitor, key: str) -> Callable[[], requests.Response]:
    """Sends one letter, the same each time it is called: what a page does until it is answered."""
    drawing = another_letter()
    token = visitor.predict(drawing["strokes"], drawing["canvas"])["token"]
    body = drawing | {"character": "z", "consent": True, "token": token}
    return lambda: visitor.post("/api/v1/drawings", json=body, headers={"Idempotency-Key": key})


def there(site: Site, key: str) -> int:
    """How many drawings were kept under a key."""
    return int(site.rows("SELECT count(*) AS n FROM letters_drawing WHERE idempotency_key = %s", key)[0]["n"])


def heals(visitor: Visitor, within: float) -> float:
    """Seconds until a drawing is read again, by itself. Raises SiteError where it is not within that time."""
    began = time.monotonic()
    wait_for(lambda: predict(visitor).status_code == 200, "a drawing is read again", within)
    return time.monotonic() - began


def watch_until(site: Site, condition: Callable[[], Any], what: str, timeout: float = 60) -> Any:
    """As the schedule does it, look after what was left undone until that came true."""

    def look() -> Any:
        site.python(WATCH)
        return condition()

    return wait_for(look, what, timeout)
