"""What each part of a training is worth: short trainings on a part of EMNIST, each with one thing changed.

    python -m benchmarks.ablations --images 30000 --epochs 5 --seeds 3 --output var/ablations.jsonl
    python -m benchmarks.ablations --only base elastic mixup --output var/ablations.jsonl
    python -m benchmarks.ablations --table --output var/ablations.jsonl      what is there so far, and no training

A line of JSON is added for each run; what is there is not run again, so it can be stopped at any moment. With the same
seed all variants learn from the same images and are judged on the same: differences to `base` are taken seed by seed.
The judges are training images that none learns from, as many of each class, and, where LETTERLOOP_STROKES names a file
of them, letters that people drew. The test images are never read. A short training says little of a long one: what
holds a network back from learning by heart pays only where it has the time to.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ml import train  # first: it tells TensorFlow what to use before it is loaded

# isort: split
import keras
import numpy as np

from ml import emnist
from ml.labels import class_of, index_of
from ml.preprocess import image_from_strokes

JUDGES_PER_CLASS = 100
JUDGES_SEED = 74
Change = Callable[[train.TrainConfig], train.TrainConfig]


def _with(**settings: Any) -> Change:
    return lambda config: replace(config, **settings)


def _augmented(**amounts: float) -> Change:
    return lambda config: replace(config, augment=replace(config.augment, **amounts))


VARIANTS: dict[str, Change] = {  # the most telling first
    "base": _with(),
    "elastic": _augmented(elastic=0.8),
    "mixup": _with(mixup=0.2),
    "no-augmentation": lambda config: replace(config, augment=config.augment.scaled(0)),
    "redraw": _augmented(redraw=1.0),
    "cut-out": _augmented(cut_out=8.0),
    "gamma": _augmented(gamma=0.5),
    "no-thickness": _augmented(thickness=0.0),
    "no-ema": _with(ema=0.0),
    "no-smoothing": _with(label_smoothing=0.0),
    "no-logit-adjustment": _with(logit_adjustment=0.0),
    "no-balancing": _with(balance=1.0),
    "cdeotte": _with(network="cdeotte"),
    "residual": _with(network="residual"),
}


@dataclass(frozen=True)
class Judges:
    """What every run is judged on."""

    validation: emnist.Letters
    strokes: emnist.Letters | None


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablations", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="a file of JSON lines")
    parser.add_argument("--images", type=int, default=30_000, help="to learn from; default 30,000")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parsed = parser.parse_args(arguments)
    if not parsed.table:
        wanted = [(name, seed) for name in VARIANTS if name in parsed.only for seed in range(parsed.seeds)]
        run_all(wanted, parsed.images, parsed.epochs, parsed.output)
    print(table(read(parsed.output)))


def run_all(wanted: Iterable[tuple[str, int]], images: int, epochs: int, output: Path) -> None:
    """Every (variant, seed) that the file does not have yet, in order; a line each, as soon as it is known."""
    letters = emnist.load_letters(train.TrainConfig().dataset, "train")
    judged = train.validation_mask(letters.labels, JUDGES_PER_CLASS, JUDGES_SEED)
    judges = Judges(emnist.Letters(letters.images[judged], letters.labels[judged]), drawn_letters())
    for name, seed in wanted:
        config = config_of(name, seed, epochs)
        if any((row["images"], train.config_from(row["config"])) == (images, config) for row in read(output)):
            continue
        chosen = np.random.default_rng([seed, 8]).choice(np.flatnonzero(~judged), images, replace=False)
        print(f"{name}, seed {seed}", flush=True)
        measured = run(config, emnist.Letters(letters.images[chosen], letters.labels[chosen]), judges)
        with output.open("a") as lines:
            about = {"variant": name, "seed": seed, "images": images, "config": asdict(config)}
            lines.write(json.dumps(about | measured) + "\n")


def config_of(name: str, seed: int, epochs: int) -> train.TrainConfig:
    """A variant's configuration: the last epoch is the calm one, and one image of each class is enough to validate on.

    Batch normalisation is settled: in so few steps its averages would lag behind the weights, in some variants more.
    """
    base = train.TrainConfig(epochs=epochs, calm_epochs=1, validation_per_class=1, settle_steps=20, seed=seed)
    return VARIANTS[name](base)


def run(config: train.TrainConfig, letters: emnist.Letters, judges: Judges) -> dict[str, float | None]:
    """Train on these letters, and judge: shares read right, and seconds taken."""
    began = time.monotonic()
    keras.utils.clear_session()
    network = train.fit(config, letters).network
    return {
        "accuracy": _accuracy(network, judges.validation),
        "strokes": _accuracy(network, judges.strokes) if judges.strokes else None,
        "seconds": round(time.monotonic() - began, 1),
    }


def _accuracy(network: keras.Model, letters: emnist.Letters) -> float:
    return float((train.predict_all(network, letters.images).argmax(axis=1) == letters.labels).mean())


def drawn_letters() -> emnist.Letters | None:
    """Letters that people drew, through the whole way from strokes; None where LETTERLOOP_STROKES names none."""
    path = os.environ.get("LETTERLOOP_STROKES")
    if not path:
        return None
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    images = np.stack([image_from_strokes(row["strokes"]) for row in rows])
    return emnist.Letters(images, np.array([index_of(class_of(row["character"])) for row in rows], np.uint8))


def read(output: Path) -> list[dict[str, Any]]:
    """What has been run; a last line that was cut off counts for nothing."""
    if not output.is_file():
        return []
    return [json.loads(line) for line in output.read_text().splitlines() if line.endswith("}")]


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and standard deviation over the seeds of each variant, in percent, and how far it is from `base`."""
    sizes = sorted({(row["images"], row["config"]["epochs"]) for row in rows})
    return "\n\n".join(_table_of(images, epochs, rows) for images, epochs in sizes) or "Nothing has been run yet."


def _table_of(images: int, epochs: int, rows: list[dict[str, Any]]) -> str:
    alike = [row for row in rows if (row["images"], row["config"]["epochs"]) == (images, epochs)]
    lines = [
        f"{images:,} images, {epochs} epochs",
        "| variant | seeds | validation | to base | drawn letters | to base |",
        "|---|---|---|---|---|---|",
    ]
    base = {row["seed"]: row for row in alike if row["variant"] == "base"}
    for name in VARIANTS:
        own = {row["seed"]: row for row in alike if row["variant"] == name}
        if own:
            cells = (cell for figure in ("accuracy", "strokes") for cell in _cells(own, base, figure))
            lines.append(f"| {name} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(own: dict[int, dict[str, Any]], base: dict[int, dict[str, Any]], figure: str) -> tuple[str, str]:
    """(mean ± deviation, the same of the differences to base), where there is any."""
    values = [row[figure] for row in own.values() if row[figure] is not None]
    shared = [seed for seed in own if seed in base and base[seed][figure] is not None]
    differences = [own[seed][figure] - base[seed][figure] for seed in shared if own[seed][figure] is not None]
    is_base = all(row["variant"] == "base" for row in own.values())
    return _spread(values, "{:.2f}"), "" if is_base else _spread(differences, "{:+.2f}")


def _spread(values: list[float], form: str) -> str:
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values) * 100:.2f}" if len(values) > 1 else ""
    return form.format(statistics.mean(values) * 100) + deviation


if __name__ == "__main__":
    main()
