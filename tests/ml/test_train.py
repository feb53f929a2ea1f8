from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import pytest

from ml import crossfit, network, train
from ml.artifact import SHIPPED
from ml.augment import AugmentConfig
from ml.emnist import Letters
from ml.labels import CLASS_COUNT, CLASSES
from ml.preprocess import image_from_strokes
from tests.ml import tiny
from tests.ml.glyphs import GLYPHS

TINY = tiny.CONFIG


@pytest.fixture(scope="module")
def letters() -> Letters:
    return tiny.letters()


@pytest.fixture(autouse=True)
def _tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(network.NETWORKS, "tiny", tiny.tiny)


def test_validation_is_cut_from_train_and_shares_nothing_with_it(letters: Letters) -> None:
    numbered = Letters(np.zeros((222, 28, 28), np.uint8), letters.labels)
    numbered.images[:, 0, 0] = np.arange(222)
    kept, validation = train.split_validation(numbered, per_class=2, seed=0)
    assert validation.counts().tolist() == [2] * 37
    assert kept.counts().tolist() == [4] * 37
    everything = np.concatenate([kept.images[:, 0, 0], validation.images[:, 0, 0]])
    assert sorted(everything.tolist()) == list(range(222))


def test_the_cut_depends_on_the_seed_alone(letters: Letters) -> None:
    numbered = Letters(np.arange(222, dtype=np.uint8)[:, None, None] + np.zeros((28, 28), np.uint8), letters.labels)
    one, same, other = (train.split_validation(numbered, 2, seed)[1].images for seed in (1, 1, 2))
    assert (one == same).all()
    assert not (one == other).all()


@pytest.mark.parametrize("balance", [0, 0.5, 1])
def test_a_quota_lies_between_the_counts_and_all_alike(balance: float) -> None:
    counts = np.full(CLASS_COUNT, 100)
    counts[0], counts[1] = 10_000, 0
    quota = train.class_quota(counts, balance)
    assert quota[1] == 0
    assert quota.sum() == pytest.approx(counts.sum(), abs=CLASS_COUNT)
    assert quota[0] / quota[2] == pytest.approx(100**balance, rel=0.02)


def test_batches_hold_each_class_by_its_quota(letters: Letters) -> None:
    batches = train.Batches(letters, replace(TINY, balance=0))
    images, expected = zip(*(batches[index] for index in range(len(batches))), strict=True)
    assert images[0].shape == (37, 28, 28, 1)
    assert images[0].dtype == np.uint8
    assert np.concatenate(expected).sum(axis=0).tolist() == [6] * 37


def test_an_image_stays_with_its_label(letters: Letters) -> None:
    images, expected = train.Batches(letters, TINY)[0]
    for image, row in zip(images[..., 0], expected, strict=True):
        assert (image == letters.images[6 * int(row.argmax())]).all()


def test_an_epoch_depends_on_the_seed_and_its_number_alone(letters: Letters) -> None:
    going_on = train.Batches(letters, TINY)
    first = going_on[0][1]
    going_on.begin(1)
    resumed = train.Batches(letters, TINY, first_epoch=1)
    assert (going_on[0][1] == resumed[0][1]).all()
    assert not (first == resumed[0][1]).all()


def test_the_loss_makes_up_for_how_often_a_class_is_drawn() -> None:
    """Equal logits for a rare and a common class: to the loss the rare one is behind, and is pushed up."""
    quota = np.full(CLASS_COUNT, 100)
    quota[0] = 10_000
    loss, plain = (train.adjusted_crossentropy(quota, smoothing=0.0, adjustment=each) for each in (1.0, 0.0))
    rows = train.one_hot(np.array([0, 1], np.uint8))
    common, rare = (float(loss(rows[[index]], np.zeros((1, CLASS_COUNT), np.float32))) for index in (0, 1))
    assert rare == pytest.approx(-np.log(100 / quota.sum()), rel=1e-3)
    assert common == pytest.approx(-np.log(10_000 / quota.sum()), rel=1e-3)
    assert float(plain(rows[[1]], np.zeros((1, CLASS_COUNT), np.float32))) == pytest.approx(np.log(37), rel=1e-3)


