"""The staff's side of the API: the review queue. Parse, call a step, answer."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, cast

from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from letters import census, errors, reports, review
from letters.api.answers import refusals, validated
from letters.models import Contributor, Decision, Drawing, Examination, Serving
from letters.serializers import CanvasSerializer, ModelReferenceSerializer, StrokesField, data_url, model_reference
from ml.labels import CHARACTERS, CLASSES

CARDS_AT_ONCE = 48
HELD_AT_ONCE = 200
WAITING_COUNTED = 2_000  # cards; that there are more says enough


class MayReview(BasePermission):
    """Staff with the right to review."""

    permission = "letters.review_drawing"

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user and request.user.is_staff and request.user.has_perm(self.permission))


class MayMute(MayReview):
    """Staff with the right to mute contributors."""

    permission = "letters.mute_contributor"


class StaffView(APIView):
    """For somebody who is logged in to the admin; every request that changes something carries the CSRF token."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (MayReview,)


# --- What comes ----------------------------------------------------------------------------------------------------


class WantedSerializer(serializers.Serializer[Any]):
    """Which cards, and in which order."""

    state = serializers.ChoiceField(choices=Drawing.State.choices, default=Drawing.State.PENDING)
    label = serializers.ChoiceField(choices=("", *CLASSES), default="")  # type: ignore[assignment]
    contributor = serializers.UUIDField(allow_null=True, default=None)
    source = serializers.ChoiceField(choices=(("", "all"), *Drawing.Source.choices), default="")  # type: ignore[assignment]
    since = serializers.DateField(allow_null=True, default=None)
    until = serializers.DateField(allow_null=True, default=None, help_text="That day included.")
    reported = serializers.BooleanField(
        default=False, help_text="Those alone that visitors reported and nobody has decided about, in whatever state."
    )
    duplicates = serializers.BooleanField(allow_null=True, default=None, help_text="Them alone, or none of them.")
    order = serializers.ChoiceField(choices=tuple(review.ORDERS), default="useful")


class ClaimSerializer(serializers.Serializer[Any]):
    """Ask for cards, and keep those that one has."""

    wanted = WantedSerializer()
    count = serializers.IntegerField(min_value=0, max_value=CARDS_AT_ONCE, default=24)
    holding = serializers.ListField(child=serializers.UUIDField(), max_length=HELD_AT_ONCE, default=list)


class ReleaseSerializer(serializers.Serializer[Any]):
    """Cards to put back."""

    cards = serializers.ListField(child=serializers.UUIDField(), max_length=HELD_AT_ONCE)


class JudgementSerializer(serializers.Serializer[Any]):
    """What is to become of a drawing."""

    action = serializers.ChoiceField(choices=("approve", "reject", "relabel"))
    reason = serializers.ChoiceField(
        choices=(("", "none"), *Decision.Reason.choices), default="", help_text="Of a rejection."
    )
    character = serializers.ChoiceField(choices=("", *CHARACTERS), default="", help_text="To relabel it as.")


class SeenSerializer(serializers.Serializer[Any]):
    """A drawing as the reviewer saw it."""

    drawing = serializers.UUIDField()
    revision = serializers.IntegerField(min_value=0)


class DecideSerializer(SeenSerializer, JudgementSerializer):
    """A decision about one drawing."""


class DecideAllSerializer(JudgementSerializer):
    """The same decision about several drawings."""

    cards = serializers.ListField(child=SeenSerializer(), min_length=1, max_length=HELD_AT_ONCE)


class UndoSerializer(serializers.Serializer[Any]):
    """Which decision; the reviewer's last that still stands where none is named."""

    decision = serializers.IntegerField(min_value=1, allow_null=True, default=None)


# --- What goes -----------------------------------------------------------------------------------------------------


class ReadingSerializer(serializers.Serializer[Any]):
    """What a model read."""

    label = serializers.CharField()  # type: ignore[assignment]
    probability = serializers.FloatField()
    model = ModelReferenceSerializer()


class ExaminedSerializer(ReadingSerializer):
    """What the serving model reads."""

    label_probability = serializers.FloatField(help_text="Of the class that the drawing has.")
    unfamiliarity = serializers.FloatField(help_text="Above 1 it looks like no letter that the model knows.")
    stale = serializers.BooleanField(help_text="Another model serves by now.")


