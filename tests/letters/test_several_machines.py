"""Workers on machines of their own: what they share is the database, Redis and an S3 storage, and no folder."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from honcho.environ import parse_procfile

from tests.letters.bucket import Bucket, running_bucket
from tests.letters.training import Maintainer, approve
from tests.letters.visitor import CANVAS, Visitor, Z, refused
from tests.running import ROOT, Part, Site, running_site, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.database]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with running_bucket(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture(scope="module")
def web(bucket: Bucket) -> Iterator[Site]:
    """The machine that visitors reach, which has a worker too."""
    with running_site(own_redis=True, processes=1, env=bucket.env) as started:
        yield started


@pytest.fixture(scope="module")
def second(web: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Part]:
    """A second machine with an inference worker."""
    yield from _machine(web, "worker", tmp_path_factory.mktemp("second"))


@pytest.fixture(scope="module")
def third(web: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Part]:
    """A third machine, which trains."""
    yield from _machine(web, "trainer", tmp_path_factory.mktemp("third"))


def _machine(web: Site, kind: str, folder: Path) -> Iterator[Part]:
    command = parse_procfile((ROOT / "Procfile").read_text()).processes[kind].replace("@%h", f"@{folder.name}")
    part = Part(folder.name, shlex.split(command), web.env | {"VAR_DIR": str(folder)}, folder / "log")
    part.start()
    yield part
    part.end()


@pytest.fixture(scope="module")
def maintainer(web: Site) -> Iterator[Maintainer]:
    with Maintainer(web) as somebody:
        yield somebody


@pytest.fixture(autouse=True)
def _mended(web: Site, bucket: Bucket, second: Part, third: Part) -> Iterator[None]:
    yield
    bucket.server.resume()
    for part in (web.worker, second, third):
        if not part.runs():
            part.start()
    web.wait_until_ready()


def cached(folder: Path, digest: str) -> Path:
    return folder / "cache" / "models" / digest / "model.tflite"


def folder_of(part: Part) -> Path:
    return Path(part._env["VAR_DIR"])


def digest_of(web: Site, version: int) -> str:
    return str(web.rows("SELECT digest FROM letters_modelversion WHERE number = %s", version)[0]["digest"])


def wait_until_both_have(web: Site, second: Part, version: int) -> None:
    """Until each worker has a copy of its own of a version that serves."""
    digest = digest_of(web, version)
    copies = cached(web.folder, digest), cached(folder_of(second), digest)

    def both_have_it() -> bool:
        web.wait_until_ready()  # by whichever worker takes the question
        return all(each.exists() for each in copies)

    wait_for(both_have_it, "both workers have a copy")


def new_version(web: Site, maintainer: Maintainer) -> int:
    """One that the third machine made of drawings, and that serves."""
    approve(web, 5)
    run = maintainer.wait_over(maintainer.start("head")["run"]["id"])
    assert run["state"] == "done", run
    version = int(run["candidate"]["version"])
    assert maintainer.promote(version).status_code in (200, 201)
    return version


def test_every_machine_serves_what_another_one_trained(
    web: Site, second: Part, third: Part, bucket: Bucket, maintainer: Maintainer
) -> None:
    version = new_version(web, maintainer)
    wait_until_both_have(web, second, version)
    for alone, other in ((second, web.worker), (web.worker, second)):
        other.end()
        web.wait_until_ready()
        with Visitor(web) as visitor:
            assert visitor.predict()["model"]["version"] == version
        assert alone.runs()
        other.start()
    assert not (web.folder / "media").exists(), "a folder of one machine holds what all need"
    assert f"models/{digest_of(web, version)}/manifest.json" in bucket.names()


def is_read(visitor: Visitor) -> bool:
    """Whether a drawing is, now: /readyz may say how it was a moment ago."""
    return visitor.post("/api/v1/predictions", json={"strokes": Z, "canvas": CANVAS}).status_code == 200


def test_a_copy_that_was_damaged_is_fetched_again(web: Site, second: Part, maintainer: Maintainer) -> None:
    serving = maintainer.get("/api/v1/models/current").json()["version"]
    web.worker.end()
    web.wait_until_ready()  # which has the second worker load the model
    with Visitor(web) as visitor:
        before = visitor.predict()["probabilities"]
        copy = cached(folder_of(second), digest_of(web, serving))
        good = copy.read_bytes()
        copy.unlink()
        copy.write_bytes(good[: len(good) // 2] + os.urandom(1000))
        wait_for(lambda: is_read(visitor), "it is fetched")  # which may take longer than a visitor waits
        assert visitor.predict()["probabilities"] == before
    assert copy.read_bytes() == good
    assert "damaged, it is fetched again" in second.log()


def test_a_file_that_was_swapped_in_storage_serves_nobody(
    web: Site, second: Part, bucket: Bucket, maintainer: Maintainer
) -> None:
    version = new_version(web, maintainer)
    digest = digest_of(web, version)
    assert maintainer.promote(1).status_code in (200, 201)
    bucket.put(f"models/{digest}/model.tflite", b"another model")
    answer = refused(maintainer.promote(version), 409, "model_unfit")
    assert "is not the file that was registered" in answer["message"]
    with Visitor(web) as visitor:
        assert visitor.predict()["model"]["version"] == 1


def test_a_storage_that_never_answers_is_said_and_waited_for_by_nobody(
    web: Site, second: Part, third: Part, bucket: Bucket, maintainer: Maintainer
) -> None:
    """What serves goes on, from the copies; what needs the storage fails with a reason, and works again afterwards."""
    version = new_version(web, maintainer)
    wait_until_both_have(web, second, version)
    approve(web, 5)
    bucket.server.pause()
    with Visitor(web) as visitor:
        assert visitor.keep()
    answer = refused(maintainer.promote(1), 409, "model_unfit")
    assert "cannot be read from storage" in answer["message"]
    run = maintainer.wait_over(maintainer.start("head")["run"]["id"])
    assert run["state"] == "failed", run
    assert "storage" in run["message"]
    assert maintainer.get("/api/v1/models/current").json()["version"] == version
    bucket.server.resume()
    assert maintainer.promote(1).status_code in (200, 201)
    done = maintainer.wait_over(maintainer.start("head")["run"]["id"])
    assert done["state"] == "done", done
