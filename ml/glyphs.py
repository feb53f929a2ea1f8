"""Letters of our own as strokes: plain lines and arcs in a square of 100 by 100, y down. They are no person's hand."""

from __future__ import annotations

import math

Stroke = list[list[float]]


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> Stroke:
    """Points of an ellipse from `start` to `end` degrees, 0 at the right, clockwise on the screen."""
    angles = [math.radians(start + (end - start) * step / 24) for step in range(25)]
    return [[x + rx * math.cos(angle), y + ry * math.sin(angle)] for angle in angles]


def line(*points: tuple[float, float]) -> Stroke:
    """A stroke through points (x, y)."""
    return [[float(x), float(y)] for x, y in points]


GLYPHS: dict[str, list[Stroke]] = {
    "A": [line((10, 100), (45, 0), (80, 100)), line((23, 62), (67, 62))],
    "C": [arc(50, 50, 42, 50, -50, -310)],
    "E": [line((70, 0), (10, 0), (10, 100), (70, 100)), line((10, 50), (60, 50))],
    "L": [line((10, 0), (10, 100), (65, 100))],
    "M": [line((5, 100), (15, 0), (45, 70), (75, 0), (85, 100))],
    "O": [arc(50, 50, 40, 50, -90, 270)],
    "P": [line((10, 100), (10, 0)), [*line((10, 2)), *arc(38, 27, 30, 25, -90, 90), *line((10, 52))]],
    "S": [[*arc(45, 25, 32, 25, -40, -270), *arc(45, 75, 32, 25, -90, 140)]],
    "T": [line((0, 0), (80, 0)), line((40, 0), (40, 100))],
    "V": [line((5, 0), (42, 100), (80, 0))],
    "W": [line((0, 0), (22, 100), (45, 25), (68, 100), (90, 0))],
    "X": [line((5, 0), (75, 100)), line((75, 0), (5, 100))],
    "Z": [line((5, 0), (80, 0), (5, 100), (80, 100))],
    "e": [[*line((10, 52), (88, 52)), *arc(50, 50, 40, 45, 0, -310)]],
    "g": [arc(45, 30, 28, 28, 0, -360), [*line((73, 5), (73, 75)), *arc(45, 75, 28, 25, 0, 150)]],
    "h": [line((10, 0), (10, 100)), [*arc(40, 70, 28, 25, 180, 360), *line((68, 100))]],
    "t": [line((40, 0), (40, 90), (60, 100)), line((10, 32), (70, 32))],
}
