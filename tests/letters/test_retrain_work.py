"""A retraining at work in this process: it learns, is judged, is registered and promoted, or leaves no trace."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from letters import examine, hold, registry, retrain
from letters.models import Deployment, Drawing, ModelVersion, Policy, TrainingRun
from ml import artifact, gate, head
from tests.letters.collected import a_drawing, somebody
from tests.running import ROOT, wait_for

pytestmark = [pytest.mark.django_db(transaction=True, serialized_rollback=True), pytest.mark.slow]


@pytest.fixture(autouse=True)
def champion(settings: Any, tmp_path: Path) -> ModelVersion:
    """The model that serves, and 40 drawings to learn from."""
    settings.MEDIA_ROOT, settings.MODEL_CACHE_DIR = tmp_path / "media", tmp_path / "cache"
    settings.RUNS_DIR = tmp_path / "runs"
    examine._examiner.cache_clear()  # it knows the rows of the test before
    version = registry.register_shipped()
    for number in range(40):
        a_drawing("LTVXZ"[number % 5], model=version)
    return version


def do(**config: Any) -> TrainingRun:
    run = retrain.start("head", "button", "ada", config=config).run
    retrain.work(run.pk)
    run.refresh_from_db()
    return run


@pytest.fixture
def verdict(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Lets the gate say yes or no, whatever it sees; what it says else is its own."""

    def say(passed: bool) -> None:
        judge = gate.judge

        def judged(*sides: Any) -> gate.Verdict:
            found = judge(*sides)
            return gate.Verdict(passed, "It is so.", [] if passed else ["It is not."], found.tests)

        monkeypatch.setattr(gate, "judge", judged)

    return say


def test_it_works(champion: ModelVersion, settings: Any, verdict: Callable[[bool], None]) -> None:
    verdict(True)
    a_drawing("Z", contributor=somebody(held_out=True), model=champion)
    run = do()
    assert (run.state, run.outcome, run.message) == ("done", "promoted", "It is so."), run.log
    assert run.champion == champion
    assert (run.drawing_count, run.counts) == (40, dict.fromkeys("LTVXZ", 8))
    assert (run.attempts, run.claim) == (1, None)
    assert run.progress["share"] == 1
    assert {each["set"] for each in run.verdict["tests"]} == {"emnist", "collected"}
    candidate = run.candidate
    assert candidate
    assert (candidate.number, candidate.origin, candidate.name) == (2, "trained", "Head of 40 drawings")
    assert registry.current() == candidate
    assert registry.trunk_of(candidate) == registry.trunk_of(champion)
    deployment = Deployment.objects.first()
    assert deployment
    assert (deployment.previous, deployment.actor, deployment.reason) == (champion, "ada", "It is so.")
    assert deployment.run == run
    assert artifact.verify(registry.fetch(candidate.digest)) == candidate.digest
    assert list(settings.RUNS_DIR.iterdir()) == []


def test_a_refused_candidate_is_there_to_be_looked_at(champion: ModelVersion, verdict: Callable[[bool], None]) -> None:
    verdict(False)
    run = do()
    assert (run.state, run.outcome) == ("done", "refused")
    assert run.candidate
    assert run.verdict["reasons"] == ["It is not."]
    assert registry.current() == champion


def test_a_passed_candidate_waits_where_the_policy_says_so(
    champion: ModelVersion, verdict: Callable[[bool], None]
) -> None:
    verdict(True)
    Policy.objects.update_or_create(id=1, defaults={"promote_passed": False})
    run = do()
    assert (run.outcome, registry.current()) == ("passed", champion)
    assert run.candidate
    registry.promote_by_hand(run.candidate.number, actor="grace", reason="it passed")
    run.refresh_from_db()
    assert (run.outcome, registry.current()) == ("promoted", run.candidate)
    assert Deployment.objects.values_list("actor", "run").first() == ("grace", None)


