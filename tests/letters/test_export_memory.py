"""Four times as many drawings are exported in the same memory: measured, in a process for each format."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.running import ROOT

pytestmark = pytest.mark.slow
APPROVED, ALL = 10_000, 40_000
BOUND = 150  # MB that an export of those approved may take; most is what pyarrow and zstd need for a part of a file
MORE = 20  # MB that the others may cost; they themselves take 45 as JSON
PREPARE = """
import json, random, sqlite3, uuid
import django
django.setup()
from django.core.management import call_command
from django.conf import settings
from letters.models import Contributor, ModelVersion, Drawing
call_command("migrate", verbosity=0)
model = ModelVersion.objects.create(number=1, digest="1" * 64, name="One", origin="shipped")
contributors = [uuid.UUID(int=number) for number in range(4000)]
Contributor.objects.bulk_create(Contributor(id=each, held_out=each.int % 10 == 0) for each in contributors)
number = random.Random(0)
strokes = [
    json.dumps([[[number.randrange(300) / 4, number.randrange(300) / 4, 16.0 * at] for at in range(8)]] * 2)
    for _ in range(100)
]
kept = {"character": "Z", "label": "Z", "state": "approved", "source": "canvas", "corrected_character": "",
        "likeness": "", "canvas_width": 300.0, "canvas_height": 300.0, "preprocess": "1", "model_id": model.pk,
        "predicted": "Z", "probability": 0.9, "consent": "2", "fingerprint": "f" * 64, "image_hash": "f" * 64,
        "usefulness": 1.0, "revision": 1, "created_at": "2026-01-01 12:00:00"}
names = [*kept, "id", "contributor_id", "idempotency_key", "strokes", "image"]
rows = ((*kept.values(), number.randbytes(16).hex(), contributors[at % 4000].hex, str(at),
         strokes[at % 100], number.randbytes(200) + bytes(584)) for at in range(ALL))
with sqlite3.connect(settings.DATABASES["default"]["NAME"]) as connection:
    connection.execute("PRAGMA synchronous = OFF")
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'letters_drawing' AND sql <> ''"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f'DROP INDEX "{name}"')
    marks = ",".join("?" * len(names))
    connection.executemany(f"INSERT INTO letters_drawing ({','.join(names)}) VALUES ({marks})", rows)
    for _, sql in indexes:  # made at once they take a tenth of the time
        connection.execute(sql)
    connection.execute("UPDATE letters_drawing SET state = 'pending' WHERE idempotency_key + 0 >= ?", [APPROVED])
"""
MEASURE = """
import json, re, time
from pathlib import Path
import django
django.setup()
import pyarrow.parquet
from django.db import connection
from letters import dataset
def peak():  # of this program in MB; what getrusage says begins with that of who started it
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
connection.ensure_connection()
for selection in ("approved", "all"):
    before, started = peak(), time.monotonic()
    written = dataset.write(FORMAT, Path(OUTPUT), selection=selection)
    print(json.dumps({"drawings": written.drawings, "size": written.size, "grown": round(peak() - before, 1),
                      "seconds": round(time.monotonic() - started, 1)}))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings of a database with many drawings."""
    folder = tmp_path_factory.mktemp("many")
    own = {
        "DJANGO_SETTINGS_MODULE": "webapp.settings",
        "DATABASE_URL": f"sqlite:///{folder / 'many.sqlite3'}",
        "VAR_DIR": str(folder),
    }
    environment = os.environ | own
    run(f"APPROVED, ALL = {APPROVED}, {ALL}\n{PREPARE}", environment)
    return environment


def run(code: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a program alone")
@pytest.mark.parametrize("format", ["parquet", "idx", "ndjson"])
def test_memory_is_bounded(format: str, environment: dict[str, str], tmp_path: Path, record_property: Any) -> None:
    output = str(tmp_path / "letters.zip")
    lines = run(f"FORMAT = {format!r}\nOUTPUT = {output!r}\n{MEASURE}", environment).splitlines()
    few, many = map(json.loads, lines)
    record_property("measured", [few, many])
    print(format, few, many)
    assert (few["drawings"], many["drawings"]) == (APPROVED, ALL)
    assert few["grown"] < BOUND
    assert many["grown"] < MORE
