"""What the serving model makes of kept drawings, and which of them are alike."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from letters import collect, examine, registry, review
from letters.examine import NEAR, Familiarity, label_quality, uncertainty, usefulness
from letters.models import Drawing, Examination, ModelVersion, Serving
from ml import artifact, graft
from ml.familiarity import calibrate
from ml.head import Head
from ml.labels import CLASSES, class_of, index_of
from ml.preprocess import image_from_strokes
from tests.letters.reviewing import a_contributor, a_model, jittered, make_drawing, make_drawings
from tests.letters.visitor import LETTERS, Visitor, Z, scaled
from tests.running import Site, wait_for


@pytest.fixture
def model(db: None, settings: Any, tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    """The shipped model, registered and serving in the test's own database."""
    folder = tmp_path_factory.mktemp("files")
    settings.MEDIA_ROOT = folder / "media"
    settings.MODEL_CACHE_DIR = folder / "cache"
    examine._examiner.cache_clear()  # it names a row of another test's database
    return registry.register_shipped()


@pytest.fixture
def drawn() -> list[dict[str, Any]]:
    """Letters that people drew on a screen: character, writer, strokes."""
    named = Path(os.environ.get("LETTERLOOP_STROKES", ""))
    if not named.is_file():
        pytest.skip("NOT RUN: no drawn letters on this machine; set LETTERLOOP_STROKES to a file of them")
    return [json.loads(line) for line in named.read_text().splitlines()]


def shares(**likely: float) -> np.ndarray:
    """Probabilities of the 37 classes in which these have these shares."""
    rest = (1 - sum(likely.values())) / (len(CLASSES) - len(likely))
    return np.array([likely.get(label, rest) for label in CLASSES], np.float32)


def image_of(strokes: list[list[list[float]]]) -> np.ndarray:
    """On a square canvas that it fits."""
    size = max(200.0, 20 + max(max(point[:2]) for stroke in strokes for point in stroke))
    return image_from_strokes(strokes, (size, size))


# --- How useful ----------------------------------------------------------------------------------------------------


def test_a_label_that_the_model_agrees_with_is_of_quality() -> None:
    qualities = [label_quality(shares(Z=share), index_of("Z")) for share in (0.99, 0.6, 0.3)]
    assert qualities == sorted(qualities, reverse=True)
    assert label_quality(shares(A=0.99), index_of("Z")) < 0.05
    assert label_quality(shares(Z=0.99), index_of("Z")) > 0.95


def test_uncertainty_is_a_share_of_the_most_that_there_can_be() -> None:
    assert uncertainty(np.full(37, 1 / 37, np.float32)) == pytest.approx(1)
    assert uncertainty(np.eye(37, dtype=np.float32)[3]) == 0
    assert 0 < uncertainty(shares(Z=0.9)) < uncertainty(shares(Z=0.5)) < 1


def test_what_teaches_more_is_more_useful() -> None:
    """Each sign by itself: a label that the model doubts, a model that is unsure, a shape that it does not know."""
    label = index_of("Z")
    agreed = usefulness(shares(Z=0.95), label, 0.2)
    assert usefulness(shares(A=0.95), label, 0.2) > agreed + 0.4
    assert usefulness(shares(Z=0.5), label, 0.2) > agreed
    assert usefulness(shares(Z=0.95), label, 0.9) > agreed + 0.1
    for probabilities in (shares(Z=1.0), shares(A=1.0), np.full(37, 1 / 37, np.float32)):
        for strange in (0.0, 1.0):
            assert 0 <= usefulness(probabilities, label, strange) <= 1


def test_distance_is_judged_by_the_reference_itself() -> None:
    chance = np.random.default_rng(0)
    reference, unseen, alike = (chance.normal(10, 1, size=(600, 16)).astype(np.float32) for _ in range(3))
    familiarity = Familiarity(calibrate(unseen, reference), reference)
    strange = reference[:20] * np.where(np.arange(16) % 2, -1, 1).astype(np.float32)
    assert (familiarity.distances(alike) > 1).mean() == pytest.approx(0.05, abs=0.04)
    assert familiarity.distances(strange).min() > 1
    assert familiarity.shares(familiarity.distances(alike)).mean() == pytest.approx(0.5, abs=0.1)
    assert familiarity.shares(familiarity.distances(strange)).min() == 1


