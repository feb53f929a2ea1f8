"""Random changes of a letter's image that leave it the same letter. Never a mirror: `b` would become `d`.

Pure functions of a batch of images (N, 28, 28, 1), float32 in 0..1, on any backend of Keras. Each draws for every image
by itself, and costs nothing where its amount is 0.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

SIDE = 28
CENTRE = 13.5  # of 28 pixels, counted from 0
KNOTS = 6  # on each side of the net by which `distort` pulls an image
REACH = 4.0  # pixels: the standard deviation of the dent that one knot makes
PEN = 0.8  # pixels: the standard deviation by which `redraw` smooths


@dataclass(frozen=True)
class AugmentConfig:
    """How far each change goes. The first five, and gamma, are drawn evenly between minus and plus the number.

    What is 0 is off: it was not shown to pay, see docs/training.md.
    """

    rotation: float = 0.2  # radians: people tilt by some ten degrees
    shear: float = 0.25  # slant of a hand
    stretch: float = 0.12  # natural logarithm, each axis by itself
    shift: float = 1.5  # pixels
    thickness: float = 0.9  # 1 is the ink grown, -1 shrunk, by one pixel on each side
    elastic: float = 0.0  # pixels: how far points are pulled from where they were, as a standard deviation
    redraw: float = 0.0  # from 0 to this, at most 1: how far ink goes to one darkness, drawn anew by a soft pen
    cut_out: float = 0.0  # pixels, from 0 to this: the side of a square that is wiped out
    gamma: float = 0.0  # natural logarithm of the exponent that darkens or lightens half-tones

    def scaled(self, factor: float) -> AugmentConfig:
        """Every change `factor` times as far."""
        return AugmentConfig(**{name: factor * amount for name, amount in asdict(self).items()})


def augment(images: Any, config: AugmentConfig, seed: keras.random.SeedGenerator, strength: Any = 1.0) -> Any:
    """Each image changed in every way of the configuration, and stretched to full contrast again.

    `strength`, a number or a scalar tensor from 0 to 1: every change goes that much of its way.
    """
    images = redraw(images, config.redraw, seed, strength)
    images = thicken(images, config.thickness, seed, strength)
    images = move(images, config, seed, strength)
    images = distort(images, config.elastic, seed, strength)
    images = cut_out(images, config.cut_out, seed, strength)
    return darken(_full_contrast(images), config.gamma, seed, strength)


def _full_contrast(images: Any) -> Any:
    return images / ops.maximum(ops.max(images, axis=(1, 2, 3), keepdims=True), 0.25)


def _drawn(images: Any, limit: Any, seed: keras.random.SeedGenerator, *, signed: bool = True) -> Any:
    """(N, 1, 1, 1): a number of each image's own, from minus (or 0) to plus the limit."""
    low = -1.0 if signed else 0.0
    return keras.random.uniform((ops.shape(images)[0], 1, 1, 1), low, 1.0, seed=seed) * limit


def thicken(images: Any, amount: float, seed: keras.random.SeedGenerator, strength: Any = 1.0) -> Any:
    """Blend each image with its grey-scale dilation (positive draws) or erosion (negative draws)."""
    if not amount:
        return images
    drawn = _drawn(images, amount * strength, seed)
    sign = ops.where(drawn < 0, -1.0, 1.0)  # an erosion is the dilation of the negative: one pooling does for both
    spread = sign * ops.max_pool(sign * images, 3, 1, "same")
    return images + ops.abs(drawn) * (spread - images)


def move(images: Any, config: AugmentConfig, seed: keras.random.SeedGenerator, strength: Any = 1.0) -> Any:
    """Rotate, shear, stretch and shift each image about its centre; what comes in from outside is black."""
    if not (config.rotation or config.shear or config.stretch or config.shift):
        return images
    count = ops.shape(images)[0]

    def draw(limit: float) -> Any:
        return keras.random.uniform((count,), -1.0, 1.0, seed=seed) * (limit * strength)

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


def distort(images: Any, amount: float, seed: keras.random.SeedGenerator, strength: Any = 1.0) -> Any:
    """Pull each image about as if it lay on rubber; `amount` is the standard deviation of a point's way, in pixels.

    Simard, Steinkraus, Platt, "Best practices for convolutional neural networks applied to visual document analysis",
    ICDAR 2003. Their smoothed noise is made here of a net of knots, which needs two small products of matrices.
    """
    if not amount:
        return images
    pulls = keras.random.normal((ops.shape(images)[0], 2, KNOTS, KNOTS), seed=seed)
    dents = ops.convert_to_tensor(_dents())
    ways = ops.matmul(ops.matmul(dents, pulls), ops.transpose(dents)) * (amount * strength)
    places = ops.arange(SIDE, dtype="float32")
    return _sampled(images, places[:, None] + ways[:, 0], places[None, :] + ways[:, 1])


