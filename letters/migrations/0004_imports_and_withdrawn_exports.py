"""Collections that are brought in from elsewhere, and exports that are no longer handed out."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("letters", "0003_groups_and_schedule")]
    operations = [
        migrations.AddField(
            model_name="export",
            name="attempts",
            field=models.PositiveSmallIntegerField(default=0, help_text="how many workers have begun it"),
        ),
        migrations.AddField(
            model_name="export",
            name="withdrawn_at",
            field=models.DateTimeField(
                help_text="since when it holds a drawing that is no longer ours to give; nobody gets it any more",
                null=True,
            ),
        ),
        migrations.CreateModel(
            name="Import",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(
                        help_text="with its writers' names it makes their ids here", max_length=100, unique=True
                    ),
                ),
                (
                    "consent",
                    models.TextField(
                        help_text="what the contributors agreed to, in the words of whoever brought it in"
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("consent", ""), _negated=True), name="import_has_consent"
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="contributor",
            name="imported_from",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="contributors",
                to="letters.import",
            ),
        ),
    ]
