from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt
import pytest

from ml.augment import Augment, AugmentConfig, augment, move, thicken
from ml.preprocess import image_from_strokes
from tests.ml.glyphs import GLYPHS

STILL = AugmentConfig(rotation=0, shear=0, stretch=0, shift=0, thickness=0)

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