class AlikeSerializer(serializers.Serializer[Any]):
    """The earlier drawing that this one repeats."""

    id = serializers.UUIDField()
    likeness = serializers.ChoiceField(choices=Drawing.Likeness.choices)
    letter = serializers.CharField()
    state = serializers.ChoiceField(choices=Drawing.State.choices)
    image = serializers.CharField()


class HistorySerializer(serializers.Serializer[Any]):
    """Who drew it, and what became of the others."""

    id = serializers.UUIDField()
    drawings = serializers.IntegerField()
    approved = serializers.IntegerField()
    rejected = serializers.IntegerField()
    held_out = serializers.BooleanField(help_text="These drawings judge models and train none.")
    muted = serializers.BooleanField()


class SaidSerializer(serializers.Serializer[Any]):
    """What visitors reported."""

    reason = serializers.CharField()
    count = serializers.IntegerField()
    answered = serializers.BooleanField(help_text="A reviewer decided about it already.")


class CardSerializer(serializers.Serializer[Any]):
    """All that a reviewer decides by."""

    id = serializers.UUIDField()
    revision = serializers.IntegerField()
    state = serializers.ChoiceField(choices=Drawing.State.choices)
    letter = serializers.CharField(help_text="As it stands.")
    typed = serializers.CharField(help_text="As its contributor typed it.")
    label = serializers.CharField()  # type: ignore[assignment]
    source = serializers.ChoiceField(choices=Drawing.Source.choices)  # type: ignore[assignment]
    created_at = serializers.DateTimeField()
    usefulness = serializers.FloatField(help_text="0 to 1: how much a review of it is likely to teach.")
    strokes = StrokesField(help_text="Empty for an imported picture.")
    canvas = CanvasSerializer()
    image = serializers.CharField(help_text="28x28: a data URL of a PNG.")
    read = ReadingSerializer(help_text="By the model that served when it was drawn.")
    reads = ExaminedSerializer(allow_null=True, help_text="By the serving model; null until it was examined.")
    duplicate_of = AlikeSerializer(allow_null=True)
    reports = SaidSerializer(many=True, help_text="What waits before what was answered.")
    contributor = HistorySerializer()


class DeskSerializer(serializers.Serializer[Any]):
    """New cards, and what became of the old ones."""

    cards = CardSerializer(many=True)
    lost = serializers.ListField(
        child=serializers.UUIDField(), help_text="Held no longer: decided, withdrawn, muted or with another reviewer."
    )
    waiting = serializers.IntegerField(help_text="How many drawings are as wanted, these among them.")
    more_wait = serializers.BooleanField(help_text=f"There are more than {WAITING_COUNTED}, and they are not counted.")
    lease = serializers.IntegerField(help_text="Seconds after which a card that is not renewed is another's.")


class NamedCardSerializer(serializers.Serializer[Any]):
    """The card of one drawing."""

    card = CardSerializer()
    decided = serializers.CharField(help_text="Who decided what about it last, in words; empty where nobody did.")


class DecidedSerializer(serializers.Serializer[Any]):
    """A decision as it was written down."""

    decision = serializers.IntegerField()
    drawing = serializers.UUIDField()
    state = serializers.ChoiceField(choices=Drawing.State.choices)
    letter = serializers.CharField()


class OutcomeSerializer(serializers.Serializer[Any]):
    """What came of one of several decisions: its number, or why there is none."""

    drawing = serializers.UUIDField()
    decision = serializers.IntegerField(allow_null=True)
    code = serializers.CharField(required=False)
    message = serializers.CharField(required=False)


class OutcomesSerializer(serializers.Serializer[Any]):
    """By drawing."""

    outcomes = OutcomeSerializer(many=True)


class UndoneSerializer(serializers.Serializer[Any]):
    """The decision that was taken back, and the card as it is again."""

    undone = serializers.IntegerField()
    card = CardSerializer()


class MutedSerializer(serializers.Serializer[Any]):
    """Whether a contributor is muted now."""

    id = serializers.UUIDField()
    muted = serializers.BooleanField()


