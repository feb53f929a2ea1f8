from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from letters import model_facts, registry
from letters.models import Deployment, Drawing, Examination, ModelVersion, Serving, TrainingRun
from ml import artifact
from ml.evaluate import evaluate
from ml.labels import CLASS_COUNT, CLASSES
from tests.letters.collected import a_drawing
from tests.letters.test_pages import inline_code

NOW = timezone.now()
STAFF = "ada-of-the-staff"
NEW_KEYS = ("top2", "intervals", "classes", "matrix", "calibration")
VERDICT = {
    "passed": True,
    "summary": "Passed: +0.10 points on EMNIST.",
    "reasons": [],
    "tests": [
        {"name": "accuracy", "set": "emnist", "passed": True, "words": "It reads 8 more.", "numbers": {"count": 7400}},
        {"name": "recall", "set": "collected", "passed": None, "words": "There are no collected letters yet."},
    ],
}
Page = str

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _private(settings: Any, tmp_path: Path) -> Iterator[None]:
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MODEL_CACHE_DIR = tmp_path / "cache"
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    yield
    for cached in (model_facts._measure, model_facts._stored, model_facts._card):
        cached.cache_clear()


@lru_cache
def measured(seed: int = 0, count: int = 740) -> dict[str, Any]:
    """The test of a model that is made up: right nine times in ten, and as sure as it is right."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASS_COUNT
    read = np.where(random.random(count) < 0.9, labels, random.integers(0, CLASS_COUNT, count))
    probabilities = np.full((count, CLASS_COUNT), 0.1 / (CLASS_COUNT - 1))
    probabilities[np.arange(count), read] = 0.9
    return evaluate(probabilities, labels)


def a_version(number: int, **changes: Any) -> ModelVersion:
    """A version with figures, whose artefact is nowhere."""
    fields: dict[str, Any] = {
        "digest": hashlib.sha256(str(number).encode()).hexdigest(),
        "name": f"Number {number}",
        "origin": "trained",
        "metrics": {"dataset": "open37", "test": measured(number), "history": []},
    }
    return ModelVersion.objects.create(number=number, **fields | changes)


def serve(version: ModelVersion, *, days_ago: float, actor: str = STAFF, reason: str = "", **changes: Any) -> None:
    """Let a version serve since then, as the registry records it."""
    before = Serving.objects.select_related("model").first()
    row = Deployment.objects.create(
        previous=before.model if before else None, model=version, actor=actor, reason=reason or "because", **changes
    )
    Deployment.objects.filter(pk=row.pk).update(created_at=NOW - timedelta(days=days_ago))
    Serving.objects.update_or_create(id=1, defaults={"model": version})


def a_run(candidate: ModelVersion, champion: ModelVersion, **changes: Any) -> TrainingRun:
    fields: dict[str, Any] = {
        "kind": "head",
        "trigger": "schedule",
        "requested_by": STAFF,
        "cancel_requested_by": STAFF,
        "log": f"asked for by {STAFF}",
        "state": "done",
        "outcome": "promoted",
        "drawing_count": 3,
        "counts": {"A": 2, "q": 1},
        "verdict": VERDICT,
    }
    return TrainingRun.objects.create(candidate=candidate, champion=champion, **fields | changes)


def shown(path: str, client: Client | None = None) -> Page:
    """The words of a page that is in order, and its marks."""
    response = (client or Client()).get(path)
    assert response.status_code == 200, path
    page = response.content.decode()
    assert inline_code(page) == []
    assert client is not None or STAFF not in page.lower()
    return page


def words(page: Page) -> str:
    """What a reader sees, spaces in one."""
    seen = re.sub(r"<(script|title)\b.*?</\1>|</(?:td|th|li|p|div|h2)>", " ", page, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", "", seen)).split())


# --- Every state -----------------------------------------------------------------------------------------------------


def test_it_works() -> None:
    """A fresh site: one version, which shipped."""
    version = registry.register_shipped()
    page = shown("/model/")
    said = words(page)
    assert "Model 1 It serves since" in said
    assert "The set-up decided so: “first model”" in said
    assert f"{100 * version.metrics['test']['accuracy']:.2f} % right" in said
    assert "No gate judged it" in said
    assert "None." in said  # drawings that it learned from
    assert "A reader of handwritten letters" in said  # its card
    assert "There is no approved letter here" in said
    assert version.digest[:32] in said
    assert page.count('class="chart') + page.count("card chart") >= 3  # how sure, and two curves of its training
    assert "/model/compare/" not in page
    assert words(shown("/model/1/")).startswith(said[:40])
    assert "There is nothing to compare yet" in shown("/model/compare/")


def test_what_an_old_artefact_lacks_is_computed_from_its_features() -> None:
    version = registry.register_shipped()
    test = version.metrics["test"]
    old = {name: value for name, value in test.items() if name not in NEW_KEYS}
    ModelVersion.objects.filter(pk=version.pk).update(metrics=version.metrics | {"test": old})
    page = shown("/model/")
    assert "computed here, from the features" in page
    config = json.loads(re.search(r'id="matrix-config"[^>]*>(.*?)</script>', page)[1])
    assert sum(map(sum, config["matrix"])) == test["count"] == 7400
    right = sum(row[at] for at, row in enumerate(config["matrix"])) / 7400
    assert right == pytest.approx(test["accuracy"], abs=3e-4)  # the stored features are rounded
    found = Client().get("/api/v1/models/1").json()["metrics"]
    assert set(NEW_KEYS) <= set(found["test"])
    assert found["test"]["accuracy"] == test["accuracy"]


def test_what_was_not_measured_is_said_to_be() -> None:
    """Neither the figures are noted, nor can the artefact be had."""
    version = a_version(1, metrics={})
    serve(version, days_ago=1)
    said = words(shown("/model/"))
    assert said.count("Not measured for this version") == 3
    for missing in (
        "Which classes it reads worst was not measured",
        "The whole matrix was not measured",
        "The figures of each class were not measured",
        "How far its confidence can be believed was not measured",
        "No training curves were noted",
        "The card cannot be had just now",
        "Which dataset it was is not noted",
        "No verdict is noted",
    ):
        assert missing in said
    assert Client().get("/api/v1/models/1").json()["metrics"]["test"] == {}


def test_an_artefact_of_before_intervals_shows_what_it_has() -> None:
    test = {name: value for name, value in measured().items() if name not in NEW_KEYS}
    serve(a_version(1, metrics={"dataset": "open37", "test": test}), days_ago=1)
    said = words(shown("/model/"))
    assert f"{100 * test['accuracy']:.2f} % right" in said
    assert "Its interval was not measured" in said
    assert "Precision and F1 were not measured" in said
    first = test["confusions"][0]
    assert f"{first['label']} read as {first['read_as']} {first['count']}" in said


def test_no_model_serves() -> None:
    assert "No model serves yet" in shown("/model/")
    assert "There is nothing to compare yet" in shown("/model/compare/")


@pytest.mark.parametrize("path", ["/model/7/", "/api/v1/models/7", "/model/compare/?a=7", "/model/compare/?b=one"])
def test_what_there_is_none_of(path: str) -> None:
    for number in (1, 2):
        a_version(number)
    assert Client().get(path).status_code == 404
    assert Client().get(f"/model/{10**40}/").status_code == 404


@pytest.mark.parametrize("path", ["/model/", "/model/1/", "/model/compare/"])
def test_a_page_takes_nothing(path: str) -> None:
    a_version(1)
    assert Client().post(path).status_code == 405


# --- When it served, and why -----------------------------------------------------------------------------------------


def test_a_roll_back_is_shown() -> None:
    one, two = a_version(1), a_version(2, config={"parent": hashlib.sha256(b"1").hexdigest()})
    serve(one, days_ago=9, actor="setup", reason="first model")
    serve(two, days_ago=5, reason="Passed: more.", run=a_run(two, one))
    serve(one, days_ago=1, reason="it reads q worse")
    home = words(shown("/model/"))
    assert "Model 1 again, in place of 2 · it serves A maintainer: “it reads q worse”" in home
    assert "Model 2 after 1 · for 4 days The gate, after a training that the schedule started: “P" in home
    assert "The set-up: “first model”" in home
    second = words(shown("/model/2/"))
    assert "Model 2 It served from" in second
    assert "The gate, after a training that the schedule started had decided so: “Passed: more.”" in second
    assert words(shown("/model/1/")).count("It serves since") == 1


@pytest.mark.parametrize(
    ("trigger", "who"),
    [
        ("schedule", "that the schedule started"),
        ("count", "that enough new drawings started"),
        ("button", "that a maintainer started"),
    ],
)
def test_who_let_it_serve(trigger: str, who: str) -> None:
    one, two = a_version(1), a_version(2)
    serve(one, days_ago=2)
    serve(two, days_ago=1, run=a_run(two, one, trigger=trigger))
    assert f"The gate, after a training {who} decided so" in words(shown("/model/"))


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("refused", "It never served: the gate refused it."),
        ("passed", "It has not served: it passed the gate, and waits for a maintainer."),
    ],
)
def test_a_version_that_never_served(outcome: str, said: str) -> None:
    one, two = a_version(1), a_version(2)
    serve(one, days_ago=1)
    passed = outcome == "passed"
    a_run(two, one, outcome=outcome, verdict=VERDICT | {"passed": passed, "summary": "The sum of it."})
    page = shown("/model/2/")
    assert said in words(page)
    assert "The sum of it." in page
    assert f'data-passed="{"yes" if passed else "no"}"' in page
    assert ("Why it may serve, or not" in page) is not passed


def test_the_verdict_is_told_test_by_test() -> None:
    one, two = a_version(1), a_version(2)
    a_run(two, one)
    said = words(shown("/model/2/"))
    assert "compared it with model 1, which served then" in said
    assert "Pass How much is read right on EMNIST It reads 8 more." in said
    assert "Too small to say Each class by itself on what held-out contributors drew" in said


def test_what_it_learned_from() -> None:
    one = a_version(1, origin="shipped")
    two = a_version(2, config={"parent": one.digest})
    three = a_version(3, config={"parent": two.digest})
    a_run(three, two)
    page = shown("/model/3/")
    said = words(page)
    assert "Letters drawn here. 3 approved drawings" in said
    assert "Its last layer alone was fitted anew" in said
    assert "From model 2, that from model 1." in said
    bars = re.findall(r"<li( class=\"none\")?><span class=\"glyph\">(\w)</span>.*?<small>(\d+)</small>", page)
    assert {label: int(count) for _, label, count in bars} == dict.fromkeys(CLASSES, 0) | {"A": 2, "q": 1}
    a_run(two, one, kind="full", config={"mode": "finetune"})
    assert "All layers of its parent were trained further" in words(shown("/model/2/"))


# --- Nothing private -------------------------------------------------------------------------------------------------


def examined(drawing: Drawing, model: ModelVersion, predicted: str) -> None:
    Examination.objects.create(
        drawing=drawing,
        model=model,
        predicted=predicted,
        probability=0.75,
        label_probability=0.1,
        unfamiliarity=1.0,
        trunk="t",
        features=b"",
    )


def test_only_approved_letters_are_shown() -> None:
    """As the serving version reads them now, and as an earlier one read them while it served."""
    one, two = a_version(1), a_version(2)
    serve(two, days_ago=1)
    right, wrong = a_drawing("Z", model=one), a_drawing("L", model=one, predicted="Z")
    hidden = [a_drawing("T", model=one, state=state) for state in ("pending", "rejected")]
    for drawing in (right, *hidden):
        examined(drawing, two, drawing.label)
    examined(wrong, two, "T")
    now, then = shown("/model/2/"), shown("/model/1/")
    for page in (now, then):
        assert set(re.findall(r'src="/samples/([^"]+)\.png"', page)) == {str(right.pk), str(wrong.pk)}
    assert "Of 2 approved letters it reads 1 right. It may have learned" in words(now)
    assert "L read as T, 75 % sure" in words(now)
    assert "Of 2 approved letters that were drawn while it served it read 1 right" in words(then)
    assert "L read as Z" in words(then)
    Drawing.objects.filter(pk=wrong.pk).update(state="rejected")
    assert str(wrong.pk) not in shown("/model/2/") + shown("/model/1/")
    assert "None of them is read wrong" in shown("/model/2/")


def test_imported_letters_are_none_that_it_read_while_it_served() -> None:
    one = a_version(1)
    a_drawing("Z", model=one, source="import")
    assert "There is no approved letter here" in shown("/model/1/")


def test_no_name_of_the_staff_is_said() -> None:
    """Nor in the API; `shown` looks at every page of these tests."""
    one, two = a_version(1), a_version(2)
    serve(one, days_ago=2)
    serve(two, days_ago=1, run=a_run(two, one, message=f"cancelled by {STAFF}"))
    for path in ("/model/", "/model/1/", "/model/2/", "/model/compare/", "/api/v1/models/2"):
        assert STAFF not in Client().get(path).content.decode().lower()


def test_staff_find_the_way_to_the_admin_and_back() -> None:
    version = a_version(1)
    serve(version, days_ago=1)
    admin = f"/admin/letters/modelversion/{version.pk}/change/"
    somebody = Client()
    somebody.force_login(User.objects.create_user(STAFF, is_staff=True))
    assert admin not in shown("/model/", somebody)
    chief = Client()
    chief.force_login(User.objects.create_superuser("chief"))
    assert admin in shown("/model/", chief)
    assert "/model/1/" in chief.get(admin).content.decode()
    assert admin not in shown("/model/")


# --- Two versions ----------------------------------------------------------------------------------------------------


def in_the_cache(folder: Path, *, shift: float) -> str:
    """The digest of an artefact that is on this machine: the shipped one, but it is surer of I than that."""
    shutil.copytree(artifact.SHIPPED, folder / "made")
    head = artifact.load_head(artifact.SHIPPED)
    bias = head.bias.copy()
    bias[CLASSES.index("I")] += shift
    np.savez(folder / "made" / "head.npz", kernel=head.kernel, bias=bias)
    manifest = json.loads((folder / "made" / "manifest.json").read_text())
    manifest["files"]["head.npz"] = hashlib.sha256((folder / "made" / "head.npz").read_bytes()).hexdigest()
    (folder / "made" / "manifest.json").write_text(json.dumps(manifest))
    digest = artifact.digest_of(folder / "made")
    (folder / "made").rename(folder / digest)
    return digest


@pytest.fixture
def two_artefacts(settings: Any) -> tuple[ModelVersion, ModelVersion]:
    """The shipped one as model 1, and one that takes much for an I as model 2; both can be had."""
    settings.MODEL_CACHE_DIR.mkdir(parents=True)
    metrics = artifact.read_json(artifact.SHIPPED, "metrics.json")
    first = in_the_cache(settings.MODEL_CACHE_DIR, shift=0.0)
    second = in_the_cache(settings.MODEL_CACHE_DIR, shift=4.0)
    metrics["test"] = {"count": 7400}
    return a_version(1, digest=first, metrics=metrics), a_version(2, digest=second, metrics=metrics)


def test_two_are_compared_letter_by_letter(two_artefacts: tuple[ModelVersion, ModelVersion]) -> None:
    page = shown("/model/compare/?a=1&b=2")
    said = words(page)
    found = model_facts.compare(*two_artefacts)
    assert found is not None
    assert found.count == 7400
    assert found.first_alone > found.second_alone + 50
    assert f"{found.first_alone} only model 1 reads right, {found.second_alone} only model 2." in said
    assert "Model 1 is better: were they equally good" in said
    assert "fewer than 1 of 1,000 comparisons" in said
    assert re.search(r"L read as I \d+ to \d+", said)
    a, b = (model_facts.metrics_of(each)["test"] for each in two_artefacts)
    assert f"Right {100 * a['accuracy']:.2f}" in said
    assert f"\N{MINUS SIGN}{100 * (a['accuracy'] - b['accuracy']):.2f}" in said
    turned = words(shown("/model/compare/?a=2&b=1"))
    assert "Model 1 is better" in turned
    assert f"{found.second_alone} only model 2 reads right, {found.first_alone} only model 1." in turned


def test_two_that_read_alike(two_artefacts: tuple[ModelVersion, ModelVersion]) -> None:
    one, _ = two_artefacts
    assert "These are one and the same version" in shown("/model/compare/?a=1&b=1")
    twin = model_facts.compare(one, one)
    assert twin is not None
    assert (twin.first_alone, twin.second_alone, twin.p) == (0, 0, 1.0)


def test_two_that_cannot_be_compared_stand_side_by_side() -> None:
    a_version(1)
    a_version(2, metrics={"dataset": "another", "test": measured(2)})
    a_version(3, metrics={})
    said = words(shown("/model/compare/?a=1&b=2"))
    assert "The two cannot be compared letter by letter" in said
    assert f"Right {100 * measured(1)['accuracy']:.2f} %" in said
    assert "Which mistakes changed most" in said
    missing = words(shown("/model/compare/?a=1&b=3"))
    assert "not measured" in missing
    assert "What is read as what was not measured for both" in missing


def test_without_a_choice_the_serving_one_is_compared_with_the_one_before() -> None:
    for number in (1, 2, 3):
        version = a_version(number)
        if number == 2:
            serve(version, days_ago=1)
    assert "<h1>Model 1 and model 2</h1>" in shown("/model/compare/")


# --- The figures -----------------------------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_metrics() -> None:
    serve(a_version(1), days_ago=1)
    test = measured(1)
    page = shown("/model/")
    said = words(page)
    for name in ("accuracy", "folded_accuracy", "top2"):
        low, high = (f"{100 * each:.1f}" for each in test["intervals"][name])
        assert f"{100 * test[name]:.2f} %" in said
        assert f"By chance of which letters were asked: {low} to {high} %" in said
    cells = re.findall(
        r'<rect class="(hit|miss)" x="(\d+)" y="(\d+)".*?<title>(\S+) read as (\S+), (\d+) of (\d+)', page
    )
    assert len(cells) == sum(count > 0 for row in test["matrix"] for count in row)
    for kind, column, row, label, read_as, count, total in cells:
        assert (label, read_as) == (CLASSES[int(row)], CLASSES[int(column)])
        assert test["matrix"][int(row)][int(column)] == int(count)
        assert int(total) == sum(test["matrix"][int(row)])
        assert (kind == "hit") is (label == read_as)
    sure = round(100 * next(each for each in test["calibration"]["bins"] if each["count"])["confidence"])
    assert f"When it says about {sure} %, it is right in {round(100 * test['accuracy'])} of 100." in said


def test_how_well_it_tells_what_is_no_letter() -> None:
    known = {
        "letters_refused": 0.05,
        "scribbles_refused": 0.81,
        "kinds": {"zigzag": 0.9, "blot": 0.72, "ring_of_noise": 0.6},
    }
    serve(a_version(1, metrics={"test": measured(), "familiarity": known}), days_ago=1)
    said = words(shown("/model/"))
    assert "Of scribbles that are no letter it says so of 81 %" in said
    assert "zigzag 90 %" in said
    assert "ring of noise 60 %" in said


def test_the_api_gives_all_figures() -> None:
    one = a_version(1)
    two = a_version(2, config={"parent": one.digest})
    serve(two, days_ago=1)
    found = Client().get("/api/v1/models/2").json()
    assert (found["version"], found["serving"], found["parent"]["version"]) == (2, True, 1)
    assert found["metrics"]["test"] == measured(2)
    assert Client().get("/api/v1/models/1").json()["parent"] is None


def test_pages_lead_to_it() -> None:
    serve(a_version(1), days_ago=1)
    page = shown("/about")
    assert re.search(r'<nav aria-label="Main">.*href="/model/".*</nav>', page, re.S)
    assert re.search(r'class="tally">[^<]*<a href="/model/">model 1', page)


# --- With many -------------------------------------------------------------------------------------------------------


def many(count: int) -> None:
    """So many versions, each of which served once."""
    versions = [a_version(number + 1) for number in range(count)]
    for at, version in enumerate(versions):
        serve(version, days_ago=count - at)


def queries(path: str) -> int:
    with CaptureQueriesContext(connection) as seen:
        shown(path)
    return len(seen)


@pytest.mark.parametrize("path", ["/model/", "/model/2/", "/model/compare/?a=1&b=2", "/api/v1/models/2"])
def test_fifty_versions_cost_no_more_queries_than_three(path: str) -> None:
    many(3)
    few = queries(path)
    for number in range(4, 51):
        serve(a_version(number), days_ago=1 / number)
    assert queries(path) == few
    assert few <= 12


def test_fifty_versions_are_shown_quickly() -> None:
    """In processor time, so that a busy machine does not matter: 0.3 s at most."""
    many(50)
    took = []
    for _ in range(4):
        began = time.process_time()
        shown("/model/")
        took.append(time.process_time() - began)
    assert min(took) < 0.3
