"""Letters that are public, and that somebody says should not be: reported, taken out of view, decided by staff.

An id costs a visitor nothing, so what may take a letter out of view is counted by network: the first report of each
within an hour weighs. Staff need no others. What a reviewer then keeps in view stays there: further reports are
counted, and change nothing more.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q
from django.utils.crypto import salted_hmac

from letters import errors, quotas, review, showing
from letters.models import Decision, Drawing, Report

if TYPE_CHECKING:
    from django.contrib.auth.models import User

VISITORS = "visitors"  # in the place of a reviewer's name
_KEPT = (Decision.Action.APPROVE, Decision.Action.RELABEL)


@dataclass(frozen=True)
class Reported:
    """What became of a report: whether it is new, and whether it took the letter out of view."""

    is_new: bool
    is_hidden: bool


def public_letter(drawing_id: uuid.UUID) -> Drawing:
    """A letter that anybody may see. Raises LetterNotShown."""
    found = showing.public().filter(pk=drawing_id).defer("strokes").first()
    if found is None:
        raise errors.LetterNotShown
    return found


def report(
    *, drawing_id: uuid.UUID, reporter: uuid.UUID, reason: str, network: str, by: User | None = None
) -> Reported:
    """Note that a visitor, or `by` of the staff, says that a letter should not be public. The same visitor counts once.

    Raises LetterNotShown, BadReport, TooManyRequests, and ReportsUncounted where nobody knows how many came.
    """
    if reason not in Report.Reason.values:
        raise errors.BadReport
    public_letter(drawing_id)
    weighs = bool(by) or _counted(drawing_id, reporter, network)
    with transaction.atomic():
        drawing = Drawing.objects.select_for_update().filter(pk=drawing_id).defer("strokes").first()
        if drawing is None or drawing.state != Drawing.State.APPROVED:
            raise errors.LetterNotShown
        kept = _kept_by(drawing)
        _, is_new = Report.objects.get_or_create(
            drawing=drawing,
            reporter=_hash_of(reporter, drawing_id),
            defaults={"reason": reason, "weighs": weighs, "decision": None if by else kept},
        )
        is_hidden = bool(by) or (is_new and kept is None and _weight(drawing) >= settings.REPORTS_TO_HIDE)
        if is_hidden:
            review.take_out_of_view(drawing, reviewer=by, actor=by.get_username() if by else VISITORS)
    return Reported(is_new, is_hidden)


def _counted(drawing_id: uuid.UUID, reporter: uuid.UUID, network: str) -> bool:
    """Whether it is the first report of this letter from its network within the hour."""
    if Report.objects.filter(drawing=drawing_id, reporter=_hash_of(reporter, drawing_id)).exists():
        return False  # it will not be stored, and costs nothing
    try:
        quotas.take(network, "reports")
        return quotas.is_first(network, f"report:{drawing_id.hex}")
    except quotas.Uncounted as problem:
        raise errors.ReportsUncounted from problem


def _hash_of(reporter: uuid.UUID, drawing_id: uuid.UUID) -> str:
    return salted_hmac("letterloop.report", f"{reporter.hex}:{drawing_id.hex}", algorithm="sha256").hexdigest()


def _kept_by(drawing: Drawing) -> Decision | None:
    """The decision by which a reviewer kept it in view though it had been reported, if that still stands."""
    answered = Decision.objects.filter(drawing=drawing, reports__isnull=False).order_by("-id").first()
    return answered if answered and answered.action in _KEPT else None


def _weight(drawing: Drawing) -> int:
    return Report.objects.filter(drawing=drawing, decision=None, weighs=True).count()


def waiting() -> int:
    """How many letters a reviewer has to look at for their reports."""
    return review.queue(review.Wanted(reported=True)).count()


@dataclass(frozen=True)
class Said:
    """How often a reason was given, and whether a reviewer has answered that already."""

    reason: str
    count: int
    answered: bool


def said_of(drawing_ids: list[uuid.UUID]) -> dict[uuid.UUID, list[Said]]:
    """What was reported of drawings, what waits before what was answered."""
    counted = (
        Report.objects.filter(drawing__in=drawing_ids)
        .order_by()
        .annotate(waits=Q(decision=None))
        .values_list("drawing", "reason", "waits")
        .annotate(count=Count("pk"))
    )
    found: dict[uuid.UUID, list[Said]] = {pk: [] for pk in drawing_ids}
    for drawing, reason, waits, count in counted:
        found[drawing].append(Said(Report.Reason(reason).label, count, not waits))
    for said in found.values():
        said.sort(key=lambda each: (each.answered, -each.count, each.reason))
    return found
