"""The storage of files is full, broken, slow or silent."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.faults.asking import heals, in_time, keeper, predict, there, told, watch_until
from tests.faults.proxy import Proxy, between
from tests.letters.bucket import Bucket, running_bucket
from tests.letters.training import Maintainer, approve
from tests.letters.visitor import Visitor
from tests.running import Site, running_site, wait_for

pytestmark = pytest.mark.long
OVER = ("done", "failed", "cancelled")


# --- A bucket --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with running_bucket(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture(scope="module")
def network(bucket: Bucket) -> Iterator[Proxy]:
    """Between all of the site and its bucket."""
    with between(urlsplit(bucket.env["S3_ENDPOINT_URL"]).port or 0) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def site(bucket: Bucket, network: Proxy) -> Iterator[Site]:
    """Its patience with the bucket is what it has by itself; the trainer's is shorter, so that the test is."""
    env = bucket.env | {"S3_ENDPOINT_URL": f"http://127.0.0.1:{network.port}"}
    del env["S3_TIMEOUT"]
    with running_site(processes=1, own_redis=True, env=env) as started:
        started.trainer._env["S3_TIMEOUT"] = "1"
        started.trainer.start()
        yield started


class _Broken(BaseHTTPRequestHandler):
    """Whatever is asked: 500."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def answers_500(network: Proxy) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with network.redirected(server.server_port):
            yield
        server.shutdown()


@contextmanager
def answers_slowly(network: Proxy) -> Iterator[None]:
    """Each piece after longer than anybody waits for it."""
    network.delay = 1.5
    yield
    network.delay = 0.0


@contextmanager
def answers_nothing(network: Proxy) -> Iterator[None]:
    network.partition()
    yield
    network.heal()


TROUBLES = {"500": answers_500, "slowly": answers_slowly, "never": answers_nothing}


@pytest.mark.parametrize("how", TROUBLES)
def test_a_bucket_that_answers(how: str, site: Site, maintainer: Maintainer, visitor: Visitor, network: Proxy) -> None:
    """Who draws sees nothing of it; what needs a file says so in time; a run ends with a reason, the next is done."""
    approve(site, 5)
    points = maintainer.get("/api/v1/maps").json()["maps"][0]["urls"]["emnist"]
    serving = maintainer.get("/api/v1/models/current").json()["version"]
    key = f"bucket-{how}-0"
    keep = keeper(visitor, key)
    site.worker.kill()  # what it knows of maps is from the bucket: the next one, which looks after all, asks for it
    with TROUBLES[how](network):
        site.worker.start()
        heals(visitor, 30)
        wait_for(lambda: "drawings are placed later" in site.worker.log(), "it asked the bucket", 30)
        assert in_time(keep).status_code == 201
        assert in_time(lambda: predict(visitor)).status_code == 200
        told(lambda: visitor.get(points), "storage_unavailable")
        run = maintainer.wait_over(maintainer.start("head")["run"]["id"])
        export = maintainer.post("/api/v1/exports", json={"format": "ndjson"}).json()["id"]
        made = watch_until(site, lambda: ended(maintainer, export), "the export is over", 90)
    assert run["state"] == "failed", run
    assert "storage" in run["message"]
    assert made["state"] == "failed", made
    assert "see to the disk or the storage" in made["message"]
    assert there(site, key) == 1
    assert maintainer.get("/api/v1/models/current").json()["version"] == serving
    assert visitor.get(points).status_code == 200
    done = maintainer.wait_over(maintainer.start("head")["run"]["id"])
    assert done["state"] == "done", done


def ended(maintainer: Maintainer, export: str) -> dict[str, Any] | None:
    """The export, if it is over."""
    found: dict[str, Any] = maintainer.get(f"/api/v1/exports/{export}").json()
    return found if found["state"] in OVER else None


# --- A disk ----------------------------------------------------------------------------------------------------------


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Not a byte is left on it."""
    filler = disk / "filler"
    for size in (1024 * 1024, 1):
        with filler.open("ab", buffering=0) as opened:
            _write_until_full(opened, b"0" * size)
    yield
    filler.unlink()


def _write_until_full(file: Any, some: bytes) -> None:
    while True:
        try:
            file.write(some)
        except OSError as full:
            if full.errno == errno.ENOSPC:
                return
            raise


def move(site: Site, disk: Path, *names: str) -> None:
    """Have files and folders of a site lie on another disk; web and worker are started anew."""
    for part in (site.web, site.worker):
        part.end()
    for name in names:
        shutil.move(site.folder / name, disk / name)
        (site.folder / name).symlink_to(disk / name)
    site.worker.start()
    site.web.start()
    site.wait_until_ready()


def test_a_full_disk(small_disk: Path) -> None:
    """That of the database and of all files: letters are read on, and nothing is half kept."""
    with running_site(processes=1, own_redis=True) as site:
        if not site.env["DATABASE_URL"].startswith("sqlite"):
            pytest.skip("it is the disk of SQLite that is filled here")
        move(site, small_disk, "letterloop.sqlite3", "media")
        maintainer, visitor = Maintainer(site), Visitor(site)
        approve(site, 5)
        site.trainer.start()
        kept = visitor.keep()
        keep = keeper(visitor, "full-disk-00")
        with filled(small_disk):
            told(keep, "database_unavailable")
            assert in_time(lambda: predict(visitor)).status_code == 200
            assert in_time(lambda: visitor.see(kept["id"], kept["receipt"])).status_code == 200
        assert keep().status_code == 201
        assert there(site, "full-disk-00") == 1
        assert site.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
        assert maintainer.wait_over(maintainer.start("head")["run"]["id"])["state"] == "done"
        for part in (site.web, site.worker, site.trainer):
            assert part.runs(), f"{part.name} ended"


def test_a_full_storage(small_disk: Path) -> None:
    """That of the files alone: what is written to it fails with a reason, leaves nothing half there, works later."""
    with running_site(processes=1, own_redis=True) as site:
        move(site, small_disk, "media")
        maintainer = Maintainer(site)
        approve(site, 5)
        site.trainer.start()
        before = sorted(each.name for each in (small_disk / "media" / "models").iterdir())
        with filled(small_disk):
            run = maintainer.wait_over(maintainer.start("head")["run"]["id"])
            export = maintainer.post("/api/v1/exports", json={"format": "ndjson"}).json()["id"]
            made = watch_until(site, lambda: ended(maintainer, export), "the export is over", 90)
        assert run["state"] == "failed", run
        assert "No space left" in run["message"]
        assert made["state"] == "failed", made
        assert "No space left" in made["message"]
        whole = [each.parent.name for each in (small_disk / "media" / "models").glob("*/manifest.json")]
        assert sorted(whole) == before, "half an artefact has a manifest"
        done = maintainer.wait_over(maintainer.start("head")["run"]["id"])
        assert done["state"] == "done", done
        again = maintainer.post("/api/v1/exports", json={"format": "ndjson"}).json()["id"]
        assert watch_until(site, lambda: ended(maintainer, again), "the next export is over", 90)["state"] == "done"
