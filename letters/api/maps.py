"""Maps in the API: for all to look at, for staff to have made."""

from __future__ import annotations

import gzip
import hashlib
import uuid
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.cache import get_conditional_response
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, PolymorphicProxySerializer, extend_schema
from rest_framework import negotiation, serializers, status
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from letters import emnist_images, errors, map_files, maps, registry
from letters import serializers as s
from letters.api.answers import refusals, validated
from letters.api.runs import is_allowed
from letters.models import LetterMap
from ml.labels import CLASSES

MAP_POINTS = 3_700  # of the drawing page's small map
FOR_EVER = "public, max-age=31536000, immutable"
FIGURES = {
    "figure.svg": "image/svg+xml",
    "figure.png": "image/png",
    "explained.svg": "image/svg+xml",
    "components.svg": "image/svg+xml",
}
COLUMNS = (
    "Columns, one after the other, little-endian, for N points: places int16[2N] (x, y of each, 32767 is 1), "
    "label u8[N], predicted u8[N] (positions in A..Z a b d e f g h n q r t), probability u8[N] (255 is 1), "
    "flags u8[N] (1 collected, 2 suspected of a wrong label)"
)


class MayMakeMaps(BasePermission):
    """Anybody may look; staff with the right to it may have maps made."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.method in ("GET", "HEAD", "OPTIONS") or may_make(request)


class SeesMaking(BasePermission):
    """Staff with the right to have maps made."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return may_make(request)


def may_make(request: Request) -> bool:
    """Whether somebody is logged in to the admin and may have maps made."""
    return is_allowed(request, "letters.make_lettermap")


class AnyAnswer(negotiation.BaseContentNegotiation):
    """A file is what it is, whatever the request says that it accepts."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return next(iter(parsers), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


# --- What goes -----------------------------------------------------------------------------------------------------


class MapModelSerializer(serializers.Serializer[Any]):
    """The model that read the letters."""

    number = serializers.IntegerField()
    digest = serializers.CharField()


class MapCountsSerializer(serializers.Serializer[Any]):
    """How many letters a map shows."""

    emnist = serializers.IntegerField()
    collected = serializers.IntegerField(help_text="Approved drawings, as of now.")
    classes = serializers.DictField(child=serializers.IntegerField(), help_text="Both together, of each class.")


class MapQualitySerializer(serializers.Serializer[Any]):
    """How true a map is to the space it is of; null where that is not known yet."""

    trustworthiness = serializers.FloatField(allow_null=True, help_text="0 to 1: neighbours on it are neighbours.")
    knn_plane = serializers.FloatField(allow_null=True, help_text="Share read right by the nearest on the map.")
    knn_space = serializers.FloatField(allow_null=True, help_text="Share read right by the nearest in the space.")
    moved_mean = serializers.FloatField(allow_null=True, help_text="How far old points moved, of the map's width.")
    moved_largest = serializers.FloatField(allow_null=True)


class MapSheetsSerializer(serializers.Serializer[Any]):
    """How thumbnails lie on their sheets: that of EMNIST point i is tile i % 1024 of sheet i // 1024."""

    count = serializers.IntegerField()
    columns = serializers.IntegerField()
    rows = serializers.IntegerField()
    tile = serializers.IntegerField(help_text="Pixels each way.")


class MapUrlsSerializer(serializers.Serializer[Any]):
    """Where a map's files are; null where there are none, or not yet."""

    emnist = serializers.CharField()
    collected = serializers.CharField()
    svg = serializers.CharField(allow_null=True)
    png = serializers.CharField(allow_null=True)
    explained_svg = serializers.CharField(allow_null=True)
    components_svg = serializers.CharField(allow_null=True)


