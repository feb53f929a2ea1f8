"""The networks, one builder each: images (N, 28, 28, 1) float32 in 0..1 in, 37 logits out.

The layer before the last, named `features`, is what the map, the quick retraining and the search for neighbours use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from ml.labels import CLASS_COUNT

FEATURES = 128
INPUT_SHAPE = (28, 28, 1)


def _convolve(x: Any, filters: int, kernel: int, strides: int = 1, padding: str = "same") -> Any:
    x = layers.Conv2D(filters, kernel, strides=strides, padding=padding, use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def _classify(x: Any, dropout: float) -> Any:
    x = layers.Dense(FEATURES, use_bias=False)(layers.Dropout(dropout)(layers.Flatten()(x)))
    x = layers.ReLU(name="features")(layers.BatchNormalization()(x))
    return layers.Dense(CLASS_COUNT, name="logits")(layers.Dropout(dropout)(x))


def cdeotte(dropout: float = 0.4) -> keras.Model:
    """The network of the original demo, about 330,000 parameters.

    From Chris Deotte's Kaggle kernel "25 Million Images! [0.99757] MNIST", without that kernel's last convolution.
    """
    images = keras.Input(INPUT_SHAPE)
    x = images
    for filters in (32, 64):
        x = _convolve(x, filters, 3, padding="valid")
        x = _convolve(x, filters, 3, padding="valid")
        x = layers.Dropout(dropout)(_convolve(x, filters, 5, strides=2))
    return keras.Model(images, _classify(x, dropout), name="cdeotte")


def stride3(dropout: float = 0.3) -> keras.Model:
    """The network that ships, about 620,000 parameters.

    Six convolutions, every second one halving the image, the first at once: on a CPU an image costs 11 million
    multiplications (`cdeotte`: 15), and most of them run on wide, small layers, where they are cheap.
    """
    images = keras.Input(INPUT_SHAPE)
    x = _convolve(images, 32, 5, strides=2)
    x = _convolve(x, 48, 3)
    x = _convolve(x, 64, 3, strides=2)
    x = _convolve(x, 96, 3)
    x = _convolve(x, 128, 3, strides=2)
    x = _convolve(x, 128, 3)
    return keras.Model(images, _classify(x, dropout), name="stride3")


def residual(dropout: float = 0.3) -> keras.Model:
    """Ten convolutions, about 720,000 parameters.

    The first sees the image in full; each of the three halvings is followed by a block that adds what it finds to what
    it was given: He et al., "Deep residual learning for image recognition", arXiv:1512.03385.
    """
    images = keras.Input(INPUT_SHAPE)
    x = _convolve(images, 32, 3)
    for filters in (48, 96, 96):
        x = _convolve(x, filters, 3, strides=2)
        x = _add_block(x, filters)
    return keras.Model(images, _classify(x, dropout), name="residual")


def sharp(dropout: float = 0.3) -> keras.Model:
    """Ten convolutions, about 730,000 parameters; an image costs 47 million multiplications (`stride3`: 11).

    The first three see the image in full; each halving but the last is followed by a block as in `residual`.
    """
    images = keras.Input(INPUT_SHAPE)
    x = _add_block(_convolve(images, 32, 3), 32)
    for filters in (64, 104):
        x = _add_block(_convolve(x, filters, 3, strides=2), filters)
    x = _convolve(x, 120, 3, strides=2)
    return keras.Model(images, _classify(x, dropout), name="sharp")


def _add_block(x: Any, filters: int) -> Any:
    inner = layers.Conv2D(filters, 3, padding="same", use_bias=False)(_convolve(x, filters, 3))
    return layers.ReLU()(layers.Add()([x, layers.BatchNormalization()(inner)]))


NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "cdeotte": cdeotte,
    "stride3": stride3,
    "residual": residual,
    "sharp": sharp,
}


def build(name: str, dropout: float) -> keras.Model:
    """A fresh network by its name. Raises ValueError for an unknown name."""
    if name not in NETWORKS:
        raise ValueError(f"there is no network {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name](dropout=dropout)
