"""A backup of a site in use brings all of it back, elsewhere and on another database; a damaged one changes nothing."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from letters import emnist_images, map_files, stored
from tests import running
from tests.letters.mapping import maps_of
from tests.letters.test_export_site import ask, download, wait_over
from tests.letters.training import Maintainer, approve, tiny_archive
from tests.letters.visitor import LETTERS, Visitor, scaled
from tests.running import ROOT, Site, running_site, wait_for

pytestmark = [pytest.mark.long, pytest.mark.database]
GENTLE = {"pull": 1000, "collected_weight": 1}  # hardly another model: the gate lets it pass, whatever was drawn
KEPT = ("L", "T", "V", "X", "Z")
EVERY_ROW = """
import django; django.setup()
import hashlib, json
from django.apps import apps
def plain(value):
    return bytes(value).hex() if isinstance(value, (bytes, memoryview)) else repr(value)
found = {}
for model in apps.get_models(include_auto_created=True):
    if model._meta.label not in ("sessions.Session",):
        rows = model._base_manager.order_by("pk").values_list(*[each.attname for each in model._meta.concrete_fields])
        text = "\\n".join(json.dumps(row, default=plain, sort_keys=True) for row in rows)
        found[model._meta.label] = [len(rows), hashlib.sha256(text.encode()).hexdigest()]
print(json.dumps(found))
"""

COMMAND = """
import django; django.setup()
import sys
from django.core.management import CommandError, call_command
try: call_command(*{arguments!r}, stdout=sys.stdout, stderr=sys.stdout)
except CommandError as error: print("refused:", error)
"""

FETCH = """
import django; django.setup()
from letters import registry
registry.fetch({digest!r})
"""


@dataclass
class Use:
    """What visitors and staff of a site have, and what they were told."""

    receipts: dict[str, str] = field(default_factory=dict)
    readings: dict[str, Any] = field(default_factory=dict)
    decided: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    points: dict[str, bytes] = field(default_factory=dict)
    export: str = ""
    exported: bytes = b""


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with a trainer."""
    archive = tiny_archive(tmp_path_factory.mktemp("emnist") / "emnist.zip")
    with running_site(own_redis=True, processes=1, env={"EMNIST_ARCHIVE": str(archive)}) as started:
        started.trainer.start()
        yield started


@pytest.fixture(scope="module")
def use(used: Site) -> Use:
    """Letters are drawn, one is withdrawn, some reviewed; a model learns of them and serves; a map and an export."""
    known = Use()
    with Visitor(used) as visitor, Maintainer(used) as maintainer:
        for letter in KEPT:
            kept = visitor.keep(strokes=LETTERS[letter], character=letter)
            known.receipts[kept["id"]] = kept["receipt"]
        gone = visitor.keep(strokes=scaled(LETTERS["X"], 0.7, 9, 2), character="X")
        assert visitor.withdraw(gone["id"], gone["receipt"]).status_code == 204
        known.decided = next(iter(known.receipts))
        decision = {"drawing": known.decided, "revision": 0, "action": "approve"}
        assert maintainer.post("/api/v1/review/decisions", json=decision).status_code == 201
        approve(used, 10)
        run = maintainer.wait_over(maintainer.start("head", **GENTLE)["run"]["id"])
        assert (run["state"], run["outcome"]) == ("done", "promoted"), run
        known.run = maintainer.run(run["id"])
        known.points = make_a_map(maintainer)
        known.export = ask(maintainer, "parquet")
        wait_over(maintainer, known.export)
        known.exported = content_of(maintainer, known.export)
        known.readings = readings(visitor)
    for part in used.parts:
        part.end()  # what is compared afterwards stands still
    return known


def make_a_map(maintainer: Maintainer) -> dict[str, bytes]:
    """A new map by PCA, once nothing is left to do for it; the points of all maps."""
    asked = maintainer.post("/api/v1/maps", json={"method": "pca", "space": "features"}).json()["id"]

    def whole() -> bool:
        job = maintainer.get(f"/api/v1/maps/jobs/{asked}").json()
        assert job["state"] not in ("failed", "cancelled"), job
        return bool(job["state"] == "done" and job["finished_at"])

    wait_for(whole, "the map is made", 240)
    return points(maintainer)


