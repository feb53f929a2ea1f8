from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import numpy.typing as npt
import pytest

from ml.augment import Augment, AugmentConfig, augment, cut_out, darken, distort, move, redraw, thicken
from ml.preprocess import image_from_strokes
from tests.ml.glyphs import GLYPHS

STILL = AugmentConfig().scaled(0)

Images = npt.NDArray[np.float32]


def letters(letter: str, count: int) -> Images:
    """(count, 28, 28, 1), 0 to 1."""
    images = np.repeat(image_from_strokes(GLYPHS[letter])[None, :, :, None], count, axis=0)
    return images.astype(np.float32) / np.float32(255)


def seed(value: int = 0) -> keras.random.SeedGenerator:
    return keras.random.SeedGenerator(value)


def centre(images: Images) -> npt.NDArray[np.float64]:
    """(N, 2): the mean row and column of each image's ink."""
    places = np.mgrid[:28, :28].astype(float)
    ink = images[..., 0]
    return np.stack([(ink * place).sum(axis=(1, 2)) / ink.sum(axis=(1, 2)) for place in places], axis=1)


def test_nothing_asked_for_changes_nothing() -> None:
    images = letters("A", 4)
    assert np.allclose(np.asarray(augment(images, STILL, seed())), images, atol=1e-5)


def test_each_image_is_changed_in_its_own_way() -> None:
    changed = np.asarray(augment(letters("A", 8), AugmentConfig(), seed()))
    assert changed.shape == (8, 28, 28, 1)
    assert np.unique(changed.reshape(8, -1), axis=0).shape[0] == 8
    assert changed.min() >= 0
    assert np.allclose(changed.max(axis=(1, 2, 3)), 1)  # full contrast again


def test_the_same_seed_gives_the_same_change() -> None:
    images = letters("A", 4)
    once, again, other = (np.asarray(augment(images, AugmentConfig(), seed(value))) for value in (1, 1, 2))
    assert (once == again).all()
    assert not np.allclose(once, other)


def test_strokes_get_thicker_and_thinner() -> None:
    images = letters("A", 64)
    ink = np.asarray(thicken(images, 0.9, seed())).mean(axis=(1, 2, 3)) / images[0].mean()
    assert ink.max() > 1.3
    assert ink.min() < 0.8
    assert abs((ink > 1).mean() - 0.5) < 0.25


def test_a_shift_stays_within_its_limit_on_both_axes() -> None:
    config = AugmentConfig(rotation=0, shear=0, stretch=0, shift=1.5, thickness=0)
    images = letters("O", 64)
    shifts = centre(np.asarray(move(images, config, seed()))) - centre(images)
    assert np.abs(shifts).max() < 1.6
    assert (shifts.max(axis=0) > 0.8).all()
    assert (shifts.min(axis=0) < -0.8).all()


def test_rotation_is_about_the_centre_and_within_its_limit() -> None:
    config = AugmentConfig(rotation=0.3, shear=0, stretch=0, shift=0, thickness=0)
    images = np.zeros((64, 28, 28, 1), np.float32)
    images[:, 4:24, 13:15] = 1
    turned = np.asarray(move(images, config, seed()))
    assert np.abs(centre(turned) - 13.5).max() < 0.2
    lower = turned * (np.arange(28) >= 14)[None, :, None, None]
    away = centre(lower) - 13.5
    angles = np.arctan2(away[:, 1], away[:, 0])
    assert 0.2 < np.abs(angles).max() < 0.32
    assert angles.min() < 0 < angles.max()


def test_a_letter_is_never_mirrored() -> None:
    """The stem of an L stays at the left and its foot at the bottom."""
    changed = np.asarray(augment(letters("L", 200), AugmentConfig(), seed()))
    assert (changed[:, 4:14, :14].sum(axis=(1, 2, 3)) > changed[:, 4:14, 14:].sum(axis=(1, 2, 3))).all()
    assert (changed[:, 14:].sum(axis=(1, 2, 3)) > changed[:, :14].sum(axis=(1, 2, 3))).all()


@pytest.mark.parametrize("training", [True, False])
def test_the_layer_changes_images_only_while_training(training: bool) -> None:
    images = (letters("A", 4) * 255).astype(np.uint8)
    out = np.asarray(Augment(AugmentConfig(), seed=0)(images, training=training))
    assert out.dtype == np.float32
    assert np.allclose(out, images / 255.0, atol=1e-6) is not training


EXTRA = {"elastic": 1.0, "redraw": 1.0, "cut_out": 10.0, "gamma": 0.5}


@pytest.mark.parametrize(("name", "amount"), EXTRA.items())
def test_a_change_of_one_kind_keeps_shape_range_and_seed(name: str, amount: float) -> None:
    config = replace(STILL, **{name: amount})
    images = letters("A", 8)
    once, again, other = (np.asarray(augment(images, config, seed(value))) for value in (1, 1, 2))
    assert once.shape == images.shape
    assert 0 <= once.min() <= once.max() <= 1 + 1e-6
    assert (once == again).all()
    assert not np.allclose(once, other)
    assert np.unique(once.reshape(8, -1), axis=0).shape[0] > (4 if name == "cut_out" else 7)  # squares may miss the ink
    assert np.allclose(np.asarray(augment(images, config, seed(), 0.0)), images, atol=1e-5)  # no strength: no change


