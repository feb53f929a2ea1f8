"""Drawings that are no letters: what a model is to say of which that it does not know it.

    python -m ml.scribbles --seed 0 > FILE      as JSON lines of {"kind", "strokes"}

Each kind is a function of a random generator that returns strokes in a square of about 100 by 100, y down; the image is
made by ml.preprocess, as it is of a visitor's drawing. Left out is what is a letter after all, or might be one: a ring
(O), a bar (I), up to five joined lines (V, N, W, M), a spiral of less than two turns (e, G), a cross (X, t), two bows
(S), two letters that make a third (VV is W). A random way may still come to look like one; none was taken out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ml.glyphs import GLYPHS
from ml.preprocess import image_from_strokes

Strokes = list[list[list[float]]]
Points = npt.NDArray[np.float64]
Random = np.random.Generator

BESIDE = "AEMSWXZegh"  # letters that make no third one when they stand beside each other
UPON = ("AS", "Ae", "Ag", "WS", "We", "Wg", "WX", "Xe", "Xg", "EX", "Eg", "EW", "MX", "Mg", "Me")  # nor these, crossed


def walk(random: Random) -> Strokes:
    """A jagged way that turns at random."""
    return _strokes(np.cumsum(random.normal(0, 12, (random.integers(30, 70), 2)), axis=0))


def scribble(random: Random) -> Strokes:
    """One long line with soft turns, as of somebody who tries out a pen."""
    count = int(random.integers(12, 22))
    return _strokes(_smooth(random.uniform(0, 100, (count, 2)), 12))


def zigzag(random: Random) -> Strokes:
    """Six to eleven lines up and down."""
    count = int(random.integers(7, 13))
    x = np.linspace(0, random.uniform(80, 200), count)
    y = np.where(np.arange(count) % 2, 0.0, 100.0) + random.normal(0, 8, count)
    return _turned([np.column_stack([x + random.normal(0, 3, count), y])], random, 0.6)


def wave(random: Random) -> Strokes:
    """Three to six periods of a wave."""
    x = np.linspace(0, 1, 80)
    y = random.uniform(20, 40) * np.sin(2 * np.pi * random.uniform(3, 5.5) * x + random.uniform(0, 6))
    return _turned([np.column_stack([x * 120, y])], random, 0.8)


def loops(random: Random) -> Strokes:
    """A row of three to five loops."""
    t = np.linspace(0, 2 * np.pi * random.uniform(3, 5), 120)
    x, y = 5 * t + 16 * np.cos(t), random.uniform(25, 50) * np.sin(t)
    return _turned([np.column_stack([x, y])], random, 0.5)


def spiral(random: Random) -> Strokes:
    """Two and a half to five turns."""
    t = np.linspace(0, 2 * np.pi * random.uniform(2.5, 5), 140)
    radius = 4 + 46 * t / t[-1]
    shape = np.column_stack([radius * np.cos(t), random.uniform(0.7, 1.2) * radius * np.sin(t)])
    return _turned([shape * (random.choice([-1, 1]), 1)], random, np.pi)


def tangle(random: Random) -> Strokes:
    """Ellipses drawn over each other, again and again."""
    t = np.linspace(0, 2 * np.pi * random.uniform(4, 8), 160)
    wobble = np.cumsum(random.normal(0, 2.5, (160, 2)), axis=0)
    return _strokes(np.column_stack([45 * np.cos(t), 35 * np.sin(t * random.uniform(0.8, 1.2))]) + wobble)


def beside(random: Random) -> Strokes:
    """Two letters side by side."""
    return _row(random, 2)


def word(random: Random) -> Strokes:
    """Three letters side by side."""
    return _row(random, 3)


def overlap(random: Random) -> Strokes:
    """Two letters, one upon the other."""
    pair = UPON[random.integers(len(UPON))]
    return [*_letter(pair[0], random, 0.0), *_letter(pair[1], random, random.uniform(-20, 20))]


def dots(random: Random) -> Strokes:
    """Some ten to forty dots, strewn."""
    return [[place] for place in random.uniform(0, 100, (random.integers(10, 40), 2)).tolist()]


def ring_of_noise(random: Random) -> Strokes:
    """A circle with short dashes strewn in it."""
    count = int(random.integers(15, 40))
    angle, radius = random.uniform(0, 2 * np.pi, count), 40 * np.sqrt(random.uniform(0, 1, count))
    middles = np.column_stack([50 + radius * np.cos(angle), 50 + radius * np.sin(angle)])
    dashes = [middle + random.normal(0, 4, (2, 2)) for middle in middles]
    return [_circle(50, 50, 48), *(dash.tolist() for dash in dashes)]


def hatching(random: Random) -> Strokes:
    """Six to twelve lines side by side."""
    return _turned(_hatch(random, int(random.integers(6, 13))), random, np.pi)


def grid(random: Random) -> Strokes:
    """Lines across lines, as of noughts and crosses or a fence."""
    down, across = (_hatch(random, int(count)) for count in random.integers(3, 6, 2))
    return _turned([*down, *(line[:, ::-1] for line in across)], random, 0.3)


def house(random: Random) -> Strokes:
    """A square, a roof, perhaps a door."""
    wide = random.uniform(60, 100)
    walls = np.array([[0, 100], [0, 40], [wide, 40], [wide, 100], [0, 100.0]])
    roof = np.array([[-5, 40], [wide / 2, random.uniform(-10, 15)], [wide + 5, 40]])
    door = np.array([[0.35, 100], [0.35, 70], [0.6, 70], [0.6, 100]]) * (wide, 1)
    return _turned([walls, roof, door][: random.integers(2, 4)], random, 0.1)


def star(random: Random) -> Strokes:
    """Five points in one line."""
    angle = np.arange(6) * 4 * np.pi / 5 - np.pi / 2
    return _turned([50 * np.column_stack([np.cos(angle), np.sin(angle)])], random, 0.3)


def face(random: Random) -> Strokes:
    """A circle, two eyes, a mouth."""
    t = np.linspace(0.2, np.pi - 0.2, 12)
    mouth = np.column_stack([50 + 25 * np.cos(t), 60 + random.uniform(-14, 20) * np.sin(t)])
    eyes = [np.array([[x, 33.0], [x + 1, 40.0]]) for x in (33 + random.normal(0, 2), 67 + random.normal(0, 2))]
    return _turned([np.array(_circle(50, 50, 50)), *eyes, mouth], random, 0.2)


def heart(random: Random) -> Strokes:
    """With an arrow through it."""
    t = np.linspace(0, 2 * np.pi, 40)
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    arrow = np.array([[-24, random.uniform(4, 12)], [24, random.uniform(-12, -4)]])
    return _turned([np.column_stack([16 * np.sin(t) ** 3, y]), arrow], random, 0.2)


def flower(random: Random) -> Strokes:
    """Petals around a middle, and a stalk."""
    t = np.linspace(0, 2 * np.pi, 120)
    radius = 22 + 12 * np.cos(random.integers(5, 8) * t)
    petals = np.column_stack([radius * np.cos(t), radius * np.sin(t)])
    return _turned([petals, np.array(_circle(0, 0, 7)), np.array([[0, 30], [3, 60], [0, 95.0]])], random, 0.15)


Kind = Callable[[Random], Strokes]
CHOSEN_ON: dict[str, Kind] = {
    each.__name__: each for each in (scribble, zigzag, spiral, beside, dots, hatching, house, face, loops)
}
"""The kinds that a score is chosen by."""

JUDGED_ON: dict[str, Kind] = {
    each.__name__: each for each in (walk, wave, tangle, word, overlap, ring_of_noise, grid, star, heart, flower)
}
"""The kinds that it is judged by: none of those it was chosen by."""

KINDS = CHOSEN_ON | JUDGED_ON


def images(kind: str, count: int, seed: int) -> npt.NDArray[np.uint8]:
    """(N, 28, 28) uint8 of one kind, the same for the same seed. Raises KeyError for what is no kind."""
    return np.stack([image_from_strokes(each) for each in drawings(kind, count, seed)])


def drawings(kind: str, count: int, seed: int) -> list[Strokes]:
    """The same as strokes."""
    random = np.random.default_rng([seed, 12, sorted(KINDS).index(kind)])
    return [KINDS[kind](random) for _ in range(count)]


# --- Lines -----------------------------------------------------------------------------------------------------------


def _strokes(*lines: Points) -> Strokes:
    return [each.tolist() for each in lines]


def _turned(lines: Sequence[Points], random: Random, most: float) -> Strokes:
    """Turned by up to `most` radians, with a hand's tremble."""
    angle = random.uniform(-most, most)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return [(each @ turn + random.normal(0, 0.8, each.shape)).tolist() for each in lines]


