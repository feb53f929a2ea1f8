from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from ml import paired


def test_it_works() -> None:
    labels = np.array([0, 1, 2, 3, 4, 5])
    first = np.array([0, 1, 2, 9, 9, 9])
    second = np.array([0, 1, 9, 3, 4, 9])
    found = paired.compare(first, second, labels)
    assert (found.both, found.neither, found.first_alone, found.second_alone, found.count) == (2, 1, 1, 2, 6)
    assert found.p == 1.0


@pytest.mark.parametrize(
    ("first", "second", "p"), [(0, 0, 1.0), (5, 0, 2 / 32), (0, 5, 2 / 32), (8, 2, 112 / 1024), (3, 3, 1.0)]
)
def test_p_is_the_exact_one(first: int, second: int, p: float) -> None:
    assert paired.two_sided(first, second) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (5, 0), (1, 1), (0, 5), (62, 88), (1500, 1400), (3800, 3600)])
def test_chance_is_that_of_a_coin(lost: int, gained: int) -> None:
    assert paired.lost_by_chance(lost, gained) == pytest.approx(binom.sf(lost - 1, lost + gained, 0.5), rel=1e-9)


def test_the_interval_of_a_difference() -> None:
    """By hand: 31/102 less 11/102, either way 1.96 times the root of (42/102 - (20/102)^2) / 102."""
    found = paired.Paired(both=50, neither=10, first_alone=30, second_alone=10, p=0.0)
    assert found.difference == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.0775, 0.3147), abs=1e-4)
    swapped = paired.Paired(both=50, neither=10, first_alone=10, second_alone=30, p=0.0)
    assert swapped.interval == pytest.approx((-0.3147, -0.0775), abs=1e-4)


def test_without_a_difference_the_interval_is_around_nothing() -> None:
    low, high = paired.Paired(both=5, neither=0, first_alone=0, second_alone=0, p=1.0).interval
    assert low == pytest.approx(-high)
    assert 0 < high < 1


def test_answers_to_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="same images"):
        paired.compare(np.zeros(3), np.zeros(4), np.zeros(3))
