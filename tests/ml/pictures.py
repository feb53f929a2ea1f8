"""Pictures of strokes as a person's drawing program would save them."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageDraw

from tests.ml.glyphs import Stroke

OVERSAMPLING = 4


def drawn(strokes: list[Stroke], width: float, ratio: float = 1.0, ink: int = 0, paper: int = 255) -> Image.Image:
    """Mode L: the strokes, drawn with a round pen on paper with a margin, on a screen of this pixel ratio."""
    margin = 8 + width / 2
    left = min(point[0] for stroke in strokes for point in stroke) - margin
    top = min(point[1] for stroke in strokes for point in stroke) - margin
    right = max(point[0] for stroke in strokes for point in stroke) + margin
    bottom = max(point[1] for stroke in strokes for point in stroke) + margin
    size = round((right - left) * ratio), round((bottom - top) * ratio)
    scale = ratio * OVERSAMPLING
    picture = Image.new("L", (size[0] * OVERSAMPLING, size[1] * OVERSAMPLING), paper)
    draw = ImageDraw.Draw(picture)
    radius = width * scale / 2
    for stroke in strokes:
        points = [((x - left) * scale, (y - top) * scale) for x, y in stroke]
        draw.line(points, fill=ink, width=max(1, round(2 * radius)))
        for x, y in points:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
    return picture.resize(size, Image.Resampling.BOX)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
