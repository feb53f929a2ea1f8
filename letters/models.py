"""The tables: who drew, which models there are and which one serves, and the drawings with their labels."""

from __future__ import annotations

import hashlib
import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from ml.labels import CHARACTERS, CLASSES


class Contributor(models.Model):
    """Somebody who keeps drawings, known by a random id in a cookie and by nothing else."""

    id = models.UUIDField(primary_key=True, editable=False)
    held_out = models.BooleanField(
        editable=False, help_text="What this contributor draws judges models and never trains one."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return str(self.id)[:8]

    @staticmethod
    def is_held_out(contributor_id: uuid.UUID) -> bool:
        """Whether a contributor belongs to the share that judges: by a hash of the id, so for ever, and wholly."""
        drawn = int.from_bytes(hashlib.sha256(b"holdout:" + contributor_id.bytes).digest()[:8])
        return drawn < settings.HOLDOUT_SHARE * 2**64


class ModelVersion(models.Model):
    """A model that was registered: its artefact lies in storage under its digest."""

    class Origin(models.TextChoices):
        SHIPPED = "shipped", "shipped with Letterloop"
        TRAINED = "trained", "trained here"

    number = models.PositiveIntegerField(unique=True, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False, help_text="SHA-256 of the manifest")
    name = models.CharField(max_length=80)
    origin = models.CharField(max_length=10, choices=Origin.choices, editable=False)
    metrics = models.JSONField(default=dict, editable=False)
    config = models.JSONField(default=dict, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-number",)
        constraints = (
            models.CheckConstraint(condition=Q(origin__in=("shipped", "trained")), name="model_origin_known"),
        )

    def __str__(self) -> str:
        return f"model {self.number}"

    @property
    def accuracy(self) -> float | None:
        """Share of the test images read right on 37 classes, 0 to 1, where it was measured."""
        measured: float | None = self.metrics.get("test", {}).get("accuracy")
        return measured


class Serving(models.Model):
    """The one row that says which model serves."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    model = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")

    class Meta:
        verbose_name_plural = "serving"
        constraints = (models.CheckConstraint(condition=Q(id=1), name="serving_one_row"),)

    def __str__(self) -> str:
        return f"{self.model} serves"


class Deployment(models.Model):
    """A change of the serving model: from, to, by whom, why, when. Never altered."""

    previous = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, null=True, related_name="+")
    model = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="deployments")
    actor = models.CharField(max_length=150)
    reason = models.CharField(max_length=300)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return f"{self.model} for {self.previous or 'nothing'}"


class Drawing(models.Model):
    """A letter that somebody drew, confirmed or corrected, and agreed to give."""

    class State(models.TextChoices):
        PENDING = "pending", "waiting for review"
        APPROVED = "approved", "approved"
        REJECTED = "rejected", "rejected"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    contributor = models.ForeignKey(Contributor, on_delete=models.CASCADE, related_name="drawings", editable=False)
    character = models.CharField(max_length=1, help_text="the letter as the contributor typed it")
    label = models.CharField(max_length=1, editable=False, help_text="its class, one of 37")
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    strokes = models.JSONField(editable=False)
    canvas_width = models.FloatField(editable=False)
    canvas_height = models.FloatField(editable=False)
    image = models.BinaryField(max_length=784, editable=False, help_text="28x28 grey values, derived from the strokes")
    preprocess = models.CharField(max_length=10, editable=False, help_text="version of the recipe that made the image")
    model = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="drawings", editable=False)
    predicted = models.CharField(max_length=1, editable=False, help_text="the class that the model read")
    probability = models.FloatField(editable=False)
    consent = models.CharField(max_length=10, editable=False, help_text="version of the words agreed to")
    idempotency_key = models.CharField(max_length=128, editable=False)
    fingerprint = models.CharField(max_length=64, editable=False, help_text="SHA-256 of strokes and canvas")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = (
            models.UniqueConstraint(fields=("contributor", "idempotency_key"), name="drawing_kept_once"),
            models.CheckConstraint(condition=Q(character__in=CHARACTERS), name="drawing_character_is_letter"),
            models.CheckConstraint(condition=Q(label__in=CLASSES), name="drawing_label_is_class"),
            models.CheckConstraint(condition=Q(predicted__in=CLASSES), name="drawing_predicted_is_class"),
            models.CheckConstraint(
                condition=Q(state__in=("pending", "approved", "rejected")), name="drawing_state_known"
            ),
            models.CheckConstraint(condition=~Q(consent=""), name="drawing_has_consent"),
        )
        indexes = (
            models.Index(fields=("-created_at", "-id"), name="drawing_newest"),
            models.Index(fields=("contributor", "-created_at"), name="drawing_of_contributor"),
            models.Index(fields=("state", "label", "-created_at"), name="drawing_samples"),
        )

    def __str__(self) -> str:
        return f"{self.character} ({str(self.id)[:8]})"

    @property
    def was_right(self) -> bool:
        """Whether the model read the class that the contributor meant."""
        return self.predicted == self.label
