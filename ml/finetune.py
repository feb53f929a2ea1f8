"""The thorough retraining: all layers, on EMNIST letters and collected drawings together.

    python -m ml.finetune WORK

WORK holds `job.json`, the fields of `Job`, and `collected.npz` with `images` (N, 28, 28) uint8, `labels` (N,) uint8 and
`weights` (N,) float32, 1 for a drawing that counts in full. Progress goes to the standard output, one JSON object a
line; the artefact goes to WORK/artefact. Killed at any moment, the same command goes on from the last checkpoint.

Exit status 0: done; 3: it cannot be done, and the last line on the standard error says why; 1: a fault, with its trace.
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ml import artifact, emnist, train  # train first: it tells TensorFlow what to use before it is loaded
from ml.augment import Augment
from ml.head import Collected, Head, HeadConfig, Replay, Report, refit_from
from ml.labels import CLASS_COUNT
from ml.network import INPUT_SHAPE
from ml.network import build as build_network

# isort: split
import keras

CANNOT = 3
MODES = ("finetune", "scratch")
TELL_EVERY = 1.0  # seconds between two lines of progress
TRAINED, FITTED = 0.85, 0.9  # shares of the whole: all layers, then the last one; the rest is testing and placing


class CannotTrain(Exception):
    """The training cannot be done as asked; the message says why, and what to do."""


@dataclass(frozen=True)
class Job:
    """What is asked for. None: as the parent was trained (`scratch`), or as is good for a short one (`finetune`)."""

    parent: str
    mode: str = "finetune"
    dataset: str = "open37"
    seed: int = 0
    epochs: float | None = None  # of the EMNIST letters; fine-tuning takes 1.5
    collected_share: float = 40 / 256  # of a batch, where every drawing counts in full
    batch_size: int = 256
    learning_rate: float | None = None  # at its peak; fine-tuning takes a sixth of what a training takes
    keep: float = 0.8  # how far fine-tuning reads EMNIST letters as the parent reads them, not as they are labelled
    blend: float = 1.0  # how far fine-tuning goes from the parent's weights to those that it found, see _blend
    checkpoint_seconds: float = 30.0


@dataclass(frozen=True)
class Task:
    """All that a training needs, ready made."""

    job: Job
    config: train.TrainConfig  # the parent's, with what the job changes
    kept: emnist.Letters
    validation: emnist.Letters
    collected: Collected

    @property
    def emnist_per_batch(self) -> int:
        """Places in a batch that EMNIST letters always have."""
        return self.config.batch_size - round(self.job.collected_share * self.config.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in which as many EMNIST letters are seen as there are."""
        return max(1, len(self.kept) // self.emnist_per_batch)

    @property
    def steps(self) -> int:
        """Batches in all."""
        return max(1, round(self._epochs * self.steps_per_epoch))

    @property
    def _epochs(self) -> float:
        if self.job.epochs is not None:
            return self.job.epochs
        return 1.5 if self.job.mode == "finetune" else float(self.config.epochs)


class Mixed:
    """Batches of EMNIST letters and collected drawings. A batch depends on the seed and its number alone.

    EMNIST letters come in an order of each epoch's own, by the quota of `ml.train`; the other places go to drawings by
    their weights. Where these sum to less than their number, fewer places are theirs, and the rest go to EMNIST letters
    too: who was weighed down gains nothing by there being few others.
    """

    def __init__(self, task: Task, balance: float) -> None:
        self._letters, self._collected, self._seed = task.kept, task.collected, task.job.seed
        self.targets = train.one_hot(task.kept.labels)  # what the EMNIST letters are to be read as, (N, 37)
        self._size, self._fixed = task.config.batch_size, task.emnist_per_batch
        self.quota = train.class_quota(task.kept.counts(), balance)
        self._members = [np.flatnonzero(task.kept.labels == label) for label in range(CLASS_COUNT)]
        self._epoch = -1
        self._order = np.empty(0, np.intp)
        weights = task.collected.weights.astype(float)
        part = task.job.collected_share
        whole = weights.sum() + (1 - part) / part * len(weights) if part else 1.0
        self._chance = min(1.0, weights.sum() / whole / part) if part else 0.0
        self._likely = weights / weights.sum() if weights.sum() else weights

    def batch(self, step: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Images (B, 28, 28) and targets (B, 37) of one step."""
        random = np.random.default_rng([self._seed, 5, step])
        places = self._size - self._fixed
        drawn = int((random.random(places) < self._chance).sum())
        ours = random.choice(len(self._collected), drawn, p=self._likely) if drawn else np.empty(0, np.intp)
        theirs = self._in_order(step * self._fixed, self._fixed)
        theirs = np.concatenate([theirs, random.choice(self._order, places - drawn)])
        return (
            np.concatenate([self._letters.images[theirs], self._collected.images[ours]]),
            np.concatenate([self.targets[theirs], train.one_hot(self._collected.labels[ours])]),
        )

    def _in_order(self, first: int, count: int) -> npt.NDArray[np.intp]:
        found: list[npt.NDArray[np.intp]] = []
        length = int(self.quota.sum())
        while count:
            epoch, at = divmod(first, length)
            some = self._of_epoch(epoch)[at : at + count]
            found.append(some)
            first, count = first + len(some), count - len(some)
        return np.concatenate(found)

    def _of_epoch(self, epoch: int) -> npt.NDArray[np.intp]:
        if epoch != self._epoch:
            random = np.random.default_rng([self._seed, 6, epoch])
            drawn = [np.resize(random.permutation(of), n) for of, n in zip(self._members, self.quota, strict=True) if n]
            self._order, self._epoch = random.permutation(np.concatenate(drawn)), epoch
        return self._order


class Progress:
    """What is going on, told as a line every second from a thread of its own, so that none is missed in a long step."""

    def __init__(self) -> None:
        self._said: dict[str, Any] = {"stage": "starting", "share": 0.0}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._since: tuple[float, float] | None = None  # when the training went on, and the share then

    def tell(self, stage: str, share: float, **more: Any) -> None:
        """Say it now where the stage is a new one, else with the next line."""
        with self._lock:
            new = stage != self._said["stage"]
            self._said = {"stage": stage, "share": round(share, 4), **more}
        if new or "message" in more:
            self._print()
            with self._lock:
                self._said.pop("message", None)

    def seconds_left(self, share: float) -> float | None:
        """By the pace since the training went on."""
        now = time.monotonic()
        if self._since is None:
            self._since = (now, share)
        gone = share - self._since[1]
        return round((1 - share) * (now - self._since[0]) / gone, 1) if gone > 0 else None

    @contextmanager
    def telling(self) -> Iterator[Progress]:
        """Tell until the end of the block."""
        thread = threading.Thread(target=self._repeat, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _repeat(self) -> None:
        while not self._ended.wait(TELL_EVERY):
            self._print()

    def _print(self) -> None:
        with self._lock:
            print(json.dumps(self._said), flush=True)


def read_job(work: Path) -> Job:
    """The job of a folder. Raises CannotTrain."""
    try:
        values = json.loads((work / "job.json").read_text())
    except (OSError, ValueError) as error:
        raise CannotTrain(f"{work} has no readable job.json ({error})") from error
    unknown = set(values) - {each.name for each in fields(Job)}
    if unknown:
        raise CannotTrain(f"job.json has unknown settings: {', '.join(sorted(unknown))}")
    job = Job(**values)
    if job.mode not in MODES:
        raise CannotTrain(f"there is no mode {job.mode!r}; there are {', '.join(MODES)}")
    if not 0 <= job.collected_share < 1:
        raise CannotTrain(f"collected_share is {job.collected_share}, not from 0 to below 1")
    if not 0 < job.blend <= 1:
        raise CannotTrain(f"blend is {job.blend}, not from above 0 to 1")
    return job


def prepare(work: Path) -> Task:
    """Read the job, the parent's configuration, the archive and the drawings. Raises CannotTrain."""
    job = read_job(work)
    parent = Path(job.parent)
    try:
        artifact.verify(parent)
        config = _configure(job, train.config_from(artifact.read_json(parent, "config.json")["train"]))
        archive = emnist.archive_path()
        if not archive.is_file():
            raise CannotTrain(
                f"there is no EMNIST archive at {archive}: point EMNIST_ARCHIVE at one that holds the dataset "
                f"{job.dataset!r}, or retrain the last layer alone, which needs none"
            )
        letters = emnist.load_letters(job.dataset, "train")
    except (artifact.BadArtifact, emnist.ArchiveError) as error:
        raise CannotTrain(str(error)) from error
    # the parent's seed: what validated it was never trained on, and must not be now
    kept, validation = train.split_validation(letters, config.validation_per_class, config.seed)
    with np.load(work / "collected.npz", allow_pickle=False) as stored:
        collected = Collected(stored["images"], stored["labels"], stored["weights"])
    if not len(collected):
        raise CannotTrain("there is nothing to learn from: no drawings")
    return Task(job, config, kept, validation, collected)


def _configure(job: Job, config: train.TrainConfig) -> train.TrainConfig:
    scratch = job.mode == "scratch"
    rate = job.learning_rate or config.peak_learning_rate / (1 if scratch else 6)
    changed = replace(config, dataset=job.dataset, batch_size=job.batch_size, peak_learning_rate=rate)
    # a short training stays where it is: no average over thousands of steps, the rate falls to nothing
    return changed if scratch else replace(changed, warm_up=0.1, final_learning_rate=0.0)


def build(task: Task) -> tuple[keras.Model, keras.Model]:
    """(network, trained): images (N, 28, 28, 1) in 0..1 to logits, and the same with the augmentation before it."""
    keras.utils.set_random_seed(task.job.seed)
    if task.job.mode == "scratch":
        network = build_network(task.config.network, task.config.dropout)
    else:
        network = _opened(Path(task.job.parent), task.config.dropout)
    images = keras.Input(INPUT_SHAPE, dtype="uint8")
    augmented = Augment(task.config.augment, task.job.seed, name="augment")(images)
    return network, keras.Model(images, network(augmented))


def _opened(parent: Path, dropout: float) -> keras.Model:
    """The parent as it was before its temperature, with logits out and dropout before the last layer."""
    serving = keras.models.load_model(parent / "model.keras", compile=False)
    head = artifact.load_head(parent)
    temperature = artifact.read_json(parent, "config.json").get("temperature", 1.0)
    dropped = keras.layers.Dropout(dropout, name="before_logits")(serving.outputs[1])
    logits = keras.layers.Dense(CLASS_COUNT, name="logits")
    opened = keras.Model(serving.input, logits(dropped), name=serving.name)
    logits.set_weights([head.kernel * temperature, head.bias * temperature])
    return opened


def features_of(network: keras.Model) -> Any:
    """The tensor that the last layer reads, before its dropout."""
    last = network.get_layer("logits").input
    before = last._keras_history.operation
    return before.input if isinstance(before, keras.layers.Dropout) else last


def fit(task: Task, work: Path, progress: Progress) -> tuple[keras.Model, list[dict[str, float]]]:
    """Train to the end, from the last checkpoint on; the network and a row for each epoch."""
    network, model = build(task)
    parent = network.get_weights()
    scratch = task.job.mode == "scratch"
    # fine-tuning draws all classes alike, so that a rare one is not owed to those who drew it
    mixed = Mixed(task, task.config.balance if scratch else 0.0)
    if not scratch and task.job.keep:
        mixed.targets = _kept_targets(task, mixed.quota, work, progress)
    model.compile(
        _optimizer(task, scratch),
        train.adjusted_crossentropy(mixed.quota, task.config.label_smoothing),
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    done, history = _resume(model, work)
    saved, losses = time.monotonic(), []
    for step in range(done, task.steps):
        images, targets = mixed.batch(step)
        losses.append(float(model.train_on_batch(images[..., None], targets)))
        epoch = (step + 1) / task.steps_per_epoch
        whole = (step + 1) % task.steps_per_epoch == 0 or step + 1 == task.steps
        if whole:
            history.append({"epoch": epoch, "loss": float(np.mean(losses)), "val_accuracy": _validate(network, task)})
            losses = []
        if whole or time.monotonic() - saved > task.job.checkpoint_seconds:
            _save(model, work, step + 1, history)
            saved = time.monotonic()
        share = TRAINED * (step + 1) / task.steps
        progress.tell(
            "training",
            share,
            epoch=round(epoch, 3),
            epochs=round(task.steps / task.steps_per_epoch, 3),
            loss=round(float(np.mean(losses[-50:])) if losses else history[-1]["loss"], 4),
            validation=history[-1]["val_accuracy"] if history else None,
            seconds_left=progress.seconds_left(share),
        )
    if scratch:
        model.optimizer.finalize_variable_values(model.trainable_variables)
        train.settle(model, cast(train.Batches, _Settling(mixed, task.steps)), task.config.settle_steps)
    else:
        _blend(network, parent, task.job.blend)
    return network, history


def _blend(tuned: keras.Model, parent: list[npt.NDArray[np.float32]], share: float) -> None:
    """Weights on the way from the parent's to the fine-tuned ones: short of the end less of the old is lost.

    Wortsman et al., "Robust fine-tuning of zero-shot models", arXiv:2109.01903.
    """
    tuned.set_weights([old + share * (new - old) for old, new in zip(parent, tuned.get_weights(), strict=True)])


def refit(network: keras.Model, task: Task, progress: Progress) -> None:
    """Fit the last layer to what the others see by now: the quick retraining's own fit, and its guard of each class.

    Reference letters are to be read as the parent reads them, so that what is new is not paid for with what is known.
    """
    parent, letters = Path(task.job.parent), emnist.load_letters(task.job.dataset, "train")
    chosen = artifact.reference_of(letters.labels, task.config.seed)
    images, labels = letters.images[chosen], letters.labels[chosen]
    seen = keras.Model(network.input, features_of(network))
    replay = Replay(train.predict_all(seen, images), labels, train.read_by(parent, images))
    collected = replace(
        task.collected,
        weights=task.collected.weights * _weight(task, len(labels)),
        features=train.predict_all(seen, task.collected.images),
    )
    temperature = artifact.fit_temperature(network, task.validation)
    logits = network.get_layer("logits")
    kernel, bias = logits.get_weights()
    old = Head(kernel / temperature, bias / temperature)
    head = refit_from(old, replay, collected, HeadConfig(), _fitting(progress)).head
    logits.set_weights([head.kernel * temperature, head.bias * temperature])


def _fitting(progress: Progress) -> Report:
    """The progress of a fit as this training's."""

    def told(fit: dict[str, Any]) -> None:
        progress.tell("fitting", TRAINED + (FITTED - TRAINED) * fit["share"], loss=round(fit["loss"], 4))

    return told


def _weight(task: Task, replayed: int) -> float:
    """Of a drawing that counts in full, beside one replayed letter: at most so that all make up their share of a batch.

    By that share the site bounds what one contributor is of a class.
    """
    part = task.job.collected_share
    return min(HeadConfig().collected_weight, part / (1 - part) * replayed / len(task.collected))


def _kept_targets(task: Task, quota: npt.NDArray[np.int64], work: Path, progress: Progress) -> npt.NDArray[np.float32]:
    """What the EMNIST letters are to be read as, (N, 37): partly as the parent does. Kept for when it goes on.

    As in ml.head, so that what is not new stays as it was: Li and Hoiem, "Learning without forgetting",
    arXiv:1606.09282.
    """
    stored = work / "targets.npy"
    if not stored.exists():
        progress.tell("remembering", 0.0, message="asking the serving model about the EMNIST letters")
        found = train.taught_targets(
            task.kept.labels, quota, [train.read_by(Path(task.job.parent), task.kept.images)], task.job.keep
        )
        aside = work / "targets.partial.npy"
        np.save(aside, found.astype(np.float16))
        aside.rename(stored)
    kept: npt.NDArray[np.float32] = np.load(stored, allow_pickle=False).astype(np.float32)
    return kept


def _optimizer(task: Task, scratch: bool) -> keras.optimizers.Optimizer:
    optimizer = train.optimizer_of(task.config, task.steps)
    optimizer.use_ema = scratch
    return optimizer


class _Settling:
    """The batches after the last of a training, as `ml.train` takes them to settle batch normalisation."""

    def __init__(self, mixed: Mixed, first: int) -> None:
        self._mixed, self._first = mixed, first

    def __len__(self) -> int:
        return self._first

    def __getitem__(self, step: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        images, labels = self._mixed.batch(self._first + step)
        return images[..., None], labels


def _validate(network: keras.Model, task: Task) -> float:
    images = task.validation.images[..., None].astype(np.float32) / 255.0
    logits = network.predict_on_batch(images)
    return float((logits.argmax(axis=1) == task.validation.labels).mean())


def _save(model: keras.Model, work: Path, step: int, history: list[dict[str, float]]) -> None:
    """A checkpoint is a folder that is renamed into place; only then the one before it goes."""
    aside, before = work / "checkpoint.partial", _checkpoints(work)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    # of the optimizer too, not of the random generators: what goes on changes its letters as the first steps did
    model.save_weights(aside / "all.weights.h5")
    artifact.dump(aside / "history.json", history)
    target = work / f"checkpoint-{step}"
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    for each in before:
        if each != target:
            shutil.rmtree(each)


def _resume(model: keras.Model, work: Path) -> tuple[int, list[dict[str, float]]]:
    """Steps done and the rows of their epochs; the weights are put into the model."""
    found = _checkpoints(work)
    if not found:
        return 0, []
    model.load_weights(found[-1] / "all.weights.h5")
    history: list[dict[str, float]] = json.loads((found[-1] / "history.json").read_text())
    return int(found[-1].name.removeprefix("checkpoint-")), history


def _checkpoints(work: Path) -> list[Path]:
    found = [each for each in work.glob("checkpoint-*") if each.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda each: int(each.name.removeprefix("checkpoint-")))


def run(work: Path, progress: Progress) -> None:
    """From a folder's job to its artefact. Raises CannotTrain."""
    output = work / "artefact"
    if (output / "manifest.json").exists():
        artifact.verify(output)
        return
    task = prepare(work)
    going_on = f", going on from {_checkpoints(work)[-1].name}" if _checkpoints(work) else ""
    progress.tell(
        "training",
        0.0,
        message=f"{task.steps} batches of {len(task.kept)} EMNIST letters and {len(task.collected)} drawings{going_on}",
    )
    network, history = fit(task, work, progress)
    if task.job.mode == "finetune":
        progress.tell("fitting", TRAINED, message="trained; fitting the last layer to what the others see now")
        refit(network, task, progress)
    progress.tell("writing", FITTED, message="testing it and placing the reference letters")
    _write(output, task, network, history)
    progress.tell("done", 1.0)


def _write(output: Path, task: Task, network: keras.Model, history: list[dict[str, float]]) -> None:
    parent, letters = Path(task.job.parent), emnist.load_letters(task.job.dataset, "train")
    temperature = artifact.fit_temperature(network, task.validation)
    logits = network.get_layer("logits")
    serving = artifact.with_head(network.input, features_of(network), logits, temperature, network.name)
    scratch = task.job.mode == "scratch"
    epochs = round(task.steps / task.steps_per_epoch, 2)
    origin = artifact.Origin(
        dataset=task.job.dataset,
        letters=letters,
        validation=task.validation,
        config={
            "train": asdict(task.config),
            "temperature": temperature,
            "finetune": asdict(task.job) | {"drawings": len(task.collected)},
        },
        history=history,
        how=(
            f"The {'network of the' if scratch else 'model'} {artifact.digest_of(parent)[:12]}, trained "
            f"{'anew' if scratch else 'further'} for {epochs:g} epochs on the EMNIST letters of `{task.job.dataset}` "
            f"and {len(task.collected)} collected drawings."
            + ("" if scratch else "\nIts last layer was then fitted to these, and to letters as that model reads them.")
        ),
        reference_seed=task.config.seed,
        parent=parent,
        tested=artifact.TAUGHT_NOTHING,
        collected=task.collected,
    )
    artifact.write_network(output, serving, origin)


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1:
        print("usage: python -m ml.finetune WORK", file=sys.stderr)
        return 2
    with Progress().telling() as progress:
        try:
            run(Path(given[0]), progress)
        except CannotTrain as problem:
            print(" ".join(str(problem).split()), file=sys.stderr)
            return CANNOT
    return 0


if __name__ == "__main__":
    sys.exit(main())
