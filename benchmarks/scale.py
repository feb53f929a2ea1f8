"""A site with a million made drawings, in PostgreSQL: what its pages, queues and trainings are measured on.

    createdb letterloop_million
    DATABASE_URL=postgres://127.0.0.1/letterloop_million VAR_DIR=/tmp/million python -m benchmarks.scale

No person drew any of it: letters of our own strokes and random walks, by contributors of whom few gave much and most
gave one or two, over three years in which the site grew. It fills the tables as the site itself would have:
contributors, drawings, examinations, decisions, models, retrainings, exports, and the points of the maps that came with
the model. The rows are made by the database, from some thousand drawn letters, because that takes minutes and not
hours. It refuses a database that holds drawings.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Stroke = list[list[float]]

CANVAS = 328.0
VARIANTS = 40  # drawn letters of each character
POINTS = 80  # of a drawn letter, in all its strokes
STEP = 8.0  # ms
YEARS = 3.0
AT_ONCE = 100_000  # drawings of one statement
A_CONTRIBUTOR = 8  # drawings, at the mean
TAIL = 2.5  # the larger, the more of the drawings come from few
VERSIONS = 12
RUNS = 200
EXPORTS = 40
REVIEWERS = 5
BIG = ("letters_drawing", "letters_examination", "letters_decision", "letters_mappoint", "letters_contributor")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.partition("\n")[0])
    parser.add_argument("--drawings", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    _set_up()
    fill(asked.drawings, asked.seed, say=lambda words: print(words, file=sys.stderr, flush=True))


def _set_up() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    django.setup()
    from django.core.management import call_command

    call_command("migrate", interactive=False, verbosity=0)
    call_command("register_shipped", verbosity=0)


def fill(drawings: int, seed: int, say: Any = lambda words: None) -> None:
    """Fill an empty PostgreSQL database that has its tables and the model that ships."""
    from django.db import connection, transaction

    from letters import census, maps, registry
    from letters.models import Drawing

    if connection.vendor != "postgresql":
        sys.exit("DATABASE_URL must name a PostgreSQL database: SQLite is for one machine and far fewer drawings")
    if Drawing.objects.exists():
        sys.exit("this database holds drawings: name an empty one")
    maps.publish_reference(registry.current())
    began = time.monotonic()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # the keys fit, and need no look-up each
        cursor.execute("SET LOCAL maintenance_work_mem = '512MB'")
        cursor.execute("SELECT setseed(%s)", [seed % 1000 / 1000])
        _staff()
        _templates(cursor, seed)
        say(f"{time.monotonic() - began:.0f} s: letters are drawn")
        with _without_indices(cursor):
            _contributors(cursor, max(1, drawings // A_CONTRIBUTOR))
            _versions(cursor)
            for first in range(1, drawings + 1, AT_ONCE):
                _drawings(cursor, first, min(drawings, first + AT_ONCE - 1), drawings)
                say(f"{time.monotonic() - began:.0f} s: {min(drawings, first + AT_ONCE - 1):,} drawings")
            for words, step in (
                ("duplicates", _duplicates),
                ("examinations", _examinations),
                ("decisions", _decisions),
            ):
                step(cursor)
                say(f"{time.monotonic() - began:.0f} s: {words}")
        say(f"{time.monotonic() - began:.0f} s: indices")
        cursor.execute("ANALYZE")
        _points(cursor)
        _runs(cursor)
        cursor.execute("DROP TABLE template, somebody")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    census.count()
    say(f"{time.monotonic() - began:.0f} s: done")


@contextmanager
def _without_indices(cursor: Any) -> Iterator[None]:
    """Made at once they take a tenth of the time. Those that hold a constraint stay."""
    cursor.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = ANY(%s) AND NOT EXISTS"
        " (SELECT 1 FROM pg_constraint WHERE conname = indexname)",
        [list(BIG)],
    )
    found = cursor.fetchall()
    for name, _ in found:
        cursor.execute(f'DROP INDEX "{name}"')
    yield
    for _, definition in found:
        cursor.execute(definition)


# --- Letters that nobody drew --------------------------------------------------------------------------------------


def glyph(character: str, chance: random.Random) -> list[Stroke]:
    """A letter in the square of 100: our own strokes where we have some, else a walk that is its own each time."""
    from ml.glyphs import GLYPHS

    known = GLYPHS.get(character) or GLYPHS.get(character.upper())
    return known or [_walk(chance) for _ in range(chance.choice((1, 1, 2)))]


def _walk(chance: random.Random) -> Stroke:
    x, y, angle = chance.uniform(20, 80), chance.uniform(10, 90), chance.uniform(0, 2 * math.pi)
    points = [[x, y]]
    for _ in range(12):
        angle += chance.gauss(0, 0.6)
        x, y = min(100.0, max(0.0, x + 9 * math.cos(angle))), min(100.0, max(0.0, y + 9 * math.sin(angle)))
        points.append([x, y])
    return points


def drawn(character: str, chance: random.Random) -> list[Stroke]:
    """The strokes of a letter on the canvas, [x, y, ms] of each point, by a hand that trembles."""
    shape = glyph(character, chance)
    size, left, top, slant = (
        chance.uniform(1.2, 2.4),
        chance.uniform(10, 60),
        chance.uniform(10, 60),
        chance.gauss(0, 0.1),
    )
    each, clock, strokes = max(2, POINTS // len(shape)), 0.0, []
    for corners in shape:
        stroke = []
        for at in range(each):
            place = at / (each - 1) * (len(corners) - 1)
            low = min(int(place), len(corners) - 2)
            share = place - low
            x, y = (corners[low][axis] * (1 - share) + corners[low + 1][axis] * share for axis in (0, 1))
            px = left + size * (x - slant * y) + chance.gauss(0, 0.4)
            py = top + size * y + chance.gauss(0, 0.4)
            stroke.append([round(min(CANVAS, max(0, px)), 1), round(min(CANVAS, max(0, py)), 1), round(clock)])
            clock += STEP
        strokes.append(stroke)
        clock += 25 * STEP
    return strokes


def _templates(cursor: Any, seed: int) -> None:
    """Some of each character, with their images and what the model that ships sees in them."""
    from letters import registry
    from ml.labels import CHARACTERS, class_of
    from ml.predictor import Predictor
    from ml.preprocess import image_from_strokes

    predictor = Predictor(registry.fetch(registry.current().digest))
    chance, rows = random.Random(seed), list[tuple[Any, ...]]()
    for character in CHARACTERS:
        for _ in range(VARIANTS):
            strokes = drawn(character, chance)
            image = image_from_strokes(strokes, (CANVAS, CANVAS))
            features = predictor.predict(image).features.astype("<f2").tobytes()
            rows.append((len(rows), character, class_of(character), json.dumps(strokes), image.tobytes(), features))
    cursor.execute(
        'CREATE TABLE template (n int PRIMARY KEY, "character" text, label text, strokes jsonb, image bytea,'
        " features bytea)"
    )
    cursor.executemany("INSERT INTO template VALUES (%s, %s, %s, %s, %s, %s)", rows)
    cursor.execute("ANALYZE template")


# --- Rows ----------------------------------------------------------------------------------------------------------


def _staff() -> None:
    from django.contrib.auth.models import Group, User

    groups = Group.objects.filter(name__in=("reviewers", "maintainers"))
    for number in range(REVIEWERS):
        User.objects.create_user(f"reviewer{number}", is_staff=True).groups.set(groups)


def _insert(cursor: Any, model: Any, values: dict[str, str], source: str, order: str = "") -> None:
    """Rows of a model from SQL expressions by field; what is not named has the field's own default."""
    columns, expressions, parameters = [], [], []
    for field in model._meta.concrete_fields:
        if field.name in values:
            expressions.append(values[field.name])
        elif field.primary_key and field.get_internal_type() == "BigAutoField":
            continue
        else:
            expressions.append("%s")
            parameters.append(field.get_db_prep_save(field.get_default(), cursor.db))
        columns.append(f'"{field.column}"')
    selected = ", ".join(expressions)
    cursor.execute(
        f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) SELECT {selected} FROM {source} {order}", parameters
    )


