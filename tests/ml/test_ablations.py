"""The measurement of what each part of a training is worth: what it runs, what it skips, what its table says."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import ablations
from ml import emnist, train
from ml.emnist import Letters
from ml.labels import CLASS_COUNT


def row(variant: str, seed: int, accuracy: float) -> dict[str, Any]:
    config = json.loads(json.dumps(asdict(ablations.config_of(variant, seed, 2))))
    about = {"variant": variant, "seed": seed, "images": 500, "config": config}
    return about | {"accuracy": accuracy, "strokes": None}


def test_each_variant_differs_from_base_and_from_all_others() -> None:
    configs = [ablations.config_of(name, 0, 2) for name in ablations.VARIANTS]
    assert len(set(configs)) == len(configs)
    assert next(iter(ablations.VARIANTS)) == "base"


def test_differences_are_taken_seed_by_seed() -> None:
    """Seeds differ by ten points, and the variant is ahead by two on each: so its difference does not spread."""
    rows = [row("base", 0, 0.80), row("base", 1, 0.90), row("mixup", 0, 0.82), row("mixup", 1, 0.92)]
    lines = ablations.table(rows).splitlines()
    assert "500 images, 2 epochs" in lines[0]
    assert "| base | 2 | 85.00 ± 7.07 |  |  |  |" in lines
    assert "| mixup | 2 | 87.00 ± 7.07 | +2.00 ± 0.00 |  |  |" in lines


def test_what_has_been_run_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.repeat(np.arange(CLASS_COUNT, dtype=np.uint8), 200)
    letters = Letters(np.zeros((len(labels), 28, 28), np.uint8), labels)
    letters.images[:, 0, 0], letters.images[:, 0, 1] = divmod(np.arange(len(labels)), 256)
    ran: list[tuple[train.TrainConfig, Letters, ablations.Judges]] = []

    def noted(config: train.TrainConfig, some: Letters, judges: ablations.Judges) -> dict[str, float | None]:
        ran.append((config, some, judges))
        return {"accuracy": 0.5, "strokes": None, "seconds": 1.0}

    monkeypatch.delenv("LETTERLOOP_STROKES", raising=False)
    monkeypatch.setattr(emnist, "load_letters", lambda dataset, usage: {"train": letters}[usage])
    monkeypatch.setattr(ablations, "run", noted)
    output = tmp_path / "ablations.jsonl"
    output.write_text(json.dumps(row("base", 0, 0.8)) + "\n")
    ablations.run_all([("base", 0), ("base", 1), ("mixup", 1)], 500, 2, output)
    assert [(config.seed, config.mixup) for config, _, _ in ran] == [(1, 0.0), (1, 0.2)]
    assert len(ablations.read(output)) == 3
    assert (ran[0][1].images == ran[1][1].images).all()  # of one seed, all learn from the same
    learned = {image.tobytes() for image in ran[0][1].images}
    assert not learned & {image.tobytes() for image in ran[0][2].validation.images}
