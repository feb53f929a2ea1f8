"""The maps of a site, as a program reads them over HTTP."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

from ml import artifact
from ml.labels import CLASSES
from tests.letters.mapping import decode, maps_of, points_of
from tests.letters.visitor import Visitor, refused

FRESH = [("umap", "features"), ("pca", "features")]


def test_it_works(visitor: Visitor) -> None:
    """A fresh machine has maps of the reference letters, without the archive."""
    assert set(FRESH) <= set(maps_of(visitor))


@pytest.mark.parametrize("kind", FRESH, ids="-".join)
def test_the_emnist_letters_of_a_map(visitor: Visitor, kind: tuple[str, str]) -> None:
    summary = maps_of(visitor)[kind]
    points = points_of(visitor, summary)
    assert len(points) == summary["counts"]["emnist"] == 14_800
    assert np.abs(points.places).max() <= 1
    assert np.ptp(points.places, axis=0).max() > 1.5
    counted = dict(zip(CLASSES, np.bincount(points.labels, minlength=37).tolist(), strict=True))
    assert all(summary["counts"]["classes"][label] >= count == 400 for label, count in counted.items())
    assert (points.labels == points.predicted).mean() > 0.9
    assert (points.flags & 1 == 0).all()
    serving = visitor.get("/api/v1/models/current").json()
    assert summary["model"] == {"number": serving["version"], "digest": serving["digest"]}


def test_the_umap_is_that_of_the_artefact(visitor: Visitor) -> None:
    """In its order: by their numbers on the map a prediction names its neighbours."""
    points = points_of(visitor, maps_of(visitor)["umap", "features"])
    with np.load(artifact.SHIPPED / "reference.npz") as stored:
        assert np.abs(points.places - stored["plane"]).max() < 1e-4
        assert np.array_equal(points.labels, stored["labels"])


def test_pca_says_what_it_explains(visitor: Visitor) -> None:
    maps = maps_of(visitor)
    explained = maps["pca", "features"]["explained"]
    assert explained == sorted(explained)
    assert 0.02 < explained[0] < explained[-1] <= 1
    assert maps["umap", "features"]["explained"] is None


def test_a_letter_that_is_surely_another_is_suspected(visitor: Visitor) -> None:
    points = points_of(visitor, maps_of(visitor)["umap", "features"])
    suspected = points.flags & 2 != 0
    assert 0 < suspected.sum() < 0.05 * len(points)
    assert (points.labels[suspected] != points.predicted[suspected]).all()
    assert (points.probability[suspected] >= 0.9 * 255).all()


# --- On the wire ---------------------------------------------------------------------------------------------------


def test_points_are_kept_by_the_browser_for_ever(visitor: Visitor) -> None:
    address = maps_of(visitor)["umap", "features"]["urls"]["emnist"]
    first = visitor.get(address)
    assert first.headers["Content-Encoding"] == "gzip"
    assert first.headers["Content-Type"] == "application/octet-stream"
    assert int(first.headers["Content-Length"]) < 7 * 14_800
    assert "immutable" in first.headers["Cache-Control"]
    again = visitor.get(address, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_program_that_takes_no_gzip_gets_none(visitor: Visitor) -> None:
    address = maps_of(visitor)["umap", "features"]["urls"]["emnist"]
    plain = visitor.get(address, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert plain.content == visitor.get(address).content
    assert len(plain.content) == 8 * 14_800
    assert len(decode(plain.content)) == 14_800


def test_what_a_picture_accepts_does_not_matter(visitor: Visitor) -> None:
    summary = maps_of(visitor)["umap", "features"]
    for address in (summary["urls"]["emnist"], summary["urls"]["collected"]):
        assert visitor.get(address, headers={"Accept": "image/png"}).status_code == 200


def test_collected_letters_are_asked_for_again(visitor: Visitor) -> None:
    answer = visitor.get(maps_of(visitor)["umap", "features"]["urls"]["collected"])
    assert answer.headers["Cache-Control"] == "private, max-age=30"


# --- What there is not ---------------------------------------------------------------------------------------------


def test_one_method_at_a_time(visitor: Visitor) -> None:
    maps = maps_of(visitor)
    assert visitor.get("/api/v1/maps/pca").json()["id"] == maps["pca", "features"]["id"]
    assert visitor.get("/api/v1/maps/umap?space=features").json()["id"] == maps["umap", "features"]["id"]
    refused(visitor.get("/api/v1/maps/pca?space=pixels"), 404, "not_found")
    refused(visitor.get("/api/v1/maps/pca?space=time"), 400, "invalid", "space")
    refused(visitor.get("/api/v1/maps/umap?space=time"), 400, "invalid", "space")
    refused(visitor.get("/api/v1/maps/kmeans"), 404, "not_found")


@pytest.mark.parametrize("part", ["emnist", "collected", "sheets/0", "figure.svg", "secret.txt"])
def test_a_map_that_is_not_there(visitor: Visitor, part: str) -> None:
    refused(visitor.get(f"/api/v1/maps/{uuid.uuid4()}/{part}"), 404, "not_found")


def test_a_file_that_a_map_lacks(visitor: Visitor) -> None:
    summary = maps_of(visitor)["umap", "features"]
    if not summary["has_images"]:
        refused(visitor.get(f"/api/v1/maps/{summary['id']}/sheets/0"), 404, "not_found")
    for name in ("explained.svg", "letters.npz", "points.bin.gz"):
        refused(visitor.get(f"/api/v1/maps/{summary['id']}/{name}"), 404, "not_found")
