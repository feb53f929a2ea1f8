"""Each thing that can be wrong with a request, and the code by which a program knows it. None is a fault of ours."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from PIL import Image

from letters.collect import fingerprint_of
from tests.letters.visitor import CANVAS, LETTERS, Visitor, Z, encoded, picture, refused, scaled, signed_again
from tests.running import Site

PREDICTIONS, DRAWINGS = "/api/v1/predictions", "/api/v1/drawings"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MEGABYTE = 1024 * 1024


def body(**changes: Any) -> bytes:
    """A prediction's body in JSON, some of it changed; `...` leaves a field out."""
    value = {"strokes": Z, "canvas": CANVAS} | changes
    return json.dumps({name: each for name, each in value.items() if each is not ...}).encode()


def points(count: int) -> list[list[float]]:
    """One stroke of so many points."""
    return [[100 + index % 50, 100 + index % 70] for index in range(count)]


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bomb() -> bytes:
    """Few bytes that unpack to 900 million pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(MEGABYTE), 9)) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A PNG whose comment unpacks to 8 MB, more than any comment has."""
    comment = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(8 * MEGABYTE), 9))
    return picture()[:33] + comment + picture()[33:]


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def scan_bomb(scans: int = 100_000, side: int = 2000) -> bytes:
    """A progressive JPEG of 1.4 MB, each scan of which says of all its blocks that nothing changes, in four bytes.

    To decode a thousand of them takes a second, whatever Pillow's limits are.
    """
    blocks = (side // 8) ** 2
    runs = (32_767, blocks - 32_767)
    bits = "".join("0" + format(run - 16_384, "014b") for run in runs)
    unchanged = int(bits.ljust(32, "1"), 2).to_bytes(4, "big").replace(b"\xff", b"\xff\0")
    one_code = b"\x01" + bytes(15)
    head = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64)
    head += segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\x00")
    head += segment(0xC4, b"\x00" + one_code + b"\x00") + segment(0xC4, b"\x10" + one_code + b"\xe0")
    first = segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes(blocks // 8 + 1)
    return head + first + scans * (segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + unchanged) + b"\xff\xd9"


def profile_bomb() -> bytes:
    """A PNG whose colour profile unpacks to 16 MB."""
    profile = chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(16 * MEGABYTE), 9))
    return picture()[:33] + profile + picture()[33:]


