"""What benchmarks.size says of the size of letters."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import size
from benchmarks.people import Letter
from ml.labels import index_of


def letter(character: str, writer: str, top: float, bottom: float) -> Letter:
    return Letter(character, writer, [[[0, top], [5, bottom]], [[0, top + 1], [5, top + 1]]])


def test_ties_count_half() -> None:
    assert size.share_higher(np.array([1.0, 2.0]), np.array([1.0, 1.0])) == 0.75


def test_a_writer_is_the_measure() -> None:
    """Somebody who writes twice as large, and lower, is measured alike."""
    small = [letter("E", "a", 0, 10), letter("e", "a", 4, 10), letter("n", "a", 5, 10)]
    large = [letter("E", "b", 100, 120), letter("e", "b", 108, 120), letter("n", "b", 110, 120)]
    drawn = size.extents(small + large)
    assert drawn[0].tolist() == [10, 0, 10]
    measured = size.by_own_measure(drawn, np.array(["a"] * 3 + ["b"] * 3))
    assert measured[:3] == pytest.approx(measured[3:])


def test_a_letter_is_judged_by_other_writers() -> None:
    """Where all others write E high and e low, a high one is an E, whatever its own writer does."""
    random = np.random.default_rng(0)
    letters = [
        letter(character, writer, 0, height + random.normal(0, 0.5))
        for writer in "abcd"
        for character, height in (("E", 20), ("e", 10))
    ]
    letters += [letter("E", "z", 0, 10), letter("e", "z", 0, 20)]
    people = size.Written.of(letters)
    said = size.said_by_others(people, size.extents(letters)[:, [0]])
    likelier = said[:, index_of("E")] > said[:, index_of("e")]
    assert likelier.tolist() == [True, False] * 4 + [False, True]
    assert np.isneginf(said[:, index_of("A")]).all()
