"""A training that takes seconds: a network that is compiled at once, and six images of each class.

python -m tests.ml.tiny [ml.train's own arguments]     a real process that trains it, without an artefact at the end
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np

from ml import network, train
from ml.emnist import Letters
from ml.labels import CLASS_COUNT, CLASSES
from ml.preprocess import image_from_strokes
from tests.ml.glyphs import GLYPHS

CONFIG = train.TrainConfig(network="tiny", epochs=2, batch_size=37, validation_per_class=1, ema=0.5)


def tiny(dropout: float) -> keras.Model:
    """Compiled in a second, where the real networks take half a minute."""
    images = keras.Input(network.INPUT_SHAPE)
    small = keras.layers.Flatten()(keras.layers.MaxPooling2D(4)(images))
    features = keras.layers.Dense(32, activation="relu", name="features")(keras.layers.Dropout(dropout)(small))
    return keras.Model(images, keras.layers.Dense(CLASS_COUNT, name="logits")(features))


def letters() -> Letters:
    """Six images of each class; the classes without a letter of ours are stripes."""
    images = []
    for index, label in enumerate(CLASSES):
        stripes = np.zeros((28, 28), np.uint8)
        stripes[4:24, 4 + index % 20] = stripes[4 + index // 2, 4:24] = 255
        images.append(image_from_strokes(GLYPHS[label]) if label in GLYPHS else stripes)
    return Letters(np.repeat(np.stack(images), 6, axis=0), np.repeat(np.arange(CLASS_COUNT, dtype=np.uint8), 6))


def arguments(output: Path, epochs: int) -> list[str]:
    """What asks `ml.train` for a configuration like CONFIG."""
    given = {"dataset": "tiny", "network": "tiny", "batch-size": 37, "validation-per-class": 1, "ema": 0.5}
    given |= {"epochs": epochs, "output": output}
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


if __name__ == "__main__":
    network.NETWORKS["tiny"] = tiny
    sys.exit(train.main())
