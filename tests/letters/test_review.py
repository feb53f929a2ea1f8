"""The review queue and what is decided: the step itself."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from letters import errors, retrain, review
from letters.models import Contributor, Decision, Drawing
from letters.review import Judgement, Wanted
from tests.letters.reviewing import a_contributor, a_reviewer, make_drawing, make_drawings
from tests.letters.visitor import LETTERS

pytestmark = pytest.mark.django_db

APPROVE, UNREADABLE = Judgement("approve"), Judgement("reject", reason="unreadable")


@pytest.fixture
def ann() -> User:
    return a_reviewer("ann")


@pytest.fixture
def bo() -> User:
    return a_reviewer("bo")


def decide(reviewer: User, drawing: Drawing, judgement: Judgement = APPROVE) -> Decision:
    """About the drawing as it was read last."""
    return review.decide(reviewer=reviewer, drawing_id=drawing.pk, revision=drawing.revision, judgement=judgement)


def facts(drawing: Drawing) -> tuple[str, str, str]:
    """State, label and letter as they stand now."""
    drawing.refresh_from_db()
    return drawing.state, drawing.label, drawing.letter


# --- Decide --------------------------------------------------------------------------------------------------------


def test_it_works(ann: User) -> None:
    drawing = make_drawing(character="z")
    decision = decide(ann, drawing)
    assert facts(drawing) == ("approved", "Z", "z")
    assert drawing.revision == 1
    assert (decision.reviewer, decision.actor, decision.action) == (ann, "ann", "approve")
    assert (decision.old_state, decision.new_state) == ("pending", "approved")
    assert (decision.old_character, decision.new_character, decision.reason) == ("z", "z", "")


@pytest.mark.parametrize("reason", Decision.Reason.values)
def test_reject_with_a_reason(ann: User, reason: str) -> None:
    drawing = make_drawing()
    decision = decide(ann, drawing, Judgement("reject", reason=reason))
    assert facts(drawing) == ("rejected", "Z", "Z")
    assert (decision.action, decision.reason) == ("reject", reason)


def test_relabel_keeps_what_was_typed(ann: User) -> None:
    drawing = make_drawing(character="Z")
    decision = decide(ann, drawing, Judgement("relabel", character="g"))
    assert facts(drawing) == ("approved", "g", "g")
    assert drawing.character == "Z"
    assert (decision.old_label, decision.new_label) == ("Z", "g")
    assert (decision.old_character, decision.new_character) == ("Z", "g")
    back = decide(ann, drawing, Judgement("relabel", character="Z"))
    assert facts(drawing) == ("approved", "Z", "Z")
    assert drawing.corrected_character == ""
    assert back.action == "relabel"


def test_to_relabel_a_letter_as_itself_is_to_approve_it(ann: User) -> None:
    assert decide(ann, make_drawing(), Judgement("relabel", character="Z")).action == "approve"


@pytest.mark.parametrize(
    ("judgement", "field"),
    [
        (Judgement("reject"), "reason"),
        (Judgement("reject", reason="ugly"), "reason"),
        (Judgement("approve", reason="offensive"), "reason"),
        (Judgement("relabel"), "character"),
        (Judgement("relabel", character="5"), "character"),
        (Judgement("relabel", character="AB"), "character"),
        (Judgement("approve", character="A"), "character"),
        (Judgement("undo"), "action"),
        (Judgement("delete"), "action"),
    ],
)
def test_a_bad_decision_changes_nothing(ann: User, judgement: Judgement, field: str) -> None:
    drawing = make_drawing()
    with pytest.raises(errors.BadDecision) as refused:
        decide(ann, drawing, judgement)
    assert refused.value.field == field
    with pytest.raises(errors.BadDecision):
        review.decide_all(reviewer=ann, drawings=[(drawing.pk, 0)], judgement=judgement)
    assert facts(drawing) == ("pending", "Z", "Z")
    assert not Decision.objects.exists()


def test_a_second_decision_is_told_who_decided_what(ann: User, bo: User) -> None:
    seen_by_both = make_drawing()
    decide(ann, seen_by_both, UNREADABLE)
    with pytest.raises(errors.AlreadyReviewed, match=r"^ann rejected it \(unreadable\) at \d\d:\d\d UTC, after you"):
        decide(bo, seen_by_both)
    assert facts(seen_by_both)[0] == "rejected"
    assert Decision.objects.count() == 1


def test_between_reading_and_writing_nobody_is_overwritten(
    ann: User, bo: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL lets both read the card first: whoever writes second must find that it changed."""
    as_read = make_drawing()
    decide(ann, as_read, UNREADABLE)
    read = iter([as_read])
    monkeypatch.setattr(review, "_found", lambda pk: next(read, None) or Drawing.objects.get(pk=pk))
    with pytest.raises(errors.AlreadyReviewed, match="ann rejected it"):
        decide(bo, as_read)
    assert facts(as_read)[0] == "rejected"
    assert Decision.objects.count() == 1


