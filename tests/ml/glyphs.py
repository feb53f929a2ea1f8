"""Letters of our own for the tests, moved and scaled; they are made in ml.glyphs."""

from __future__ import annotations

from ml.glyphs import GLYPHS, Stroke, arc, line

__all__ = ["GLYPHS", "Stroke", "arc", "fitted", "line", "moved", "scaled"]


def moved(strokes: list[Stroke], dx: float, dy: float) -> list[Stroke]:
    return [[[x + dx, y + dy] for x, y in stroke] for stroke in strokes]


def scaled(strokes: list[Stroke], factor: float) -> list[Stroke]:
    return [[[x * factor, y * factor] for x, y in stroke] for stroke in strokes]


def fitted(strokes: list[list[list[float]]], side: float) -> list[Stroke]:
    """The strokes in a box from 0 to `side`, whatever they were measured in; only x and y of each point."""
    xs = [point[0] for stroke in strokes for point in stroke]
    ys = [point[1] for stroke in strokes for point in stroke]
    factor = side / max(max(xs) - min(xs), max(ys) - min(ys))
    return [[[(x - min(xs)) * factor, (y - min(ys)) * factor] for x, y, *_ in stroke] for stroke in strokes]
