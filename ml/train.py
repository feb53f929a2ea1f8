"""Train a network on EMNIST letters, from the archive to an artefact.

    python -m ml.train --output DIR                 the configuration that ships
    python -m ml.train --config FILE --output DIR   the one kept with an artefact
    python -m ml.train --epochs 3 --network cdeotte --output DIR
    python -m ml.train --teachers var/a,var/b --output DIR   learn also from what these artefacts read
    python -m ml.train --soft-labels var/crossfit.npz --output DIR   and from what ml.crossfit found

Killed or interrupted, the same command goes on from the last whole epoch. The test images are never read here.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

# TensorFlow leaves oneDNN off on processors without AVX-512; with it the shipped network trains twice as fast.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import numpy.typing as npt

from ml import emnist, network
from ml.augment import Augment, AugmentConfig
from ml.labels import CLASS_COUNT

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
    balance: float = 0.5  # a class is drawn by its count to this power: 1 as it comes, 0 all alike
    ema: float = 0.9995  # the weights that ship are an average over about the last 2,000 steps
    calm_epochs: int = 4  # the last ones see letters changed less, nearer to those it will be asked about
    calm: float = 0.3  # how much of the augmentation is left in them
    settle_steps: int = 0  # batches on which batch normalisation measures the averaged weights, see settle
    validation_per_class: int = 50
    teachers: tuple[str, ...] = ()  # folders of artefacts whose probabilities are learned from, see taught_targets
    soft_labels: str = ""  # a file of ml.crossfit that is learned from as another teacher
    teachers_weight: float = 0.8  # beside the labels; of no meaning without teachers or soft labels
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
    kept, validation = (emnist.Letters(letters.images[part], letters.labels[part]) for part in (~cut, cut))
    return kept, validation


def class_quota(counts: npt.NDArray[np.int64], balance: float) -> npt.NDArray[np.int64]:
    """Images an epoch takes of each class: as many in all as there are, by count to the power `balance`."""
    weight = counts.astype(float) ** balance * (counts > 0)
    quota: npt.NDArray[np.int64] = np.rint(counts.sum() * weight / weight.sum()).astype(np.int64)
    return quota


class Batches(keras.utils.PyDataset):
    """Batches of (uint8 images, targets (N, 37)). An epoch's order depends on the seed and its number alone.

    The targets are the labels, one-hot, where no others are given for all letters.
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
        self._epoch = first_epoch
        self._quota = class_quota(letters.counts(), config.balance)
        self._members = [np.flatnonzero(letters.labels == label) for label in range(CLASS_COUNT)]
        self._shuffle()

    def _shuffle(self) -> None:
        random = np.random.default_rng([self._config.seed, 2, self._epoch])
        drawn = [np.resize(random.permutation(of), n) for of, n in zip(self._members, self._quota, strict=True) if n]
        self._order = random.permutation(np.concatenate(drawn))

    def __len__(self) -> int:
        return len(self._order) // self._config.batch_size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[index * self._config.batch_size :][: self._config.batch_size]
        return self._letters.images[chosen, ..., None], self._targets[chosen]

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._shuffle()


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


def adjusted_crossentropy(quota: npt.NDArray[np.int64], smoothing: float) -> Any:
    """Cross-entropy of logits shifted by the logarithm of how often a class is drawn.

    So trained, the plain logits answer as if all classes were equally common: logit adjustment, Menon et al.,
    "Long-tail learning via logit adjustment", arXiv:2007.07314, section 5.
    """
    log_prior = np.log(np.maximum(quota, 1) / quota.sum()).astype(np.float32)
    plain = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)

    def loss(expected: Any, logits: Any) -> Any:
        return plain(expected, logits + log_prior)

    return loss