def in_format(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("L", (50, 50), 255).save(file, kind)
    return file.getvalue()


# --- What is no drawing --------------------------------------------------------------------------------------------

STROKES: dict[str, tuple[bytes, int, str, str | None]] = {
    "nothing": (b"", 400, "invalid", "strokes"),
    "not JSON": (b"letters", 400, "not_json", None),
    "half of a JSON": (body()[:-5], 400, "not_json", None),
    "not UTF-8": (b'{"strokes": "\xff\xfe"}', 400, "not_json", None),
    "nested without end": (b"[" * 100_000, 400, "not_json", None),
    "a list": (b"[1, 2]", 400, "invalid", None),
    "a number": (b"5", 400, "invalid", None),
    "null": (b"null", 400, "invalid", None),
    "an empty object": (b"{}", 400, "invalid", "strokes"),
    "no strokes": (body(strokes=...), 400, "invalid", "strokes"),
    "strokes null": (body(strokes=None), 400, "invalid", "strokes"),
    "strokes a text": (body(strokes="Z"), 400, "invalid", "strokes"),
    "strokes an object": (body(strokes={"0": Z[0]}), 400, "invalid", "strokes"),
    "a stroke that is a number": (body(strokes=[5]), 400, "invalid", "strokes"),
    "a point that is a number": (body(strokes=[[1, 2, 3]]), 400, "invalid", "strokes"),
    "a point of one number": (body(strokes=[[[1], [2]]]), 400, "invalid", "strokes"),
    "a point of five numbers": (body(strokes=[[[1, 2, 3, 4, 5]]]), 400, "invalid", "strokes"),
    "a coordinate that is a text": (body(strokes=[[["1", 2], [3, 4]]]), 400, "invalid", "strokes"),
    "a coordinate that is true": (body(strokes=[[[True, 2], [3, 4]]]), 400, "invalid", "strokes"),
    "a coordinate that is null": (body(strokes=[[[None, 2], [3, 4]]]), 400, "invalid", "strokes"),
    "NaN": (body(strokes=[[[float("nan"), 2], [3, 4]]]), 400, "not_json", None),
    "Infinity": (body(strokes=[[[float("inf"), 2], [3, 4]]]), 400, "not_json", None),
    "-Infinity": (body(strokes=[[[1, float("-inf")], [3, 4]]]), 400, "not_json", None),
    "a number that is no float": (body().replace(b"160", b"1e999"), 400, "invalid", "strokes"),
    "an integer that is no float": (body(strokes=[[[10**400, 2], [3, 4]]]), 400, "invalid", "strokes"),
    "an integer of 5,000 digits": (body().replace(b"160", b"9" * 5000), 400, "not_json", None),
    "a coordinate far away": (body(strokes=[[[1e9, 2], [3, 4]]]), 400, "invalid", "strokes"),
    "a time that is no time": (body(strokes=[[[1, 2, 1e300], [3, 4, 0]]]), 400, "invalid", "strokes"),
    "65 strokes": (body(strokes=Z * 65), 400, "too_many_strokes", "strokes"),
    "4,097 points": (body(strokes=[points(4097)]), 400, "too_many_points", "strokes"),
    "4,097 points in 64 strokes": (body(strokes=[points(64)] * 63 + [points(65)]), 400, "too_many_points", "strokes"),
    "no stroke": (body(strokes=[]), 422, "blank_drawing", "strokes"),
    "no point": (body(strokes=[[], []]), 422, "blank_drawing", "strokes"),
    "one point": (body(strokes=[[[100, 100]]]), 422, "blank_drawing", "strokes"),
    "one dot": (body(strokes=[[[100, 100], [101, 100.5], [100, 101]]]), 422, "blank_drawing", "strokes"),
    "no canvas": (body(canvas=...), 400, "invalid", "canvas"),
    "canvas null": (body(canvas=None), 400, "invalid", "canvas"),
    "canvas a list": (body(canvas=[200, 200]), 400, "invalid", "canvas"),
    "canvas without height": (body(canvas={"width": 200}), 400, "invalid", "canvas.height"),
    "canvas of no width": (body(canvas={"width": 0, "height": 200}), 400, "invalid", "canvas.width"),
    "canvas below nothing": (body(canvas={"width": -5, "height": 200}), 400, "invalid", "canvas.width"),
    "canvas a text": (body(canvas={"width": "200", "height": 200}), 400, "invalid", "canvas.width"),
    "canvas true": (body(canvas={"width": True, "height": 200}), 400, "invalid", "canvas.width"),
    "canvas NaN": (body(canvas={"width": float("nan"), "height": 200}), 400, "not_json", None),
    "canvas without end": (body().replace(b"200", b"1e999"), 400, "invalid", "canvas.width"),
    "canvas that is no float": (body(canvas={"width": 10**400, "height": 200}), 400, "invalid", "canvas.width"),
    "strokes and a picture": (body(image=encoded(picture())), 400, "invalid", "image"),
    "a picture that is a number": (body(strokes=..., image=5), 400, "invalid", "image"),
    "a picture that is null": (body(strokes=..., image=None), 400, "invalid", "image"),
    "a picture that is empty": (body(strokes=..., image=""), 400, "invalid", "image"),
    "a picture that is no base64": (body(strokes=..., image="&&&&"), 400, "invalid", "image"),
    "a picture of half a character": (body(strokes=..., image="\ud800"), 400, "invalid", "image"),
    "a data URL of nothing": (body(strokes=..., image="data:image/png;base64,"), 415, "image_format", "image"),
}


def test_the_largest_drawing_works(visitor: Visitor) -> None:
    strokes = [points(64)] * 64
    assert visitor.predict(strokes)["label"]


@pytest.mark.parametrize("case", STROKES)
def test_a_bad_drawing(visitor: Visitor, case: str) -> None:
    content, *expected = STROKES[case]
    refused(visitor.post(PREDICTIONS, data=content, headers=JSON), *expected)


@pytest.mark.parametrize("case", ["not JSON", "65 strokes", "4,097 points", "canvas a list"])
def test_a_bad_drawing_is_not_kept_either(site: Site, visitor: Visitor, case: str) -> None:
    content, *expected = STROKES[case]
    if content.startswith(b"{"):
        content = json.dumps(json.loads(content) | {"character": "Z", "consent": True, "token": "any"}).encode()
    before = site.count("drawing")
    refused(visitor.post(DRAWINGS, data=content, headers=JSON), *expected)
    assert site.count("drawing") == before


# --- What is no picture --------------------------------------------------------------------------------------------

PICTURES: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "a PNG bomb": (png_bomb, 413, "image_too_large"),
    "a PNG with a bomb in its comment": (text_bomb, 400, "image_unreadable"),
    "a JPEG of a hundred thousand scans": (scan_bomb, 413, "image_too_large"),
    "a JPEG that says it is huge": (
        lambda: picture(kind="JPEG").replace(b"\x00\xc8\x00\xc8", b"\xff\xff\xff\xff", 1),
        413,
        "image_too_large",
    ),
    "a PNG with a bomb for a profile": (profile_bomb, 400, "image_unreadable"),
    "a PNG with a chunk out of its end": (
        lambda: picture()[:-12] + struct.pack(">I", 2**31 - 1) + b"tEXt",
        400,
        "image_unreadable",
    ),
    "a PNG of 4.1 megapixels": (lambda: picture(size=(2050, 2000)), 413, "image_too_large"),
    "a PNG cut off": (lambda: picture()[:-200], 400, "image_unreadable"),
    "a PNG of its first bytes": (lambda: picture()[:20], 400, "image_unreadable"),
    "a JPEG cut off": (lambda: picture(kind="JPEG")[:500], 400, "image_unreadable"),
    "a text named .png": (lambda: b"This is a letter: Z. " * 40, 415, "image_format"),
    "a TIFF": (lambda: in_format("TIFF"), 415, "image_format"),
    "a GIF": (lambda: in_format("GIF"), 415, "image_format"),
    "a BMP": (lambda: in_format("BMP"), 415, "image_format"),
    "a WebP": (lambda: in_format("WEBP"), 415, "image_format"),
    "white paper": (lambda: picture([]), 422, "blank_drawing"),
    "a dot on paper": (lambda: picture(dot=6), 422, "blank_drawing"),
    "2 MiB and a byte": (lambda: picture() + bytes(2 * MEGABYTE), 413, "body_too_large"),
}


