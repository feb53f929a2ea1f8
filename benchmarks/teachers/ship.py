"""A student that learned on a GPU, as an artefact.

    python -m benchmarks.teachers.ship OUT/NAME.npz DIR      EMNIST_ARCHIVE names the archive that it learned from

Its weights go into the network of the same name in `ml.network`, which must then read as was recorded where it was
trained; temperature, pairs, reference and all else are made as `ml.train` makes them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ml import train  # first: it tells TensorFlow what to use before it is loaded

# isort: split
import keras
import numpy as np

from ml import artifact, emnist, network
from ml.augment import AugmentConfig

HOW = """The network `{network}`, taught on a GPU by larger ones ({teachers}), which read letters of `{dataset}`
that they had not learned from, and by the labels: `python -m benchmarks.teachers.run`, as config.json has it under
`taught`, with the archive whose SHA-256 is there. Another run is the same training, not the same weights."""
TOLERANCE = 1e-2  # of a probability: the GPU summed in another order, by fewer digits


def student(stored: Any) -> keras.Model:
    """The network in Keras, with the weights of a student's file. Raises ValueError where they do not fit."""
    design = json.loads(str(stored["about"]))["design"]
    built = network.build(design["network"], design["dropout"])
    weights = [stored[name] for name in sorted(name for name in stored.files if name.startswith("weight"))]
    for layer in built.layers:
        count = len(layer.get_weights())
        layer.set_weights(weights[:count])
        weights = weights[count:]
    if weights:
        raise ValueError(f"{len(weights)} arrays more than the network {design['network']} has weights")
    return built


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.teachers.ship", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("student", type=Path)
    parser.add_argument("output", type=Path)
    parsed = parser.parse_args()
    with np.load(parsed.student, allow_pickle=False) as stored:
        built, about, read = student(stored), json.loads(str(stored["about"])), stored["read_validation"]
        history = json.loads(str(stored["history"])) if "history" in stored.files else []
    config = train.TrainConfig()
    letters = emnist.load_letters(config.dataset, "train")
    _, validation = train.split_validation(letters, config.validation_per_class, config.seed)
    logits = train.predict_all(built, validation.images)
    found = np.exp(logits - logits.max(axis=1, keepdims=True))
    off = float(np.abs(found / found.sum(axis=1, keepdims=True) - np.exp(read)).max())
    print(f"validation is read as on the GPU, but for {off:.1e}")
    if not off <= TOLERANCE:
        raise SystemExit(f"{parsed.student} is not read as it was recorded")
    temperature = artifact.fit_temperature(built, validation)
    serving = artifact.serving_model(built, temperature)
    within = artifact.soften_pairs(serving, letters, validation, config.seed)
    origin = artifact.Origin(
        dataset=config.dataset,
        letters=letters,
        validation=validation,
        config={"train": asdict(settings(about)), "taught": about, "temperature": temperature, "within_pairs": within},
        history=history,
        how=HOW.format(
            network=about["design"]["network"], dataset=config.dataset, teachers=", ".join(about["teachers"])
        ),
        reference_seed=config.seed,
    )
    artifact.write_network(parsed.output, serving, origin)
    print(f"the artefact is in {parsed.output}")


def settings(about: dict[str, Any]) -> train.TrainConfig:
    """What the student's training was in terms of ml.train, and what retrainings of it start from.

    That it was taught, and by what, these settings do not say: `taught` in config.json does.
    """
    design, recipe = about["design"], about["recipe"]
    same = ("batch_size", "weight_decay", "label_smoothing", "balance", "ema", "warm_up", "calm")
    return train.TrainConfig(
        network=design["network"],
        epochs=design["epochs"],
        peak_learning_rate=design["rate"],
        dropout=design["dropout"],
        calm_epochs=round(recipe["calm_share"] * design["epochs"]),
        augment=AugmentConfig(**about["changes"]),
        **{name: recipe[name] for name in same},
    )


if __name__ == "__main__":
    main()
