from __future__ import annotations

import string

import pytest

from ml import labels


def test_there_are_37_classes_in_the_order_of_emnist() -> None:
    assert "".join(labels.CLASSES) == "ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
    assert labels.CLASS_COUNT == 37


def test_a_person_may_type_52_letters() -> None:
    assert "".join(labels.CHARACTERS) == string.ascii_uppercase + string.ascii_lowercase


@pytest.mark.parametrize("small", "cijklmopsuvwxyz")
def test_letters_that_look_alike_share_a_class(small: str) -> None:
    assert labels.class_of(small) == labels.class_of(small.upper()) == small.upper()
    assert labels.characters_of(small.upper()) == (small.upper(), small)


@pytest.mark.parametrize("small", "abdefghnqrt")
def test_letters_that_look_different_do_not(small: str) -> None:
    assert labels.class_of(small) == small
    assert labels.class_of(small.upper()) == small.upper()
    assert labels.characters_of(small) == (small,)


@pytest.mark.parametrize("wrong", ["", "1", "AB", "ä", "İ", "ſ", " "])
def test_what_is_no_letter_has_no_class(wrong: str) -> None:
    with pytest.raises(ValueError, match="not one of the letters"):
        labels.class_of(wrong)


def test_index_of_is_the_position() -> None:
    assert [labels.index_of(label) for label in labels.CLASSES] == list(range(37))
    with pytest.raises(KeyError):
        labels.index_of("c")


def test_folding_ignores_case_alone() -> None:
    assert [string.ascii_uppercase[fold] for fold in labels.FOLDED] == [label.upper() for label in labels.CLASSES]
