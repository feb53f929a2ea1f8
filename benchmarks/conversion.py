"""Whether what serves is what was trained: model.tflite against model.keras on every test image of `open37`.

    EMNIST_ARCHIVE=emnist.zip python -m benchmarks.conversion [ARTEFACT]

Prints the largest difference of a probability and of a feature, and how many images get another class. A test holds the
same for every seventh image.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from ml import emnist
from ml.artifact import SHIPPED
from ml.predictor import Predictor


def main() -> None:
    """The command line."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED
    images = emnist.load_letters("open37", "test").images
    began = time.monotonic()
    predictor = Predictor(folder)
    served = [predictor.predict(image) for image in images]
    probabilities = np.stack([each.probabilities for each in served])
    features = np.stack([each.features for each in served])
    model = keras.models.load_model(folder / "model.keras", compile=False)
    trained = model.predict(images[..., None].astype(np.float32) / 255.0, batch_size=512, verbose=0)
    print(f"{len(images)} images in {time.monotonic() - began:.1f} s")
    print(f"probabilities differ by up to {np.abs(probabilities - trained[0]).max():.2e}")
    print(f"features differ by up to {np.abs(features - trained[1]).max():.2e}, of {trained[1].max():.1f}")
    print(f"another class: {(probabilities.argmax(axis=1) != trained[0].argmax(axis=1)).sum()} images")


if __name__ == "__main__":
    main()
