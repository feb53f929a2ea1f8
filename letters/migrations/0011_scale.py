"""What a site with very many drawings needs: indices, what is left to examine beside the drawing, and a census."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import OuterRef, Subquery


def note_who_examined(apps, schema_editor):
    examination = apps.get_model("letters", "Examination").objects.filter(drawing=OuterRef("pk"))
    drawings = apps.get_model("letters", "Drawing").objects.order_by()
    drawings.update(examined_by=Subquery(examination.values("model")))


class Migration(migrations.Migration):
    dependencies = [
        ("letters", "0010_retention"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Census",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                (
                    "kinds",
                    models.JSONField(default=list, help_text="state, label, held out, muted, and the number of these"),
                ),
                ("withheld", models.JSONField(default=dict, help_text="by state: those that may not be published")),
                ("contributors", models.PositiveIntegerField(default=0, help_text="who have given a drawing")),
                ("seconds", models.FloatField(default=0, help_text="that it took to count")),
                ("counted_at", models.DateTimeField()),
            ],
            options={
                "verbose_name_plural": "census",
            },
        ),
        migrations.AddField(
            model_name="drawing",
            name="examined_by",
            field=models.ForeignKey(
                db_index=False,
                editable=False,
                help_text="the model of its examination, here as well so that an index finds what is left to examine",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="letters.modelversion",
            ),
        ),
        migrations.AlterField(
            model_name="decision",
            name="reviewer",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="drawing",
            name="contributor",
            field=models.ForeignKey(
                db_index=False,
                editable=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="drawings",
                to="letters.contributor",
            ),
        ),
        migrations.AlterField(
            model_name="drawing",
            name="model",
            field=models.ForeignKey(
                db_index=False,
                editable=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="drawings",
                to="letters.modelversion",
            ),
        ),
        migrations.AlterField(
            model_name="mappoint",
            name="map",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="points",
                to="letters.lettermap",
            ),
        ),
        migrations.RunPython(note_who_examined, migrations.RunPython.noop, elidable=True),
        migrations.AddIndex(
            model_name="contributor",
            index=models.Index(fields=["-created_at", "-id"], name="contributor_newest"),
        ),
        migrations.AddIndex(
            model_name="contributor",
            index=models.Index(
                condition=models.Q(("muted_at__isnull", False)),
                fields=["-created_at", "-id"],
                name="contributor_muted_newest",
            ),
        ),
        migrations.AddIndex(
            model_name="decision",
            index=models.Index(fields=["-created_at", "-id"], name="decision_newest"),
        ),
        migrations.AddIndex(
            model_name="decision",
            index=models.Index(fields=["actor", "-created_at", "-id"], name="decision_of_actor"),
        ),
        migrations.AddIndex(
            model_name="decision",
            index=models.Index(
                condition=models.Q(("reason", ""), _negated=True),
                fields=["reason", "-created_at", "-id"],
                name="decision_for_a_reason",
            ),
        ),
        migrations.AddIndex(
            model_name="drawing",
            index=models.Index(fields=["state", "-created_at", "-id"], name="drawing_of_state"),
        ),
        migrations.AddIndex(
            model_name="drawing",
            index=models.Index(fields=["model", "-created_at", "-id"], name="drawing_of_model"),
        ),
        migrations.AddIndex(
            model_name="drawing",
            index=models.Index(fields=["contributor", "state", "label"], name="drawing_counted"),
        ),
        migrations.AddIndex(
            model_name="drawing",
            index=models.Index(fields=["consent", "state"], name="drawing_agreed"),
        ),
        migrations.AddIndex(
            model_name="drawing",
            index=models.Index(fields=["examined_by", "state"], name="drawing_to_examine"),
        ),
        migrations.AddIndex(
            model_name="drawing",
            index=models.Index(
                condition=models.Q(("state", "approved")), fields=["label", "id"], name="drawing_reservoir"
            ),
        ),
        migrations.AddIndex(
            model_name="drawing",
            index=models.Index(
                condition=models.Q(("duplicate_of__isnull", False)),
                fields=["-created_at", "-id"],
                name="drawing_duplicates",
            ),
        ),
        migrations.AddIndex(
            model_name="drawing",
            index=models.Index(
                condition=models.Q(("source", "import")), fields=["-created_at", "-id"], name="drawing_imported"
            ),
        ),
        migrations.AddConstraint(
            model_name="census",
            constraint=models.CheckConstraint(condition=models.Q(("id", 1)), name="census_one_row"),
        ),
    ]