def points(visitor: Visitor) -> dict[str, bytes]:
    """Of each map, as a browser gets them."""
    return {
        f"{method} {space} {part}": visitor.get(summary["urls"][part]).content
        for (method, space), summary in maps_of(visitor).items()
        for part in ("emnist", "collected")
    }


def content_of(maintainer: Maintainer, export_id: str) -> bytes:
    archive = download(maintainer, export_id)
    return b"".join(name.encode() + archive.read(name) for name in sorted(archive.namelist()))


def readings(visitor: Visitor) -> dict[str, Any]:
    """What the serving model says of our letters, all of it."""
    answers = {letter: visitor.predict(LETTERS[letter]) for letter in KEPT}
    return {
        letter: {name: answer[name] for name in ("model", "probabilities", "point", "image")}
        for letter, answer in answers.items()
    }


def manage(site: Site, *arguments: str, ok: bool = True) -> str:
    """What a command says, of both its outputs."""
    said = site.python(COMMAND.format(arguments=arguments))
    assert ("refused:" not in said) is ok, said
    return said


def every_row(site: Site) -> dict[str, Any]:
    """By table: how many, and a hash of all that they hold."""
    found: dict[str, Any] = json.loads(site.python(EVERY_ROW))
    return found


def every_file(site: Site) -> dict[str, str]:
    root = site.folder / "media"
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def backup(used: Site, use: Use, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backup") / "site.tar"
    said = manage(used, "backup", str(path))
    assert "rows in" in said
    assert "storage has no" not in said
    return path


@pytest.fixture(scope="module")
def elsewhere(used: Site, use: Use, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Site]]:
    """Makes sites on other machines, with the same key and nothing in them yet, not even tables."""
    with contextlib.ExitStack() as stack:

        def make(database: str = "") -> Site:
            folder = tmp_path_factory.mktemp("elsewhere")
            url, redis = stack.enter_context(running._some_redis(folder, own=True))
            env = running._environment(folder, url, database or stack.enter_context(running._some_database(folder)))
            env |= {"SECRET_KEY": used.secret_key, "EMNIST_ARCHIVE": used.env["EMNIST_ARCHIVE"], "WEB_CONCURRENCY": "1"}
            site = Site(folder, env, redis)
            stack.callback(site.end)
            return site

        yield make


@pytest.fixture(scope="module")
def second(elsewhere: Callable[..., Site], backup: Path) -> Site:
    """Another machine, which was set up, and on which the backup was restored."""
    site = elsewhere()
    site.prepare()
    assert "is restored" in manage(site, "restore", str(backup))
    return site


@pytest.fixture
def changed(second: Site, backup: Path) -> Iterator[Site]:
    """The same machine for a test that changes what it holds: for the next one it is as the backup has it again."""
    yield second
    for part in second.parts:
        part.end()
    second.rows("DELETE FROM letters_withdrawal")
    manage(second, "restore", "--force", str(backup))


def starts(site: Site) -> None:
    site.worker.start()
    site.web.start()
    site.wait_until_ready()


def test_every_row_and_every_file_come_back(used: Site, second: Site) -> None:
    before, after = every_row(used), every_row(second)
    assert after == before
    assert before["letters.Decision"][0] >= 1
    assert before["letters.MapPoint"][0] >= 1
    assert before["letters.TrainingRun"][0] == 1
    assert every_file(second) == every_file(used)
    folders = {name.split("/")[0] for name in every_file(used)}
    assert folders == {"models", map_files.ROOT, "exports"} == set(stored.ROOTS)
    assert emnist_images.ROOT.split("/")[0] in stored.ROOTS  # where the archive is the model's, there are some
    assert "Storage holds all" in manage(second, "verify_storage")


def test_visitors_and_staff_find_what_they_had(changed: Site, use: Use) -> None:
    starts(changed)
    with Visitor(changed) as visitor, Maintainer(changed, "bea") as maintainer:
        for drawing, receipt in use.receipts.items():
            assert visitor.see(drawing, receipt).status_code == 200
        assert visitor.see(use.decided, "x" * 43).status_code == 404
        assert readings(visitor) == use.readings
        assert points(visitor) == use.points
        assert maintainer.run(use.run["id"]) == use.run
        assert content_of(maintainer, use.export) == use.exported
        kept = visitor.keep(strokes=scaled(LETTERS["T"], 0.8), character="T")
        assert visitor.withdraw(kept["id"], kept["receipt"]).status_code == 204


