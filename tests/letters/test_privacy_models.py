"""Models that learned from what was withdrawn are known as such; the next retraining starts from one that did not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client

from letters import errors, examine, influence, privacy, registry, retrain, snapshots
from letters.models import Deployment, Drawing, ModelVersion, TrainingRun
from ml import artifact, familiarity, gate
from tests.letters.collected import a_drawing, somebody

pytestmark = [pytest.mark.django_db(transaction=True, serialized_rollback=True), pytest.mark.slow]


@pytest.fixture(autouse=True)
def shipped(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelVersion:
    """The model that serves, and 20 drawings to learn from. The gate lets each candidate pass."""
    settings.MEDIA_ROOT, settings.MODEL_CACHE_DIR = tmp_path / "media", tmp_path / "cache"
    settings.RUNS_DIR = tmp_path / "runs"
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # pages without `collectstatic`
    settings.STORAGES = settings.STORAGES | {"staticfiles": plain}
    examine._examiner.cache_clear()
    judge = gate.judge
    monkeypatch.setattr(gate, "judge", lambda *sides: gate.Verdict(True, "It is so.", [], judge(*sides).tests))
    version = registry.register_shipped()
    for number in range(20):
        a_drawing("LTVXZ"[number % 5], model=version)
    return version


def do(kind: str = "head", **config: Any) -> TrainingRun:
    run = retrain.start(kind, "button", "ada", config=config).run
    retrain.work(run.pk)
    run.refresh_from_db()
    assert run.outcome == "promoted", run.log
    return run


def taken_back(count: int = 1) -> list[Drawing]:
    """The first drawings, as they were."""
    gone = list(Drawing.objects.order_by("created_at")[:count])
    privacy.delete_drawings([each.pk for each in gone])
    return gone


def taught(version: ModelVersion) -> int:
    """How many directions of drawings' features an artefact holds."""
    return len(familiarity.load(registry.fetch(version.digest)).taught)


def test_it_works(shipped: ModelVersion) -> None:
    """The next one has learned nothing from it, neither itself nor by the weights that it started from."""
    first = do()
    assert influence.withdrawn_from(first.candidate) == 0
    assert influence.base_of(first.candidate) == first.candidate
    (gone,) = taken_back()
    assert influence.withdrawn_from(first.candidate) == 1
    assert influence.base_of(first.candidate) == shipped
    second = do()
    assert gone.pk.bytes in snapshots.packed_ids(bytes(first.drawing_ids))
    assert gone.pk.bytes not in snapshots.packed_ids(bytes(second.drawing_ids))
    assert second.candidate.config["parent"] == shipped.digest
    assert second.champion == first.candidate  # with which it was compared
    assert "it starts from model 1, for model 2 learned from drawings that were withdrawn since" in second.log
    assert influence.withdrawn_from(second.candidate) == 0
    assert registry.current() == second.candidate
    third_base = influence.base_of(second.candidate)
    assert third_base == second.candidate


def test_it_is_as_if_the_drawing_had_never_been(shipped: ModelVersion) -> None:
    """To the bit: a head is fitted to what is there, from the base, and from nothing else."""
    person = somebody()
    extra = a_drawing("Z", contributor=person, model=shipped)
    do()
    privacy.delete_drawings([extra.pk])
    without = do().candidate
    registry.promote(shipped, actor="ada", reason="begin again")
    TrainingRun.objects.update(snapshot_hash="")  # else it were nothing new
    never = do().candidate
    assert never.config["head"] == without.config["head"]
    found = [artifact.load_head(registry.fetch(each.digest)) for each in (without, never)]
    assert np.array_equal(found[0].kernel, found[1].kernel)
    assert np.array_equal(found[0].bias, found[1].bias)
    assert without.config["familiarity"] == never.config["familiarity"]


def test_what_a_parent_learned_counts_too(shipped: ModelVersion) -> None:
    """It was rejected before the second training, and withdrawn after it: the second had it from the first."""
    first = do()
    early = Drawing.objects.order_by("created_at").first()
    Drawing.objects.filter(pk=early.pk).update(state="rejected")
    second = do()
    assert second.candidate.config["parent"] == first.candidate.digest
    assert early.pk.bytes not in snapshots.packed_ids(bytes(second.drawing_ids))
    privacy.delete_drawings([early.pk])
    assert influence.withdrawn_from(second.candidate) == 1
    third = do()  # though the drawings are the same as the second had
    assert third.snapshot_hash == second.snapshot_hash
    assert third.candidate.config["parent"] == shipped.digest
    with pytest.raises(errors.NothingToLearn):
        retrain.start("head", "button", "ada")


