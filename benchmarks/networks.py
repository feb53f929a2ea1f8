"""One image through LiteRT on one core: the network that ships, and the demo's `cdeotte` exported the same way.

    python -m benchmarks.networks

Prints both medians in ms and their ratio, as JSON. They take turns, so that a machine that grows busy is no advantage
to either. The demo's network has random weights here: what it reads does not change how long it takes. A process of
its own, as the export needs TensorFlow.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np

from benchmarks import letter
from ml import artifact, network
from ml.predictor import Predictor
from ml.preprocess import image_from_strokes

WARM_UP, COUNT = 20, 500


def figures() -> dict[str, float]:
    """Medians in ms, and how many times as long the demo's network takes."""
    with tempfile.TemporaryDirectory() as folder:
        _export("cdeotte", Path(folder))
        both = {"shipped": Predictor(artifact.SHIPPED), "cdeotte": Predictor(Path(folder))}
        image = image_from_strokes(letter.strokes())
        turns = [{name: _ms(predictor, image) for name, predictor in both.items()} for _ in range(WARM_UP + COUNT)]
    shipped, cdeotte = (statistics.median(turn[name] for turn in turns[WARM_UP:]) for name in both)
    return {
        "network_shipped_ms": shipped,
        "network_cdeotte_ms": cdeotte,
        "network_cdeotte_ratio": statistics.median(turn["cdeotte"] / turn["shipped"] for turn in turns[WARM_UP:]),
    }


def _export(name: str, folder: Path) -> None:
    built = network.build(name, 0.4)
    random = np.random.default_rng(0)
    logits = built.get_layer("logits")
    logits.set_weights([random.normal(size=each.shape).astype(np.float32) for each in logits.get_weights()])
    artifact.write_model(folder, artifact.serving_model(built))


def _ms(predictor: Predictor, image: np.ndarray) -> float:
    began = time.perf_counter()
    predictor.predict(image)
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    print(json.dumps(figures()))
