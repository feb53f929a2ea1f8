"""Two models on the same images: whether one is better, or chance could have made the difference.

Plain Python, so that a process which never loads SciPy can ask; `ml.gate` gives the same p.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Paired:
    """How many images both read right, neither did, and one alone; `p` of the exact two-sided McNemar test."""

    both: int
    neither: int
    first_alone: int
    second_alone: int
    p: float

    @property
    def count(self) -> int:
        """All images."""
        return self.both + self.neither + self.first_alone + self.second_alone


def compare(first: npt.NDArray[np.integer[Any]], second: npt.NDArray[np.integer[Any]], labels: Any) -> Paired:
    """From what two models read, (N,) classes each, and the labels (N,). Raises ValueError where they differ in N."""
    if not len(first) == len(second) == len(labels):
        raise ValueError(f"{len(first)}, {len(second)} and {len(labels)} are not answers to the same images")
    a, b = first == labels, second == labels
    first_alone, second_alone = _count(a & ~b), _count(b & ~a)
    p = two_sided(first_alone, second_alone)
    return Paired(_count(a & b), _count(~a & ~b), first_alone, second_alone, p)


def two_sided(first_alone: int, second_alone: int) -> float:
    """How often chance alone would make so large a difference either way, 0 to 1, were both equally good.

    Of the images that one model alone reads right, each is as likely either's. McNemar, Psychometrika 12, 1947; exact
    by the binomial distribution.
    """
    discordant = first_alone + second_alone
    tail = sum(comb(discordant, more) for more in range(max(first_alone, second_alone), discordant + 1))
    return min(1.0, 2 * tail / (1 << discordant))


def _count(which: Bools) -> int:
    return int(which.sum())