def _contributors(cursor: Any, count: int) -> None:
    from django.conf import settings

    from letters.models import Contributor, Import

    imported = Import.objects.create(name="made", consent="nobody drew these")
    below = f"{int(float(settings.HOLDOUT_SHARE) * 2**64):016x}"
    cursor.execute(
        "CREATE TABLE somebody AS SELECT n, gen_random_uuid() AS id, random() < 0.04 AS is_imported"
        f" FROM generate_series(0, {count - 1}) AS n"
    )
    cursor.execute("ALTER TABLE somebody ADD PRIMARY KEY (n)")
    _insert(
        cursor,
        Contributor,
        {
            "id": "id",
            "imported_from": f"CASE WHEN is_imported THEN {imported.pk} END",
            "held_out": f"encode(substr(sha256('holdout:'::bytea || uuid_send(id)), 1, 8), 'hex') < '{below}'",
            "muted_at": "CASE WHEN random() < 0.005 THEN now() END",
            "created_at": "now() - random() * interval '1095 days'",
        },
        "somebody",
    )
    cursor.execute("ANALYZE somebody")


def _versions(cursor: Any) -> None:
    """Versions that served before; the one that ships does so now, and its artefact alone is there."""
    from letters.models import Deployment, ModelVersion

    shipped = ModelVersion.objects.get()
    for number in range(2, VERSIONS + 1):
        digest = f"{number:064x}"
        made = ModelVersion.objects.create(
            number=number, digest=digest, name=f"Made {number}", origin="trained", metrics=shipped.metrics,
            config=shipped.config | {"parent": shipped.digest},
        )  # fmt: skip
        Deployment.objects.create(previous=shipped, model=made, actor="reviewer0", reason="made")
        Deployment.objects.create(previous=made, model=shipped, actor="reviewer0", reason="made")


