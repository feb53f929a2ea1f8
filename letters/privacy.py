"""Drawings go, with all that was made of them; what became of those that stay; and everything of one contributor goes.

Whoever deletes a drawing, what is derived from it goes in the same transaction: what a model noted of it, what
reviewers decided, its places on maps, its part in exports. docs/privacy.md has the list, and the test of each.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from letters import consent, export, influence, maps
from letters.models import Contributor, Decision, Drawing, Export, Serving, Withdrawal

AT_ONCE = 200  # drawings that go in one transaction: others wait for it no longer than a moment


# --- Delete --------------------------------------------------------------------------------------------------------


class _SeenTo(QuerySet[Drawing]):
    """Drawings about to be deleted, whose exports and maps were seen to, of all of them at once."""


def delete_drawings(drawing_ids: Iterable[uuid.UUID], *, withdrawn: bool = True) -> int:
    """Delete drawings and all that was derived from them; how many there were. Those that repeat them stay, and no
    longer say so.

    `withdrawn`: somebody took them back, so that no model may go on building on them; else their time was over.
    """
    ids = list(drawing_ids)
    return sum(_delete_some(ids[at : at + AT_ONCE], withdrawn) for at in range(0, len(ids), AT_ONCE))


@transaction.atomic
def _delete_some(drawing_ids: Sequence[uuid.UUID], withdrawn: bool) -> int:
    """The rows are locked before Django looks for what goes with them, in the order that letters.examine locks them in:
    what an examination or a decision adds meanwhile would be found too late, and the deletion refused.
    """
    touched = Q(pk__in=drawing_ids) | Q(duplicate_of__in=drawing_ids)
    list(Drawing.objects.select_for_update().filter(touched).order_by("pk").values_list("pk"))
    there = list(Drawing.objects.filter(pk__in=drawing_ids).only("pk", "state", "revision", "consent", "created_at"))
    _let_go(there)
    if withdrawn:
        Withdrawal.objects.bulk_create([Withdrawal(pk=each.pk) for each in there], ignore_conflicts=True)
    _SeenTo(Drawing).filter(pk__in=[each.pk for each in there]).only("pk").delete()
    return len(there)


def _let_go(drawings: Sequence[Drawing]) -> None:
    export.refuse_exports_of(drawings)
    maps.redraw_maps_of([each.pk for each in drawings])


@receiver(pre_delete, sender=Drawing)
def let_go(sender: type[Drawing], instance: Drawing, origin: Any = None, **_: object) -> None:
    """A drawing goes, whoever deletes it: a cascade, too, leaves no export with it."""
    if not isinstance(origin, _SeenTo):
        _let_go([instance])


# --- Everything of one contributor ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Forgotten:
    """How many drawings went, how many are left for another call, and whether nothing is left of the contributor."""

    deleted: int
    left: int

    @property
    def is_done(self) -> bool:
        """Whether the contributor is gone too."""
        return self.left == 0


def forget(contributor_id: uuid.UUID, *, within: float = float("inf")) -> Forgotten:
    """Delete all drawings of a contributor, and then the contributor. After `within` seconds it stops: what it deleted
    is gone, and the same call goes on.
    """
    deadline, deleted = time.monotonic() + within, 0
    own = Drawing.objects.filter(contributor_id=contributor_id)
    while some := list(own.order_by("created_at").values_list("pk", flat=True)[:AT_ONCE]):
        deleted += delete_drawings(some)
        if time.monotonic() > deadline:
            break
    with transaction.atomic():
        # Held, so that none is kept between the count and the end; one that is kept after that begins anew.
        contributor = Contributor.objects.select_for_update().filter(pk=contributor_id).first()
        left = own.count()
        if contributor is not None and not left:
            contributor.delete()
    return Forgotten(deleted, left)


def delete_of(contributor_id: uuid.UUID, drawing_ids: Iterable[uuid.UUID]) -> int:
    """Delete those of some drawings that are this contributor's; how many there were."""
    own = Drawing.objects.filter(contributor_id=contributor_id, pk__in=list(drawing_ids))
    return delete_drawings(list(own.values_list("pk", flat=True)))


