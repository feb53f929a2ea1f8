"""From approved drawings to a model that serves, or to the reason why none does: start, work, judge, finish."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from letters import census, errors, influence, registry
from letters.embedded import end_with_parent
from letters.hold import ATTEMPTS, Hold, Lost, claim, clear_folders, line, stale_after, work_folder
from letters.models import Drawing, ModelVersion, Policy, TrainingRun
from letters.snapshots import Snapshot, holdout, images_of, labels_of, learnable, packed_ids
from ml.artifact import BadArtifact
from ml.labels import CLASSES

if TYPE_CHECKING:
    from ml.gate import Verdict
    from ml.head import Collected

log = logging.getLogger(__name__)

State, Outcome, Kind = TrainingRun.State, TrainingRun.Outcome, TrainingRun.Kind
AT_ONCE = 200  # drawings whose features are brought together without a look at whether the run was cancelled
COLLECTED = "collected.npz"  # in a run's folder: the images of drawings
CANNOT = 3  # exit status of ml.finetune where it says in words why it cannot
SHARES = {"collecting": 0.0, "features": 0.02, "training": 0.02, "fitting": 0.3, "judging": 0.85, "registering": 0.95}
EXPIRY = 10.0  # seconds: `watch` sends again by then

NUMBERS: dict[str, dict[str, tuple[float, float]]] = {
    "head": {
        "collected_weight": (0, 1000),
        "replay_per_class": (1, 400),
        "keep": (0, 1),
        "pull": (0, 1e6),
        "iterations": (1, 10_000),
        "tolerance": (0, 1),
        "class_guard": (0, 100),
    },
    "full": {
        "epochs": (0.01, 1000),
        "collected_share": (0.01, 0.9),
        "batch_size": (8, 4096),
        "learning_rate": (1e-6, 0.1),
        "keep": (0, 1),
        "blend": (0.01, 1),
        "checkpoint_seconds": (1, 3600),
    },
}
"""What a configuration may hold for each kind, and from where to where; `seed`, and for `full` some WORDS, besides."""
MODES = ("finetune", "scratch")
WORDS = {  # of `full`: what they may be, and that in words
    "mode": (re.compile("|".join(MODES)), " or ".join(MODES)),
    "dataset": (re.compile("[a-z0-9]{1,40}"), "the name of a dataset of EMNIST, such as balanced"),
}
WHOLE = ("replay_per_class", "iterations", "batch_size", "seed")
FULL_DEFAULTS: dict[str, Any] = {"mode": "finetune", "collected_share": 40 / 256}  # for the others see ml.finetune


# --- Start ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Started:
    """A run that was asked for; `joined` where one that was waiting already stands for it."""

    run: TrainingRun
    joined: bool


def start(kind: str, trigger: str, requested_by: str, config: dict[str, Any] | None = None) -> Started:
    """Ask for a retraining. One of the same kind that still waits stands for this one too: it will learn from the same.

    Raises BadConfiguration, NoModel and NothingToLearn.
    """
    wanted = _checked(kind, config or {})
    with transaction.atomic():
        started = _join(kind, requested_by) or _queue(kind, trigger, requested_by, wanted)
    if not started.joined:
        _send(started.run.pk)
    return started


def _join(kind: str, requested_by: str) -> Started | None:
    waiting = TrainingRun.objects.select_for_update().filter(kind=kind, state=State.QUEUED).first()
    if waiting is None:
        return None
    waiting.log += line(f"{requested_by} asked for it too")
    waiting.save(update_fields=["log"])
    return Started(waiting, joined=True)


def _queue(kind: str, trigger: str, requested_by: str, wanted: dict[str, Any]) -> Started:
    champion = registry.current()
    seed = wanted.pop("seed", 0)
    refuse_to_repeat(Snapshot.take(), kind, champion, influence.base_of(champion), seed, wanted)
    running = TrainingRun.objects.filter(state=State.RUNNING).first()
    run = TrainingRun(kind=kind, trigger=trigger, requested_by=requested_by[:150], seed=seed, config=wanted)
    run.message = f"waits until the run {running} is over" if running else "waits for a worker"
    run.log = line(f"asked for by {requested_by}")
    try:
        with transaction.atomic():
            run.save(force_insert=True)
    except IntegrityError:  # somebody else was a moment quicker
        joined = _join(kind, requested_by)
        if joined is None:
            raise
        return joined
    return Started(run, joined=False)


def _checked(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """A configuration in which all is known and within its limits. Raises BadConfiguration."""
    if kind not in NUMBERS:
        raise errors.BadConfiguration(f"a retraining is {' or '.join(NUMBERS)}, not {kind!r}", field="kind")
    numbers = NUMBERS[kind] | {"seed": (0, 2**31 - 1)}
    words = WORDS if kind == "full" else {}
    for name, value in config.items():
        if name in words:
            _check_word(name, value)
        elif name in numbers:
            _check_number(name, value, *numbers[name])
        else:
            known = ", ".join(sorted([*numbers, *words]))
            raise errors.BadConfiguration(f"{kind} has no {name!r}; it has {known}", field="config")
    return _defaults(kind) | config


def _check_word(name: str, value: Any) -> None:
    pattern, words = WORDS[name]
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise errors.BadConfiguration(f"{name} is {words}, not {value!r}", field="config")


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    number = isinstance(value, int if name in WHOLE else int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        kind_of = "a whole number" if name in WHOLE else "a number"
        raise errors.BadConfiguration(f"{name} is {kind_of} from {low:g} to {high:g}", field="config")


def _defaults(kind: str) -> dict[str, Any]:
    """The configuration of whoever asks for nothing in particular."""
    from ml.head import HeadConfig

    return asdict(HeadConfig()) if kind == "head" else dict(FULL_DEFAULTS)


def refuse_to_repeat(
    snapshot: Snapshot, kind: str, champion: ModelVersion, base: ModelVersion, seed: int, config: dict[str, Any]
) -> None:
    """Raises NothingToLearn where there is no drawing to learn from, or where it was all learned from already.

    Where the champion learned from what was withdrawn, so that a run starts from another `base`, the same drawings are
    learned from once more.
    """
    if not snapshot.ids:
        raise errors.NothingToLearn(
            "there is nothing to learn from: no approved drawing of somebody who is not held out for judging."
            " Review some drawings first" + ("" if base == champion else _roll_back_words(champion, base))
        )
    before = (
        TrainingRun.objects.filter(kind=kind, state=State.DONE, verdict__isnull=False)
        .select_related("champion", "candidate")
        .order_by("-finished_at")
        .first()
    )
    asked = (snapshot.digest, seed, config)
    if before is None or (before.snapshot_hash, before.seed, before.config) != asked:
        return
    if base != champion and (before.candidate is None or before.candidate.config.get("parent") != base.digest):
        return
    trunk = registry.trunk_of(champion)
    judged = [each for each in (before.champion, before.candidate) if each is not None]
    if trunk in {registry.trunk_of(each) for each in judged}:
        raise errors.NothingToLearn(
            f"there is nothing new to learn from: the run {before} of {before.finished_at:%d %B, %H:%M} UTC had"
            f" these {len(snapshot.ids)} drawings ({before.get_outcome_display()}). Review some more first"
        )


def _roll_back_words(champion: ModelVersion, base: ModelVersion) -> str:
    return (
        f". {str(champion).capitalize()} serves, which learned from drawings that were withdrawn since: to let {base}"
        f" serve, which did not, run `manage.py rollback {base.number}`"
    )


def after_approval() -> None:
    """Start a retraining where as many drawings were approved since the last as the policy asks for."""
    policy = _policy()
    if not policy.retrain_after:
        return
    fresh = approved_since_the_last()
    if fresh < policy.retrain_after:
        return
    with suppress(errors.Refusal):
        start(policy.retrain_kind, TrainingRun.Trigger.COUNT, f"{fresh} newly approved drawings")


def approved_since_the_last() -> int:
    """How many drawings could be learned from that were approved since the last run, however that ended."""
    runs = TrainingRun.objects.exclude(snapshot_hash="").order_by("-started_at")
    last = runs.values_list("drawing_ids", "started_at").first()
    if last is None:
        return census.up_to(learnable())
    drawing_ids, started_at = last
    known = packed_ids(bytes(drawing_ids))  # it took its snapshot a moment after it was started
    lately = learnable().filter(state_since__gte=started_at).order_by("-state_since")
    return sum(pk.bytes not in known for pk in lately.values_list("pk", flat=True)[: census.LIMIT])


def resume_stalled() -> None:
    """Send again what waits, and what a worker left when it died; give up what cost too many workers."""
    silent = TrainingRun.objects.filter(state=State.RUNNING, heartbeat_at__lt=Now() - stale_after())
    silent.filter(fruitless__gte=ATTEMPTS).update(
        state=State.FAILED,
        claim=None,
        finished_at=Now(),
        message=f"{ATTEMPTS} workers in a row began it and ended without a word; the last lines of its log and of the"
        " trainer's say how far they came",
    )
    for run in silent:
        log.warning("the worker of the run %s is silent since %s: it is sent again", run, run.heartbeat_at)
        _send(run.pk, expires=EXPIRY)
    if not TrainingRun.objects.filter(state=State.RUNNING).exists():
        _send_next(expires=EXPIRY)


def cancel(run_id: uuid.UUID, by: str) -> bool:
    """End a run that waits or runs, at once: its worker finds its claim gone within a second, and stops.

    Whether it was not over yet. Raises RunNotFound.
    """
    ended = TrainingRun.objects.filter(pk=run_id, state__in=(State.QUEUED, State.RUNNING)).update(
        state=State.CANCELLED,
        claim=None,
        cancel_requested_by=by[:150],
        finished_at=timezone.now(),
        message="cancelled",
    )
    if not ended and not TrainingRun.objects.filter(pk=run_id).exists():
        raise errors.RunNotFound
    return bool(ended)


def _send(run_id: uuid.UUID, expires: float | None = None) -> None:
    from letters import tasks

    transaction.on_commit(lambda: tasks.send(tasks.retrain, str(run_id), expires=expires))


def _send_next(expires: float | None = None) -> None:
    waiting = TrainingRun.objects.filter(state=State.QUEUED).order_by("created_at").values_list("pk", flat=True).first()
    if waiting is not None:
        _send(waiting, expires)


# --- Work -----------------------------------------------------------------------------------------------------------


def work(run_id: uuid.UUID) -> None:
    """Do a run, if it waits and no other runs, or if its worker has died: learn, judge, register, promote."""
    run = claim(run_id)
    if run is None:
        return
    log.info("the run %s begins", run)
    try:
        with Hold(run) as hold:
            _work(hold)
    finally:
        clear_folders()
        _send_next()


def _work(hold: Hold) -> None:
    try:
        _learn(hold)
    except Lost:
        log.info("the run %s is no longer ours: it was cancelled, or another worker has it", hold.run)
    except (errors.Refusal, BadArtifact) as refusal:
        _fail(hold, str(refusal))
    except Exception as error:
        log.exception("the run %s failed", hold.run)
        _fail(hold, f"{type(error).__name__}: {error}")


def _reach(hold: Hold, stage: str, words: str) -> None:
    hold.reach(stage, words, SHARES[stage])


def _fail(hold: Hold, words: str) -> None:
    hold.say(words)
    log.error("the run %s failed: %s", hold.run, words)
    with suppress(Lost), hold.ending() as run:
        run.state, run.message = State.FAILED, words


def _learn(hold: Hold) -> None:
    from ml import gate

    run, began = hold.run, time.monotonic()
    if run.attempts > 1:
        hold.say(f"taken up again, attempt {run.attempts}: the worker before ended without a word")
    _reach(hold, "collecting", "looking for approved drawings")
    champion, snapshot, policy = registry.current(), Snapshot.take(), _policy()
    base = influence.base_of(champion)
    try:
        refuse_to_repeat(snapshot, run.kind, champion, base, run.seed, run.config)
    except errors.NothingToLearn as nothing:
        hold.say(nothing.message)
        with hold.ending() as run:
            run.state, run.message, run.champion = State.DONE, nothing.message, champion
        return
    hold.write(
        champion=champion,
        drawing_count=len(snapshot.ids),
        counts=snapshot.counts,
        drawing_ids=snapshot.packed,
        snapshot_hash=snapshot.digest,
    )
    hold.say(f"{len(snapshot.ids)} drawings of {len(snapshot.counts)} classes; {champion} serves")
    if base != champion:
        hold.say(f"it starts from {base}, for {champion} learned from drawings that were withdrawn since")
    folder = work_folder(run, snapshot, base)
    learn = _learn_head if run.kind == Kind.HEAD else _learn_full
    candidate = learn(hold, snapshot, base, registry.fetch(base.digest), folder, policy)
    _reach(hold, "judging", "comparing it with the model that serves")
    limits = gate.Limits(
        significance=policy.significance, class_loss=policy.class_loss, holdout_minimum=policy.holdout_minimum
    )
    verdict = gate.judge(registry.fetch(champion.digest), candidate, holdout(), limits)
    hold.say(verdict.summary)
    _reach(hold, "registering", "trying it, and bringing it to storage")
    digest = registry.store(candidate)
    hold.check()
    hold.say(f"done after {time.monotonic() - began:.1f} s")
    _finish(hold, champion, candidate, digest, verdict, promote=policy.promote_passed)


def _finish(
    hold: Hold, champion: ModelVersion, candidate: Path, digest: str, verdict: Verdict, *, promote: bool
) -> None:
    """Register the candidate, and let it serve if it may: all of it, or, where the run is not ours, nothing of it."""
    with hold.ending() as run:
        name = f"{run.get_kind_display().partition(':')[0].capitalize()} of {run.drawing_count} drawings"
        run.candidate = registry.enter(digest, candidate, name=name, origin=ModelVersion.Origin.TRAINED)
        run.state, run.verdict, run.message = State.DONE, verdict.to_json(), verdict.summary
        if not verdict.passed:
            run.outcome = Outcome.REFUSED
        elif not promote:
            run.outcome = Outcome.PASSED
        elif (serves := registry.current()) != champion:
            run.outcome = Outcome.PASSED
            run.message += f" But it was judged against {champion}, and by now {serves} serves: a maintainer decides."
        else:
            run.outcome = Outcome.PROMOTED
            registry.promote(run.candidate, actor=run.requested_by, reason=verdict.summary, run=run)


# --- The last layer alone --------------------------------------------------------------------------------------------


def _learn_head(hold: Hold, snapshot: Snapshot, base: ModelVersion, parent: Path, folder: Path, policy: Policy) -> Path:
    from ml.head import HeadConfig, retrain_head

    config = HeadConfig(**hold.run.config)
    weigh = Weighing(config.replay_per_class, config.collected_weight, policy.contributor_share)
    collected, _ = collect(hold, snapshot, weigh, features_by=base.digest)
    _reach(hold, "fitting", "fitting the last layer")
    candidate = folder / "artefact"
    retrain_head(parent, candidate, collected, config, hold.run.seed, _between(hold, "fitting", "judging"))
    return candidate


@dataclass(frozen=True)
class Weighing:
    """What the EMNIST letters of a class weigh in all, what one drawing does, and what share one person may have."""

    base: float
    weight: float
    share: float


def collect(
    hold: Hold, snapshot: Snapshot, weigh: Weighing, features_by: str | None = None
) -> tuple[Collected, list[uuid.UUID]]:
    """What the snapshot names, as far as it was not withdrawn meanwhile, and the ids of it."""
    from letters.examine import features_of
    from ml.head import Collected, contributor_weights

    label_of = dict(zip(snapshot.ids, snapshot.labels, strict=True))
    images, labels, people, features, ids = [], [], [], [], []
    for at in range(0, len(snapshot.ids), AT_ONCE):
        some = snapshot.ids[at : at + AT_ONCE]
        drawings = list(Drawing.objects.filter(pk__in=some).defer("strokes").order_by("pk"))
        ids += [each.pk for each in drawings]
        images += [bytes(each.image) for each in drawings]
        labels += [label_of[each.pk] for each in drawings]
        people += [each.contributor_id for each in drawings]
        if features_by:
            share = SHARES["features"] + at / len(snapshot.ids) * (SHARES["fitting"] - SHARES["features"])
            hold.report({"stage": "features", "share": share, "message": "bringing together what the model sees"})
            features.append(features_of(drawings, features_by))
    hold.check()
    numbers = labels_of(labels)
    weights = contributor_weights(numbers, people, weigh.base, weigh.weight, weigh.share)
    return Collected(images_of(images), numbers, weights, np.concatenate(features) if features else None), ids


def _between(hold: Hold, first: str, last: str) -> Any:
    """A callback that puts the share of one stage into its place among all stages."""
    low, high = SHARES[first], SHARES[last]

    def report(progress: dict[str, Any]) -> None:
        share = min(1.0, max(0.0, float(progress.get("share", 0.0))))
        hold.report({"stage": first} | progress | {"share": low + share * (high - low)})

    return report


# --- All layers, in a process of its own ----------------------------------------------------------------------------


def _learn_full(hold: Hold, snapshot: Snapshot, base: ModelVersion, parent: Path, folder: Path, policy: Policy) -> Path:
    config = {"dataset": base.config["train"]["dataset"]} | FULL_DEFAULTS | hold.run.config
    if not (folder / "job.json").exists():
        _write_job(hold, snapshot, parent, folder, policy, config)
    _reach(hold, "training", "starting the training of all layers in a process of its own")
    run_child(hold, [sys.executable, "-m", "ml.finetune", str(folder)], folder)
    return folder / "artefact"


def _write_job(
    hold: Hold, snapshot: Snapshot, parent: Path, folder: Path, policy: Policy, config: dict[str, Any]
) -> None:
    part = config["collected_share"]  # of each batch; all drawings make it up, and the letters of EMNIST the rest
    emnist = (1 - part) / part * len(snapshot.ids) / len(CLASSES)
    collected, collected_ids = collect(hold, snapshot, Weighing(emnist, 1.0, policy.contributor_share))
    np.savez(
        folder / COLLECTED,
        images=collected.images,
        labels=collected.labels,
        weights=collected.weights,
        ids=np.frombuffer(b"".join(each.bytes for each in collected_ids), np.uint8).reshape(-1, 16),
    )
    hold.say(f"the letters of EMNIST are those of {config['dataset']}")
    (folder / "job.json").write_text(json.dumps({"parent": str(parent), "seed": hold.run.seed} | config))


def run_child(hold: Hold, command: list[str], folder: Path) -> None:
    """Run a training to its end, its lines as progress. It dies with this process, when the claim is lost, and when it
    says nothing new for too long.
    """
    report, last, forgotten = _between(hold, "training", "judging"), "", 0
    with (folder / "stderr.txt").open("w+") as said:
        child = subprocess.Popen(
            command,
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,
            preexec_fn=end_with_parent,  # the kernel counts the thread that starts it as the parent: this one stays
        )
        hold.look_after(child)
        hold.check()  # it may have been lost before there was a child to end
        assert child.stdout is not None  # noqa: S101 - for the type checker
        for line in child.stdout:
            if line != last:  # one that hangs may still have a thread that repeats how far it was
                hold.heard()
                last = line
            _take_line(hold, line, report)
            forgotten = forget_withdrawn(folder, hold.run.started_at, forgotten)
        status = child.wait()
        hold.check()
        said.seek(0)
        _judge_end(hold, status, said.read().strip().splitlines())


def forget_withdrawn(folder: Path, since: datetime | None, known: int) -> int:
    """Take drawings that were withdrawn since a time out of a run's folder, if there are more than the `known` ones;
    how many there are. The training has read them by then, and ends with what it read; an attempt after it begins anew.
    """
    gone = {each.bytes for each in influence.withdrawn_since(since)}
    path = folder / COLLECTED
    if len(gone) == known or not path.exists():
        return len(gone)
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    stays = np.array([each.tobytes() not in gone for each in arrays["ids"]], bool)
    if not stays.all():
        aside = folder / f"aside-{COLLECTED}"
        np.savez(aside, **{name: values[stays] for name, values in arrays.items()})
        aside.replace(path)
    return len(gone)


def _take_line(hold: Hold, line: str, report: Any) -> None:
    try:
        progress = json.loads(line)
    except ValueError:
        hold.check()
        return  # a library that prints
    if isinstance(progress, dict):
        if progress.get("message"):
            hold.say(str(progress["message"]))
        report(progress)


def _judge_end(hold: Hold, status: int, said: list[str]) -> None:
    if status == 0:
        return
    if status == CANNOT and said:
        raise errors.CannotTrain(said[-1])
    for words in said[-20:]:
        hold.say(words)
    if hold.child_hung:
        raise errors.CannotTrain(
            f"the training said nothing new for {settings.RUN_SILENT_AFTER / 60:g} minutes and was ended: it hangs, or"
            " the machine is very busy. Start it again, or give it more time with RUN_SILENT_AFTER (seconds)"
        )
    if status < 0:
        reason = f"was killed by {signal.Signals(-status).name}; where that was not by hand, memory may have run out"
        raise errors.CannotTrain(f"the training {reason}")
    raise errors.CannotTrain(f"the training ended with {said[-1] if said else f'status {status}'}")


def _policy() -> Policy:
    return Policy.objects.first() or Policy()
