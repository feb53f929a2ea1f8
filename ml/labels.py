"""The 37 classes of letters, and how the 52 letters a person may type fall into them.

EMNIST's "balanced" and "by merge" splits merge the capital and the small form of the fifteen letters whose two forms
look alike (Cohen et al., arXiv:1702.05373, section II). What is left is `A`..`Z` and eleven small letters.
"""

from __future__ import annotations

import string

CLASSES: tuple[str, ...] = (*string.ascii_uppercase, *"abdefghnqrt")
CLASS_COUNT = len(CLASSES)
CHARACTERS: tuple[str, ...] = (*string.ascii_uppercase, *string.ascii_lowercase)

_INDEX = {label: index for index, label in enumerate(CLASSES)}


def class_of(character: str) -> str:
    """The class of a typed letter: `c` and `C` are both `C`, while `a` is `a` and `A` is `A`.

    Raises ValueError for anything but one of the 52 letters.
    """
    if character not in CHARACTERS:
        raise ValueError(f"{character!r} is not one of the letters A-Z and a-z")
    return character if character in _INDEX else character.upper()


def index_of(label: str) -> int:
    """Position of a class in `CLASSES`, 0 to 36. Raises KeyError for what is no class."""
    return _INDEX[label]


def characters_of(label: str) -> tuple[str, ...]:
    """The letters that share a class: `C` gives `C` and `c`, `A` gives `A` alone."""
    return tuple(character for character in CHARACTERS if class_of(character) == label)


FOLDED: tuple[int, ...] = tuple(string.ascii_uppercase.index(label.upper()) for label in CLASSES)
"""For each class the number of its letter, 0 to 25, case ignored: to measure accuracy with case ignored."""
