"""The letters that a model is measured on, and what an artefact answers to them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml import artifact
from ml.labels import CLASS_COUNT, class_of, index_of
from ml.preprocess import PreprocessError, image_from_strokes

if TYPE_CHECKING:
    from ml.predictor import Predictor


class BadDrawings(ValueError):
    """A file of drawings cannot be used; the message names the line and what is wrong with it."""


@dataclass(frozen=True)
class Exam:
    """Letters that a model is asked about: labels (N,), and images (N, 28, 28) uint8.

    `images` is None where an artefact answers from the features that it carries.
    """

    name: str
    labels: npt.NDArray[np.integer[Any]]
    images: npt.NDArray[np.uint8] | None = None

    def answers(self, folder: Path) -> npt.NDArray[np.float32]:
        """(N, 37) probabilities by an artefact. Raises ValueError for a folder that is none or carries another test."""
        if self.images is None:
            return self._stored(folder)
        from ml.predictor import Predictor  # only here: the web process evaluates what is stored, and runs no model

        if not (folder / "model.tflite").is_file():
            raise ValueError(f"{folder} is no artefact: there is no model.tflite in it")
        return predict_all(Predictor(folder), self.images)

    def _stored(self, folder: Path) -> npt.NDArray[np.float32]:
        probabilities, labels = stored_answers(folder)
        if not np.array_equal(labels, self.labels):
            raise ValueError(
                f"{folder} carries other test letters ({len(labels)}) than {self.name}: compare the two on letters "
                "that both are shown, by --dataset or --strokes"
            )
        return probabilities


def of_dataset(dataset: str) -> Exam:
    """The test images of an EMNIST dataset. Raises ml.emnist.ArchiveError."""
    from ml import emnist  # only here: the package brings a network client along

    letters = emnist.load_letters(dataset, "test")
    return Exam(f"{dataset}, test", letters.labels, letters.images)


def of_validation(dataset: str, folder: Path) -> Exam:
    """What the training of an artefact held out, by its own seed; choices are made on these, never on the test.

    Raises ValueError where the artefact does not say, ml.emnist.ArchiveError. Loads TensorFlow.
    """
    from ml import emnist
    from ml.train import config_from, split_validation

    try:
        config = config_from(artifact.read_json(folder, "config.json")["train"])
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{folder} does not say what its training held out ({error})") from error
    letters = emnist.load_letters(dataset, "train")
    _, held_out = split_validation(letters, config.validation_per_class, config.seed)
    return Exam(f"{dataset}, validation", held_out.labels, held_out.images)


def of_drawings(path: Path) -> Exam:
    """Of a file of drawings, JSON lines. Raises BadDrawings, OSError."""
    with path.open(encoding="utf-8") as lines:
        read = list(read_drawings(lines))
    images = np.array([image for image, _ in read], np.uint8)
    return Exam(path.name, np.array([label for _, label in read], int), images)


def of_stored(folder: Path) -> Exam:
    """The test that an artefact carries as features, without images. Raises ValueError."""
    return Exam(f"the test of {folder}", stored_answers(folder)[1])


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


def stored_answers(folder: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Probabilities (T, 37) and labels (T,) of the test that an artefact carries as features. Raises ValueError."""
    try:
        return artifact.emnist_answers(folder)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{folder} carries no test as features ({error})") from error