# --- What became of them -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fate:
    """What became of a drawing: models that learned from it by their numbers, exports that hold it, and why a reviewer
    rejected it."""

    learned_by: list[int] = field(default_factory=list)
    exports: list[Export] = field(default_factory=list)
    reason: str = ""


@dataclass(frozen=True)
class _Span:
    """When a drawing was approved; `until` is None where it still is."""

    since: datetime
    until: datetime | None


def fates(drawings: Sequence[Drawing]) -> dict[uuid.UUID, Fate]:
    """Of each; a few queries for all of them."""
    if not drawings:
        return {}
    first = min(each.created_at for each in drawings)
    decided = _decisions([each.pk for each in drawings])
    reviewed = [each.pk for each in drawings if _was_ever_approved(each, decided.get(each.pk, []))]
    learned = influence.learned_by(reviewed, first) if reviewed else {}
    made = list(Export.objects.filter(state=Export.State.DONE, finished_at__gte=first)) if reviewed else []
    return {
        each.pk: Fate(
            learned.get(each.pk, []),
            [it for it in made if _held(it, each, decided.get(each.pk, []))],
            _reason(each, decided.get(each.pk, [])),
        )
        for each in drawings
    }


def _decisions(drawing_ids: list[uuid.UUID]) -> dict[uuid.UUID, list[Decision]]:
    """Of each drawing, the oldest first."""
    found: dict[uuid.UUID, list[Decision]] = {}
    for each in Decision.objects.filter(drawing__in=drawing_ids).order_by("created_at", "id"):
        found.setdefault(each.drawing_id, []).append(each)
    return found


def _was_ever_approved(drawing: Drawing, decided: list[Decision]) -> bool:
    approved = Drawing.State.APPROVED
    return drawing.state == approved or any(each.new_state == approved for each in decided)


def _spans(drawing: Drawing, decided: list[Decision]) -> list[_Span]:
    if not decided:
        return [_Span(drawing.created_at, None)] if drawing.state == Drawing.State.APPROVED else []
    ends = [*(after.created_at for _, after in pairwise(decided)), None]
    return [
        _Span(each.created_at, end)
        for each, end in zip(decided, ends, strict=True)
        if each.new_state == Drawing.State.APPROVED
    ]


def _held(made: Export, drawing: Drawing, decided: list[Decision]) -> bool:
    """Whether a drawing may be in an export: it may be published, and was approved at some moment while it was made."""
    if drawing.consent not in consent.PUBLISHABLE or made.finished_at is None:
        return False
    return any(
        span.since <= made.finished_at and (span.until is None or span.until >= made.created_at)
        for span in _spans(drawing, decided)
    )


def _reason(drawing: Drawing, decided: list[Decision]) -> str:
    """Why it was rejected, by the decision that stands."""
    if drawing.state != Drawing.State.REJECTED:
        return ""
    return next((each.reason for each in reversed(decided) if each.action == Decision.Action.REJECT), "")


# --- What would happen ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outlook:
    """What it would mean to delete everything of a contributor: drawings, models that learned from them by their
    numbers, the one of them that serves, and exports that are handed out now and would be no more."""

    drawings: int
    models: list[int]
    serving: int | None
    exports: int


def outlook(contributor_id: uuid.UUID) -> Outlook:
    """As it is at this moment."""
    own = Drawing.objects.filter(contributor_id=contributor_id)
    first = own.order_by("created_at").values_list("created_at", flat=True).first()
    if first is None:
        return Outlook(0, [], None, 0)
    reviewed = list(own.exclude(state=Drawing.State.PENDING, revision=0).values_list("pk", flat=True))
    models = influence.learned_by_any(reviewed, first)
    serving = Serving.objects.values_list("model__number", flat=True).first()
    may_be_out = own.filter(consent__in=consent.PUBLISHABLE).exclude(state=Drawing.State.PENDING, revision=0)
    oldest = may_be_out.order_by("created_at").values_list("created_at", flat=True).first()
    out = Export.objects.filter(state=Export.State.DONE, withdrawn_at=None, finished_at__gte=oldest) if oldest else None
    return Outlook(own.count(), models, serving if serving in models else None, out.count() if out is not None else 0)
