"""What was collected, and who drew it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Count, F, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from letters import privacy, review
from letters.admin.keyset import KeysetAdmin, begins
from letters.models import Contributor, Decision, Drawing
from letters.serializers import data_url
from ml.labels import CLASSES

BulkAction = Callable[["DrawingAdmin", HttpRequest, QuerySet[Drawing]], None]


class WasRightFilter(admin.SimpleListFilter):
    """Letters that the model read right, or wrong."""

    title = "the model was"
    parameter_name = "was"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("right", "right"), ("wrong", "wrong")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Drawing]) -> QuerySet[Drawing]:
        if self.value() == "right":
            return queryset.filter(predicted=F("label"))
        if self.value() == "wrong":
            return queryset.exclude(predicted=F("label"))
        return queryset


class ClassFilter(admin.SimpleListFilter):
    """The 37 classes."""

    title = "class"
    parameter_name = "label"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(label, label) for label in CLASSES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Drawing]) -> QuerySet[Drawing]:
        return queryset.filter(label=self.value()) if self.value() else queryset


class YesOrNoFilter(admin.SimpleListFilter):
    """Rows in which a field has a value, or has none."""

    field: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "yes"), ("no", "no")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in ("yes", "no"):
            return queryset
        return queryset.filter(**{f"{self.field}__isnull": self.value() == "no"})


class DuplicateFilter(YesOrNoFilter):
    """Drawings that repeat another."""

    title, parameter_name, field = "duplicate", "duplicate", "duplicate_of"


class MutedFilter(YesOrNoFilter):
    """Contributors whose drawings stay out of the queue."""

    title, parameter_name, field = "muted", "muted", "muted_at"


def _rejection(reason: Decision.Reason) -> BulkAction:
    """The action that rejects for one reason."""

    @admin.action(description=f"Reject: {reason.label}", permissions=["review"])
    def reject(self: DrawingAdmin, request: HttpRequest, drawings: QuerySet[Drawing]) -> None:
        self.decide(request, drawings, review.Judgement("reject", reason=reason))

    reject.__name__ = f"reject_{reason}"
    return reject


class WithDecisionsAdmin(KeysetAdmin):
    """Rows with which the decisions about them go, though nobody may delete a decision by itself."""

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        listed, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return listed, counts, lacking - {Decision._meta.verbose_name}, protected


@admin.register(Drawing)
class DrawingAdmin(WithDecisionsAdmin):
    """What was collected: thumbnail, replay, prediction against label; found by letter, id or contributor."""

    list_display = ("thumbnail", "letter", "read_as", "state", "alike", "contributor", "arrived")
    list_display_links = ("thumbnail", "letter")
    list_filter = ("state", WasRightFilter, DuplicateFilter, "source", ClassFilter, "model", "created_at")
    list_select_related = ("contributor",)
    search_fields = ("label", "character", "id", "contributor")  # as found_by says
    search_help_text = "A letter, or how the id of a drawing or of a contributor begins."
    actions = ("approve", *(_rejection(reason) for reason in Decision.Reason))
    fields = (
        "replay",
        "letter",
        "character",
        "label",
        "read_as",
        "state",
        "decisions",
        "alike",
        "thumbnail",
        "contributor",
        "held_out",
        "model",
        "useful",
        "source",
        "canvas",
        "preprocess",
        "consent",
        "created_at",
        "id",
    )

    class Media:
        js = ("letters/js/admin-replay.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Drawing]:
        shown = super().get_queryset(request)
        match = request.resolver_match
        is_list = match is not None and (match.url_name or "").endswith("changelist")
        return shown.defer("strokes") if is_list else shown

    def found_by(self, words: str) -> Q:
        if len(words) == 1:
            return Q(character=words) | Q(label=words)
        return begins("id", words) | begins("contributor_id", words)

    def has_review_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("letters.review_drawing"))

    def delete_model(self, request: HttpRequest, obj: Drawing) -> None:
        privacy.delete_drawings([obj.pk])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Drawing]) -> None:
        privacy.delete_drawings(list(queryset.values_list("pk", flat=True)))

    @admin.action(description="Approve: show them, learn from them", permissions=["review"])
    def approve(self, request: HttpRequest, drawings: QuerySet[Drawing]) -> None:
        self.decide(request, drawings, review.Judgement("approve"))

    def decide(self, request: HttpRequest, drawings: QuerySet[Drawing], judgement: review.Judgement) -> None:
        """Decide about all of them that are not so already, and say what came of it."""
        state = Drawing.State.REJECTED if judgement.action == "reject" else Drawing.State.APPROVED
        seen = drawings.exclude(state=state).order_by().values_list("pk", "revision")
        outcomes = review.decide_all(reviewer=cast(User, request.user), drawings=seen, judgement=judgement)
        refused = [each.refusal for each in outcomes if each.refusal]
        self.message_user(request, f"{len(outcomes) - len(refused)} {state.label}.")
        for refusal in refused[:5]:
            self.message_user(request, refusal.message, messages.WARNING)

    @admin.display(description="image")
    def thumbnail(self, drawing: Drawing) -> SafeString:
        return format_html(
            '<img class="letter-thumbnail" src="{}" width="56" height="56" alt="drawn: {}">',
            data_url(bytes(drawing.image)),
            drawing.letter,
        )

    @admin.display(description="letter")
    def letter(self, drawing: Drawing) -> str:
        return drawing.letter

    @admin.display(description="strokes")
    def replay(self, drawing: Drawing) -> SafeString:
        return format_html(
            '<canvas class="letter-replay" width="320" height="320" tabindex="0" role="img" aria-label="{}"'
            ' data-strokes="{}" data-width="{}" data-height="{}"></canvas>'
            '<button type="button" class="button letter-replay-again">Draw it again</button>',
            f"The strokes of the letter {drawing.letter}",
            json.dumps(drawing.strokes),
            drawing.canvas_width,
            drawing.canvas_height,
        )

    @admin.display(description="the model read")
    def read_as(self, drawing: Drawing) -> SafeString:
        return format_html(
            '<span class="{}">{} {}, {} %</span>',
            "read-right" if drawing.was_right else "read-wrong",
            "✓" if drawing.was_right else "✗",
            drawing.predicted,
            f"{100 * drawing.probability:.1f}",
        )

    @admin.display(description="duplicate")
    def alike(self, drawing: Drawing) -> SafeString | str:
        if drawing.duplicate_of_id is None:
            return ""
        address = reverse("admin:letters_drawing_change", args=(drawing.duplicate_of_id,))
        return format_html('<a href="{}">{}</a>', address, drawing.get_likeness_display())

    @admin.display(description="decisions")
    def decisions(self, drawing: Drawing) -> SafeString | str:
        made = [(f"{each.created_at:%Y-%m-%d}: {review.in_words(each)}",) for each in drawing.decisions.all()]
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}</li>", made)) if made else "none yet"

    @admin.display(description="its contributor")
    def held_out(self, drawing: Drawing) -> str:
        return "judges models" if drawing.contributor.held_out else "trains models"

    @admin.display(description="usefulness of a review")
    def useful(self, drawing: Drawing) -> str:
        return f"{drawing.usefulness:.2f} of 1"

    @admin.display(description="arrived")
    def arrived(self, drawing: Drawing) -> str:
        return f"{drawing.created_at:%Y-%m-%d %H:%M}"

    @admin.display(description="canvas")
    def canvas(self, drawing: Drawing) -> str:
        return f"{drawing.canvas_width:g} x {drawing.canvas_height:g}"


def _number_of_drawings(**kind: str) -> Subquery:
    """Of a contributor; counted for those on the page alone."""
    own = Drawing.objects.filter(contributor=OuterRef("pk"), **kind).order_by().values("contributor")
    return Subquery(own.annotate(number=Count("pk")).values("number"), output_field=IntegerField())


@admin.register(Contributor)
class ContributorAdmin(WithDecisionsAdmin):
    """Who drew: a random id, and what became of the drawings."""

    list_display = ("name", "drawn", "approved", "rejected", "use", "muted", "arrived")
    list_filter = ("held_out", MutedFilter)
    search_fields = ("id",)  # as found_by says
    search_help_text = "How the id of a contributor begins."
    actions = ("mute", "let_back_in")
    fields = ("id", "drawn", "approved", "rejected", "held_out", "muted_at", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Contributor]:
        counted: QuerySet[Contributor] = (
            super()
            .get_queryset(request)
            .annotate(
                drawn=_number_of_drawings(),
                approved=_number_of_drawings(state=Drawing.State.APPROVED),
                rejected=_number_of_drawings(state=Drawing.State.REJECTED),
            )
        )
        return counted

    def found_by(self, words: str) -> Q:
        return begins("id", words)

    def delete_model(self, request: HttpRequest, obj: Contributor) -> None:
        privacy.forget(obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Contributor]) -> None:
        for pk in list(queryset.values_list("pk", flat=True)):
            privacy.forget(pk)

    def has_mute_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("letters.mute_contributor"))

    @admin.action(
        description="Mute: keep what they send out of the review queue, and what was approved out of view",
        permissions=["mute"],
    )
    def mute(self, request: HttpRequest, contributors: QuerySet[Contributor]) -> None:
        self.message_user(request, f"{review.mute(contributors, by=request.user.get_username())} muted.")

    @admin.action(description="Let back in", permissions=["mute"])
    def let_back_in(self, request: HttpRequest, contributors: QuerySet[Contributor]) -> None:
        self.message_user(request, f"{review.unmute(contributors, by=request.user.get_username())} let back in.")

    @admin.display(description="drawings")
    def drawn(self, contributor: Any) -> SafeString:
        address = reverse("admin:letters_drawing_changelist") + f"?contributor__id__exact={contributor.pk}"
        return format_html('<a href="{}">{}</a>', address, contributor.drawn or 0)

    def approved(self, contributor: Any) -> int:
        return contributor.approved or 0

    def rejected(self, contributor: Any) -> int:
        return contributor.rejected or 0

    @admin.display(description="contributor")
    def name(self, contributor: Contributor) -> str:
        return str(contributor)

    @admin.display(description="use")
    def use(self, contributor: Contributor) -> str:
        return "judges models" if contributor.held_out else "trains models"

    def muted(self, contributor: Contributor) -> str:
        return f"since {contributor.muted_at:%Y-%m-%d}" if contributor.muted_at else ""

    @admin.display(description="since")
    def arrived(self, contributor: Contributor) -> str:
        return f"{contributor.created_at:%Y-%m-%d %H:%M}"


@admin.register(Decision)
class DecisionAdmin(KeysetAdmin):
    """Who decided what, when and why. Nobody alters it."""

    list_display = ("created_at", "actor", "action", "reason", "was", "became", "drawing")
    list_filter = ("action", "reason", "created_at")
    list_select_related = ("drawing",)
    search_fields = ("actor", "drawing")  # as found_by says
    search_help_text = "The name of a reviewer, or how the id of a drawing begins."

    def found_by(self, words: str) -> Q:
        return Q(actor=words) | begins("drawing_id", words)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="before")
    def was(self, decision: Decision) -> str:
        return f"{decision.old_character}, {decision.get_old_state_display()}"

    @admin.display(description="after")
    def became(self, decision: Decision) -> str:
        return f"{decision.new_character}, {decision.get_new_state_display()}"
