"""What augmentation costs in training: a step with it against the bare step, in turns, in one run.

    python -m benchmarks.augmentation [--steps 60] [--network stride3]

Two figures: time by the clock, which grows with whatever else the machine does, and processor time of this process,
which hardly does. Images go to the device as uint8 and are changed there. Goal: at most 15 % on top of the bare step.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, replace

from ml import train  # first: it tells TensorFlow what to use before it is loaded

# isort: split
import keras
import numpy as np

from benchmarks import machine
from ml import network
from ml.augment import AugmentConfig
from ml.labels import CLASS_COUNT

WARM_UP = 5
SHIPS = AugmentConfig()
KINDS = {
    "bare": SHIPS.scaled(0),
    "what ships": SHIPS,
    "and elastic": replace(SHIPS, elastic=0.8),
    "and redraw": replace(SHIPS, redraw=1.0),
    "and cut-out": replace(SHIPS, cut_out=8.0),
    "and gamma": replace(SHIPS, gamma=0.5),
    "all of it": replace(SHIPS, elastic=0.8, redraw=1.0, cut_out=8.0, gamma=0.5),
}


@dataclass(frozen=True)
class Step:
    """Times of one step, in ms."""

    clock: float
    processor: float


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.augmentation")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--network", default="stride3", choices=network.NETWORKS)
    parsed = parser.parse_args()
    config = train.TrainConfig(network=parsed.network)
    models = {name: _model(replace(config, augment=kind)) for name, kind in KINDS.items()}
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (config.batch_size, *network.INPUT_SHAPE)).astype(np.uint8)
    targets = train.one_hot(random.integers(0, CLASS_COUNT, config.batch_size).astype(np.uint8))
    turns = [
        {name: _timed(model, images, targets) for name, model in models.items()} for _ in range(WARM_UP + parsed.steps)
    ][WARM_UP:]
    print(f"{machine.described()}; {parsed.network}, batches of {config.batch_size} {images.dtype} images")
    print("| step | ms by the clock | on top | ms of the processor | on top |\n|---|---|---|---|---|")
    for name in KINDS:
        cells = [
            _against_bare([getattr(turn[name], f) for turn in turns], [getattr(turn["bare"], f) for turn in turns])
            for f in ("clock", "processor")
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def _model(config: train.TrainConfig) -> keras.Model:
    built, _ = train._augmented(config, network.build(config.network, config.dropout))
    built.compile(
        train.optimizer_of(config, 1000), keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    return built


def _timed(model: keras.Model, images: np.ndarray, targets: np.ndarray) -> Step:
    clock, processor = time.perf_counter(), time.process_time()
    model.train_on_batch(images, targets)
    return Step((time.perf_counter() - clock) * 1000, (time.process_time() - processor) * 1000)


def _against_bare(times: list[float], bare: list[float]) -> str:
    """Median, and by how much the median of the turns' ratios is over 1."""
    ratio = statistics.median(mine / theirs for mine, theirs in zip(times, bare, strict=True))
    return f"{statistics.median(times):.1f} | {ratio - 1:+.1%}"


if __name__ == "__main__":
    main()
