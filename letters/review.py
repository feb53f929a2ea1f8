"""What staff decide about the drawings that were collected: whose turn it is, what was decided, how to take it back.

Two reviewers never have the same card on their desks (a lease), and never overwrite each other (a revision).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from letters import errors, metrics
from letters.models import Contributor, Decision, Drawing, Report
from ml.labels import CHARACTERS, class_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)
AT_ONCE = 200  # decisions of one transaction

Action = Decision.Action
Reason = Decision.Reason
State = Drawing.State


# --- The queue -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """Which drawings a reviewer wants to see, and in which order; what is None or empty does not matter."""

    state: str = State.PENDING
    label: str = ""
    contributor: uuid.UUID | None = None
    source: str = ""
    since: date | None = None
    until: date | None = None  # that day included
    duplicates: bool | None = None  # them alone, or none of them
    reported: bool = False  # those alone that visitors reported and nobody has decided about, in whatever state
    order: str = "useful"  # or "newest"


_LARGE = [f"{model}__{field}" for model in ("model", "examination__model") for field in ("metrics", "config")]
ORDERS = {"useful": ("-usefulness", "id"), "newest": ("-created_at", "-id")}


def queue(wanted: Wanted = Wanted()) -> QuerySet[Drawing]:
    """The drawings in their order, without those of muted contributors."""
    # not by joining them: few are muted, and counting would read all contributors for each that is not
    muted = Contributor.objects.filter(pk=OuterRef("contributor"), muted_at__isnull=False)
    drawings = Drawing.objects.filter(~Exists(muted))
    if wanted.reported:
        drawings = drawings.filter(Exists(Report.objects.filter(drawing=OuterRef("pk"), decision=None)))
    else:
        drawings = drawings.filter(state=wanted.state)
    if wanted.label:
        drawings = drawings.filter(label=wanted.label)
    if wanted.contributor:
        drawings = drawings.filter(contributor_id=wanted.contributor)
    if wanted.source:
        drawings = drawings.filter(source=wanted.source)
    if wanted.since:
        drawings = drawings.filter(created_at__gte=_start_of(wanted.since))
    if wanted.until:
        drawings = drawings.filter(created_at__lt=_start_of(wanted.until + timedelta(days=1)))
    if wanted.duplicates is not None:
        drawings = drawings.filter(duplicate_of__isnull=not wanted.duplicates)
    return drawings.order_by(*ORDERS[wanted.order])


def _start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


@dataclass(frozen=True)
class Desk:
    """New cards of a reviewer's, and which of those held before are no longer so."""

    cards: list[Drawing]
    lost: list[uuid.UUID]


def claim(
    *, reviewer: User, wanted: Wanted, count: int, holding: Sequence[uuid.UUID] = (), now: datetime | None = None
) -> Desk:
    """Up to `count` cards that nobody else has; the lease of those that the reviewer is `holding` begins anew.

    What was claimed before and is not named as held, say before a reload, is given again. What somebody is writing to
    at this moment is passed over: nobody waits, and no two wait for each other.
    """
    now = now or timezone.now()
    renewed = _renew(reviewer, holding, now)
    with transaction.atomic():
        free = queue(wanted).filter(_free_for(reviewer, now)).exclude(pk__in=renewed)
        locked = free.select_for_update(of=("self",), skip_locked=True).values_list("pk", flat=True)
        candidates = list(locked[:count])
        claimed = Drawing.objects.filter(_free_for(reviewer, now), pk__in=candidates)
        claimed.update(claimed_by=reviewer, claimed_at=now)
    shown = {each.pk: each for each in _with_all_shown(Drawing.objects.filter(pk__in=candidates, claimed_by=reviewer))}
    return Desk(cards=[shown[pk] for pk in candidates if pk in shown], lost=[pk for pk in holding if pk not in renewed])


@dataclass(frozen=True)
class Named:
    """A card that was asked for by name, and in words what was decided about it last; empty where nothing was."""

    card: Drawing
    decided: str


def claim_one(*, reviewer: User, drawing_id: uuid.UUID, now: datetime | None = None) -> Named:
    """The card of one drawing, whatever was decided about it, for this reviewer alone like any other.

    Raises DrawingGone, and CardTaken while another reviewer has it or its contributor is muted.
    """
    now = now or timezone.now()
    found = Drawing.objects.filter(pk=drawing_id).select_related("contributor", "claimed_by").defer("strokes").first()
    if found is None:
        raise errors.DrawingGone
    if found.contributor.muted_at is not None:
        raise errors.CardTaken("its contributor is muted: let them back in to review it")
    free = Drawing.objects.filter(_free_for(reviewer, now), pk=drawing_id)
    if free.update(claimed_by=reviewer, claimed_at=now) != 1:
        who = found.claimed_by.get_username() if found.claimed_by else "another reviewer"
        raise errors.CardTaken(f"{who} has it on the desk at this moment")
    last = _last_decision(drawing_id)
    return Named(card(drawing_id), in_words(last) if last else "")


