"""The tables: who drew, which models there are and which one serves, the drawings with their labels, what reviewers
decided about them, the trainings that learned from them, the files and the maps made of them."""

from __future__ import annotations

import hashlib
import uuid

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from ml.labels import CHARACTERS, CLASSES


class Import(models.Model):
    """A collection that was brought in from elsewhere, and what its contributors agreed to."""

    name = models.CharField(max_length=100, unique=True, help_text="with its writers' names it makes their ids here")
    consent = models.TextField(help_text="what the contributors agreed to, in the words of whoever brought it in")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (models.CheckConstraint(condition=~Q(consent=""), name="import_has_consent"),)

    def __str__(self) -> str:
        return self.name


class Contributor(models.Model):
    """Somebody who keeps drawings, known by a random id in a cookie and by nothing else."""

    id = models.UUIDField(primary_key=True, editable=False)
    imported_from = models.ForeignKey(
        Import, on_delete=models.PROTECT, null=True, editable=False, related_name="contributors"
    )
    held_out = models.BooleanField(
        editable=False, help_text="What this contributor draws judges models and never trains one."
    )
    muted_at = models.DateTimeField(
        null=True, editable=False, help_text="Since when what this contributor sends stays out of the review queue."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        permissions = (("mute_contributor", "Can mute a contributor and let one back in"),)
        indexes = (
            models.Index(fields=("-created_at", "-id"), name="contributor_newest"),
            models.Index(
                fields=("-created_at", "-id"), condition=Q(muted_at__isnull=False), name="contributor_muted_newest"
            ),
        )

    def __str__(self) -> str:
        return str(self.id)[:8]

    @staticmethod
    def is_held_out(contributor_id: uuid.UUID) -> bool:
        """Whether a contributor belongs to the share that judges: by a hash of the id, so for ever, and wholly."""
        drawn = int.from_bytes(hashlib.sha256(b"holdout:" + contributor_id.bytes).digest()[:8])
        return drawn < float(settings.HOLDOUT_SHARE) * 2**64


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
    discarded_at = models.DateTimeField(
        null=True, editable=False, help_text="since when its artefact is no longer in storage; it can serve no more"
    )

    class Meta:
        ordering = ("-number",)
        permissions = (("promote_modelversion", "Can promote a model and roll back"),)
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
    run = models.ForeignKey(
        "TrainingRun",
        on_delete=models.PROTECT,
        null=True,
        related_name="deployments",
        help_text="the retraining that did it by itself",
    )
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

    class Source(models.TextChoices):
        CANVAS = "canvas", "drawn here"
        IMPORT = "import", "imported"

    class Likeness(models.TextChoices):
        EXACT = "exact", "exact duplicate"
        NEAR = "near", "near duplicate"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    contributor = models.ForeignKey(
        Contributor, on_delete=models.CASCADE, related_name="drawings", editable=False, db_index=False
    )  # no index of its own, here and below: another begins with it
    source = models.CharField(max_length=10, choices=Source.choices, default=Source.CANVAS, editable=False)
    character = models.CharField(max_length=1, help_text="the letter as the contributor typed it")
    corrected_character = models.CharField(
        max_length=1, blank=True, editable=False, help_text="the letter as a reviewer corrected it; empty: as typed"
    )
    label = models.CharField(max_length=1, editable=False, help_text="its class, one of 37")
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    state_since = models.DateTimeField(
        default=timezone.now,
        db_default=Now(),  # the release before does not know of it, and keeps drawings until it is restarted
        editable=False,
        help_text="when it came to be so",
    )
    strokes = models.JSONField(editable=False, help_text="empty for an imported picture")
    canvas_width = models.FloatField(editable=False)
    canvas_height = models.FloatField(editable=False)
    image = models.BinaryField(max_length=784, editable=False, help_text="28x28 grey values, derived from the strokes")
    preprocess = models.CharField(max_length=10, editable=False, help_text="version of the recipe that made the image")
    model = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="drawings", editable=False, db_index=False
    )
    predicted = models.CharField(max_length=1, editable=False, help_text="the class that the model read")
    probability = models.FloatField(editable=False)
    consent = models.CharField(max_length=10, editable=False, help_text="version of the words agreed to")
    idempotency_key = models.CharField(max_length=128, editable=False)
    fingerprint = models.CharField(max_length=64, editable=False, help_text="SHA-256 of strokes and canvas")
    image_hash = models.CharField(max_length=64, default="", editable=False, help_text="SHA-256 of the image")
    duplicate_of = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, editable=False, related_name="duplicates"
    )
    likeness = models.CharField(max_length=10, choices=Likeness.choices, blank=True, editable=False)
    usefulness = models.FloatField(
        default=1.0, editable=False, help_text="0 to 1: how much a review of it is likely to teach; 1 until examined"
    )
    examined_by = models.ForeignKey(
        ModelVersion,
        on_delete=models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        db_index=False,
        help_text="the model of its examination, here as well so that an index finds what is left to examine",
    )
    revision = models.PositiveIntegerField(default=0, editable=False, help_text="how many decisions changed it")
    claimed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    claimed_at = models.DateTimeField(null=True, editable=False, help_text="since when its reviewer has it on the desk")
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
            models.CheckConstraint(
                condition=Q(corrected_character="") | Q(corrected_character__in=CHARACTERS),
                name="drawing_correction_is_letter",
            ),
            models.CheckConstraint(condition=Q(source__in=("canvas", "import")), name="drawing_source_known"),
            models.CheckConstraint(
                condition=Q(usefulness__gte=0, usefulness__lte=1), name="drawing_usefulness_is_share"
            ),
        )
        indexes = (
            models.Index(fields=("-created_at", "-id"), name="drawing_newest"),
            models.Index(fields=("contributor", "-created_at"), name="drawing_of_contributor"),
            models.Index(fields=("state", "label", "-created_at"), name="drawing_samples"),
            models.Index(fields=("state", "-usefulness", "id"), name="drawing_most_useful"),
            models.Index(fields=("image_hash",), name="drawing_same_image"),
            models.Index(fields=("state", "-created_at", "-id"), name="drawing_of_state"),
            models.Index(fields=("model", "-created_at", "-id"), name="drawing_of_model"),
            models.Index(fields=("state", "contributor", "label"), name="drawing_counted"),
            models.Index(fields=("consent", "state"), name="drawing_agreed"),
            models.Index(fields=("examined_by", "state"), name="drawing_to_examine"),
            # one in so many: without these, whoever asks for them reads all that is newer
            # with the contributor in it: who is held out is left out without a look at the rows
            models.Index(
                fields=("label", "id", "contributor"), condition=Q(state="approved"), name="drawing_by_chance"
            ),
            models.Index(
                fields=("label", "-state_since", "id", "contributor"),
                condition=Q(state="approved"),
                name="drawing_approved_lately",
            ),
            models.Index(fields=("-state_since",), condition=Q(state="approved"), name="drawing_lately_of_all"),
            models.Index(
                fields=("-created_at", "-id"), condition=Q(duplicate_of__isnull=False), name="drawing_duplicates"
            ),
            models.Index(fields=("-created_at", "-id"), condition=Q(source="import"), name="drawing_imported"),
        )
        permissions = (("review_drawing", "Can review drawings"),)

    def __str__(self) -> str:
        return f"{self.letter} ({str(self.id)[:8]})"

    @property
    def letter(self) -> str:
        """The letter that it is, as a reviewer corrected it or else as its contributor typed it."""
        return self.corrected_character or self.character

    @property
    def was_right(self) -> bool:
        """Whether the model read the class that the contributor meant."""
        return self.predicted == self.label


