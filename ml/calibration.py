"""Whether probabilities mean what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ml.labels import CLASSES

BINS = 15

Probabilities = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]


def best_temperature(logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.integer[Any]]) -> float:
    """The temperature by which logits (N, 37) are divided to make the labels (N,) likeliest.

    Guo et al., "On calibration of modern neural networks", arXiv:1706.04599, section 4.2.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    rows = np.arange(len(labels))

    def surprise(temperature: float) -> float:
        return float(-log_softmax(logits / temperature, axis=1)[rows, labels].mean())

    return float(minimize_scalar(surprise, bounds=(0.2, 5.0), method="bounded").x)


def calibration_error(probabilities: Probabilities, labels: Labels) -> float:
    """Expected calibration error, 0 to 1: how far, on average, confidence is from being right, in 15 equal bins.

    Of probabilities (N, 37) and labels (N,); the confidence is the probability of the likeliest class. Guo et al., "On
    calibration of modern neural networks", arXiv:1706.04599, section 2.
    """
    return binned_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)


def binned_error(confidence: Probabilities, right: Bools) -> float:
    """The same from confidence (N,), 0 to 1, and whether it was right (N,)."""
    gaps = np.bincount(_bin_of(confidence), confidence.astype(float) - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(right))


def reliability(probabilities: Probabilities, labels: Labels) -> dict[str, Any]:
    """The expected calibration error, `error`, and the bins behind it. Plain numbers, fit for JSON.

    A bin holds the images whose confidence is from `low` to below `high` (the last one also 1): their `count`, mean
    `confidence`, and `accuracy`, the share read right; None for both where it is empty.
    """
    confidence, right = probabilities.max(axis=1).astype(float), probabilities.argmax(axis=1) == labels
    bins = _bin_of(confidence)
    counts = np.bincount(bins, minlength=BINS)
    sure, correct = (np.bincount(bins, each, minlength=BINS) for each in (confidence, right))
    return {
        "error": binned_error(confidence, right),
        "bins": [
            {
                "low": number / BINS,
                "high": (number + 1) / BINS,
                "count": int(count),
                "confidence": float(sure[number] / count) if count else None,
                "accuracy": float(correct[number] / count) if count else None,
            }
            for number, count in enumerate(counts)
        ],
    }


def overconfidence(bins: list[dict[str, Any]]) -> float:
    """How much surer than right, -1 to 1, from the bins of `reliability`; below 0 where it is less sure than right."""
    filled = [each for each in bins if each["count"]]
    total = sum(each["count"] for each in filled)
    return float(sum(each["count"] * (each["confidence"] - each["accuracy"]) for each in filled) / total)


def by_class(probabilities: Probabilities, labels: Labels) -> list[dict[str, Any]]:
    """Of the letters read as each class: `count`, mean `confidence`, the share that is right, `accuracy`, and `excess`.

    `excess`: what they add, 0 to 1, to how much surer than right all letters are together. Largest first; a class that
    nothing is read as is left out.
    """
    confidence, read = probabilities.max(axis=1).astype(float), probabilities.argmax(axis=1)
    right = read == labels
    rows = [
        {
            "class": CLASSES[label],
            "count": int(of.sum()),
            "confidence": float(confidence[of].mean()),
            "accuracy": float(right[of].mean()),
            "excess": float((confidence[of] - right[of]).sum() / len(labels)),
        }
        for label in np.unique(read)
        for of in [read == label]
    ]
    return sorted(rows, key=lambda row: -float(row["excess"]))


def error_by_chance(
    probabilities: Probabilities, resamples: int = 200, seed: int = 0, share: float = 0.95
) -> tuple[float, float]:
    """The error that probabilities (N, 37) would show if they were exactly true: the mean, and what `share` stay below.

    It is above 0, as bins of few images are off by chance. What is right is drawn by the confidence itself:
    Vaicenavicius et al., "Evaluating model calibration in classification", arXiv:1902.06977.
    """
    random = np.random.default_rng(seed)
    confidence = probabilities.max(axis=1).astype(float)
    errors = [binned_error(confidence, random.random(len(confidence)) < confidence) for _ in range(resamples)]
    return float(np.mean(errors)), float(np.quantile(errors, share))


def _bin_of(confidence: Probabilities) -> npt.NDArray[np.intp]:
    bins: npt.NDArray[np.intp] = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    return bins
