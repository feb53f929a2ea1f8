"""What `ml.evaluate` measured, as pictures: confusion matrix, reliability diagram, training curves, examples.

Nothing is told by colour alone. The pictures of examples show letters of the dataset: those of EMNIST are not to be
published with the project.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml import artifact
from ml.calibration import overconfidence
from ml.figures import COLOURS, INK, PALE, page, stacked, write
from ml.labels import CLASS_COUNT, CLASSES
from ml.letter_sheet import GREEN, RED, Caption, letter_sheet
from ml.proportions import wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ml.exams import Exam

COLUMNS = 14
EXAMPLES = COLUMNS * COLUMNS
GRID = "#e5e5ea"


def write_all(
    folder: Path, model: Path, result: dict[str, Any], probabilities: npt.NDArray[np.float32], exam: Exam
) -> list[Path]:
    """Write those figures that can be made, each as PNG and SVG; their paths.

    The examples need images, the training curves a history in the artefact's metrics.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "confusion": confusion_figure(result["matrix"], exam.name),
        "reliability": reliability_figure(result["calibration"], exam.name),
    }
    history = _history(model)
    if history:
        made["training"] = training_figure(history)
    if exam.images is not None:
        made["examples"] = examples_figure(exam.images, probabilities, exam.labels, exam.name)
    return [path for name, figure in made.items() for path in write(figure, folder / name)]


def _history(model: Path) -> list[dict[str, float]]:
    try:
        found: list[dict[str, float]] = artifact.read_json(model, "metrics.json").get("history", [])
    except (OSError, json.JSONDecodeError):
        return []
    return found


def confusion_figure(matrix: npt.ArrayLike, name: str) -> Figure:
    """(37, 37) counts, rows the label, columns what was read. The shade is the share of the row; numbers are counts."""
    from matplotlib.colors import PowerNorm

    counts = np.array(matrix)
    totals = counts.sum(axis=1, keepdims=True)
    right = int(np.trace(counts))
    figure, axes = page(
        10.0,
        10.8,
        "What is read as what",
        f"{name}: {counts.sum():,} letters, {right:,} of them read right. The shade is the share of a row",
    )
    shares = counts / np.maximum(totals, 1)
    axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.45, 0, 1), aspect="equal")  # so that 1 of 200 can be seen
    for row, column in np.argwhere(counts):
        shade = "white" if shares[row, column] > 0.35 else INK
        weight = "normal" if row == column else "bold"
        axes.text(column, row, str(counts[row, column]), color=shade, fontweight=weight, **_CELL)
    ticks = np.arange(CLASS_COUNT)
    axes.set(xlabel="read as", ylabel="label")
    axes.set_xticks(ticks, CLASSES)
    axes.set_yticks(ticks, CLASSES)
    axes.tick_params(length=0, top=True, labeltop=False, labelsize=9)
    axes.set_xticks(ticks[:-1] + 0.5, minor=True)
    axes.set_yticks(ticks[:-1] + 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    return figure


_CELL: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6.5}


def reliability_figure(calibration: dict[str, Any], name: str) -> Figure:
    """How often letters are read right, by how sure the model is of them; from `ml.calibration.reliability`."""
    filled = [each for each in calibration["bins"] if each["count"]]
    off = 100 * overconfidence(calibration["bins"])
    side = "surer than right" if off >= 0 else "less sure than right"
    subtitle = f"{name}. Expected calibration error {100 * calibration['error']:.2f} points; {side} by {abs(off):.2f}"
    figure, (axes, below) = stacked(7.4, 8.0, (3.2, 1.0), "Is it as right as it is sure?", subtitle)
    axes.plot([0, 1], [0, 1], color=PALE, linewidth=1.2, linestyle="--", label="as right as sure")
    for number, each in enumerate(filled):
        _bin(axes, each, "_" if number else "read right, with its 95 % interval")  # "_": not in the legend again
    axes.set(ylabel="read right", xlim=(0, 1.005), ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=9.5, loc="upper left")
    edges = [each["low"] for each in calibration["bins"]]
    width = calibration["bins"][0]["high"] - edges[0]
    counts = [each["count"] for each in calibration["bins"]]
    below.bar(edges, counts, width=width, align="edge", color=COLOURS[0], edgecolor="white")
    for edge, count in zip(edges, counts, strict=True):
        if count:
            below.annotate(f"{count:,}", (edge + width / 2, count), **_COUNT)
    below.set(xlabel="how sure: the probability of the likeliest class", ylabel="letters", ylim=(0, 1.25 * max(counts)))
    for part in (axes, below):
        part.grid(color=GRID, linewidth=0.8)
        part.set_axisbelow(True)
        part.spines[["top", "right"]].set_visible(False)
    return figure


