"""How often a model is right, how sure it is, and what it takes for what.

    python -m ml.evaluate ARTEFACT --dataset open37        the test images of an EMNIST dataset
    python -m ml.evaluate ARTEFACT --strokes FILE          drawings, JSON lines of {"character", "strokes"}
    python -m ml.evaluate ARTEFACT --stored                the test that the artefact carries as features: no archive
    ... --validation                                       with --dataset: the images that its training held out
    ... --compare OTHER                                    a second artefact on the same letters
    ... --figures DIR                                      as pictures, see ml.evaluation_figures
    ... --json                                             the same as JSON

The functions judge probabilities (N, 37) against labels (N,), positions in `ml.labels.CLASSES`. docs/evaluation.md says
what each number means.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml import calibration, exams, paired
from ml.labels import CLASS_COUNT, CLASSES, FOLDED
from ml.proportions import wilson

CONFUSIONS = 10  # how many a report names

Probabilities = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]

_FOLDED = np.array(FOLDED)


def accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """The share of rows of (N, 37) whose likeliest class is the label. Raises ValueError for nothing to judge."""
    return _share(_predicted(probabilities, labels) == labels)


def folded_accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """The same with case ignored: `a` read as `A` is right."""
    return _share(_FOLDED[_predicted(probabilities, labels)] == _FOLDED[labels])


def evaluate(probabilities: Probabilities, labels: Labels) -> dict[str, Any]:
    """All that is measured of one model on one set of letters; what an artefact's metrics.json holds of it.

    `accuracy`, `folded_accuracy` and `top2` (the label is among the two likeliest), each with its 95 % interval in
    `intervals`; `classes`: count, precision, recall and F1 of each; `matrix` (37, 37): rows the label, columns what was
    read; the most frequent `confusions` of it; `calibration` as ml.calibration.reliability gives it. Plain numbers, fit
    for JSON. A class without an image has None in place of each share. Raises ValueError for nothing to judge.
    """
    predicted = _predicted(probabilities, labels)
    right = {
        "accuracy": predicted == labels,
        "folded_accuracy": _FOLDED[predicted] == _FOLDED[labels],
        "top2": _rank(probabilities, labels) < 2,
    }
    matrix = confusion_matrix(predicted, labels)
    classes = {name: _class_row(matrix, index) for index, name in enumerate(CLASSES)}
    return {
        "count": len(labels),
        **{name: _share(each) for name, each in right.items()},
        "intervals": {name: list(wilson(int(each.sum()), len(each))) for name, each in right.items()},
        "recall": {name: row["recall"] for name, row in classes.items()},
        "classes": classes,
        "confusions": _confusions(matrix),
        "matrix": matrix.tolist(),
        "calibration": calibration.reliability(probabilities, labels),
    }


def confusion_matrix(predicted: Labels, labels: Labels) -> npt.NDArray[np.int64]:
    """(37, 37): how many letters of each class (rows) were read as each (columns)."""
    counts = np.zeros((CLASS_COUNT, CLASS_COUNT), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def confused_pairs(matrix: npt.ArrayLike) -> list[dict[str, Any]]:
    """Pairs of classes that are taken for each other, both ways together, most frequent first.

    `pair`, its `count`, and `ways`: the first read as the second, and the second as the first.
    """
    counts = np.array(matrix)
    both = np.triu(counts + counts.T, k=1)
    return [
        {"pair": [CLASSES[a], CLASSES[b]], "count": int(both[a, b]), "ways": [int(counts[a, b]), int(counts[b, a])]}
        for a, b in _largest(both)
    ]


def _predicted(probabilities: Probabilities, labels: Labels) -> npt.NDArray[np.intp]:
    if probabilities.shape != (len(labels), CLASS_COUNT):
        raise ValueError(f"{len(labels)} labels need as many rows of {CLASS_COUNT}, not {probabilities.shape}")
    if not len(labels):
        raise ValueError("there is nothing to evaluate: no labels")
    predicted: npt.NDArray[np.intp] = probabilities.argmax(axis=1)
    return predicted


def _rank(probabilities: Probabilities, labels: Labels) -> npt.NDArray[np.intp]:
    """How many classes come before the label (N,); of equally likely ones the first comes first, as in argmax."""
    own = np.take_along_axis(probabilities, labels.astype(np.intp)[:, None], axis=1)
    earlier = np.arange(CLASS_COUNT) < labels[:, None]
    before: npt.NDArray[np.intp] = ((probabilities > own) | ((probabilities == own) & earlier)).sum(axis=1)
    return before


def _share(right: Bools) -> float:
    return float(right.mean())


def _class_row(matrix: npt.NDArray[np.int64], index: int) -> dict[str, Any]:
    right, count, read = (int(each) for each in (matrix[index, index], matrix[index].sum(), matrix[:, index].sum()))
    return {
        "count": count,
        "precision": right / read if read else None,  # nothing was read as it
        "recall": right / count if count else None,
        "f1": 2 * right / (count + read) if count else None,
    }


def _confusions(matrix: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """The commonest mistakes, most frequent first."""
    mistakes = matrix - np.diag(np.diag(matrix))
    return [
        {"label": CLASSES[a], "read_as": CLASSES[b], "count": int(mistakes[a, b])}
        for a, b in _largest(mistakes)[:CONFUSIONS]
    ]


def _largest(counts: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Places in (37, 37) that are not 0, the largest first, of equal ones as they come."""
    order = np.argsort(-counts, axis=None, kind="stable")
    places = (divmod(int(flat), CLASS_COUNT) for flat in order)
    return [place for place in places if counts[place]]


