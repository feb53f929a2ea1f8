"""Samples of approved drawings are drawn from indices alone."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("letters", "0015_narrow_rows"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="drawing",
            name="drawing_reservoir",
        ),
        migrations.RemoveIndex(
            model_name="drawing",
            name="drawing_lately",
        ),
        migrations.AddIndex(
            model_name="drawing",
            index=models.Index(
                condition=models.Q(("state", "approved")),
                fields=["label", "id", "contributor"],
                name="drawing_by_chance",
            ),
        ),
        migrations.AddIndex(
            model_name="drawing",
            index=models.Index(
                condition=models.Q(("state", "approved")),
                fields=["label", "-state_since", "id", "contributor"],
                name="drawing_approved_lately",
            ),
        ),
    ]