@pytest.mark.strokes
def test_wrong_labels_come_first(model: ModelVersion, drawn: list[dict[str, Any]]) -> None:
    """A tenth of what people drew is given another label: all of those lie in the first quarter of the queue."""
    chance = np.random.default_rng(0)
    some = drawn[::4]
    examiner = examine._examiner(model.digest)
    readings = [examiner.predictor.predict(image_of(each["strokes"])) for each in some]
    known = examiner.familiarity
    strange = known.shares(known.distances(np.array([each.features for each in readings])))
    labels = np.array([index_of(class_of(each["character"])) for each in some])
    wrong = chance.random(len(some)) < 0.1
    labels[wrong] = (labels[wrong] + chance.integers(1, 37, wrong.sum())) % 37
    useful = [
        usefulness(reading.probabilities, int(label), float(share))
        for reading, label, share in zip(readings, labels, strange, strict=True)
    ]
    places = np.argsort(np.argsort(-np.array(useful)))[wrong] / len(some)
    print(f"{wrong.sum()} wrong labels of {len(some)} lie in the first {places.max():.1%} of the queue")
    assert places.max() < 0.25


# --- What is alike -------------------------------------------------------------------------------------------------


@pytest.mark.strokes
def test_the_bound_of_near_duplicates(drawn: list[dict[str, Any]]) -> None:
    """The same letter again, a little moved and larger or smaller, is below it; other people's letters are not."""
    chance = np.random.default_rng(0)
    images = np.stack([image_of(each["strokes"]) for each in drawn]).astype(np.int16)
    again = np.stack(
        [
            image_of(scaled(each["strokes"], *moved))
            for each, moved in zip(
                drawn, chance.uniform((0.9, 0, 0), (1.1, 60, 60), (len(drawn), 3)).tolist(), strict=True
            )
        ]
    )
    found = np.mean(np.abs(images - again).mean(axis=(1, 2)) < NEAR)
    labels, writers = (np.array([each[name] for each in drawn]) for name in ("character", "writer"))
    alike = 0
    for number, image in enumerate(images):
        others = images[(labels == labels[number]) & (writers != writers[number])]
        alike += int((np.abs(others - image).mean(axis=(1, 2)) < NEAR).sum())
    of_others = alike / (len(drawn) * 24)
    print(f"found again: {found:.1%}; other people's letters of the same kind: {of_others:.2%}")
    assert found > 0.97
    assert of_others < 0.005


def test_an_exact_duplicate_is_marked_on_arrival(model: ModelVersion) -> None:
    first = make_drawing()
    for contributor in (first.contributor, a_contributor()):
        again = Drawing(contributor=contributor, image=first.image, image_hash=first.image_hash)
        examine.mark_exact(again)
        assert (again.duplicate_of_id, again.likeness) == (first.pk, "exact")
    other = Drawing(image_hash="0" * 64)
    examine.mark_exact(other)
    assert (other.duplicate_of_id, other.likeness) == (None, "")


def test_near_duplicates_are_found_among_ones_own_and_among_the_class(model: ModelVersion) -> None:
    first = make_drawing(Z)
    own = make_drawing(jittered(Z, 1, 1.0), "L", contributor=first.contributor)  # under another letter
    others = make_drawing(jittered(Z, 2, 1.0), "z")
    different = make_drawing(LETTERS["V"], "Z")
    elsewhere = make_drawing(jittered(LETTERS["V"], 3, 1.0), "A")  # of another class by somebody else
    assert examine.examine([each.pk for each in (first, own, others, different, elsewhere)]) == 5
    found = dict(Drawing.objects.values_list("pk", "likeness"))
    assert found == {first.pk: "", own.pk: "near", others.pk: "near", different.pk: "", elsewhere.pk: ""}
    assert Drawing.objects.get(pk=own.pk).duplicate_of == first


def test_a_copy_teaches_little_unless_its_letter_is_another(model: ModelVersion) -> None:
    make_drawing(Z, "Z")
    same, other = make_drawing(Z, "z"), make_drawing(Z, "A")
    examine.examine([same.pk, other.pk])
    same.refresh_from_db()
    other.refresh_from_db()
    assert (same.likeness, other.likeness) == ("exact", "exact")
    assert same.usefulness < 0.1
    assert other.usefulness > 0.5


def test_what_is_compared_is_bounded(model: ModelVersion) -> None:
    """However many there are, a drawing is compared with so many images and asks so often."""
    make_drawings(30)
    with CaptureQueriesContext(connection) as few:
        examine.examine([make_drawing(jittered(Z, 99)).pk])
    contributor = a_contributor()
    make_drawings(350, contributor=contributor, label="Z")
    last = make_drawing(jittered(Z, 999, 30), contributor=contributor)
    with CaptureQueriesContext(connection) as many:
        examine.examine([last.pk])
    compared = dict(examine._to_compare(last, Drawing.objects.exclude(pk=last.pk).order_by("-created_at")))
    assert len(compared) <= examine.OWN_COMPARED + 2 * examine.CLASS_COMPARED
    assert len(many) <= len(few) + 1


def test_a_withdrawn_original_leaves_no_mark_that_leads_nowhere(model: ModelVersion) -> None:
    first, again = make_drawing(), make_drawing()
    examine.examine([again.pk])
    first.delete()
    examine.examine([again.pk])
    again.refresh_from_db()
    assert (again.duplicate_of, again.likeness) == (None, "")


