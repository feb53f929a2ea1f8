"""A site of an earlier release goes on with this one: what its visitors and staff had is there, and it learns.

Those sites were made by the code of their releases (tests/fixtures/releases).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader

from tests.letters.mapping import maps_of, points_of
from tests.letters.test_backup import every_file, every_row
from tests.letters.training import GO, Maintainer, approve, tiny_archive
from tests.letters.visitor import LETTERS, Visitor, scaled
from tests.running import PREPARE, ROOT, Site, running_site, wait_for

RELEASES = ROOT / "tests" / "fixtures" / "releases"
RELEASED = RELEASES / "migrations.sha256"
ONE_ROW = {"policy", "serving", "census"}  # tables into which no running site inserts
PASSWORD = "a-long-password-1"  # of the fixtures' staff


@dataclass(frozen=True)
class Upgraded:
    """A site that began with what an earlier release stored, and what that release had told."""

    site: Site
    told: dict[str, Any]

    @property
    def has_learned(self) -> bool:
        """Whether the release knew of retrainings, maps and exports, and had made some."""
        return "run" in self.told


def unpacked(name: str, folder: Path) -> dict[str, Any]:
    """Lay what a release stored into a folder, as SQLite; what it had told."""
    with tarfile.open(RELEASES / f"{name}.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    with closing(sqlite3.connect(folder / "letterloop.sqlite3")) as database:
        database.executescript((folder / "database.sql").read_text())
    told: dict[str, Any] = json.loads((folder / "told.json").read_text())
    return told


def upgrade(site: Site, name: str, folder: Path) -> None:
    """As docs/deploy.md has it: on SQLite migrate what is there; on PostgreSQL restore a backup of it, made by
    this release before it was migrated."""
    if site.env["DATABASE_URL"].startswith("sqlite"):
        unpacked(name, site.folder)
    else:
        manage(site, "restore", str(backup_of(name, folder, site.env)))
    site.python(PREPARE)


def backup_of(name: str, folder: Path, env: dict[str, str]) -> Path:
    unpacked(name, folder)
    before = env | {"VAR_DIR": str(folder), "DATABASE_URL": f"sqlite:///{folder / 'letterloop.sqlite3'}"}
    program = [sys.executable, "manage.py", "backup", str(folder / "before.tar")]
    done = subprocess.run(program, cwd=ROOT, env=before, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder / "before.tar"


def manage(site: Site, *arguments: str) -> str:
    program = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(program, cwd=ROOT, env=site.env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["first", "loop"])
def upgraded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    told = unpacked(name, tmp_path_factory.mktemp("told"))
    archive = tiny_archive(folder / "emnist.zip")
    env = {"SECRET_KEY": told["secret_key"], "EMNIST_ARCHIVE": str(archive), "RUN_STALE_AFTER": "5"}

    def prepare(site: Site) -> None:
        upgrade(site, name, folder)

    with running_site(own_redis=True, processes=1, env=env, prepare=prepare) as site:
        yield Upgraded(site, told)


@pytest.fixture(scope="module")
def staff(upgraded: Upgraded) -> Iterator[Visitor]:
    """Who signed in to the earlier release, with the password of then."""
    with Visitor(upgraded.site) as somebody:
        somebody.get("/admin/login/")
        form = {"username": "ada", "password": PASSWORD, "csrfmiddlewaretoken": somebody.cookies["csrftoken"]}
        assert somebody.post("/admin/login/", data=form).status_code == 302
        somebody.headers["X-CSRFToken"] = somebody.cookies["csrftoken"]
        yield somebody


@pytest.mark.long
@pytest.mark.database
@pytest.mark.in_order
class TestSite:
    """The order is that of a day after an upgrade."""

    def test_visitors_find_their_letters(self, upgraded: Upgraded) -> None:
        site, told = upgraded.site, upgraded.told
        rows = site.rows("SELECT id, character, label, state, image_hash, image FROM letters_drawing")
        assert {str(uuid.UUID(str(row["id"]))): row["character"] for row in rows} == told["letters"]
        assert {str(uuid.UUID(str(row["id"]))): row["state"] for row in rows} == told["states"]
        assert all(row["image_hash"] == hashlib.sha256(bytes(row["image"])).hexdigest() for row in rows)
        with Visitor(site) as visitor:
            for drawing, receipt in told["receipts"].items():
                answer = visitor.see(drawing, receipt)
                assert (answer.status_code, answer.json()["character"]) == (200, told["letters"][drawing])
            gone = told["withdrawn"]
            assert visitor.see(gone["id"], gone["receipt"]).status_code == 404

    def test_the_right_model_serves(self, upgraded: Upgraded) -> None:
        """One that was trained goes on; one that had only shipped makes room for the one that ships now."""
        site, told = upgraded.site, upgraded.told
        with Visitor(site) as visitor:
            reading = {letter: visitor.predict(strokes) for letter, strokes in LETTERS.items()}
            serving = visitor.get("/api/v1/models/current").json()["version"]
        if upgraded.has_learned:
            assert serving == told["serving"]
            for letter, before in told["readings"].items():
                assert reading[letter]["probabilities"] == pytest.approx(before["probabilities"], abs=1e-4)
                assert reading[letter]["label"] == before["label"]
        else:
            assert serving == 2
            assert {letter: each["label"] for letter, each in reading.items()} == {letter: letter for letter in LETTERS}
        assert "Storage holds all that the database says" in manage(site, "verify_storage")

    def test_what_staff_had_made_is_there(self, upgraded: Upgraded, staff: Visitor) -> None:
        if not upgraded.has_learned:
            assert staff.get("/api/v1/training-runs").json()["runs"] == []
            return
        told = upgraded.told
        run = staff.get(f"/api/v1/training-runs/{told['run']['id']}").json()
        for name in ("state", "outcome", "drawings", "verdict", "snapshot", "candidate"):
            assert run.get(name) == told["run"].get(name)
        file = staff.get(f"/admin/letters/export/{told['export']}/download/")
        assert hashlib.sha256(file.content).hexdigest() == told["export_sha256"]
        shown = maps_of(staff)["pca", "features"]
        assert shown["id"] == told["map"]
        assert len(points_of(staff, shown)) > 0

    def test_letters_are_kept_and_reviewed(self, upgraded: Upgraded, staff: Visitor) -> None:
        site = upgraded.site
        with Visitor(site) as visitor:
            kept = visitor.keep(strokes=scaled(LETTERS["V"], 0.9), character="V")
            assert visitor.see(kept["id"], kept["receipt"]).status_code == 200
        waiting = [each for each, state in upgraded.told["states"].items() if state == "pending"]
        cards = staff.post("/api/v1/review/cards", json={"count": 10}).json()
        assert cards, "the queue is empty"
        decision = {"drawing": waiting[0], "revision": 0, "action": "approve"}
        answer = staff.post("/api/v1/review/decisions", json=decision)
        assert answer.status_code == 201, answer.text
        receipt = upgraded.told["receipts"][waiting[1]]
        with Visitor(site) as visitor:
            assert visitor.withdraw(waiting[1], receipt).status_code == 204

    def test_it_learns(self, upgraded: Upgraded) -> None:
        site = upgraded.site
        approve(site, 5)
        site.trainer.start()
        with Maintainer(site, "bea") as maintainer:
            run = maintainer.wait_over(maintainer.start("head", pull=1000, collected_weight=1)["run"]["id"])
            assert run["state"] == "done", run
            assert run["state"] not in GO
            assert run["drawings"] >= 5
        site.trainer.end()


@pytest.mark.long
@pytest.mark.parametrize("name", ["first", "loop"])
def test_a_backup_of_an_earlier_release_is_restored(name: str, tmp_path: Path) -> None:
    """The same comes of it as of a migration in place."""

    def in_place(site: Site) -> None:
        unpacked(name, site.folder)
        site.python(PREPARE)

    def restored(site: Site) -> None:
        manage(site, "restore", str(backup_of(name, tmp_path, site.env)))
        site.python(PREPARE)

    found = [rows_after(prepare, tmp_path) for prepare in (in_place, restored)]
    assert found[0] == found[1]


def rows_after(prepare: Callable[[Site], None], folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Without what the moment of the upgrade itself says: when the new model was registered, and its maps made."""
    counted = ("letters.Drawing", "letters.Decision", "letters.Contributor", "auth.User", "letters.TrainingRun")
    env = {"DATABASE_URL": f"sqlite:///{folder / prepare.__name__}.sqlite3"} if prepare.__name__ == "restored" else {}
    with running_site(own_redis=True, processes=1, env=env, prepare=prepare) as site:
        # the worker begins at once to note what its model makes of them
        wait_for(lambda: site.count("examination") == site.count("drawing"), "all drawings are examined")
        site.end()
        rows = every_row(site)
        files = {name: hash_ for name, hash_ in every_file(site).items() if name.startswith("models/")}
        return {name: rows[name] for name in counted} | {"models": rows["letters.ModelVersion"][0]}, files


