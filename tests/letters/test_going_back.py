"""An upgrade that is taken back: by the backup that was made before it, or by the migrations as far as they can.

docs/deploy.md says how, and names what is lost.
"""

from __future__ import annotations

import math
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.db.migrations.loader import MigrationLoader
from honcho.environ import parse_procfile

from tests.letters.test_backup import every_file, every_row
from tests.letters.test_backup import manage as try_to
from tests.letters.test_upgrade import Upgraded, unpacked, upgrade
from tests.letters.visitor import LETTERS, Visitor, refused, scaled
from tests.running import ROOT, Part, Site, SiteError, running_site, wait_for

pytestmark = [pytest.mark.long, pytest.mark.database]

NEXT = "9999_of_the_next_release"
MIGRATION = '''
"""A table that refers to drawings, and a column of theirs."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("letters", "{last}")]
    operations = [
        migrations.CreateModel(
            "Remark",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("drawing", models.ForeignKey("letters.drawing", on_delete=models.CASCADE, related_name="remarks")),
            ],
        ),
        migrations.AddField("drawing", "hue", models.IntegerField(db_default=1)),
        migrations.RunSQL(
            "INSERT INTO letters_remark (drawing_id) SELECT id FROM letters_drawing WHERE state = 'approved'", ""
        ),
    ]
'''
# What is lost when a migration is undone and done again: tables whose rows are gone, and columns that are as on a new
# site. docs/deploy.md says the same in words.
LOSES: dict[str, set[str]] = {
    "0001": {"all"},
    "0002": {
        "contributor.muted_at",
        "decision",
        "drawing.claimed_at",
        "drawing.claimed_by_id",
        "drawing.corrected_character",
        "drawing.duplicate_of_id",
        "drawing.image_hash",  # until 0003, which makes it of the image again
        "drawing.likeness",
        "drawing.revision",
        "drawing.source",
        "drawing.usefulness",
        "examination",
        "export",
        "policy",
        "trainingrun",
    },
    "0003": set(),
    "0004": {"contributor.imported_from_id", "export.attempts", "export.withdrawn_at", "import"},
    "0005": {"deployment.run_id"},
    "0006": {"lettermap", "mappoint", "policy.maps_after", "policy.maps_follow"},
    "0007": {"trainingrun.fruitless"},
    "0008": {"lettermap.cancelled_by"},
    "0009": set(),
    "0010": {
        "modelversion.discarded_at",
        "policy.drawings_days",
        "policy.exports_days",
        "policy.log_days",
        "policy.models_days",
        "policy.pending_days",
        "policy.rejected_days",
        "purge",
        "withdrawal",
    },
    "0011": {"census"},
    "0012": {"report"},
    "0013": set(),
    "0014": {"driftday"},
    "0015": set(),
    "0016": set(),
}
# Something in each table and column that a migration brought.
FILL = """
import django; django.setup()
import uuid
from django.contrib.auth.models import User
from django.utils import timezone
from letters.models import *
from letters.models import Import
now = timezone.now()
first, second = Drawing.objects.filter(state="approved")[:2]
user = User.objects.first()
Drawing.objects.filter(pk=second.pk).update(
    duplicate_of=first, likeness="exact", claimed_by=user, claimed_at=now, corrected_character="v", revision=7,
    source="import", usefulness=0.25,
)
collection = Import.objects.create(name="old", consent="they agreed")
Contributor.objects.filter(pk=first.contributor_id).update(imported_from=collection, muted_at=now)
Export.objects.update(withdrawn_at=now, attempts=2)
run = TrainingRun.objects.first()
TrainingRun.objects.update(fruitless=1)
Deployment.objects.update(run=run)
LetterMap.objects.update(cancelled_by="mia")
ModelVersion.objects.exclude(pk=Serving.objects.get().model_id).update(discarded_at=now)
days = dict.fromkeys(("rejected", "pending", "drawings", "exports", "models", "log"), 33)
Policy.objects.update(maps_after=7, maps_follow=True, **{f"{name}_days": number for name, number in days.items()})
Withdrawal.objects.create(id=uuid.uuid4())
Purge.objects.create(counts={"rejected": 1})
Report.objects.create(drawing=first, reporter="r" * 64, reason="other", weighs=True)
DriftDay.objects.create(day=now.date(), counted_at=now)
Census.objects.update_or_create(id=1, defaults={"counted_at": now, "contributors": 3})
"""
# What keeps a migration from being undone, by its number: how it comes to be, how the docs take it away, what is said.
IN_THE_WAY = {
    "0008": (
        "import uuid; made = LetterMap.objects.filter(state='done').first(); made.pk = uuid.uuid4();"
        " made.state, made.published_at = 'cancelled', None; made.save(force_insert=True)",
        "from letters.models import LetterMap; LetterMap.objects.filter(state='cancelled').delete()",
        "map_state_known",
    ),
    "0012": (
        "Decision.objects.create(drawing=Drawing.objects.first(), actor='visitors', action='report',"
        " old_state='approved', new_state='pending', old_label='Z', new_label='Z', old_character='Z',"
        " new_character='Z')",
        "from letters.models import Decision; Decision.objects.filter(action='report').delete()",
        "decision_action_known",
    ),
}


