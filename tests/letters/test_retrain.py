"""Asking for a retraining: what is learned from, what joins, what waits, what is refused, who may go on with what."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from letters import errors, hold, registry, retrain, snapshots
from letters.models import Drawing, ModelVersion, Policy, TrainingRun
from tests.letters.collected import a_drawing, somebody

pytestmark = pytest.mark.django_db
State = TrainingRun.State


@pytest.fixture(autouse=True)
def champion(settings: Any, tmp_path: Any) -> ModelVersion:
    """The model that serves; the drawings of these tests were read by it."""
    settings.MEDIA_ROOT, settings.MODEL_CACHE_DIR = tmp_path / "media", tmp_path / "cache"
    settings.RUNS_DIR = tmp_path / "runs"
    return registry.register_shipped()


def ask(kind: str = "head", **config: Any) -> retrain.Started:
    return retrain.start(kind, "button", "ada", config=config)


def over(run: TrainingRun, **changes: Any) -> None:
    """As if a worker had done it with what is approved now."""
    taken = snapshots.Snapshot.take()
    fields = {
        "state": State.DONE,
        "outcome": "refused",
        "verdict": {"passed": False},
        "snapshot_hash": taken.digest,
        "drawing_ids": taken.packed,
        "champion": registry.current(),
        "started_at": timezone.now(),
        "finished_at": timezone.now(),
    }
    TrainingRun.objects.filter(pk=run.pk).update(**fields | changes)


def test_it_works() -> None:
    a_drawing()
    started = ask()
    assert not started.joined
    run = TrainingRun.objects.get()
    assert run == started.run
    assert (run.state, run.kind, run.trigger, run.requested_by) == ("queued", "head", "button", "ada")
    assert "ada" in run.log


# --- Nothing to learn -----------------------------------------------------------------------------------------------


def test_nothing_is_approved() -> None:
    a_drawing(state="pending")
    a_drawing(state="rejected")
    a_drawing(contributor=somebody(held_out=True))
    with pytest.raises(errors.NothingToLearn, match="no approved drawing"):
        ask()
    assert not TrainingRun.objects.exists()


def test_nothing_new_was_approved() -> None:
    a_drawing()
    over(ask().run)
    a_drawing(contributor=somebody(held_out=True))  # judges, and is not learned from
    with pytest.raises(errors.NothingToLearn, match="nothing new"):
        ask()
    ask("full")  # which has not learned from it yet


@pytest.mark.parametrize(
    "change",
    [
        lambda: a_drawing(),
        lambda: Drawing.objects.update(label="N"),
        lambda: Drawing.objects.first().delete(),
    ],
    ids=["another drawing", "another label", "a drawing withdrawn"],
)
def test_something_changed(change: Any) -> None:
    a_drawing(), a_drawing()
    over(ask().run)
    change()
    assert not ask().joined


def test_another_configuration_is_something_new() -> None:
    a_drawing()
    over(ask().run)
    ask(pull=123.0)


def test_layers_that_learned_it_need_not_again(champion: ModelVersion) -> None:
    """The candidate serves by now: for the last layer the ones below are the same, for all layers it was the result."""
    a_drawing()
    head = ModelVersion.objects.create(number=2, digest="2" * 64, origin="trained", config=champion.config)
    full = ModelVersion.objects.create(number=3, digest="3" * 64, origin="trained", config={"trunk": "3" * 64})
    for kind, candidate in (("head", head), ("full", full)):
        over(ask(kind).run, candidate=candidate, outcome="promoted")
        registry.promote(candidate, actor="ada", reason="better")
        with pytest.raises(errors.NothingToLearn):
            ask(kind)
    ask("head")  # on the new layers it has not


# --- Join, queue ----------------------------------------------------------------------------------------------------


def test_a_second_start_joins_the_one_that_waits() -> None:
    a_drawing()
    first = ask()
    second = retrain.start("head", "api", "grace")
    assert (second.run, second.joined) == (first.run, True)
    assert "grace asked for it too" in TrainingRun.objects.get().log


def test_a_start_waits_behind_one_that_runs() -> None:
    a_drawing()
    first = ask().run
    assert hold.claim(first.pk)
    second = ask()
    assert not second.joined
    assert f"waits until the run {first} is over" in second.run.message
    assert hold.claim(second.run.pk) is None  # one at a time
    second.run.refresh_from_db()
    assert second.run.state == "queued"
    assert ask().joined


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("head", {"epochs": 3}, "head has no 'epochs'"),
        ("head", {"pull": "strong"}, "pull is a number"),
        ("head", {"pull": float("nan")}, "pull is a number"),
        ("head", {"iterations": 1.5}, "whole number"),
        ("full", {"mode": "magic"}, "finetune or scratch"),
        ("full", {"dataset": "../open37"}, "the name of a dataset"),
        ("full", {"dataset": None}, "the name of a dataset"),
        ("head", {"dataset": "open37"}, "head has no 'dataset'"),
        ("full", {"epochs": 0}, "epochs"),
        ("full", {"seed": -1}, "seed"),
        ("full", {"collected_share": True}, "collected_share"),
        ("none", {}, "head or full"),
    ],
    ids=str,
)
def test_a_configuration_that_is_none(kind: str, config: dict[str, Any], words: str) -> None:
    a_drawing()
    with pytest.raises(errors.BadConfiguration, match=words):
        retrain.start(kind, "api", "ada", config=config)


def test_the_configuration_is_kept_whole() -> None:
    a_drawing()
    run = ask("full", epochs=3, seed=7).run
    assert (run.seed, run.config["epochs"], run.config["mode"]) == (7, 3, "finetune")
    assert set(ask("head", pull=2).run.config) >= {"collected_weight", "replay_per_class", "pull", "iterations"}


# --- The snapshot ---------------------------------------------------------------------------------------------------


def test_what_is_learned_from() -> None:
    mine, judge = somebody(), somebody(held_out=True)
    for letter in ("Z", "Z", "T"):
        a_drawing(letter, contributor=mine)
    a_drawing("L", contributor=judge)
    a_drawing("X", contributor=mine, state="pending")
    taken = snapshots.Snapshot.take()
    assert taken.ids == sorted(taken.ids)
    assert taken.counts == {"T": 1, "Z": 2}
    assert snapshots.packed_ids(taken.packed) == {each.bytes for each in taken.ids}
    judging = snapshots.holdout()
    assert (judging.images.shape, judging.labels.tolist()) == ((1, 28, 28), [11])
    assert bytes(judging.images) == bytes(judge.drawings.get().image)


def test_one_contributor_has_a_share_and_no_more(champion: ModelVersion) -> None:
    """What a contributor's drawings weigh in a class, of all that weighs there."""
    flooding, other = somebody(), somebody()
    for _ in range(30):
        a_drawing("Z", contributor=flooding)
    a_drawing("Z", contributor=other)
    run = TrainingRun(kind="head", claim=uuid.uuid4())
    weigh = retrain.Weighing(base=40.0, weight=10.0, share=0.2)
    collected, _ = retrain.collect(hold.Hold(run), snapshots.Snapshot.take(), weigh)
    mine = Drawing.objects.filter(contributor=flooding).count()
    flooded = float(sorted(collected.weights)[:mine][0] * mine)
    assert flooded / (40.0 + float(collected.weights.sum())) == pytest.approx(0.2, abs=1e-3)
    assert max(collected.weights) == pytest.approx(10.0)


