"""Less sure within pairs of like letters, and else as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from ml import artifact, graft, pairs
from ml.artifact import SHIPPED, FeatureSet
from ml.calibration import calibration_error, error_by_chance
from ml.emnist import Letters
from ml.head import Head
from ml.labels import CLASS_COUNT, index_of
from ml.predictor import Predictor
from ml.train import TrainResult
from tests.ml import tiny

PAIRED = [index_of(letter) for pair in pairs.PAIRS for letter in pair]
OTHERS = [index for index in range(CLASS_COUNT) if index not in PAIRED]


def some_letters(count: int, seed: int, within: float) -> FeatureSet:
    """Letters whose features are their logits, half of them of a pair, of which labels say less by that factor."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1, (count, CLASS_COUNT))
    meant = np.where(random.random(count) < 0.5, random.choice(PAIRED, count), random.choice(OTHERS, count))
    logits[np.arange(count), meant] += 7
    for first, second in pairs._PAIRS:
        of = np.isin(meant, (first, second))
        logits[of, first], logits[of, second] = random.normal(5, 2, (2, of.sum()))
    true = pairs.softened(softmax(logits, axis=1), within)
    labels = (np.log(true) + random.gumbel(size=true.shape)).argmax(axis=1)
    return FeatureSet(logits.astype(np.float32), labels.astype(np.uint8))


PLAIN = Head(np.eye(CLASS_COUNT, dtype=np.float32), np.zeros(CLASS_COUNT, np.float32))


def test_it_works() -> None:
    """It finds by how much the labels of a pair say less, and reads all else as before."""
    reference, held_out = some_letters(4_000, 0, 0.5), some_letters(8_000, 1, 0.5)
    before = PLAIN.probabilities(held_out.features)
    assert pairs.excess(before, held_out.labels) > 0.01
    head, within = pairs.soften(PLAIN, reference, held_out)
    assert within == pytest.approx(0.5, abs=0.12)
    unseen = some_letters(8_000, 2, 0.5)
    was, now = PLAIN.probabilities(unseen.features), head.probabilities(unseen.features)
    assert pairs.excess(now, unseen.labels) == pytest.approx(0, abs=0.005)
    assert calibration_error(now, unseen.labels) < calibration_error(was, unseen.labels) / 2
    assert (was.argmax(axis=1) == now.argmax(axis=1)).mean() > 0.99
    assert np.abs(was - now)[:, OTHERS].mean() < 0.003


def test_who_is_not_too_sure_stays_as_it_is() -> None:
    reference, held_out = some_letters(500, 0, 1.0), some_letters(4_000, 1, 1.5)
    assert pairs.excess(PLAIN.probabilities(held_out.features), held_out.labels) < 0
    head, within = pairs.soften(PLAIN, reference, held_out)
    assert head is PLAIN
    assert within == 1


def test_who_is_never_right_keeps_a_tenth_of_the_difference() -> None:
    reference, held_out = some_letters(500, 0, 1.0), some_letters(500, 1, 1.0)
    wrong = FeatureSet(held_out.features, np.full(500, index_of("A"), np.uint8))
    assert pairs.soften(PLAIN, reference, wrong)[1] == pairs.LEAST


@given(seed=st.integers(0, 10_000), within=st.floats(0.1, 1))
def test_softened_keeps_what_a_pair_has_together_and_the_likelier_of_it(seed: int, within: float) -> None:
    before = softmax(np.random.default_rng(seed).normal(0, 6, (5, CLASS_COUNT)), axis=1).astype(np.float32)
    after = pairs.softened(before, within)
    assert np.array_equal(after[:, OTHERS], before[:, OTHERS])
    for pair in pairs._PAIRS:
        one, other = before[:, pair].astype(float).T
        now, then = after[:, pair].T
        assert now + then == pytest.approx(one + other)
        assert np.log(now / then) == pytest.approx(within * np.log(one / other), abs=1e-6)


def test_what_has_no_probability_at_all_is_no_trouble() -> None:
    sure = np.eye(CLASS_COUNT, dtype=np.float32)[[index_of("F"), index_of("A")]]
    after = pairs.softened(sure, 0.5)
    assert np.isfinite(after).all()
    assert after.sum(axis=1) == pytest.approx(1)
    assert after[0].argmax() == index_of("F")


def test_excess_is_of_letters_read_as_a_pair_and_a_share_of_all() -> None:
    rows = np.full((4, CLASS_COUNT), 0.1 / (CLASS_COUNT - 1), np.float32)
    rows[[0, 1, 2, 3], [index_of("F"), index_of("g"), index_of("A"), index_of("A")]] = 0.9
    labels = np.array([index_of(letter) for letter in "FqBB"])
    assert pairs.excess(rows, labels) == pytest.approx((0.9 - 1 + 0.9 - 0) / 4)
    assert pairs.excess(rows[2:], labels[2:]) == 0


