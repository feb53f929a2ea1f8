"""What came of teachers and students: a table of what they read in the images that choose.

    python -m benchmarks.teachers.report DATA.npz OUT [OUT ...] [--base stride3-labels]

All classes weigh alike. The difference to the base is image by image, with its standard error; beside it how many
images each alone reads right, and p of the exact McNemar test. The test images and drawings are not looked at.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ml import calibration, paired
from ml.labels import CLASS_COUNT

DEV, VALIDATION = -1, -2


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.teachers.report", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, nargs="+")
    parser.add_argument("--base", default="stride3-labels")
    parsed = parser.parse_args()
    with np.load(parsed.data) as stored:
        labels, folds = stored["labels"], stored["folds"]
    read = {}
    for folder in parsed.out:
        if (folder / "teachers.npz").is_file():
            with np.load(folder / "teachers.npz") as stored:
                together = stored["train"].astype(np.float32)
            read |= {"teachers-dev": together[folds == DEV], "teachers-validation": together[folds == VALIDATION]}
        if (folder / "trials.npz").is_file():
            with np.load(folder / "trials.npz") as stored:
                read |= {name: stored[name].astype(np.float32) for name in stored.files}
    print(table(read, labels[folds == DEV], labels[folds == VALIDATION], parsed.base))


def table(read: dict[str, np.ndarray], dev: np.ndarray, validation: np.ndarray, base: str) -> str:
    """Of logarithms of probabilities (N, 37) by `NAME-dev` and `NAME-validation`, the best on dev first."""
    weights = (1 / np.maximum(np.bincount(dev, minlength=CLASS_COUNT), 1))[dev]
    weights /= weights.sum()
    of_base, rows = read[f"{base}-dev"].argmax(axis=1), []
    for name in (each.removesuffix("-dev") for each in read if each.endswith("-dev")):
        found, held_out = read[f"{name}-dev"].argmax(axis=1), read[f"{name}-validation"]
        gains = (found == dev).astype(float) - (of_base == dev)
        difference = weights @ gains
        error = np.sqrt((weights**2 * (gains - difference) ** 2).sum())
        against = paired.compare(found, of_base, dev)
        temperature = calibration.best_temperature(held_out, validation)
        off = calibration.calibration_error(_softmax(read[f"{name}-dev"] / temperature), dev)
        share, on_validation = weights @ (found == dev), (held_out.argmax(axis=1) == validation).mean()
        alone = f"{against.first_alone}, {against.second_alone}; {against.p:.3f}"
        cells = (f"{share:.2%}", f"{100 * difference:+.2f} ± {100 * error:.2f}", alone)
        rows.append((share, f"| {name} | {' | '.join(cells)} | {on_validation:.2%} | {100 * off:.2f} |"))
    head = (
        f"| | dev | to {base} | alone right, p | validation | calibration error on dev |\n|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(row for _, row in sorted(rows, reverse=True))


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


if __name__ == "__main__":
    main()