# --- Examine -------------------------------------------------------------------------------------------------------


def test_it_works(model: ModelVersion) -> None:
    drawing = make_drawing(LETTERS["L"], "L")
    assert examine.examine([drawing.pk]) == 1
    noted = Examination.objects.get()
    assert (noted.drawing, noted.model, noted.predicted) == (drawing, model, "L")
    assert 0.5 < noted.label_probability == noted.probability <= 1
    assert 0 < noted.unfamiliarity < 10
    assert noted.trunk == artifact.trunk_of(artifact.SHIPPED)
    features = np.frombuffer(noted.features, "<f2")
    assert features.shape == (128,)
    assert Drawing.objects.get().usefulness < 0.5


def test_it_is_done_once_more_after_another_label(model: ModelVersion) -> None:
    drawing = make_drawing(LETTERS["L"], "L")
    examine.examine([drawing.pk])
    Drawing.objects.update(label="A")
    examine.examine([drawing.pk])
    assert Examination.objects.get().label_probability < 0.1
    assert Drawing.objects.get().usefulness > 0.5


def test_the_model_is_the_one_that_serves(model: ModelVersion) -> None:
    drawing, other = make_drawing(), make_drawing(LETTERS["L"], "L", state="approved")
    assert examine.unexamined(9) == [drawing.pk, other.pk]  # what waits for review comes first
    assert examine.unexamined(1) == [drawing.pk]
    examine.examine([drawing.pk, other.pk])
    assert examine.unexamined(9) == []
    Examination.objects.filter(drawing=other).update(model=a_model(9))
    Drawing.objects.filter(pk=other.pk).update(examined_by=a_model(9))
    assert examine.unexamined(9) == [other.pk]


@pytest.fixture
def refitted(model: ModelVersion, tmp_path: Path) -> Callable[[], ModelVersion]:
    """Has a version serve that differs from the shipped one in its last layer alone: what was read as L is a T now."""

    def serve() -> ModelVersion:
        old, order = artifact.load_head(artifact.SHIPPED), np.arange(37)
        order[[index_of("L"), index_of("T")]] = index_of("T"), index_of("L")
        new, folder = Head(old.kernel[:, order], old.bias[order]), tmp_path / "refitted"
        with artifact.made_whole(folder) as aside:
            for name in {*artifact.FILES} - {"smoke.json"}:
                shutil.copyfile(artifact.SHIPPED / name, aside / name)
            (aside / "model.tflite").write_bytes(graft.into_litert((aside / "model.tflite").read_bytes(), old, new))
            artifact.write_head(aside, new)
        version = registry.register(folder, name="Refitted", origin="trained")
        Serving.objects.update(model=version)
        return version

    return serve


