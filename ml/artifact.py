"""A model as a folder: weights for Keras and LiteRT, configuration, metrics, reference letters, card, and their hashes.

    model.keras  model.tflite  config.json  metrics.json  reference.npz  smoke.json  card.md  manifest.json

The folder is written aside, verified, and renamed into place: it is there whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.labels import CLASS_COUNT, CLASSES
from ml.preprocess import PREPROCESS_VERSION, image_from_strokes

if TYPE_CHECKING:
    import keras

    from ml.emnist import Letters
    from ml.predictor import Predictor
    from ml.train import TrainConfig, TrainResult

SHIPPED = Path(__file__).parent / "shipped"
FILES = ("model.keras", "model.tflite", "config.json", "metrics.json", "reference.npz", "smoke.json", "card.md")
REFERENCE_PER_CLASS = 400
SMOKE_TOLERANCE = 1e-2  # LiteRT may sum in another order on another processor

# A few letters of our own, so that an artefact can be tried wherever it goes without any image travelling with it.
SMOKE_STROKES: dict[str, list[list[list[float]]]] = {
    "L": [[[0, 0], [0, 100], [60, 100]]],
    "T": [[[0, 0], [80, 0]], [[40, 0], [40, 100]]],
    "V": [[[0, 0], [40, 100], [80, 0]]],
    "X": [[[0, 0], [80, 100]], [[80, 0], [0, 100]]],
    "Z": [[[0, 0], [80, 0], [0, 100], [80, 100]]],
}


class BadArtifact(Exception):
    """A folder that is not a whole, unaltered, working artefact; the message says what is wrong with it."""


def digest_of(folder: Path) -> str:
    """The name of an artefact: SHA-256 of its manifest, which holds the SHA-256 of all else."""
    return _sha256(folder / "manifest.json")


def verify(folder: Path, digest: str | None = None) -> str:
    """The digest of a folder whose files all have the hashes of its manifest. Raises BadArtifact."""
    try:
        manifest: dict[str, str] = json.loads((folder / "manifest.json").read_text())["files"]
    except (OSError, ValueError, KeyError) as error:
        raise BadArtifact(f"{folder} has no readable manifest.json ({error})") from error
    if set(manifest) != set(FILES):
        raise BadArtifact(f"{folder}: the manifest names {sorted(manifest)}, an artefact has {sorted(FILES)}")
    for name, expected in manifest.items():
        if not (folder / name).is_file():
            raise BadArtifact(f"{folder}: {name} is missing")
        if _sha256(folder / name) != expected:
            raise BadArtifact(f"{folder}: {name} is not the file that was registered (its SHA-256 differs)")
    found = digest_of(folder)
    if digest is not None and found != digest:
        raise BadArtifact(f"{folder} is the artefact {found[:12]}, not {digest[:12]}")
    return found


def smoke_test(folder: Path) -> None:
    """Load the model and see that it predicts the smoke letters as was recorded. Raises BadArtifact."""
    from ml.predictor import Predictor  # only here: the web process verifies artefacts and never runs one

    recorded = json.loads((folder / "smoke.json").read_text())
    try:
        found = _smoke(Predictor(folder))
    except (ValueError, RuntimeError, StopIteration) as error:
        raise BadArtifact(f"{folder}: model.tflite does not run ({error})") from error
    for letter, probabilities in found.items():
        difference = float(np.abs(np.asarray(recorded[letter]) - probabilities).max())
        if not difference <= SMOKE_TOLERANCE:
            raise BadArtifact(f"{folder}: the letter {letter} is not predicted as recorded (off by {difference:.3f})")


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """`config.json` or `metrics.json` of an artefact."""
    loaded: dict[str, Any] = json.loads((folder / name).read_text())
    return loaded


def write_artifact(output: Path, config: TrainConfig, result: TrainResult, letters: Letters) -> None:
    """Make the artefact of a finished training at `output`, in place of what is there.

    The test images of the dataset are scored here, once, by the very file that will serve.
    """
    from ml.predictor import Predictor

    aside = output.with_name(output.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    temperature = _fit_temperature(result.network, result.validation)
    serving = _serving_model(result.network, temperature)
    serving.save(aside / "model.keras")
    _write_litert(aside / "model.tflite", serving)
    _write_reference(aside, serving, letters, config.seed)
    _dump(aside / "smoke.json", {letter: p.tolist() for letter, p in _smoke(Predictor(aside)).items()})
    _dump(aside / "config.json", _describe(config, temperature))
    metrics = _measure(aside, config, result)
    _dump(aside / "metrics.json", metrics)
    (aside / "card.md").write_text(_card(config, metrics))
    _dump(aside / "manifest.json", {"files": {name: _sha256(aside / name) for name in FILES}})
    verify(aside)
    shutil.rmtree(output, ignore_errors=True)
    aside.rename(output)


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def _smoke(predictor: Predictor) -> dict[str, npt.NDArray[np.float32]]:
    return {
        letter: predictor.predict(image_from_strokes(strokes)).probabilities
        for letter, strokes in SMOKE_STROKES.items()
    }


def _scaled(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return images[..., None].astype(np.float32) / 255.0


def _fit_temperature(network: keras.Model, validation: Letters) -> float:
    """The temperature that makes the validation labels likeliest: Guo et al., arXiv:1706.04599, section 4.2."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits = network.predict(_scaled(validation.images), batch_size=512, verbose=0)
    rows = np.arange(len(validation))

    def surprise(temperature: float) -> float:
        return float(-log_softmax(logits / temperature, axis=1)[rows, validation.labels].mean())

    return float(minimize_scalar(surprise, bounds=(0.2, 5.0), method="bounded").x)