def test_a_network_comes_back_with_its_history_and_what_validated_it(letters: Letters) -> None:
    result = train.fit(TINY, letters)
    assert [row["epoch"] for row in result.history] == [0, 1]
    assert result.history[1]["loss"] < result.history[0]["loss"]
    assert len(result.validation) == CLASS_COUNT
    logits = np.asarray(result.network(letters.images[:2, ..., None].astype(np.float32) / 255))
    assert logits.shape == (2, CLASS_COUNT)


def test_the_same_seed_trains_the_same_network(letters: Letters) -> None:
    """To 1e-4, see docs/training.md; another seed is far from that."""
    config = replace(TINY, mixup=0.2, augment=replace(TINY.augment, elastic=0.5, cut_out=4.0))
    once, again, other = (train.fit(each, letters).network for each in (config, config, replace(config, seed=1)))

    def apart(one: keras.Model, two: keras.Model) -> float:
        pairs = zip(one.get_weights(), two.get_weights(), strict=True)
        return max(float(np.abs(mine - yours).max()) for mine, yours in pairs)

    assert apart(once, again) < 1e-4
    assert apart(once, other) > 0.01


def test_the_last_epochs_are_calm(letters: Letters) -> None:
    config = replace(TINY, epochs=5, calm_epochs=2, calm=0.3)
    assert [train.strength_in(config, epoch) for epoch in range(5)] == [1, 1, 1, 0.3, 0.3]
    model, augment = train._augmented(config, tiny.tiny(0.0))
    epochs = train.Epochs(config, train.Batches(letters, config), augment)
    epochs.set_model(model)
    epochs.on_epoch_begin(3, {})
    assert float(augment.strength) == pytest.approx(0.3)
    epochs.on_epoch_begin(0, {})
    assert float(augment.strength) == 1


def test_mixed_images_are_blends_whose_targets_say_so(letters: Letters) -> None:
    """Each target names one or two classes, and the image is as much of each as the target says."""
    flat = Letters(np.repeat(letters.labels, 28 * 28).reshape(-1, 28, 28) * 6, letters.labels)
    images, targets = train.Batches(flat, replace(TINY, mixup=1.0, calm_epochs=0))[0]
    assert images.dtype == np.uint8
    assert targets.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert 1 < (targets > 0).sum(axis=1).mean() <= 2
    expected = 6 * targets @ np.arange(CLASS_COUNT)
    assert np.abs(images[:, 0, 0, 0] - expected).max() <= 0.51


def test_mixing_depends_on_seed_epoch_and_batch_alone(letters: Letters) -> None:
    config = replace(TINY, mixup=1.0)
    once, again, other = (train.Batches(letters, each)[1] for each in (config, config, replace(config, seed=1)))
    assert (once[0] == again[0]).all()
    assert (once[1] == again[1]).all()
    assert not (once[1] == other[1]).all()


def test_calm_epochs_mix_only_their_share(letters: Letters) -> None:
    batches = train.Batches(letters, replace(TINY, mixup=1.0, epochs=2, calm_epochs=1, calm=0.0), first_epoch=1)
    assert ((batches[0][1] > 0).sum(axis=1) == 1).all()