def names() -> list[str]:
    """Our migrations, the oldest first."""
    return sorted(name for app, name in MigrationLoader(None).disk_migrations if app == "letters")


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    """A site that has learned, of this release."""
    folder = tmp_path_factory.mktemp("loop")
    told = unpacked("loop", tmp_path_factory.mktemp("told"))

    def prepare(site: Site) -> None:
        upgrade(site, "loop", folder)

    env = {"SECRET_KEY": told["secret_key"]}
    with running_site(own_redis=True, processes=1, env=env, prepare=prepare) as site:
        wait_for(lambda: site.count("examination") == site.count("drawing"), "all drawings are examined")
        yield Upgraded(site, told)


@dataclass
class Release:
    """Some code on the database and the storage of a site: what its commands say, and its processes."""

    code: Path
    site: Site

    def __post_init__(self) -> None:
        self.web, self.worker = self._part("web"), self._part("worker")

    def _part(self, name: str) -> Part:
        command = shlex.split(parse_procfile((ROOT / "Procfile").read_text()).processes[name])
        log = self.site.folder / f"{self.code.name}-{name}.log"
        return Part(name, ["env", f"--chdir={self.code}", *command], self.site.env, log)

    def manage(self, *arguments: str) -> str:
        program = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(program, cwd=self.code, env=self.site.env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self) -> None:
        """In place of whatever ran."""
        self.end()
        self.site.web, self.site.worker = self.web, self.worker
        self.worker.start()
        self.web.start()
        self.site.wait_until_ready()

    def end(self) -> None:
        for part in self.site.parts:
            part.end()


@pytest.fixture
def release(upgraded: Upgraded) -> Iterator[Release]:
    """This one, which runs again at the end."""
    this = Release(ROOT, upgraded.site)
    yield this
    this.start()


@pytest.fixture
def next_release(upgraded: Upgraded, tmp_path: Path) -> Release:
    """The same code with one migration more."""
    code = tmp_path / "next"
    code.mkdir()
    for name in ("letters", "webapp"):  # Python asks where these lie in truth
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", code)
    for name in ("ml", "static", "templates"):
        (code / name).symlink_to(ROOT / name)
    (code / "letters" / "migrations" / f"{NEXT}.py").write_text(MIGRATION.format(last=names()[-1]))
    return Release(code, upgraded.site)