def _serving_model(network: keras.Model, temperature: float) -> keras.Model:
    import keras

    logits = network.get_layer("logits").output
    cooled = keras.layers.Rescaling(1 / temperature, name="temperature")(logits)
    probabilities = keras.layers.Softmax(name="probabilities")(cooled)
    return keras.Model(network.input, [probabilities, network.get_layer("features").output], name=network.name)


def _write_litert(path: Path, serving: keras.Model) -> None:
    """Convert for a batch of exactly one: LiteRT.js cannot run a model whose batch is open."""
    import keras

    one = keras.Input(batch_shape=(1, 28, 28, 1))
    keras.Model(one, serving(one)).export(str(path), format="litert", verbose=False)


def _write_reference(folder: Path, serving: keras.Model, letters: Letters, seed: int) -> None:
    from ml.embed import fit_umap

    random = np.random.default_rng([seed, 3])
    chosen = np.concatenate(
        [
            random.permutation(np.flatnonzero(letters.labels == label))[:REFERENCE_PER_CLASS]
            for label in range(CLASS_COUNT)
        ]
    )
    chosen = random.permutation(chosen)  # so that any first part of the reference is a fair sample of it
    _, features = serving.predict(_scaled(letters.images[chosen]), batch_size=512, verbose=0)
    np.savez_compressed(
        folder / "reference.npz",
        features=features.astype(np.float16),
        labels=letters.labels[chosen],
        plane=fit_umap(features, seed).astype(np.float32),
    )


def _describe(config: TrainConfig, temperature: float) -> dict[str, Any]:
    import keras
    import tensorflow as tf

    from ml import emnist

    return {
        "train": asdict(config),
        "classes": list(CLASSES),
        "preprocess": PREPROCESS_VERSION,
        "temperature": temperature,
        "archive_sha256": emnist.sha256_of(emnist.archive_path()),
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__},
    }


def _measure(folder: Path, config: TrainConfig, result: TrainResult) -> dict[str, Any]:
    from ml import emnist
    from ml.evaluate import evaluate
    from ml.predictor import Predictor

    predictor = Predictor(folder)

    def probabilities_of(letters: Letters) -> npt.NDArray[np.float32]:
        return np.stack([predictor.predict(image).probabilities for image in letters.images])

    test = emnist.load_letters(config.dataset, "test")
    return {
        "dataset": config.dataset,
        "test": evaluate(probabilities_of(test), test.labels),
        "validation": evaluate(probabilities_of(result.validation), result.validation.labels),
        "history": result.history,
    }


def _card(config: TrainConfig, metrics: dict[str, Any]) -> str:
    test = metrics["test"]
    return f"""# A reader of handwritten letters

The network `{config.network}`, trained for {config.epochs} epochs on the EMNIST letters of `{config.dataset}`.
It reads a 28x28 image as one of 37 classes: A to Z, and a b d e f g h n q r t; the other small letters share the class
of their capital. Its probabilities assume that all classes are equally common.

On the {test["count"]} test images: {test["accuracy"]:.2%} right on 37 classes, {test["folded_accuracy"]:.2%} with case
ignored. The test images chose nothing in its making.

It is not good at what has no context to tell: l and I, O and Q without a tail, f and F, g and q. It answers with a
letter whatever it is shown, also a digit or a scribble. Made from NIST Special Database 19, written on paper in the
United States of the 1980s and 90s: other hands it knows less.

Again: `python -m ml.train --config config.json --output DIR`, with the archive whose SHA-256 is in `config.json`.

Data: Cohen, Afshar, Tapson, van Schaik, "EMNIST: an extension of MNIST to handwritten letters", arXiv:1702.05373.
"""