def test_the_same_again_is_answered_the_same(ann: User, bo: User) -> None:
    """Its answer was lost, so it is sent once more. What differs, or comes from somebody else, is refused."""
    drawing = make_drawing()
    first = decide(ann, drawing)
    assert decide(ann, drawing) == first
    for reviewer, judgement in ((bo, APPROVE), (ann, UNREADABLE), (ann, Judgement("relabel", character="A"))):
        with pytest.raises(errors.AlreadyReviewed):
            decide(reviewer, drawing, judgement)
    assert (Decision.objects.count(), Drawing.objects.get().revision) == (1, 1)


def test_a_second_look_is_another_decision(ann: User, bo: User) -> None:
    drawing = make_drawing()
    decide(ann, drawing)
    drawing.refresh_from_db()
    decide(bo, drawing, UNREADABLE)
    assert facts(drawing)[0] == "rejected"
    assert list(Decision.objects.order_by("id").values_list("old_state", "new_state")) == [
        ("pending", "approved"),
        ("approved", "rejected"),
    ]


def test_what_was_withdrawn_is_gone(ann: User) -> None:
    with pytest.raises(errors.DrawingGone):
        review.decide(reviewer=ann, drawing_id=uuid.uuid4(), revision=0, judgement=APPROVE)


def test_many_at_once_each_for_itself(ann: User, bo: User) -> None:
    drawings = make_drawings(5)
    seen = [(each.pk, each.revision) for each in drawings] + [(uuid.uuid4(), 0)]
    decide(bo, drawings[2], UNREADABLE)
    outcomes = {each.drawing_id: each for each in review.decide_all(reviewer=ann, drawings=seen, judgement=APPROVE)}
    assert {pk: each.refusal.code if each.refusal else "" for pk, each in outcomes.items()} == {
        **{each.pk: "" for each in drawings},
        drawings[2].pk: "already_reviewed",
        seen[-1][0]: "not_found",
    }
    assert Drawing.objects.filter(state="approved").count() == 4
    assert Decision.objects.filter(actor="ann").count() == 4


def test_more_than_fit_into_one_transaction(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review, "AT_ONCE", 3)
    seen = [(each.pk, 0) for each in make_drawings(8)]
    assert all(each.decision for each in review.decide_all(reviewer=ann, drawings=iter(seen), judgement=APPROVE))
    assert Decision.objects.count() == 8


