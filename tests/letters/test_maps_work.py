"""The making of maps, step by step: made once, whole or not at all, with what is approved and nothing else."""

from __future__ import annotations

import base64
import gzip
import io
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import Group, User
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from letters import (
    collect,
    emnist_images,
    errors,
    map_files,
    map_sample,
    map_work,
    maps,
    placing,
    registry,
    review,
    tasks,
)
from letters.models import Drawing, Examination, LetterMap, MapPoint, ModelVersion, Policy, Serving
from ml import artifact, embed
from ml.labels import index_of
from tests.letters.collected import a_drawing
from tests.letters.mapping import decode
from tests.letters.training import tiny_archive
from tests.ml.conftest import emnist_archive

__all__ = ["emnist_archive"]  # a fixture

pytestmark = pytest.mark.django_db
SAMPLE = 370
Committed = Callable[..., Any]


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine that has the shipped model at hand."""
    folder = tmp_path_factory.mktemp("models")
    (folder / artifact.digest_of(artifact.SHIPPED)).symlink_to(artifact.SHIPPED)
    return folder


@pytest.fixture
def model(settings: Any, tmp_path: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelVersion]:
    """A small site: the shipped model serves, there is no archive, a map shows few letters."""
    settings.MEDIA_ROOT, settings.MODEL_CACHE_DIR, settings.MAP_SAMPLE = tmp_path / "media", model_cache, SAMPLE
    monkeypatch.setenv("EMNIST_ARCHIVE", str(tmp_path / "none.zip"))
    monkeypatch.setattr(map_work, "PULSE", 3600)  # another connection does not see what a test has not committed
    version = ModelVersion.objects.create(
        number=1,
        digest=artifact.digest_of(artifact.SHIPPED),
        name="Shipped",
        origin="shipped",
        config=artifact.read_json(artifact.SHIPPED, "config.json"),
        metrics=artifact.read_json(artifact.SHIPPED, "metrics.json"),
    )
    Serving.objects.create(model=version)
    for cached in (placing._letters, placing._plane, placing._scale):
        cached.cache_clear()
    yield version
    registry.reference_map.cache_clear()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would be sent to workers, as `task id`."""
    names: list[str] = []
    monkeypatch.setattr(
        tasks, "send", lambda task, *of, expires=None: names.append(" ".join([task.name.split(".")[-1], *map(str, of)]))
    )
    return names


@pytest.fixture(autouse=True)
def _plain_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real figure takes seconds; one test makes one."""
    if request.node.name != "test_the_figures_of_a_map":
        drawn = [("figure.svg", b"<svg/>"), ("figure.png", b"PNG")]
        monkeypatch.setattr(map_work, "_figures", lambda *_: drawn)


@pytest.fixture
def committed(django_capture_on_commit_callbacks: Committed) -> Committed:
    """Runs what was to follow a commit."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def made(method: str = "pca", space: str = "features") -> LetterMap:
    """A map that a worker was done with, whatever came of it."""
    asked = maps.request(method, space, "command", "ada")
    map_work.work(asked.map.pk)
    return LetterMap.objects.get(pk=asked.map.pk)


def examined(letter: str = "Z", *, like: int = 0, **changes: Any) -> Drawing:
    """A drawing whose features are those of a reference letter."""
    drawing = a_drawing(letter, **changes)
    with np.load(artifact.SHIPPED / "reference.npz") as stored:
        features = stored["features"][like].astype("<f2").tobytes()
    trunk = artifact.trunk_of(artifact.SHIPPED)
    judged = {"predicted": letter, "probability": 0.75, "label_probability": 0.75, "unfamiliarity": 1.0}
    Examination.objects.create(drawing=drawing, model=drawing.model, trunk=trunk, features=features, **judged)
    return drawing


def collected(found: LetterMap) -> Any:
    """The collected points of a map, as they are sent out."""
    return decode(maps.collected_points(found), with_ids=True)


def emnist(found: LetterMap) -> Any:
    return decode(gzip.decompress(maps.emnist_points(found)))