def _renew(reviewer: User, holding: Sequence[uuid.UUID], now: datetime) -> set[uuid.UUID]:
    """Which of them the reviewer holds from now on: what is held still, also where the lease ran out, and what lies
    there undecided: a page that is left puts its cards back, and that may come after the next page took them."""
    theirs = Q(claimed_by=reviewer) | Q(claimed_by=None, state=Drawing.State.PENDING)
    held = Drawing.objects.filter(theirs, pk__in=holding, contributor__muted_at=None)
    kept = set(held.order_by().values_list("pk", flat=True))
    Drawing.objects.filter(theirs, pk__in=kept).update(claimed_by=reviewer, claimed_at=now)
    return set(Drawing.objects.filter(pk__in=kept, claimed_by=reviewer).order_by().values_list("pk", flat=True))


def _free_for(reviewer: User, now: datetime) -> Q:
    return Q(claimed_by=None) | Q(claimed_by=reviewer) | Q(claimed_at__lt=now - LEASE)


def release(*, reviewer: User, drawing_ids: Sequence[uuid.UUID]) -> int:
    """Put cards back for others; how many the reviewer had."""
    held = Drawing.objects.filter(pk__in=drawing_ids, claimed_by=reviewer)
    return held.order_by().update(claimed_by=None, claimed_at=None)


def card(drawing_id: uuid.UUID) -> Drawing:
    """One drawing with all that a card shows. Raises DrawingGone."""
    found = _with_all_shown(Drawing.objects.filter(pk=drawing_id)).first()
    if found is None:
        raise errors.DrawingGone
    return found


def _with_all_shown(drawings: QuerySet[Drawing]) -> QuerySet[Drawing]:
    shown = drawings.select_related("contributor", "model", "examination__model", "duplicate_of")
    return shown.defer("duplicate_of__strokes", "examination__features", *_LARGE)


@dataclass(frozen=True)
class History:
    """What became of a contributor's drawings so far."""

    drawings: int = 0
    approved: int = 0
    rejected: int = 0


def histories(contributor_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, History]:
    """By contributor."""
    counted = (
        Drawing.objects.filter(state__in=State.values, contributor__in=set(contributor_ids))  # as an index has them
        .order_by()
        .values_list("contributor")
        .annotate(
            drawings=Count("pk"),
            approved=Count("pk", filter=Q(state=State.APPROVED)),
            rejected=Count("pk", filter=Q(state=State.REJECTED)),
        )
    )
    return {pk: History(*counts) for pk, *counts in counted}


# --- Decide --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judgement:
    """What is to become of a drawing: approved, rejected for a reason, or approved as another letter."""

    action: str
    reason: str = ""
    character: str = ""

    def check(self) -> None:
        """Raises BadDecision, naming the field that is wrong."""
        if self.action not in (Action.APPROVE, Action.REJECT, Action.RELABEL):
            raise errors.BadDecision("approve, reject or relabel it", field="action")
        if self.action == Action.REJECT and self.reason not in Reason.values:
            raise errors.BadDecision(f"a rejection has a reason: one of {', '.join(Reason.values)}", field="reason")
        if self.action != Action.REJECT and self.reason:
            raise errors.BadDecision("only a rejection has a reason", field="reason")
        if self.action == Action.RELABEL and self.character not in CHARACTERS:
            raise errors.BadDecision("relabel it as one of the letters A-Z and a-z", field="character")
        if self.action != Action.RELABEL and self.character:
            raise errors.BadDecision("only relabelling names a letter", field="character")


def decide(*, reviewer: User, drawing_id: uuid.UUID, revision: int, judgement: Judgement) -> Decision:
    """Decide about a drawing as it was when the reviewer saw it. The same again, say after a lost answer, changes
    nothing and answers the same.

    Raises BadDecision, DrawingGone, and AlreadyReviewed when somebody decided since: who, and what.
    """
    judgement.check()
    with transaction.atomic():
        decision = _decide(reviewer, drawing_id, revision, judgement)
        _after([decision])
    return decision


@dataclass(frozen=True)
class Outcome:
    """What came of one of several decisions: a Decision, or why there is none."""

    drawing_id: uuid.UUID
    decision: Decision | None
    refusal: errors.Refusal | None