def test_approvals_may_start_a_retraining(
    ann: User, django_capture_on_commit_callbacks: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Once after each request that approved any; that it cannot start costs no decision."""
    one, other, *many = make_drawings(6)
    with django_capture_on_commit_callbacks() as sent:
        decide(ann, one)
        decide(ann, other, UNREADABLE)
        review.decide_all(reviewer=ann, drawings=[(each.pk, 0) for each in many], judgement=APPROVE)
    called: list[int] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(retrain, "after_approval", lambda: called.append(1))
        for each in sent:
            each()
    assert called == [1, 1]


# --- Take back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("judgement", [APPROVE, UNREADABLE, Judgement("relabel", character="g")])
def test_undo(ann: User, judgement: Judgement) -> None:
    drawing = make_drawing(character="z")
    decision = decide(ann, drawing, judgement)
    undone = review.undo(reviewer=ann)
    assert facts(drawing) == ("pending", "Z", "z")
    assert (drawing.corrected_character, drawing.revision, drawing.claimed_by) == ("", 2, ann)
    assert (undone.action, undone.undoes, undone.old_state, undone.new_state) == (
        "undo",
        decision,
        decision.new_state,
        "pending",
    )
    assert Decision.objects.count() == 2


def test_undo_goes_back_step_by_step(ann: User) -> None:
    first, second = make_drawing(), make_drawing(LETTERS["L"], "L")
    decide(ann, first)
    decide(ann, second, UNREADABLE)
    assert review.undo(reviewer=ann).drawing == second
    assert review.undo(reviewer=ann).drawing == first
    with pytest.raises(errors.NothingToUndo):
        review.undo(reviewer=ann)


def test_nobody_undoes_what_another_decided(ann: User, bo: User) -> None:
    decision = decide(ann, make_drawing())
    for named in (None, decision.pk):
        with pytest.raises(errors.NothingToUndo):
            review.undo(reviewer=bo, decision_id=named)


def test_what_another_decided_since_is_not_undone(ann: User, bo: User) -> None:
    drawing = make_drawing()
    decision = decide(ann, drawing)
    drawing.refresh_from_db()
    decide(bo, drawing, UNREADABLE)
    with pytest.raises(errors.AlreadyReviewed, match="bo rejected it"):
        review.undo(reviewer=ann, decision_id=decision.pk)
    with pytest.raises(errors.NothingToUndo):
        review.undo(reviewer=ann)
    assert facts(drawing)[0] == "rejected"


def test_undo_sent_twice_undoes_once(ann: User) -> None:
    drawing = make_drawing()
    decision = decide(ann, drawing)
    assert review.undo(reviewer=ann, decision_id=decision.pk) == review.undo(reviewer=ann, decision_id=decision.pk)
    assert Decision.objects.count() == 2
    drawing.refresh_from_db()
    assert decide(ann, drawing, UNREADABLE).old_state == "pending"


# --- The queue -----------------------------------------------------------------------------------------------------


def test_the_most_useful_come_first_or_the_newest(ann: User) -> None:
    drawings = make_drawings(5)  # the first made is the most useful
    assert list(review.queue()) == drawings
    assert list(review.queue(Wanted(order="newest"))) == drawings[::-1]


def test_filters(ann: User) -> None:
    plain = make_drawing()
    late = timezone.now() - timedelta(days=3)
    others = {
        "label": make_drawing(LETTERS["L"], "L"),
        "source": make_drawing(source="import"),
        "state": make_drawing(state="rejected"),
        "duplicate": make_drawing(duplicate_of=plain, likeness="exact"),
        "old": make_drawing(),
    }
    Drawing.objects.filter(pk=others["old"].pk).update(created_at=late)
    today = timezone.now().date()
    for wanted, found in (
        (Wanted(label="L"), {others["label"]}),
        (Wanted(source="import"), {others["source"]}),
        (Wanted(state="rejected"), {others["state"]}),
        (Wanted(contributor=plain.contributor_id), {plain}),
        (Wanted(duplicates=True), {others["duplicate"]}),
        (Wanted(since=late.date(), until=late.date()), {others["old"]}),
        (Wanted(until=today - timedelta(days=1)), {others["old"]}),
        (Wanted(label="L", source="import"), set()),
    ):
        assert set(review.queue(wanted)) == found, wanted
    assert others["duplicate"] not in review.queue(Wanted(duplicates=False))
    assert others["old"] not in review.queue(Wanted(since=today))


def test_muted_contributors_stay_out_and_come_back(ann: User) -> None:
    loud, calm = a_contributor(), a_contributor()
    made = make_drawings(2, contributor=loud)
    kept = make_drawings(1, contributor=calm, usefulness=0.1)
    (held,) = review.claim(reviewer=ann, wanted=Wanted(), count=1).cards
    assert held.contributor == loud
    them = Contributor.objects.filter(pk=loud.pk)
    assert (review.mute(them, by="max"), review.mute(them, by="max")) == (1, 0)
    assert list(review.queue()) == kept
    assert list(review.queue(Wanted(contributor=loud.pk))) == []
    desk = review.claim(reviewer=ann, wanted=Wanted(), count=9, holding=[held.pk])
    assert (desk.cards, desk.lost) == (kept, [held.pk])
    late = make_drawings(1, contributor=loud, seed=9)  # what they send meanwhile
    assert late[0] not in review.queue()
    assert (review.unmute(them, by="max"), review.unmute(them, by="max")) == (1, 0)
    assert set(review.queue()) == {*made, *kept, *late}


def test_histories() -> None:
    busy, new = a_contributor(), a_contributor()
    for state in ("pending", "approved", "approved", "rejected"):
        make_drawing(contributor=busy, state=state)
    make_drawing(contributor=new)
    assert review.histories([busy.pk, new.pk]) == {
        busy.pk: review.History(4, 2, 1),
        new.pk: review.History(1, 0, 0),
    }


# --- Whose card it is ----------------------------------------------------------------------------------------------


def claimed(reviewer: User, count: int, **more: Any) -> list[Drawing]:
    return review.claim(reviewer=reviewer, wanted=Wanted(), count=count, **more).cards


def test_two_reviewers_have_different_cards(ann: User, bo: User) -> None:
    drawings = make_drawings(6)
    assert claimed(ann, 2) == drawings[:2]
    assert claimed(bo, 3) == drawings[2:5]
    assert claimed(ann, 9, holding=[each.pk for each in drawings[:2]]) == drawings[5:]
    assert claimed(bo, 9, holding=[each.pk for each in drawings[2:5]]) == []


def test_after_a_reload_ones_own_cards_are_there_again(ann: User) -> None:
    drawings = make_drawings(4)
    assert claimed(ann, 3) == claimed(ann, 3) == drawings[:3]


def test_a_lease_runs_out_and_is_renewed(ann: User, bo: User) -> None:
    (drawing,) = make_drawings(1)
    start = timezone.now()
    soon, later, too_late = (start + part * review.LEASE for part in (0.6, 1.2, 2.5))
    assert claimed(ann, 1, now=start) == [drawing]
    assert review.claim(reviewer=ann, wanted=Wanted(), count=0, holding=[drawing.pk], now=soon).lost == []
    assert claimed(bo, 1, now=later) == []
    assert claimed(bo, 1, now=too_late) == [drawing]
    assert review.claim(reviewer=ann, wanted=Wanted(), count=1, holding=[drawing.pk], now=too_late) == review.Desk(
        cards=[], lost=[drawing.pk]
    )


def test_a_card_that_was_put_back_late_stays_with_the_page_that_shows_it(ann: User, bo: User) -> None:
    """A page that is left puts its cards back, and that may come after the next page took them."""
    (drawing,) = make_drawings(1)
    assert claimed(ann, 1) == [drawing]
    review.release(reviewer=ann, drawing_ids=[drawing.pk])
    assert review.claim(reviewer=ann, wanted=Wanted(), count=5, holding=[drawing.pk]) == review.Desk(cards=[], lost=[])
    assert claimed(bo, 1) == []


def test_a_card_that_was_put_back_and_decided_by_another_is_lost(ann: User, bo: User) -> None:
    (drawing,) = make_drawings(1)
    assert claimed(ann, 1) == [drawing]
    review.release(reviewer=ann, drawing_ids=[drawing.pk])
    assert claimed(bo, 1) == [drawing]
    assert review.claim(reviewer=ann, wanted=Wanted(), count=5, holding=[drawing.pk]).lost == [drawing.pk]
    Drawing.objects.filter(pk=drawing.pk).update(state=Drawing.State.APPROVED, claimed_by=None, claimed_at=None)
    assert review.claim(reviewer=ann, wanted=Wanted(), count=5, holding=[drawing.pk]).lost == [drawing.pk]


def test_cards_can_be_put_back(ann: User, bo: User) -> None:
    drawings = make_drawings(2)
    claimed(ann, 2)
    assert review.release(reviewer=bo, drawing_ids=[each.pk for each in drawings]) == 0
    assert review.release(reviewer=ann, drawing_ids=[drawings[0].pk]) == 1
    assert claimed(bo, 9) == drawings[:1]


def test_a_decided_card_is_on_nobodys_desk(ann: User) -> None:
    (drawing,) = claimed(ann, len(make_drawings(1)))
    decide(ann, drawing)
    drawing.refresh_from_db()
    assert (drawing.claimed_by, drawing.claimed_at) == (None, None)
    assert review.claim(reviewer=ann, wanted=Wanted(), count=1, holding=[drawing.pk]).lost == [drawing.pk]


def test_decided_drawings_can_be_looked_through_again(ann: User) -> None:
    drawing = make_drawing(state="approved")
    (card,) = review.claim(reviewer=ann, wanted=Wanted(state="approved"), count=5).cards
    decide(ann, card, UNREADABLE)
    assert facts(drawing)[0] == "rejected"


# --- A card by name ------------------------------------------------------------------------------------------------


def test_a_card_is_had_by_name_and_by_one_reviewer_alone(ann: User, bo: User) -> None:
    drawing = make_drawing()
    named = review.claim_one(reviewer=ann, drawing_id=drawing.pk)
    assert (named.card, named.decided) == (drawing, "")
    assert review.claim(reviewer=bo, wanted=Wanted(), count=9).cards == []
    with pytest.raises(errors.CardTaken, match="ann has it on the desk"):
        review.claim_one(reviewer=bo, drawing_id=drawing.pk)
    assert review.claim_one(reviewer=ann, drawing_id=drawing.pk).card == drawing
    later = timezone.now() + review.LEASE + timedelta(seconds=1)
    assert review.claim_one(reviewer=bo, drawing_id=drawing.pk, now=later).card == drawing
    drawing.refresh_from_db()
    assert drawing.claimed_by == bo


def test_a_decided_card_is_had_by_name_and_decided_anew(ann: User, bo: User) -> None:
    drawing = make_drawing(character="V")
    decide(ann, drawing)
    named = review.claim_one(reviewer=bo, drawing_id=drawing.pk)
    assert named.decided.startswith("ann approved it as V at ")
    assert (named.card.state, named.card.revision) == ("approved", 1)
    decide(bo, named.card, UNREADABLE)
    assert facts(drawing)[0] == "rejected"


def test_a_card_of_nobody_or_of_somebody_muted_is_not_had(ann: User) -> None:
    with pytest.raises(errors.DrawingGone):
        review.claim_one(reviewer=ann, drawing_id=uuid.uuid4())
    drawing = make_drawing()
    review.mute(Contributor.objects.filter(pk=drawing.contributor_id), by="max")
    with pytest.raises(errors.CardTaken, match="muted"):
        review.claim_one(reviewer=ann, drawing_id=drawing.pk)
    drawing.refresh_from_db()
    assert drawing.claimed_by is None
