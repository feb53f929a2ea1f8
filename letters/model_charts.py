"""The figures of a model as places in SVG: plain numbers in and out. Templates draw them, style sheets colour them.

A share is 0 to 1. Each chart says in its docstring how large its canvas is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10, sqrt
from typing import Any

from ml.labels import CLASSES

Matrix = Sequence[Sequence[int]]

PLOT = {"left": 44, "top": 12, "width": 400, "height": 220}  # where lines are drawn on 460 x 270
SQUARE = {"left": 44, "top": 12, "side": 300}  # where the reliability diagram is drawn, on 372 x 356
FEW = 20  # letters of a bin, too few for its share to say much
CURVES = (
    ("Loss", (("loss", "in training"), ("val_loss", "on letters held out"))),
    ("Share read right", (("accuracy", "in training"), ("val_accuracy", "on letters held out"))),
)


# --- Shares with their intervals ------------------------------------------------------------------------------------


def interval_scale(intervals: Sequence[Sequence[float]]) -> float:
    """Where a scale of shares begins that ends at 1 and holds all intervals: a round share below the lowest."""
    lowest = min((low for low, _ in intervals), default=0.91)
    return floor(lowest * 20 - 0.2) / 20


def interval_bar(share: float, interval: Sequence[float] | None, begin: float) -> dict[str, float]:
    """Percentages of the scale's width: the share, and where its interval begins and how wide it is."""

    def at(value: float) -> float:
        return round(100 * max(0.0, value - begin) / (1 - begin), 2)

    low, high = interval or (share, share)
    return {"at": at(share), "low": at(low), "width": round(at(high) - at(low), 2)}


def dots_scale(rows: Sequence[dict[str, Any]]) -> float:
    """Where a scale begins that ends at 1 and holds the precision and recall of all classes, a whole tenth."""
    shares = [row[name] for row in rows for name in ("precision", "recall") if row[name] is not None]
    return min(0.9, max(0.0, floor(min(shares, default=0.5) * 10) / 10))


def dot(share: float | None, begin: float) -> float | None:
    """Percent of the scale's width, with room for the dot at both ends."""
    return None if share is None else round(3 + 94 * max(0.0, share - begin) / (1 - begin), 2)


# --- The confusion matrix -------------------------------------------------------------------------------------------


def confusion(matrix: Matrix) -> dict[str, Any]:
    """Cells 1 x 1 on 37 x 37: of each row what was read at all, how often, and how strongly it is inked, 0 to 1.

    Mistakes are inked by the square root of their share of the row: one in a hundred can be seen beside one in three.
    """
    rows = [_row(index, counts) for index, counts in enumerate(matrix)]
    return {"rows": rows, "size": len(matrix), "classes": list(enumerate(CLASSES))}


def _row(index: int, counts: Sequence[int]) -> dict[str, Any]:
    total = sum(counts)
    cells = [
        {
            "x": column,
            "read_as": CLASSES[column],
            "count": count,
            "right": column == index,
            "ink": ink(count, total, right=column == index),
        }
        for column, count in enumerate(counts)
        if count
    ]
    return {"y": index, "label": CLASSES[index], "total": total, "cells": cells}


def ink(count: int, total: int, *, right: bool) -> float:
    """How strongly a cell is inked."""
    share = count / total
    return round(0.08 + 0.5 * share, 3) if right else round(min(1.0, 0.1 + 1.5 * sqrt(share)), 3)


def confused(matrix: Matrix) -> list[dict[str, Any]]:
    """What is read as what, the most frequent first: label, read as, count, of how many, and the share."""
    found: list[dict[str, Any]] = [
        {"label": CLASSES[row], "read_as": CLASSES[column], "count": count, "of": sum(counts)}
        for row, counts in enumerate(matrix)
        for column, count in enumerate(counts)
        if count and row != column
    ]
    for each in found:
        each["share"] = each["count"] / each["of"]
    return sorted(found, key=lambda each: (-each["count"], -each["share"]))


# --- How sure, and how right ----------------------------------------------------------------------------------------