def test_a_champion_that_changed_meanwhile_is_not_replaced(
    champion: ModelVersion, verdict: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The candidate was compared with another one than it would replace."""
    verdict(True)
    other = ModelVersion.objects.create(number=2, digest="2" * 64, name="Other", origin="trained")
    store = registry.store

    def meanwhile(folder: Path) -> str:
        registry.promote(other, actor="grace", reason="I know better")
        return store(folder)

    monkeypatch.setattr(registry, "store", meanwhile)
    run = do()
    assert (run.outcome, registry.current()) == ("passed", other)
    assert "a maintainer decides" in run.message


def test_the_configuration_reaches_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    fit = head.retrain_head

    def fitted(*arguments: Any) -> None:
        seen.extend(arguments)
        fit(*arguments)

    monkeypatch.setattr(head, "retrain_head", fitted)
    run = do(pull=7, iterations=5, seed=3)
    _, _, collected, config, seed, _ = seen
    assert (config.pull, config.iterations, seed) == (7, 5, 3)
    assert len(collected) == 40
    assert collected.features.shape == (40, 128)
    assert run.state == "done"


def test_a_queued_run_that_finds_nothing_new_says_so(verdict: Callable[[bool], None]) -> None:
    verdict(False)
    first = retrain.start("head", "button", "ada").run
    assert hold.claim(first.pk)
    second = retrain.start("head", "button", "grace").run
    TrainingRun.objects.filter(pk=first.pk).update(state="queued", kind="full", claim=None)  # out of the way
    TrainingRun.objects.filter(pk=first.pk).update(state="failed")
    do_first = retrain.start("head", "button", "ada")
    assert do_first.joined
    retrain.work(second.pk)
    again = TrainingRun.objects.create(kind="head", trigger="button", requested_by="ada", config=second.config)
    retrain.work(again.pk)
    again.refresh_from_db()
    assert (again.state, again.outcome, again.candidate) == ("done", "", None)
    assert "nothing new to learn from" in again.message


@pytest.mark.parametrize("stage", ["features", "fitting", "judging", "registering"])
def test_cancelled_at_any_stage(
    champion: ModelVersion, settings: Any, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops at once, and leaves nothing."""
    report, found_out = hold.Hold.report, []

    def reported(self: hold.Hold, progress: dict[str, Any]) -> None:
        if progress["stage"] == stage and not self.lost:
            assert retrain.cancel(self.run.pk, "grace")
            found_out.append(wait_for(lambda: self.lost, "the worker finds out", 60))
        report(self, progress)

    monkeypatch.setattr(hold.Hold, "report", reported)
    run = do()
    assert found_out == [True]
    assert (run.state, run.cancel_requested_by) == ("cancelled", "grace")
    assert (run.candidate, ModelVersion.objects.count(), registry.current()) == (None, 1, champion)
    assert list(settings.RUNS_DIR.iterdir()) == []


def test_cancelled_in_the_last_moment(
    champion: ModelVersion, monkeypatch: pytest.MonkeyPatch, verdict: Callable[[bool], None]
) -> None:
    """After all the checks, before the transaction."""
    verdict(True)
    store = registry.store

    def cancelled(folder: Path) -> str:
        digest = store(folder)
        TrainingRun.objects.update(state="cancelled", claim=None)
        return digest

    monkeypatch.setattr(registry, "store", cancelled)
    run = do()
    assert (run.state, run.candidate, ModelVersion.objects.count()) == ("cancelled", None, 1)
    assert registry.current() == champion


def test_a_fault_is_told_and_leaves_what_served_serving(
    champion: ModelVersion, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError("the matrix has no rows")

    monkeypatch.setattr(head, "retrain_head", broken)
    run = do()
    assert (run.state, run.message) == ("failed", "ZeroDivisionError: the matrix has no rows")
    assert "the matrix has no rows" in run.log
    assert registry.current() == champion
    assert list(settings.RUNS_DIR.iterdir()) == []


def test_a_fault_at_the_finish_leaves_nothing_half_done(
    champion: ModelVersion, monkeypatch: pytest.MonkeyPatch, verdict: Callable[[bool], None]
) -> None:
    """Registered, promoted and told in one transaction: here the very last of it fails."""
    verdict(True)
    promote = registry.promote

    def promoted(*arguments: Any, **more: Any) -> None:
        promote(*arguments, **more)
        raise ZeroDivisionError("the lamp went out")

    monkeypatch.setattr(registry, "promote", promoted)
    run = do()
    assert (run.state, run.message) == ("failed", "ZeroDivisionError: the lamp went out")
    assert (run.candidate, ModelVersion.objects.count(), registry.current()) == (None, 1, champion)
    assert Deployment.objects.count() == 1


def test_a_drawing_withdrawn_meanwhile_is_not_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    fit = head.retrain_head
    fetch = registry.fetch

    def withdrawn(digest: str) -> Path:
        Drawing.objects.filter(label="Z").delete()
        return fetch(digest)

    def fitted(*arguments: Any) -> None:
        seen.append(len(arguments[2]))
        fit(*arguments)

    monkeypatch.setattr(registry, "fetch", withdrawn)
    monkeypatch.setattr(head, "retrain_head", fitted)
    do()
    assert seen == [32]


def test_progress_is_written_while_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a thread of its own: also while the work itself says nothing."""
    fit = head.retrain_head

    def slow(*arguments: Any) -> None:
        row = TrainingRun.objects.get()
        beat = row.heartbeat_at

        def later() -> bool:
            row.refresh_from_db()
            return row.heartbeat_at != beat and row.progress.get("stage") == "fitting"

        wait_for(later, "the heart beats", 60)
        assert "drawings of 5 classes" in row.log
        fit(*arguments)

    monkeypatch.setattr(head, "retrain_head", slow)
    assert do().state == "done"
    assert not [each for each in threading.enumerate() if each.name.startswith("run ")]


def test_numbers_that_no_database_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = head.retrain_head

    def odd(*arguments: Any) -> None:
        import numpy as np

        arguments[5]({"stage": "fitting", "share": np.float32(0.5), "loss": float("nan"), "epoch": np.int64(3)})
        wait_for(lambda: TrainingRun.objects.get().progress.get("epoch") == 3, "it is written", 60)
        fit(*arguments)

    monkeypatch.setattr(head, "retrain_head", odd)
    assert do().state == "done"


# --- All layers, in a process of its own ----------------------------------------------------------------------------

CHILD = """
import json, pathlib, sys
work = pathlib.Path(sys.argv[1])
"""


def run_child(monkeypatch: pytest.MonkeyPatch, code: str, **config: Any) -> TrainingRun:
    """A full run whose training is this program."""
    learn = retrain.run_child

    def instead(held: hold.Hold, command: list[str], folder: Path) -> None:
        learn(held, [command[0], "-c", CHILD + code, str(folder)], folder)

    monkeypatch.setattr(retrain, "run_child", instead)
    run = retrain.start("full", "button", "ada", config={"epochs": 2} | config).run
    retrain.work(run.pk)
    run.refresh_from_db()
    return run


def test_a_training_that_cannot_be_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_child(monkeypatch, "print('no archive: set EMNIST_ARCHIVE', file=sys.stderr); sys.exit(3)")
    assert (run.state, run.message) == ("failed", "no archive: set EMNIST_ARCHIVE")


def test_a_training_that_breaks_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_child(monkeypatch, "raise ValueError('odd shape')")
    assert (run.state, run.message) == ("failed", "the training ended with ValueError: odd shape")
    assert "Traceback" in run.log


def test_a_training_that_is_killed_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_child(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    assert run.state == "failed"
    assert "SIGKILL" in run.message


ORPHAN = """
import os, signal, subprocess
from letters.embedded import end_with_parent
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as in Celery's pool, where REMAP_SIGTERM is set
print(subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, preexec_fn=end_with_parent).pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_training_dies_with_a_trainer_that_ignores_signals() -> None:
    told = subprocess.run([sys.executable, "-c", ORPHAN], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    command = Path("/proc") / told.stdout.strip() / "cmdline"
    wait_for(lambda: not command.exists() or not command.read_bytes(), "it is gone", 60)


def test_a_training_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """One that only repeats itself hangs too: a thread of its own may go on talking."""
    settings.RUN_SILENT_AFTER = 1.5
    run = run_child(
        monkeypatch, 'import time\nfor _ in range(100): print(\'{"stage": "training"}\', flush=True), time.sleep(0.1)'
    )
    assert run.state == "failed"
    assert "said nothing new" in run.message
    assert run.finished_at - run.started_at < timedelta(seconds=20)


def test_a_training_that_goes_on_is_let_be(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.RUN_SILENT_AFTER = 6
    code = "import time\nfor each in range(80): print(json.dumps({'share': each / 80}), flush=True), time.sleep(0.1)"
    run = run_child(monkeypatch, code + "\nprint('enough', file=sys.stderr); sys.exit(3)")
    assert run.message == "enough"


@pytest.mark.parametrize(("asked", "given"), [({}, "bymerge"), ({"dataset": "balanced"}, "balanced")], ids=str)
def test_what_the_champion_learned_is_learned_again(
    champion: ModelVersion, asked: dict[str, str], given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion.config["train"]["dataset"] = "bymerge"
    champion.save()
    code = "print(json.loads((work / 'job.json').read_text())['dataset'], file=sys.stderr); sys.exit(3)"
    run = run_child(monkeypatch, code, **asked)
    assert run.message == given
    assert f"those of {given}" in run.log


def test_the_job_and_its_progress(
    champion: ModelVersion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any
) -> None:
    """What the training is given, and what comes of the lines that it prints."""
    code = f"""
import numpy, shutil, time
print("a library says hello", flush=True)
print(json.dumps({{"stage": "training", "epoch": 1.0, "epochs": 2, "loss": 0.5, "share": 0.5}}), flush=True)
saved = pathlib.Path({str(tmp_path / "seen.json")!r})
arrays = numpy.load(work / "collected.npz")
saved.write_text(json.dumps([
    json.loads((work / "job.json").read_text()), arrays["images"].shape, arrays["weights"].tolist()]))
print(json.dumps({{"stage": "training", "epoch": 2.0, "epochs": 2, "loss": 0.25, "share": 1.0}}), flush=True)
shutil.copytree({str(artifact.SHIPPED)!r}, work / "artefact")
"""
    run = run_child(monkeypatch, code)
    assert run.state == "done", run.log
    assert run.candidate == champion  # the very same artefact
    assert run.progress["curve"] == [[1.0, 0.5, None], [2.0, 0.25, None]]
    job, shape, weights = json.loads((tmp_path / "seen.json").read_text())
    assert Path(job["parent"]) == settings.MODEL_CACHE_DIR / champion.digest
    assert (job["mode"], job["epochs"], job["seed"], job["dataset"]) == ("finetune", 2, 0, "open37")
    assert shape == [40, 28, 28]
    assert len(weights) == 40


def test_an_attempt_goes_on_where_the_last_one_was(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    run = retrain.start("full", "button", "ada").run
    left = settings.RUNS_DIR / f"{run.pk}-1"
    claimed = hold.claim(run.pk)
    assert claimed
    taken = retrain.Snapshot.take()
    base = registry.current()
    assert hold.work_folder(claimed, taken, base) == left
    (left / "checkpoint").write_text("half way")
    claimed.attempts = 2
    folder = hold.work_folder(claimed, taken, base)
    assert (folder / "checkpoint").read_text() == "half way"
    assert not left.exists()  # whoever is still at work there finds nothing
    Drawing.objects.first().delete()
    claimed.attempts = 3
    folder = hold.work_folder(claimed, retrain.Snapshot.take(), base)
    assert not (folder / "checkpoint").exists()  # it learned from something else


def test_workers_that_bring_it_on_are_not_held_against_it() -> None:
    """A platform that restarts its machines every day must not end a training of two days."""
    waiting = retrain.start("head", "button", "ada").run
    for share in (0.1, 0.2, 0.3, 0.4):
        claimed = hold.claim(waiting.pk)
        assert claimed
        bring_to(share, claimed)
        fall_silent(waiting)
    assert TrainingRun.objects.get(pk=waiting.pk).attempts == 4


def test_workers_that_die_where_others_died_are_held_against_it() -> None:
    waiting = retrain.start("head", "button", "ada").run
    for share in (0.3, 0.1, 0.31):
        claimed = hold.claim(waiting.pk)
        assert claimed
        bring_to(share, claimed)
        fall_silent(waiting)
    assert TrainingRun.objects.get(pk=waiting.pk).fruitless == 2  # the first brought it on
    assert hold.claim(waiting.pk)
    fall_silent(waiting)
    assert hold.claim(waiting.pk) is None


def bring_to(share: float, run: TrainingRun) -> None:
    """Work on a run until it is known to be so far, and no longer."""

    def known() -> bool:
        progress = TrainingRun.objects.values_list("progress", flat=True).get(pk=run.pk)
        return bool(progress.get("share") == share)

    with hold.Hold(run) as working:
        working.report({"stage": "training", "share": share})
        wait_for(known, "it is written down", 60)


def fall_silent(run: TrainingRun) -> None:
    """As if its worker had died a while ago."""
    TrainingRun.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now() - timedelta(seconds=31))
