"""The letter that every measurement sends: an A in three strokes of 200 points, drawn in two seconds on a phone."""

from __future__ import annotations

import json

CANVAS = 328  # CSS pixels: the sheet on a phone of 360 x 740
_CORNERS = [[(60.0, 270.0), (164.0, 60.0)], [(164.0, 60.0), (268.0, 270.0)], [(104.0, 190.0), (226.0, 188.0)]]
_POINTS = (70, 70, 60)
_STEP = 8.0  # ms between two points, as a touch screen of 120 Hz gives them
_PAUSE = 200.0


def strokes() -> list[list[list[float]]]:
    """[x, y, milliseconds] of each point; a hand's tremor keeps the numbers as long as a real pen's."""
    drawn, clock = [], 0.0
    for (start, end), count in zip(_CORNERS, _POINTS, strict=True):
        stroke = []
        for step in range(count):
            share, tremor = step / (count - 1), ((step * 37) % 19 - 9) / 20
            x = start[0] + (end[0] - start[0]) * share + tremor
            y = start[1] + (end[1] - start[1]) * share - tremor
            stroke.append([round(x, 2), round(y, 2), round(clock)])
            clock += _STEP
        drawn.append(stroke)
        clock += _PAUSE
    return drawn


def body() -> bytes:
    """What the page would send for it."""
    value = {"strokes": strokes(), "canvas": {"width": CANVAS, "height": CANVAS}}
    return json.dumps(value, separators=(",", ":")).encode()
