from __future__ import annotations

import numpy as np
import pytest

from ml import paired
from ml.gate import lost_by_chance


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


@pytest.mark.parametrize(("first", "second"), [(62, 88), (510, 430), (1500, 1400)])
def test_the_gate_says_the_same(first: int, second: int) -> None:
    gate = min(1.0, 2 * lost_by_chance(max(first, second), min(first, second)))
    assert paired.two_sided(first, second) == pytest.approx(gate, rel=1e-9)


def test_answers_to_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="same images"):
        paired.compare(np.zeros(3), np.zeros(4), np.zeros(3))