@pytest.mark.parametrize("case", PICTURES)
def test_a_bad_picture(visitor: Visitor, case: str) -> None:
    make, status, code = PICTURES[case]
    content = make()
    field = "strokes" if code == "blank_drawing" else "image"
    refused(visitor.post(PREDICTIONS, files={"image": ("letter.png", content, "image/png")}), status, code, field)
    refused(visitor.post(PREDICTIONS, json={"image": encoded(content)}), status, code, field)


def curious() -> dict[str, bytes]:
    """Files that are a letter, and something else as well, or made of very many parts."""
    page = b"<html><script>alert(1)</script>"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("evil.html", page)
    comments = b"".join(chunk(b"tEXt", b"a\0b") for _ in range(20_000))
    frames = picture()[:33] + chunk(b"acTL", struct.pack(">II", 1000, 0)) + picture()[33:]
    return {
        "a picture and a page": picture() + page,
        "a picture and an archive": picture() + archive.getvalue(),
        "a JPEG and a page": picture(kind="JPEG") + page,
        "a picture with a page in its comment": picture()[:33] + chunk(b"tEXt", b"Comment\0" + page) + picture()[33:],
        "a picture of 20,000 comments": picture()[:33] + comments + picture()[33:],
        "a picture that says it has 1,000 frames": frames,
        "a JPEG of 64 scans and no more": scan_bomb(62),
    }


@pytest.mark.parametrize("case", list(curious()))
def test_what_is_a_picture_and_more_is_a_picture_alone(visitor: Visitor, case: str) -> None:
    """Its letter is read; nothing of the file itself is kept or given back. Its name is no path."""
    answer = visitor.post(PREDICTIONS, files={"image": ("../../<script>.png", curious()[case], "text/html")})
    if "scans" in case:
        refused(answer, 422, "blank_drawing", "strokes")
        return
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    given_back = base64.b64decode(answer.json()["image"].partition(",")[2])
    assert b"script" not in given_back
    assert Image.open(io.BytesIO(given_back)).size == (28, 28)


def test_an_upload_without_a_picture(visitor: Visitor) -> None:
    refused(visitor.post(PREDICTIONS, files={"picture": picture()}), 400, "invalid", "strokes")
    refused(visitor.post(PREDICTIONS, files={"image": ("empty.png", b"")}), 415, "image_format", "image")


def test_an_upload_that_is_no_multipart(visitor: Visitor) -> None:
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x", "multipart/form-data; boundary=\xe9"):
        response = visitor.post(PREDICTIONS, data=b"--x\r\nnonsense", headers={"Content-Type": kind})
        assert (response.status_code, response.json()["code"]) == (400, "invalid"), kind


def test_an_upload_of_a_thousand_fields(visitor: Visitor) -> None:
    fields = {f"field{number}": (None, "x") for number in range(1200)}
    refused(visitor.post(PREDICTIONS, files=fields), 400, "invalid")


# --- What is too large ---------------------------------------------------------------------------------------------


