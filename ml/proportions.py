"""How sure a counted share is. Plain Python, for whoever shows one."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

LEVEL = 0.95


def wilson(right: int, count: int, level: float = LEVEL) -> tuple[float, float]:
    """The interval, within 0..1, that holds the share behind `right` of `count` in so many of a hundred samples.

    Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American Statistical
    Association 22, 1927. Raises ValueError for no count, or for more right than there are.
    """
    if count < 1 or not 0 <= right <= count:
        raise ValueError(f"{right} of {count} is no share")
    z = quantile(level)
    middle = (right + z * z / 2) / (count + z * z)
    half = z / (count + z * z) * sqrt(right * (count - right) / count + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def quantile(level: float = LEVEL) -> float:
    """Standard deviations either way that hold so much of a normal distribution: 1.96 for 0.95."""
    return NormalDist().inv_cdf((1 + level) / 2)
