from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ml.figures import components_figure, explained_figure, map_figure, write
from ml.labels import CLASSES


def drawn(count: int = 370, collected: int = 5) -> Figure:
    random = np.random.default_rng(0)
    labels = np.arange(count) % 37
    corners = np.array([[label % 7 / 4 - 0.8, label // 7 / 4 - 0.7] for label in range(37)])
    plane = (corners[labels] + random.normal(0, 0.02, (count, 2))).astype(np.float32)
    return map_figure(plane, labels, np.arange(count) < collected, title="A map", subtitle="24 November 2026")


def words_of(svg: Path) -> list[str]:
    """All text that a reader can search for or a screen reader say."""
    return ["".join(each.itertext()) for each in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_a_map_is_written_as_png_and_svg(tmp_path: Path) -> None:
    png, svg = write(drawn(), tmp_path / "umap.features")
    assert (png.name, svg.name) == ("umap.features.png", "umap.features.svg")
    with Image.open(png) as image:
        assert image.size == (1600, 1750)
        assert round(image.info["dpi"][0]) == 200
    words = words_of(svg)
    assert {"A map", "24 November 2026", "EMNIST: 365", "collected, ringed: 5"} <= set(words)
    assert set(CLASSES) <= set(words)  # never by colour alone


def test_the_points_of_a_large_map_are_one_picture(tmp_path: Path) -> None:
    _, small = write(drawn(), tmp_path / "small")
    _, large = write(drawn(20_000), tmp_path / "large")
    assert len(re.findall("<use ", large.read_text())) < 500
    assert large.stat().st_size < 3 * small.stat().st_size + 1_000_000


def test_collected_letters_are_rings_over_the_others() -> None:
    collections = drawn().axes[0].collections
    assert len(collections[0].get_offsets()) == 365
    for ring in collections[1:]:
        assert len(ring.get_offsets()) == 5
        assert len(ring.get_facecolor()) == 0
        assert ring.get_zorder() > collections[0].get_zorder()


def test_a_name_stands_by_the_larger_heap_of_its_class() -> None:
    random = np.random.default_rng(0)
    plane = np.concatenate([random.normal(0.7, 0.02, (70, 2)), random.normal(-0.7, 0.1, (30, 2))]).astype(np.float32)
    figure = map_figure(plane, np.zeros(100, int), np.zeros(100, bool), title="", subtitle="")
    (name,) = [text for text in figure.axes[0].texts if text.get_text() == "A"]
    assert np.allclose(name.xy, 0.7, atol=0.1)


@pytest.mark.parametrize("count", [0, 1])
def test_an_empty_map_is_a_picture_too(count: int, tmp_path: Path) -> None:
    png, svg = write(drawn(count, collected=count), tmp_path / "few")
    assert png.stat().st_size
    assert "EMNIST: 0" in words_of(svg)


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write(drawn(), tmp_path / name) for name in ("first", "second"))
    assert [each.read_bytes() for each in first] == [each.read_bytes() for each in second]


def test_the_variance_explained_is_said_in_numbers(tmp_path: Path) -> None:
    explained = np.linspace(0.1, 1, 10, dtype=np.float32)
    _, svg = write(explained_figure(explained, subtitle="PCA"), tmp_path / "explained")
    assert {"PCA", "50.0% with 5", "80.0% with 8", "100.0% with 10"} <= set(words_of(svg))
    write(explained_figure(explained[:0]), tmp_path / "none")


def test_components_are_images_in_order(tmp_path: Path) -> None:
    components = np.zeros((5, 784), np.float32)
    components[np.arange(5), np.arange(5) * 30] = 1
    figure = components_figure(components)
    images = [part.images[0].get_array() for part in figure.axes[0].child_axes]
    assert [int(np.argmax(image)) for image in images] == [0, 30, 60, 90, 120]
    _, svg = write(figure, tmp_path / "components")
    assert {"1", "5"} <= set(words_of(svg))


def test_components_of_features_are_no_images() -> None:
    with pytest.raises(ValueError, match=r"\(K, 784\), not \(3, 128\)"):
        components_figure(np.zeros((3, 128), np.float32))
