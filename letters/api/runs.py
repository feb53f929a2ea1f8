"""Retrainings, promotions and their history in the API: for all to read, for maintainers to do."""

from __future__ import annotations

import uuid
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from letters import errors, registry, retrain
from letters.api.answers import refusals, validated
from letters.models import Deployment, TrainingRun
from letters.serializers import ModelReferenceSerializer, ModelSerializer, StrictTextField, model_reference, model_value

SHOWN = 50
LOG_SHOWN = 20_000  # characters
LARGE = [f"{of}__{name}" for of in ("champion", "candidate") for name in ("metrics", "config")]


class MayTrain(BasePermission):
    """Anybody may look; staff with the right to retrain may do so."""

    permission = "letters.start_trainingrun"

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.method in ("GET", "HEAD", "OPTIONS") or is_allowed(request, self.permission)


class MayPromote(MayTrain):
    """Staff with the right to say which model serves."""

    permission = "letters.promote_modelversion"


def is_allowed(request: Request, permission: str) -> bool:
    """Whether somebody is logged in to the admin and may do that."""
    return bool(request.user and request.user.is_staff and request.user.has_perm(permission))


# --- What comes ----------------------------------------------------------------------------------------------------


class RunRequestSerializer(serializers.Serializer[Any]):
    """A retraining to start."""

    kind = serializers.ChoiceField(choices=TrainingRun.Kind.choices, default=TrainingRun.Kind.HEAD)
    config = serializers.DictField(
        default=dict,
        help_text="head: collected_weight, replay_per_class, pull, iterations; full: mode, dataset, epochs,"
        " collected_share; both: seed. What is not given has its default; a dataset that of the serving model.",
    )


class PromotionRequestSerializer(serializers.Serializer[Any]):
    """Why a version is to serve; it stands in the history."""

    reason = StrictTextField(max_length=registry.REASON_LENGTH)


# --- What goes -----------------------------------------------------------------------------------------------------


class RunSerializer(serializers.Serializer[Any]):
    """A retraining."""

    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=TrainingRun.Kind.choices)
    trigger = serializers.ChoiceField(choices=TrainingRun.Trigger.choices)
    state = serializers.ChoiceField(choices=TrainingRun.State.choices)
    outcome = serializers.ChoiceField(choices=(("", "none"), *TrainingRun.Outcome.choices))
    message = serializers.CharField(help_text="How it stands or ended, in words.")
    progress = serializers.DictField(
        help_text="stage, share (0 to 1), message and, for full, epoch, epochs, loss, validation, seconds_left, curve."
    )
    seed = serializers.IntegerField()
    config = serializers.DictField()
    champion = ModelReferenceSerializer(allow_null=True, help_text="The model that it was judged against.")
    candidate = ModelReferenceSerializer(allow_null=True, help_text="The model that came of it.")
    verdict = serializers.DictField(allow_null=True, help_text="passed, summary, reasons, tests.")
    drawings = serializers.IntegerField(help_text="How many it learned from.")
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="Of each class.")
    snapshot = serializers.CharField(help_text="SHA-256 of the ids and labels that it learned from.")
    attempts = serializers.IntegerField(help_text="How many workers began it.")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    requested_by = serializers.CharField(required=False, help_text="For staff.")
    cancelled_by = serializers.CharField(required=False, help_text="For staff.")
    log = serializers.CharField(required=False, help_text="For staff.")


class RunsSerializer(serializers.Serializer[Any]):
    """The newest retrainings."""

    runs = RunSerializer(many=True)


class StartedSerializer(serializers.Serializer[Any]):
    """A retraining that was asked for."""

    run = RunSerializer()
    joined = serializers.BooleanField(help_text="One of this kind waited already, and stands for this one too.")


class CancelledSerializer(serializers.Serializer[Any]):
    """A retraining that somebody wanted to end."""

    run = RunSerializer()
    cancelled = serializers.BooleanField(help_text="False: it was over already.")


class DeploymentSerializer(serializers.Serializer[Any]):
    """A change of the serving model."""

    model = ModelReferenceSerializer()
    previous = ModelReferenceSerializer(allow_null=True)
    by = serializers.ChoiceField(choices=("setup", "retraining", "staff"))
    reason = serializers.CharField()
    run = serializers.UUIDField(allow_null=True, help_text="The retraining that did it by itself.")
    created_at = serializers.DateTimeField()
    actor = serializers.CharField(required=False, help_text="For staff.")


class DeploymentsSerializer(serializers.Serializer[Any]):
    """Which model served since when, newest first."""

    deployments = DeploymentSerializer(many=True)
    total = serializers.IntegerField()


def run_value(run: TrainingRun, *, in_full: bool) -> dict[str, Any]:
    """A run as the API gives it; `in_full` for staff: names and the log."""
    value = {
        "id": str(run.pk),
        "kind": run.kind,
        "trigger": run.trigger,
        "state": run.state,
        "outcome": run.outcome,
        "message": run.message,
        "progress": run.progress,
        "seed": run.seed,
        "config": run.config,
        "champion": model_reference(run.champion) if run.champion else None,
        "candidate": model_reference(run.candidate) if run.candidate else None,
        "verdict": run.verdict,
        "drawings": run.drawing_count,
        "counts": run.counts,
        "snapshot": run.snapshot_hash,
        "attempts": run.attempts,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
    }
    if in_full:
        value |= {
            "requested_by": run.requested_by,
            "cancelled_by": run.cancel_requested_by,
            "log": run.log[-LOG_SHOWN:],
        }
    return value


