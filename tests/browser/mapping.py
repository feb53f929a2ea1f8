"""Maps made up for the page: letters in clouds, as the API would send them. What is where is known to the number."""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import BrowserContext, Page, Route

from ml.labels import CLASSES

COLUMNS, ROWS, TILE = 32, 32, 28
SHEET = COLUMNS * ROWS
COLLECTED, SUSPECTED = 1, 2
QUALITY = {"trustworthiness": 0.973, "knn_plane": 0.912, "knn_space": 0.951, "moved_mean": 0.012, "moved_largest": 0.21}
FIGURE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle cx="4" cy="4" r="3" fill="#ccd3f8"/></svg>'


@dataclass(frozen=True)
class MadeUp:
    """A map of `emnist` and `collected` letters, each class in a cloud of its own on a ring of clouds."""

    emnist: int = 1_200
    collected: int = 24
    seed: int = 0
    method: str = "umap"
    space: str = "features"
    has_images: bool = True
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The same for the same map."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.method}/{self.space}/{self.emnist}/{self.seed}"))

    @property
    def columns(self) -> dict[str, Any]:
        """Places (N, 2) in -1..1 as int16, and labels, readings, probabilities, flags (N,) as uint8."""
        count = self.emnist + self.collected
        chance = np.random.default_rng(self.seed)
        labels = np.arange(count) % len(CLASSES)
        angle = 2 * np.pi * labels / len(CLASSES)
        radius = np.where(labels % 2, 0.82, 0.5)
        middle = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        places = np.clip(middle + chance.normal(0, 0.035, (count, 2)), -1, 1)
        wrong = chance.random(count) < 0.06
        predicted = np.where(wrong, (labels + 2) % len(CLASSES), labels)
        flags = np.where(np.arange(count) >= self.emnist, COLLECTED, 0) | np.where(
            wrong & (chance.random(count) < 0.3), SUSPECTED, 0
        )
        return {
            "places": np.round(places * 32767).astype("<i2"),
            "labels": labels.astype(np.uint8),
            "predicted": predicted.astype(np.uint8),
            "probability": np.where(wrong, 120, chance.integers(170, 256, count)).astype(np.uint8),
            "flags": flags.astype(np.uint8),
        }

    @property
    def ids(self) -> list[uuid.UUID]:
        """Of the drawings that were collected."""
        return [uuid.uuid5(uuid.NAMESPACE_URL, str(number)) for number in range(self.collected)]

    def bytes_of(self, part: slice, ids: bytes = b"") -> bytes:
        """One part of the points as the API sends them."""
        return b"".join(column[part].tobytes() for column in self.columns.values()) + ids

    @property
    def summary(self) -> dict[str, Any]:
        """What the list of maps says of this one."""
        base = f"/api/v1/maps/{self.id}"
        made = "2026-11-24T12:00:00Z"
        figures = self.method in ("pca", "svd")
        sheets = -(-self.emnist // SHEET) if self.has_images else 0
        return {
            "id": self.id,
            "method": self.method,
            "space": self.space,
            "model": {"number": 1, "digest": "0" * 12},
            "models": ["0" * 12] if self.space == "features" else [],
            "created_at": made,
            "published_at": made,
            "counts": {"emnist": self.emnist, "collected": self.collected, "classes": {}},
            "quality": {
                "trustworthiness": 0.973,
                "knn_plane": 0.912,
                "knn_space": 0.951,
                "moved_mean": 0.012,
                "moved_largest": 0.21,
            },
            "explained": [0.1, 0.2] if figures else None,
            "has_images": self.has_images,
            "sheets": {"count": sheets, "columns": COLUMNS, "rows": ROWS, "tile": TILE},
            "urls": {
                "emnist": base + "/emnist",
                "collected": base + "/collected",
                "svg": base + "/figure.svg",
                "png": base + "/figure.png",
                "explained_svg": base + "/explained.svg" if figures else None,
                "components_svg": base + "/components.svg" if figures else None,
            },
        } | self.more


def serve(page: Page | BrowserContext, *maps: MadeUp) -> None:
    """Let the page be told of these maps, whatever the site has."""
    page.route(
        "**/api/v1/maps", lambda route: route.fulfill(json={"maps": [each.summary for each in maps], "making": []})
    )
    for each in maps:
        _serve_files(page, each)


def _serve_files(page: Page | BrowserContext, made: MadeUp) -> None:
    emnist, collected = slice(0, made.emnist), slice(made.emnist, None)
    ids = b"".join(each.bytes for each in made.ids)

    def send(name: str, body: bytes, kind: str) -> None:
        page.route(f"**/api/v1/maps/{made.id}/{name}", lambda route: route.fulfill(body=body, content_type=kind))

    send("emnist", made.bytes_of(emnist), "application/octet-stream")
    send("collected", made.bytes_of(collected, ids), "application/octet-stream")
    send("*.svg", FIGURE.encode(), "image/svg+xml")
    page.route(f"**/api/v1/maps/{made.id}/sheets/*", lambda route: _send_sheet(route, made))
    page.route("**/samples/*.png", lambda route: route.fulfill(body=letter_png(0), content_type="image/png"))


def _send_sheet(route: Route, made: MadeUp) -> None:
    number = int(route.request.url.rsplit("/", 1)[1])
    sheet = np.zeros((ROWS * TILE, COLUMNS * TILE), np.uint8)
    for tile in range(min(SHEET, made.emnist - number * SHEET)):
        row, column = divmod(tile, COLUMNS)
        sheet[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE] = _letter(tile)
    route.fulfill(body=_png(sheet), content_type="image/png")


def letter_png(number: int) -> bytes:
    """A picture of 28 x 28 for a number under 1,024."""
    return _png(_letter(number))


def _letter(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture that no other number within a sheet has: its ten bits, as bars."""
    picture = np.zeros((TILE, TILE), np.uint8)
    for bit in range(10):
        if number >> bit & 1:
            picture[4:24, 4 + 2 * bit : 6 + 2 * bit] = 255
    picture[13:15, 4:24] = 255
    return picture


def _png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
