from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('letters', '0006_maps'),
    ]

    operations = [
        migrations.AddField(
            model_name='trainingrun',
            name='fruitless',
            field=models.PositiveSmallIntegerField(default=0, help_text='workers in a row that began it and brought it no farther'),
        ),
    ]
