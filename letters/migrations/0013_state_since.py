"""Since when a drawing is approved: what was approved lately is found by an index, however long ago it was drawn."""

import django.utils.timezone
from django.db import migrations, models
from django.db.models import F, OuterRef, Subquery
from django.db.models.functions import Coalesce, Now


def note_last_decisions(apps, schema_editor):
    decisions = apps.get_model("letters", "Decision").objects.filter(drawing=OuterRef("pk")).order_by("-id")
    last = Subquery(decisions.values("created_at")[:1])
    apps.get_model("letters", "Drawing").objects.order_by().update(state_since=Coalesce(last, F("created_at")))


class Migration(migrations.Migration):
    dependencies = [("letters", "0012_reports")]

    operations = [
        migrations.AddField(
            model_name="drawing",
            name="state_since",
            field=models.DateTimeField(
                db_default=Now(),
                default=django.utils.timezone.now,
                editable=False,
                help_text="when it came to be so",
            ),
        ),
        migrations.RunPython(note_last_decisions, migrations.RunPython.noop, elidable=True),
        migrations.AddIndex(
            model_name="drawing",
            index=models.Index(
                condition=models.Q(("state", "approved")), fields=["label", "-state_since"], name="drawing_lately"
            ),
        ),
        migrations.AddIndex(
            model_name="drawing",
            index=models.Index(
                condition=models.Q(("state", "approved")), fields=["-state_since"], name="drawing_lately_of_all"
            ),
        ),
    ]