def pieces(content: bytes) -> Iterator[bytes]:
    """A body that is sent without saying its length."""
    for start in range(0, len(content), 65_536):
        yield content[start : start + 65_536]


MULTIPART = {"Content-Type": "multipart/form-data; boundary=edge"}
PART = b'--edge\r\nContent-Disposition: form-data; name="image"; filename="letter.png"\r\n\r\n'


def heavy(size: int, kind: dict[str, str]) -> bytes:
    """A body of that type and at least that size that would otherwise be in order."""
    if kind == MULTIPART:
        return PART + picture() + bytes(size) + b"\r\n--edge--\r\n"
    if kind == FORM:
        return b"image=" + b"A" * size
    return body()[:-1] + b" " * size + b"}"


@pytest.mark.parametrize("path", [PREDICTIONS, DRAWINGS])
@pytest.mark.parametrize("told", [True, False], ids=["with its length", "without its length"])
@pytest.mark.parametrize("kind", [JSON, FORM, MULTIPART], ids=["JSON", "form", "multipart"])
def test_a_body_too_large(visitor: Visitor, path: str, told: bool, kind: dict[str, str]) -> None:
    content = heavy(4 * MEGABYTE, kind)
    refused(visitor.post(path, data=content if told else pieces(content), headers=kind), 413, "body_too_large")


@pytest.mark.parametrize("path", [PREDICTIONS, DRAWINGS])
@pytest.mark.parametrize("told", [True, False], ids=["with its length", "without its length"])
def test_strokes_too_large(visitor: Visitor, path: str, told: bool) -> None:
    content = heavy(256 * 1024, JSON)
    refused(visitor.post(path, data=content if told else pieces(content), headers=JSON), 413, "body_too_large")


def test_a_body_that_ends_too_early(site: Site) -> None:
    """The visitor went through a tunnel: his request is over, the site is not."""
    import socket

    host, port = site.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as line:
        line.sendall(b"POST /api/v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        line.sendall(b"Content-Length: 500\r\n\r\n" + body()[:40])
        line.shutdown(socket.SHUT_WR)
        answer = line.recv(65_536)
    assert b" 500 " not in answer.split(b"\r\n")[0]
    assert requests.get(site.base_url + "/healthz", timeout=60).status_code == 200


# --- What is asked wrongly -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PREDICTIONS, DRAWINGS])
@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "image/png", "application/xml", "x"]
)
def test_a_wrong_media_type(visitor: Visitor, path: str, kind: str) -> None:
    refused(visitor.post(path, data=body(), headers={"Content-Type": kind}), 415, "unsupported_media_type")


def test_a_picture_is_not_kept(visitor: Visitor) -> None:
    refused(visitor.post(DRAWINGS, files={"image": picture()}), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", PREDICTIONS),
        ("DELETE", PREDICTIONS),
        ("GET", DRAWINGS),
        ("PUT", DRAWINGS),
        ("POST", DRAWINGS + "/mine"),
        ("POST", DRAWINGS + "/00000000-0000-4000-8000-000000000000"),
        ("POST", "/api/v1/models"),
        ("DELETE", "/api/v1/models/current"),
        ("PATCH", "/api/v1/maps/umap"),
    ],
)
def test_a_wrong_method(visitor: Visitor, method: str, path: str) -> None:
    response = visitor.request(method, path, json={})
    refused(response, 405, "method_not_allowed")
    assert response.headers["Allow"]


@pytest.mark.parametrize("path", ["/api/v1/", "/api/v1/predictions/", "/api/v1/drawings/17", "/api/v1/maps/tsne"])
def test_a_wrong_address(visitor: Visitor, path: str) -> None:
    refused(visitor.get(path), 404, "not_found")


def test_an_answer_in_another_language(visitor: Visitor) -> None:
    refused(visitor.get("/api/v1/models", headers={"Accept": "application/xml"}), 406, "not_acceptable")