def _exam(parsed: argparse.Namespace) -> exams.Exam:
    if parsed.stored:
        return exams.of_stored(parsed.artefact)
    if parsed.strokes:
        return exams.of_drawings(parsed.strokes)
    if parsed.validation:
        return exams.of_validation(parsed.dataset, parsed.artefact)
    return exams.of_dataset(parsed.dataset)


def _measure(parsed: argparse.Namespace) -> dict[str, Any]:
    """`evaluate`, and what only a command line gives; writes the figures on the way."""
    exam = _exam(parsed)
    probabilities = exam.answers(parsed.artefact)
    result = {"letters": exam.name} | evaluate(probabilities, exam.labels)
    result["pairs"] = confused_pairs(result["matrix"])
    result["calibration"]["by_chance"] = list(calibration.error_by_chance(probabilities))
    result["calibration"]["classes"] = calibration.by_class(probabilities, exam.labels)
    if parsed.compare:
        result["comparison"] = _comparison(parsed.artefact, parsed.compare, probabilities, exam)
    if parsed.figures:
        from ml import evaluation_figures

        for path in evaluation_figures.write_all(parsed.figures, parsed.artefact, result, probabilities, exam):
            print(path, file=sys.stderr)
    return result


def _comparison(first: Path, second: Path, probabilities: Probabilities, exam: exams.Exam) -> dict[str, Any]:
    """Two artefacts on the same letters; `difference` is how much more of them the first reads right."""
    found = paired.compare(probabilities.argmax(axis=1), exam.answers(second).argmax(axis=1), exam.labels)
    return {
        "models": [str(first), str(second)],
        "accuracies": [(found.both + alone) / found.count for alone in (found.first_alone, found.second_alone)],
        "alone": [found.first_alone, found.second_alone],
        "both": found.both,
        "neither": found.neither,
        "difference": found.difference,
        "interval": list(found.interval),
        "p": found.p,
    }


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ml.evaluate", description="Measure how often a model is right.")
    parser.add_argument("artefact", type=Path, help="folder with model.tflite")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dataset", help="the test images of this EMNIST dataset, such as balanced")
    source.add_argument("--strokes", type=Path, help="JSON lines of drawings with their character")
    source.add_argument("--stored", action="store_true", help="the test that the artefact carries as features")
    parser.add_argument("--validation", action="store_true", help="of the dataset, what the training held out")
    parser.add_argument("--compare", type=Path, metavar="OTHER", help="another artefact, on the same letters")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="a folder for pictures; they may show the letters")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(arguments)
    if parsed.validation and not parsed.dataset:
        parser.error("--validation goes with --dataset")
    return parsed


def main(arguments: list[str] | None = None) -> int:
    """Print what was measured; 1 where the model or the letters cannot be read."""
    parsed = _parse(arguments)
    try:
        result = _measure(parsed)
    except Exception as error:  # a command line answers in words, whatever went wrong
        print(f"python -m ml.evaluate: {error}", file=sys.stderr)
        return 1
    from ml.evaluation_report import report

    print(json.dumps(result, indent=1) if parsed.json else report(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
