from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ml import scribbles
from ml.labels import CLASSES
from ml.preprocess import PREPROCESS_VERSION, image_from_file, image_from_strokes
from tests.letters.visitor import CANVAS, LETTERS, Visitor, Z, asked_again, encoded, picture, scaled
from tests.running import Site


def test_it_works(visitor: Visitor) -> None:
    answer = visitor.predict()
    assert set(answer) == {
        "label", "probability", "probabilities", "image", "model", "point", "neighbours", "familiarity", "preprocess",
        "token", "milliseconds",
    }  # fmt: skip
    assert set(answer["probabilities"]) == set(CLASSES)
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert all(0 <= each <= 1 for each in answer["probabilities"].values())
    assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
    assert answer["probability"] == answer["probabilities"][answer["label"]]
    assert answer["preprocess"] == PREPROCESS_VERSION
    assert len(answer["point"]) == 2
    assert answer["milliseconds"] > 0


@pytest.mark.parametrize("letter", LETTERS)
def test_a_clear_letter_is_read(visitor: Visitor, letter: str) -> None:
    assert visitor.predict(LETTERS[letter])["label"] == letter


def test_the_answer_names_the_model(visitor: Visitor) -> None:
    serving = visitor.get("/api/v1/models/current").json()
    assert visitor.predict()["model"] == {"version": serving["version"], "digest": serving["digest"]}
    assert serving["serving"] is True
    assert [each["version"] for each in visitor.get("/api/v1/models").json()["models"] if each["serving"]] == [
        serving["version"]
    ]


def test_the_image_is_what_the_model_saw(visitor: Visitor) -> None:
    url = visitor.predict()["image"]
    assert url.startswith("data:image/png;base64,")
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
    assert np.array_equal(shown, image_from_strokes(Z, (200, 200)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_works_in_every_form(visitor: Visitor, kind: str) -> None:
    content = picture(kind=kind)
    mime = f"image/{kind.lower()}"
    forms: list[dict[str, Any]] = [
        {"json": {"image": encoded(content)}},
        {"json": {"image": f"data:{mime};base64,{encoded(content)}"}},
        {"files": {"image": ("letter", content, mime)}},
    ]
    answers = [asked_again(partial(visitor.post, "/api/v1/predictions", **form)) for form in forms]
    assert [each.status_code for each in answers] == [200, 200, 200]
    assert len({json.dumps(each.json()["probabilities"]) for each in answers}) == 1
    seen = base64.b64decode(answers[0].json()["image"].partition(",")[2])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(seen))), image_from_file(content))


def test_a_body_without_a_length_works(visitor: Visitor) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"canvas": {"width": 200, "height": 200}, '
        yield f'"strokes": {Z}}}'.encode()

    headers = {"Content-Type": "application/json"}
    response = asked_again(lambda: visitor.post("/api/v1/predictions", data=pieces(), headers=headers))
    assert response.status_code == 200, response.text
    assert response.json()["probabilities"] == visitor.predict()["probabilities"]


@pytest.mark.parametrize("factor", [0.25, 0.5, 2, 4])
def test_the_size_of_the_canvas_does_not_matter(visitor: Visitor, factor: float) -> None:
    here = visitor.predict()
    there = visitor.predict(scaled(Z, factor), {side: size * factor for side, size in CANVAS.items()})
    assert (there["label"], there["image"]) == (here["label"], here["image"])


def test_time_and_pressure_do_not_matter(visitor: Visitor) -> None:
    timed = [[[x, y, 16.0 * i, 0.5] for i, (x, y) in enumerate(stroke)] for stroke in Z]
    assert visitor.predict(timed)["probabilities"] == visitor.predict()["probabilities"]


def test_nothing_is_stored(site: Site, visitor: Visitor) -> None:
    before = site.count("drawing"), site.count("contributor")
    visitor.predict()
    visitor.post("/api/v1/predictions", files={"image": picture()})
    assert (site.count("drawing"), site.count("contributor")) == before


def test_the_cookie_is_set_only_where_there_is_none(visitor: Visitor) -> None:
    body = {"strokes": Z, "canvas": CANVAS}
    first = visitor.post("/api/v1/predictions", json=body)
    cookie = first.headers["Set-Cookie"]
    assert cookie.startswith("letterloop_contributor=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Set-Cookie" not in visitor.post("/api/v1/predictions", json=body).headers


def test_a_cookie_that_is_not_ours_is_replaced(visitor: Visitor) -> None:
    response = visitor.post(
        "/api/v1/predictions",
        json={"strokes": Z, "canvas": CANVAS},
        headers={"Cookie": "letterloop_contributor=ImFiYyI:made-up:signature"},
    )
    assert response.status_code == 200
    assert "letterloop_contributor=" in response.headers["Set-Cookie"]


def test_its_neighbours_say_why(visitor: Visitor) -> None:
    """They are EMNIST letters by their numbers on the map, the nearest first, and most of them are what was read."""
    answer = visitor.predict()
    neighbours = answer["neighbours"]
    assert len({each["index"] for each in neighbours}) == len(neighbours) == 8
    distances = [each["distance"] for each in neighbours]
    assert distances == sorted(distances)
    assert sum(each["label"] == answer["label"] for each in neighbours) >= 6
    points = visitor.get("/api/v1/maps/umap").json()["points"]
    for each in neighbours:
        if each["index"] < len(points):
            assert CLASSES[points[each["index"]][2]] == each["label"]


def test_the_map_has_room_for_the_point(visitor: Visitor) -> None:
    drawn = visitor.get("/api/v1/maps/umap")
    value = drawn.json()
    assert value["method"] == "umap"
    assert value["model"] == visitor.predict()["model"]
    assert 1000 < len(value["points"]) <= 3700
    assert {int(point[2]) for point in value["points"]} == set(range(len(CLASSES)))
    assert np.abs(np.array(value["points"])[:, :2]).max() <= 1.5
    assert "max-age" in drawn.headers["Cache-Control"]


def test_a_letter_is_known_and_a_scribble_is_not(visitor: Visitor) -> None:
    for letter in LETTERS.values():
        found = visitor.predict(letter)["familiarity"]
        assert found["known"] is True
        assert 0.05 <= found["score"] <= 1
    for kind in ("house", "star", "beside", "grid"):
        for strokes in scribbles.drawings(kind, 2, seed=7):
            found = visitor.predict(strokes)["familiarity"]
            assert found["known"] is False, kind
            assert 0 <= found["score"] < 0.05
