"""A new SECRET_KEY: what the old one signed stays good while it stands in SECRET_KEY_FALLBACKS, and no longer."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.letters.training import Maintainer
from tests.letters.visitor import CANVAS, LETTERS, Visitor, refused
from tests.running import Site, running_site

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def turning() -> Iterator[Site]:
    with running_site(own_redis=True, processes=1) as started:
        yield started


def turn(site: Site, key: str, *fallbacks: str) -> None:
    """Restart the web process with another key, as docs/deploy.md has it."""
    site.web.end()
    site.web._env |= {"SECRET_KEY": key, "SECRET_KEY_FALLBACKS": ",".join(fallbacks)}
    site.web.start()
    site.wait_until_ready()


def test_it_works(turning: Site) -> None:
    old, new, newest = turning.secret_key, secrets.token_urlsafe(50), secrets.token_urlsafe(50)
    with Visitor(turning) as visitor, Maintainer(turning) as maintainer:
        kept = visitor.keep()
        token = visitor.predict(LETTERS["T"])["token"]
        turn(turning, new, old)

        assert visitor.see(kept["id"], kept["receipt"]).status_code == 200
        body = {"strokes": LETTERS["T"], "canvas": CANVAS, "character": "T", "consent": True, "token": token}
        confirmed = visitor.post("/api/v1/drawings", json=body)
        assert confirmed.status_code == 201, confirmed.text
        mine = [each["id"] for each in visitor.get("/api/v1/drawings/mine").json()["drawings"]]
        assert mine == [confirmed.json()["id"], kept["id"]]
        assert maintainer.get("/admin/review/").status_code == 200

        turn(turning, newest, new, old)  # a second time: the first key of all is still there
        assert visitor.see(kept["id"], kept["receipt"]).status_code == 200
        assert visitor.withdraw(kept["id"], kept["receipt"]).status_code == 204

        turn(turning, secrets.token_urlsafe(50))
        again = confirmed.json()
        refused(visitor.see(again["id"], again["receipt"]), 404, "not_found")
        assert maintainer.get("/admin/review/").status_code == 302
