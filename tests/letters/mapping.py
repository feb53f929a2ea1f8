"""What a program that shows maps does with the API's bytes."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.letters.visitor import Visitor


@dataclass(frozen=True)
class Points:
    """The columns of a map: places (N, 2) in -1..1, the rest (N,); `ids` of collected drawings."""

    places: Any
    labels: Any
    predicted: Any
    probability: Any
    flags: Any
    ids: list[str]

    def __len__(self) -> int:
        return len(self.labels)


def decode(content: bytes, *, with_ids: bool = False) -> Points:
    """Columns of bytes, as docs and page have them."""
    count, rest = divmod(len(content), 24 if with_ids else 8)
    assert rest == 0
    columns = np.frombuffer(content, np.uint8, 4 * count, 4 * count).reshape(4, count)
    ids = [str(uuid.UUID(bytes=content[at : at + 16])) for at in range(8 * count, len(content), 16)]
    places = np.frombuffer(content, "<i2", 2 * count).reshape(count, 2) / 32_767
    return Points(places, columns[0], columns[1], columns[2], columns[3], ids)


def maps_of(visitor: Visitor) -> dict[tuple[str, str], dict[str, Any]]:
    """The summaries of all maps, by method and space."""
    answer = visitor.get("/api/v1/maps")
    assert answer.status_code == 200, answer.text
    return {(each["method"], each["space"]): each for each in answer.json()["maps"]}


def points_of(visitor: Visitor, summary: dict[str, Any], part: str = "emnist") -> Points:
    """The EMNIST letters of a map, or the collected ones."""
    answer = visitor.get(summary["urls"][part])
    assert answer.status_code == 200, answer.text
    return decode(answer.content, with_ids=part == "collected")