def test_another_head_reads_the_features_that_were_noted(
    refitted: Callable[[], ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After such a promotion all is read again at once, without an image being looked at."""
    drawings = [*make_drawings(40), make_drawing(LETTERS["L"], "L"), make_drawing(LETTERS["L"], "L")]
    examine.examine([each.pk for each in drawings])
    before = {each.drawing_id: each for each in Examination.objects.select_related("drawing")}
    version = refitted()
    monkeypatch.setattr("ml.predictor.Predictor.predict", None)  # it cannot be called
    assert len(examine.unexamined(20)) == 20
    assert examine.examine(examine.unexamined(20)) == 20
    assert examine.unexamined(99) == []
    swapped = {"L": "T", "T": "L"}
    for now in Examination.objects.select_related("drawing"):
        was = before[now.drawing_id]
        assert (now.model, now.predicted) == (version, swapped.get(was.predicted, was.predicted))
        assert now.probability == pytest.approx(was.probability, abs=1e-2)
        assert (now.features, now.trunk) == (was.features, was.trunk)
        assert now.unfamiliarity == pytest.approx(was.unfamiliarity, abs=0.01)
        assert now.drawing.duplicate_of_id == was.drawing.duplicate_of_id
    first, copy = (Drawing.objects.get(pk=each.pk) for each in (drawings[0], drawings[-1]))
    assert first.usefulness > before[first.pk].drawing.usefulness + 0.4  # its label and the model disagree now
    assert copy.likeness == "exact"
    assert before[copy.pk].drawing.usefulness < copy.usefulness <= examine.OF_A_COPY


def test_other_layers_look_at_the_image_again(refitted: Callable[[], ModelVersion]) -> None:
    drawing = make_drawing(LETTERS["L"], "L")
    examine.examine([drawing.pk])
    Examination.objects.update(trunk="0" * 64, features=np.zeros(128, "<f2").tobytes())
    refitted()
    examine.examine([drawing.pk])
    noted = Examination.objects.get()
    assert noted.trunk == artifact.trunk_of(artifact.SHIPPED)
    assert np.frombuffer(noted.features, "<f2").any()


def test_so_many_are_read_again_at_once(refitted: Callable[[], ModelVersion], monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions wait for the same worker meanwhile."""
    monkeypatch.setattr(examine, "READ_AGAIN_AT_ONCE", 3)
    examine.examine([each.pk for each in make_drawings(7)])
    refitted()
    left = []
    for _ in range(4):
        left.append(len(examine.unexamined(99)))
        examine.examine([])
    assert left == [7, 4, 1, 0]


@pytest.mark.django_db
def test_without_a_model_nothing_is_examined() -> None:
    drawing = make_drawing()
    assert examine.unexamined(9) == []
    assert examine.examine([drawing.pk]) == 0


def test_what_was_withdrawn_meanwhile_is_left_out(model: ModelVersion) -> None:
    gone, kept = make_drawing(), make_drawing(LETTERS["L"], "L")
    both = list(Drawing.objects.order_by("created_at"))
    gone.delete()
    assert len(examine._examine(both, model.digest)) == 2  # it had been read before
    assert [each.drawing for each in Examination.objects.all()] == [kept]
    assert examine.examine([gone.pk, uuid.uuid4()]) == 0


def test_features_come_in_the_order_asked_for(model: ModelVersion) -> None:
    drawings = make_drawings(5)
    examine.examine([each.pk for each in drawings[:2]])
    marked = np.full(128, 7, np.float32)
    Examination.objects.filter(drawing=drawings[1]).update(features=marked.astype("<f2").tobytes())
    found = examine.features_of(drawings[::-1], model.digest)
    assert found.shape == (5, 128)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[3], marked)  # noted by the same layers: taken as it stands
    assert Examination.objects.count() == 5
    Examination.objects.filter(drawing=drawings[1]).update(trunk="0" * 64)
    assert not np.array_equal(examine.features_of(drawings[::-1], model.digest)[3], marked)
    assert examine.features_of([], model.digest).shape == (0, 128)


# --- On arrival ----------------------------------------------------------------------------------------------------


EXAMINED = """
SELECT d.likeness, e.predicted FROM letters_drawing d JOIN letters_examination e ON e.drawing_id = d.id WHERE d.id = %s
"""


def examined(site: Site, kept: dict[str, Any]) -> dict[str, Any]:
    """What stands in the database once a worker has looked at a drawing."""
    (row,) = wait_for(lambda: site.rows(EXAMINED, uuid.UUID(kept["id"])), "it is examined", 30)
    return row


def test_a_kept_drawing_is_examined_by_the_worker(site: Site, visitor: Visitor) -> None:
    visitor.keep(character="z")
    again = visitor.keep(character="z", key="once-more")
    assert examined(site, again) == {"likeness": "exact", "predicted": "Z"}


@pytest.mark.slow
def test_a_broker_that_is_down_costs_the_visitor_nothing(
    frail_site: Site, frail_visitor: Callable[[], Visitor]
) -> None:
    """The drawing is kept all the same, and examined once whoever looks for what was left undone comes by."""
    visitor = frail_visitor()
    token = visitor.predict()["token"]
    assert frail_site.redis
    frail_site.redis.kill()
    try:
        kept = visitor.keep(token=token)
    finally:
        frail_site.redis.start()
    frail_site.wait_until_ready()
    assert frail_site.rows(EXAMINED, uuid.UUID(kept["id"])) == []
    frail_site.python("import django; django.setup(); from letters import tasks; tasks.watch.delay()")
    assert examined(frail_site, kept)["predicted"] == "Z"


def test_the_mark_is_made_as_a_drawing_is_kept(model: ModelVersion, settings: Any) -> None:
    settings.QUOTAS = dict.fromkeys(settings.QUOTAS)
    reading = collect.Reading("Z", 0.9, {}, (0, 0), [], {"score": 0.5, "known": True}, model)
    token = collect.make_token(reading, fingerprint=collect.fingerprint_of(Z, 200, 200), contributor=uuid.uuid4())
    facts = {"strokes": Z, "width": 200, "height": 200, "character": "z", "token": token, "consent": True}
    facts |= {"network": "somewhere"}
    first, again = (collect.keep_drawing(**facts, idempotency_key=key).drawing for key in ("one-of-two", "two-of-two"))
    assert (first.likeness, again.likeness, again.duplicate_of) == ("", "exact", first)


def test_the_queue_is_ordered_by_it(model: ModelVersion) -> None:
    right, wrong = make_drawing(LETTERS["L"], "L"), make_drawing(LETTERS["T"], "Q")
    fresh = make_drawing(LETTERS["X"], "X")
    examine.examine([right.pk, wrong.pk])
    assert list(review.queue()) == [fresh, wrong, right]  # what was not examined yet may be anything
