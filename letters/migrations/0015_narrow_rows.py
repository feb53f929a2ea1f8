"""Rows of drawings that many go into a page, and an index by which they are counted without a look at them."""

from django.db import migrations, models

# Strokes lie apart from their row, where PostgreSQL would keep up to 2 KB of them in it: whatever goes through
# drawings, or changes one, then reads and writes a third of the pages.
NARROW = "ALTER TABLE letters_drawing SET (toast_tuple_target = 1024)"
AS_BEFORE = "ALTER TABLE letters_drawing RESET (toast_tuple_target)"


def in_postgres(statement):
    def run(apps, schema_editor):
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(statement)

    return run


class Migration(migrations.Migration):
    dependencies = [("letters", "0014_drift")]

    operations = [
        migrations.RunPython(in_postgres(NARROW), in_postgres(AS_BEFORE)),
        migrations.RemoveIndex(model_name="drawing", name="drawing_counted"),
        migrations.AddIndex(
            model_name="drawing",
            index=models.Index(fields=["state", "contributor", "label"], name="drawing_counted"),
        ),
    ]
