from __future__ import annotations

import io
import re
import uuid

import numpy as np
import pytest
from PIL import Image

from ml.preprocess import image_from_strokes
from tests.letters.visitor import LETTERS, Visitor, Z
from tests.running import Site

PAGES = ["/", "/samples", "/model/", "/about", "/privacy", "/mine", "/api/", f"/drawings/{uuid.UUID(int=0)}"]
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}


def policy(header: str) -> dict[str, str]:
    """The directives of a Content-Security-Policy."""
    return {name: value for name, _, value in (each.strip().partition(" ") for each in header.split(";"))}


def inline_code(page: str) -> list[str]:
    """What a policy without 'unsafe-inline' would keep from working: scripts, styles, handlers, javascript: links."""
    scripts = [
        tag
        for tag, content in re.findall(r"(<script\b[^>]*>)(.*?)</script>", page, re.S)
        if content.strip() and "application/json" not in tag
    ]
    return scripts + re.findall(r"<style\b|<[a-z][^>]*\s(?:style|on[a-z]+)\s*=|href=\"javascript:", page)


@pytest.mark.parametrize("path", PAGES)
def test_it_works(visitor: Visitor, path: str) -> None:
    page = visitor.get(path)
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert policy(page.headers["Content-Security-Policy"]) == POLICY
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert inline_code(page.text) == []
    assert re.search(r'<html\b[^>]*\blang="en"', page.text)
    assert re.search(r"<title>[^<]+</title>", page.text)


@pytest.mark.parametrize("path", PAGES)
def test_all_that_a_page_loads_is_there(visitor: Visitor, path: str) -> None:
    page = visitor.get(path).text
    found = set(re.findall(r'(?:src|href)="(/static/[^"#]+)"', page))
    assert found
    for address in found:
        file = visitor.get(address)
        assert file.status_code == 200, address
        assert "immutable" in file.headers["Cache-Control"], address
        if address.endswith(".js"):
            for inner in re.findall(r'from\s*"(\./[^"]+)"', file.text):
                assert visitor.get(address.rpartition("/")[0] + inner[1:]).status_code == 200, inner


@pytest.mark.parametrize("path", PAGES)
def test_every_link_of_a_page_leads_somewhere(visitor: Visitor, path: str) -> None:
    visitor.keep()  # only who has given something is offered the file of it
    for address in set(re.findall(r'<a\b[^>]*href="(/[^"#]*)', visitor.get(path).text)):
        assert visitor.get(address).status_code in (200, 302), address


@pytest.mark.parametrize("path", ["/nothing", "/drawings/17", "/samples/17.png", "/nothing.js", "/admin-of-another"])
def test_an_unknown_page(visitor: Visitor, path: str) -> None:
    page = visitor.get(path)
    assert page.status_code == 404
    assert policy(page.headers["Content-Security-Policy"]) == POLICY
    assert inline_code(page.text) == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_takes_nothing(visitor: Visitor, path: str) -> None:
    assert visitor.post(path, data={"a": "b"}).status_code in (403, 405)


def test_a_drawing_that_is_not_approved_is_shown_to_nobody(site: Site, visitor: Visitor) -> None:
    kept = visitor.keep()
    address = f"/samples/{kept['id']}.png"
    for state in ("pending", "rejected"):
        site.rows("UPDATE letters_drawing SET state = %s WHERE id = %s", state, uuid.UUID(kept["id"]))
        assert visitor.get(address).status_code == 404
        assert kept["id"] not in visitor.get("/samples").text


def test_an_approved_drawing_is_a_sample(site: Site, visitor: Visitor) -> None:
    kept = visitor.keep(character="z")
    site.rows("UPDATE letters_drawing SET state = 'approved' WHERE id = %s", uuid.UUID(kept["id"]))
    address = f"/samples/{kept['id']}.png"
    assert address in visitor.get("/samples").text
    image = visitor.get(address)
    assert (image.status_code, image.headers["Content-Type"]) == (200, "image/png")
    assert "private" in image.headers["Cache-Control"]  # who withdraws a drawing takes it out of no proxy's cache
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(image.content))), image_from_strokes(Z, (200, 200)))
    assert visitor.withdraw(kept["id"], kept["receipt"]).status_code == 204
    assert visitor.get(address).status_code == 404


def test_the_page_of_a_drawing_knows_no_receipt(visitor: Visitor) -> None:
    """It says the same whatever drawing is asked for: the receipt stands behind the # and stays in the browser."""
    kept = visitor.keep(strokes=LETTERS["L"])
    page = visitor.get(f"/drawings/{kept['id']}")
    assert page.status_code == 200
    assert kept["receipt"] not in page.text
    assert "no-store" in page.headers["Cache-Control"]
    other = str(uuid.uuid4())
    assert visitor.get(f"/drawings/{other}").text.replace(other, kept["id"]) == page.text


def test_the_drawing_page_gives_the_visitor_his_cookie(visitor: Visitor) -> None:
    assert "letterloop_contributor=" in visitor.get("/").headers["Set-Cookie"]
    assert "Set-Cookie" not in visitor.get("/").headers
    for path in ("/samples", "/about", "/mine"):  # who only looks around gets none
        with Visitor(visitor.site) as passer_by:
            assert "Set-Cookie" not in passer_by.get(path).headers


def test_the_api_page_tells_of_every_operation(visitor: Visitor) -> None:
    page = visitor.get("/api/").text
    for path in visitor.get("/api/v1/schema/").json()["paths"]:
        assert path in page


def test_health(visitor: Visitor) -> None:
    assert visitor.get("/healthz").json() == {"status": "ok"}
    visitor.site.wait_until_ready()
    ready = visitor.get("/readyz")
    assert ready.json()["ready"] is (ready.status_code == 200)
    assert "no-store" in ready.headers["Cache-Control"]


def test_another_host_is_refused(visitor: Visitor) -> None:
    assert visitor.get("/", headers={"Host": "evil.example"}).status_code == 400
