from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml import crossfit, network, train
from ml.emnist import Letters
from ml.labels import CLASS_COUNT
from tests.ml import tiny

LABELS = np.repeat(np.arange(CLASS_COUNT, dtype=np.uint8), 6)
CONFIG = train.TrainConfig(network="tiny", epochs=1, batch_size=37, validation_per_class=1, ema=0.0, calm_epochs=0)


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> Letters:
    monkeypatch.setitem(network.NETWORKS, "tiny", tiny.tiny)
    images = np.random.default_rng(0).integers(0, 256, (len(LABELS), 28, 28)).astype(np.uint8)
    return Letters(images, LABELS)


def test_folds_hold_as_many_of_each_class_and_no_validation() -> None:
    validation = np.zeros(len(LABELS), bool)
    validation[:: len(LABELS) // 12] = True
    folds = crossfit.folds_of(LABELS, validation, 3, seed=0)
    assert (folds[validation] == -1).all()
    assert (folds[~validation] >= 0).all()
    for label in range(CLASS_COUNT):
        counts = np.bincount(folds[(label == LABELS) & ~validation], minlength=3)
        assert counts.max() - counts.min() <= 1


def test_no_network_learns_from_what_it_reads(
    letters: Letters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images are told apart by their bytes: those of a fold, and validation, are in no training of that fold."""
    learned: list[set[bytes]] = []
    fit = train.fit

    def noted(config: train.TrainConfig, some: Letters, work: Path | None = None) -> train.TrainResult:
        learned.append({image.tobytes() for image in some.images})
        return fit(config, some, work)

    monkeypatch.setattr(train, "fit", noted)
    result = crossfit.crossfit(CONFIG, letters, 2, tmp_path / "work")
    assert len(learned) == 2
    for image, fold in zip(letters.images, result.folds, strict=True):
        assert [image.tobytes() in some for some in learned] == [fold not in (0, -1), fold not in (1, -1)]
    assert result.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_what_was_cut_off_goes_on_and_reads_the_same(
    letters: Letters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = crossfit.crossfit(CONFIG, letters, 2, tmp_path / "work")

    def never(*_: object) -> None:
        raise AssertionError("both networks are trained already")

    monkeypatch.setattr(train, "fit", never)
    again = crossfit.crossfit(CONFIG, letters, 2, tmp_path / "work")
    assert (again.probabilities == whole.probabilities).all()


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    made = crossfit.Crossfit(np.full((5, CLASS_COUNT), 1 / 64, np.float32), np.arange(5, dtype=np.int8), {"folds": 2})
    crossfit.save(tmp_path / "made.npz", made)
    back = crossfit.load(tmp_path / "made.npz", 5)
    assert (back.probabilities == made.probabilities).all()
    assert (back.folds == made.folds).all()
    assert back.about == {"folds": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["made.npz"]


def test_a_file_of_another_dataset_is_refused(tmp_path: Path) -> None:
    made = crossfit.Crossfit(np.full((5, CLASS_COUNT), 1 / 64, np.float32), np.zeros(5, np.int8), {})
    crossfit.save(tmp_path / "made.npz", made)
    with pytest.raises(crossfit.BadCrossfit, match="is of 5 images, the dataset has 6"):
        crossfit.load(tmp_path / "made.npz", 6)


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "made.npz").write_text("no archive")
    with pytest.raises(crossfit.BadCrossfit, match="no file of out-of-fold probabilities"):
        crossfit.load(tmp_path / "made.npz", 6)
