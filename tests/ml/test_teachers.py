"""What of benchmarks/teachers runs without PyTorch: the split, the table, and how a student comes to Keras."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.teachers import data, report, ship
from ml import network, train
from ml.labels import CLASS_COUNT


def stored(tmp_path: Path, arrays: list[np.ndarray]) -> Any:
    about = {"design": {"network": "sharp", "dropout": 0.2}}
    weights = {f"weight{number:03d}": each for number, each in enumerate(arrays)}
    np.savez(tmp_path / "student.npz", **weights, about=np.array(json.dumps(about)))
    return np.load(tmp_path / "student.npz")


def test_what_chooses_was_learned_from_by_none() -> None:
    labels = np.repeat(np.arange(CLASS_COUNT, dtype=np.uint8), 120)
    dealt = data.folds(labels)
    config = train.TrainConfig()
    validation = train.validation_mask(labels, config.validation_per_class, config.seed)
    assert np.array_equal(dealt == data.VALIDATION, validation)
    for label in range(CLASS_COUNT):
        of = dealt[labels == label]
        assert np.bincount(of + 2).tolist() == [50, 7, 13, 13, 13, 12, 12]


def test_a_student_reads_in_keras_as_its_weights_have_it(tmp_path: Path) -> None:
    trained = network.build("sharp", 0.2)
    random = np.random.default_rng(0)
    trained.set_weights([random.uniform(0.1, 0.2, each.shape).astype(np.float32) for each in trained.get_weights()])
    arrays = [each for layer in trained.layers for each in layer.get_weights()]
    images = random.integers(0, 255, (5, 28, 28), dtype=np.uint8)
    found = train.predict_all(ship.student(stored(tmp_path, arrays)), images)
    assert np.array_equal(found, train.predict_all(trained, images))
    with pytest.raises(ValueError, match="1 arrays more than the network sharp has"):
        ship.student(stored(tmp_path, [*arrays, np.zeros(37)]))


def test_settings_are_those_of_the_training() -> None:
    """What retrainings start from: the student's own dropout, rate and augmentation, no setting of its teachers."""
    design = {"network": "sharp", "epochs": 48, "weight": 0.5, "dropout": 0.2, "rate": 0.003, "averaged": True}
    recipe = {"batch_size": 512, "weight_decay": 0.02, "label_smoothing": 0.0, "balance": 0.5, "ema": 0.999}
    about = {"design": design, "recipe": recipe | {"warm_up": 0.1, "calm": 0.3, "calm_share": 0.15}}
    found = ship.settings(about | {"changes": {"redraw": 1.0, "elastic": 0.5}})
    assert (found.network, found.dropout, found.label_smoothing, found.calm_epochs) == ("sharp", 0.2, 0.0, 7)
    assert (found.augment.redraw, found.augment.elastic, found.teachers) == (1.0, 0.5, ())


def test_the_table_weighs_all_classes_alike() -> None:
    """Of class 0 nine are read right and of class 1 the only one is not: a half."""
    labels = np.array([0] * 9 + [1])
    read = {f"{name}-{part}": np.full((10, CLASS_COUNT), -9.0) for name in ("a", "b") for part in ("dev", "validation")}
    for name, column in (("a-dev", labels), ("b-dev", 0), ("a-validation", labels), ("b-validation", labels)):
        read[name][np.arange(10), column] = -0.1
    lines = report.table(read, labels, labels, base="b").splitlines()
    assert lines[2].startswith("| a | 100.00% | +50.00 ± ")
    assert "| 1, 0; 1.000 |" in lines[2]
    assert lines[3].startswith("| b | 50.00% | +0.00 ± 0.00 | 0, 0; 1.000 |")
