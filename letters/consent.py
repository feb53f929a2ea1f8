"""What contributors agreed to, to the letter, version by version: a drawing keeps the version of its own.

Words are never changed here, only added: `CONSENT_VERSION` in the settings names those that are asked for now.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True)
class Wording:
    """The words beside the box that is ticked; `publishes`: whether they let a drawing go out in a data set."""

    words: str
    publishes: bool


IMPORTED = "import"  # the words are those of the collection that the drawing came with, see models.Import
WORDINGS = {
    "1": Wording(
        "Keep this drawing to teach the model. It is stored with the letter you confirm, without your name; "
        "you get a link to delete it.",
        publishes=False,
    ),
    "2": Wording(
        "Keep this drawing with its letter, without your name, to teach the model and to be published ({licence}); "
        "you get a link to delete it.",
        publishes=True,
    ),
}
PUBLISHABLE = (*(version for version, wording in WORDINGS.items() if wording.publishes), IMPORTED)
"""The versions under which a drawing may leave the site in an export."""


def words_of(version: str) -> str:
    """What a contributor read. Raises KeyError for a version that was never asked for."""
    return WORDINGS[version].words.format(licence=settings.DATA_LICENCE)


def words_now() -> str:
    """What contributors are asked now."""
    return words_of(settings.CONSENT_VERSION)