# --- The migrations themselves -------------------------------------------------------------------------------------


def released() -> dict[str, str]:
    """SHA-256 of each migration that a release has, by name."""
    pairs = (line.split("  ") for line in RELEASED.read_text().splitlines())
    return {name: digest for digest, name in pairs}


def test_a_migration_of_a_release_stays_as_it_is() -> None:
    """Sites have gone through it: what it does otherwise from now on, they never see."""
    for name, digest in released().items():
        path = ROOT / "letters" / "migrations" / name
        assert path.is_file(), f"{name} is part of a release: sites ask for it by name"
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        assert found == digest, f"{name} is part of a release: leave it as it was, and write another migration"


def test_the_release_before_lives_with_new_tables() -> None:
    """Between a migration and the restart old code runs on new tables: nothing that it reads or writes may be gone, and
    what it does not know of, the database fills in."""
    loader = MigrationLoader(None)
    found = [
        f"{name}: {complaint}"
        for (app, name), migration in loader.disk_migrations.items()
        if app == "letters" and f"{name}.py" not in released()
        for complaint in complaints(migration)
    ]
    assert not found, "\n".join(found)


def complaints(migration: migrations.Migration) -> Iterator[str]:
    """What of a migration the code before it would stumble over."""
    made = {each.name_lower for each in migration.operations if isinstance(each, migrations.CreateModel)}
    for each in migration.operations:
        if isinstance(
            each, migrations.RemoveField | migrations.DeleteModel | migrations.RenameField | migrations.RenameModel
        ):
            yield f"{each.describe()}: first let a release do without it, and remove it in the one after"
        if not isinstance(each, migrations.AddField | migrations.AlterField) or each.model_name_lower in made | ONE_ROW:
            continue
        optional = each.field.null or isinstance(each.field, models.ManyToManyField) or each.field.has_db_default()
        if isinstance(each, migrations.AddField) and not optional:
            yield f"{each.describe()}: the code before does not fill it in; give it a db_default, or let it be null"


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (migrations.RemoveField("drawing", "state"), "remove it in the one after"),
        (migrations.RenameField("drawing", "state", "stand"), "remove it in the one after"),
        (migrations.DeleteModel("Decision"), "remove it in the one after"),
        (migrations.AddField("drawing", "hue", models.IntegerField(default=1)), "give it a db_default"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_reader_of_migrations_sees_it(operation: Any, words: str) -> None:
    migration = migrations.Migration("0099_other", "letters")
    migration.operations = [operation]
    (complaint,) = complaints(migration)
    assert words in complaint
    migration.operations = [migrations.AddField("drawing", "hue", models.IntegerField(db_default=1))]
    assert list(complaints(migration)) == []
