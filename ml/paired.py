"""Two models on the same images: whether one is better, or chance could have made the difference.

Plain Python, so that a process which never loads SciPy can ask.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.proportions import quantile

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

    @property
    def difference(self) -> float:
        """The accuracy of the first less that of the second, -1 to 1."""
        return (self.first_alone - self.second_alone) / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """95 % of the difference, adjusted Wald.

        Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired
        data", Journal of Educational and Behavioral Statistics 37, 2012.
        """
        total = self.count + 2
        first, second = (self.first_alone + 1) / total, (self.second_alone + 1) / total
        half = quantile() * sqrt((first + second - (first - second) ** 2) / total)
        return max(-1.0, first - second - half), min(1.0, first - second + half)


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
    return min(1.0, 2 * lost_by_chance(max(first_alone, second_alone), min(first_alone, second_alone)))


def lost_by_chance(lost: int, gained: int) -> float:
    """How often chance alone would lose so many more than it gains: the exact McNemar test, one-sided.

    Of `lost + gained` images that one of two models reads right, as many losses or more.
    """
    ways = tail = 1  # to lose all
    for kept in range(1, gained + 1):
        ways = ways * (lost + gained - kept + 1) // kept
        tail += ways
    return tail / (1 << (lost + gained))


def _count(which: Bools) -> int:
    return int(which.sum())
