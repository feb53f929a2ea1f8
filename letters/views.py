"""The pages."""

from __future__ import annotations

import sys
import uuid
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template import loader
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator

from letters import census, consent, contributors, outages
from letters.models import LetterMap, Serving
from letters.serializers import png
from letters.showing import public
from ml.labels import CHARACTERS, CLASSES
from ml.preprocess import MAX_POINTS, MAX_STROKES
from webapp.logs import request_id

SAMPLES_PER_CLASS = 48
MAP_SPACES = {"features": "What the model sees", "pixels": "Pixels"}


def site(request: HttpRequest) -> dict[str, Any]:
    """What every page of ours shows at its top; the admin's pages do not ask for it."""
    if request.path.startswith("/admin/"):
        return {}
    # of the metrics one number alone: all of them are as long as a page
    serving = Serving.objects.values_list("model__number", "model__metrics__test__accuracy").first()
    version, accuracy = serving or (None, None)
    return {
        "site": {
            "collected": census.collected(),
            "model_version": version,
            "model_accuracy": accuracy,
        }
    }


@require_safe
@never_cache
def draw(request: HttpRequest) -> HttpResponse:
    """The sheet to draw on."""
    config = {
        "classes": CLASSES,
        "characters": CHARACTERS,
        "consent_version": settings.CONSENT_VERSION,
        "limits": {"strokes": MAX_STROKES, "points": MAX_POINTS, "bytes": settings.STROKES_LIMIT},
    }
    response = render(request, "draw.html", {"page_config": config, "consent_words": consent.words_now()})
    contributors.remember(request, response, contributors.known(request) or uuid.uuid4())
    return response


@require_safe
def samples(request: HttpRequest) -> HttpResponse:
    """Approved letters, by class."""
    approved = public()
    counts = census.public_by_label(approved)
    groups = [
        {
            "label": label,
            "count": counts[label],
            "drawings": [
                {"letter": each.letter, "url": f"/samples/{each.pk}"}
                for each in approved.filter(label=label).only("character", "corrected_character")[:SAMPLES_PER_CLASS]
            ],
        }
        for label in CLASSES
        if label in counts
    ]
    return render(request, "samples.html", {"groups": groups, "total": sum(counts.values())})


@require_safe
def sample_image(request: HttpRequest, drawing_id: uuid.UUID) -> HttpResponse:
    """The image of an approved letter; no other is shown to the public."""
    image = public().filter(pk=drawing_id).values_list("image", flat=True).first()
    if image is None:
        raise Http404
    return HttpResponse(png(bytes(image)), "image/png", headers={"Cache-Control": "private, max-age=30"})


@require_safe
@never_cache
def explore(request: HttpRequest) -> HttpResponse:
    """The maps of all letters. What stands on them the page asks of the API."""
    may_review = request.user.has_perm("letters.review_drawing")
    may_make = request.user.has_perm("letters.make_lettermap")
    config = {
        "classes": CLASSES,
        "methods": dict(LetterMap.Method.choices),
        "spaces": MAP_SPACES,
        "review_url": reverse("review") if may_review else "",
        "may_make": may_make,
    }
    if may_make:
        get_token(request)  # for the button that has a map made
    return render(request, "explore.html", {"page_config": config})


@require_safe
def explore_emnist(request: HttpRequest) -> HttpResponse:
    """The data set that the model first learned from."""
    return render(request, "explore_emnist.html", {"page_config": {"classes": CLASSES}})


@require_safe
def about(request: HttpRequest) -> HttpResponse:
    """What is kept, why, and what its contributors may do with it."""
    return render(
        request,
        "about.html",
        {
            "consent_version": settings.CONSENT_VERSION,
            "consent_words": consent.words_now(),
            "licence": settings.DATA_LICENCE,
            "holdout_share": settings.HOLDOUT_SHARE,
            "collected": census.collected(),
            "contributors": census.contributors(),
        },
    )


@require_safe
@never_cache
def drawing(request: HttpRequest, drawing_id: uuid.UUID) -> HttpResponse:
    """The page of a receipt. The receipt stands behind the # and never reaches this view: the page asks the API."""
    return render(request, "drawing.html", {"drawing_id": drawing_id})


@require_safe
@never_cache
def mine(request: HttpRequest) -> HttpResponse:
    """The letters that this browser gave."""
    return render(request, "mine.html")


@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    """The API in words, from the same schema that programs read."""
    return render(request, "api.html", {"operations": _operations()})


def _operations() -> list[dict[str, Any]]:
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return [
        {
            "method": method.upper(),
            "path": path,
            "summary": operation.get("summary", ""),
            "description": operation.get("description", ""),
            "responses": [
                {"status": status, "description": answer.get("description", "")}
                for status, answer in operation["responses"].items()
            ],
        }
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if "schema" not in path
    ]


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404, as JSON under /api/."""
    if request.path.startswith("/api/v1/"):
        return JsonResponse({"code": "not_found", "message": "there is nothing at this address"}, status=404)
    return render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """500, as JSON under /api/; 503 where it will pass. What went wrong is in the log, and is nobody else's."""
    away = outages.refusal_of(sys.exc_info()[1])
    if away is not None:
        page = HttpResponse(loader.render_to_string("503.html"), status=503)
        page["Retry-After"] = str(away.retry_after)
        return page
    if request.path.startswith("/api/v1/"):
        message = f"something broke on the server, and it is noted as {request_id()}: try again in a minute"
        return JsonResponse({"code": "server_error", "message": message}, status=500)
    # with nothing of the database in it, which may be what broke
    return HttpResponse(loader.render_to_string("500.html", {"request_id": request_id()}), status=500)
