"""Exports in the API, for staff with the right to them: ask for one, see how far it is."""

from __future__ import annotations

import uuid
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from letters import errors, export
from letters.api.answers import refusals, validated
from letters.models import Export

SHOWN = 50


class MayExport(BasePermission):
    """Staff with the right to take the data away."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user and request.user.is_staff and request.user.has_perm("letters.add_export"))


class ExportView(APIView):
    """For somebody who is logged in to the admin; what changes something carries the CSRF token."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (MayExport,)


class ExportRequestSerializer(serializers.Serializer[Any]):
    """Which file to make of the approved drawings."""

    format = serializers.ChoiceField(choices=Export.Format.choices)


class ExportSerializer(serializers.Serializer[Any]):
    """An export and how far it is."""

    id = serializers.UUIDField()
    format = serializers.ChoiceField(choices=Export.Format.choices)
    state = serializers.ChoiceField(choices=Export.State.choices)
    withdrawn = serializers.BooleanField(
        help_text="A drawing in it was withdrawn since: it is not handed out any more."
    )
    done = serializers.IntegerField(help_text="Drawings written.")
    total = serializers.IntegerField(help_text="Drawings to write.")
    message = serializers.CharField()
    size = serializers.IntegerField(help_text="Bytes.")
    requested_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


class ExportListSerializer(serializers.Serializer[Any]):
    """The newest exports, newest first."""

    exports = ExportSerializer(many=True)


def export_value(made: Export) -> dict[str, Any]:
    """An export as the API has it."""
    named = ("id", "format", "state", "done", "total", "message", "size", "requested_by", "created_at", "finished_at")
    return {name: getattr(made, name) for name in named} | {"withdrawn": made.withdrawn_at is not None}


class ExportsView(ExportView):
    """All exports."""

    @extend_schema(
        operation_id="exports",
        summary="The newest exports, newest first; for staff",
        responses={200: ExportListSerializer} | refusals(403),
    )
    def get(self, request: Request) -> Response:
        newest = [export_value(each) for each in Export.objects.all()[:SHOWN]]
        return Response({"exports": newest}, headers={"Cache-Control": "no-store"})

    @extend_schema(
        operation_id="request_export",
        summary="Have a file made of the approved drawings; for staff",
        description="One of the same format that is on its way already is answered instead.",
        request=ExportRequestSerializer,
        responses={202: ExportSerializer} | refusals(400, 403, 409, 415),
    )
    def post(self, request: Request) -> Response:
        data = validated(ExportRequestSerializer, request)
        made = export.request(data["format"], request.user.get_username())
        return Response(export_value(made), status=status.HTTP_202_ACCEPTED)


class OneExportView(ExportView):
    """One export."""

    @extend_schema(
        operation_id="export",
        summary="How far an export is; for staff",
        responses={200: ExportSerializer} | refusals(403, 404),
    )
    def get(self, request: Request, export_id: uuid.UUID) -> Response:
        made = Export.objects.filter(pk=export_id).first()
        if made is None:
            raise errors.ExportNotFound
        return Response(export_value(made), headers={"Cache-Control": "no-store"})
