"""What networks that never saw an image read in it: each training image is read by those that learned from the others.

    python -m ml.crossfit --output var/crossfit.npz                    three networks, eight epochs each
    python -m ml.crossfit --folds 5 --epochs 12 --output var/five.npz

The result finds wrong labels (`ml.label_issues`) and softens targets (`ml.train --soft-labels`). Killed or interrupted,
the same command goes on from the last whole epoch. The test images are never read here.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml import calibration, emnist
from ml.labels import CLASS_COUNT

EPOCHS = 8  # of each network, on (folds - 1) / folds of the images
UNSEEN_BY_ALL = -1  # the fold of validation images


class BadCrossfit(ValueError):
    """A file of out-of-fold probabilities cannot be used; the message says why."""


@dataclass(frozen=True)
class Crossfit:
    """Out-of-fold probabilities (N, 37) float32 of all training images of a dataset, in the archive's order.

    `folds` (N,) int8: the network that read an image and did not learn from it. Validation images, which none learned
    from, have -1 and the mean of what all read. The temperature that makes the labels likeliest is in the numbers.
    """

    probabilities: npt.NDArray[np.float32]
    folds: npt.NDArray[np.int8]
    about: dict[str, Any]


def folds_of(
    labels: npt.NDArray[np.uint8], validation: npt.NDArray[np.bool_], folds: int, seed: int
) -> npt.NDArray[np.int8]:
    """The fold (N,) of each image, 0 to `folds` - 1, as many of each class in each; -1 where `validation` (N,)."""
    random = np.random.default_rng([seed, 4])
    dealt = np.full(len(labels), UNSEEN_BY_ALL, np.int8)
    for label in range(CLASS_COUNT):
        members = random.permutation(np.flatnonzero((labels == label) & ~validation))
        dealt[members] = np.arange(len(members)) % folds
    return dealt


def crossfit(config: Any, letters: emnist.Letters, folds: int, work: Path) -> Crossfit:
    """Train one network a fold by `config` (ml.train.TrainConfig), with checkpoints in `work`."""
    from ml.train import validation_mask

    validation = validation_mask(letters.labels, config.validation_per_class, config.seed)
    dealt = folds_of(letters.labels, validation, folds, config.seed)
    logits = np.zeros((len(letters), CLASS_COUNT), np.float32)
    for fold in range(folds):
        read = _logits_of_fold(replace(config, seed=config.seed + fold), letters, dealt, fold, work / f"fold{fold}")
        unseen = dealt == fold
        logits[unseen] = read[unseen]
        logits[validation] += read[validation] / folds
    temperature = calibration.best_temperature(logits[~validation], letters.labels[~validation])
    about = {"train": asdict(config), "folds": folds, "temperature": temperature}
    return Crossfit(_softmax(logits / temperature), dealt, about)


def _logits_of_fold(
    config: Any, letters: emnist.Letters, dealt: npt.NDArray[np.int8], fold: int, work: Path
) -> npt.NDArray[np.float32]:
    """(N, 37) logits of all images by the network that did not learn from `fold`; kept in `work`."""
    import keras

    from ml.train import fit, predict_all

    done = work / "network.keras"
    if not done.is_file():
        work.mkdir(parents=True, exist_ok=True)
        learned = (dealt != fold) & (dealt != UNSEEN_BY_ALL)
        result = fit(config, emnist.Letters(letters.images[learned], letters.labels[learned]), work)
        result.network.save(work / "aside.keras")
        (work / "aside.keras").rename(done)
    return predict_all(keras.models.load_model(done, compile=False), letters.images)


def _softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    from scipy.special import softmax

    probabilities: npt.NDArray[np.float32] = softmax(logits, axis=1).astype(np.float32)
    return probabilities


def save(path: Path, result: Crossfit) -> None:
    """Write the file; it is there whole or not at all."""
    aside = path.with_name(path.name + ".aside.npz")
    np.savez_compressed(
        aside,
        probabilities=result.probabilities.astype(np.float16),
        folds=result.folds,
        about=np.array(json.dumps(result.about)),
    )
    aside.rename(path)


def load(path: Path, count: int) -> Crossfit:
    """The file for a dataset of `count` training images. Raises BadCrossfit."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            result = Crossfit(
                stored["probabilities"].astype(np.float32), stored["folds"], json.loads(str(stored["about"]))
            )
    except (OSError, ValueError, KeyError) as error:
        raise BadCrossfit(f"{path} is no file of out-of-fold probabilities ({error})") from error
    if result.probabilities.shape != (count, CLASS_COUNT):
        raise BadCrossfit(f"{path} is of {len(result.probabilities)} images, the dataset has {count}")
    return result


def main(arguments: list[str] | None = None) -> None:
    """Train all folds, then write the file."""
    parser = argparse.ArgumentParser(prog="python -m ml.crossfit", description="Out-of-fold probabilities of EMNIST.")
    parser.add_argument("--output", type=Path, required=True, help="an .npz file; checkpoints in FILE.work")
    parser.add_argument("--folds", type=int, default=3, help="default 3")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"default {EPOCHS}")
    parser.add_argument("--config", type=Path, help="a config.json whose other settings hold")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parsed = parser.parse_args(arguments)
    from ml.train import TrainConfig, config_from

    values = json.loads(parsed.config.read_text())["train"] if parsed.config else asdict(TrainConfig())
    calm = min(values.get("calm_epochs", 0), parsed.epochs // 4)
    alone = {
        "teachers": (),
        "soft_labels": "",
        "exclude": "",
        "epochs": parsed.epochs,
        "seed": parsed.seed,
        "calm_epochs": calm,
    }
    config = config_from(values | alone)
    letters = emnist.load_letters(config.dataset, "train")
    result = crossfit(config, letters, parsed.folds, parsed.output.with_name(parsed.output.name + ".work"))
    save(parsed.output, result)
    unseen = result.folds != UNSEEN_BY_ALL
    right = result.probabilities.argmax(axis=1) == letters.labels
    print(f"read right by networks that had not seen them: {right[unseen].mean():.2%}")
    print(f"validation, by the mean of all networks: {right[~unseen].mean():.2%}")


if __name__ == "__main__":
    main()