def test_the_model_that_ships_is_as_sure_as_right() -> None:
    """On the test images, by the features and the last layer that it carries: no more than one point off."""
    config, metrics = (artifact.read_json(SHIPPED, name) for name in ("config.json", "metrics.json"))
    assert 0.2 < config["within_pairs"] < 0.8
    probabilities, labels = artifact.emnist_answers(SHIPPED)
    assert calibration_error(probabilities, labels) <= 0.01
    assert calibration_error(probabilities, labels) <= error_by_chance(probabilities)[1]
    assert abs(pairs.excess(probabilities, labels)) < 0.003
    assert metrics["test"]["calibration"]["error"] == pytest.approx(calibration_error(probabilities, labels), abs=5e-4)
    assert metrics["test"]["accuracy"] == pytest.approx((probabilities.argmax(axis=1) == labels).mean(), abs=5e-4)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.934
    assert "within_pairs" in (SHIPPED / "card.md").read_text()


def test_a_training_softens_what_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is sure of everything and right by chance."""
    network = tiny.tiny(0.0)
    random = np.random.default_rng(0)
    for name, sizes in (("features", ((49, 32), 32)), ("logits", ((32, 37), 37))):
        network.get_layer(name).set_weights([random.normal(0, 1, size).astype(np.float32) for size in sizes])
    letters = tiny.letters()
    few = Letters(letters.images[::3], random.permutation(letters.labels[::3]))
    written: dict[str, Any] = {}

    def write(output: Path, serving: keras.Model, origin: artifact.Origin) -> None:
        written.update(serving=serving, config=origin.config)

    monkeypatch.setattr(artifact, "write_network", write)
    artifact.write_artifact(tmp_path / "out", tiny.CONFIG, TrainResult(network, few, []), letters)
    plain = artifact.serving_model(network, written["config"]["temperature"])
    images = few.images[..., None] / np.float32(255)
    was, now = (model.predict(images, verbose=0)[0] for model in (plain, written["serving"]))
    assert written["config"]["within_pairs"] < 0.95
    assert pairs.excess(now, few.labels) < 0.7 * pairs.excess(was, few.labels)
    assert np.abs(was - now)[:, OTHERS].mean() < np.abs(was - now)[:, PAIRED].mean() / 4


def too_sure(folder: Path) -> Path:
    """What ships, but twice as sure within each pair."""
    old = artifact.load_head(SHIPPED)
    kernel, bias = old.kernel.copy(), old.bias.copy()
    for first, second in pairs._PAIRS:
        for rows in (kernel, bias[None]):
            half = (rows[:, first] - rows[:, second]) / 2
            rows[:, first] += half
            rows[:, second] -= half
    new = Head(kernel, bias)
    with artifact.made_whole(folder) as aside:
        for name in artifact.FILES:
            (aside / name).write_bytes((SHIPPED / name).read_bytes())
        (aside / "model.tflite").write_bytes(graft.into_litert((SHIPPED / "model.tflite").read_bytes(), old, new))
        (aside / "model.keras").write_bytes(graft.into_keras((SHIPPED / "model.keras").read_bytes(), old, new))
        artifact.write_head(aside, new)
    return folder


@pytest.mark.emnist
@pytest.mark.slow
def test_an_artefact_is_rewritten_whole(
    tmp_path: Path, emnist_archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMNIST_ARCHIVE", str(emnist_archive))
    parent, made = too_sure(tmp_path / "parent"), tmp_path / "made"
    pairs.main([str(parent), str(made)])
    artifact.verify(made)
    artifact.smoke_test(made)
    config, metrics = (artifact.read_json(made, name) for name in ("config.json", "metrics.json"))
    assert f"{config['within_pairs']:.3f} of the difference" in capsys.readouterr().out
    assert config["within_pairs"] == pytest.approx(0.5, abs=0.15)
    assert config["trunk"] == artifact.trunk_of(SHIPPED)
    was, labels = artifact.emnist_answers(parent)
    now, _ = artifact.emnist_answers(made)
    assert calibration_error(now, labels) < calibration_error(was, labels) - 0.005
    assert metrics["test"]["calibration"]["error"] == pytest.approx(calibration_error(now, labels), abs=5e-4)
    assert metrics["validation"]["count"] == 1850
    assert metrics["history"] == artifact.read_json(SHIPPED, "metrics.json")["history"]
    images = np.random.default_rng(0).integers(0, 255, (4, 28, 28), dtype=np.uint8)
    served = [Predictor(made).predict(image).probabilities for image in images]
    trained = keras.models.load_model(made / "model.keras", compile=False)
    assert np.abs(trained.predict(images[..., None] / np.float32(255), verbose=0)[0] - served).max() < 1e-3
