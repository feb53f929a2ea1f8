"""A contributor's own letters in the API: see them page by page, download them, delete them.

Whose they are the browser's cookie says, or the secret of a link in the header `X-Mine`.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from letters import contributors, errors, mine, privacy
from letters import serializers as s
from letters.api.answers import refusals, validated
from letters.models import Decision, Drawing, Export
from letters.throttles import FileThrottle
from ml.labels import CHARACTERS

DELETE_WITHIN = 8.0  # seconds of a request; the next one goes on
NOT_STORED = {"Cache-Control": "no-store"}
MINE_HEADER = OpenApiParameter(
    "X-Mine", str, OpenApiParameter.HEADER, description="The secret of a link, in place of the browser's cookie."
)


class HoldingExportSerializer(serializers.Serializer[Any]):
    """A data set that holds a drawing."""

    format = serializers.ChoiceField(choices=Export.Format.choices)
    made_at = serializers.DateTimeField()
    handed_out = serializers.BooleanField()


class MyDrawingSerializer(s.OwnDrawingSerializer):
    """A drawing as its contributor sees it in a list, and what became of it."""

    letter = serializers.ChoiceField(choices=CHARACTERS, help_text="As it counts: a reviewer may have corrected it.")
    reason = serializers.ChoiceField(
        choices=Decision.Reason.choices, allow_blank=True, help_text="Why it was rejected; empty where it was not."
    )
    consent = serializers.CharField(help_text="The version of the words agreed to.")
    learned_by = serializers.ListField(
        child=serializers.IntegerField(), help_text="Models that learned from it, by number."
    )
    exports = HoldingExportSerializer(many=True, help_text="Data sets that it is in, as far as they are kept here.")


class MyDrawingsSerializer(serializers.Serializer[Any]):
    """Some drawings of a contributor, newest first."""

    drawings = MyDrawingSerializer(many=True)
    total = serializers.IntegerField(help_text="All of them, also those beyond this page.")
    next = serializers.CharField(allow_null=True, help_text="The `cursor` of the page after this; null at the end.")
    key = serializers.CharField(
        allow_null=True, help_text="The secret for `X-Mine`, by which they are seen from elsewhere; null without any."
    )


class OutlookSerializer(serializers.Serializer[Any]):
    """What it would mean to delete all of them."""

    drawings = serializers.IntegerField()
    models = serializers.ListField(
        child=serializers.IntegerField(), help_text="Models that learned from them, by number: they stay as they are."
    )
    serving = serializers.IntegerField(allow_null=True, help_text="The one of these models that serves now.")
    exports = serializers.IntegerField(help_text="Data sets that may hold some, and would be handed out no more.")
    confirm = serializers.CharField(help_text="Send it with the deletion, within ten minutes.")


class DeletionRequestSerializer(serializers.Serializer[Any]):
    """What to delete: some drawings by their ids, or everything of the contributor."""

    confirm = s.StrictTextField(max_length=200, help_text="From GET drawings/mine/deletion.")
    drawings = serializers.ListField(child=serializers.UUIDField(), required=False, max_length=mine.MOST)
    everything = serializers.BooleanField(required=False, default=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("drawings" in attrs) == attrs["everything"]:
            raise serializers.ValidationError("Send `drawings` or `everything: true`, one of them.")
        return attrs


class DeletedSerializer(serializers.Serializer[Any]):
    """What was deleted."""

    deleted = serializers.IntegerField(help_text="Drawings that are gone, with all that was made of them.")
    left = serializers.IntegerField(help_text="Where there were very many: those left. The same request goes on.")
    forgotten = serializers.BooleanField(help_text="Nothing of the contributor is left, and the cookie is deleted.")


class PageRequestSerializer(serializers.Serializer[Any]):
    """Which page."""

    cursor = serializers.CharField(required=False, default="", max_length=64)
    limit = serializers.IntegerField(required=False, default=mine.SHOWN, min_value=1, max_value=mine.MOST)


def owner(request: Request) -> uuid.UUID | None:
    """Whose letters are asked for; None for whoever never gave one. Raises KeyNotFound."""
    key = request.headers.get("X-Mine")
    return contributors.known(request) if key is None else mine.owner_of(key)


def my_drawing(drawing: Drawing, fate: privacy.Fate) -> dict[str, Any]:
    """One of a list."""
    return s.own_drawing(drawing) | {
        "letter": drawing.letter,
        "reason": fate.reason,
        "consent": drawing.consent,
        "learned_by": fate.learned_by,
        "exports": [mine.export_value(each) for each in fate.exports],
    }


class MyDrawingsView(APIView):
    """What somebody gave."""

    @extend_schema(
        operation_id="my_drawings",
        summary="What this browser has given, newest first",
        parameters=[PageRequestSerializer, MINE_HEADER],
        responses={200: MyDrawingsSerializer} | refusals(400, 404),
    )
    def get(self, request: Request) -> Response:
        asked = PageRequestSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        contributor = owner(request)
        found = mine.page(contributor, after=asked.validated_data["cursor"], limit=asked.validated_data["limit"])
        body = {
            "drawings": [my_drawing(each, found.fates[each.pk]) for each in found.drawings],
            "total": found.total,
            "next": found.after or None,
            "key": mine.key_of(contributor) if contributor and found.total else None,
        }
        return Response(body, headers=NOT_STORED)


class MyFileView(APIView):
    """All of it as one file."""

    throttle_classes = (FileThrottle,)

    @extend_schema(
        operation_id="my_file",
        summary="All that this browser has given, as one .zip file",
        parameters=[MINE_HEADER],
        responses={(200, "application/zip"): OpenApiResponse(OpenApiTypes.BINARY)} | refusals(404, 429),
    )
    def get(self, request: Request) -> HttpResponseBase:
        contributor = owner(request)
        if contributor is None:
            raise errors.NothingGiven
        pieces = mine.archive(contributor, request.build_absolute_uri("/").rstrip("/"))
        name = f"my-letters-{timezone.now():%Y-%m-%d}.zip"
        headers = NOT_STORED | {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingHttpResponse(filter(None, pieces), content_type="application/zip", headers=headers)


class MyDeletionView(APIView):
    """Take it back: first what it would mean, then do it."""

    @extend_schema(
        operation_id="my_deletion",
        summary="What it would mean to delete all that this browser has given",
        parameters=[MINE_HEADER],
        responses={200: OutlookSerializer} | refusals(404),
    )
    def get(self, request: Request) -> Response:
        contributor = owner(request)
        if contributor is None:
            raise errors.NothingGiven
        found = privacy.outlook(contributor)
        body = {
            "drawings": found.drawings,
            "models": found.models,
            "serving": found.serving,
            "exports": found.exports,
            "confirm": mine.confirmation_for(contributor),
        }
        return Response(body, headers=NOT_STORED)

    @extend_schema(
        operation_id="delete_mine",
        summary="Delete some or all that this browser has given, and all that was made of it",
        description="With `everything` the contributor and the cookie go too. Of very many drawings one request deletes"
        " as many as it can within some seconds: where `left` is not 0, send it again.",
        parameters=[MINE_HEADER],
        request=DeletionRequestSerializer,
        responses={200: DeletedSerializer} | refusals(400, 403, 404, 415),
    )
    def post(self, request: Request) -> Response:
        data = validated(DeletionRequestSerializer, request)
        contributor = owner(request)
        if contributor is None:
            raise errors.NothingGiven
        mine.check_confirmation(data["confirm"], contributor)
        if not data["everything"]:
            deleted = privacy.delete_of(contributor, data["drawings"])
            return Response({"deleted": deleted, "left": 0, "forgotten": False}, headers=NOT_STORED)
        done = privacy.forget(contributor, within=DELETE_WITHIN)
        body = {"deleted": done.deleted, "left": done.left, "forgotten": done.is_done}
        response = Response(body, headers=NOT_STORED)
        if done.is_done and contributors.known(request) in (None, contributor):
            contributors.forget(response)
        return response