def _drawings(cursor: Any, first: int, last: int, count: int) -> None:
    """Numbers `first` to `last` of `count`, the oldest first; what is new still waits for review."""
    from letters.models import Drawing, ModelVersion

    shipped = ModelVersion.objects.get(number=1)
    versions = list(ModelVersion.objects.exclude(pk=shipped.pk).order_by("number").values_list("pk", flat=True))
    ids = f"(ARRAY{[*versions, shipped.pk]})"
    cursor.execute("SELECT count(*) FROM somebody")
    people, templates = cursor.fetchone()[0], 52 * VARIANTS
    chance = (
        f"SELECT g, g::float8 / {count} AS age, random() AS a, random() AS b, random() AS c, random() AS d,"
        f" floor({people} * power(random(), {TAIL}))::int AS who,"
        f" floor({templates} * power(random(), 1.3))::int AS what,"
        f" floor(random() * 784)::int AS at, floor(random() * 784)::int AS at2"
        f" FROM generate_series({first}, {last}) AS g"
    )
    state = (
        "CASE WHEN age > 0.88 AND a < 0.9 OR a < 0.004 THEN 'pending' WHEN a > 0.92 THEN 'rejected' ELSE 'approved' END"
    )
    made = f"now() - interval '{365 * YEARS:.0f} days' * (1 - sqrt(age))"
    rows = (
        f"SELECT r.*, s.id AS person, s.is_imported, t.*, {state} AS state,"
        " set_byte(set_byte(t.image, at, floor(b * 256)::int), at2, floor(c * 256)::int) AS own_image"
        f" FROM ({chance}) AS r JOIN somebody AS s ON s.n = r.who JOIN template AS t ON t.n = r.what"
    )
    values = {
        "id": "gen_random_uuid()",
        "contributor": "person",
        "source": "CASE WHEN is_imported THEN 'import' ELSE 'canvas' END",
        "character": '"character"',
        "corrected_character": "CASE WHEN state = 'approved' AND d < 0.03 THEN upper(label) ELSE '' END",
        "label": "CASE WHEN state = 'approved' AND d < 0.03 THEN upper(label) ELSE label END",
        "state": "state",
        "strokes": "strokes",
        "canvas_width": str(CANVAS),
        "canvas_height": str(CANVAS),
        "image": "own_image",
        "preprocess": "'1'",
        "model": f"{ids}[1 + least(floor(age * {VERSIONS}), {VERSIONS - 1})::int]",
        "predicted": "CASE WHEN b < 0.92 THEN label ELSE (ARRAY['A','O','Q','n','t'])[1 + floor(c * 5)::int] END",
        "probability": "0.3 + 0.7 * sqrt(c)",
        "consent": "CASE WHEN age < 0.05 THEN '1' ELSE '2' END",
        "idempotency_key": "md5(g::text)",
        "fingerprint": "lpad(n::text, 64, '0')",
        "image_hash": "encode(sha256(own_image), 'hex')",
        "usefulness": "power(d, 3)",
        "revision": "CASE WHEN state = 'pending' THEN 0 ELSE 1 END",
        "created_at": made,
        "examined_by": str(shipped.pk),
        "state_since": f"CASE WHEN state = 'pending' THEN {made} ELSE least(now(), {made} + a * interval '2 days') END",
    }
    _insert(cursor, Drawing, values, f"({rows}) AS made", "ORDER BY g")


def _duplicates(cursor: Any) -> None:
    """Three in a hundred repeat another."""
    cursor.execute(
        "CREATE TEMPORARY TABLE pair AS SELECT a.id AS copy, b.id AS original, a.exact FROM"
        " (SELECT id, row_number() OVER () AS n, random() < 0.6 AS exact FROM letters_drawing"
        " WHERE random() < 0.03) AS a"
        " JOIN (SELECT id, row_number() OVER () AS n FROM letters_drawing WHERE random() < 0.03) AS b USING (n)"
        " WHERE a.id <> b.id"
    )
    cursor.execute(
        "UPDATE letters_drawing AS d SET duplicate_of_id = p.original,"
        " likeness = CASE WHEN p.exact THEN 'exact' ELSE 'near' END FROM pair AS p WHERE d.id = p.copy"
    )
    cursor.execute("DROP TABLE pair")