class MapSummarySerializer(serializers.Serializer[Any]):
    """A map, without its points."""

    id = serializers.UUIDField()
    method = serializers.ChoiceField(choices=LetterMap.Method.choices)
    space = serializers.ChoiceField(choices=LetterMap.Space.choices)
    model = MapModelSerializer()
    models = serializers.ListField(
        child=serializers.CharField(),
        help_text="Digests of all models with these features: what one of them reads lies on this map. Of pixels none.",
    )
    created_at = serializers.DateTimeField()
    published_at = serializers.DateTimeField()
    counts = MapCountsSerializer()
    quality = MapQualitySerializer()
    explained = serializers.ListField(
        child=serializers.FloatField(), allow_null=True, help_text="Cumulative share of variance, PCA and SVD."
    )
    has_images = serializers.BooleanField(help_text="Whether there are thumbnails of the EMNIST letters.")
    sheets = MapSheetsSerializer()
    urls = MapUrlsSerializer()


class MakingSerializer(serializers.Serializer[Any]):
    """A map on its way."""

    id = serializers.UUIDField()
    method = serializers.ChoiceField(choices=LetterMap.Method.choices)
    space = serializers.ChoiceField(choices=LetterMap.Space.choices)
    state = serializers.ChoiceField(choices=LetterMap.State.choices)
    share = serializers.FloatField(help_text="0 to 1.")


class MapsSerializer(serializers.Serializer[Any]):
    """The newest map of each method and space, and what is on its way."""

    maps = MapSummarySerializer(many=True)
    making = MakingSerializer(many=True)


def summary(found: LetterMap, collected: dict[str, int]) -> dict[str, Any]:
    """A map as the API has it; `collected`: how many drawings it shows now, by class."""
    quality = ("trustworthiness", "knn_plane", "knn_space", "moved_mean", "moved_largest")
    model = found.model
    assert model is not None  # noqa: S101 - for the type checker: a published map has one
    return {
        "id": str(found.pk),
        "method": found.method,
        "space": found.space,
        "model": {"number": model.number, "digest": model.digest[:12]},
        "models": [digest[:12] for digest in maps.models_of(found)],
        "created_at": found.created_at,
        "published_at": found.published_at,
        "counts": {
            "emnist": found.emnist_count,
            "collected": sum(collected.values()),
            "classes": {label: found.counts.get(label, 0) + collected.get(label, 0) for label in CLASSES},
        },
        "quality": {name: found.quality.get(name) for name in quality},
        "explained": found.explained,
        "has_images": found.has_images,
        "sheets": {
            "count": found.sheets,
            "columns": map_files.TILES_ACROSS,
            "rows": map_files.TILES_DOWN,
            "tile": map_files.TILE,
        },
        "urls": _urls(found),
    }


def _urls(found: LetterMap) -> dict[str, str | None]:
    def figure(name: str) -> str | None:
        return reverse("map-file", args=[found.pk, name]) if name in found.files else None

    return {
        "emnist": reverse("map-emnist", args=[found.pk]),
        "collected": reverse("map-collected", args=[found.pk]),
        "svg": figure("figure.svg"),
        "png": figure("figure.png"),
        "explained_svg": figure("explained.svg"),
        "components_svg": figure("components.svg"),
    }


def summaries(found: list[LetterMap]) -> list[dict[str, Any]]:
    """Several at once."""
    collected = maps.collected_counts(found)
    return [summary(each, collected.get(each.pk, {})) for each in found]


def _making(made: LetterMap) -> dict[str, Any]:
    named = {name: getattr(made, name) for name in ("method", "space", "state")}
    return {"id": str(made.pk), "share": float(made.progress.get("share", 0.0))} | named


# --- To have made --------------------------------------------------------------------------------------------------


class MapRequestSerializer(serializers.Serializer[Any]):
    """Which map to make."""

    method = serializers.ChoiceField(choices=LetterMap.Method.choices)
    space = serializers.ChoiceField(choices=LetterMap.Space.choices, default=LetterMap.Space.FEATURES)


class MapAskedSerializer(serializers.Serializer[Any]):
    """A map that was asked for."""

    id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=LetterMap.State.choices)
    joined = serializers.BooleanField(help_text="One of its kind waited already, and stands for this one too.")