# --- Whose it is ----------------------------------------------------------------------------------------------------


@pytest.fixture
def waiting() -> TrainingRun:
    a_drawing()
    return ask().run


def silence(run: TrainingRun, seconds: float = 31, **changes: Any) -> None:
    """As if its worker had said nothing for so long."""
    TrainingRun.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now() - timedelta(seconds=seconds), **changes)


def test_it_is_claimed_once(waiting: TrainingRun) -> None:
    claimed = hold.claim(waiting.pk)
    assert claimed
    assert (claimed.state, claimed.attempts) == ("running", 1)
    assert hold.claim(waiting.pk) is None


def test_it_is_taken_from_a_dead_worker(waiting: TrainingRun) -> None:
    first = hold.claim(waiting.pk)
    assert first
    silence(waiting, 20)
    assert hold.claim(waiting.pk) is None  # a worker may be slow
    silence(waiting)
    second = hold.claim(waiting.pk)
    assert second
    assert (second.attempts, second.state) == (2, "running")
    assert second.claim != first.claim
    assert second.started_at == first.started_at


def test_a_worker_that_was_taken_for_dead_writes_nothing(waiting: TrainingRun) -> None:
    first = hold.claim(waiting.pk)
    assert first
    zombie = hold.Hold(first)
    silence(waiting)
    second = hold.claim(waiting.pk)
    assert second
    with pytest.raises(hold.Lost):
        zombie.write(drawing_count=99)
    with pytest.raises(hold.Lost), zombie.ending() as run:
        run.state = State.DONE
    with pytest.raises(hold.Lost):
        zombie.report({"stage": "fitting", "share": 0.5})
    waiting.refresh_from_db()
    assert (waiting.state, waiting.claim, waiting.drawing_count) == ("running", second.claim, 0)