def kept(site: Site) -> dict[str, list[dict[str, Any]]]:
    """What no migration may touch: drawings as they were given, the models, and which of them serves."""
    found = {
        "drawings": "id, contributor_id, character, label, state, strokes, image, consent, created_at, model_id"
        " FROM letters_drawing",
        "models": "id, number, digest, name, origin FROM letters_modelversion",
        "deployments": "id, model_id, previous_id, actor, reason FROM letters_deployment",
        "serving": "id, model_id FROM letters_serving",
    }
    return {name: plain(site.rows(f"SELECT {query} ORDER BY id")) for name, query in found.items()}


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As can be compared: what a driver gives as a view of memory, as bytes."""
    return [
        {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()} for row in rows
    ]


def sees_what_was_told(upgraded: Upgraded, *, but: set[str]) -> None:
    """Each receipt shows its letter, `but` for some that were withdrawn, and the model reads as it did."""
    told = upgraded.told
    with Visitor(upgraded.site) as visitor:
        for drawing, receipt in told["receipts"].items():
            answer = visitor.see(drawing, receipt)
            assert answer.status_code == (404 if drawing in but else 200), drawing
        for letter, before in told["readings"].items():
            reading = visitor.predict(LETTERS[letter])
            assert reading["probabilities"] == pytest.approx(before["probabilities"], abs=1e-4)
            assert reading["model"]["version"] == told["serving"]


@pytest.mark.in_order
class TestSite:
    """One site, upgraded and brought back again and again."""

    def test_an_upgrade_is_taken_back_by_the_backup_before_it(
        self, upgraded: Upgraded, release: Release, next_release: Release, tmp_path: Path
    ) -> None:
        """Word for word as docs/deploy.md says, and the next upgrade brings back what was drawn in between."""
        site, told = upgraded.site, upgraded.told
        before, rows = kept(site), every_row(site)
        release.manage("backup", str(tmp_path / "before.tar"))
        assert "is whole" in release.manage("restore", "--check", str(tmp_path / "before.tar"))

        next_release.manage("migrate", "--no-input")
        next_release.manage("register_shipped")
        withdrawn = next(pk for pk, state in told["states"].items() if state == "pending")
        with Visitor(site) as visitor:
            between = visitor.keep(strokes=scaled(LETTERS["T"], 0.8), character="T")  # by the code before
            next_release.start()
            since = visitor.keep(strokes=scaled(LETTERS["V"], 0.8), character="V")
            assert visitor.withdraw(withdrawn, told["receipts"][withdrawn]).status_code == 204
        assert site.count("remark") > 0
        sees_what_was_told(upgraded, but={withdrawn})
        next_release.manage("backup", str(tmp_path / "after.tar"))

        next_release.end()
        said = try_to(site, "restore", "--force", str(tmp_path / "after.tar"), ok=False)
        assert f"is of a later release, with letters.{NEXT}: install that release" in said
        assert "--force replaces them" in try_to(site, "restore", str(tmp_path / "before.tar"), ok=False)
        assert site.count("remark") > 0, "a restore that was refused changed something"
        release.manage("restore", "--force", str(tmp_path / "before.tar"))
        after = kept(site)
        left = [row for row in before["drawings"] if uuid.UUID(str(row["id"])) != uuid.UUID(withdrawn)]
        assert after == before | {"drawings": left}
        again = every_row(site)
        same = ("ModelVersion", "TrainingRun", "Deployment", "Serving", "Contributor")
        assert [again[f"letters.{name}"] for name in same] == [rows[f"letters.{name}"] for name in same]
        assert not {"letters_remark"} & tables(site)
        release.start()
        sees_what_was_told(upgraded, but={withdrawn})
        with Visitor(site) as visitor:
            for late in (between, since):
                refused(visitor.see(late["id"], late["receipt"]), 404, "not_found")
            visitor.keep(strokes=scaled(LETTERS["X"], 0.8), character="X")
        assert "Storage holds all" in release.manage("verify_storage")

        release.end()
        next_release.manage("restore", "--force", str(tmp_path / "after.tar"))
        next_release.start()
        sees_what_was_told(upgraded, but={withdrawn})
        with Visitor(site) as visitor:
            for late in (between, since):
                assert visitor.see(late["id"], late["receipt"]).status_code == 200

        next_release.end()
        release.manage("restore", "--force", str(tmp_path / "before.tar"))

    def test_what_cannot_be_undone_is_refused_and_changes_nothing(self, upgraded: Upgraded) -> None:
        """Until what stands in the way is taken away."""
        site = upgraded.site
        program = "import django; django.setup()\nfrom letters.models import *\n{}"
        site.web.end()
        site.worker.end()
        before = kept(site)
        for earlier, name in pairwise(names()):
            puts, takes, complaint = IN_THE_WAY.get(name[:4], ("", "", ""))
            if not puts:
                continue
            site.python(program.format(puts))
            migrate(site, name)
            rows = dump(site)
            with pytest.raises(SiteError, match=complaint):
                migrate(site, earlier)
            assert dump(site) == rows
            migrate(site, names()[-1])
            assert kept(site) == before
            site.python(program.format(takes))
            migrate(site, earlier)
            migrate(site, names()[-1])
            assert kept(site) == before

    def test_each_migration_is_undone_and_done_again(self, upgraded: Upgraded) -> None:
        """Backwards to each, forwards again: what is not listed as lost is there."""
        site = upgraded.site
        site.web.end()
        site.worker.end()
        site.python(FILL)
        before, found = kept(site), {}
        files = every_file(site)
        for earlier, name in reversed(list(pairwise(names()))):
            rows = dump(site)
            migrate(site, earlier)
            assert kept(site) == before, f"without {name}"
            migrate(site, name)
            found[name[:4]] = lost(rows, dump(site))
            migrate(site, earlier)
        assert found | {"0001": {"all"}} == LOSES
        migrate(site, names()[-1])
        assert kept(site) == before
        assert every_file(site) == files
        site.worker.start()
        site.web.start()
        site.wait_until_ready()
        there = {str(uuid.UUID(str(row["id"]))) for row in before["drawings"]}
        sees_what_was_told(upgraded, but=set(upgraded.told["receipts"]) - there)
        with Visitor(site) as visitor:
            fresh = visitor.keep(strokes=scaled(LETTERS["L"], 0.8), character="L")
            assert visitor.withdraw(fresh["id"], fresh["receipt"]).status_code == 204


def migrate(site: Site, name: str) -> None:
    site.python(
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        f"call_command('migrate', 'letters', {name!r}, interactive=False, verbosity=0)"
    )


def tables(site: Site) -> set[str]:
    listed = (
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        if site.env["DATABASE_URL"].startswith("sqlite")
        else "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
    )
    return {row["name"] for row in site.rows(listed) if row["name"].startswith("letters_")}


def dump(site: Site) -> dict[str, dict[str, dict[str, Any]]]:
    """All of our tables: by their names, rows by their keys."""
    return {
        table.removeprefix("letters_"): {
            str(row.get("id", row.get("drawing_id", row.get("day")))): row
            for row in plain(site.rows(f'SELECT * FROM "{table}"'))
        }
        for table in tables(site)
    }


def lost(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Tables of which rows are gone, and columns that hold something else."""
    assert after.keys() == before.keys()
    found = {table for table in before if before[table].keys() != after[table].keys()}
    for table in before.keys() - found:
        for key, row in before[table].items():
            found |= {f"{table}.{name}" for name in row if not same(row[name], after[table][key][name])}
    return found


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other)
    return bool(one == other)


def test_the_docs_name_each_migration() -> None:
    """What it loses, or that nothing is lost; and those that cannot be undone while something stands in the way."""
    text = (ROOT / "docs" / "deploy.md").read_text()
    rows = dict(re.findall(r"^\| `(\d{4})` \| (.+?) \|", text, re.MULTILINE))
    assert sorted(rows) == [name[:4] for name in names()]
    for number, words in rows.items():
        assert (words == "nothing") is (LOSES[number] == set()), number
    may_be_refused = re.findall(r"^\| `(\d{4})` \|.+\| while .+ \|$", text, re.MULTILINE)
    assert sorted(may_be_refused) == sorted(IN_THE_WAY)
    for _, takes, complaint in IN_THE_WAY.values():
        assert f'python manage.py shell -c "{takes}"' in text
        assert f"`{complaint}`" in text