class MapJobSerializer(serializers.Serializer[Any]):
    """How far a map is."""

    id = serializers.UUIDField()
    method = serializers.ChoiceField(choices=LetterMap.Method.choices)
    space = serializers.ChoiceField(choices=LetterMap.Space.choices)
    state = serializers.ChoiceField(choices=LetterMap.State.choices)
    trigger = serializers.ChoiceField(choices=LetterMap.Trigger.choices)
    requested_by = serializers.CharField()
    progress = serializers.DictField(help_text="share (0 to 1), message.")
    message = serializers.CharField(help_text="How it ended, in words.")
    cancelled_by = serializers.CharField()
    attempts = serializers.IntegerField(help_text="How many workers began it.")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    published_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


def job_value(made: LetterMap) -> dict[str, Any]:
    """A map on its way, or what came of it."""
    named = ("method", "space", "state", "trigger", "requested_by", "progress", "message", "cancelled_by", "attempts")
    times = ("created_at", "started_at", "published_at", "finished_at")
    return {"id": str(made.pk)} | {name: getattr(made, name) for name in (*named, *times)}


class MapJobView(APIView):
    """One map on its way."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (SeesMaking,)

    @extend_schema(
        operation_id="map_job",
        summary="How far a map is (staff)",
        responses={200: MapJobSerializer} | refusals(403, 404),
    )
    def get(self, request: Request, map_id: uuid.UUID) -> Response:
        made = LetterMap.objects.filter(pk=map_id).first()
        if made is None:
            raise errors.MapNotFound("there is no such map")
        return Response(job_value(made), headers={"Cache-Control": "no-store"})


class MapCancelledSerializer(serializers.Serializer[Any]):
    """A map that somebody wanted to end."""

    job = MapJobSerializer()
    cancelled = serializers.BooleanField(help_text="False: it was over already.")


class CancelMapView(APIView):
    """End the making of a map."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (SeesMaking,)

    @extend_schema(
        operation_id="cancel_map",
        summary="Cancel a map that waits or is made (staff)",
        description="The map before it stays.",
        request=None,
        responses={200: MapCancelledSerializer} | refusals(403, 404),
    )
    def post(self, request: Request, map_id: uuid.UUID) -> Response:
        cancelled = maps.cancel(map_id, request.user.get_username())
        return Response({"job": job_value(LetterMap.objects.get(pk=map_id)), "cancelled": cancelled})


# --- To look at ----------------------------------------------------------------------------------------------------

METHOD = OpenApiParameter(
    "method",
    str,
    OpenApiParameter.PATH,
    enum=[each for each in LetterMap.Method.values if each != LetterMap.Method.UMAP],  # which has an address of its own
)
SPACE = OpenApiParameter("space", str, OpenApiParameter.QUERY, enum=LetterMap.Space.values)


