"""What becomes of a retraining when a part of the site dies under it: it is done once, or it is said why not."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.letters.test_artefacts import spoil
from tests.letters.training import PATIENCE, Maintainer, approve, children, left_over, silence, watch
from tests.letters.visitor import Visitor, refused
from tests.running import Site, wait_for

pytestmark = pytest.mark.slow
SEND = "import django; django.setup()\nfrom letters import tasks\nfor _ in range({times}): tasks.retrain.delay({run!r})"


@pytest.fixture(autouse=True)
def _mended(training_site: Site, maintainer: Maintainer) -> Iterator[None]:
    """Whatever a test stops runs again after it, and nothing is left to do."""
    yield
    assert training_site.redis
    for part in (training_site.redis, training_site.worker, training_site.trainer):
        if part.runs():
            part.resume()
        else:
            part.start()
    for row in training_site.rows("SELECT id FROM letters_trainingrun WHERE state IN ('queued', 'running')"):
        maintainer.cancel(str(uuid.UUID(str(row["id"]))))
    training_site.wait_until_ready()


def versions(site: Site) -> int:
    return site.count("modelversion")


def in_storage(site: Site) -> set[str]:
    """Digests of the artefacts that are whole there; a part of one has no manifest."""
    return {each.parent.name for each in (site.folder / "media" / "models").glob("*/manifest.json")}


def watch_until_over(site: Site, maintainer: Maintainer, run: str) -> dict[str, Any]:
    """Have it looked after what was left undone, until the run is over."""

    def over() -> Any:
        found = maintainer.run(run)
        if found["state"] not in ("queued", "running"):
            return found
        watch(site)
        return None

    return wait_for(over, "the run is over", PATIENCE)


def test_the_trainer_is_killed_while_it_fits(training_site: Site, maintainer: Maintainer) -> None:
    """It is taken up again by the next one, and one version comes of it."""
    approve(training_site, 5)
    before = versions(training_site)
    run = maintainer.start("head")["run"]["id"]
    maintainer.wait_until(run, "runs", lambda each: each["state"] != "queued")
    training_site.trainer.kill()
    assert maintainer.run(run)["state"] == "running", "it was quicker than the kill"
    assert versions(training_site) == before
    silence(training_site, "letters_trainingrun")
    training_site.trainer.start()
    done = watch_until_over(training_site, maintainer, run)
    assert (done["state"], done["attempts"]) == ("done", 2), done
    assert versions(training_site) == before + 1
    assert "taken up again, attempt 2:" in done["log"]
    wait_for(lambda: left_over(training_site) == [], "nothing is left", PATIENCE)


def test_the_trainer_is_killed_while_all_layers_learn(training_site: Site, maintainer: Maintainer) -> None:
    """The training dies with it, and the next one takes it up in the same folder."""
    approve(training_site, 5)
    before = versions(training_site)
    run = maintainer.start("full", epochs=1000)["run"]["id"]
    first = wait_for(lambda: children(run), "the training begins", PATIENCE)
    training_site.trainer.kill()
    wait_for(lambda: not children(run), "the training dies with its trainer", 10)
    (folder,) = left_over(training_site)
    (training_site.folder / "runs" / folder / "checkpoint-of-the-test").write_text("half way")
    silence(training_site, "letters_trainingrun")
    training_site.trainer.start()

    def again() -> Any:
        watch(training_site)
        return children(run)

    second = wait_for(again, "the training goes on", PATIENCE)
    assert set(first).isdisjoint(second)
    assert maintainer.run(run)["attempts"] == 2
    (folder,) = left_over(training_site)
    assert (training_site.folder / "runs" / folder / "checkpoint-of-the-test").exists()
    maintainer.cancel(run)
    wait_for(lambda: not children(run) and left_over(training_site) == [], "it has ended", PATIENCE)
    assert versions(training_site) == before


def test_a_worker_that_dies_of_it_three_times(training_site: Site, maintainer: Maintainer) -> None:
    approve(training_site, 5)
    training_site.trainer.kill()
    run = maintainer.start("head")["run"]["id"]
    training_site.rows(
        "UPDATE letters_trainingrun SET state = 'running', claim = %s, attempts = 3, fruitless = 3,"
        " heartbeat_at = '2026-01-01 00:00:00+00:00', started_at = '2026-01-01 00:00:00+00:00' WHERE id = %s",
        uuid.uuid4(),
        uuid.UUID(run),
    )
    done = watch_until_over(training_site, maintainer, run)
    assert done["state"] == "failed"
    assert "3 workers in a row began it" in done["message"]


def test_redis_is_restarted(training_site: Site, maintainer: Maintainer) -> None:
    """While one runs and another waits: its message is lost, the database knows of it."""
    approve(training_site, 5)
    before = versions(training_site)
    assert training_site.redis
    training_site.trainer.pause()
    waiting = maintainer.start("head")["run"]["id"]
    training_site.redis.kill()
    training_site.redis.start()
    training_site.trainer.resume()
    training_site.wait_until_ready()
    done = watch_until_over(training_site, maintainer, waiting)
    assert (done["state"], done["attempts"]) == ("done", 1), done
    assert versions(training_site) == before + 1


def test_redis_is_restarted_while_it_runs(training_site: Site, maintainer: Maintainer) -> None:
    approve(training_site, 5)
    before = versions(training_site)
    assert training_site.redis
    run = maintainer.start("head")["run"]["id"]
    maintainer.wait_until(run, "runs", lambda each: each["state"] != "queued")
    training_site.redis.kill()
    training_site.redis.start()
    training_site.wait_until_ready()
    done = watch_until_over(training_site, maintainer, run)
    assert (done["state"], done["attempts"]) == ("done", 1), done
    assert versions(training_site) == before + 1


def test_the_broker_is_away_when_it_is_asked_for(training_site: Site, maintainer: Maintainer) -> None:
    """It is noted, and done when the broker is back."""
    approve(training_site, 5)
    assert training_site.redis
    training_site.redis.kill()
    run = maintainer.start("head")["run"]["id"]
    assert maintainer.run(run)["state"] == "queued"
    training_site.redis.start()
    training_site.wait_until_ready()
    assert watch_until_over(training_site, maintainer, run)["state"] == "done"


def test_the_broker_delivers_more_than_once(training_site: Site, maintainer: Maintainer) -> None:
    """Before, while and after it runs; what takes longer than a second is delivered again here besides."""
    approve(training_site, 5)
    before = versions(training_site)
    training_site.trainer.pause()
    run = maintainer.start("head")["run"]["id"]
    training_site.python(SEND.format(times=4, run=run))
    training_site.trainer.resume()
    done = maintainer.wait_over(run)
    training_site.python(SEND.format(times=2, run=run))
    assert (done["state"], done["attempts"]) == ("done", 1), done
    approve(training_site, 1)
    assert maintainer.wait_over(maintainer.start("head")["run"]["id"])["state"] == "done"  # behind all those messages
    assert (maintainer.run(run)["attempts"], versions(training_site)) == (1, before + 2)


def test_there_is_no_archive(training_site: Site, maintainer: Maintainer) -> None:
    """All layers need one; the trainer says so."""
    approve(training_site, 5)
    archive = Path(training_site.env["EMNIST_ARCHIVE"])
    away = archive.rename(archive.with_suffix(".away"))
    try:
        done = maintainer.wait_over(maintainer.start("full")["run"]["id"])
    finally:
        away.rename(archive)
    assert done["state"] == "failed"
    assert "EMNIST_ARCHIVE" in done["message"]
    assert "Traceback" not in done["log"]


def test_what_was_tampered_with_in_storage_never_serves(training_site: Site, maintainer: Maintainer) -> None:
    approve(training_site, 5)
    run = maintainer.wait_over(maintainer.start("head")["run"]["id"])
    number = run["candidate"]["version"]
    (row,) = training_site.rows("SELECT digest FROM letters_modelversion WHERE number = %s", number)
    maintainer.promote(1)
    stored = training_site.folder / "media" / "models" / row["digest"] / "model.tflite"
    whole = stored.read_bytes()
    spoil(stored)
    try:
        told = refused(maintainer.promote(number), 409, "model_unfit")
        assert "model.tflite is not the file that was registered" in told["message"]
        assert maintainer.get("/api/v1/models/current").json()["version"] == 1
    finally:
        stored.write_bytes(whole)
    assert maintainer.promote(number).status_code == 200
    assert maintainer.promote(1).status_code == 200


def test_the_serving_model_is_damaged_while_it_serves(training_site: Site) -> None:
    """The worker sees that its file is another one, fetches it again, says so, and goes on."""
    (row,) = training_site.rows(
        "SELECT m.digest FROM letters_modelversion m JOIN letters_serving s ON s.model_id = m.id"
    )
    cached = training_site.folder / "cache" / "models" / row["digest"] / "model.tflite"
    with Visitor(training_site) as visitor:
        before = visitor.predict()["probabilities"]
        pid = training_site.worker.pid
        damaged = cached.with_name("damaged")
        damaged.write_bytes(cached.read_bytes())
        spoil(damaged)
        os.replace(damaged, cached)
        assert visitor.predict()["probabilities"] == before
    assert "it is fetched again from storage" in training_site.worker.log()
    assert cached.read_bytes() == (training_site.folder / "media/models" / row["digest"] / "model.tflite").read_bytes()
    assert training_site.worker.pid == pid


def test_no_half_artefact_is_ever_there(training_site: Site) -> None:
    """After all of the above: what is registered is whole in storage, to the last hash."""
    digests = {row["digest"] for row in training_site.rows("SELECT digest FROM letters_modelversion")}
    assert digests <= in_storage(training_site)
    code = (
        "import django; django.setup()\nimport json\nfrom letters import registry\n"
        "from letters.models import ModelVersion\n"
        "for each in ModelVersion.objects.all(): registry.fetch(each.digest)\n"
        "print(json.dumps(ModelVersion.objects.count()))"
    )
    assert json.loads(training_site.python(code).splitlines()[-1]) == len(digests)