def _smooth(corners: Points, steps: int) -> Points:
    """A curve near the corners: the uniform quadratic B-spline that they control."""
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    parts = [
        ((1 - t) ** 2 * a + (1 + 2 * t - 2 * t**2) * b + t**2 * c) / 2
        for a, b, c in zip(corners, corners[1:], corners[2:], strict=False)
    ]
    return np.concatenate(parts)


def _circle(x: float, y: float, radius: float) -> list[list[float]]:
    t = np.linspace(0, 2 * np.pi, 32)
    circle: list[list[float]] = np.column_stack([x + radius * np.cos(t), y + radius * np.sin(t)]).tolist()
    return circle


def _hatch(random: Random, count: int) -> list[Points]:
    """Upright lines side by side."""
    shift = random.normal(0, 4, (count, 2, 2))
    return [np.array([[x, 0], [x, 100]]) + jog for x, jog in zip(np.linspace(0, 100, count), shift, strict=True)]


def _row(random: Random, count: int) -> Strokes:
    letters = random.choice(list(BESIDE), count, replace=False)
    step = random.uniform(75, 110)
    return [stroke for at, each in enumerate(letters) for stroke in _letter(each, random, at * step)]


def _letter(name: str, random: Random, right: float) -> Strokes:
    """A letter moved to the right, with a hand's slant and tremble."""
    slant, drop = random.normal(0, 0.12), random.normal(0, 5)
    return [
        [
            [x - slant * y + right + float(random.normal(0, 1.5)), y + drop + float(random.normal(0, 1.5))]
            for x, y in stroke
        ]
        for stroke in GLYPHS[name]
    ]


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m ml.scribbles", description=__doc__.partition("\n")[0])
    parser.add_argument("--each", type=int, default=20, help="drawings of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args(arguments)
    for kind in KINDS:
        for strokes in drawings(kind, parsed.each, parsed.seed):
            rounded = [[[round(value, 1) for value in point] for point in stroke] for stroke in strokes]
            sys.stdout.write(json.dumps({"kind": kind, "strokes": rounded}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
