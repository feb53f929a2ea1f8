"""Whether two counts differ by more than chance explains: shares, means and mixes. Plain numbers in and out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import exp, lgamma, sqrt
from statistics import NormalDist

from ml.proportions import quantile, wilson

EXPECTED = 5.0  # letters that a class must have on both sides by expectation, to be tested by itself
NORMAL = 10.0  # of each outcome on both sides, for the normal distribution to stand for the exact one


@dataclass(frozen=True)
class Difference:
    """The first less the second; `interval` holds it in 95 of 100 samples, chance alone makes as large a one in `p`."""

    value: float
    interval: tuple[float, float]
    p: float


def shares(first: tuple[int, int], second: tuple[int, int]) -> Difference:
    """Of two shares, each (how many, of how many), none of nothing.

    The interval is Newcombe's tenth, "Interval estimation for the difference between independent proportions",
    Statistics in Medicine 17, 1998; the test is that of pooled shares, and Fisher's exact one where they are small.
    """
    (a, n), (b, m) = first, second
    p, q = a / n, b / m
    (p_low, p_high), (q_low, q_high) = wilson(a, n), wilson(b, m)
    low = p - q - sqrt((p - p_low) ** 2 + (q_high - q) ** 2)
    high = p - q + sqrt((p_high - p) ** 2 + (q - q_low) ** 2)
    pooled = (a + b) / (n + m)
    if min(pooled, 1 - pooled) * min(n, m) < NORMAL:
        return Difference(p - q, (low, high), _exact(a, n, b, m))
    return Difference(p - q, (low, high), _two_sided((p - q) / sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))))


def means(first: tuple[float, float, int], second: tuple[float, float, int]) -> Difference:
    """Of two means, each (mean, standard deviation, count) of many values."""
    (a, s, n), (b, t, m) = first, second
    error = sqrt(s * s / n + t * t / m)
    if error == 0:
        return Difference(a - b, (a - b, a - b), 1.0 if a == b else 0.0)
    half = quantile() * error
    return Difference(a - b, (a - b - half, a - b + half), _two_sided((a - b) / error))


@dataclass(frozen=True)
class Mix:
    """How two mixes of classes differ: by so large a share of the letters, and `moved` most, each (class, change)."""

    distance: float
    moved: list[tuple[str, float]]
    p: float


def mixes(first: Counter[str], second: Counter[str]) -> Mix:
    """Of two counts of classes, neither empty: Pearson's test, classes that are rare taken together."""
    n, m = first.total(), second.total()
    changes = {label: first[label] / n - second[label] / m for label in {*first, *second}}
    moved = sorted(changes.items(), key=lambda each: (-abs(each[1]), each[0]))
    distance = sum(abs(change) for change in changes.values()) / 2
    return Mix(distance, moved, _homogeneous(first, second, n, m))


def _homogeneous(first: Counter[str], second: Counter[str], n: int, m: int) -> float:
    enough = EXPECTED * (n + m) / min(n, m)
    rows, rest = [], [0, 0]
    for label in {*first, *second}:
        pair = (first[label], second[label])
        if sum(pair) >= enough:
            rows.append(pair)
        else:
            rest = [rest[0] + pair[0], rest[1] + pair[1]]
    if sum(rest):
        rows.append((rest[0], rest[1]))
    if len(rows) < 2:
        return 1.0
    statistic = 0.0
    for a, b in rows:
        expected, other = (a + b) * n / (n + m), (a + b) * m / (n + m)
        statistic += (a - expected) ** 2 / expected + (b - other) ** 2 / other
    return chi_square_tail(statistic, len(rows) - 1)


def chi_square_tail(statistic: float, freedom: int) -> float:
    """How often chance makes a chi-square of so many degrees of freedom as large.

    Wilson and Hilferty, "The distribution of chi-square", PNAS 17, 1931: within 0.001 of the exact one from there on.
    """
    if freedom == 1:
        return _two_sided(sqrt(statistic))
    if freedom == 2:
        return exp(-statistic / 2)
    spread = 2 / (9 * freedom)
    return 1 - NormalDist().cdf(((statistic / freedom) ** (1 / 3) - (1 - spread)) / sqrt(spread))


def _two_sided(z: float) -> float:
    return 2 * (1 - NormalDist().cdf(abs(z)))


def _exact(a: int, n: int, b: int, m: int) -> float:
    """Fisher's exact test, two-sided: all tables that are no likelier than this one."""
    hits = min(a + b, n + m - a - b)
    ours = a if a + b == hits else n - a
    logs = {k: _ways(n, k) + _ways(m, hits - k) for k in range(max(0, hits - m), min(n, hits) + 1)}
    total = _ways(n + m, hits)
    limit = logs[ours] + 1e-7
    return min(1.0, sum(exp(value - total) for value in logs.values() if value <= limit))


def _ways(n: int, k: int) -> float:
    """The logarithm of how many ways there are to choose k of n."""
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
