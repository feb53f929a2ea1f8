"""A model as a folder: weights for Keras and LiteRT, the last layer, configuration, metrics, features, card, hashes.

    model.keras  model.tflite  head.npz  config.json  metrics.json  reference.npz  test.npz  smoke.json  card.md
    manifest.json

`head.npz` is the last layer as served, `test.npz` the features and labels of the dataset's test images: with these a
head is judged, or refitted, without any image. The layers below the last are the trunk; `trunk` in `config.json` names
them, and `parent` the artefact that this one came from.

The folder is written aside, verified, tried, and renamed into place: it is there whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml import graft
from ml.labels import CLASS_COUNT, CLASSES
from ml.preprocess import PREPROCESS_VERSION, image_from_strokes

if TYPE_CHECKING:
    import keras

    from ml.emnist import Letters
    from ml.familiarity import Known
    from ml.head import Collected, Head
    from ml.train import TrainConfig, TrainResult

SHIPPED = Path(__file__).parent / "shipped"
FILES = (
    "model.keras",
    "model.tflite",
    "head.npz",
    "config.json",
    "metrics.json",
    "reference.npz",
    "test.npz",
    "smoke.json",
    "card.md",
)
REFERENCE_PER_CLASS = 400
SMOKE_TOLERANCE = 1e-2  # LiteRT may sum in another order on another processor

CHOSE_NOTHING = "The test images chose no weight and no setting of it."
TAUGHT_NOTHING = (
    "The test images taught it nothing; a gate may have compared it on them with the model it was to replace."
)

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


@dataclass(frozen=True)
class FeatureSet:
    """What a trunk makes of some letters: `features` (N, 128) float32, `labels` (N,) uint8. No images."""

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Origin:
    """What an artefact is made from, beside its network.

    `letters`: the training images, from which the reference is drawn by `reference_seed`. `config` and `history` go
    into config.json and metrics.json; `how` begins the card, and `tested` says there what part the test images had.
    `parent`: the artefact that the training started from; its plane is where the new plane starts. `collected`: the
    drawings that it learned from beside the letters.
    """

    dataset: str
    letters: Letters
    validation: Letters
    config: dict[str, Any]
    history: list[dict[str, float]]
    how: str
    reference_seed: int
    parent: Path | None = None
    tested: str = CHOSE_NOTHING
    collected: Collected | None = None


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
    """Load the model and see that it predicts the smoke letters as was recorded, and as its head.npz does.

    Raises BadArtifact.
    """
    from ml import familiarity
    from ml.predictor import Predictor  # only here: the web process verifies artefacts and never runs one

    familiarity.load(folder)
    recorded = json.loads((folder / "smoke.json").read_text())
    head = load_head(folder)
    try:
        predictor = Predictor(folder)
        found = {letter: predictor.predict(image) for letter, image in _smoke_images().items()}
    except (ValueError, RuntimeError, StopIteration) as error:
        raise BadArtifact(f"{folder}: model.tflite does not run ({error})") from error
    for letter, prediction in found.items():
        difference = float(np.abs(np.asarray(recorded[letter]) - prediction.probabilities).max())
        if not difference <= SMOKE_TOLERANCE:
            raise BadArtifact(f"{folder}: the letter {letter} is not predicted as recorded (off by {difference:.3f})")
        by_head = head.probabilities(prediction.features[None])[0]
        if not np.abs(by_head - prediction.probabilities).max() <= SMOKE_TOLERANCE:
            raise BadArtifact(f"{folder}: head.npz is not the last layer of model.tflite (the letter {letter} differs)")


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """`config.json` or `metrics.json` of an artefact."""
    loaded: dict[str, Any] = json.loads((folder / name).read_text())
    return loaded


def trunk_of(folder: Path) -> str:
    """64 hexadecimal digits that name the layers below the last; features of one trunk fit every head on it."""
    return str(read_json(folder, "config.json")["trunk"])


def load_head(folder: Path) -> Head:
    """The last layer as served."""
    from ml.head import Head

    with np.load(folder / "head.npz", allow_pickle=False) as stored:
        return Head(stored["kernel"], stored["bias"])


def emnist_reference(folder: Path) -> FeatureSet:
    """The reference letters, drawn from the training images."""
    return _feature_set(folder / "reference.npz")


def emnist_test(folder: Path) -> FeatureSet:
    """All test images of the dataset, in the archive's order."""
    return _feature_set(folder / "test.npz")


