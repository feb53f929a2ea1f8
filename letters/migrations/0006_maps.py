"""Maps of the letters, who may have them made, and when they are made by themselves."""

import uuid

import django.db.models.deletion
from django.apps.registry import Apps
from django.contrib.auth.management import create_permissions
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

MAINTAINERS = ("view_lettermap", "make_lettermap")
WEEKLY = "Make the maps every week"


def add_permissions(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    from django.apps import apps as installed

    # permissions are made after the last migration as a rule; the group needs them now
    create_permissions(installed.get_app_config("letters"), verbosity=0, using=schema_editor.connection.alias)
    permission, group = apps.get_model("auth", "Permission"), apps.get_model("auth", "Group")
    maintainers, _ = group.objects.get_or_create(name="maintainers")
    maintainers.permissions.add(*permission.objects.filter(content_type__app_label="letters", codename__in=MAINTAINERS))


def add_schedule(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    crontab, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
        minute="0", hour="4", day_of_week="0", day_of_month="*", month_of_year="*", timezone="UTC"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name=WEEKLY,
        defaults={
            "task": "letters.tasks.make_maps_on_schedule",
            "crontab": crontab,
            "queue": "examination",
            "description": "Those that there are, anew; does nothing where no letter came or went since the last.",
        },
    )


class Migration(migrations.Migration):
    dependencies = [
        ("letters", "0005_deployment_run"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [
        migrations.AddField(
            model_name="policy",
            name="maps_after",
            field=models.PositiveIntegerField(
                default=0, help_text="Make the maps anew after so many newly approved drawings; 0 for never."
            ),
        ),
        migrations.AddField(
            model_name="policy",
            name="maps_follow",
            field=models.BooleanField(
                default=False,
                help_text="Fit the UMAP map anew after each promotion; else only after one that changed more than the"
                " last layer.",
            ),
        ),
        migrations.CreateModel(
            name="LetterMap",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "method",
                    models.CharField(
                        choices=[
                            ("umap", "UMAP"),
                            ("tsne", "t-SNE"),
                            ("pca", "PCA"),
                            ("svd", "truncated SVD"),
                            ("isomap", "Isomap"),
                            ("lle", "LLE"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "space",
                    models.CharField(
                        choices=[("features", "the model's features"), ("pixels", "pixels")], max_length=10
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("queued", "waiting"), ("running", "running"), ("done", "done"), ("failed", "failed")],
                        default="queued",
                        max_length=10,
                    ),
                ),
                (
                    "trigger",
                    models.CharField(
                        choices=[
                            ("setup", "came with the model"),
                            ("button", "a button in the admin"),
                            ("command", "manage.py make_maps"),
                            ("api", "the API"),
                            ("schedule", "the schedule"),
                            ("count", "enough new drawings"),
                            ("promotion", "a promotion"),
                        ],
                        max_length=10,
                    ),
                ),
                ("requested_by", models.CharField(max_length=150)),
                ("message", models.TextField(blank=True, help_text="how it ended, in words")),
                ("seed", models.PositiveIntegerField(default=0)),
                (
                    "trunk",
                    models.CharField(
                        blank=True, help_text="the layers that made the features; empty: pixels", max_length=64
                    ),
                ),
                ("emnist_count", models.PositiveIntegerField(default=0)),
                ("collected_count", models.PositiveIntegerField(default=0, help_text="drawings that were fitted")),
                ("counts", models.JSONField(default=dict, help_text="EMNIST letters of each class")),
                (
                    "explained",
                    models.JSONField(help_text="cumulative share of variance, component by component", null=True),
                ),
                (
                    "quality",
                    models.JSONField(default=dict, help_text="trustworthiness, knn_plane, knn_space, moved_mean, ..."),
                ),
                ("has_images", models.BooleanField(default=False)),
                ("sheets", models.PositiveIntegerField(default=0, help_text="of thumbnails")),
                (
                    "sample",
                    models.CharField(blank=True, help_text="SHA-256 of the EMNIST letters' vectors", max_length=64),
                ),
                (
                    "files",
                    models.JSONField(default=dict, help_text="by name: the name in storage, and the size in bytes"),
                ),
                ("published_at", models.DateTimeField(null=True)),
                ("progress", models.JSONField(default=dict, help_text="share (0 to 1), message")),
                (
                    "claim",
                    models.UUIDField(
                        help_text="whoever works on it now; another one's results do not count", null=True
                    ),
                ),
                ("worker", models.CharField(blank=True, max_length=200)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("heartbeat_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(help_text="since when nothing is left to do", null=True)),
                (
                    "model",
                    models.ForeignKey(
                        help_text="who read the letters",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="maps",
                        to="letters.modelversion",
                    ),
                ),
            ],
            options={
                "verbose_name": "map",
                "ordering": ("-created_at",),
                "permissions": (("make_lettermap", "Can have maps made"),),
            },
        ),
        migrations.CreateModel(
            name="MapPoint",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("x", models.FloatField(help_text="-1 to 1")),
                ("y", models.FloatField(help_text="-1 to 1")),
                (
                    "fitted",
                    models.BooleanField(help_text="it had a part in the fit; else it was placed among those that had"),
                ),
                (
                    "drawing",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="map_points", to="letters.drawing"
                    ),
                ),
                (
                    "map",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="points", to="letters.lettermap"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="lettermap",
            index=models.Index(fields=["method", "space", "-published_at"], name="map_current"),
        ),
        migrations.AddConstraint(
            model_name="lettermap",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "running")), fields=("method", "space"), name="map_one_runs"
            ),
        ),
        migrations.AddConstraint(
            model_name="lettermap",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "queued")), fields=("method", "space"), name="map_one_waits"
            ),
        ),
        migrations.AddConstraint(
            model_name="lettermap",
            constraint=models.CheckConstraint(
                condition=models.Q(("method__in", ("umap", "tsne", "pca", "svd", "isomap", "lle"))),
                name="map_method_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="lettermap",
            constraint=models.CheckConstraint(
                condition=models.Q(("space__in", ("features", "pixels"))), name="map_space_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="lettermap",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ("queued", "running", "done", "failed"))), name="map_state_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="lettermap",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("model__isnull", False), ("published_at__isnull", False), ("state", "done")),
                    models.Q(models.Q(("state", "done"), _negated=True), ("published_at", None)),
                    _connector="OR",
                ),
                name="map_done_is_published",
            ),
        ),
        migrations.AddConstraint(
            model_name="mappoint",
            constraint=models.UniqueConstraint(fields=("map", "drawing"), name="map_shows_drawing_once"),
        ),
        migrations.RunPython(add_permissions, migrations.RunPython.noop),
        migrations.RunPython(add_schedule, migrations.RunPython.noop),
    ]