class Examination(models.Model):
    """What a model makes of a kept drawing: by this the review queue is ordered, and the quick retraining learns."""

    drawing = models.OneToOneField(Drawing, on_delete=models.CASCADE, primary_key=True)
    model = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="+")
    predicted = models.CharField(max_length=1, help_text="the class that this model reads")
    probability = models.FloatField(help_text="of the class that it reads")
    label_probability = models.FloatField(help_text="of the class that the drawing is labelled with")
    unfamiliarity = models.FloatField(help_text="how strange its features are; above 1 like no letter that is known")
    trunk = models.CharField(max_length=64, help_text="digest of the layers below the last, which made the features")
    features = models.BinaryField(max_length=256, help_text="128 float16, little-endian")
    created_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(predicted__in=CLASSES), name="examination_predicted_is_class"),
        )

    def __str__(self) -> str:
        return f"{self.drawing_id} by {self.model_id}"


class Decision(models.Model):
    """What a reviewer decided about a drawing. Never altered, but marked when it is undone."""

    class Action(models.TextChoices):
        APPROVE = "approve", "approved"
        REJECT = "reject", "rejected"
        RELABEL = "relabel", "relabelled and approved"
        UNDO = "undo", "undone"
        REPORT = "report", "reported: back to review"

    class Reason(models.TextChoices):
        NOT_A_LETTER = "not_a_letter", "not a letter"
        WRONG_LETTER = "wrong_letter", "wrong letter"
        OFFENSIVE = "offensive", "offensive"
        UNREADABLE = "unreadable", "unreadable"
        DUPLICATE = "duplicate", "duplicate"

    drawing = models.ForeignKey(Drawing, on_delete=models.CASCADE, related_name="decisions")
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False
    )
    actor = models.CharField(max_length=150, help_text="the reviewer's name, also when the account is gone")
    action = models.CharField(max_length=10, choices=Action.choices)
    old_state = models.CharField(max_length=10, choices=Drawing.State.choices)
    new_state = models.CharField(max_length=10, choices=Drawing.State.choices)
    old_label = models.CharField(max_length=1)
    new_label = models.CharField(max_length=1)
    old_character = models.CharField(max_length=1, help_text="the letter before, case and all")
    new_character = models.CharField(max_length=1)
    reason = models.CharField(max_length=20, choices=Reason.choices, blank=True)
    undoes = models.OneToOneField("self", on_delete=models.CASCADE, null=True, related_name="undone_by")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "-id")
        indexes = (
            models.Index(fields=("reviewer", "-created_at"), name="decision_of_reviewer"),
            models.Index(fields=("-created_at", "-id"), name="decision_newest"),
            models.Index(fields=("actor", "-created_at", "-id"), name="decision_of_actor"),
            models.Index(
                fields=("reason", "-created_at", "-id"), condition=~Q(reason=""), name="decision_for_a_reason"
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(action__in=("approve", "reject", "relabel", "undo", "report")), name="decision_action_known"
            ),
            models.CheckConstraint(condition=~Q(action="reject") | ~Q(reason=""), name="decision_rejection_has_reason"),
        )

    def __str__(self) -> str:
        return f"{self.get_action_display()} by {self.actor}"


