"""A retraining as a maintainer has it done: the web, the broker, the trainer and the workers are real."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.letters.test_pages import POLICY, inline_code, policy
from tests.letters.training import PATIENCE, Maintainer, approve, children, left_over, watch
from tests.letters.visitor import CANVAS, Visitor, Z, refused
from tests.running import ROOT, Site, wait_for

pytestmark = pytest.mark.slow
RUNS = "/api/v1/training-runs"
GENTLE = {"pull": 1000, "collected_weight": 1}  # hardly another model: the gate lets it pass, whatever was drawn
SOON = 20.0  # seconds to a cancelled run, and to predictions by the new model; five on a machine that is not busy


@pytest.fixture(scope="module")
def visitor(training_site: Site) -> Iterator[Visitor]:
    with Visitor(training_site) as somebody:
        yield somebody


def serving(visitor: Visitor) -> int:
    """Which version answers, once one does: a worker may just be fetching it."""

    def answered() -> int:
        response = visitor.post("/api/v1/predictions", json={"strokes": Z, "canvas": CANVAS})
        return int(response.json()["model"]["version"]) if response.status_code == 200 else 0

    return int(wait_for(answered, "a prediction", 30))


def manage(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=site.env, capture_output=True, text=True, timeout=300
    )


def test_from_approved_drawings_to_a_model_that_serves(
    training_site: Site, maintainer: Maintainer, visitor: Visitor
) -> None:
    """And back."""
    before, pid = serving(visitor), training_site.worker.pid
    approve(training_site, 30)
    started = maintainer.start("head", **GENTLE)
    assert not started["joined"]
    run = maintainer.wait_over(started["run"]["id"])
    assert (run["state"], run["outcome"]) == ("done", "promoted"), run
    assert run["drawings"] >= 30
    assert run["verdict"]["passed"]
    assert {(each["name"], each["set"]) for each in run["verdict"]["tests"]} >= {("accuracy", "emnist")}
    number = run["candidate"]["version"]
    promoted = time.monotonic()
    wait_for(lambda: serving(visitor) == number, "the new version answers", SOON)
    assert time.monotonic() - promoted < SOON
    (latest, *_) = visitor.get("/api/v1/deployments").json()["deployments"]
    assert (latest["model"]["version"], latest["previous"]["version"], latest["by"]) == (number, before, "retraining")
    assert latest["run"] == run["id"]
    wait_for(lambda: left_over(training_site) == [], "nothing is left", PATIENCE)
    # back, in one step
    answer = maintainer.promote(before, "it did not help")
    assert (answer.status_code, answer.json()["version"]) == (200, before)
    wait_for(lambda: serving(visitor) == before, "the old version answers", SOON)
    (latest, *_) = maintainer.get("/api/v1/deployments").json()["deployments"]
    assert (latest["reason"], latest["actor"], latest["by"]) == ("it did not help", "ada", "staff")
    assert training_site.worker.pid == pid
    # and the same drawings teach nothing new
    refused(maintainer.post(RUNS, json={"kind": "head", "config": GENTLE}), 409, "nothing_to_learn")


def test_all_layers_are_cancelled_within_seconds(training_site: Site, maintainer: Maintainer) -> None:
    """What waited behind goes on by itself; a second one that would wait is the same."""
    approve(training_site, 5)
    run = maintainer.start("full", epochs=1000)["run"]["id"]
    wait_for(lambda: children(run), "the training begins", PATIENCE)
    maintainer.wait_until(run, "says so", lambda each: each["progress"].get("stage") == "training", SOON)
    behind = maintainer.start("head")
    again = maintainer.start("head")
    assert (behind["joined"], again["joined"]) == (False, True)
    assert behind["run"]["id"] == again["run"]["id"]
    assert "waits until the run" in behind["run"]["message"]
    asked = time.monotonic()
    assert maintainer.cancel(run)["cancelled"]
    wait_for(lambda: not children(run), "the training has ended", SOON)
    assert time.monotonic() - asked < SOON
    found = maintainer.run(run)
    assert (found["state"], found["cancelled_by"], found["candidate"]) == ("cancelled", "ada", None)
    assert maintainer.wait_over(behind["run"]["id"])["state"] == "done"
    wait_for(lambda: left_over(training_site) == [], "nothing is left", PATIENCE)
    assert not maintainer.cancel(run)["cancelled"]


def test_what_waits_is_cancelled_too(training_site: Site, maintainer: Maintainer) -> None:
    approve(training_site, 5)
    training_site.trainer.pause()
    try:
        run = maintainer.start()["run"]["id"]
        assert maintainer.cancel(run)["run"]["state"] == "cancelled"
    finally:
        training_site.trainer.resume()
    assert maintainer.run(run)["state"] == "cancelled"


def test_who_may_what(training_site: Site, maintainer: Maintainer, visitor: Visitor) -> None:
    approve(training_site, 5)
    run = maintainer.start()["run"]["id"]
    maintainer.wait_over(run)
    with Maintainer(training_site, "rita", "reviewers") as reviewer:
        for somebody in (visitor, reviewer):
            for path, body in (
                (RUNS, {"kind": "head"}),
                (f"{RUNS}/{run}/cancel", None),
                ("/api/v1/models/1/promote", {"reason": "why not"}),
            ):
                assert somebody.post(path, json=body).status_code == 403, path
            shown = somebody.get(f"{RUNS}/{run}").json()
            assert shown["state"] == "done"
            assert {"log", "requested_by", "cancelled_by"} & set(shown) == set()
            assert all("actor" not in each for each in somebody.get("/api/v1/deployments").json()["deployments"])
        for path in ("trainingrun/", "modelversion/", "policy/1/change/"):
            assert reviewer.get(f"/admin/letters/{path}").status_code == 403
        form = {"csrfmiddlewaretoken": reviewer.cookies["csrftoken"]}
        assert reviewer.post("/admin/letters/trainingrun/start/", data=form).status_code == 403
        assert reviewer.post("/admin/letters/modelversion/1/promote/", data=form).status_code == 403
    forged = maintainer.post(RUNS, json={"kind": "head"}, headers={"X-CSRFToken": "x" * 32})
    refused(forged, 403, "permission_denied")
    assert maintainer.run(run)["requested_by"] == "ada"


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"kind": "none"}, "invalid", "kind"),
        ({"kind": "head", "config": {"epochs": 3}}, "bad_configuration", "config"),
        ({"kind": "head", "config": 3}, "invalid", "config"),
    ],
    ids=str,
)
def test_a_start_that_is_none(maintainer: Maintainer, body: dict[str, Any], code: str, field: str) -> None:
    refused(maintainer.post(RUNS, json=body), 400, code, field)


def test_what_is_not_there(maintainer: Maintainer) -> None:
    nobody = uuid.uuid4()
    refused(maintainer.get(f"{RUNS}/{nobody}"), 404, "not_found")
    refused(maintainer.post(f"{RUNS}/{nobody}/cancel"), 404, "not_found")
    refused(maintainer.promote(999), 404, "not_found")
    refused(maintainer.promote(1, "  "), 400, "invalid", "reason")


def test_from_a_terminal(training_site: Site) -> None:
    approve(training_site, 5)
    done = manage(training_site, "retrain", "--wait", "--by", "grace", "--config", '{"seed": 4}')
    assert done.returncode in (0, 3), done.stderr
    assert "looking for approved drawings" in done.stdout
    (row,) = training_site.rows("SELECT * FROM letters_trainingrun WHERE requested_by = %s", "grace")
    assert (row["trigger"], row["seed"], row["state"]) == ("command", 4, "done")
    again = manage(training_site, "retrain", "--wait", "--config", '{"seed": 4}')
    assert again.returncode == 4
    assert "nothing new to learn from" in again.stderr
    assert manage(training_site, "retrain", "--config", "[]").returncode == 2
    assert "head has no 'epochs'" in manage(training_site, "retrain", "--config", '{"epochs": 1}').stderr
    back = manage(training_site, "promote", "1", "--reason", "the first")
    assert (back.returncode, "model 1" in back.stdout) == (0, True), back.stderr
    assert "no model 999" in manage(training_site, "rollback", "999").stderr


def test_by_the_clock(training_site: Site) -> None:
    """The schedule is the staff's: here every second."""
    approve(training_site, 5)
    training_site.python(
        "import django; django.setup()\n"
        "from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks\n"
        "often, _ = IntervalSchedule.objects.get_or_create(every=1, period='seconds')\n"
        "task = PeriodicTask.objects.get(name='Retrain every night')\n"
        "task.crontab, task.interval = None, often\n"
        "task.save()"
    )
    training_site.beat.start()
    try:
        scheduled = "SELECT * FROM letters_trainingrun WHERE trigger = 'schedule' AND verdict IS NOT NULL"
        (row, *_) = wait_for(lambda: training_site.rows(scheduled), "the run of the schedule", PATIENCE)
    finally:
        training_site.beat.kill()
        training_site.python(
            "import django; django.setup()\n"
            "from django_celery_beat.models import PeriodicTask\n"
            "PeriodicTask.objects.filter(name='Retrain every night').update(enabled=False)"
        )
    assert (row["requested_by"], row["kind"]) == ("the schedule", "head")
    waits = "SELECT id FROM letters_trainingrun WHERE state IN ('queued', 'running')"
    wait_for(lambda: watch(training_site) or not training_site.rows(waits), "nothing waits", PATIENCE)
    assert len(training_site.rows(scheduled)) == 1  # all the other seconds there was nothing new


