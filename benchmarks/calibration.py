"""Why a model is surer than right, and what would help, on what its training held out; the test is never read here.

    python -m benchmarks.calibration ARTEFACT --dataset open37

First, by groups of classes, how sure it is and how right, also on letters that it learned from. Then what is left of
the calibration error by each way of fitting confidence to labels, in five parts, each judged by the fit on the others:

    temperature   all logits divided by one number, as artefacts have it
    pairs         and the difference of the logits within F/f, I/L and g/q by one more number
    softened      a last layer refitted to be as sure within these pairs as it is right, as artefacts have it (ml.pairs)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from ml import artifact, exams
from ml.calibration import calibration_error, error_by_chance
from ml.labels import CLASS_COUNT, index_of
from ml.pairs import PAIRS, soften

PARTS, REPEATS = 5, 2

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]
Way = Callable[[Floats, Floats], Floats]


def temperature(parameters: Floats, logits: Floats) -> Floats:
    """Probabilities (N, 37) of logits (N, 37)."""
    return softmax(logits * np.exp(parameters[0]), axis=1)


def pairs(parameters: Floats, logits: Floats) -> Floats:
    return temperature(parameters, logits @ within_pairs(np.exp(parameters[1])))


def within_pairs(factor: float) -> Floats:
    """(37, 37): multiplies the difference of the logits of each pair, and nothing else."""
    matrix = np.eye(CLASS_COUNT)
    for first, second in ((index_of(a), index_of(b)) for a, b in PAIRS):
        apart = np.zeros(CLASS_COUNT)
        apart[first], apart[second] = 1, -1
        matrix -= (1 - factor) / 2 * np.outer(apart, apart)
    return matrix


WAYS: dict[str, tuple[Way, int]] = {"temperature": (temperature, 1), "pairs": (pairs, 2)}


def surprise(probabilities: Floats, labels: Labels) -> float:
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())


def fit(way: Way, size: int, logits: Floats, labels: Labels) -> Floats:
    """The parameters that make the labels likeliest; zeros leave the probabilities (nearly) as they are."""
    start = np.vstack([np.zeros(size), 0.3 * np.eye(size)])  # its own start, beside zeros, is too narrow to go anywhere
    options = {"initial_simplex": start, "xatol": 1e-3, "fatol": 1e-6}
    found = minimize(
        lambda at: surprise(way(at, logits), labels), np.zeros(size), method="Nelder-Mead", options=options
    )
    best: Floats = found.x
    return best


def parts_of(labels: Labels, seed: int) -> Labels:
    """The part (N,) of each letter, 0 to 4, as many of each class in each."""
    random = np.random.default_rng(seed)
    dealt = np.empty(len(labels), int)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        dealt[members] = np.arange(len(members)) % PARTS
    return dealt


def judged(way: Way, size: int, logits: Floats, labels: Labels, seed: int) -> Floats:
    """Probabilities (N, 37), each by the fit on the parts that it is not in."""
    dealt = parts_of(labels, seed)
    rows = np.empty(logits.shape)
    for part in range(PARTS):
        of = dealt == part
        rows[of] = way(fit(way, size, logits[~of], labels[~of]), logits[of])
    return rows


def judged_softened(folder: Path, held_out: artifact.FeatureSet, seed: int) -> Floats:
    """The same by heads that are softened."""
    head, reference = artifact.load_head(folder), artifact.emnist_reference(folder)
    dealt = parts_of(held_out.labels, seed)
    rows = np.empty((len(held_out), CLASS_COUNT))
    for part in range(PARTS):
        of = dealt == part
        others = artifact.FeatureSet(held_out.features[~of], held_out.labels[~of])
        rows[of] = soften(head, reference, others)[0].probabilities(held_out.features[of])
    return rows


def tell(name: str, rows: list[Floats], labels: Labels, numbers: Any) -> None:
    off = 100 * np.mean([calibration_error(each, labels) for each in rows])
    unlikely = np.mean([surprise(each, labels) for each in rows])
    right = np.mean([(each.argmax(axis=1) == labels).mean() for each in rows])
    print(f"{name:<12} error {off:.2f} points, surprise {unlikely:.4f}, right {right:.2%}, all: {numbers}", flush=True)


def groups(probabilities: Floats, labels: Labels) -> None:
    read, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    inside = {pair: np.isin(read, [index_of(each) for each in pair]) for pair in PAIRS}
    print("read as        letters    sure   right  of the excess, points")
    for name, of in [*inside.items(), ("another class", ~np.any(list(inside.values()), axis=0))]:
        right = read[of] == labels[of]
        excess = 100 * (sure[of].sum() - right.sum()) / len(labels)
        print(f"{name:<13}  {of.sum():>7}  {sure[of].mean():>6.1%}  {right.mean():>6.1%}  {excess:>7.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration")
    parser.add_argument("artefact", type=Path)
    parser.add_argument("--dataset", default="open37")
    parsed = parser.parse_args()
    exam = exams.of_validation(parsed.dataset, parsed.artefact)
    assert exam.images is not None
    head, features = artifact.load_head(parsed.artefact), artifact.features_of(parsed.artefact, exam.images)
    logits, labels = (features @ head.kernel + head.bias).astype(float), exam.labels.astype(int)
    groups(softmax(logits, axis=1), labels)
    reference = artifact.emnist_reference(parsed.artefact)
    print("\nthe same of letters that it was trained on:")
    groups(head.probabilities(reference.features), reference.labels)
    mean, most = error_by_chance(softmax(logits, axis=1))
    print(f"\ncalibration error by chance alone: {100 * mean:.2f} points, rarely more than {100 * most:.2f}")
    for name, (way, size) in WAYS.items():
        with threadpool_limits(1, "blas"):  # threads that wait for each other take ten times as long
            rows = [judged(way, size, logits, labels, seed) for seed in range(REPEATS)]
        numbers = np.round(fit(way, size, logits, labels), 3).tolist()
        tell(name, rows, labels, numbers)
    held_out = artifact.FeatureSet(features, exam.labels.astype(np.uint8))
    rows = [judged_softened(parsed.artefact, held_out, seed) for seed in range(REPEATS)]
    _, within = soften(head, artifact.emnist_reference(parsed.artefact), held_out)
    tell("softened", rows, labels, within)


if __name__ == "__main__":
    main()
