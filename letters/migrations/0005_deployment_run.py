"""Which retraining brought a deployment about."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("letters", "0004_imports_and_withdrawn_exports")]
    operations = [
        migrations.AddField(
            model_name="deployment",
            name="run",
            field=models.ForeignKey(
                help_text="the retraining that did it by itself",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deployments",
                to="letters.trainingrun",
            ),
        ),
    ]
