"""The groups of the staff, the nightly retraining, the one row of the policy, and what older drawings lack."""

import hashlib

from django.apps.registry import Apps
from django.contrib.auth.management import create_permissions
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

REVIEWERS = ("view_drawing", "review_drawing", "view_contributor", "view_decision")
MAINTAINERS = (
    *REVIEWERS,
    "delete_drawing",
    "mute_contributor",
    "view_modelversion",
    "promote_modelversion",
    "view_serving",
    "view_deployment",
    "view_trainingrun",
    "start_trainingrun",
    "view_policy",
    "change_policy",
    "view_export",
    "add_export",
    "delete_export",
)
SCHEDULE = ("view_periodictask", "change_periodictask", "view_crontabschedule", "add_crontabschedule")
NIGHTLY = "Retrain every night"


def add_groups(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    from django.apps import apps as installed

    # permissions are made after the last migration as a rule; the groups need them now
    for label in ("letters", "django_celery_beat"):
        create_permissions(installed.get_app_config(label), verbosity=0, using=schema_editor.connection.alias)
    permission, group = apps.get_model("auth", "Permission"), apps.get_model("auth", "Group")
    for name, codenames in (("reviewers", REVIEWERS), ("maintainers", (*MAINTAINERS, *SCHEDULE))):
        made, _ = group.objects.get_or_create(name=name)
        made.permissions.add(
            *permission.objects.filter(
                content_type__app_label__in=("letters", "django_celery_beat"), codename__in=codenames
            )
        )


def add_schedule(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    crontab, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
        minute="0", hour="3", day_of_week="*", day_of_month="*", month_of_year="*", timezone="UTC"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name=NIGHTLY,
        defaults={
            "task": "letters.tasks.retrain_on_schedule",
            "crontab": crontab,
            "kwargs": '{"kind": "head"}',
            "queue": "training",
            "description": "Does nothing on a night after which there is nothing new to learn from.",
        },
    )
    apps.get_model("letters", "Policy").objects.get_or_create(id=1)


def hash_images(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    drawings = apps.get_model("letters", "Drawing").objects
    for drawing in drawings.filter(image_hash="").only("id", "image").iterator(500):
        digest = hashlib.sha256(bytes(drawing.image)).hexdigest()
        drawings.filter(pk=drawing.pk).update(image_hash=digest)


class Migration(migrations.Migration):
    dependencies = [
        ("letters", "0002_the_loop"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]
    operations = [
        migrations.RunPython(add_groups, migrations.RunPython.noop),
        migrations.RunPython(add_schedule, migrations.RunPython.noop),
        migrations.RunPython(hash_images, migrations.RunPython.noop),
    ]