def cards(drawings: Sequence[Drawing]) -> list[dict[str, Any]]:
    """What the cards of drawings show."""
    histories = review.histories(each.contributor_id for each in drawings)
    said = reports.said_of([each.pk for each in drawings])
    serving = Serving.objects.values_list("model_id", flat=True).first()
    return [_card(each, histories[each.contributor_id], said[each.pk], serving) for each in drawings]


def _card(drawing: Drawing, history: review.History, said: list[reports.Said], serving: int | None) -> dict[str, Any]:
    examined: Examination | None = getattr(drawing, "examination", None)
    return {
        "id": drawing.pk,
        "revision": drawing.revision,
        "state": drawing.state,
        "letter": drawing.letter,
        "typed": drawing.character,
        "label": drawing.label,
        "source": drawing.source,
        "created_at": drawing.created_at,
        "usefulness": round(drawing.usefulness, 4),
        "strokes": drawing.strokes,
        "canvas": {"width": drawing.canvas_width, "height": drawing.canvas_height},
        "image": data_url(bytes(drawing.image)),
        "read": {
            "label": drawing.predicted,
            "probability": drawing.probability,
            "model": model_reference(drawing.model),
        },
        "reads": _examined(examined, serving) if examined else None,
        "duplicate_of": _alike(drawing) if drawing.duplicate_of else None,
        "reports": [vars(each) for each in said],
        "contributor": {
            "id": drawing.contributor_id,
            "drawings": history.drawings,
            "approved": history.approved,
            "rejected": history.rejected,
            "held_out": drawing.contributor.held_out,
            "muted": drawing.contributor.muted_at is not None,
        },
    }


def _examined(examined: Examination, serving: int | None) -> dict[str, Any]:
    return {
        "label": examined.predicted,
        "probability": examined.probability,
        "label_probability": examined.label_probability,
        "unfamiliarity": round(examined.unfamiliarity, 3),
        "model": model_reference(examined.model),
        "stale": examined.model_id != serving,
    }


def _alike(drawing: Drawing) -> dict[str, Any]:
    original = cast(Drawing, drawing.duplicate_of)
    return {
        "id": original.pk,
        "likeness": drawing.likeness,
        "letter": original.letter,
        "state": original.state,
        "image": data_url(bytes(original.image)),
    }


# --- Views ---------------------------------------------------------------------------------------------------------


def _reviewer(request: Request) -> User:
    return cast(User, request.user)  # the permission saw to it


class CardsView(StaffView):
    """Cards for a reviewer's desk."""

    @extend_schema(
        operation_id="claim_cards",
        summary="Take cards from the review queue, and keep those that one has",
        description="For reviewers. A card is nobody else's until its lease has run out; ask again to renew it.",
        request=ClaimSerializer,
        responses={200: DeskSerializer} | refusals(400, 403, 415),
    )
    def post(self, request: Request) -> Response:
        data = validated(ClaimSerializer, request)
        wanted = review.Wanted(**data["wanted"])
        desk = review.claim(reviewer=_reviewer(request), wanted=wanted, count=data["count"], holding=data["holding"])
        waiting = census.up_to(review.queue(wanted), WAITING_COUNTED, in_order=wanted.duplicates is False)
        return Response(
            {
                "cards": cards(desk.cards),
                "lost": desk.lost,
                "waiting": min(waiting, WAITING_COUNTED),
                "more_wait": waiting > WAITING_COUNTED,
                "lease": int(review.LEASE.total_seconds()),
            }
        )


class CardView(StaffView):
    """One card by name."""

    @extend_schema(
        operation_id="claim_card",
        summary="Take the card of one drawing, also of one that was decided",
        description="For reviewers. It is nobody else's until its lease has run out, like any other card.",
        request=None,
        responses={200: NamedCardSerializer} | refusals(403, 404, 409),
    )
    def post(self, request: Request, drawing_id: uuid.UUID) -> Response:
        named = review.claim_one(reviewer=_reviewer(request), drawing_id=drawing_id)
        (card,) = cards([named.card])
        return Response({"card": card, "decided": named.decided})