def test_the_newest_that_did_not_learn_from_it_is_the_start(shipped: ModelVersion) -> None:
    first = do()
    late = a_drawing("Z", model=shipped)
    second = do()
    privacy.delete_drawings([late.pk])
    assert influence.base_of(second.candidate) == first.candidate
    assert do().candidate.config["parent"] == first.candidate.digest


def test_weights_made_from_nothing_have_nothing_of_a_parent(shipped: ModelVersion) -> None:
    first = do()
    kept = do_from_scratch(first.candidate)
    taken_back()
    assert influence.withdrawn_from(first.candidate) == 1
    assert influence.withdrawn_from(kept) == 0
    assert influence.base_of(kept) == kept


def do_from_scratch(parent: ModelVersion) -> ModelVersion:
    """As a training from nothing would note it, with the last drawing."""
    made = ModelVersion.objects.create(
        number=50, digest="5" * 64, name="Full", origin="trained", config={"parent": parent.digest}
    )
    last = Drawing.objects.order_by("-created_at").first()
    TrainingRun.objects.create(
        kind="full",
        trigger="button",
        requested_by="ada",
        state="done",
        candidate=made,
        config={"mode": "scratch"},
        drawing_ids=last.pk.bytes,
    )
    return made


def test_a_run_is_not_repeated_every_night_where_the_gate_refuses_it(
    shipped: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = do()
    taken_back()
    judged = gate.judge
    monkeypatch.setattr(
        gate, "judge", lambda *sides: gate.Verdict(False, "It is not.", ["worse"], judged(*sides).tests)
    )
    run = retrain.start("head", "schedule", "the schedule").run
    retrain.work(run.pk)
    assert registry.current() == first.candidate
    with pytest.raises(errors.NothingToLearn, match="nothing new"):
        retrain.start("head", "schedule", "the schedule")


def test_where_nothing_is_left_to_learn_from_the_way_back_is_named(shipped: ModelVersion) -> None:
    do()
    taken_back(20)
    with pytest.raises(errors.NothingToLearn, match="rollback 1"):
        retrain.start("head", "button", "ada")


def test_what_familiarity_learned_leaves_the_model(shipped: ModelVersion) -> None:
    """What was strange is known once ten such drawings were learned from, and is strange again without them."""
    odd = [
        a_drawing(
            "Z", model=shipped, strokes=[[[10, 100 + at], [190, 100]], [[10, 110], [190, 110]], [[10, 90], [190, 90]]]
        )
        for at in range(12)
    ]
    first = do()
    assert taught(first.candidate) == 1
    privacy.delete_drawings([each.pk for each in odd])
    assert taught(do().candidate) == 0


def test_its_page_says_so(client: Client, shipped: ModelVersion) -> None:
    first = do()
    address = f"/model/{first.candidate.number}/"
    said = b"learned from was withdrawn since"
    assert said not in client.get(address).content
    taken_back()
    assert said in client.get(address).content
    client.force_login(User.objects.create_superuser("mia"))
    page = client.get(f"/admin/letters/modelversion/{first.candidate.pk}/change/").content.decode()
    assert "1 drawing that it learned from" in page


def test_a_deletion_whose_time_was_over_is_no_withdrawal(shipped: ModelVersion) -> None:
    first = do()
    privacy.delete_drawings([Drawing.objects.order_by("created_at").first().pk], withdrawn=False)
    assert influence.withdrawn_from(first.candidate) == 0
    assert influence.base_of(first.candidate) == first.candidate


@pytest.mark.parametrize("trunk", ["another"])
def test_features_of_another_base_are_not_noted_as_the_serving_models(
    shipped: ModelVersion, trunk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is ordered by what the serving model makes of drawings, whatever a retraining starts from."""
    drawings = list(Drawing.objects.all())
    examine.examine([each.pk for each in drawings[:10]])
    monkeypatch.setattr(registry, "trunk_of", lambda version: trunk)
    found = examine.features_of(drawings, shipped.digest)
    assert found.shape == (20, 128)
    from letters.models import Examination

    assert Examination.objects.count() == 10


def test_deployments_of_discarded_models_are_refused(shipped: ModelVersion) -> None:
    first = do()
    registry.promote(shipped, actor="ada", reason="back")
    assert registry.discard(first.candidate)
    assert not registry.discard(first.candidate)
    with pytest.raises(errors.ModelUnfit, match="its files were deleted on"):
        registry.promote_by_hand(first.candidate.number, actor="ada", reason="again")
    with pytest.raises(errors.ModelUnfit):
        registry.promote(first.candidate, actor="ada", reason="again")
    assert not registry.discard(shipped)  # it serves
    assert registry.current() == shipped
    assert Deployment.objects.count() == 3
