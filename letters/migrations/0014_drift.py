"""What each day's drawings were read as, in numbers: the page on drift does not read a million drawings."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("letters", "0013_state_since")]

    operations = [
        migrations.CreateModel(
            name="DriftDay",
            fields=[
                ("day", models.DateField(editable=False, primary_key=True, serialize=False)),
                (
                    "versions",
                    models.JSONField(default=dict, help_text="by number of the version, see letters/drift.py"),
                ),
                ("counted_at", models.DateTimeField()),
            ],
            options={"ordering": ("-day",)},
        ),
    ]
