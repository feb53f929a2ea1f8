"""Letters in made styles: a slashed Z, an E like a Greek epsilon; an A without its bar, an E of three bars, an N as
beginners mirror it.

    python -m benchmarks.styles --each 50 --writers 5 --seed 0 > FILE

Strokes of a pen that trembles, in sizes, slants and proportions that vary from letter to letter and from hand to hand.
The file has the form that `python -m benchmarks.loop` takes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
POINTS = 16  # a stroke


def slashed_z() -> list[Points]:
    """Three lines in one stroke, and a slash across the middle one. In a box of 1 x 1, y down."""
    return [np.array([[0.05, 0], [0.95, 0], [0.05, 1], [0.95, 1]]), np.array([[0.2, 0.5], [0.8, 0.5]])]


def epsilon_e() -> list[Points]:
    """Two bows, open to the right, that meet in the middle."""
    upper = np.linspace(-0.15 * np.pi, -1.45 * np.pi, POINTS)
    lower = np.linspace(-0.55 * np.pi, -1.85 * np.pi, POINTS)
    bows = [
        np.column_stack([0.5 + 0.45 * np.cos(angle), middle + 0.25 * np.sin(angle)])
        for angle, middle in ((upper, 0.25), (lower, 0.75))
    ]
    return [np.concatenate(bows)]


def barless_a() -> list[Points]:
    """A Greek lambda."""
    return [np.array([[0.0, 1.0], [0.5, 0.0], [1.0, 1.0]])]


def barred_e() -> list[Points]:
    """Three lines, one above the other, and nothing that joins them."""
    return [np.array([[0.05, y], [0.95, y]]) for y in (0.0, 0.5, 1.0)]


def mirrored_n() -> list[Points]:
    """The Cyrillic letter for i."""
    return [np.array([[0.05, 0.0], [0.05, 1.0], [0.95, 0.0], [0.95, 1.0]])]


STYLES: dict[str, tuple[str, Callable[[], list[Points]]]] = {
    "slashed-z": ("Z", slashed_z),
    "epsilon-e": ("E", epsilon_e),
    "barless-a": ("A", barless_a),
    "barred-e": ("E", barred_e),
    "mirrored-n": ("N", mirrored_n),
}
"""By name: the letter that it is, and its strokes in a box of 1 x 1, y down."""


def draw(shape: list[Points], random: np.random.Generator, hand: dict[str, float]) -> list[list[list[float]]]:
    """One letter by a hand: strokes in pixels."""
    wide, high = hand["size"] * hand["width"] * random.uniform(0.9, 1.1), hand["size"] * random.uniform(0.9, 1.1)
    slant = hand["slant"] + random.normal(0, 0.05)
    strokes = []
    for corners in shape:
        points = _resampled(corners + random.normal(0, 0.02, corners.shape), POINTS if len(corners) < POINTS else 0)
        x = points[:, 0] * wide - slant * points[:, 1] * high
        y = points[:, 1] * high
        trembled = np.column_stack([x, y]) + random.normal(0, 0.006 * hand["size"], points.shape)
        strokes.append(trembled)
    origin = np.concatenate(strokes).min(axis=0) - 10
    return [np.round(stroke - origin, 1).tolist() for stroke in strokes]


def _resampled(corners: Points, count: int) -> Points:
    """`count` points at even distances along a line through the corners; the corners themselves where it is 0."""
    if not count:
        return corners
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    at = np.linspace(0, along[-1], count)
    return np.column_stack([np.interp(at, along, corners[:, axis]) for axis in (0, 1)])


def letters(each: int, writers: int, seed: int, styles: Iterable[str] = tuple(STYLES)) -> Iterator[dict[str, Any]]:
    """`each` letters of every style, by `writers` hands in turn: {"character", "writer", "strokes"}."""
    random = np.random.default_rng([seed, 11])
    hands = [
        {"size": random.uniform(80, 300), "width": random.uniform(0.6, 0.95), "slant": random.normal(0, 0.12)}
        for _ in range(writers)
    ]
    for number in range(each):
        for character, shape in (STYLES[style] for style in styles):
            hand = number % writers
            strokes = draw(shape(), random, hands[hand])
            yield {"character": character, "writer": f"{seed}-{hand}", "strokes": strokes}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.styles", description=__doc__.partition("\n")[0])
    parser.add_argument("--each", type=int, default=50, help="letters of each style")
    parser.add_argument("--writers", type=int, default=5, help="hands that drew them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--style", action="append", choices=STYLES, help="one of them; again for another; all if none")
    parsed = parser.parse_args()
    for letter in letters(parsed.each, parsed.writers, parsed.seed, parsed.style or tuple(STYLES)):
        sys.stdout.write(json.dumps(letter, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
