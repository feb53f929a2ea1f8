"""The networks, one builder each: images (N, 28, 28, 1) float32 in 0..1 in, 37 logits out.

The layer before the last, named `features`, is what the map, the quick retraining and the search for neighbours use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from ml.labels import CLASS_COUNT

FEATURES = 128
INPUT_SHAPE = (28, 28, 1)


def _convolve(x: Any, filters: int, kernel: int, strides: int = 1, padding: str = "same") -> Any:
    x = layers.Conv2D(filters, kernel, strides=strides, padding=padding, use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def _classify(x: Any, dropout: float, features: int) -> Any:
    x = layers.Dense(features, use_bias=False)(layers.Dropout(dropout)(layers.Flatten()(x)))
    x = layers.ReLU(name="features")(layers.BatchNormalization()(x))
    return layers.Dense(CLASS_COUNT, name="logits")(layers.Dropout(dropout)(x))


def cdeotte(dropout: float = 0.4, features: int = FEATURES) -> keras.Model:
    """The network of the original demo, about 330,000 parameters.

    From Chris Deotte's Kaggle kernel "25 Million Images! [0.99757] MNIST", without that kernel's last convolution.
    """
    images = keras.Input(INPUT_SHAPE)
    x = images
    for filters in (32, 64):
        x = _convolve(x, filters, 3, padding="valid")
        x = _convolve(x, filters, 3, padding="valid")
        x = layers.Dropout(dropout)(_convolve(x, filters, 5, strides=2))
    return keras.Model(images, _classify(x, dropout, features), name="cdeotte")


def stride3(dropout: float = 0.3, features: int = FEATURES) -> keras.Model:
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
    return keras.Model(images, _classify(x, dropout, features), name="stride3")


def residual(dropout: float = 0.3, features: int = FEATURES) -> keras.Model:
    """Ten convolutions, about 720,000 parameters.

    The first sees the image in full; each of the three halvings is followed by a block that adds what it finds to what
    it was given: He et al., "Deep residual learning for image recognition", arXiv:1512.03385.
    """
    images = keras.Input(INPUT_SHAPE)
    x = _convolve(images, 32, 3)
    for filters in (48, 96, 96):
        x = _convolve(x, filters, 3, strides=2)
        x = _add_block(x, filters)
    return keras.Model(images, _classify(x, dropout, features), name="residual")


def _add_block(x: Any, filters: int) -> Any:
    inner = layers.Conv2D(filters, 3, padding="same", use_bias=False)(_convolve(x, filters, 3))
    return layers.ReLU()(layers.Add()([x, layers.BatchNormalization()(inner)]))


NETWORKS: dict[str, Callable[..., keras.Model]] = {"cdeotte": cdeotte, "stride3": stride3, "residual": residual}


def build(name: str, dropout: float, features: int = FEATURES) -> keras.Model:
    """A fresh network by its name. Raises ValueError for an unknown name."""
    if name not in NETWORKS:
        raise ValueError(f"there is no network {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name](dropout=dropout, features=features)


def build_members(name: str, dropout: float, count: int) -> list[keras.Model]:
    """Fresh networks that have `FEATURES` features together, to be trained side by side and then merged.

    Raises ValueError for an unknown name, and for a count that the features cannot be divided by.
    """
    if count < 1 or FEATURES % count:
        raise ValueError(f"{FEATURES} features cannot be divided among {count} members")
    built = [build(name, dropout, FEATURES // count) for _ in range(count)]
    return [keras.Model(each.input, each.output, name=f"{name}_{number}") for number, each in enumerate(built)]


def merge(members: Sequence[keras.Model]) -> keras.Model:
    """One network whose logits are the mean of its members' logits; a single member stays as it is.

    A mean of linear layers is one linear layer on all their features together, so the merged network is made like any
    other. Its weights are those that the members have now. Averaging what several networks read: Lakshminarayanan,
    Pritzel, Blundell, "Simple and scalable predictive uncertainty estimation using deep ensembles", arXiv:1612.01474.
    """
    if len(members) == 1:
        return members[0]
    images = keras.Input(INPUT_SHAPE)
    trunks = [
        keras.Model(each.input, each.get_layer("features").output, name=f"trunk_{number}")
        for number, each in enumerate(members)
    ]
    together = layers.Concatenate(name="features")([trunk(images) for trunk in trunks])
    logits = layers.Dense(CLASS_COUNT, name="logits")
    merged = keras.Model(images, logits(together), name="_".join(each.name for each in members))
    kernels, biases = zip(*(each.get_layer("logits").get_weights() for each in members), strict=True)
    logits.set_weights([np.concatenate(kernels) / len(members), np.mean(biases, axis=0)])
    return merged
