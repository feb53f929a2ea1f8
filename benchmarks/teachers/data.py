"""The letters of EMNIST as plain arrays, split into what is learned from, what chooses and what judges.

    python -m benchmarks.teachers.data --output DATA.npz [--strokes FILE]

Of the training images, the validation is that of `ml.train` (50 of each class, seed 0). A tenth of the others, of each
class, chooses (`dev`). The rest is dealt into folds: a network that did not learn from a fold reads it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml import emnist
from ml.crossfit import folds_of
from ml.labels import class_of, index_of
from ml.preprocess import image_from_strokes
from ml.train import TrainConfig, validation_mask

FOLDS = 5
DEV, VALIDATION = -1, -2  # in the place of a fold's number
DEV_SHARE = 10  # one in so many
DEV_SEED = 11


def folds(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """Of each training image (N,): its fold, or DEV, or VALIDATION."""
    config = TrainConfig()
    validation = validation_mask(labels, config.validation_per_class, config.seed)
    dev = folds_of(labels, validation, DEV_SHARE, DEV_SEED) == 0
    dealt = folds_of(labels, validation | dev, FOLDS, config.seed)
    dealt[dev], dealt[validation] = DEV, VALIDATION
    return dealt


def drawn(path: Path) -> emnist.Letters:
    """Letters that people drew on a tablet, through the whole way from strokes."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    images = np.stack([image_from_strokes(row["strokes"]) for row in rows])
    return emnist.Letters(images, np.array([index_of(class_of(row["character"])) for row in rows], np.uint8))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.teachers.data", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--strokes", type=Path, help="drawings to judge by, JSON lines of {character, strokes}")
    parsed = parser.parse_args()
    train, test = (emnist.load_letters(TrainConfig().dataset, usage) for usage in ("train", "test"))
    arrays = {"images": train.images, "labels": train.labels, "folds": folds(train.labels), "test": test.images}
    if parsed.strokes:
        arrays["drawn"] = drawn(parsed.strokes).images
    np.savez_compressed(parsed.output, **arrays)
    print({name: array.shape for name, array in arrays.items()}, f"{parsed.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