def emnist_answers(folder: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Probabilities (N, 37) and labels (N,) of the test images, by the last layer alone: no image, no LiteRT."""
    test = emnist_test(folder)
    return load_head(folder).probabilities(test.features), test.labels


def write_artifact(output: Path, config: TrainConfig, result: TrainResult, letters: Letters) -> None:
    """Make the artefact of a finished training at `output`, in place of what is there."""
    temperature = fit_temperature(result.network, result.validation)
    serving = serving_model(result.network, temperature)
    within = soften_pairs(serving, letters, result.validation, config.seed)
    origin = Origin(
        dataset=config.dataset,
        letters=letters,
        validation=result.validation,
        config={"train": asdict(config), "temperature": temperature, "within_pairs": within},
        history=result.history,
        how=how_trained(asdict(config)),
        reference_seed=config.seed,
    )
    write_network(output, serving, origin)


def how_trained(config: dict[str, Any]) -> str:
    """How the card of a training begins; `config` is ml.train.TrainConfig's."""
    return (
        f"The network `{config['network']}`, trained for {config['epochs']} epochs on the EMNIST letters of "
        f"`{config['dataset']}`.\n"
        "Again: `python -m ml.train --config config.json --output DIR`, with the archive whose SHA-256 is in "
        "`config.json`.\n"
        "Between F and f, I and L, g and q, which one letter alone does not tell apart, it is less sure than it\n"
        "learned to be (`within_pairs`)."
    )


def write_network(output: Path, serving: keras.Model, origin: Origin) -> None:
    """Make the artefact of a serving model at `output`, in place of what is there.

    The test images of the dataset are scored here, once, by the very file that will serve.
    """
    from ml import emnist

    test = emnist.load_letters(origin.dataset, "test")
    with made_whole(output) as aside:
        trunk = write_model(aside, serving)
        metrics, validation = _measure(aside, origin, test)
        _write_reference(aside, serving, origin)
        known, metrics["familiarity"] = _familiarity(aside, origin, validation)
        dump(aside / "metrics.json", metrics)
        parent = digest_of(origin.parent) if origin.parent else None
        made = {"trunk": trunk, "parent": parent, "familiarity": known.values()}
        dump(aside / "config.json", origin.config | _surroundings() | made)
        (aside / "card.md").write_text(card(origin.how, metrics, origin.tested))


@contextmanager
def made_whole(output: Path) -> Iterator[Path]:
    """A folder to write an artefact into. Afterwards it is tried, recorded, verified and takes the place of `output`.

    `smoke.json` and `manifest.json` are written here. Raises BadArtifact; what was at `output` then stays.
    """
    aside = output.with_name(output.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        _record_smoke(aside)
        dump(aside / "manifest.json", {"files": {name: _sha256(aside / name) for name in FILES}})
        verify(aside)
        smoke_test(aside)
        shutil.rmtree(output, ignore_errors=True)
        aside.rename(output)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def serving_model(network: keras.Model, temperature: float = 1.0) -> keras.Model:
    """Images in, probabilities and features out, from a network with the layers `features` and `logits`."""
    logits = network.get_layer("logits")
    return with_head(network.input, network.get_layer("features").output, logits, temperature, network.name)


def with_head(images: Any, features: Any, logits: keras.Layer, temperature: float, name: str) -> keras.Model:
    """The serving model of these tensors: one last layer `head`, with the weights of the dense layer `logits`.

    The temperature goes into these weights, so that whoever has them has all.
    """
    import keras

    kernel, bias = logits.get_weights()
    head = keras.layers.Dense(CLASS_COUNT, name="head")
    probabilities = keras.layers.Softmax(name="probabilities")(head(features))
    head.set_weights([kernel / temperature, bias / temperature])
    return keras.Model(images, [probabilities, features], name=name)


def write_model(folder: Path, serving: keras.Model) -> str:
    """Write model.keras, model.tflite and head.npz; returns the digest of the trunk. Raises BadArtifact."""
    from ml.head import Head

    serving.save(folder / "model.keras")
    _write_litert(folder / "model.tflite", serving)
    head = Head(*serving.get_layer("head").get_weights())
    write_head(folder, head)
    try:
        return graft.trunk_digest((folder / "model.tflite").read_bytes(), head)
    except graft.GraftError as error:
        raise BadArtifact(f"{folder}: {error}") from error


def write_head(folder: Path, head: Head) -> None:
    """Write head.npz."""
    np.savez(folder / "head.npz", kernel=head.kernel.astype(np.float32), bias=head.bias.astype(np.float32))


def dump(path: Path, value: object) -> None:
    """Write a value as JSON, the same value always as the same bytes."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def fit_temperature(network: keras.Model, validation: Letters) -> float:
    """The temperature that makes the validation labels likeliest."""
    from ml.calibration import best_temperature

    return best_temperature(network.predict(_scaled(validation.images), batch_size=512, verbose=0), validation.labels)


def soften_pairs(serving: keras.Model, letters: Letters, validation: Letters, seed: int) -> float:
    """Make a serving model less sure within pairs of like letters, as ml.pairs does; the factor that it finds.

    `letters` are the training images, `validation` what was held out of them.
    """
    from ml.head import Head
    from ml.pairs import soften

    def seen(part: Letters) -> FeatureSet:
        return FeatureSet(serving.predict(_scaled(part.images), batch_size=512, verbose=0)[1], part.labels)

    chosen = reference_of(letters.labels, seed)
    reference = seen(type(letters)(letters.images[chosen], letters.labels[chosen]))
    last = serving.get_layer("head")
    head, within = soften(Head(*last.get_weights()), reference, seen(validation))
    last.set_weights([head.kernel, head.bias])
    return within


def features_of(folder: Path, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """What LiteRT's trunk makes of images (N, 28, 28), (N, 128)."""
    from ml.predictor import Predictor

    predictor = Predictor(folder)
    return np.stack([predictor.predict(image).features for image in images])


def card(how: str, metrics: dict[str, Any], tested: str = CHOSE_NOTHING) -> str:
    """The text that goes with a model. `how` it was made; `tested`: what part the test images had in it."""
    test = metrics["test"]
    return f"""# A reader of handwritten letters

{how}

It reads a 28x28 image as one of 37 classes: A to Z, and a b d e f g h n q r t; the other small letters share the class
of their capital. Its probabilities assume that all classes are equally common.

On the {test["count"]} test images: {test["accuracy"]:.2%} right on 37 classes, {test["folded_accuracy"]:.2%} with case
ignored. {tested}

It is not good at what has no context to tell: l and I, O and Q without a tail, f and F, g and q. Its probabilities
name a letter whatever it is shown. That a drawing is unlike all letters it knows, `familiarity` in config.json tells:
of most scribbles, but only of some digits. Made from NIST Special Database 19, written on paper in the United States of
the 1980s and 90s: other hands it knows less.

Data: Cohen, Afshar, Tapson, van Schaik, "EMNIST: an extension of MNIST to handwritten letters", arXiv:1702.05373.
"""


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _feature_set(path: Path) -> FeatureSet:
    with np.load(path, allow_pickle=False) as stored:
        return FeatureSet(stored["features"].astype(np.float32), stored["labels"])


def _smoke_images() -> dict[str, npt.NDArray[np.uint8]]:
    return {letter: image_from_strokes(strokes) for letter, strokes in SMOKE_STROKES.items()}


def _record_smoke(folder: Path) -> None:
    from ml.predictor import Predictor

    predictor = Predictor(folder)
    found = {letter: predictor.predict(image).probabilities for letter, image in _smoke_images().items()}
    dump(folder / "smoke.json", {letter: probabilities.tolist() for letter, probabilities in found.items()})


def _scaled(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return images[..., None].astype(np.float32) / 255.0


def _write_litert(path: Path, serving: keras.Model) -> None:
    """Convert for a batch of exactly one: LiteRT.js cannot run a model whose batch is open."""
    import keras

    one = keras.Input(batch_shape=(1, 28, 28, 1))
    # Keras opens the batch of what it exports, also of a model whose batch is fixed, unless the signature says it too
    signature = [keras.InputSpec(shape=(1, 28, 28, 1), dtype="float32")]
    keras.Model(one, serving(one)).export(str(path), format="litert", input_signature=signature, verbose=False)


def _write_reference(folder: Path, serving: keras.Model, origin: Origin) -> None:
    from ml.embed import fit_umap

    letters, seed = origin.letters, origin.reference_seed
    chosen = reference_of(letters.labels, seed)
    labels = letters.labels[chosen]
    _, features = serving.predict(_scaled(letters.images[chosen]), batch_size=512, verbose=0)
    np.savez_compressed(
        folder / "reference.npz",
        features=features.astype(np.float16),
        labels=labels,
        plane=fit_umap(features, seed, start=_plane_of(origin.parent, labels)).astype(np.float32),
    )


def reference_of(labels: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.intp]:
    """Which of the training images with labels (N,) the reference is made of, as many of each class, in its order."""
    random = np.random.default_rng([seed, 3])
    chosen = np.concatenate(
        [random.permutation(np.flatnonzero(labels == label))[:REFERENCE_PER_CLASS] for label in range(CLASS_COUNT)]
    )
    return random.permutation(chosen)  # so that any first part of the reference is a fair sample of it


def _plane_of(parent: Path | None, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32] | None:
    """Where the same reference letters lie in the parent's plane; None where its reference is made of others."""
    if parent is None:
        return None
    with np.load(parent / "reference.npz", allow_pickle=False) as stored:
        return stored["plane"] if np.array_equal(stored["labels"], labels) else None


def _surroundings() -> dict[str, Any]:
    import keras
    import tensorflow as tf

    from ml import emnist

    return {
        "classes": list(CLASSES),
        "preprocess": PREPROCESS_VERSION,
        "archive_sha256": emnist.sha256_of(emnist.archive_path()),
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__},
    }


def _measure(folder: Path, origin: Origin, test: Letters) -> tuple[dict[str, Any], npt.NDArray[np.float32]]:
    """The metrics, and the features of the validation letters; writes test.npz on the way, as one pass gives both."""
    from ml.evaluate import evaluate
    from ml.predictor import Predictor

    predictor = Predictor(folder)

    def read(letters: Letters) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        read = [predictor.predict(image) for image in letters.images]
        return np.stack([each.probabilities for each in read]), np.stack([each.features for each in read])

    probabilities, features = read(test)
    np.savez_compressed(folder / "test.npz", features=features.astype(np.float16), labels=test.labels)
    of_validation, validation = read(origin.validation)
    metrics = {
        "dataset": origin.dataset,
        "test": evaluate(probabilities, test.labels),
        "validation": evaluate(of_validation, origin.validation.labels),
        "history": origin.history,
    }
    return metrics, validation


def _familiarity(folder: Path, origin: Origin, validation: npt.NDArray[np.float32]) -> tuple[Known, dict[str, Any]]:
    """What is usual among letters to this network, and how well that tells what is none."""
    from ml import familiarity
    from ml.predictor import Predictor

    predictor, reference = Predictor(folder), emnist_reference(folder).features
    known = familiarity.calibrate(validation, reference)
    drawings = origin.collected
    if drawings is not None and len(drawings):
        known = familiarity.learn(known, features_of(folder, drawings.images), drawings.weights, reference)
    return known, familiarity.judged(predictor, known, reference, emnist_test(folder).features)