def test_the_weights_that_ship_have_statistics_of_their_own(letters: Letters, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all batches the plain mean, whatever was kept before: here of images that are all the same."""

    def normalised(dropout: float) -> keras.Model:
        images = keras.Input(network.INPUT_SHAPE)
        flat = keras.layers.BatchNormalization(name="norm", momentum=0.99)(keras.layers.Flatten()(images))
        return keras.Model(images, keras.layers.Dense(CLASS_COUNT, name="logits")(flat))

    monkeypatch.setitem(network.NETWORKS, "normalised", normalised)
    white = Letters(np.full_like(letters.images, 255), letters.labels)
    config = replace(TINY, network="normalised", epochs=1, settle_steps=3, augment=TINY.augment.scaled(0))
    settled = train.fit(config, white).network.get_layer("norm")
    assert np.asarray(settled.moving_mean) == pytest.approx(1.0, abs=1e-5)
    assert settled.momentum == 0.99
    kept = train.fit(replace(config, settle_steps=0), white).network.get_layer("norm")
    assert np.asarray(kept.moving_mean).max() < 0.1


def test_what_teachers_read_is_mixed_with_the_labels() -> None:
    """The shipped model reads letters of ours right; under a wrong label the target names both."""
    images = np.stack([image_from_strokes(GLYPHS[name]) for name in "LZ"])
    wrong = Letters(images, np.array([CLASSES.index("A"), CLASSES.index("Z")], np.uint8))
    read = train.read_by(SHIPPED, images)
    targets = train.taught_targets(wrong.labels, np.ones(CLASS_COUNT, np.int64), [read, read], 0.75)
    assert targets.sum(axis=1) == pytest.approx(1)
    assert targets[0, CLASSES.index("A")] == pytest.approx(0.25, abs=0.01)
    assert targets[0, CLASSES.index("L")] > 0.6
    assert targets[1, CLASSES.index("Z")] > 0.85
    untaught = train.taught_targets(wrong.labels, np.ones(CLASS_COUNT, np.int64), [], 0.75)
    assert (untaught == train.one_hot(wrong.labels)).all()


def test_a_class_that_is_drawn_often_is_expected_more_often_of_teachers_too() -> None:
    letters = Letters(np.stack([image_from_strokes(GLYPHS["L"])]), np.array([CLASSES.index("L")], np.uint8))
    quota = np.ones(CLASS_COUNT, np.int64)
    read = train.read_by(SHIPPED, letters.images)
    plain = train.taught_targets(letters.labels, quota, [read], 1.0)[0]
    quota[CLASSES.index("C")] = 1000
    often = train.taught_targets(letters.labels, quota, [read], 1.0)[0]
    assert often[CLASSES.index("C")] / often[CLASSES.index("L")] == pytest.approx(
        1000 * plain[CLASSES.index("C")] / plain[CLASSES.index("L")], rel=0.01
    )


def test_soft_labels_stay_with_their_images(letters: Letters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that calls each image the next class teaches just that, whichever images validation takes away."""
    next_class = train.one_hot((letters.labels + 1) % CLASS_COUNT)
    made = crossfit.Crossfit(next_class, np.zeros(len(letters), np.int8), {})
    crossfit.save(tmp_path / "soft.npz", made)
    seen: list[np.ndarray] = []

    def noted(kept: Letters, config: train.TrainConfig, start: int, targets: np.ndarray) -> train.Batches:
        seen.append((targets.argmax(axis=1) - kept.labels.astype(int)) % CLASS_COUNT)
        return real(kept, config, start, targets)

    real = train.Batches
    monkeypatch.setattr(train, "Batches", noted)
    train.fit(replace(TINY, epochs=1, soft_labels=str(tmp_path / "soft.npz"), teachers_weight=1.0), letters)
    assert len(seen[0]) == len(letters) - CLASS_COUNT
    assert (seen[0] == 1).all()


def test_a_configuration_survives_json() -> None:
    config = replace(TINY, augment=replace(TINY.augment, shift=2.5), teachers=("a", "b"))
    assert train.config_from(json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize(("steps", "expected"), [(20_352, 0.9995), (1_000, 0.99), (493, 1 - 10 / 493), (5, 0.0)])
def test_weights_are_averaged_over_a_tenth_of_a_training_at_most(steps: int, expected: float) -> None:
    """One epoch of the long average would ship four fifths of its random beginning."""
    optimizer = train.optimizer_of(train.TrainConfig(), steps)
    assert optimizer.ema_momentum == pytest.approx(expected)


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown settings: augment\.tilt, epoch"):
        train.config_from({"epoch": 3, "augment": {"tilt": 1}})


def test_a_configuration_of_an_earlier_version_means_what_it_meant() -> None:
    """The one that ships knows nothing of later settings: those stay off."""
    stored = json.loads((SHIPPED / "config.json").read_text())["train"]
    config = train.config_from(stored)
    assert config.augment == AugmentConfig(**stored["augment"], elastic=0, redraw=0, cut_out=0, gamma=0)
    assert (config.mixup, config.exclude, config.logit_adjustment) == (0, "", 1)


def test_options_change_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"train": asdict(replace(TINY, seed=7, epochs=9))}))
    given = ["--config", str(file), "--epochs", "4", "--augment.elastic", "0.5", "--output", str(tmp_path / "out")]
    config, output = train.parse(given)
    assert config == replace(TINY, seed=7, epochs=4, augment=replace(TINY.augment, elastic=0.5))
    assert output == tmp_path / "out"


def test_teachers_are_named_by_their_folders() -> None:
    assert train.parse(["--teachers", "var/a,var/b", "--output", "out"])[0].teachers == ("var/a", "var/b")


def test_an_output_is_needed() -> None:
    with pytest.raises(SystemExit):
        train.parse(["--epochs", "3"])