class Withdrawal(models.Model):
    """A drawing that was taken back: its random id, and when. By it one knows which models learned from it, and keeps
    it out of a site that is restored from a backup."""

    id = models.UUIDField(primary_key=True, editable=False, help_text="of the drawing that is gone")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "id")
        indexes = (models.Index(fields=("created_at",), name="withdrawal_since"),)

    def __str__(self) -> str:
        return str(self.id)[:8]


class Purge(models.Model):
    """What was deleted because its time was over: when, and how much of what. Numbers only."""

    counts = models.JSONField(default=dict, editable=False, help_text="how much of each kind")
    message = models.TextField(blank=True, editable=False, help_text="what could not be deleted, in words")
    created_at = models.DateTimeField(auto_now_add=True, help_text="when it began")
    finished_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M}"


class Report(models.Model):
    """Somebody says that a letter which is public should not be. It needs no account, and counts once."""

    class Reason(models.TextChoices):
        OFFENSIVE = "offensive", "it is offensive"
        PERSONAL = "personal", "it says who somebody is"
        NOT_A_LETTER = "not_a_letter", "it is no letter"
        WRONG_LETTER = "wrong_letter", "it is another letter"
        OTHER = "other", "something else is wrong with it"

    drawing = models.ForeignKey(Drawing, on_delete=models.CASCADE, related_name="reports", db_index=False)
    reporter = models.CharField(
        max_length=64, help_text="a keyed hash of who reported it and of the drawing: it says nothing else"
    )
    reason = models.CharField(max_length=20, choices=Reason.choices)
    weighs = models.BooleanField(
        help_text="the first of its network within an hour: it may take the letter out of view"
    )
    decision = models.ForeignKey(
        Decision,
        on_delete=models.SET_NULL,
        null=True,
        related_name="reports",
        help_text="what a reviewer decided about it; none while it waits",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "-id")
        indexes = (models.Index(fields=("drawing",), condition=Q(decision=None), name="report_waits"),)
        constraints = (models.UniqueConstraint(fields=("drawing", "reporter"), name="report_counts_once"),)

    def __str__(self) -> str:
        return f"{self.get_reason_display()} ({str(self.drawing_id)[:8]})"


