"""What a visitor's program does: draw, ask, keep, look again, withdraw. Over HTTP and with a cookie jar."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from typing import Any

import requests
from django.core import signing
from PIL import Image, ImageDraw

from tests.running import Site, wait_for

Strokes = list[list[list[float]]]
CANVAS = {"width": 200, "height": 200}
LETTERS: dict[str, Strokes] = {
    "L": [[[60, 40], [60, 160], [130, 160]]],
    "T": [[[50, 40], [150, 40]], [[100, 40], [100, 160]]],
    "V": [[[50, 40], [100, 160], [150, 40]]],
    "X": [[[60, 40], [140, 160]], [[140, 40], [60, 160]]],
    "Z": [[[60, 40], [140, 40], [60, 160], [140, 160]]],
}
Z = LETTERS["Z"]


class Visitor(requests.Session):
    """One visitor of a site; `address` is whence he seems to come where the site trusts a proxy."""

    def __init__(self, site: Site, address: str | None = None) -> None:
        super().__init__()
        self.site = site
        self.trust_env = False  # a proxy of the machine has no part in this
        if address:
            self.headers["X-Forwarded-For"] = address

    def request(self, method: str, url: str, *args: Any, **options: Any) -> requests.Response:  # type: ignore[override]
        """`url` is a path of the site."""
        options.setdefault("timeout", 60)
        options["allow_redirects"] = False
        return super().request(method, self.site.base_url + url, *args, **options)

    def predict(self, strokes: Strokes = Z, canvas: dict[str, float] = CANVAS) -> dict[str, Any]:
        """The answer to a drawing that is in order."""
        response = asked_again(lambda: self.post("/api/v1/predictions", json={"strokes": strokes, "canvas": canvas}))
        assert response.status_code == 200, response.text
        return response.json()

    def ask_to_keep(self, *, key: str | None = None, **changes: Any) -> requests.Response:
        """Whatever comes of it. What `changes` does not say is a Z, consented to, with its own token."""
        body = {"strokes": Z, "canvas": CANVAS, "character": "z", "consent": True} | changes
        if "token" not in body:
            body["token"] = self.predict(body["strokes"], body["canvas"])["token"]
        headers = {"Idempotency-Key": key} if key else {}
        return self.post("/api/v1/drawings", json=body, headers=headers)

    def keep(self, **changes: Any) -> dict[str, Any]:
        """The answer to a drawing that was kept."""
        response = self.ask_to_keep(**changes)
        assert response.status_code == 201, response.text
        return response.json()

    def see(self, drawing_id: str, receipt: str) -> requests.Response:
        """One drawing by its receipt."""
        return self.get(f"/api/v1/drawings/{drawing_id}", headers={"X-Receipt": receipt})

    def withdraw(self, drawing_id: str, receipt: str) -> requests.Response:
        """Delete one drawing by its receipt."""
        return self.delete(f"/api/v1/drawings/{drawing_id}", headers={"X-Receipt": receipt})


def not_when_counts_begin_anew(needed: float) -> None:
    """A network has another hash each hour: wait for the next where fewer seconds are left of this one."""
    wait_for(lambda: time.time() % 3600 < 3600 - needed, "the hour is over", needed + 30)


def asked_again(ask: Callable[[], requests.Response], times: int = 10) -> requests.Response:
    """The answer to a prediction. A busy machine, which says when to come again, is asked again as the page does it."""
    response = ask()
    for _ in range(times):
        if response.status_code != 503 or "inference_unavailable" not in response.text:
            break
        time.sleep(int(response.headers["Retry-After"]))
        response = ask()
    return response


def refused(response: requests.Response, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """The body of a refusal, which is as every refusal is: a code for programs and words for people."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"], body.get("field")) == (status, code, field), response.text
    assert set(body) <= {"code", "message", "field"}
    assert body["message"]
    return body


def scaled(strokes: Strokes, factor: float, dx: float = 0, dy: float = 0) -> Strokes:
    """The same letter larger or smaller, and elsewhere."""
    return [[[x * factor + dx, y * factor + dy] for x, y in stroke] for stroke in strokes]


def picture(strokes: Strokes = Z, *, size: tuple[int, int] = (200, 200), kind: str = "PNG", dot: int = 0) -> bytes:
    """A file with the letter in black on white, or with no more than a dot of that radius."""
    image = Image.new("L", size, 255)
    for stroke in [] if dot else strokes:
        ImageDraw.Draw(image).line([(x, y) for x, y in stroke], fill=0, width=12)
    if dot:
        ImageDraw.Draw(image).circle((100, 100), dot, fill=0)
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def encoded(content: bytes) -> str:
    """Base64, as a JSON body holds a picture."""
    return base64.b64encode(content).decode()


class _Backdated(signing.TimestampSigner):
    def __init__(self, *, key: str, age: int) -> None:
        super().__init__(key=key, salt="letterloop.token")
        self._age = age

    def timestamp(self) -> str:
        return signing.b62_encode(int(time.time()) - self._age)


def signed_again(site: Site, token: str, *, age: int = 0, **changes: object) -> str:
    """A token as the site itself could have made it `age` seconds ago, some of its content changed."""
    signer = _Backdated(key=site.secret_key, age=age)
    return signer.sign_object(signer.unsign_object(token) | changes)
