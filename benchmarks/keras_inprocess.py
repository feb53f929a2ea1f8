"""`model.predict` on one image, again and again: what the demo that Letterloop descends from does for each drawing.

Prints the median in ms. A process of its own: TensorFlow would take memory and threads from what is measured after it.
"""

from __future__ import annotations

import os
import statistics
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras  # reads the environment when it is imported
import numpy as np

from benchmarks import letter
from ml.artifact import SHIPPED
from ml.preprocess import image_from_strokes

WARM_UP, COUNT = 5, 60


def main() -> None:
    """The command line."""
    model = keras.models.load_model(SHIPPED / "model.keras", compile=False)
    image = image_from_strokes(letter.strokes()).astype(np.float32).reshape(1, 28, 28, 1) / 255
    times = [_timed(model, image) for _ in range(WARM_UP + COUNT)][WARM_UP:]
    print(statistics.median(times))


def _timed(model: keras.Model, image: np.ndarray) -> float:
    started = time.perf_counter()
    model.predict(image, verbose=0)
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
