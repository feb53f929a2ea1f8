"""How long what is kept, the purge that sees to it every night, and a note of each drawing that was taken back."""

from django.apps.registry import Apps
from django.contrib.auth.management import create_permissions
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

NIGHTLY = "Delete what is kept no longer"
FOR_EVER = dict.fromkeys(("rejected_days", "exports_days", "models_days", "log_days"), 0)


def add_schedule(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    crontab, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
        minute="30", hour="4", day_of_week="*", day_of_month="*", month_of_year="*", timezone="UTC"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name=NIGHTLY,
        defaults={
            "task": "letters.tasks.purge",
            "crontab": crontab,
            "queue": "exports",
            "description": "By the policy; `manage.py purge --dry-run` says what it would delete.",
        },
    )


def keep_what_there_is(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """A site that is at work goes on keeping everything until its maintainers set something else."""
    if apps.get_model("letters", "Drawing").objects.exists():
        apps.get_model("letters", "Policy").objects.update(**FOR_EVER)


def let_maintainers_see(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    from django.apps import apps as installed

    create_permissions(installed.get_app_config("letters"), verbosity=0, using=schema_editor.connection.alias)
    permission, group = apps.get_model("auth", "Permission"), apps.get_model("auth", "Group")
    maintainers, _ = group.objects.get_or_create(name="maintainers")
    maintainers.permissions.add(*permission.objects.filter(codename__in=("view_purge", "delete_contributor")))


class Migration(migrations.Migration):
    dependencies = [("letters", "0009_unfamiliarity_as_visitors_see_it")]
    operations = [
        migrations.CreateModel(
            name="Withdrawal",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        editable=False,
                        help_text="of the drawing that is gone",
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ("-created_at", "id"),
                "indexes": [models.Index(fields=["created_at"], name="withdrawal_since")],
            },
        ),
        migrations.CreateModel(
            name="Purge",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("counts", models.JSONField(default=dict, editable=False, help_text="how much of each kind")),
                (
                    "message",
                    models.TextField(blank=True, editable=False, help_text="what could not be deleted, in words"),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, help_text="when it began")),
                ("finished_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={"ordering": ("-created_at", "-id")},
        ),
        migrations.AddField(
            model_name="modelversion",
            name="discarded_at",
            field=models.DateTimeField(
                editable=False,
                help_text="since when its artefact is no longer in storage; it can serve no more",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="policy",
            name="rejected_days",
            field=models.PositiveIntegerField(
                default=365, help_text="Delete a rejected drawing so many days after the decision; 0 for never."
            ),
        ),
        migrations.AddField(
            model_name="policy",
            name="pending_days",
            field=models.PositiveIntegerField(
                default=0, help_text="Delete a drawing that nobody reviewed within so many days; 0 for never."
            ),
        ),
        migrations.AddField(
            model_name="policy",
            name="drawings_days",
            field=models.PositiveIntegerField(
                default=0, help_text="Delete any drawing so many days after it was given; 0 for never."
            ),
        ),
        migrations.AddField(
            model_name="policy",
            name="exports_days",
            field=models.PositiveIntegerField(
                default=90, help_text="Delete the file of an export so many days after it was made; 0 for never."
            ),
        ),
        migrations.AddField(
            model_name="policy",
            name="models_days",
            field=models.PositiveIntegerField(
                default=180,
                help_text="Delete the files of a model that does not serve after so many days, if it never served or "
                "learned from drawings that were withdrawn; 0 for never.",
            ),
        ),
        migrations.AddField(
            model_name="policy",
            name="log_days",
            field=models.PositiveIntegerField(
                default=365, help_text="Delete the admin's log of what staff did after so many days; 0 for never."
            ),
        ),
        migrations.RunPython(add_schedule, migrations.RunPython.noop),
        migrations.RunPython(keep_what_there_is, migrations.RunPython.noop),
        migrations.RunPython(let_maintainers_see, migrations.RunPython.noop),
    ]
