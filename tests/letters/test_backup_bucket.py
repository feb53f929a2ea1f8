"""A site whose storage is a bucket comes back in another, empty bucket; what is damaged there is named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from letters import stored
from tests.letters.bucket import Bucket, running_bucket
from tests.letters.mapping import maps_of, points_of
from tests.letters.test_backup import every_row, manage
from tests.letters.test_upgrade import backup_of, unpacked
from tests.letters.visitor import LETTERS, Visitor
from tests.running import PREPARE, Site, running_site, wait_for

pytestmark = [pytest.mark.long, pytest.mark.database]


@dataclass(frozen=True)
class Held:
    """All that a site had: rows by table, the SHA-256 of what lay in its bucket, drawings, and what it answered."""

    rows: dict[str, Any]
    objects: dict[str, str]
    drawings: list[dict[str, Any]]
    readings: dict[str, Any]
    points: dict[str, int]
    seen: dict[str, Any]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the visitors of a site that had learned were told; it was one of an earlier release, with a folder."""
    return unpacked("loop", tmp_path_factory.mktemp("told"))


@contextmanager
def site_in(bucket: Bucket, backup: Callable[[Site], Path], told: dict[str, Any]) -> Iterator[Site]:
    """A site of which nothing was there but a backup and an empty bucket."""

    def prepare(site: Site) -> None:
        assert bucket.names() == []
        assert "is restored" in manage(site, "restore", str(backup(site)))
        site.python(PREPARE)

    env = bucket.env | {"SECRET_KEY": told["secret_key"]}
    with running_site(own_redis=True, processes=1, env=env, prepare=prepare) as site:
        yield site


def held(site: Site, bucket: Bucket, told: dict[str, Any]) -> Held:
    with Visitor(site) as visitor:
        seen = {pk: visitor.see(pk, receipt).json() for pk, receipt in told["receipts"].items()}
        points = {" ".join(key): len(points_of(visitor, shown)) for key, shown in maps_of(visitor).items()}
        readings = {letter: visitor.predict(strokes) for letter, strokes in LETTERS.items()}
    for part in site.parts:
        part.end()  # what is compared stands still
    return Held(
        every_row(site),
        {name: hashlib.sha256(bucket.content(name)).hexdigest() for name in bucket.names()},
        site.rows("SELECT id, image, image_hash FROM letters_drawing ORDER BY id"),
        {
            letter: {name: each[name] for name in ("model", "probabilities", "image")}
            for letter, each in readings.items()
        },
        points,
        seen,
    )


@dataclass(frozen=True)
class Restored:
    """A site in its second bucket, and what it had in its first."""

    site: Site
    bucket: Bucket
    before: Held


@pytest.fixture(scope="module")
def restored(told: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restored]:
    """The first bucket, its server and its database are gone by the time that the second one is filled."""
    folder = tmp_path_factory.mktemp("buckets")
    whole = folder / "whole.tar"
    for name in ("first", "second"):
        (folder / name).mkdir()

    def of_a_folder(site: Site) -> Path:
        return backup_of("loop", folder, {name: value for name, value in site.env.items() if name[:3] != "S3_"})

    with running_bucket(folder / "first") as bucket, site_in(bucket, of_a_folder, told) as site:
        wait_for(lambda: site.count("examination") == site.count("drawing"), "all drawings are examined")
        before = held(site, bucket, told)
        assert "storage has no" not in manage(site, "backup", str(whole))
    with running_bucket(folder / "second") as bucket, site_in(bucket, lambda _: whole, told) as site:
        yield Restored(site, bucket, before)


def test_it_works(restored: Restored, told: dict[str, Any]) -> None:
    """Each row, each object, each picture, and what the serving model reads."""
    site, before = restored.site, restored.before
    after = held(site, restored.bucket, told)
    assert after.objects == before.objects
    assert {name.split("/")[0] for name in after.objects} == set(stored.ROOTS)
    assert after.drawings == before.drawings
    assert [hashlib.sha256(bytes(row["image"])).hexdigest() for row in after.drawings] == [
        row["image_hash"] for row in after.drawings
    ]
    assert len(after.drawings) == len(told["letters"])
    assert after.seen == before.seen
    assert {letter: each["model"]["version"] for letter, each in after.readings.items()} == dict.fromkeys(
        LETTERS, told["serving"]
    )
    assert after.readings == before.readings
    assert after.points == before.points
    assert min(after.points.values()) > 0
    assert after.rows == before.rows
    assert "Storage holds all" in manage(site, "verify_storage")
    assert not (site.folder / "media").exists(), "a folder of this machine holds what belongs into the bucket"


@pytest.mark.parametrize("damage", ["altered", "shortened", "gone"])
@pytest.mark.parametrize("of", ["models/", "maps/", "exports/"])
def test_an_object_that_is_damaged_is_named(restored: Restored, of: str, damage: str) -> None:
    """A model by its hash; a map and an export where they are gone or of another length."""
    site, bucket = restored.site, restored.bucket
    name = next(name for name in bucket.names(of) if not name.endswith("manifest.json"))
    content = bucket.content(name)
    if damage == "gone":
        bucket.delete(name)
    else:
        bucket.put(name, content[:-1] if damage == "shortened" else bytes([content[0] ^ 1]) + content[1:])
    try:
        if damage == "altered" and of != "models/":
            assert "Storage holds all" in manage(site, "verify_storage"), "the docs say that this is not noticed"
            return
        said = manage(site, "verify_storage", ok=False)
        (line,) = [line for line in said.splitlines() if ": " in line and not line.startswith("refused")]
        assert name.rpartition("/")[2] in line
        what = {"gone": "missing", "shortened": "is not", "altered": "is not the file that was registered"}[damage]
        assert what in line
        assert "1 of them" in said
    finally:
        bucket.put(name, content)
    assert "Storage holds all" in manage(site, "verify_storage")
