"""What it costs that somebody gave very many letters: to page through them, take them along, take them back.

    python -m benchmarks.mine [LETTERS]

In this process, on a database of its own: SQLite in a folder that goes away, or a new one where DATABASE_URL names a
PostgreSQL. LETTERS (10,000) of one contributor, among as many of others; 20 models that learned from them all, and an
export. Prints milliseconds, and the most memory that the file took.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.running import ROOT, _some_database

MEASURE = r"""
import json, random, time, tracemalloc, uuid
import django
django.setup()
from datetime import timedelta
from django.core.management import call_command
from django.utils import timezone
from letters import mine, privacy
from letters.models import Contributor, Drawing, Export, ModelVersion, TrainingRun
call_command("migrate", verbosity=0)
chance, now = random.Random(0), timezone.now()
model = ModelVersion.objects.create(number=1, digest="1" * 64, name="One", origin="shipped")
people = [Contributor.objects.create(id=uuid.UUID(int=n + 1), held_out=False) for n in range(101)]
strokes = [[[chance.randrange(300) / 4, chance.randrange(300) / 4, 16.0 * at] for at in range(20)]] * 2
def letter(number, person):
    return Drawing(id=uuid.UUID(int=chance.getrandbits(128), version=4), contributor=person, character="Z", label="Z",
        state="approved", strokes=strokes, canvas_width=300, canvas_height=300, preprocess="1",
        image=chance.randbytes(300) + bytes(484), model=model, predicted="Z", probability=0.9, consent="2",
        idempotency_key=str(number), fingerprint="f" * 64, image_hash=f"{number:064x}", revision=1)
made = [letter(n, people[0] if n < LETTERS else people[1 + n % 100]) for n in range(2 * LETTERS)]
Drawing.objects.bulk_create(made, batch_size=500)
for number, each in enumerate(made):
    each.created_at = now - timedelta(seconds=number)
Drawing.objects.bulk_update(made, ["created_at"], batch_size=500)
ids = b"".join(sorted(each.pk.bytes for each in made))
for number in range(2, 22):
    version = ModelVersion.objects.create(number=number, digest=f"{number:064x}", name="Made", origin="trained")
    TrainingRun.objects.create(kind="head", trigger="button", requested_by="ada", state="done", candidate=version,
        drawing_ids=ids, started_at=now, finished_at=now)
Export.objects.create(format="ndjson", state="done", requested_by="ada", finished_at=now)
owner = people[0].pk
def timed(act):
    began = time.perf_counter()
    result = act()
    return round((time.perf_counter() - began) * 1000, 1), result
first_ms, page = timed(lambda: mine.page(owner))
again_ms, page = timed(lambda: mine.page(owner))
after, pages, last_ms = page.after, 1, 0.0
while after:
    last_ms, page = timed(lambda: mine.page(owner, after=after))
    after, pages = page.after, pages + 1
outlook_ms, outlook = timed(lambda: privacy.outlook(owner))
file_ms, size = timed(lambda: sum(map(len, mine.archive(owner, "http://here"))))
tracemalloc.start()
for _ in mine.archive(owner, "http://here"):
    pass
peak = tracemalloc.get_traced_memory()[1] / 1e6
tracemalloc.stop()
delete_ms, done = timed(lambda: privacy.forget(owner))
print(json.dumps({"letters": done.deleted, "pages": pages, "mine_first_page_ms": first_ms, "mine_page_ms": again_ms,
    "mine_last_page_ms": last_ms, "mine_outlook_ms": outlook_ms, "mine_file_ms": file_ms, "mine_file_mb": size / 1e6,
    "mine_file_memory_mb": round(peak, 1), "mine_delete_all_ms": delete_ms}))
"""


def main() -> None:
    letters = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory(prefix="letterloop-mine-") as name, _some_database(Path(name)) as database:
        own = {"DJANGO_SETTINGS_MODULE": "webapp.settings", "VAR_DIR": name, "DATABASE_URL": database}
        code = f"LETTERS = {letters}\n{MEASURE}"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=os.environ | own, stdout=subprocess.PIPE, text=True
        )
    if done.returncode:
        sys.exit(done.returncode)
    for field, value in json.loads(done.stdout.splitlines()[-1]).items():
        print(f"{field:24} {value:10,.1f}")


if __name__ == "__main__":
    main()