def decide_all(*, reviewer: User, drawings: Iterable[tuple[uuid.UUID, int]], judgement: Judgement) -> list[Outcome]:
    """The same decision about several drawings (id, revision), each for itself: one that is refused holds up no other.

    Raises BadDecision.
    """
    judgement.check()
    asked = sorted(drawings)  # two such requests lock rows in the same order
    outcomes: list[Outcome] = []
    for start in range(0, len(asked), AT_ONCE):
        with transaction.atomic():
            some = [_try(reviewer, pk, revision, judgement) for pk, revision in asked[start : start + AT_ONCE]]
            _after([each.decision for each in some if each.decision])
        outcomes += some
    return outcomes


def _try(reviewer: User, drawing_id: uuid.UUID, revision: int, judgement: Judgement) -> Outcome:
    try:
        return Outcome(drawing_id, _decide(reviewer, drawing_id, revision, judgement), None)
    except (errors.AlreadyReviewed, errors.DrawingGone) as refusal:
        return Outcome(drawing_id, None, refusal)


def _decide(reviewer: User, drawing_id: uuid.UUID, revision: int, judgement: Judgement) -> Decision:
    drawing = _found(drawing_id)
    decision = _planned(drawing, judgement)
    decision.reviewer, decision.actor = reviewer, reviewer.get_username()
    if drawing.revision != revision or not _change(drawing, decision, {"claimed_by": None, "claimed_at": None}):
        return _said_before(drawing_id, revision, decision)
    decision.save(force_insert=True)
    Report.objects.filter(drawing=drawing_id, decision=None).update(decision=decision)
    _count(decision)
    return decision


def _count(decision: Decision) -> None:
    transaction.on_commit(partial(metrics.count, metrics.DECISIONS, decision.action))


def _found(drawing_id: uuid.UUID) -> Drawing:
    drawing = Drawing.objects.filter(pk=drawing_id).defer("strokes", "image").first()
    if drawing is None:
        raise errors.DrawingGone
    return drawing


def _planned(drawing: Drawing, judgement: Judgement) -> Decision:
    """The row of a decision, before it is one. To relabel a letter as itself is to approve it."""
    character = judgement.character or drawing.letter
    relabels = judgement.action == Action.RELABEL and character != drawing.letter
    rejects = judgement.action == Action.REJECT
    return Decision(
        drawing=drawing,
        action=Action.REJECT if rejects else Action.RELABEL if relabels else Action.APPROVE,
        old_state=drawing.state,
        new_state=State.REJECTED if rejects else State.APPROVED,
        old_label=drawing.label,
        new_label=class_of(character),
        old_character=drawing.letter,
        new_character=character,
        reason=judgement.reason,
    )


def _change(drawing: Drawing, decision: Decision, claim: dict[str, object]) -> bool:
    """Whether the drawing was still as it was read, and is now as decided."""
    as_read = Drawing.objects.filter(pk=drawing.pk, revision=drawing.revision)
    typed = decision.new_character == drawing.character
    changed = as_read.update(
        state=decision.new_state,
        state_since=timezone.now(),
        label=decision.new_label,
        corrected_character="" if typed else decision.new_character,
        revision=F("revision") + 1,
        **claim,
    )
    return changed == 1


def _said_before(drawing_id: uuid.UUID, revision: int, planned: Decision) -> Decision:
    """The decision that a repeated request made the first time. Raises AlreadyReviewed when another stands there."""
    drawing, last = _found(drawing_id), _last_decision(drawing_id)
    if last is not None and drawing.revision == revision + 1 and _is_same(last, planned):
        return last
    raise errors.AlreadyReviewed(in_words(last) if last else "it was changed")


def _is_same(last: Decision, planned: Decision) -> bool:
    facts = ("reviewer_id", "new_state", "new_character", "reason")
    return last.action != Action.UNDO and all(getattr(last, each) == getattr(planned, each) for each in facts)


def _last_decision(drawing_id: uuid.UUID) -> Decision | None:
    return Decision.objects.filter(drawing=drawing_id).order_by("-id").first()


def in_words(decision: Decision) -> str:
    """Who decided what, and when: "ann rejected it (unreadable) at 12:03 UTC"."""
    did = {
        Action.APPROVE: f"approved it as {decision.new_character}",
        Action.REJECT: f"rejected it ({decision.get_reason_display()})",
        Action.RELABEL: f"relabelled it as {decision.new_character}",
        Action.UNDO: "took back what had been decided",
        Action.REPORT: "took it out of view until it is reviewed again, by reporting it",
    }[Action(decision.action)]
    return f"{decision.actor} {did} at {decision.created_at:%H:%M} UTC"