_COUNT: dict[str, Any] = {
    "ha": "center",
    "va": "bottom",
    "xytext": (0, 1),
    "textcoords": "offset points",
    "fontsize": 6.5,
    "color": PALE,
}


def _bin(axes: Axes, each: dict[str, Any], label: str) -> None:
    """A bar as high as the share read right, and at the mean confidence a point with its 95 % interval."""
    axes.bar(
        each["low"], each["accuracy"], each["high"] - each["low"], align="edge", color="#cfe3f1", edgecolor="white"
    )
    low, high = wilson(round(each["accuracy"] * each["count"]), each["count"])
    reach = [[max(0.0, each["accuracy"] - low)], [max(0.0, high - each["accuracy"])]]
    axes.errorbar(each["confidence"], each["accuracy"], reach, fmt="o", label=label, **_POINT)


_POINT: dict[str, Any] = {"color": COLOURS[0], "markersize": 4, "linewidth": 1.2, "capsize": 2.5}


def training_figure(history: list[dict[str, float]]) -> Figure:
    """Accuracy and loss by epoch; of rows as `ml.train` and `ml.finetune` write them, which know different names."""
    title, subtitle = "Training", "training: changed images and dropout; validation: held out images as they are"
    figure, (above, below) = stacked(7.4, 6.6, (1.0, 1.0), title, subtitle)
    epochs = np.array([row.get("epoch", number) for number, row in enumerate(history)])
    epochs = epochs + 1 if epochs[0] == 0 else epochs  # Keras counts from 0
    for axes, name, scale in ((above, "accuracy", 100), (below, "loss", 1)):
        for column, look in ((name, _TRAINING), (f"val_{name}", _VALIDATION)):
            if all(column in row for row in history):
                axes.plot(epochs, [scale * row[column] for row in history], **look)
        _zoom(axes)
        axes.grid(color=GRID, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    above.set(ylabel="read right, %")
    below.set(ylabel="loss", xlabel="epoch")
    above.legend(frameon=False, fontsize=9.5, loc="lower right")
    return figure


_TRAINING: dict[str, Any] = {"color": COLOURS[5], "linewidth": 2, "linestyle": "--", "label": "training"}
_VALIDATION: dict[str, Any] = {
    "color": COLOURS[0],
    "linewidth": 2,
    "marker": "o",
    "markersize": 3.5,
    "label": "validation",
}


def _zoom(axes: Axes) -> None:
    """Show what is reached after a quarter of the training: the first epochs would press all else into a line."""
    drawn = [np.asarray(line.get_ydata()) for line in axes.lines]
    late = [value for values in drawn for value in values[len(values) // 4 :]]
    if not late:
        return
    low, high = min(late), max(late)
    room = 0.12 * (high - low) or 0.01 * abs(high) or 0.01
    axes.set_ylim(low - room, high + room)


def examples_figure(
    images: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.integer[Any]],
    name: str,
    seed: int = 0,
) -> Figure:
    """196 letters by chance, in their order: green what was read right; red, bold and framed what was not."""
    count = min(EXAMPLES, len(images))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(images))[:count])
    read = probabilities[chosen].argmax(axis=1)
    right = int((read == labels[chosen]).sum())
    captions = [_example(CLASSES[label], CLASSES[found]) for label, found in zip(labels[chosen], read, strict=True)]
    subtitle = (
        f"{name}: {count} letters by chance, {right} read right, in green; framed: the label, and as what it is read"
    )
    return letter_sheet(images[chosen], captions, columns=COLUMNS, title="What it reads", subtitle=subtitle)


def _example(label: str, read: str) -> Caption:
    if label == read:
        return Caption(label, GREEN)
    return Caption(f"{label} as {read}", RED, marked=True)
