"""The figures of drift as places in SVG: plain numbers in and out. Templates draw them, style sheets colour them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, sqrt
from typing import Any

from letters.drift import Day, Drift, Tally
from letters.metrics import BINS
from ml.labels import CLASSES
from ml.proportions import quantile, wilson

PLOT = {"left": 44, "top": 16, "width": 660, "height": 180}  # where days are drawn, on 720 x 240
BARS = {"left": 44, "top": 12, "width": 312, "height": 160}  # where the confidences are, on 380 x 224
FEW = 20  # letters of a day, too few for their share to say much


def corrected(drift: Drift) -> dict[str, Any]:
    """On 720 x 240: the share corrected of each day and version, with the interval that holds it."""
    dots = [
        _dot(at, number, tally, tally.corrected / tally.kept, wilson(tally.corrected, tally.kept))
        for at, number, tally in _kept(drift.days)
    ]
    top = _ceiling([each["share"] for each in dots], least=0.1)
    return _plot(drift, dots, 0.0, top)


def confidence(drift: Drift) -> dict[str, Any]:
    """On 720 x 240: how sure it was on average, of each day and version."""
    dots = []
    for at, number, tally in _kept(drift.days):
        mean = tally.probability / tally.kept
        half = quantile() * tally.deviation / sqrt(tally.kept)
        dots.append(_dot(at, number, tally, mean, (max(0.0, mean - half), min(1.0, mean + half))))
    lowest = min((each["share"] for each in dots), default=0.5)
    return _plot(drift, dots, max(0.0, floor(lowest * 10 - 0.5) / 10), 1.0)


def _kept(days: Sequence[Day]) -> list[tuple[int, int, Tally]]:
    return [(at, number, tally) for at, day in enumerate(days) for number, tally in day.versions.items() if tally.kept]


def _dot(at: int, number: int, tally: Tally, share: float, interval: tuple[float, float]) -> dict[str, Any]:
    return {"at": at, "version": number, "count": tally.kept, "share": share, "low": interval[0], "high": interval[1]}


def _ceiling(values: Sequence[float], least: float) -> float:
    """A round share above all of them."""
    return min(1.0, max(least, ceil(max(values, default=0.0) * 10 + 0.3) / 10))


def _ticks(low: float, high: float) -> list[float]:
    """Round shares from the one to the other, six at most."""
    step = next(each for each in (0.02, 0.05, 0.1, 0.2) if (high - low) / each < 5.5)
    return [round(low + step * n, 2) for n in range(round((high - low) / step - 0.01) + 1)]


def _plot(drift: Drift, dots: Sequence[dict[str, Any]], floor_: float, top: float) -> dict[str, Any]:
    step = PLOT["width"] / max(1, len(drift.days))

    def y(share: float) -> float:
        within = min(top, max(floor_, share))
        return round(PLOT["top"] + PLOT["height"] * (top - within) / (top - floor_), 1)

    def x(at: int) -> float:
        return round(PLOT["left"] + step * (at + 0.5), 1)

    dates = [day.day for day in drift.days]
    every = max(1, len(dates) // 6)
    return {
        "dots": [
            each
            | {
                "x": x(each["at"]),
                "y": y(each["share"]),
                "low_y": y(each["low"]),
                "high_y": y(each["high"]),
                "day": dates[each["at"]],
                "kind": kind_of(drift, each["version"]),
                "few": each["count"] < FEW,
            }
            for each in dots
        ],
        "ticks": [{"share": share, "y": y(share)} for share in _ticks(floor_, top)],
        "days": [{"day": day, "x": x(at)} for at, day in enumerate(dates) if (len(dates) - 1 - at) % every == 0],
        "changes": [{"x": x(dates.index(day)), "version": number} for day, number in drift.changes if day in dates],
        "low": PLOT["left"],
        "high": PLOT["left"] + PLOT["width"],
        "floor": PLOT["top"] + PLOT["height"],
        "ceiling": PLOT["top"],
    }


def kind_of(drift: Drift, version: int) -> str:
    """How a version is coloured."""
    return "serving" if version == drift.serving else "before" if version == drift.before else "other"


def confidences(first: Tally, second: Tally, *, kept: bool) -> dict[str, Any]:
    """On 380 x 224: in which tenth it was how sure of how many, as shares of each side; of kept letters, or of all."""
    sides = [(each.confidence if kept else each.read_confidence) for each in (first, second)]
    totals = [max(1, each.total()) for each in sides]
    shares = [[side[number] / total for number in range(BINS)] for side, total in zip(sides, totals, strict=True)]
    top = _ceiling([share for side in shares for share in side], least=0.2)
    step = BARS["width"] / BINS
    floor_ = BARS["top"] + BARS["height"]

    def bar(number: int, side: int) -> dict[str, Any]:
        share = shares[side][number]
        height = round(BARS["height"] * share / top, 1)
        return {
            "x": round(BARS["left"] + step * number + 2 + side * (step / 2 - 2), 1),
            "y": round(floor_ - height, 1),
            "width": round(step / 2 - 3, 1),
            "height": height,
            "share": share,
            "count": sides[side][number],
            "from": number / BINS,
            "to": (number + 1) / BINS,
        }

    return {
        "sides": [[bar(number, side) for number in range(BINS)] for side in (0, 1)],
        "counts": [each.total() for each in sides],
        "ticks": [{"share": share, "y": round(floor_ - BARS["height"] * share / top, 1)} for share in _ticks(0, top)],
        "marks": [{"share": tenth / 10, "x": round(BARS["left"] + step * tenth, 1)} for tenth in range(0, 11, 2)],
        "low": BARS["left"],
        "high": BARS["left"] + BARS["width"],
        "floor": floor_,
    }


def mix(first: Tally, second: Tally) -> list[dict[str, Any]]:
    """Of each class: its share of what was kept on both sides, and of what was read on the first, with its bars."""
    kept = [_shares(each.labels) for each in (first, second)]
    read = _shares(first.read_as or first.predicted)
    most = max((share for side in (*kept, read) for share in side.values()), default=0.0) or 1.0
    return [
        {
            "label": label,
            "first": kept[0].get(label, 0.0),
            "second": kept[1].get(label, 0.0),
            "read": read.get(label, 0.0),
            "change": kept[0].get(label, 0.0) - kept[1].get(label, 0.0),
            "bars": [round(100 * side.get(label, 0.0) / most, 1) for side in kept],
        }
        for label in CLASSES
    ]


def _shares(counts: Any) -> dict[str, float]:
    total = counts.total() or 1
    return {label: count / total for label, count in counts.items()}