def _after(decisions: list[Decision]) -> None:
    """Once all is written: enough new approved drawings may start a retraining. That it cannot start undoes nothing.
    What was approved and is so no longer leaves the figures of the maps."""
    from letters import maps  # they know of what is reviewed, too

    gone = [each.drawing_id for each in decisions if State.APPROVED == each.old_state != each.new_state]
    if gone:
        maps.redraw_maps_of(gone)
    approved = [each.drawing_id for each in decisions if each.new_state == State.APPROVED]
    if approved:
        transaction.on_commit(lambda: _after_approval(approved), robust=True)  # no partial: Django asks its name


def _after_approval(drawing_ids: list[uuid.UUID]) -> None:
    from letters import maps, retrain, tasks  # they know of what is reviewed, too

    tasks.send(tasks.place, [str(each) for each in drawing_ids])
    retrain.after_approval()
    maps.after_approval()


# --- Take back -----------------------------------------------------------------------------------------------------


def undo(*, reviewer: User, decision_id: int | None = None) -> Decision:
    """Take back a decision of the reviewer's own, the last that still stands if none is named; the card is back too.

    To take back again what was taken back changes nothing and answers the same. Raises NothingToUndo, and
    AlreadyReviewed when somebody decided about that drawing since.
    """
    with transaction.atomic():
        decision = _to_undo(reviewer, decision_id)
        known = Decision.objects.filter(undoes=decision).first()
        return known or _take_back(reviewer, decision)


def _to_undo(reviewer: User, decision_id: int | None) -> Decision:
    own = Decision.objects.filter(reviewer=reviewer).exclude(action=Action.UNDO)
    if decision_id is not None:
        found = own.filter(pk=decision_id).first()
    else:
        later = Decision.objects.filter(drawing=OuterRef("drawing"), pk__gt=OuterRef("pk"))
        found = own.filter(~Exists(later)).order_by("-id").first()
    if found is None:
        raise errors.NothingToUndo
    return found


def _take_back(reviewer: User, decision: Decision) -> Decision:
    drawing, last = _found(decision.drawing_id), _last_decision(decision.drawing_id)
    undone = Decision(
        drawing=drawing,
        reviewer=reviewer,
        actor=reviewer.get_username(),
        action=Action.UNDO,
        old_state=drawing.state,
        new_state=decision.old_state,
        old_label=drawing.label,
        new_label=decision.old_label,
        old_character=drawing.letter,
        new_character=decision.old_character,
        undoes=decision,
    )
    mine = {"claimed_by": reviewer, "claimed_at": timezone.now()}
    if last is None or last.pk != decision.pk or not _change(drawing, undone, mine):
        raise errors.AlreadyReviewed(in_words(last) if last else "it was changed")
    undone.save(force_insert=True)
    _count(undone)
    Report.objects.filter(decision=decision).update(decision=None)
    _after([undone])
    return undone


# --- Out of view ---------------------------------------------------------------------------------------------------


def take_out_of_view(drawing: Drawing, *, reviewer: User | None, actor: str) -> None:
    """Put an approved drawing back into the queue, because it was reported: until it is decided anew nobody sees it,
    and nothing learns from it. In a transaction that holds its row."""
    decision = _planned(drawing, Judgement(Action.APPROVE))
    decision.action, decision.new_state = Action.REPORT, State.PENDING
    decision.reviewer, decision.actor = reviewer, actor
    if _change(drawing, decision, {"claimed_by": None, "claimed_at": None}):
        decision.save(force_insert=True)
        _count(decision)
        _after([decision])


# --- Contributors --------------------------------------------------------------------------------------------------


def mute(contributors: QuerySet[Contributor], *, by: str) -> int:
    """Keep what they send out of the queue, and what was approved of it out of view, from now on and for as long as
    they are muted; how many were not."""
    changed = _change_muted(contributors.filter(muted_at=None), timezone.now())
    log.info("%s muted %d contributors", by, changed)
    return changed


def unmute(contributors: QuerySet[Contributor], *, by: str) -> int:
    """Let them back in, with all that they sent meanwhile; how many were muted."""
    changed = _change_muted(contributors.exclude(muted_at=None), None)
    log.info("%s let %d contributors back in", by, changed)
    return changed


def _change_muted(contributors: QuerySet[Contributor], muted_at: datetime | None) -> int:
    """The figures of the maps that show what they drew are drawn anew."""
    from letters import maps  # they know of what is reviewed, too

    with transaction.atomic():
        locked = contributors.order_by("pk").select_for_update(of=("self",))
        changing = list(locked.values_list("pk", flat=True))
        approved = Drawing.objects.filter(contributor__in=changing, state=State.APPROVED)
        maps.redraw_maps_of(list(approved.order_by().values_list("pk", flat=True)))
        return Contributor.objects.filter(pk__in=changing).update(muted_at=muted_at)