@pytest.mark.parametrize(("name", "amount"), EXTRA.items())
def test_no_change_mirrors_a_letter(name: str, amount: float) -> None:
    changed = np.asarray(augment(letters("L", 100), replace(STILL, **{name: amount}), seed()))
    left, right = changed[:, 4:14, :14].sum(axis=(1, 2, 3)), changed[:, 4:14, 14:].sum(axis=(1, 2, 3))
    assert (left >= right).all()
    assert (left > right).mean() > 0.9  # a square may wipe the stem out
    assert (changed[:, 14:].sum(axis=(1, 2, 3)) > changed[:, :14].sum(axis=(1, 2, 3))).mean() > 0.9


def test_half_the_strength_is_half_the_way() -> None:
    config = replace(STILL, shift=3.0)
    images = np.zeros((64, 28, 28, 1), np.float32)
    images[:, 12:16, 12:16] = 1
    half, whole = (centre(np.asarray(move(images, config, seed(), s))) - centre(images) for s in (0.5, 1.0))
    assert np.abs(half - whole / 2).max() < 0.05
    assert np.abs(whole).max() > 2.5


def test_rubber_pulls_points_as_far_as_asked_and_neighbours_alike() -> None:
    """Of a ramp, what is read at a point is where it was read: the way of each point, in one axis."""
    ramp = np.tile(np.arange(28, dtype=np.float32), (300, 28, 1))[..., None] / 27
    ways = (np.asarray(distort(ramp, 0.8, seed())) - ramp)[:, 8:20, 8:20, 0] * 27
    assert ways.std() == pytest.approx(0.8, rel=0.1)
    assert ways.mean() == pytest.approx(0, abs=0.1)
    assert np.abs(np.diff(ways, axis=2)).mean() < 0.4 * np.abs(ways).mean()


def test_what_rubber_brings_in_from_outside_is_black() -> None:
    white = np.ones((50, 28, 28, 1), np.float32)
    pulled = np.asarray(distort(white, 3.0, seed()))
    assert pulled[:, 12:16, 12:16].min() == pytest.approx(1)
    assert pulled[:, 0].min() < 0.05


def test_ink_drawn_anew_has_one_darkness_and_soft_edges() -> None:
    """Half-tones of an uneven pen go; a line keeps its place."""
    images = np.zeros((16, 28, 28, 1), np.float32)
    images[:, 4:24, 12:16, 0] = np.linspace(0.7, 1.0, 20)[:, None]
    drawn = np.asarray(redraw(images, 1.0, seed()))
    share = (drawn[:, 6, 13] - images[:, 6, 13]) / (1 - images[:, 6, 13])  # how far each went
    assert share.max() > 0.8
    assert share.min() < 0.2
    furthest = drawn[int(share.argmax()), :, :, 0]
    assert furthest[6:22, 13:15].std() < images[0, 6:22, 13:15].std() / 3
    assert 0.02 < furthest[14, 11] < furthest[14, 12] < 1
    assert np.abs(centre(drawn)[:, 1] - 13.5).max() < 0.01


def test_a_square_of_at_most_that_side_is_wiped_out() -> None:
    white = np.ones((200, 28, 28, 1), np.float32)
    wiped = 1 - np.asarray(cut_out(white, 8.0, seed()))[..., 0]
    sides = wiped.any(axis=2).sum(axis=1), wiped.any(axis=1).sum(axis=1)
    assert (wiped.sum(axis=(1, 2)) == sides[0] * sides[1]).all()
    assert max(sides[0].max(), sides[1].max()) == 8
    assert np.median(sides[0]) < 6
    assert wiped.mean(axis=0).max() < 0.1  # anywhere


def test_half_tones_get_darker_and_lighter_and_black_and_white_stay() -> None:
    images = np.zeros((64, 28, 28, 1), np.float32)
    images[:, 0], images[:, 1] = 1.0, 0.5
    changed = np.asarray(darken(images, 0.5, seed()))
    assert (changed[:, 0] == 1).all()
    assert (changed[:, 2:] == 0).all()
    tones = changed[:, 1, 0, 0]
    assert 0.5 ** np.exp(0.5) <= tones.min() < 0.4 < 0.6 < tones.max() <= 0.5 ** np.exp(-0.5)


@pytest.mark.parametrize("change", [thicken, distort, redraw, cut_out, darken])
def test_an_amount_of_nothing_costs_nothing(change: Callable[..., object]) -> None:
    images = letters("A", 2)
    assert change(images, 0.0, seed()) is images


def test_the_layer_can_be_turned_down() -> None:
    images = (letters("A", 4) * 255).astype(np.uint8)
    layer = Augment(AugmentConfig(), seed=0, adjustable=True)
    layer.strength.assign(0.0)
    assert np.allclose(np.asarray(layer(images, training=True)), images / 255.0, atol=1e-5)
