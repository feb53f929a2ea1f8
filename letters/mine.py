"""What a contributor gave: page by page, all of it as one file, and a secret link to it for another device.

The link shows and deletes, and makes nobody its contributor: who opens a stranger's link goes on drawing as before.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import struct
import time
import uuid
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.conf import settings
from django.core import signing
from django.db.models import Q, QuerySet
from django.utils import timezone
from PIL import Image

from letters import collect, consent, errors, privacy
from letters.models import Contributor, Decision, Drawing

SHOWN = 100  # drawings of a page where nobody asks for another number
MOST = 200
CHUNK = 50  # drawings at a time; as large as one may be, so many take 40 MB
CONFIRM_WITHIN = 600  # seconds between the question and the answer
_KEY = signing.Signer(salt="letterloop.mine", sep=".")
_CONFIRM = signing.TimestampSigner(salt="letterloop.confirm")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = struct.Struct(">q16s")


# --- Whose they are ------------------------------------------------------------------------------------------------


def key_of(contributor_id: uuid.UUID) -> str:
    """The secret by which a contributor's letters can be seen and deleted from any device."""
    return _KEY.sign(contributor_id.hex)


def owner_of(key: str) -> uuid.UUID:
    """The contributor of such a secret. Raises KeyNotFound."""
    try:
        return uuid.UUID(_KEY.unsign(key))
    except (signing.BadSignature, ValueError) as error:
        raise errors.KeyNotFound from error


def confirmation_for(contributor_id: uuid.UUID) -> str:
    """What whoever was told what a deletion means hands back: no other site's page can read it."""
    return _CONFIRM.sign(contributor_id.hex)


def check_confirmation(confirmation: str, contributor_id: uuid.UUID) -> None:
    """Raises NotConfirmed where it is not this contributor's, or too old."""
    try:
        confirmed = _CONFIRM.unsign(confirmation, max_age=CONFIRM_WITHIN)
    except signing.BadSignature as error:
        raise errors.NotConfirmed from error
    if confirmed != contributor_id.hex:
        raise errors.NotConfirmed


# --- Page by page --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """Some drawings, newest first, with what became of each; `after` leads to the next ones, if there are any."""

    drawings: list[Drawing]
    fates: dict[uuid.UUID, privacy.Fate]
    total: int
    after: str


def page(contributor_id: uuid.UUID | None, *, after: str = "", limit: int = SHOWN) -> Page:
    """Up to `limit` drawings of a contributor, beginning behind `after`. Raises BadCursor."""
    if contributor_id is None:
        return Page([], {}, 0, "")
    own = _own(contributor_id)
    found = list(_behind(own, after)[: limit + 1])
    more = len(found) > limit
    shown = found[:limit]
    return Page(shown, privacy.fates(shown), own.count(), _cursor(shown[-1]) if more else "")


def _own(contributor_id: uuid.UUID) -> QuerySet[Drawing]:
    heavy = ("model__metrics", "model__config")
    own = Drawing.objects.filter(contributor_id=contributor_id).select_related("model").defer("strokes", *heavy)
    return own.order_by("-created_at", "-id")


def _behind(drawings: QuerySet[Drawing], after: str) -> QuerySet[Drawing]:
    if not after:
        return drawings
    when, pk = _read_cursor(after)
    return drawings.filter(Q(created_at__lt=when) | Q(created_at=when, id__lt=pk), created_at__lte=when)


