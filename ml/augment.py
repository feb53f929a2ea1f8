"""Random changes of a letter's image that leave it the same letter. Never a mirror: `b` would become `d`.

Pure functions of a batch of images (N, 28, 28, 1), float32 in 0..1, on any backend of Keras.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import keras
from keras import ops

CENTRE = 13.5  # of 28 pixels, counted from 0


@dataclass(frozen=True)
class AugmentConfig:
    """How far each change goes; every amount is drawn evenly between minus and plus the number."""

    rotation: float = 0.2  # radians: people tilt by some ten degrees
    shear: float = 0.25  # slant of a hand
    stretch: float = 0.12  # natural logarithm, each axis by itself
    shift: float = 1.5  # pixels
    thickness: float = 0.9  # 1 is the ink grown, -1 shrunk, by one pixel on each side

    def scaled(self, factor: float) -> AugmentConfig:
        """Every change `factor` times as far."""
        return AugmentConfig(**{name: factor * amount for name, amount in asdict(self).items()})


def augment(images: Any, config: AugmentConfig, seed: keras.random.SeedGenerator) -> Any:
    """Each image thickened or thinned, moved by an affine map of its own, and stretched to full contrast again."""
    changed = move(thicken(images, config.thickness, seed), config, seed)
    return changed / ops.maximum(ops.max(changed, axis=(1, 2, 3), keepdims=True), 0.25)


def thicken(images: Any, amount: float, seed: keras.random.SeedGenerator) -> Any:
    """Blend each image with its grey-scale dilation (positive draws) or erosion (negative draws)."""
    drawn = keras.random.uniform((ops.shape(images)[0], 1, 1, 1), -amount, amount, seed=seed)
    grown = ops.max_pool(images, 3, 1, "same")
    shrunk = -ops.max_pool(-images, 3, 1, "same")
    return images + ops.relu(drawn) * (grown - images) + ops.relu(-drawn) * (shrunk - images)


def move(images: Any, config: AugmentConfig, seed: keras.random.SeedGenerator) -> Any:
    """Rotate, shear, stretch and shift each image about its centre; what comes in from outside is black."""
    count = ops.shape(images)[0]

    def draw(limit: float) -> Any:
        return keras.random.uniform((count,), -limit, limit, seed=seed)

    angle, shear = draw(config.rotation), draw(config.shear)
    wide, high = ops.exp(draw(config.stretch)), ops.exp(draw(config.stretch))
    cos, sin = ops.cos(angle), ops.sin(angle)
    xx, xy = wide * cos, wide * (shear * cos - sin)
    yx, yy = high * sin, high * (shear * sin + cos)
    dx = CENTRE - CENTRE * (xx + xy) + draw(config.shift)
    dy = CENTRE - CENTRE * (yx + yy) + draw(config.shift)
    none = ops.zeros_like(dx)
    transform = ops.stack([xx, xy, dx, yx, yy, dy, none, none], axis=1)
    return ops.image.affine_transform(images, transform, interpolation="bilinear", fill_mode="constant")


@keras.saving.register_keras_serializable("letterloop")
class Augment(keras.layers.Layer):
    """uint8 images in, float32 in 0..1 out, changed at random while training."""

    def __init__(self, config: AugmentConfig, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.seed = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        scaled = ops.cast(images, "float32") / 255.0
        return augment(scaled, self.config, self.seed) if training else scaled

    def compute_output_spec(self, images: Any, training: bool = False) -> keras.KerasTensor:
        return keras.KerasTensor(images.shape, dtype="float32")