def test_the_pages_of_the_admin(training_site: Site, maintainer: Maintainer) -> None:
    """Start by the button, see the run, its verdict, the models; all of it within the policy."""
    approve(training_site, 5)
    listed = maintainer.get("/admin/letters/trainingrun/")
    assert "Retrain now" in listed.text
    token = {"csrfmiddlewaretoken": maintainer.cookies["csrftoken"]}
    answer = maintainer.post("/admin/letters/trainingrun/start/", data=token | {"kind": "head", "seed": "9"})
    assert answer.status_code == 302
    page = answer.headers["Location"]
    run = re.search(r"[0-9a-f-]{36}", page)[0]
    found = maintainer.wait_over(run)
    assert (found["trigger"], found["seed"]) == ("button", 9)
    assert found["candidate"], found
    number = found["candidate"]["version"]
    (row,) = training_site.rows("SELECT id FROM letters_modelversion WHERE number = %s", number)
    model = f"/admin/letters/modelversion/{row['id']}/change/"
    for path in (
        "/admin/letters/trainingrun/",
        page,
        "/admin/letters/modelversion/",
        model,
        "/admin/letters/modelversion/1/change/",
        "/admin/letters/policy/1/change/",
        "/admin/letters/deployment/",
    ):
        shown = maintainer.get(path)
        assert shown.status_code == 200, path
        assert policy(shown.headers["Content-Security-Policy"]) == POLICY
        assert inline_code(shown.text) == [], path
    assert "The verdict" in maintainer.get(page).text
    assert "How much is read right" in maintainer.get(model).text
    again = maintainer.post("/admin/letters/trainingrun/start/", data=token | {"kind": "head", "seed": "9"})
    assert again.headers["Location"].endswith("/trainingrun/")
    assert "nothing new to learn from" in maintainer.get(again.headers["Location"]).text
    back = maintainer.post("/admin/letters/modelversion/1/promote/", data=token | {"reason": "by the button"})
    assert back.status_code == 302
    assert "by the button" in maintainer.get("/admin/letters/modelversion/1/change/").text


def test_the_policy_is_set_within_its_limits(training_site: Site, maintainer: Maintainer) -> None:
    page = "/admin/letters/policy/1/change/"
    assert maintainer.get("/admin/letters/policy/").headers["Location"] == page
    form = {
        "csrfmiddlewaretoken": maintainer.cookies["csrftoken"],
        "retrain_after": "0",
        "retrain_kind": "head",
        "contributor_share": "0.2",
        "promote_passed": "on",
        "significance": "0.05",
        "class_loss": "4.5",
        "holdout_minimum": "100",
        "maps_after": "0",
    }
    form |= {f"{kept}_days": "0" for kept in ("rejected", "pending", "drawings", "exports", "models", "log")}
    refusal = maintainer.post(page, data=form | {"contributor_share": "1.5"})
    assert (refusal.status_code, "less than or equal to 1" in refusal.text) == (200, True)
    assert maintainer.post(page, data=form).status_code == 302
    assert training_site.rows("SELECT class_loss FROM letters_policy") == [{"class_loss": 4.5}]
