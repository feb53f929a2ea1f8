"""The review's measure of what is strange becomes the drawing page's, above 1 strange; it was another, above 1.5."""

from django.db import migrations, models
from django.db.models import F


def scale(factor):
    def change(apps, schema_editor):
        apps.get_model("letters", "Examination").objects.update(unfamiliarity=F("unfamiliarity") * factor)

    return change


class Migration(migrations.Migration):
    dependencies = [("letters", "0008_cancelled_maps")]

    operations = [
        migrations.RunPython(scale(1 / 1.5), scale(1.5)),
        migrations.AlterField(
            model_name="examination",
            name="unfamiliarity",
            field=models.FloatField(help_text="how strange its features are; above 1 like no letter that is known"),
        ),
    ]