def _examinations(cursor: Any) -> None:
    """All but the newest few have been examined by the model that serves."""
    from letters import registry
    from letters.models import Examination

    model = registry.current()
    values = {
        "drawing": "id",
        "model": str(model.pk),
        "predicted": "predicted",
        "probability": "probability",
        "label_probability": "CASE WHEN predicted = d.label THEN probability ELSE (1 - probability) / 2 END",
        "unfamiliarity": "random() * 1.1",
        "trunk": f"'{registry.trunk_of(model)}'",
        "features": "t.features",
        "created_at": "created_at",
    }
    source = "letters_drawing AS d JOIN template AS t ON t.n = d.fingerprint::int"
    _insert(cursor, Examination, values, source, "ORDER BY d.created_at")


def _decisions(cursor: Any) -> None:
    from django.contrib.auth.models import User

    from letters.models import Decision

    users = list(User.objects.filter(username__startswith="reviewer").order_by("pk").values_list("pk", flat=True))
    chosen = f"1 + mod(floor(d.usefulness * 1e6)::int, {REVIEWERS})"
    values = {
        "drawing": "id",
        "reviewer": f"(ARRAY{users})[{chosen}]",
        "actor": f"'reviewer' || {chosen} - 1",
        "action": "CASE WHEN state = 'rejected' THEN 'reject' WHEN corrected_character <> '' THEN 'relabel'"
        " ELSE 'approve' END",
        "old_state": "'pending'",
        "new_state": "state",
        "old_label": "label",
        "new_label": "label",
        "old_character": '"character"',
        "new_character": "coalesce(nullif(corrected_character, ''), \"character\")",
        "reason": "CASE WHEN state = 'rejected' THEN (ARRAY['not_a_letter', 'unreadable', 'offensive',"
        " 'duplicate'])[1 + mod(floor(probability * 4)::int, 4)] ELSE '' END",
        "created_at": "state_since",
    }
    _insert(cursor, Decision, values, "letters_drawing AS d WHERE revision > 0", "ORDER BY created_at")


def _points(cursor: Any) -> None:
    """The drawings that the site shows on the maps that came with the model."""
    from letters import map_sample, maps
    from letters.models import LetterMap, MapPoint

    cursor.execute("CREATE TEMPORARY TABLE shown (id uuid)")
    cursor.executemany("INSERT INTO shown VALUES (%s)", [(each,) for each in map_sample.shown_ids()])
    for each in LetterMap.objects.filter(pk__in=[found.pk for found in maps.current()]):
        values = {
            "map": f"'{each.pk}'::uuid",
            "drawing": "id",
            "x": "random() * 2 - 1",
            "y": "random() * 2 - 1",
            "fitted": "false",
        }
        _insert(cursor, MapPoint, values, "shown")


def _runs(cursor: Any) -> None:
    """Retrainings that were, each with what it learned from, and exports."""
    from letters import registry
    from letters.models import Export, TrainingRun
    from letters.snapshots import Snapshot

    taken, model = Snapshot.take(), registry.current()
    some = TrainingRun(
        kind="head", trigger="button", requested_by="reviewer0", state="done", outcome="refused", champion=model,
        candidate=model, drawing_count=len(taken.ids), counts=taken.counts, drawing_ids=taken.packed,
        snapshot_hash=taken.digest, verdict={"passed": False, "summary": "made", "reasons": [], "tests": []},
    )  # fmt: skip
    some.save()
    cursor.execute(
        "UPDATE letters_trainingrun SET started_at = now() - interval '2 hours', finished_at = now(),"
        " log = repeat('a line of its log' || chr(10), 200)"
    )
    columns = [field.column for field in TrainingRun._meta.concrete_fields if not field.primary_key]
    quoted = ", ".join(f'"{each}"' for each in columns)
    light = quoted.replace('"drawing_ids"', "'\\x'::bytea").replace('"created_at"', "created_at - g * interval '1 day'")
    light = light.replace('"started_at"', "started_at - g * interval '1 day'")
    cursor.execute(
        f"INSERT INTO letters_trainingrun (id, {quoted}) SELECT gen_random_uuid(), {light} FROM letters_trainingrun,"
        f" generate_series(1, {RUNS}) AS g"
    )
    Export.objects.bulk_create(
        Export(format="ndjson", state="done", requested_by="reviewer0", done=10, total=10) for _ in range(EXPORTS)
    )


if __name__ == "__main__":
    main()