class MapsView(APIView):
    """All kinds of maps."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (MayMakeMaps,)

    @extend_schema(
        operation_id="maps",
        auth=[],  # anybody may look
        summary="The newest map of each method and space, and what is on its way",
        responses={200: MapsSerializer} | refusals(403),
    )
    def get(self, request: Request) -> Response:
        value = {"maps": summaries(maps.current()), "making": [_making(each) for each in maps.making()]}
        return Response(value, headers={"Cache-Control": "public, max-age=10"})

    @extend_schema(
        operation_id="make_map",
        summary="Have a map made anew (staff)",
        request=MapRequestSerializer,
        responses={202: MapAskedSerializer} | refusals(400, 403, 413, 415),
    )
    def post(self, request: Request) -> Response:
        data = validated(MapRequestSerializer, request)
        asked = maps.request(data["method"], data["space"], LetterMap.Trigger.API, request.user.get_username())
        value = {"id": str(asked.map.pk), "state": asked.map.state, "joined": asked.joined}
        return Response(value, status=status.HTTP_202_ACCEPTED)


def _space_of(request: Request) -> str:
    space = request.query_params.get("space", LetterMap.Space.FEATURES)
    if space not in LetterMap.Space.values:
        raise errors.Refusal(f"space is {' or '.join(LetterMap.Space.values)}", field="space")
    return str(space)


class MapView(APIView):
    """The newest map of a method."""

    @extend_schema(
        operation_id="map",
        summary="The newest map of a method, without its points",
        parameters=[METHOD, SPACE],
        responses={200: MapSummarySerializer} | refusals(400, 404),
    )
    def get(self, request: Request, method: str) -> Response:
        found = maps.current_of(method, _space_of(request))
        return Response(summaries([found])[0], headers={"Cache-Control": "public, max-age=10"})


class UmapView(APIView):
    """The small map of the drawing page, and the newest one by UMAP."""

    @extend_schema(
        operation_id="map_umap",
        summary="Reference letters of the serving model in the plane, by UMAP",
        description="With `space` it is the newest map by UMAP, without its points, as for any other method.",
        parameters=[SPACE],
        responses={200: PolymorphicProxySerializer("Umap", [s.MapSerializer, MapSummarySerializer], None)}
        | refusals(400, 404, 503),
    )
    def get(self, request: Request) -> Response:
        if "space" in request.query_params:
            return MapView().get(request, LetterMap.Method.UMAP)
        model = registry.current()
        points = registry.map_points(model.digest, MAP_POINTS)
        value = {"method": "umap", "model": s.model_reference(model), "points": points}
        return Response(value, headers={"Cache-Control": "public, max-age=60", "ETag": f'"{model.digest[:16]}"'})


class FileView(APIView):
    """Something that is no JSON."""

    content_negotiation_class = AnyAnswer


def _cached(request: Request, content: bytes, kind: str, etag: str, headers: dict[str, str]) -> HttpResponseBase:
    """An answer, or 304 to whoever has it already. Without other `headers` a browser need not ask again."""
    headers = {"Cache-Control": FOR_EVER, "ETag": f'"{etag}"'} | headers
    response = HttpResponse(content, kind, headers=headers)
    return get_conditional_response(request._request, etag=f'"{etag}"', response=response) or response


AS_BEFORE = {304: OpenApiResponse(description="It is as it was.")}


class EmnistPointsView(FileView):
    """Where the EMNIST letters of a map lie."""

    @extend_schema(
        operation_id="map_emnist",
        summary="The EMNIST letters of a map",
        description=f"{COLUMNS}. Compressed by gzip; it never changes.",
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY} | AS_BEFORE | refusals(404),
    )
    def get(self, request: Request, map_id: uuid.UUID) -> HttpResponseBase:
        content = maps.emnist_points(maps.find(map_id))
        packed = _takes_gzip(request)
        headers = {"Vary": "Accept-Encoding"} | ({"Content-Encoding": "gzip"} if packed else {})
        return _cached(
            request,
            content if packed else gzip.decompress(content),
            "application/octet-stream",
            f"{map_id.hex}-{'gzip' if packed else 'plain'}",
            headers,
        )


def _takes_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "")


class CollectedPointsView(FileView):
    """Where the collected letters of a map lie."""

    @extend_schema(
        operation_id="map_collected",
        summary="The approved drawings on a map, as of now",
        description=f"{COLUMNS}, id u8[16N] (the drawing's UUID).",
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY} | refusals(404),
    )
    def get(self, request: Request, map_id: uuid.UUID) -> HttpResponseBase:
        content = maps.collected_points(maps.find(map_id))
        headers = {"Cache-Control": "private, max-age=30", "Vary": "Accept-Encoding"}
        if _takes_gzip(request):
            content, headers = map_files.compressed(content, level=1), headers | {"Content-Encoding": "gzip"}
        return HttpResponse(content, "application/octet-stream", headers=headers)


class SheetView(FileView):
    """Thumbnails."""

    @extend_schema(
        operation_id="map_sheet",
        summary="Thumbnails of the EMNIST letters of a map, 32x32 of 28 pixels on a sheet",
        parameters=[OpenApiParameter("number", int, OpenApiParameter.PATH, description="From 0.")],
        responses={(200, "image/png"): OpenApiTypes.BINARY} | AS_BEFORE | refusals(404),
    )
    def get(self, request: Request, map_id: uuid.UUID, number: int) -> HttpResponseBase:
        content = maps.file_of(maps.find(map_id), f"sheets/{number}.png")
        return _cached(request, content, "image/png", f"{map_id.hex}-sheet-{number}", {})


class MapFileView(FileView):
    """A figure of a map, to be shown or put on a slide."""

    @extend_schema(
        operation_id="map_figure",
        summary="A figure of a map: its points, or what its components explain and look like",
        parameters=[OpenApiParameter("name", str, OpenApiParameter.PATH, enum=list(FIGURES))],
        responses={(200, "image/svg+xml"): OpenApiTypes.BINARY, (200, "image/png"): OpenApiTypes.BINARY}
        | AS_BEFORE
        | refusals(404),
    )
    def get(self, request: Request, map_id: uuid.UUID, name: str) -> HttpResponseBase:
        if name not in FIGURES:
            raise errors.MapNotFound(f"a map has the figures {', '.join(FIGURES)}")
        content = maps.file_of(maps.find(map_id), name)
        etag = hashlib.sha256(content).hexdigest()[:32]  # one that shows a drawing is drawn anew when that is withdrawn
        return _cached(request, content, FIGURES[name], etag, {"Cache-Control": "no-cache"})


# --- The data set --------------------------------------------------------------------------------------------------


class ConfusedSerializer(serializers.Serializer[Any]):
    """A pair of classes that the model mixes up."""

    label = serializers.ChoiceField(choices=CLASSES)  # type: ignore[assignment] # the stubs mean Field.label
    predicted = serializers.ChoiceField(choices=CLASSES)
    count = serializers.IntegerField(help_text="Test images.")


class EmnistSerializer(serializers.Serializer[Any]):
    """The data set that the serving model was trained on."""

    model = MapModelSerializer()
    dataset = serializers.CharField()
    classes = serializers.DictField(
        child=serializers.IntegerField(), help_text="Training images of each class; without the archive, of the map."
    )
    confused = ConfusedSerializer(many=True, help_text="What the model mixes up most often, on test images.")
    has_images = serializers.BooleanField(help_text="Whether there are means and examples.")


class EmnistView(APIView):
    """EMNIST in numbers."""

    @extend_schema(
        operation_id="emnist",
        summary="EMNIST letters by class, and which the serving model mixes up",
        responses={200: EmnistSerializer} | refusals(503),
    )
    def get(self, request: Request) -> Response:
        value = emnist_images.summary()
        model = value.pop("model")
        value["model"] = {"number": model.number, "digest": model.digest[:12]}
        return Response(value, headers={"Cache-Control": "public, max-age=60"})


class EmnistPictureView(FileView):
    """EMNIST in pictures."""

    @extend_schema(
        operation_id="emnist_picture",
        summary="The mean image of a class of EMNIST, or 16 examples side by side",
        parameters=[
            OpenApiParameter("kind", str, OpenApiParameter.PATH, enum=["mean", "examples"]),
            OpenApiParameter("label", str, OpenApiParameter.PATH, enum=list(CLASSES)),
        ],
        responses={(200, "image/png"): OpenApiTypes.BINARY} | AS_BEFORE | refusals(404),
    )
    def get(self, request: Request, kind: str, label: str) -> HttpResponseBase:
        if kind not in ("mean", "examples"):
            raise errors.MapNotFound("there are mean and examples of each class")
        content = emnist_images.picture(kind, label)
        etag = hashlib.sha256(content).hexdigest()[:32]
        return _cached(request, content, "image/png", etag, {"Cache-Control": "public, max-age=3600"})