# --- What is not to be kept ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"consent": False}, "consent_required", "consent"),
        ({"consent": None}, "invalid", "consent"),
        ({"consent": "yes"}, "invalid", "consent"),
        ({"consent": "true"}, "invalid", "consent"),
        ({"consent": 1}, "invalid", "consent"),
        ({"consent": []}, "invalid", "consent"),
        ({"character": "5"}, "invalid", "character"),
        ({"character": "é"}, "invalid", "character"),
        ({"character": "AB"}, "invalid", "character"),
        ({"character": ""}, "invalid", "character"),
        ({"character": " z"}, "invalid", "character"),
        ({"character": None}, "invalid", "character"),
        ({"character": 5}, "invalid", "character"),
        ({"character": ["z"]}, "invalid", "character"),
        ({"character": {"z": 1}}, "invalid", "character"),
        ({"character": "\ud800"}, "invalid", "character"),
        ({"token": None}, "invalid", "token"),
        ({"token": ""}, "invalid", "token"),
        ({"token": 5}, "invalid", "token"),
        ({"token": "x" * 3000}, "invalid", "token"),
        ({"token": "\0"}, "invalid", "token"),
        ({"token": "made up"}, "token_invalid", "token"),
        ({"token": "a:b:c"}, "token_invalid", "token"),
        ({"token": "\ud800:\ud800:\ud800"}, "invalid", "token"),
        ({"key": "short"}, "invalid", "Idempotency-Key"),
        ({"key": "k" * 129}, "invalid", "Idempotency-Key"),
        ({"key": "schlüssel"}, "invalid", "Idempotency-Key"),
        ({"key": "two words in it"}, "invalid", "Idempotency-Key"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_it_is_not_kept(site: Site, visitor: Visitor, changes: dict[str, Any], code: str, field: str) -> None:
    before = site.count("drawing"), site.count("contributor")
    refused(visitor.ask_to_keep(**changes), 400, code, field)
    assert (site.count("drawing"), site.count("contributor")) == before


@pytest.mark.parametrize("field", ["strokes", "canvas", "character", "consent", "token"])
def test_it_is_not_kept_without(visitor: Visitor, field: str) -> None:
    whole = {"strokes": Z, "canvas": CANVAS, "character": "Z", "consent": True, "token": visitor.predict()["token"]}
    del whole[field]
    refused(visitor.post(DRAWINGS, json=whole), 400, "invalid", field)


# --- Tokens --------------------------------------------------------------------------------------------------------


def test_a_token_lives_an_hour(site: Site, visitor: Visitor) -> None:
    token = visitor.predict()["token"]
    refused(visitor.ask_to_keep(token=signed_again(site, token, age=3_700)), 400, "token_expired", "token")
    assert visitor.keep(token=signed_again(site, token, age=3_300))


@pytest.mark.parametrize(
    ("strokes", "canvas"),
    [(LETTERS["L"], CANVAS), (scaled(Z, 1, dx=1), CANVAS), (Z[:1] + Z, CANVAS), (Z, {"width": 200, "height": 201})],
    ids=["another letter", "moved by a pixel", "a stroke more", "another canvas"],
)
def test_a_token_of_another_drawing(visitor: Visitor, strokes: Any, canvas: Any) -> None:
    token = visitor.predict()["token"]
    refused(visitor.ask_to_keep(token=token, strokes=strokes, canvas=canvas), 400, "token_mismatch", "token")


@pytest.mark.parametrize("strokes", [[], [[[100.0, 100.0]]]], ids=["nothing", "a dot"])
def test_nothing_drawn_is_not_kept_whatever_token_it_has(site: Site, visitor: Visitor, strokes: Any) -> None:
    fingerprint = fingerprint_of(strokes, 200.0, 200.0)  # as the site reads numbers
    token = signed_again(site, visitor.predict()["token"], drawing=fingerprint)
    refused(visitor.ask_to_keep(token=token, strokes=strokes), 422, "blank_drawing", "strokes")


def test_a_token_of_a_picture(visitor: Visitor) -> None:
    token = visitor.post(PREDICTIONS, files={"image": picture()}).json()["token"]
    refused(visitor.ask_to_keep(token=token), 400, "token_mismatch", "token")


def test_a_token_of_a_model_that_is_not_registered(site: Site, visitor: Visitor) -> None:
    other = signed_again(site, visitor.predict()["token"], model="0" * 64)
    refused(visitor.ask_to_keep(token=other), 400, "token_unknown_model", "token")


def test_a_token_signed_by_another_site(site: Site, visitor: Visitor) -> None:
    token = visitor.predict()["token"]
    content, stamp, signature = token.split(":")
    for forged in (
        f"{content}:{stamp}:{signature[:-1]}{'A' if signature[-1] != 'A' else 'B'}",
        f"{content}A:{stamp}:{signature}",
        f"{content}:{stamp}1:{signature}",
        f"{content}:{stamp}",
        content,
        token[1:],
    ):
        refused(visitor.ask_to_keep(token=forged), 400, "token_invalid", "token")


def test_a_receipt_or_cookie_is_no_token(site: Site, visitor: Visitor) -> None:
    kept = visitor.keep()
    cookie = visitor.cookies["letterloop_contributor"].strip('"')
    for other in (kept["receipt"], cookie):
        refused(visitor.ask_to_keep(token=other), 400, "token_invalid", "token")