def fit(config: TrainConfig, letters: emnist.Letters, work: Path | None = None) -> TrainResult:
    """Train; with a folder `work` for checkpoints, go on from the last whole epoch that it holds."""
    keras.utils.set_random_seed(config.seed)
    kept, validation = split_validation(letters, config.validation_per_class, config.seed)
    built = network.build(config.network, config.dropout)
    quota = class_quota(kept.counts(), config.balance)
    learned = ~validation_mask(letters.labels, config.validation_per_class, config.seed)
    read = [each[learned] for each in teachings(config, letters)]
    targets = taught_targets(kept.labels, quota, read, config.teachers_weight)
    optimizer = optimizer_of(config, steps=int(quota.sum()) // config.batch_size * config.epochs)
    history = keras.callbacks.History()
    for first, last, augment in _stages(config):
        start = max(first, _epochs_done(work))
        if start >= last and last < config.epochs:
            continue  # a checkpoint of a later stage holds it
        images = keras.Input(network.INPUT_SHAPE, dtype="uint8")
        model = keras.Model(images, built(Augment(augment, config.seed, name="augment")(images)))
        model.compile(
            optimizer,
            adjusted_crossentropy(quota, config.label_smoothing),
            metrics=["accuracy"],
            jit_compile=False,  # XLA makes this network four times slower on a CPU
        )
        model.fit(
            Batches(kept, config, start, targets),
            initial_epoch=start,
            epochs=last,
            validation_data=(validation.images[..., None], one_hot(validation.labels)),
            validation_batch_size=512,
            callbacks=_callbacks(work, history),
            verbose=1 if sys.stdout.isatty() else 2,
        )
    settle(model, Batches(kept, config, config.epochs, targets), config.settle_steps)
    return TrainResult(built, validation, _rows(history, work))


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


def _stages(config: TrainConfig) -> list[tuple[int, int, AugmentConfig]]:
    """(first epoch, epoch after the last, augmentation): the long one, then the calm one."""
    calm = max(0, config.epochs - config.calm_epochs)
    stages = [(0, calm, config.augment), (calm, config.epochs, config.augment.scaled(config.calm))]
    return [stage for stage in stages if stage[0] < stage[1]]


def _callbacks(work: Path | None, history: keras.callbacks.History) -> list[keras.callbacks.Callback]:
    callbacks: list[keras.callbacks.Callback] = [keras.callbacks.SwapEMAWeights(), history]
    if work is not None:
        callbacks.append(keras.callbacks.BackupAndRestore(str(work), delete_checkpoint=False))
        callbacks.append(keras.callbacks.CSVLogger(str(work / "history.csv"), append=True))
    return callbacks


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


def _epochs_done(work: Path | None) -> int:
    state = None if work is None else work / "training_metadata.json"
    if state is None or not state.is_file():
        return 0
    return int(json.loads(state.read_text())["epoch"])


def _rows(history: keras.callbacks.History, work: Path | None) -> list[dict[str, float]]:
    if work is not None:
        with (work / "history.csv").open(newline="") as table:  # also the epochs before a restart
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(table)]
    names = list(history.history)
    return [dict(zip(names, map(float, row), strict=True)) for row in zip(*history.history.values(), strict=True)]


def config_from(values: dict[str, Any]) -> TrainConfig:
    """A configuration from its JSON form. Raises ValueError for a name that is no setting."""
    unknown = set(values) - {each.name for each in fields(TrainConfig)}
    if unknown:
        raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
    nested = values.get("augment", {})
    augment = AugmentConfig(**nested) if isinstance(nested, dict) else nested
    return TrainConfig(**{**values, "augment": augment, "teachers": tuple(values.get("teachers", ()))})


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
    parsed = parser.parse_args(arguments)
    values: dict[str, Any] = asdict(TrainConfig())
    if parsed.config:
        values |= json.loads(parsed.config.read_text())["train"]
    values |= {each.name: given for each in plain if (given := getattr(parsed, each.name)) is not None}
    return config_from(values), parsed.output


def main(arguments: list[str] | None = None) -> None:
    """Train, then write the artefact."""
    config, output = parse(arguments)
    work = output.with_name(output.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    trained = work / "trained.keras"
    letters = emnist.load_letters(config.dataset, "train")
    result = fit(config, letters, work)
    result.network.save(trained)
    from ml.artifact import write_artifact

    write_artifact(output, config, result, letters)
    print(f"the artefact is in {output}")


if __name__ == "__main__":
    main()
