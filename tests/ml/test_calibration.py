from __future__ import annotations

import json

import numpy as np
import pytest

from ml.calibration import (
    BINS,
    best_temperature,
    binned_error,
    by_class,
    calibration_error,
    error_by_chance,
    overconfidence,
    reliability,
)

CLASSES = 37


def sure(labels: np.ndarray, right: np.ndarray, confidence: float) -> np.ndarray:
    """(N, 37): so much for the label where it is right, else for another class; the rest shared by all others."""
    rows = np.full((len(labels), CLASSES), (1 - confidence) / (CLASSES - 1), np.float32)
    rows[np.arange(len(labels)), np.where(right, labels, (labels + 1) % CLASSES)] = confidence
    return rows


def mixed() -> tuple[np.ndarray, np.ndarray]:
    """Sixty images at 0.9, of which 45 are right (0.75), and forty at 0.5, of which 26 are (0.65)."""
    labels = np.arange(100) % CLASSES
    first = np.arange(60) < 45
    second = np.arange(40) < 26
    rows = np.concatenate([sure(labels[:60], first, 0.9), sure(labels[60:], second, 0.5)])
    return rows, labels


def test_it_works() -> None:
    labels = np.zeros(100, np.uint8)
    assert calibration_error(sure(labels, np.arange(100) < 90, 0.9), labels) == pytest.approx(0, abs=1e-6)
    assert calibration_error(sure(labels, np.arange(100) < 60, 0.9), labels) == pytest.approx(0.3, abs=1e-6)


def test_gaps_either_way_add_up_by_the_images_in_them() -> None:
    rows, labels = mixed()
    assert calibration_error(rows, labels) == pytest.approx(0.6 * 0.15 + 0.4 * 0.15, abs=1e-6)


def test_bins_say_what_the_error_is_made_of() -> None:
    rows, labels = mixed()
    found = reliability(rows, labels)
    assert found["error"] == pytest.approx(0.15, abs=1e-6)
    assert len(found["bins"]) == BINS == 15
    assert [number for number, each in enumerate(found["bins"]) if each["count"]] == [7, 13]
    low, high = found["bins"][7], found["bins"][13]
    assert (low["low"], low["high"], low["count"]) == (pytest.approx(7 / 15), pytest.approx(8 / 15), 40)
    assert (low["confidence"], low["accuracy"]) == (pytest.approx(0.5), pytest.approx(0.65))
    assert (high["confidence"], high["accuracy"]) == (pytest.approx(0.9), pytest.approx(0.75))
    assert found["bins"][0] == {
        "low": 0.0,
        "high": pytest.approx(1 / 15),
        "count": 0,
        "confidence": None,
        "accuracy": None,
    }
    assert json.loads(json.dumps(found)) == found


def test_who_is_wholly_sure_is_in_the_last_bin() -> None:
    found = reliability(np.eye(CLASSES)[[0, 1]], np.array([0, 2]))
    assert found["bins"][-1] == {"low": 14 / 15, "high": 1.0, "count": 2, "confidence": 1.0, "accuracy": 0.5}
    assert found["error"] == 0.5


def test_overconfidence_has_a_sign_where_the_error_has_none() -> None:
    rows, labels = mixed()
    found = reliability(rows, labels)["bins"]
    assert overconfidence(found) == pytest.approx(0.6 * 0.15 - 0.4 * 0.15, abs=1e-6)
    assert overconfidence(reliability(sure(labels, labels >= 0, 0.9), labels)["bins"]) == pytest.approx(-0.1, abs=1e-6)


def test_what_is_read_as_each_class_adds_to_the_overconfidence() -> None:
    rows, labels = mixed()
    found = by_class(rows, labels)
    assert sum(each["count"] for each in found) == 100
    assert sum(each["excess"] for each in found) == pytest.approx(overconfidence(reliability(rows, labels)["bins"]))
    assert [each["excess"] for each in found] == sorted((each["excess"] for each in found), reverse=True)
    three = by_class(sure(np.array([2, 2, 2, 5]), np.array([True, True, False, True]), 0.8), np.array([2, 2, 2, 5]))
    assert [each["class"] for each in three] == ["D", "F", "C"]
    assert three[0]["excess"] == pytest.approx(0.8 / 4)
    assert (three[2]["count"], three[2]["confidence"], three[2]["accuracy"]) == (2, pytest.approx(0.8), 1.0)


def test_true_probabilities_show_an_error_that_shrinks_with_the_images() -> None:
    random = np.random.default_rng(1)
    confidence = random.uniform(0.5, 1, 10_000)
    rows = sure(np.zeros(10_000, int), np.ones(10_000, bool), 0.9)
    rows[:, 0] = confidence
    few, many = error_by_chance(rows[:500]), error_by_chance(rows)
    assert 0 < many[0] < many[1] < few[0] < few[1]
    drawn = binned_error(confidence, random.random(10_000) < confidence)
    assert drawn < 1.5 * many[1]
    assert error_by_chance(rows) == many


def test_the_temperature_is_the_one_that_labels_were_drawn_by() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (5_000, CLASSES))
    labels = (logits / 1.7 + random.gumbel(size=logits.shape)).argmax(axis=1)
    assert best_temperature(logits, labels) == pytest.approx(1.7, abs=0.1)
