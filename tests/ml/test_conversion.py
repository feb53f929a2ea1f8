"""What serves is what was trained: model.tflite answers as model.keras does, on images of the test set."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from ml import artifact, emnist
from ml.artifact import SHIPPED
from ml.predictor import Predictor
from tests.ml import tiny

COUNT = 1000  # of 7,400; `python -m benchmarks.conversion` compares them all
TOLERANCE = 1e-3


@pytest.mark.emnist
def test_litert_and_keras_read_the_same(emnist_archive: Path) -> None:
    letters = emnist.load_letters("open37", "test", emnist_archive)
    images = letters.images[:: len(letters) // COUNT]
    predictor = Predictor(SHIPPED)
    served = np.stack([predictor.predict(image).probabilities for image in images])
    model = keras.models.load_model(SHIPPED / "model.keras", compile=False)
    trained, _ = model.predict(images[..., None].astype(np.float32) / 255.0, batch_size=512, verbose=0)
    assert np.abs(served - trained).max() < TOLERANCE
    best = np.sort(trained, axis=1)
    clear = best[:, -1] - best[:, -2] > 2 * TOLERANCE  # else rounding may decide
    assert clear.mean() > 0.99
    assert (served.argmax(axis=1) == trained.argmax(axis=1))[clear].all()


def batch_of(folder: Path) -> int:
    """Of `model.tflite`; -1 where it is open."""
    return int(Interpreter(str(folder / "model.tflite")).get_input_details()[0]["shape_signature"][0])


def test_what_is_written_takes_one_image_and_no_other_number(tmp_path: Path) -> None:
    """LiteRT.js refuses a model whose batch is open."""
    network = tiny.tiny(0.0)
    random = np.random.default_rng(0)
    network.get_layer("logits").set_weights([random.normal(size=size).astype(np.float32) for size in ((32, 37), 37)])
    artifact.write_model(tmp_path, artifact.serving_model(network))
    assert (batch_of(tmp_path), batch_of(SHIPPED)) == (1, 1)