def deployment_value(deployment: Deployment, *, in_full: bool) -> dict[str, Any]:
    """A deployment as the API gives it; `in_full` for staff: names."""
    by = "retraining" if deployment.run_id else "setup" if deployment.actor == registry.SETUP else "staff"
    value = {
        "model": model_reference(deployment.model),
        "previous": model_reference(deployment.previous) if deployment.previous else None,
        "by": by,
        "reason": deployment.reason,
        "run": deployment.run_id and str(deployment.run_id),
        "created_at": deployment.created_at,
    }
    return value | ({"actor": deployment.actor} if in_full else {})


# --- Views ---------------------------------------------------------------------------------------------------------


class RunView(APIView):
    """One retraining, as it stands."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (MayTrain,)

    @extend_schema(
        operation_id="training_run",
        auth=[],  # anybody may look
        summary="How a retraining stands",
        responses={200: RunSerializer} | refusals(403, 404),
    )
    def get(self, request: Request, run_id: uuid.UUID) -> Response:
        return answer(run_value(find(run_id), in_full=_sees_names(request)))


class RunsView(APIView):
    """The retrainings."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (MayTrain,)

    @extend_schema(
        operation_id="training_runs",
        auth=[],  # anybody may look
        summary=f"The last {SHOWN} retrainings, newest first",
        responses={200: RunsSerializer} | refusals(403),
    )
    def get(self, request: Request) -> Response:
        runs = TrainingRun.objects.select_related("champion", "candidate").defer("drawing_ids", *LARGE)[:SHOWN]
        return answer({"runs": [run_value(each, in_full=_sees_names(request)) for each in runs]})

    @extend_schema(
        operation_id="start_training_run",
        summary="Start a retraining (staff)",
        request=RunRequestSerializer,
        responses={200: StartedSerializer, 202: StartedSerializer} | refusals(400, 403, 409, 413, 415, 503),
    )
    def post(self, request: Request) -> Response:
        data = validated(RunRequestSerializer, request)
        started = retrain.start(
            data["kind"], TrainingRun.Trigger.API, request.user.get_username(), config=data["config"]
        )
        code = status.HTTP_200_OK if started.joined else status.HTTP_202_ACCEPTED
        return Response({"run": run_value(started.run, in_full=True), "joined": started.joined}, status=code)


class CancelView(APIView):
    """The end of a retraining before its time."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (MayTrain,)

    @extend_schema(
        operation_id="cancel_training_run",
        summary="Cancel a retraining that waits or runs (staff)",
        request=None,
        responses={200: CancelledSerializer} | refusals(403, 404),
    )
    def post(self, request: Request, run_id: uuid.UUID) -> Response:
        cancelled = retrain.cancel(run_id, request.user.get_username())
        return Response({"run": run_value(find(run_id), in_full=True), "cancelled": cancelled})


class PromoteView(APIView):
    """Another model is to serve."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (MayPromote,)

    @extend_schema(
        operation_id="promote_model",
        summary="Let a version serve, a new or an earlier one (staff)",
        request=PromotionRequestSerializer,
        parameters=[OpenApiParameter("number", int, OpenApiParameter.PATH, description="Of the version.")],
        responses={200: ModelSerializer} | refusals(400, 403, 404, 409, 413, 415),
    )
    def post(self, request: Request, number: int) -> Response:
        data = validated(PromotionRequestSerializer, request)
        version = registry.promote_by_hand(number, actor=request.user.get_username(), reason=data["reason"])
        return Response(model_value(version, serving=True))


class DeploymentsView(APIView):
    """Which model served when, and why."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (MayTrain,)

    @extend_schema(
        operation_id="deployments",
        auth=[],  # anybody may look
        summary=f"The last {SHOWN} changes of the serving model, newest first",
        responses={200: DeploymentsSerializer} | refusals(403),
    )
    def get(self, request: Request) -> Response:
        large = [f"{of}__{name}" for of in ("model", "previous") for name in ("metrics", "config")]
        changes = Deployment.objects.select_related("model", "previous").defer(*large)
        in_full = is_allowed(request, "letters.view_deployment")
        shown = [deployment_value(each, in_full=in_full) for each in changes[:SHOWN]]
        return answer({"deployments": shown, "total": changes.count()})


def find(run_id: uuid.UUID) -> TrainingRun:
    """The run of an id. Raises RunNotFound."""
    run = (
        TrainingRun.objects.select_related("champion", "candidate")
        .defer("drawing_ids", *LARGE)
        .filter(pk=run_id)
        .first()
    )
    if run is None:
        raise errors.RunNotFound
    return run


def answer(value: dict[str, Any]) -> Response:
    """What changes from second to second, and with who asks."""
    return Response(value, headers={"Cache-Control": "no-store"})


def _sees_names(request: Request) -> bool:
    return is_allowed(request, "letters.view_trainingrun")