def _dents() -> npt.NDArray[np.float32]:
    """(28, KNOTS): how far a pixel goes with each knot; with all of them, by a variance of 1 everywhere."""
    knots = np.linspace(0, SIDE - 1, KNOTS)
    dents = np.exp(-(((np.arange(SIDE)[:, None] - knots) / REACH) ** 2) / 2)
    scaled: npt.NDArray[np.float32] = (dents / np.linalg.norm(dents, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def _sampled(images: Any, rows: Any, columns: Any) -> Any:
    """Images (N, 28, 28, 1) read between their pixels at rows and columns (N, 28, 28); outside is black."""
    wide = SIDE + 2  # a black rim
    flat = ops.reshape(ops.pad(images[..., 0], ((0, 0), (1, 1), (1, 1))), (-1, wide * wide))
    rows, columns = ops.clip(rows + 1, 0, wide - 1.001), ops.clip(columns + 1, 0, wide - 1.001)
    top, left = ops.floor(rows), ops.floor(columns)
    down, right = rows - top, columns - left
    first = ops.reshape(ops.cast(top * wide + left, "int32"), (-1, SIDE * SIDE))

    def corner(offset: int) -> Any:
        return ops.reshape(ops.take_along_axis(flat, first + offset, axis=1), (-1, SIDE, SIDE))

    upper = corner(0) + right * (corner(1) - corner(0))
    lower = corner(wide) + right * (corner(wide + 1) - corner(wide))
    return (upper + down * (lower - upper))[..., None]


def redraw(images: Any, amount: float, seed: keras.random.SeedGenerator, strength: Any = 1.0) -> Any:
    """Go part of the way to the same letter in ink of one darkness, smoothed as a screen's letters are.

    Where ink begins is drawn for each image, so the pen is now thinner, now thicker.
    """
    if not amount:
        return images
    begins = 0.5 + _drawn(images, 0.15, seed)
    ink = ops.clip((images - begins) * 5.0 + 0.5, 0.0, 1.0)
    smooth = _full_contrast(ops.conv(ink, ops.convert_to_tensor(_pen()), padding="same", data_format="channels_last"))
    return images + _drawn(images, amount * strength, seed, signed=False) * (smooth - images)


def _pen() -> npt.NDArray[np.float32]:
    """(3, 3, 1, 1), sum 1."""
    profile = np.exp(-((np.arange(-1, 2) / PEN) ** 2) / 2)
    spot = np.outer(profile, profile)
    kernel: npt.NDArray[np.float32] = (spot / spot.sum()).astype(np.float32)[..., None, None]
    return kernel


def cut_out(images: Any, amount: float, seed: keras.random.SeedGenerator, strength: Any = 1.0) -> Any:
    """Wipe a square out of each image, anywhere, its side drawn from 0 to `amount` pixels.

    DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", arXiv:1708.04552.
    """
    if not amount:
        return images
    half = _drawn(images, amount * strength, seed, signed=False)[:, 0] / 2
    middles = keras.random.uniform((ops.shape(images)[0], 2, 1), 0.0, float(SIDE), seed=seed)
    hit = ops.cast(ops.abs(ops.arange(SIDE, dtype="float32") + 0.5 - middles) < half, "float32")
    return images * (1.0 - hit[:, 0, :, None] * hit[:, 1, None, :])[..., None]


def darken(images: Any, amount: float, seed: keras.random.SeedGenerator, strength: Any = 1.0) -> Any:
    """Darken or lighten the half-tones of each image; black and white stay."""
    if not amount:
        return images
    return ops.power(images, ops.exp(_drawn(images, amount * strength, seed)))


@keras.saving.register_keras_serializable("letterloop")
class Augment(keras.layers.Layer):
    """uint8 images in, float32 in 0..1 out, changed at random while training.

    With `adjustable`, a variable `strength` says how much of each change is left.
    """

    def __init__(self, config: AugmentConfig, seed: int, adjustable: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.seed = keras.random.SeedGenerator(seed)
        self.strength: Any = 1.0
        if adjustable:
            self.strength = self.add_weight(shape=(), initializer="ones", trainable=False, name="strength")

    def call(self, images: Any, training: bool = False) -> Any:
        scaled = ops.cast(images, "float32") / 255.0
        return augment(scaled, self.config, self.seed, self.strength) if training else scaled

    def compute_output_spec(self, images: Any, training: bool = False) -> keras.KerasTensor:
        return keras.KerasTensor(images.shape, dtype="float32")