class Policy(models.Model):
    """The one row with what maintainers set: what is learned from, when, what a model must prove to serve, and how long
    what is kept."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    retrain_after = models.PositiveIntegerField(
        default=0, help_text="Retrain by itself after so many newly approved drawings; 0 for never."
    )
    retrain_kind = models.CharField(
        max_length=5,
        choices=(("head", "head: the last layer, seconds"), ("full", "full: all layers, minutes to hours")),
        default="head",
        help_text="What such a retraining is.",
    )
    promote_passed = models.BooleanField(
        default=True, help_text="A model that passed the gate serves at once; else it waits for a maintainer."
    )
    contributor_share = models.FloatField(
        default=0.2,
        validators=[MinValueValidator(0.01), MaxValueValidator(1)],
        help_text="One contributor makes up at most this share of a class in a training set, 0.01 to 1.",
    )
    significance = models.FloatField(
        default=0.05,
        validators=[MinValueValidator(0.0001), MaxValueValidator(0.5)],
        help_text="A model is worse when so small a probability says that chance would not explain it.",
    )
    class_loss = models.FloatField(
        default=5.0,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
        help_text="No class may lose more than so many percentage points of its recall.",
    )
    holdout_minimum = models.PositiveIntegerField(
        default=100,
        validators=[MinValueValidator(1)],
        help_text="Held-out drawings that it takes before they have a say.",
    )
    maps_after = models.PositiveIntegerField(
        default=0, help_text="Make the maps anew after so many newly approved drawings; 0 for never."
    )
    maps_follow = models.BooleanField(
        default=False,
        help_text="Fit the UMAP map anew after each promotion; else only after one that changed more than the last"
        " layer.",
    )
    rejected_days = models.PositiveIntegerField(
        default=365, help_text="Delete a rejected drawing so many days after the decision; 0 for never."
    )
    pending_days = models.PositiveIntegerField(
        default=0, help_text="Delete a drawing that nobody reviewed within so many days; 0 for never."
    )
    drawings_days = models.PositiveIntegerField(
        default=0, help_text="Delete any drawing so many days after it was given; 0 for never."
    )
    exports_days = models.PositiveIntegerField(
        default=90, help_text="Delete the file of an export so many days after it was made; 0 for never."
    )
    models_days = models.PositiveIntegerField(
        default=180,
        help_text="Delete the files of a model that does not serve after so many days, if it never served or learned"
        " from drawings that were withdrawn; 0 for never.",
    )
    log_days = models.PositiveIntegerField(
        default=365, help_text="Delete the admin's log of what staff did after so many days; 0 for never."
    )

    class Meta:
        verbose_name_plural = "policy"
        constraints = (
            models.CheckConstraint(condition=Q(id=1), name="policy_one_row"),
            models.CheckConstraint(
                condition=Q(contributor_share__gt=0, contributor_share__lte=1), name="policy_share_is_share"
            ),
        )

    def __str__(self) -> str:
        return "how this site learns"


class TrainingRun(models.Model):
    """One retraining: who asked for it, what it learned from, how it went, and what the gate said."""

    class Kind(models.TextChoices):
        HEAD = "head", "head: the last layer"
        FULL = "full", "full: all layers"

    class Trigger(models.TextChoices):
        BUTTON = "button", "a button in the admin"
        COMMAND = "command", "manage.py retrain"
        API = "api", "the API"
        SCHEDULE = "schedule", "the schedule"
        COUNT = "count", "enough new drawings"

    class State(models.TextChoices):
        QUEUED = "queued", "waiting"
        RUNNING = "running", "running"
        DONE = "done", "done"
        FAILED = "failed", "failed"
        CANCELLED = "cancelled", "cancelled"

    class Outcome(models.TextChoices):
        PROMOTED = "promoted", "better: it serves"
        PASSED = "passed", "passed the gate, waits for a maintainer"
        REFUSED = "refused", "refused by the gate"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=5, choices=Kind.choices)
    trigger = models.CharField(max_length=10, choices=Trigger.choices)
    requested_by = models.CharField(max_length=150)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, blank=True)
    message = models.TextField(blank=True, help_text="how it ended, in words")
    seed = models.PositiveIntegerField(default=0)
    config = models.JSONField(default=dict)
    champion = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, null=True, related_name="+")
    candidate = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, null=True, related_name="training_runs")
    verdict = models.JSONField(null=True)

    # the snapshot: which drawings, under which labels
    drawing_count = models.PositiveIntegerField(default=0)
    counts = models.JSONField(default=dict, help_text="drawings of each class")
    drawing_ids = models.BinaryField(default=b"", help_text="16 bytes each, sorted")
    snapshot_hash = models.CharField(max_length=64, blank=True, help_text="SHA-256 of ids and labels")

    # the work
    progress = models.JSONField(default=dict, help_text="stage, epoch, epochs, loss, validation, share, seconds_left")
    log = models.TextField(blank=True)
    claim = models.UUIDField(null=True, help_text="whoever works on it now; another one's results do not count")
    worker = models.CharField(max_length=200, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    fruitless = models.PositiveSmallIntegerField(
        default=0, help_text="workers in a row that began it and brought it no farther"
    )
    heartbeat_at = models.DateTimeField(null=True)
    cancel_requested_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at",)
        permissions = (("start_trainingrun", "Can start and cancel a retraining"),)
        constraints = (
            models.UniqueConstraint(fields=("state",), condition=Q(state="running"), name="run_one_at_a_time"),
            models.UniqueConstraint(fields=("kind",), condition=Q(state="queued"), name="run_one_waits_of_a_kind"),
            models.CheckConstraint(condition=Q(kind__in=("head", "full")), name="run_kind_known"),
            models.CheckConstraint(
                condition=Q(state__in=("queued", "running", "done", "failed", "cancelled")), name="run_state_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {str(self.id)[:8]}"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (self.State.DONE, self.State.FAILED, self.State.CANCELLED)


class Export(models.Model):
    """A file made of the collected data, to be downloaded."""

    class Format(models.TextChoices):
        PARQUET = "parquet", "Parquet"
        IDX = "idx", "idx, as EMNIST has it"
        NDJSON = "ndjson", "ndjson strokes, as Quick, Draw! has them"

    class State(models.TextChoices):
        QUEUED = "queued", "waiting"
        RUNNING = "running", "running"
        DONE = "done", "done"
        FAILED = "failed", "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    format = models.CharField(max_length=10, choices=Format.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    requested_by = models.CharField(max_length=150)
    message = models.TextField(blank=True, help_text="how it ended, in words")
    done = models.PositiveIntegerField(default=0, help_text="drawings written")
    total = models.PositiveIntegerField(default=0)
    stored = models.CharField(max_length=200, blank=True, help_text="name in storage")
    size = models.PositiveBigIntegerField(default=0, help_text="bytes")
    claim = models.UUIDField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="how many workers have begun it")
    heartbeat_at = models.DateTimeField(null=True)
    withdrawn_at = models.DateTimeField(
        null=True, help_text="since when it holds a drawing that is no longer ours to give; nobody gets it any more"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(condition=Q(format__in=("parquet", "idx", "ndjson")), name="export_format_known"),
            models.CheckConstraint(
                condition=Q(state__in=("queued", "running", "done", "failed")), name="export_state_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.format} {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in (self.State.DONE, self.State.FAILED)

    @property
    def can_be_had(self) -> bool:
        """Whether its file may be handed out."""
        return self.state == self.State.DONE and self.withdrawn_at is None


class LetterMap(models.Model):
    """One fit of all letters to a plane. Published, its EMNIST letters stay where they are; figures, quality and
    thumbnails may follow."""

    class Method(models.TextChoices):
        UMAP = "umap", "UMAP"
        TSNE = "tsne", "t-SNE"
        PCA = "pca", "PCA"
        SVD = "svd", "SVD"
        ISOMAP = "isomap", "Isomap"
        LLE = "lle", "LLE"

    class Space(models.TextChoices):
        FEATURES = "features", "the model's features"
        PIXELS = "pixels", "pixels"

    class Trigger(models.TextChoices):
        SETUP = "setup", "came with the model"
        BUTTON = "button", "a button in the admin"
        COMMAND = "command", "manage.py make_maps"
        API = "api", "the API"
        SCHEDULE = "schedule", "the schedule"
        COUNT = "count", "enough new drawings"
        PROMOTION = "promotion", "a promotion"

    class State(models.TextChoices):
        QUEUED = "queued", "waiting"
        RUNNING = "running", "running"
        DONE = "done", "done"
        FAILED = "failed", "failed"
        CANCELLED = "cancelled", "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    method = models.CharField(max_length=10, choices=Method.choices)
    space = models.CharField(max_length=10, choices=Space.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    trigger = models.CharField(max_length=10, choices=Trigger.choices)
    requested_by = models.CharField(max_length=150)
    message = models.TextField(blank=True, help_text="how it ended, in words")
    seed = models.PositiveIntegerField(default=0)

    # what it shows
    model = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, null=True, related_name="maps", help_text="who read the letters"
    )
    trunk = models.CharField(max_length=64, blank=True, help_text="the layers that made the features; empty: pixels")
    emnist_count = models.PositiveIntegerField(default=0)
    collected_count = models.PositiveIntegerField(default=0, help_text="drawings that were fitted")
    counts = models.JSONField(default=dict, help_text="EMNIST letters of each class")
    explained = models.JSONField(null=True, help_text="cumulative share of variance, component by component")
    quality = models.JSONField(default=dict, help_text="trustworthiness, knn_plane, knn_space, moved_mean, ...")
    has_images = models.BooleanField(default=False)
    sheets = models.PositiveIntegerField(default=0, help_text="of thumbnails")
    sample = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the EMNIST letters' vectors")
    files = models.JSONField(default=dict, help_text="by name: the name in storage, and the size in bytes")
    published_at = models.DateTimeField(null=True)

    # the work
    progress = models.JSONField(default=dict, help_text="share (0 to 1), message")
    claim = models.UUIDField(null=True, help_text="whoever works on it now; another one's results do not count")
    worker = models.CharField(max_length=200, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    heartbeat_at = models.DateTimeField(null=True)
    cancelled_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True, help_text="since when nothing is left to do")

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "map"
        permissions = (("make_lettermap", "Can have maps made, and cancel that"),)
        indexes = (models.Index(fields=("method", "space", "-published_at"), name="map_current"),)
        constraints = (
            models.UniqueConstraint(fields=("method", "space"), condition=Q(state="running"), name="map_one_runs"),
            models.UniqueConstraint(fields=("method", "space"), condition=Q(state="queued"), name="map_one_waits"),
            models.CheckConstraint(
                condition=Q(method__in=("umap", "tsne", "pca", "svd", "isomap", "lle")), name="map_method_known"
            ),
            models.CheckConstraint(condition=Q(space__in=("features", "pixels")), name="map_space_known"),
            models.CheckConstraint(
                condition=Q(state__in=("queued", "running", "done", "failed", "cancelled")), name="map_state_known"
            ),
            models.CheckConstraint(
                condition=Q(state="done", published_at__isnull=False, model__isnull=False)
                | (~Q(state="done") & Q(published_at=None)),
                name="map_done_is_published",
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_method_display()} of {self.get_space_display()}"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (self.State.DONE, self.State.FAILED, self.State.CANCELLED)


class MapPoint(models.Model):
    """Where a collected drawing lies on a map. It goes with the drawing, at once and from every map."""

    map = models.ForeignKey(LetterMap, on_delete=models.CASCADE, related_name="points", db_index=False)
    drawing = models.ForeignKey(Drawing, on_delete=models.CASCADE, related_name="map_points")
    x = models.FloatField(help_text="-1 to 1")
    y = models.FloatField(help_text="-1 to 1")
    fitted = models.BooleanField(help_text="it had a part in the fit; else it was placed among those that had")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("map", "drawing"), name="map_shows_drawing_once"),)

    def __str__(self) -> str:
        return f"{self.drawing_id} on {self.map_id}"


class Census(models.Model):
    """The one row with how many drawings there are of each kind, as counted a while ago: for pages of a site that has
    so many that counting them takes time."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    kinds = models.JSONField(default=list, help_text="state, label, held out, muted, and the number of these")
    withheld = models.JSONField(default=dict, help_text="by state: those that may not be published")
    contributors = models.PositiveIntegerField(default=0, help_text="who have given a drawing")
    seconds = models.FloatField(default=0, help_text="that it took to count")
    counted_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "census"
        constraints = (models.CheckConstraint(condition=Q(id=1), name="census_one_row"),)

    def __str__(self) -> str:
        return f"as of {self.counted_at:%Y-%m-%d %H:%M}"


class DriftDay(models.Model):
    """How the drawings that were kept on a day had been read, version by version: counts alone, made anew now and then,
    so that what is withdrawn leaves them too."""

    day = models.DateField(primary_key=True, editable=False)
    versions = models.JSONField(default=dict, help_text="by number of the version, see letters/drift.py")
    counted_at = models.DateTimeField()

    class Meta:
        ordering = ("-day",)

    def __str__(self) -> str:
        return f"{self.day}"
