"""How often a model is right.

    python -m ml.evaluate ARTEFACT --dataset open37        the test images of an EMNIST dataset
    python -m ml.evaluate ARTEFACT --strokes FILE          drawings, JSON lines of {"character", "strokes"}
    ... --json                                             the same as JSON

The functions judge probabilities (N, 37) against labels (N,), positions in `ml.labels.CLASSES`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.labels import CLASS_COUNT, CLASSES, FOLDED, class_of, index_of
from ml.preprocess import PreprocessError, image_from_strokes

if TYPE_CHECKING:
    from ml.predictor import Predictor

CONFUSIONS = 10  # how many a report names

Probabilities = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]

_FOLDED = np.array(FOLDED)


class BadDrawings(ValueError):
    """A file of drawings cannot be used; the message names the line and what is wrong with it."""


def accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """The share of rows of (N, 37) whose likeliest class is the label. Raises ValueError for nothing to judge."""
    return _share(_predicted(probabilities, labels) == labels)


def folded_accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """The same with case ignored: `a` read as `A` is right."""
    return _share(_FOLDED[_predicted(probabilities, labels)] == _FOLDED[labels])


def evaluate(probabilities: Probabilities, labels: Labels) -> dict[str, Any]:
    """What `accuracy` and `folded_accuracy` say, the recall of each class, and the most frequent confusions.

    Plain numbers, fit for JSON. A class without an image has the recall None.
    """
    predicted = _predicted(probabilities, labels)
    return {
        "count": len(labels),
        "accuracy": accuracy(probabilities, labels),
        "folded_accuracy": folded_accuracy(probabilities, labels),
        "recall": {
            name: _share(predicted[labels == index] == index) if (labels == index).any() else None
            for index, name in enumerate(CLASSES)
        },
        "confusions": _confusions(predicted, labels),
    }


def _predicted(probabilities: Probabilities, labels: Labels) -> npt.NDArray[np.intp]:
    if probabilities.shape != (len(labels), CLASS_COUNT):
        raise ValueError(f"{len(labels)} labels need as many rows of {CLASS_COUNT}, not {probabilities.shape}")
    if not len(labels):
        raise ValueError("there is nothing to evaluate: no labels")
    predicted: npt.NDArray[np.intp] = probabilities.argmax(axis=1)
    return predicted


def _share(right: npt.NDArray[np.bool_]) -> float:
    return float(right.mean())


def _confusions(predicted: npt.NDArray[np.intp], labels: Labels) -> list[dict[str, Any]]:
    """The commonest mistakes, most frequent first."""
    counts = np.zeros((CLASS_COUNT, CLASS_COUNT), int)
    np.add.at(counts, (labels, predicted), 1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:CONFUSIONS]
    pairs = [divmod(int(flat), CLASS_COUNT) for flat in order if counts.flat[flat]]
    return [{"label": CLASSES[a], "read_as": CLASSES[b], "count": int(counts[a, b])} for a, b in pairs]


def read_drawings(lines: Iterable[str]) -> Iterator[tuple[npt.NDArray[np.uint8], int]]:
    """The image and the class of each line of drawings. Raises BadDrawings."""
    for number, line in enumerate(lines, start=1):
        try:
            drawing = json.loads(line)
            yield image_from_strokes(drawing["strokes"]), index_of(class_of(drawing["character"]))
        except (KeyError, TypeError) as error:
            raise BadDrawings(f"line {number} is no object with a character and strokes ({error!r})") from error
        except (PreprocessError, ValueError) as error:
            raise BadDrawings(f"line {number}: {error}") from error


def predict_all(predictor: Predictor, images: Iterable[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    """(N, 37) probabilities of N images."""
    rows = [predictor.predict(image).probabilities for image in images]
    return np.stack(rows) if rows else np.empty((0, CLASS_COUNT), np.float32)


def report(result: dict[str, Any]) -> str:
    """The result of `evaluate` as text for people."""
    recall = "  ".join(
        f"{name} {'  -  ' if share is None else f'{share:5.1%}'}" for name, share in result["recall"].items()
    )
    confusions = ", ".join(f"{each['label']} as {each['read_as']} {each['count']}" for each in result["confusions"])
    return (
        f"{result['count']} letters: {result['accuracy']:.2%} right on 37 classes, "
        f"{result['folded_accuracy']:.2%} with case ignored\n"
        f"right of each class: {recall}\n"
        f"most frequent mistakes: {confusions or 'none'}"
    )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ml.evaluate", description="Measure how often a model is right.")
    parser.add_argument("artefact", type=Path, help="folder with model.tflite")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dataset", help="the test images of this EMNIST dataset, such as balanced")
    source.add_argument("--strokes", type=Path, help="JSON lines of drawings with their character")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def _measure(parsed: argparse.Namespace) -> dict[str, Any]:
    from ml.predictor import Predictor  # only here: the web process evaluates stored answers and never runs a model

    predictor = Predictor(parsed.artefact)
    if parsed.strokes:
        with parsed.strokes.open(encoding="utf-8") as lines:
            drawings = list(read_drawings(lines))
        images = [image for image, _ in drawings]
        labels = np.array([label for _, label in drawings], int)
        return evaluate(predict_all(predictor, images), labels)
    from ml import emnist  # only here: the package brings a network client along

    letters = emnist.load_letters(parsed.dataset, "test")
    return evaluate(predict_all(predictor, letters.images), letters.labels)


def main(arguments: list[str] | None = None) -> int:
    """Print what was measured; 1 where the model or the letters cannot be read."""
    parsed = _parse(arguments)
    try:
        result = _measure(parsed)
    except Exception as error:  # a command line answers in words, whatever went wrong
        print(f"python -m ml.evaluate: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=1) if parsed.json else report(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