class ReleaseView(StaffView):
    """Cards that a reviewer will not decide."""

    @extend_schema(
        operation_id="release_cards",
        summary="Put cards back for other reviewers",
        description="For reviewers.",
        request=ReleaseSerializer,
        responses={204: None} | refusals(400, 403, 415),
    )
    def post(self, request: Request) -> Response:
        review.release(reviewer=_reviewer(request), drawing_ids=validated(ReleaseSerializer, request)["cards"])
        return Response(status=status.HTTP_204_NO_CONTENT)


class DecisionsView(StaffView):
    """One decision."""

    @extend_schema(
        operation_id="decide",
        summary="Approve, reject or relabel a drawing",
        description="For reviewers. `revision` is that of the card; the same request again is answered as before.",
        request=DecideSerializer,
        responses={201: DecidedSerializer} | refusals(400, 403, 404, 409, 415),
    )
    def post(self, request: Request) -> Response:
        data = validated(DecideSerializer, request)
        decision = review.decide(
            reviewer=_reviewer(request),
            drawing_id=data["drawing"],
            revision=data["revision"],
            judgement=_judgement(data),
        )
        value = {
            "decision": decision.pk,
            "drawing": decision.drawing_id,
            "state": decision.new_state,
            "letter": decision.new_character,
        }
        return Response(value, status=status.HTTP_201_CREATED)


class BulkDecisionsView(StaffView):
    """The same decision about many."""

    @extend_schema(
        operation_id="decide_all",
        summary="Approve, reject or relabel a selection of drawings",
        description="For reviewers. Each drawing is decided for itself: one that is refused holds up no other.",
        request=DecideAllSerializer,
        responses={200: OutcomesSerializer} | refusals(400, 403, 415),
    )
    def post(self, request: Request) -> Response:
        data = validated(DecideAllSerializer, request)
        seen = [(each["drawing"], each["revision"]) for each in data["cards"]]
        outcomes = review.decide_all(reviewer=_reviewer(request), drawings=seen, judgement=_judgement(data))
        return Response({"outcomes": [_outcome(each) for each in outcomes]})


def _judgement(data: dict[str, Any]) -> review.Judgement:
    return review.Judgement(data["action"], data["reason"], data["character"])


def _outcome(outcome: review.Outcome) -> dict[str, Any]:
    refusal = outcome.refusal
    return {
        "drawing": outcome.drawing_id,
        "decision": outcome.decision.pk if outcome.decision else None,
    } | ({"code": refusal.code, "message": refusal.message} if refusal else {})


class UndoView(StaffView):
    """Take a decision back."""

    @extend_schema(
        operation_id="undo_decision",
        summary="Take back one's own decision",
        description="For reviewers. The card is back on the desk of whoever takes it back.",
        request=UndoSerializer,
        responses={200: UndoneSerializer} | refusals(400, 403, 404, 409, 415),
    )
    def post(self, request: Request) -> Response:
        undone = review.undo(reviewer=_reviewer(request), decision_id=validated(UndoSerializer, request)["decision"])
        (card,) = cards([review.card(undone.drawing_id)])
        return Response({"undone": undone.undoes_id, "card": card})


class MuteView(StaffView):
    """A contributor whose drawings stay out of the queue."""

    permission_classes = (MayMute,)

    @extend_schema(
        operation_id="mute_contributor",
        summary="Keep what a contributor sends out of the review queue",
        description="For maintainers.",
        request=None,
        responses={200: MutedSerializer} | refusals(403, 404),
    )
    def post(self, request: Request, contributor_id: uuid.UUID) -> Response:
        review.mute(_one(contributor_id), by=_reviewer(request).get_username())
        return Response({"id": contributor_id, "muted": True})

    @extend_schema(
        operation_id="unmute_contributor",
        summary="Let a contributor back into the review queue",
        description="For maintainers.",
        responses={200: MutedSerializer} | refusals(403, 404),
    )
    def delete(self, request: Request, contributor_id: uuid.UUID) -> Response:
        review.unmute(_one(contributor_id), by=_reviewer(request).get_username())
        return Response({"id": contributor_id, "muted": False})


def _one(contributor_id: uuid.UUID) -> QuerySet[Contributor]:
    found = Contributor.objects.filter(pk=contributor_id)
    if not found.exists():
        raise errors.ContributorNotFound
    return found