def stored() -> list[str]:
    """All that lies in storage."""
    root = Path(default_storage.location)  # type: ignore[attr-defined]
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_it_works(model: ModelVersion) -> None:
    drawing = examined()
    done = made()
    assert (done.state, done.message) == ("done", f"{SAMPLE} letters of EMNIST and 1 that were collected")
    assert (done.model, done.trunk) == (model, artifact.trunk_of(artifact.SHIPPED))
    assert (done.emnist_count, done.collected_count, done.has_images) == (SAMPLE, 1, False)
    assert maps.current() == [done]
    assert len(emnist(done)) == SAMPLE
    assert collected(done).ids == [str(drawing.pk)]
    assert done.quality["knn_space"] > 0.8
    assert done.points.get().fitted
    assert stored() == sorted(name for name, _ in done.files.values())
    assert all(default_storage.size(name) == size for name, size in done.files.values())


@pytest.mark.slow
def test_the_figures_of_a_map(model: ModelVersion) -> None:
    done = made()
    names = {"figure.svg", "figure.png", "explained.svg", "explained.png"}
    assert names < set(done.files)
    for name, begin in (("figure.svg", b"<?xml"), ("explained.svg", b"<?xml"), ("figure.png", b"\x89PNG")):
        assert maps.file_of(done, name).startswith(begin)
    assert b"370 letters of EMNIST, 0 collected" in maps.file_of(done, "figure.svg")


# --- Asked for -----------------------------------------------------------------------------------------------------


def test_asked_for_twice_it_is_one(model: ModelVersion) -> None:
    first = maps.request("pca", "features", "button", "ada")
    again = maps.request("pca", "features", "api", "bob")
    assert (first.joined, again.joined, again.map) == (False, True, first.map)
    assert not maps.request("svd", "features", "api", "bob").joined


def test_a_weekly_making_is_for_what_changed(model: ModelVersion, sent: list[str]) -> None:
    drawing = examined()
    made()
    maps.publish_reference(model)
    assert maps.on_schedule() == 2  # the drawing had no part in the map by UMAP
    LetterMap.objects.filter(state="queued").delete()
    newest = LetterMap.objects.get(method="umap")
    newest.points.create(drawing=drawing, x=0, y=0, fitted=True)
    LetterMap.objects.filter(pk=newest.pk).update(collected_count=1)
    assert maps.on_schedule() == 0
    drawing.delete()
    assert maps.on_schedule() == 2


def test_so_many_approvals_make_the_maps_anew(model: ModelVersion, sent: list[str], committed: Committed) -> None:
    made()
    ann = User.objects.create_user("ann", is_staff=True)
    Policy.objects.update_or_create(id=1, defaults={"maps_after": 2})
    for left in (1, 0):
        drawing = examined(state="pending")
        with committed():
            review.decide(reviewer=ann, drawing_id=drawing.pk, revision=0, judgement=review.Judgement("approve"))
        assert f"place ['{drawing.pk}']" in sent
        assert LetterMap.objects.filter(state="queued").exists() is (left == 0)
    assert LetterMap.objects.get(state="queued").requested_by == "2 newly approved drawings"


def test_a_promotion_makes_umap_anew_where_the_policy_says_so(model: ModelVersion, committed: Committed) -> None:
    made()
    other = ModelVersion.objects.create(number=2, digest="2" * 64, name="Two", origin="trained", config=model.config)
    for follow in (False, True):
        Policy.objects.update_or_create(id=1, defaults={"maps_follow": follow})
        with committed():
            registry.promote(other if not follow else model, actor="ada", reason="better")
        assert LetterMap.objects.filter(method="umap", state="queued", trigger="promotion").exists() is follow


def test_a_map_names_all_models_that_have_its_features(model: ModelVersion) -> None:
    """After a quick retraining what the new model reads still lies on the map, and is found on it."""
    made()
    digests = [model.digest]
    for number, trunk in ((2, registry.trunk_of(model)), (3, "of other layers")):
        digests.append(str(number) * 64)
        ModelVersion.objects.create(
            number=number, digest=digests[-1], name="Later", origin="trained", config={"trunk": trunk}
        )
    (found,) = Client().get("/api/v1/maps").json()["maps"]
    assert sorted(found["models"]) == sorted(each[:12] for each in digests[:2])
    LetterMap.objects.update(space="pixels", trunk="")
    assert Client().get("/api/v1/maps").json()["maps"][0]["models"] == []