def test_after_three_dead_workers_it_is_given_up(waiting: TrainingRun) -> None:
    assert hold.claim(waiting.pk)
    silence(waiting, fruitless=3)
    assert hold.claim(waiting.pk) is None
    retrain.resume_stalled()
    waiting.refresh_from_db()
    assert (waiting.state, waiting.claim) == ("failed", None)
    assert "3 workers" in waiting.message


def test_a_living_worker_is_left_alone(waiting: TrainingRun) -> None:
    assert hold.claim(waiting.pk)
    silence(waiting, 20, fruitless=3)
    retrain.resume_stalled()
    waiting.refresh_from_db()
    assert waiting.state == "running"


# --- Cancel ---------------------------------------------------------------------------------------------------------


def test_cancelled_while_it_waits(waiting: TrainingRun) -> None:
    assert retrain.cancel(waiting.pk, "grace")
    waiting.refresh_from_db()
    assert (waiting.state, waiting.cancel_requested_by) == ("cancelled", "grace")
    assert hold.claim(waiting.pk) is None
    assert not retrain.cancel(waiting.pk, "grace")
    assert not ask().joined


def test_cancelled_while_it_runs(waiting: TrainingRun) -> None:
    claimed = hold.claim(waiting.pk)
    assert claimed
    mine = hold.Hold(claimed)
    assert retrain.cancel(waiting.pk, "grace")
    with pytest.raises(hold.Lost), mine.ending():
        pass
    waiting.refresh_from_db()
    assert waiting.state == "cancelled"


def test_cancelling_what_is_not_there() -> None:
    with pytest.raises(errors.RunNotFound):
        retrain.cancel(uuid.uuid4(), "grace")


# --- By count -------------------------------------------------------------------------------------------------------


def approve(count: int) -> None:
    for _ in range(count):
        a_drawing()
    retrain.after_approval()


def test_off_unless_it_is_set() -> None:
    approve(5)
    assert not TrainingRun.objects.exists()


def test_enough_new_drawings_start_a_run() -> None:
    Policy.objects.update(retrain_after=3)
    approve(2)
    assert not TrainingRun.objects.exists()
    approve(1)
    run = TrainingRun.objects.get()
    assert (run.trigger, run.kind, run.requested_by) == ("count", "head", "3 newly approved drawings")
    approve(1)
    assert TrainingRun.objects.count() == 1  # it waits, and will see that one too
    over(run)
    approve(2)
    assert TrainingRun.objects.count() == 1
    approve(1)
    assert TrainingRun.objects.filter(state="queued").count() == 1


def test_a_run_that_failed_is_not_started_again_with_every_approval() -> None:
    Policy.objects.update(retrain_after=2)
    approve(2)
    over(TrainingRun.objects.get(), state=State.FAILED, outcome="", verdict=None)
    approve(1)
    assert TrainingRun.objects.count() == 1


def test_the_kind_is_the_policy_s() -> None:
    Policy.objects.update(retrain_after=1, retrain_kind="full")
    approve(1)
    assert TrainingRun.objects.get().kind == "full"