def test_another_kind_of_database(
    used: Site, backup: Path, elsewhere: Callable[..., Site], tmp_path: Path, use: Use
) -> None:
    """And from there back: on PostgreSQL the way is over SQLite."""
    other, again = elsewhere(f"sqlite:///{tmp_path / 'other.sqlite3'}"), elsewhere()
    manage(other, "restore", str(backup))
    assert every_row(other) == every_row(used)
    manage(other, "backup", str(tmp_path / "other.tar"))
    manage(again, "restore", str(tmp_path / "other.tar"))
    assert every_row(again) == every_row(used)
    again.python(running.PREPARE)
    starts(again)
    with Visitor(again) as visitor:
        kept = visitor.keep()  # the numbers that a database gives go on after those that were restored
        assert visitor.see(kept["id"], kept["receipt"]).status_code == 200
        assert readings(visitor) == use.readings
    with Maintainer(again, "cem") as maintainer:
        decision = {"drawing": kept["id"], "revision": 0, "action": "approve"}
        assert maintainer.post("/api/v1/review/decisions", json=decision).status_code == 201
    for part in again.parts:
        part.end()


class TestRefusals:
    """Each changes nothing."""

    @pytest.fixture(autouse=True)
    def _nothing_changes(self, second: Site) -> Iterator[None]:
        before = every_row(second), every_file(second)
        yield
        assert (every_row(second), every_file(second)) == before

    def test_a_site_in_use(self, second: Site, backup: Path) -> None:
        said = manage(second, "restore", str(backup), ok=False)
        assert "--force replaces them" in said
        assert "Nothing was changed" in said

    @pytest.mark.parametrize("member", ["letterloop-backup.json", "tables/", "storage/", "contents.json", "SHA256SUMS"])
    def test_one_bit_that_changed(self, second: Site, backup: Path, tmp_path: Path, member: str) -> None:
        damaged = tmp_path / "damaged.tar"
        content = bytearray(backup.read_bytes())
        with tarfile.open(backup) as tar:
            found = next(each for each in tar if each.name.startswith(member))
        content[found.offset_data + found.size // 2] ^= 1
        damaged.write_bytes(content)
        said = manage(second, "restore", "--force", str(damaged), ok=False)
        assert "damaged" in said
        assert "Nothing was changed" in said
        assert "damaged" in manage(second, "restore", "--check", str(damaged), ok=False)

    @pytest.mark.parametrize("left", [0.0, 0.5, 0.99])
    def test_one_that_was_cut_off(self, second: Site, backup: Path, tmp_path: Path, left: float) -> None:
        damaged = tmp_path / "damaged.tar"
        damaged.write_bytes(backup.read_bytes()[: int(backup.stat().st_size * left)])
        said = manage(second, "restore", "--force", str(damaged), ok=False)
        assert "is no backup, or" in said
        assert "Nothing was changed" in said

    def test_one_without_its_sums(self, second: Site, backup: Path, tmp_path: Path) -> None:
        cut = altered(backup, tmp_path, SHA256SUMS=None)
        assert "not a whole one" in manage(second, "restore", "--force", str(cut), ok=False)

    def test_one_of_a_later_release(self, second: Site, backup: Path, tmp_path: Path) -> None:
        with tarfile.open(backup) as tar:
            head = json.load(tar.extractfile("letterloop-backup.json") or io.BytesIO())
        head["migrations"].append(["letters", "9999_from_the_future"])
        later = altered(backup, tmp_path, **{"letterloop-backup.json": json.dumps(head).encode()})
        said = manage(second, "restore", "--force", str(later), ok=False)
        assert "of a later release, with letters.9999_from_the_future: install that release" in said

    def test_ids_that_are_none(self, second: Site, backup: Path, tmp_path: Path) -> None:
        (tmp_path / "ids").write_text("all of them")
        said = manage(second, "restore", "--force", "--without", str(tmp_path / "ids"), str(backup), ok=False)
        assert "is no list of drawings" in said

    def test_no_such_file(self, second: Site, tmp_path: Path) -> None:
        assert "could not be read" in manage(second, "restore", "--check", str(tmp_path / "none.tar"), ok=False)


def altered(backup: Path, folder: Path, **changes: bytes | None) -> Path:
    """A backup of which members are others or left out, its sums as they should be then."""
    path, sums = folder / "altered.tar", []
    with tarfile.open(backup) as tar, tarfile.open(path, "w") as written:
        for member in tar:
            opened = tar.extractfile(member)
            content = changes.get(member.name, opened.read() if opened else b"")
            if member.name == "SHA256SUMS" and content is not None:
                content = "".join(sums).encode()
            if content is not None:
                member.size = len(content)
                written.addfile(member, io.BytesIO(content))
                sums.append(f"{hashlib.sha256(content).hexdigest()}  {member.name}\n")
    return path


def test_force_replaces_what_is_there(changed: Site, used: Site, use: Use, backup: Path) -> None:
    """And a drawing that was withdrawn since stays away, as do the files that are not in the backup."""
    changed.python(
        "import django; django.setup()\n"
        "from django.core.files.base import ContentFile\n"
        "from django.core.files.storage import default_storage\n"
        "from tests.letters.collected import a_drawing\n"
        "a_drawing('V')\n"
        "default_storage.save('exports/another/letters.zip', ContentFile(b'of before'))"
    )
    ids = backup.with_name("withdrawn")
    ids.write_text(f"{use.decided}\n{uuid.uuid4()}\n")
    manage(changed, "restore", "--force", "--without", str(ids), str(backup))
    rows, before = every_row(changed), every_row(used)
    assert rows["letters.Drawing"][0] == before["letters.Drawing"][0] - 1
    assert changed.rows("SELECT 1 AS one FROM letters_drawing WHERE id = %s", uuid.UUID(use.decided)) == []
    assert "exports/another/letters.zip" not in every_file(changed)
    manage(changed, "restore", "--force", str(backup))  # the site knows by now, and nobody has to say it again
    assert every_row(changed)["letters.Drawing"][0] == before["letters.Drawing"][0] - 1
    (export,) = changed.rows("SELECT withdrawn_at FROM letters_export WHERE id = %s", uuid.UUID(use.export))
    assert export["withdrawn_at"], "an export with the withdrawn drawing can be had"
    changed.rows("DELETE FROM letters_withdrawal")
    manage(changed, "restore", "--force", str(backup))
    assert every_row(changed) == before


def with_a_bad_row(backup: Path, folder: Path) -> Path:
    """The same, but that the last of its drawings is one that the database refuses."""
    member = "tables/letters.drawing/000000.jsonl.gz"
    with tarfile.open(backup) as tar:
        columns, *rows = gzip.decompress((tar.extractfile(member) or io.BytesIO()).read()).decode().split("\n")
    last = json.loads(rows[-1])
    last[json.loads(columns).index("label")] = "?"
    return altered(
        backup, folder, **{member: gzip.compress("\n".join([columns, *rows[:-1], json.dumps(last)]).encode())}
    )


def test_one_that_fails_on_its_way_leaves_the_rows_as_they_were(
    changed: Site, used: Site, backup: Path, tmp_path: Path
) -> None:
    """The next try, with a good file, goes through, and need not be forced: it knows that one had begun."""
    before = every_row(changed)
    said = manage(changed, "restore", "--force", str(with_a_bad_row(backup, tmp_path)), ok=False)
    assert "could not be restored" in said
    assert "drawing_label_is_class" in said
    assert every_row(changed) == before
    manage(changed, "restore", str(backup))
    assert every_row(changed) == every_row(used)
    assert "--force replaces them" in manage(changed, "restore", str(backup), ok=False)


def test_what_was_withdrawn_is_known_although_a_restore_was_interrupted(
    changed: Site, use: Use, backup: Path, tmp_path: Path
) -> None:
    """Where tables are built anew, the one that knew it is gone by then."""
    changed.python(
        "import django; django.setup()\n"
        "from letters.models import Withdrawal\n"
        f"Withdrawal.objects.create(id={use.decided!r})"
    )
    manage(changed, "restore", "--force", str(with_a_bad_row(backup, tmp_path)), ok=False)
    changed.rows("DELETE FROM letters_withdrawal")
    manage(changed, "restore", str(backup))
    assert changed.rows("SELECT 1 AS one FROM letters_drawing WHERE id = %s", uuid.UUID(use.decided)) == []


def test_a_site_goes_on_while_it_is_backed_up(changed: Site, tmp_path: Path) -> None:
    """Nobody waits for it, and it holds one moment: what comes after it began is not in it."""
    starts(changed)
    command = [sys.executable, "manage.py", "backup", "-"]
    with (
        Visitor(changed) as visitor,
        subprocess.Popen(command, cwd=ROOT, env=changed.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program,
    ):
        assert program.stdout
        fcntl.fcntl(program.stdout, fcntl.F_SETPIPE_SZ, 4096)
        begun = program.stdout.read(512)  # the model's row does not fit into the pipe, and drawings come after it
        visitor.keep(strokes=scaled(LETTERS["V"], 0.77, 3), character="V")
        whole = tmp_path / "piped.tar"
        whole.write_bytes(begun + program.stdout.read())
        assert program.wait(60) == 0
    assert "is whole" in manage(changed, "restore", "--check", str(whole))
    with tarfile.open(whole) as tar:
        content = json.load(tar.extractfile("contents.json") or io.BytesIO())
    assert content["rows"]["letters.drawing"] == changed.count("drawing") - 1


def test_a_backup_is_private_and_replaces_nothing(used: Site, backup: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert "A backup replaces no other" in manage(used, "backup", str(backup), ok=False)
    assert "there is no folder" in manage(used, "backup", str(tmp_path / "none" / "site.tar"), ok=False)
    assert sorted(os.listdir(backup.parent)) in (["site.tar"], ["site.tar", "withdrawn"])
    with tarfile.open(backup) as tar:
        names = tar.getnames()
    assert not [name for name in names if "session" in name]


class TestVerifyStorage:
    """What storage lacks is named, and what can be mended is."""

    def test_a_model_that_was_altered(self, changed: Site) -> None:
        (path,) = (changed.folder / "media" / "models").glob(f"{self.digest(changed, 1)}/model.tflite")
        path.write_bytes(b"another model")
        said = manage(changed, "verify_storage", ok=False)
        assert "model 1: model.tflite is not the file that was registered: this machine has a good copy" in said
        assert "model 1: model.tflite is not the file that was registered: put back" in manage(
            changed, "verify_storage", "--mend"
        )
        assert "Storage holds all" in manage(changed, "verify_storage")

    def test_a_model_that_nobody_here_has(self, changed: Site) -> None:
        (path,) = (changed.folder / "media" / "models").glob(f"{self.digest(changed, 2)}/manifest.json")
        content = path.read_bytes()
        changed.python(FETCH.format(digest=path.parent.name))
        path.unlink()
        copies = changed.folder / "cache" / "models"
        copies.rename(copies.with_name("away"))
        said = manage(changed, "verify_storage", "--mend", ok=False)
        assert "model 2: a file of it is missing (manifest.json): try --mend on each machine with a worker" in said
        copies.with_name("away").rename(copies)
        assert "put back" in manage(changed, "verify_storage", "--mend")
        assert path.read_bytes() == content

    def test_a_map_and_an_export(self, changed: Site) -> None:
        """A backup without them is made all the same, and says so."""
        export = next((changed.folder / "media" / "exports").rglob("*.zip"))
        points = next((changed.folder / "media" / "maps").rglob("points.bin.gz"))
        for path in (export, points):
            path.unlink()
        said = manage(changed, "verify_storage", ok=False)
        assert f"{export.name} is missing: have the export made again" in said
        assert "points.bin.gz is missing: have the map made again" in said
        assert f"{export.name}, which a row names" in manage(changed, "backup", str(changed.folder / "lacking.tar"))

    def digest(self, site: Site, number: int) -> str:
        return str(site.rows("SELECT digest FROM letters_modelversion WHERE number = %s", number)[0]["digest"])