def test_new_layers_bring_maps_of_their_own(model: ModelVersion, sent: list[str]) -> None:
    """Until then the old ones stay, and say of which model they are."""
    maps.follow_model()
    assert {each.method for each in maps.current()} == {"umap", "pca"}
    made("svd")
    LetterMap.objects.update(trunk="another")
    maps.look_after()
    assert "follow_model" in sent
    maps.follow_model()
    of_model = {each.method: each.trunk == registry.trunk_of(model) for each in maps.current()}
    assert of_model == {"umap": True, "pca": True, "svd": False}
    assert LetterMap.objects.get(state="queued").method == "svd"
    assert sum(each.trigger == "promotion" for each in maps.published()) == 4
    maps.follow_model()
    assert maps.published().count() == 5


# --- Made once -----------------------------------------------------------------------------------------------------


def test_a_second_delivery_does_nothing(model: ModelVersion) -> None:
    done = made()
    map_work.work(done.pk)
    again = LetterMap.objects.get()
    assert (again.published_at, again.attempts, again.files) == (done.published_at, 1, done.files)


def test_one_at_a_time(model: ModelVersion) -> None:
    running = maps.request("svd", "features", "button", "ada").map
    LetterMap.objects.update(state="running", claim=uuid.uuid4(), heartbeat_at=timezone.now(), attempts=1)
    for pk in (running.pk, maps.request("pca", "features", "button", "ada").map.pk):
        map_work.work(pk)
    assert not maps.published().exists()
    assert stored() == []


def test_what_is_no_longer_there_is_not_made(model: ModelVersion) -> None:
    map_work.work(uuid.uuid4())


def killed(**changes: Any) -> LetterMap:
    """A map whose worker has not been heard of for an hour."""
    asked = maps.request("pca", "features", "button", "ada").map
    long_ago = timezone.now() - timedelta(hours=1)
    fields = {"state": "running", "claim": uuid.uuid4(), "heartbeat_at": long_ago, "attempts": 1} | changes
    LetterMap.objects.filter(pk=asked.pk).update(**fields)
    return asked


def test_a_killed_fit_leaves_the_old_map_and_is_taken_up_again(model: ModelVersion, sent: list[str]) -> None:
    old = made()
    drawing = examined()
    left = killed()
    MapPoint.objects.create(map=left, drawing=drawing, x=0.5, y=0.5, fitted=True)  # it had come so far
    assert maps.current() == [old]
    maps.look_after()
    assert f"make_map {left.pk}" in sent
    map_work.work(left.pk)
    left.refresh_from_db()
    assert (left.state, left.attempts) == ("done", 2)
    assert maps.current() == [left]
    assert len(collected(left)) == 1


def test_one_that_has_cost_three_workers_has_failed(model: ModelVersion, sent: list[str]) -> None:
    old, left = made(), killed(attempts=3)
    maps.look_after()
    left.refresh_from_db()
    assert left.state == "failed"
    assert "3 workers ended while they made it" in left.message
    assert maps.current() == [old]


