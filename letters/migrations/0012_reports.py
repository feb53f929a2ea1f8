"""Reports of letters that are public, and who of the staff sees them."""

import django.db.models.deletion
from django.conf import settings
from django.apps.registry import Apps
from django.contrib.auth.management import create_permissions
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def add_permissions(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    from django.apps import apps as installed

    # permissions are made after the last migration as a rule; the groups need them now
    create_permissions(installed.get_app_config("letters"), verbosity=0, using=schema_editor.connection.alias)
    permission, group = apps.get_model("auth", "Permission"), apps.get_model("auth", "Group")
    for name in ("reviewers", "maintainers"):
        made, _ = group.objects.get_or_create(name=name)
        made.permissions.add(*permission.objects.filter(content_type__app_label="letters", codename="view_report"))


class Migration(migrations.Migration):
    dependencies = [
        ("letters", "0011_scale"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Report",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "reporter",
                    models.CharField(
                        help_text="a keyed hash of who reported it and of the drawing: it says nothing else",
                        max_length=64,
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("offensive", "it is offensive"),
                            ("personal", "it says who somebody is"),
                            ("not_a_letter", "it is no letter"),
                            ("wrong_letter", "it is another letter"),
                            ("other", "something else is wrong with it"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "weighs",
                    models.BooleanField(
                        help_text="the first of its network within an hour: it may take the letter out of view"
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ("-created_at", "-id"),
            },
        ),
        migrations.RemoveConstraint(
            model_name="decision",
            name="decision_action_known",
        ),
        migrations.AlterField(
            model_name="decision",
            name="action",
            field=models.CharField(
                choices=[
                    ("approve", "approved"),
                    ("reject", "rejected"),
                    ("relabel", "relabelled and approved"),
                    ("undo", "undone"),
                    ("report", "reported: back to review"),
                ],
                max_length=10,
            ),
        ),
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.CheckConstraint(
                condition=models.Q(("action__in", ("approve", "reject", "relabel", "undo", "report"))),
                name="decision_action_known",
            ),
        ),
        migrations.AddField(
            model_name="report",
            name="decision",
            field=models.ForeignKey(
                help_text="what a reviewer decided about it; none while it waits",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="reports",
                to="letters.decision",
            ),
        ),
        migrations.AddField(
            model_name="report",
            name="drawing",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="reports",
                to="letters.drawing",
            ),
        ),
        migrations.AddIndex(
            model_name="report",
            index=models.Index(condition=models.Q(("decision", None)), fields=["drawing"], name="report_waits"),
        ),
        migrations.AddConstraint(
            model_name="report",
            constraint=models.UniqueConstraint(fields=("drawing", "reporter"), name="report_counts_once"),
        ),
        migrations.RunPython(add_permissions, migrations.RunPython.noop),
    ]