def _cursor(drawing: Drawing) -> str:
    microseconds = (drawing.created_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(_CURSOR.pack(microseconds, drawing.pk.bytes)).decode()


def _read_cursor(cursor: str) -> tuple[datetime, uuid.UUID]:
    try:
        microseconds, pk = _CURSOR.unpack(base64.b64decode(cursor, altchars=b"-_", validate=True))
        return _EPOCH + timedelta(microseconds=microseconds), uuid.UUID(bytes=pk)
    except (binascii.Error, struct.error, ValueError, OverflowError) as error:
        raise errors.BadCursor from error


# --- All of it as one file -----------------------------------------------------------------------------------------


@dataclass
class _Tally:
    """What the data sheet counts."""

    drawings: int = 0
    states: Counter[str] = field(default_factory=Counter)
    wordings: set[str] = field(default_factory=set)


class _Outlet(io.RawIOBase):
    """Takes what a zip archive writes, and hands it out; it cannot go back, and holds no more than one piece."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._pieces.append(bytes(content))
        return len(content)

    def take(self) -> bytes:
        """What came since it was last asked."""
        taken, self._pieces = b"".join(self._pieces), []
        return taken


def archive(contributor_id: uuid.UUID, site: str) -> Iterator[bytes]:
    """A zip archive with everything that is held of a contributor, piece by piece as it is made."""
    outlet, tally = _Outlet(), _Tally()
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("README.txt", _README.format(site=site, made=_minute(timezone.now())))
        with made.open(zipfile.ZipInfo("drawings.json", time.gmtime()[:6]), "w", force_zip64=True) as opened:
            for text in _as_json(contributor_id, site, tally):
                opened.write(text.encode())
                yield outlet.take()
        for drawings in _chunks(_own(contributor_id)):
            for each in drawings:
                member = zipfile.ZipInfo(_image_name(each), each.created_at.utctimetuple()[:6])
                made.writestr(member, _png(bytes(each.image)))  # stored: it is compressed already
            yield outlet.take()
        made.writestr("DATASHEET.md", _sheet(tally))
    yield outlet.take()


def _as_json(contributor_id: uuid.UUID, site: str, tally: _Tally) -> Iterator[str]:
    head = {"site": site, "made": timezone.now().isoformat(), "contributor": _contributor(contributor_id)}
    yield json.dumps(head, indent=1)[:-2] + ',\n "drawings": ['
    between = "\n"
    for drawings in _chunks(_own(contributor_id).defer(None).defer("model__metrics", "model__config")):
        fates = privacy.fates(drawings)
        for each in drawings:
            yield between + json.dumps(_value(each, fates[each.pk], site))
            between = ",\n"
            tally.drawings += 1
            tally.states[each.state] += 1
            tally.wordings.add(each.consent)
    yield "\n]}\n"


def _chunks(drawings: QuerySet[Drawing]) -> Iterator[list[Drawing]]:
    after = ""
    while some := list(_behind(drawings, after)[:CHUNK]):
        yield some
        after = _cursor(some[-1])


def _contributor(contributor_id: uuid.UUID) -> dict[str, Any] | None:
    found = Contributor.objects.filter(pk=contributor_id).first()
    if found is None:
        return None
    return {
        "id": str(found.pk),
        "since": found.created_at.isoformat(),
        "held_out": found.held_out,
        "muted_since": found.muted_at.isoformat() if found.muted_at else None,
    }


def _value(drawing: Drawing, fate: privacy.Fate, site: str) -> dict[str, Any]:
    receipt = collect.receipt_of(drawing.pk)
    return {
        "id": str(drawing.pk),
        "created_at": drawing.created_at.isoformat(),
        "character": drawing.character,
        "letter": drawing.letter,
        "label": drawing.label,
        "state": drawing.state,
        "reason": fate.reason,
        "strokes": drawing.strokes,
        "canvas": {"width": drawing.canvas_width, "height": drawing.canvas_height},
        "image": _image_name(drawing),
        "preprocess": drawing.preprocess,
        "predicted": drawing.predicted,
        "probability": drawing.probability,
        "model": {"version": drawing.model.number, "digest": drawing.model.digest},
        "learned_by": fate.learned_by,
        "exports": [export_value(each) for each in fate.exports],
        "consent": drawing.consent,
        "receipt": f"{site}/drawings/{drawing.pk}#{receipt}",
    }


def export_value(made: Any) -> dict[str, Any]:
    """An export that holds a drawing, as its contributor may know of it."""
    return {"format": made.format, "made_at": made.created_at.isoformat(), "handed_out": made.can_be_had}


def _image_name(drawing: Drawing) -> str:
    return f"images/{drawing.created_at:%Y-%m-%d}-{drawing.letter}-{drawing.pk}.png"


def _png(image: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.frombuffer(image, np.uint8).reshape(28, 28)).save(buffer, "PNG")
    return buffer.getvalue()


# --- What goes with it ---------------------------------------------------------------------------------------------

_README = """\
Your letters, from {site}, {made}

In this file is everything that the site holds of you:

  drawings.json   your drawings, newest first, one a line: strokes, letter, what became of it, its receipt
  images/         the picture of each, 28 by 28 pixels, as the model sees it
  DATASHEET.md    what each word in drawings.json means, and what you agreed to

A receipt is a link by which the drawing can be seen and deleted, by whoever has it: keep this file to yourself.
"""

_SHEET = """\
# Your letters

{count}, made {made}: {states}.

## What is in drawings.json

- `contributor`: the random number that stands for your browser, and since when; whether your letters only judge models
  (`held_out`); since when what you send stays out of review, if it does (`muted_since`).

Of each of `drawings`:

- `id`, `created_at`: a random number of the drawing, and when you gave it (UTC).
- `character`, `letter`: the letter as you typed it, and as it counts: a reviewer may have corrected it.
- `label`: its class among the 37 that the model tells apart.
- `state`: `pending` while it waits for review, `approved`, or `rejected`; `reason` says why, one of {reasons}.
- `strokes`, `canvas`: points [x, y, t, pressure] of each stroke in pixels of the canvas, t in milliseconds. The last
  two are there only where your device told them.
- `image`, `preprocess`: the picture made of the strokes, and the version of the recipe by which it was made.
- `predicted`, `probability`, `model`: what the model read as you drew, how sure it was, and which model that was.
- `learned_by`: the models that learned from it, by number.
- `exports`: data sets that it is in, as far as they are kept here: their format, when they were made, and whether they
  are handed out.
- `consent`: the version of the words that you agreed to.
- `receipt`: the link by which it can be seen and deleted.

## What you agreed to

{wordings}

Whatever is published goes out under {licence}. You may delete a drawing at any time, by its receipt or on the site
under Mine: it goes from all of the site at once, models that learned from it are named as such, and the next ones are
made without it.
"""


def _sheet(tally: _Tally) -> str:
    states = ", ".join(f"{count} {Drawing.State(state).label}" for state, count in sorted(tally.states.items()))
    asked = sorted(each for each in tally.wordings if each in consent.WORDINGS)
    wordings = "\n".join(f"- `{each}`: “{consent.words_of(each)}”" for each in asked)
    return _SHEET.format(
        count=f"{tally.drawings} drawing{'' if tally.drawings == 1 else 's'}",
        made=_minute(timezone.now()),
        states=states or "nothing",
        reasons=", ".join(f"`{value}`" for value in Decision.Reason.values),
        wordings=wordings or "Nothing: no drawing of yours is here.",
        licence=settings.DATA_LICENCE,
    )


def _minute(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