def test_a_worker_that_is_only_slow_gives_way(model: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    other, fit = uuid.uuid4(), embed.fit

    def take_over(*arguments: Any, **options: Any) -> embed.Fitted:
        LetterMap.objects.update(claim=other)
        return fit(*arguments, **options)

    monkeypatch.setattr(embed, "fit", take_over)
    left = made()
    assert (left.state, left.claim, left.published_at) == ("running", other, None)
    assert stored() == []


# --- Cancelled -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "moment"), [(embed, "fit"), (embed, "quality"), (maps, "shown")])
def test_a_cancelled_map_stops_and_the_old_one_stays(
    model: ModelVersion, monkeypatch: pytest.MonkeyPatch, module: Any, moment: str
) -> None:
    """While it is fitted, while it is judged, and when its points are written and it is not published yet."""
    examined()
    old = made()
    whole = getattr(module, moment)

    def cancel(*arguments: Any, **options: Any) -> Any:
        (running,) = LetterMap.objects.filter(state="running")
        assert maps.cancel(running.pk, "bob")
        return whole(*arguments, **options)

    monkeypatch.setattr(module, moment, cancel)
    stopped = made()
    assert (stopped.state, stopped.message, stopped.cancelled_by) == ("cancelled", "cancelled", "bob")
    assert stopped.finished_at is not None
    assert maps.current() == [old]
    assert stopped.points.count() == 0
    assert stored() == sorted(name for name, _ in old.files.values())
    monkeypatch.setattr(module, moment, whole)
    assert maps.current() != [made()]  # which is published now; another of its kind may be made at once
    assert [each.state for each in LetterMap.objects.order_by("created_at")] == ["done", "cancelled", "done"]


def test_one_that_waits_is_cancelled_and_the_next_one_sent(
    model: ModelVersion, sent: list[str], committed: Committed
) -> None:
    first, second = (maps.request(method, "features", "button", "ada").map for method in ("svd", "pca"))
    with committed():
        assert maps.cancel(first.pk, "bob")
    assert sent[-1] == f"make_map {second.pk}"
    map_work.work(first.pk)
    first.refresh_from_db()
    assert (first.state, first.attempts) == ("cancelled", 0)
    assert not maps.cancel(first.pk, "eve")
    assert LetterMap.objects.get(pk=first.pk).cancelled_by == "bob"


def test_the_last_five_that_were_cancelled_or_failed_are_kept(model: ModelVersion) -> None:
    for number in range(7):
        asked = maps.request("pca", "features", "button", "ada").map
        assert maps.cancel(asked.pk, "bob")
        if number == 6:
            LetterMap.objects.filter(pk=asked.pk).update(state="failed")
    done = made()
    assert LetterMap.objects.filter(state="cancelled").count() == 4
    assert LetterMap.objects.filter(state="failed").count() == 1
    assert maps.current() == [done]


def test_what_is_published_is_cancelled_no_more(model: ModelVersion) -> None:
    done = made()
    assert not maps.cancel(done.pk, "bob")
    assert maps.current() == [done]
    with pytest.raises(errors.MapNotFound):
        maps.cancel(uuid.uuid4(), "bob")


def test_who_cancels_by_the_api_and_the_admin(model: ModelVersion, settings: Any) -> None:
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # pages without `collectstatic`
    settings.STORAGES = settings.STORAGES | {"staticfiles": plain}
    asked = maps.request("pca", "features", "api", "ada").map
    address, button = f"/api/v1/maps/jobs/{asked.pk}/cancel", f"/admin/letters/lettermap/{asked.pk}/cancel/"
    bob, ada = browser("bob", "reviewers"), browser("ada", "maintainers")
    assert [each.post(address).status_code for each in (Client(), bob)] == [403, 403]
    assert [Client().post(button).status_code, bob.post(button).status_code] == [302, 403]
    assert ada.get(button).status_code == 302
    assert LetterMap.objects.get().state == "queued"
    answer = ada.post(address).json()
    assert (answer["cancelled"], answer["job"]["state"], answer["job"]["cancelled_by"]) == (True, "cancelled", "ada")
    assert ada.post(address).json()["cancelled"] is False
    assert "It was over already" in ada.post(button, follow=True).content.decode()
    assert ada.post(f"/api/v1/maps/jobs/{uuid.uuid4()}/cancel").status_code == 404
    again = maps.request("pca", "features", "api", "ada").map
    page = ada.post(f"/admin/letters/lettermap/{again.pk}/cancel/", follow=True).content.decode()
    assert "The map before it stays" in page
    assert page.count("cancelled by ada") == 2


# --- What goes wrong -----------------------------------------------------------------------------------------------


def test_a_poisoned_archive(model: ModelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = made()
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 not an archive")
    monkeypatch.setenv("EMNIST_ARCHIVE", str(tmp_path / "bad.zip"))
    failed = made()
    assert failed.state == "failed"
    assert "is not a readable EMNIST archive" in failed.message
    assert maps.current() == [old]
    assert stored() == sorted(name for name, _ in old.files.values())


def test_features_that_are_no_numbers(model: ModelVersion) -> None:
    old = made()
    drawing = examined()
    Examination.objects.update(features=np.full(128, np.nan, "<f2").tobytes())
    failed = made()
    assert failed.state == "failed"
    assert "not finite" in failed.message
    assert maps.current() == [old]
    placing.place([drawing.pk])
    assert len(collected(old)) == 0
    fine = examined(like=3)
    placing.place_missing()
    assert collected(old).ids == [str(fine.pk)]


def test_a_fit_that_breaks(model: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    old = made()
    monkeypatch.setattr(embed, "fit", lambda *_, **__: 1 / 0)
    failed = made()
    assert (failed.state, failed.message[:17]) == ("failed", "ZeroDivisionError")
    assert maps.current() == [old]


def test_pixels_without_an_archive(model: ModelVersion) -> None:
    failed = made("pca", "pixels")
    assert failed.state == "failed"
    assert "a map of pixels needs the EMNIST archive" in failed.message


# --- What it shows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_that_were_collected(model: ModelVersion, count: int) -> None:
    drawings = {str(examined("LTV"[number], like=number).pk) for number in range(count)}
    done = made()
    points = collected(done)
    assert set(points.ids) == drawings
    assert (points.flags & 1 == 1).all()
    assert sum(maps.collected_counts([done]).get(done.pk, {}).values()) == count


@pytest.mark.parametrize("state", ["pending", "rejected"])
def test_only_what_is_approved_is_shown(model: ModelVersion, state: str) -> None:
    kept, other = examined(like=1), examined(like=2)
    done = made()
    Drawing.objects.filter(pk=other.pk).update(state=state)
    assert collected(done).ids == [str(kept.pk)]
    again = made()
    assert again.points.count() == 1
    Drawing.objects.filter(pk=other.pk).update(state="approved")
    assert set(collected(done).ids) == {str(kept.pk), str(other.pk)}
    examined(like=3, state=state)
    placing.place_missing()
    assert set(collected(again).ids) == {str(kept.pk), str(other.pk)}


def test_a_new_drawing_lands_among_its_neighbours_and_moves_none(model: ModelVersion) -> None:
    first = examined(like=7)
    done = made()
    before = maps.emnist_points(done), collected(done).places.tolist()
    new = [examined(like=number) for number in (8, 9)]
    placing.place([each.pk for each in new])
    placing.place_missing()
    points = collected(done)
    assert points.ids == [str(first.pk), *sorted((str(each.pk) for each in new), key=points.ids.index)]
    assert (maps.emnist_points(done), points.places[:1].tolist()) == before
    for each, like in zip(new, (8, 9), strict=True):
        at = points.places[points.ids.index(str(each.pk))]
        assert np.abs(at - emnist(done).places[like]).max() < 0.001
    assert set(done.points.values_list("fitted", flat=True)) == {True, False}
    placing.place_missing()
    assert done.points.count() == 3


def test_what_was_examined_by_other_layers_waits(model: ModelVersion) -> None:
    done = made()
    examined()
    Examination.objects.update(trunk="another")
    assert not placing.lacking("features")
    placing.place_missing()
    assert len(collected(done)) == 0


def test_a_refit_begins_where_letters_were(model: ModelVersion) -> None:
    for like in range(3):
        examined(like=like)
    old = made()
    for like in range(20, 24):
        examined(like=like)
    new = made()
    assert 0 <= new.quality["moved_mean"] < 0.05
    assert np.abs(emnist(new).places - emnist(old).places).mean() < 0.05 * 2
    assert "moved_mean" not in old.quality


def test_the_label_that_is_shown_is_the_one_that_holds(model: ModelVersion) -> None:
    drawing = examined("Z")
    done = made()
    Examination.objects.update(predicted="L", probability=0.95, label_probability=0.01)
    Drawing.objects.filter(pk=drawing.pk).update(label="T")
    points = collected(done)
    assert (points.labels[0], points.predicted[0], points.flags[0]) == (index_of("T"), index_of("L"), 1 | 2)
    Examination.objects.all().delete()
    points = collected(done)
    assert (points.predicted[0], points.flags[0]) == (index_of("Z"), 1)


# --- What is withdrawn ---------------------------------------------------------------------------------------------


def test_a_withdrawn_drawing_leaves_every_map_at_once(model: ModelVersion, committed: Committed) -> None:
    drawing, other = examined(like=1), examined(like=2)
    found = [made("pca"), made("svd")]
    with committed():
        collect.withdraw_drawing(drawing_id=drawing.pk, receipt=collect.receipt_of(drawing.pk))
    for each in found:
        each.refresh_from_db()
        assert collected(each).ids == [str(other.pk)]
        assert "figure.svg" not in each.files
        assert not [name for name in stored() if str(each.pk) in name and "figure" in name]


def test_its_figures_are_drawn_anew(model: ModelVersion, committed: Committed, sent: list[str]) -> None:
    drawing = examined()
    done = made()
    with committed():
        drawing.delete()
    maps.look_after()
    assert f"make_map {done.pk}" in sent
    map_work.work(done.pk)
    again = LetterMap.objects.get(pk=done.pk)
    assert {"figure.svg", "figure.png", map_files.POINTS} <= set(again.files)
    assert (again.published_at, again.quality) == (done.published_at, done.quality)
    assert again.finished_at is not None
    assert stored() == sorted(name for name, _ in again.files.values())


def test_one_that_is_withdrawn_while_the_map_is_made(
    model: ModelVersion, monkeypatch: pytest.MonkeyPatch, committed: Committed
) -> None:
    drawing, other = examined(like=1), examined(like=2)
    fit = embed.fit

    def withdraw(*arguments: Any, **options: Any) -> embed.Fitted:
        with committed():
            drawing.delete()
        return fit(*arguments, **options)

    monkeypatch.setattr(embed, "fit", withdraw)
    with committed():
        done = made()
    assert done.state == "done"
    assert collected(done).ids == [str(other.pk)]
    assert "figure.svg" not in done.files


def test_three_maps_of_a_kind_are_kept(model: ModelVersion) -> None:
    done = [made() for _ in range(5)]
    assert set(maps.published()) == set(done[2:])
    assert stored() == sorted(name for each in done[2:] for name, _ in each.files.values())


# --- With an archive -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that the model was not trained on."""
    return tiny_archive(tmp_path_factory.mktemp("emnist") / "emnist.zip", per_class=12)


def test_an_archive_that_is_not_the_models(model: ModelVersion, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its letters are shown as pixels, with images; the map of features keeps to the reference."""
    monkeypatch.setenv("EMNIST_ARCHIVE", str(archive))
    drawing = examined()
    features, pixels = made(), made("pca", "pixels")
    assert (features.has_images, features.emnist_count) == (False, SAMPLE)
    assert (pixels.has_images, pixels.sheets, pixels.emnist_count, pixels.trunk) == (True, 1, SAMPLE, "")
    assert set(pixels.counts.values()) == {10}
    sheet = np.asarray(map_files.Image.open(io.BytesIO(maps.file_of(pixels, "sheets/0.png"))))
    _, letters = map_sample.archive_of(model)
    chosen = map_sample.balanced(letters.labels, np.empty(0, np.intp), SAMPLE)
    row, column = divmod(333, 32)
    tile = sheet[28 * row : 28 * row + 28, 28 * column : 28 * column + 28]
    assert np.array_equal(tile, letters.images[chosen[333]])
    assert emnist(pixels).labels[333] == letters.labels[chosen[333]]
    assert collected(pixels).ids == [str(drawing.pk)]
    later = a_drawing("L")
    assert placing.lacking("pixels")
    tasks.place_pixels()
    assert str(later.pk) in collected(pixels).ids
    again = made("pca", "pixels")
    assert again.quality["moved_mean"] < 0.05


def test_pictures_of_the_data_set(
    model: ModelVersion, archive: Path, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    address = "/api/v1/emnist"
    made()
    before = client.get(f"{address}/summary").json()
    assert (before["has_images"], sum(before["classes"].values()), before["dataset"]) == (False, SAMPLE, "open37")
    assert before["confused"][0] == {"label": "I", "predicted": "L", "count": before["confused"][0]["count"]}
    missing = client.get(f"{address}/mean/A.png")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert "EMNIST_ARCHIVE" in missing.json()["message"]
    monkeypatch.setenv("EMNIST_ARCHIVE", str(archive))
    made()
    assert emnist_images.make(model)
    summary = client.get(f"{address}/summary").json()
    assert (summary["has_images"], summary["classes"]["A"]) == (True, 12)
    for kind, shape in (("mean", (28, 28)), ("examples", (28, 12 * 28))):
        answer = client.get(f"{address}/{kind}/A.png")
        assert answer.headers["Content-Type"] == "image/png"
        assert np.asarray(map_files.Image.open(io.BytesIO(answer.content))).shape == shape
    assert client.get(f"{address}/mean/C.png").content != client.get(f"{address}/mean/A.png").content
    assert client.get(f"{address}/mean/c.png").status_code == 404
    assert client.get(f"{address}/median/A.png").status_code == 404


@pytest.mark.emnist
@pytest.mark.slow
def test_the_models_own_archive_gives_images(
    model: ModelVersion, emnist_archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMNIST_ARCHIVE", str(emnist_archive))
    (first, _) = maps.publish_reference(model)
    assert not first.has_images
    map_work.work(first.pk)
    first.refresh_from_db()
    assert (first.has_images, first.sheets, first.quality["knn_space"] > 0.9) == (True, 15, True)


# --- Files of old --------------------------------------------------------------------------------------------------

OLD = (
    "UEsDBC0AAAAIAAAAIQDetnOU//////////8KABQAbGFiZWxzLm5weQEAEACCAAAAAAAAAEYAAAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgXl"
    "NqqK6joJ6WX1RSlJgXn1+UkgoSd0vMKU4FihdnJBakAvkaRjqaOgq1ChQALgYVAFBLAwQtAAAACAAAACEAZrlwuv//////////CwAUAHZlY3Rv"
    "cnMubnB5AQAQAIwAAAAAAAAAUgAAAAAAAACb7BfqGxDJyFDGUK2eklqcXKRupaBuk2akrqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+R"
    "pGOgrGmjoKtQpkAy4GO4YDDAwMJgxODDYAUEsDBC0AAAAIAAAAIQDapjXP//////////8JABQAcGxhbmUubnB5AQAQAJAAAAAAAAAAUwAAAAAA"
    "AACb7BfqGxDJyFDGUK2eklqcXKRupaBuk2airqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RpGOgpGmjoKtQpkAy4GBob9DAwNdkBsD8"
    "T7AVBLAwQtAAAACAAAACEApLGfqv//////////DQAUAHJlZmVyZW5jZS5ucHkBABAAiAAAAAAAAABGAAAAAAAAAJvsF+obEMnIUMZQrZ6SWpxc"
    "pG6loG6TaaGuo6Cell9UUpSYF59flJIKEndLzClOBYoXZyQWpAL5Gpo6CrUKFAEuRgYIAABQSwMELQAAAAgAAAAhAJ0IKnf//////////xAAFA"
    "ByZWZlcmVuY2Vfb2YubnB5AQAQAIIAAAAAAAAARgAAAAAAAACb7BfqGxDJyFDGUK2eklqcXKRupaBeU2qorqOgnpZfVFKUmBefX5SSChJ3S8wp"
    "TgWKF2ckFqQC+RpGOpo6CrUKFACuxCQAUEsDBC0AAAAIAAAAIQBokaq4//////////8LABQAaW5kaWNlcy5ucHkBABAAiAAAAAAAAABLAAAAAA"
    "AAAJvsF+obEMnIUMZQrZ6SWpxcpG6loG6TaaKuo6Cell9UUpSYF59flJIKEndLzClOBYoXZyQWpAL5GkY6mjoKtQoUAK7/QODLwMAAAFBLAwQt"
    "AAAACAAAACEAZmfpiv//////////CwAUAGFyY2hpdmUubnB5AQAQAIYAAAAAAAAASgAAAAAAAACb7BfqGxDJyFDGUK2eklqcXKRupaBeU2qorq"
    "OgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RpmOpo6CrUKFACu/ILUPGNzAFBLAQItAy0AAAAIAAAAIQDetnOURgAAAIIAAAAKAAAAAAAA"
    "AAAAAACAAQAAAABsYWJlbHMubnB5UEsBAi0DLQAAAAgAAAAhAGa5cLpSAAAAjAAAAAsAAAAAAAAAAAAAAIABggAAAHZlY3RvcnMubnB5UEsBAi"
    "0DLQAAAAgAAAAhANqmNc9TAAAAkAAAAAkAAAAAAAAAAAAAAIABEQEAAHBsYW5lLm5weVBLAQItAy0AAAAIAAAAIQCksZ+qRgAAAIgAAAANAAAA"
    "AAAAAAAAAACAAZ8BAAByZWZlcmVuY2UubnB5UEsBAi0DLQAAAAgAAAAhAJ0IKndGAAAAggAAABAAAAAAAAAAAAAAAIABJAIAAHJlZmVyZW5jZV"
    "9vZi5ucHlQSwECLQMtAAAACAAAACEAaJGquEsAAACIAAAACwAAAAAAAAAAAAAAgAGsAgAAaW5kaWNlcy5ucHlQSwECLQMtAAAACAAAACEAZmfp"
    "ikoAAACGAAAACwAAAAAAAAAAAAAAgAE0AwAAYXJjaGl2ZS5ucHlQSwUGAAAAAAcABwCTAQAAuwMAAAAA"
)


def test_files_of_earlier_versions_are_read(model: ModelVersion) -> None:
    """As they were written by NumPy 2.3: places, labels, vectors, numbers in the archive."""
    letters = map_files.Letters.load(io.BytesIO(base64.b64decode(OLD)))
    assert letters.plane.tolist() == [[-0.5, 0.25], [1.0, -1.0]]
    assert letters.labels.tolist() == [0, 36]
    assert letters.vectors.tolist() == [[1.5, -2.0, 0.0], [0.25, 3.0, 1.0]]
    assert (letters.reference, letters.reference_of, letters.archive) == (1, "ab", "open37")
    assert letters.indices.tolist() == [-1, 77]


# --- For staff -----------------------------------------------------------------------------------------------------


def browser(name: str, group: str) -> Client:
    user = User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def test_the_api_asks_and_tells(model: ModelVersion) -> None:
    ada = browser("ada", "maintainers")
    body = {"method": "pca", "space": "features"}
    asked = ada.post("/api/v1/maps", body, content_type="application/json")
    assert asked.status_code == 202
    job = asked.json()
    assert (job["state"], job["joined"]) == ("queued", False)
    assert ada.post("/api/v1/maps", {"method": "pca"}, content_type="application/json").json()["joined"] is True
    (making,) = Client().get("/api/v1/maps").json()["making"]
    assert (making["id"], making["state"], making["share"]) == (job["id"], "queued", 0)
    map_work.work(uuid.UUID(job["id"]))
    told = ada.get(f"/api/v1/maps/jobs/{job['id']}").json()
    assert (told["state"], told["requested_by"], told["progress"]["share"]) == ("done", "ada", 1)
    listed = Client().get("/api/v1/maps").json()
    assert [each["id"] for each in listed["maps"]] == [job["id"]]
    assert listed["making"] == []
    assert ada.get(f"/api/v1/maps/jobs/{uuid.uuid4()}").status_code == 404
    for wrong in ({"method": "kmeans"}, {}, {"method": "pca", "space": "time"}):
        assert ada.post("/api/v1/maps", wrong, content_type="application/json").status_code == 400


def test_who_may_not_make_maps(model: ModelVersion) -> None:
    done = made()
    for client in (Client(), browser("bob", "reviewers")):
        answers = [
            client.post("/api/v1/maps", json.dumps({"method": "pca"}), content_type="application/json"),
            client.get(f"/api/v1/maps/jobs/{done.pk}"),
        ]
        assert [answer.status_code for answer in answers] == [403, 403]
    assert LetterMap.objects.count() == 1


def test_a_button_asks_for_one(model: ModelVersion, settings: Any) -> None:
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # pages without `collectstatic`
    settings.STORAGES = settings.STORAGES | {"staticfiles": plain}
    made()
    ada, page = browser("ada", "maintainers"), "/admin/letters/lettermap/"
    assert "PCA of the model&#x27;s features" in ada.get(page).content.decode()
    assert "Refresh" not in ada.get(page).headers
    assert ada.post(f"{page}make/", {"method": "svd", "space": "features"}).status_code == 302
    assert LetterMap.objects.get(state="queued").requested_by == "ada"
    assert 'data-state="queued"' in ada.get(page).content.decode()
    assert ada.get(page).headers["Refresh"]
    assert (
        "waits already"
        in ada.post(f"{page}make/", {"method": "svd", "space": "features"}, follow=True).content.decode()
    )
    assert "Choose a method" in ada.post(f"{page}make/", {"method": "x"}, follow=True).content.decode()
    LetterMap.objects.filter(state="queued").update(state="failed", message="the disk is full")
    assert "the disk is full" in ada.get(page).content.decode()
    bob = browser("bob", "reviewers")
    assert bob.get(page).status_code == 403
    assert bob.post(f"{page}make/", {"method": "svd", "space": "features"}).status_code == 403


def test_the_command(model: ModelVersion, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("make_maps")
    assert LetterMap.objects.filter(state="queued", space="features").count() == 6
    call_command("make_maps", method=["pca"])
    assert "waits already" in capsys.readouterr().out
    LetterMap.objects.update(state="failed", message="no archive")
    failed = maps.Asked(LetterMap.objects.filter(state="failed")[0], joined=True)
    monkeypatch.setattr(maps, "request", lambda *_: failed)
    with pytest.raises(CommandError, match="not all were made"):
        call_command("make_maps", method=["pca"], wait=True)
    assert "failed. no archive" in capsys.readouterr().out