def reliability(bins: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """On 372 x 356: a dot for each bin that has letters, its area by how many, and how far it is from the diagonal."""
    filled = [each for each in bins if each["count"]]
    most: int = max((each["count"] for each in filled), default=1)
    dots = [
        each
        | {
            "x": _x(each["confidence"]),
            "y": _y(each["accuracy"]),
            "sure_y": _y(each["confidence"]),
            "few": each["count"] < FEW,
            "r": round(3 + 9 * sqrt(each["count"] / most), 2),
        }
        for each in filled
    ]
    ticks = [{"share": tenth / 10, "x": _x(tenth / 10), "y": _y(tenth / 10)} for tenth in range(0, 11, 2)]
    return {"dots": dots, "ticks": ticks, "low": _x(0), "high": _x(1), "floor": _y(0), "ceiling": _y(1)}


def _x(share: float) -> float:
    return round(SQUARE["left"] + SQUARE["side"] * share, 2)


def _y(share: float) -> float:
    return round(SQUARE["top"] + SQUARE["side"] * (1 - share), 2)


# --- Training -------------------------------------------------------------------------------------------------------


def curves(history: Sequence[dict[str, float]]) -> list[dict[str, Any]]:
    """On 460 x 270 each: lines over the epochs of what was noted while it trained; none for fewer than two epochs."""
    drawn = [_plot(title, names, history) for title, names in CURVES]
    return [plot for plot in drawn if plot["lines"]]


def _plot(title: str, names: Sequence[tuple[str, str]], history: Sequence[dict[str, float]]) -> dict[str, Any]:
    noted = [(name, words, _points(history, name)) for name, words in names]
    noted = [each for each in noted if len(each[2]) > 1]
    values = [value for _, _, points in noted for _, value in points]
    last = max((epoch for _, _, points in noted for epoch, _ in points), default=1)
    ticks = _ticks(0, max(values, default=1))
    top = max(ticks[-1], max(values, default=1))

    def at(epoch: float, value: float) -> tuple[float, float]:
        x = PLOT["left"] + PLOT["width"] * (epoch - 1) / max(last - 1, 1e-9)
        return round(x, 1), round(PLOT["top"] + PLOT["height"] * (1 - value / top), 1)

    return {
        "title": title,
        "epochs": round(last),
        "lines": [_line(name, words, points, at) for name, words, points in noted],
        "ticks": [{"value": f"{value:g}", "y": at(1, value)[1]} for value in ticks],
        "low": PLOT["left"],
        "high": PLOT["left"] + PLOT["width"],
        "floor": PLOT["top"] + PLOT["height"],
        "foot": PLOT["top"] + PLOT["height"] + 20,
        "middle": PLOT["left"] + PLOT["width"] // 2,
    }


def _points(history: Sequence[dict[str, float]], name: str) -> list[tuple[float, float]]:
    """Epoch, counted from 1, and value."""
    return [(float(row.get("epoch", at)) + 1, float(row[name])) for at, row in enumerate(history) if name in row]


def _line(name: str, words: str, points: Sequence[tuple[float, float]], at: Any) -> dict[str, Any]:
    return {
        "kind": "held-out" if name.startswith("val_") else "training",
        "words": words,
        "points": " ".join("{},{}".format(*at(*point)) for point in points),
        "last": points[-1][1],
    }


def _ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers from the one to the other."""
    span = max(high - low, 1e-9)
    rough = span / wanted
    power = 10.0 ** floor(log10(rough))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= rough * 0.999)
    return [round(low + step * n, 10) for n in range(ceil(span / step * 0.999) + 1) if low + step * n <= high * 1.05]


# --- What a version learned from here -------------------------------------------------------------------------------


def bars(counts: dict[str, int]) -> list[dict[str, Any]]:
    """Of all 37 classes, also those with none: how many, and the height in percent of the highest."""
    most = max(counts.values(), default=0) or 1
    return [
        {"label": label, "count": counts.get(label, 0), "height": round(100 * counts.get(label, 0) / most, 1)}
        for label in CLASSES
    ]


def change_bar(change: float, most: float) -> dict[str, Any]:
    """A bar to the right of the middle for a gain, to the left for a loss: percentages of the whole width."""
    width = round(48 * abs(change) / most, 2)
    return {"x": 50.0 if change >= 0 else round(50 - width, 2), "width": width, "gain": change >= 0}
