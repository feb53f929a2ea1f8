"""Train a network on EMNIST letters, from the archive to an artefact.

    python -m ml.train --output DIR                 the configuration that ships
    python -m ml.train --config FILE --output DIR   the one kept with an artefact
    python -m ml.train --epochs 3 --network cdeotte --output DIR
    python -m ml.train --teachers var/a,var/b --output DIR   learn also from what these artefacts read
    python -m ml.train --soft-labels var/crossfit.npz --output DIR   and from what ml.crossfit found
    python -m ml.train --exclude var/wrong.npz --output DIR          leave images out, see ml.exclusion

Killed, or stopped with Ctrl-C, the same command goes on from the last whole epoch; one that asks for something else is
refused. The test images are never read here. Any backend of Keras learns (KERAS_BACKEND); only TensorFlow writes the
artefact. docs/training.md says more.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

# TensorFlow leaves oneDNN off on processors without AVX-512; with it the shipped network trains twice as fast.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while libraries load: nothing is lost, and no trace is wanted

import keras
import numpy as np
import numpy.typing as npt

from ml import checkpoint, emnist, network
from ml.augment import Augment, AugmentConfig
from ml.exclusion import BadExclusion, excluded_mask
from ml.labels import CLASS_COUNT
from ml.progress import Progress

INTERRUPTED = 130  # the exit status of what Ctrl-C ended
DRAWS = 1_000_000  # of a generator in an epoch, at most
READ_AT_ONCE = 8192  # images; as float32 they take four times the memory of the archive's bytes


@dataclass(frozen=True)
class TrainConfig:
    """What a run is; stored with its artefact, so that `python -m ml.train --config FILE` repeats it."""

    dataset: str = "open37"
    network: str = "stride3"
    epochs: int = 24
    batch_size: int = 128
    peak_learning_rate: float = 3e-3  # one cycle: warm-up over a share of the steps, then a cosine
    warm_up: float = 0.1
    final_learning_rate: float = 0.0  # of the peak
    weight_decay: float = 0.02
    label_smoothing: float = 0.1
    dropout: float = 0.3
    mixup: float = 0.0  # two images are blended by a share from Beta(this, this); 0: none are, see Batches
    balance: float = 0.5  # a class is drawn by its count to this power: 1 as it comes, 0 all alike
    logit_adjustment: float = 1.0  # how far the loss makes up for how often a class is drawn
    ema: float = 0.9995  # the weights that ship are an average over about the last 2,000 steps
    calm_epochs: int = 4  # the last ones see letters changed less, nearer to those it will be asked about
    calm: float = 0.3  # how much of the augmentation is left in them
    settle_steps: int = 0  # batches on which batch normalisation measures the averaged weights, see settle
    validation_per_class: int = 50
    teachers: tuple[str, ...] = ()  # folders of artefacts whose probabilities are learned from, see taught_targets
    soft_labels: str = ""  # a file of ml.crossfit that is learned from as another teacher
    teachers_weight: float = 0.8  # beside the labels; of no meaning without teachers or soft labels
    exclude: str = ""  # a file of images not to be learned from, see ml.exclusion; validation stays as it is
    seed: int = 0
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True)
class TrainResult:
    """A trained network (logits out), its validation images, and what was measured in each epoch."""

    network: keras.Model
    validation: emnist.Letters
    history: list[dict[str, float]]


def validation_mask(labels: npt.NDArray[np.uint8], per_class: int, seed: int) -> npt.NDArray[np.bool_]:
    """Which training images (N,) are validation: `per_class` of each class, by the seed."""
    random = np.random.default_rng([seed, 1])
    cut = [random.choice(np.flatnonzero(labels == label), per_class, replace=False) for label in range(CLASS_COUNT)]
    mask = np.zeros(len(labels), bool)
    mask[np.concatenate(cut)] = True
    return mask


def split_validation(letters: emnist.Letters, per_class: int, seed: int) -> tuple[emnist.Letters, emnist.Letters]:
    """Cut `per_class` images of each class from the training images; returns (kept, validation)."""
    cut = validation_mask(letters.labels, per_class, seed)
    return _part(letters, ~cut), _part(letters, cut)


def _part(letters: emnist.Letters, mask: npt.NDArray[np.bool_]) -> emnist.Letters:
    return emnist.Letters(letters.images[mask], letters.labels[mask])


def class_quota(counts: npt.NDArray[np.int64], balance: float) -> npt.NDArray[np.int64]:
    """Images an epoch takes of each class: as many in all as there are, by count to the power `balance`."""
    weight = counts.astype(float) ** balance * (counts > 0)
    quota: npt.NDArray[np.int64] = np.rint(counts.sum() * weight / weight.sum()).astype(np.int64)
    return quota


class Batches(keras.utils.PyDataset):
    """Batches of (uint8 images, targets (N, 37)). An epoch's order depends on the seed and its number alone.

    The targets are the labels, one-hot, where no others are given for all letters. With `mixup` each image is blended
    with another of its batch, and so are the targets: Zhang et al., "mixup: beyond empirical risk minimization",
    arXiv:1710.09412. In the calm epochs only a share of them is.
    """

    def __init__(
        self,
        letters: emnist.Letters,
        config: TrainConfig,
        first_epoch: int = 0,
        targets: npt.NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__(workers=1)
        self._letters = letters
        self._targets = one_hot(letters.labels) if targets is None else targets
        self._config = config
        self._quota = class_quota(letters.counts(), config.balance)
        self._members = [np.flatnonzero(letters.labels == label) for label in range(CLASS_COUNT)]
        self.begin(first_epoch)

    def begin(self, epoch: int) -> None:
        """Take up an epoch, counted from 0. Keras tells of an epoch's end also before the first."""
        self._epoch = epoch
        random = np.random.default_rng([self._config.seed, 2, epoch])
        drawn = [np.resize(random.permutation(of), n) for of, n in zip(self._members, self._quota, strict=True) if n]
        self._order = random.permutation(np.concatenate(drawn))

    def __len__(self) -> int:
        return len(self._order) // self._config.batch_size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[index * self._config.batch_size :][: self._config.batch_size]
        images, targets = self._letters.images[chosen, ..., None], self._targets[chosen]
        return self._mixed(images, targets, index) if self._config.mixup else (images, targets)

    def _mixed(self, images: np.ndarray, targets: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng([self._config.seed, 7, self._epoch, index])
        share = random.beta(self._config.mixup, self._config.mixup, len(images)).astype(np.float32)
        share[random.random(len(images)) >= strength_in(self._config, self._epoch)] = 1
        other = random.permutation(len(images))
        blended = _blend(images, images[other], share[:, None, None, None])
        return np.rint(blended).astype(np.uint8), _blend(targets, targets[other], share[:, None])


def _blend(one: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    blended: np.ndarray = share * one + (1 - share) * other
    return blended


def one_hot(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(N,) positions to (N, 37)."""
    return np.eye(CLASS_COUNT, dtype=np.float32)[labels]


def read_by(folder: Path, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(N, 37) probabilities of images (N, 28, 28) by an artefact. Raises ml.artifact.BadArtifact."""
    from ml.artifact import verify

    verify(folder)
    teacher = keras.models.load_model(folder / "model.keras", compile=False)
    return predict_all(keras.Model(teacher.input, teacher.output[0]), images)


def teachings(config: TrainConfig, letters: emnist.Letters) -> list[npt.NDArray[np.float32]]:
    """What each teacher of a configuration reads in all training images, (N, 37) each.

    Raises ml.artifact.BadArtifact and ml.crossfit.BadCrossfit.
    """
    from ml import crossfit

    read = [read_by(Path(folder), letters.images) for folder in config.teachers]
    if config.soft_labels:
        read.append(crossfit.load(Path(config.soft_labels), len(letters)).probabilities)
    return read


def taught_targets(
    labels: npt.NDArray[np.uint8],
    quota: npt.NDArray[np.int64],
    read: Sequence[npt.NDArray[np.float32]],
    weight: float,
) -> npt.NDArray[np.float32]:
    """Targets (N, 37): the labels, and with `weight` (0 to 1) the mean of what teachers `read`, (N, 37) each.

    Teachers that disagree with a wrong or ambiguous label keep it from being learned by heart: Hinton, Vinyals, Dean,
    "Distilling the knowledge in a neural network", arXiv:1503.02531. They read as if all classes were equally common;
    here a class is as common as it is drawn.
    """
    if not read:
        return one_hot(labels)
    taught = np.mean(read, axis=0) * (quota / quota.sum())
    mixed: npt.NDArray[np.float32] = (1 - weight) * one_hot(labels) + weight * taught / taught.sum(
        axis=1, keepdims=True
    )
    return mixed.astype(np.float32)


def predict_all(model: keras.Model, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """What a model of one output makes of images (N, 28, 28) uint8, (N, K) float32."""
    parts = (images[first : first + READ_AT_ONCE] for first in range(0, len(images), READ_AT_ONCE))
    read = [model.predict(part[..., None].astype(np.float32) / 255.0, batch_size=512, verbose=0) for part in parts]
    return np.concatenate(read)


def adjusted_crossentropy(quota: npt.NDArray[np.int64], smoothing: float, adjustment: float = 1.0) -> Any:
    """Cross-entropy of logits shifted by the logarithm of how often a class is drawn, times `adjustment`.

    So trained, the plain logits answer as if all classes were equally common: logit adjustment, Menon et al.,
    "Long-tail learning via logit adjustment", arXiv:2007.07314, section 5.
    """
    log_prior = (adjustment * np.log(np.maximum(quota, 1) / quota.sum())).astype(np.float32)
    plain = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)

    def loss(expected: Any, logits: Any) -> Any:
        return plain(expected, logits + log_prior)

    return loss


def fit(config: TrainConfig, letters: emnist.Letters, work: Path | None = None) -> TrainResult:
    """Train; with a folder `work` for checkpoints, go on from the last whole epoch that it holds.

    Raises BadExclusion, BadCheckpoint where the folder is another training's, and what `teachings` raises.
    """
    keras.utils.set_random_seed(config.seed)
    validated = validation_mask(letters.labels, config.validation_per_class, config.seed)
    learned = ~validated & ~_excluded(config, len(letters))
    kept, validation = _part(letters, learned), _part(letters, validated)
    if work is not None:
        checkpoint.claim(work, asdict(config), _learned_from(config, kept))
    quota = class_quota(kept.counts(), config.balance)
    read = [each[learned] for each in teachings(config, letters)]
    targets = taught_targets(kept.labels, quota, read, config.teachers_weight)
    built = network.build(config.network, config.dropout)
    model, augment = _augmented(config, built)
    model.compile(
        optimizer_of(config, steps=int(quota.sum()) // config.batch_size * config.epochs),
        adjusted_crossentropy(quota, config.label_smoothing, config.logit_adjustment),
        metrics=["accuracy"],
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",  # four times slower there, on a CPU
    )
    done = checkpoint.epochs_done(work)
    checkpoint.restore(model, work)
    batches, history = Batches(kept, config, done, targets), keras.callbacks.History()
    epochs = Epochs(config, batches, augment)
    model.fit(
        batches,
        initial_epoch=done,
        epochs=config.epochs,
        validation_data=(validation.images[..., None], one_hot(validation.labels)),
        validation_batch_size=512,
        shuffle=False,  # Batches has done that, by the seed; Keras would go through them as the process happens to
        callbacks=[keras.callbacks.SwapEMAWeights(), history, epochs, *_reports(config, work, done)],
        verbose=0,
    )
    batches.begin(config.epochs)
    settle(model, batches, config.settle_steps)
    return TrainResult(built, validation, _rows(history, work))


def _excluded(config: TrainConfig, count: int) -> npt.NDArray[np.bool_]:
    return excluded_mask(Path(config.exclude), count) if config.exclude else np.zeros(count, bool)


def _learned_from(config: TrainConfig, kept: emnist.Letters) -> dict[str, str]:
    """Digests of what a configuration names without saying what is in it."""
    from ml.artifact import digest_of

    digests = {"training images": hashlib.sha256(kept.images.tobytes() + kept.labels.tobytes()).hexdigest()}
    digests |= {f"teacher {folder}": digest_of(Path(folder)) for folder in config.teachers}
    if config.soft_labels:
        digests["what the soft labels say"] = hashlib.sha256(Path(config.soft_labels).read_bytes()).hexdigest()
    return digests


class Epochs(keras.callbacks.Callback):
    """Makes what is random in an epoch depend on the seed and its number alone, and calms the last ones.

    Weights that are stored hold no state of the generators: a training that goes on would repeat the draws of its
    first epoch.
    """

    def __init__(self, config: TrainConfig, batches: Batches, augment: Augment) -> None:
        super().__init__()
        self._config, self._batches, self._augment = config, batches, augment

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """`epoch` counts from 0."""
        self._batches.begin(epoch)
        self._augment.strength.assign(strength_in(self._config, epoch))
        for each in self.model.variables:
            if each.name == "seed_generator_state":
                seed, _ = keras.ops.convert_to_numpy(each)
                each.assign(np.array([seed, epoch * DRAWS], each.dtype))


def _augmented(config: TrainConfig, built: keras.Model) -> tuple[keras.Model, Augment]:
    """The network with the augmentation before it: what is trained. And that augmentation."""
    images = keras.Input(network.INPUT_SHAPE, dtype="uint8")
    augment = Augment(config.augment, config.seed, adjustable=True, name="augment")
    return keras.Model(images, built(augment(images))), augment


def strength_in(config: TrainConfig, epoch: int) -> float:
    """How much of the augmentation there is in an epoch, counted from 0: all, and `calm` in the last ones."""
    return 1.0 if epoch < config.epochs - config.calm_epochs else config.calm


def settle(model: keras.Model, batches: Batches, steps: int) -> None:
    """Measure the means and variances of batch normalisation anew, for the weights that ship.

    Those kept in training belong to the weights of the last steps, not to their moving average: Izmailov et al.,
    "Averaging weights leads to wider optima and better generalization", arXiv:1803.05407, section 3.2.
    """
    layers = [each for each in model._flatten_layers() if isinstance(each, keras.layers.BatchNormalization)]
    before = [each.momentum for each in layers]
    for step in range(min(steps, len(batches))):
        for each in layers:
            each.momentum = step / (step + 1)  # so that the moving average is the plain mean of all batches
        model(batches[step][0], training=True)
    for each, momentum in zip(layers, before, strict=True):
        each.momentum = momentum


def _reports(config: TrainConfig, work: Path | None, done: int) -> list[keras.callbacks.Callback]:
    """What keeps and tells of a training. A row is kept before the checkpoint that makes it count."""
    progress = Progress(config.batch_size, done)
    if work is None:
        return [progress]
    return [keras.callbacks.CSVLogger(str(work / "history.csv"), append=True), checkpoint.Checkpoint(work), progress]


def optimizer_of(config: TrainConfig, steps: int) -> keras.optimizers.Optimizer:
    """AdamW with a warm-up, a cosine and a moving average of the weights, for a training of so many batches."""
    warm_up = max(1, int(config.warm_up * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, steps - warm_up),
        alpha=config.final_learning_rate,
        warmup_target=config.peak_learning_rate,
        warmup_steps=warm_up,
    )
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=config.weight_decay, use_ema=True, ema_momentum=ema_of(config, steps)
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def ema_of(config: TrainConfig, steps: int) -> float:
    """As configured, but over no more than a tenth of a training: a short one would end near where it began."""
    return max(0.0, min(config.ema, 1 - 10 / steps))


def _rows(history: keras.callbacks.History, work: Path | None) -> list[dict[str, float]]:
    if work is not None:
        return checkpoint.history(work)
    names = ["epoch", *history.history]
    columns = [history.epoch, *history.history.values()]
    return [dict(zip(names, map(float, row), strict=True)) for row in zip(*columns, strict=True)]


def config_from(values: dict[str, Any]) -> TrainConfig:
    """A configuration from its JSON form. Raises ValueError for a name that is no setting."""
    nested = values.get("augment", {})
    changes = nested if isinstance(nested, dict) else asdict(nested)
    unknown = [name for name in values if name not in _names(TrainConfig)]
    unknown += [f"augment.{name}" for name in changes if name not in _names(AugmentConfig)]
    if unknown:
        raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
    teachers = tuple(values.get("teachers", ()))
    return TrainConfig(**{**values, "augment": AugmentConfig(**changes), "teachers": teachers})


def _names(settings: Any) -> set[str]:
    return {each.name for each in fields(settings)}


def _folders(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def parse(arguments: list[str] | None = None) -> tuple[TrainConfig, Path]:
    """The configuration and the output folder that a command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m ml.train", description="Train a network on EMNIST letters.")
    parser.add_argument("--output", type=Path, required=True, help="folder of the artefact; checkpoints in FOLDER.work")
    parser.add_argument("--config", type=Path, help="a config.json; other options change it")
    plain = [each for each in fields(TrainConfig) if each.name != "augment"]
    for each in plain:
        kind = _folders if each.name == "teachers" else type(getattr(TrainConfig(), each.name))
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=kind, help=f"default {each.default}")
    for each in fields(AugmentConfig):
        parser.add_argument(f"--augment.{each.name}", type=float, help=f"default {each.default}", metavar="AMOUNT")
    parsed = vars(parser.parse_args(arguments))
    values: dict[str, Any] = asdict(TrainConfig())
    if parsed["config"]:
        values |= json.loads(parsed["config"].read_text())["train"]
    values |= {each.name: given for each in plain if (given := parsed[each.name]) is not None}
    amounts = {name: given for name in _names(AugmentConfig) if (given := parsed[f"augment.{name}"]) is not None}
    try:
        return config_from(values | {"augment": values["augment"] | amounts}), parsed["output"]
    except ValueError as problem:
        parser.error(str(problem))


def main(arguments: list[str] | None = None) -> int:
    """Train, then write the artefact. The exit status."""
    from ml.artifact import BadArtifact
    from ml.crossfit import BadCrossfit

    signal.signal(signal.SIGINT, signal.default_int_handler)
    config, output = parse(arguments)
    work = output.with_name(output.name + ".work")
    try:
        return run(config, output, work)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is ending: a second one would be a trace
        again = shlex.join(["python", "-m", "ml.train", *(sys.argv[1:] if arguments is None else arguments)])
        kept = f"{checkpoint.epochs_done(work)} of {config.epochs} epochs are kept in {work}"
        print(f"\nStopped: {kept}. To go on from there, the same again:\n    {again}", file=sys.stderr)
        return INTERRUPTED
    except (BadArtifact, BadCrossfit, BadExclusion, checkpoint.BadCheckpoint, emnist.ArchiveError) as problem:
        print(problem, file=sys.stderr)
        return 1


def run(config: TrainConfig, output: Path, work: Path) -> int:
    """Train in the folder `work`, and write the artefact at `output`. The exit status."""
    letters = emnist.load_letters(config.dataset, "train")
    result = fit(config, letters, work)
    if keras.backend.backend() != "tensorflow":
        print(f"{work} holds the trained network. Only TensorFlow writes artefacts: run the same with it.")
        return 0
    result.network.save(work / "trained.keras")
    from ml.artifact import write_artifact

    write_artifact(output, config, result, letters)
    print(f"the artefact is in {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
