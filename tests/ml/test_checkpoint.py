"""Stopped trainings: what is kept, how they go on, and what is refused. One of them is a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import keras
import pytest

from ml import checkpoint, network, train
from ml.emnist import Letters
from tests.ml import tiny
from tests.ml.archives import write_letters
from tests.ml.conftest import ROOT

EPOCHS = 100  # of a training that is stopped in one of the first


def hold(work: Path, config: train.TrainConfig, letters: Letters) -> None:
    """The folder of a training of which one epoch is done."""
    kept, _ = train.split_validation(letters, config.validation_per_class, config.seed)
    checkpoint.claim(work, asdict(config), train._learned_from(config, kept))
    (work / "epoch1.weights.h5").touch()


class Cut(Exception):
    """The machine was switched off."""


@pytest.fixture(scope="module")
def letters() -> Letters:
    return tiny.letters()


@pytest.fixture(autouse=True)
def _tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(network.NETWORKS, "tiny", tiny.tiny)


def cut_off(config: train.TrainConfig, letters: Letters, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, and be cut off in the middle of the second epoch: each has five batches."""
    batches = iter(range(7))

    def batch_ended(batch: int, logs: object) -> None:
        if next(batches) == 6:
            raise Cut

    real = train._reports
    end = keras.callbacks.LambdaCallback(on_train_batch_end=batch_ended)
    with monkeypatch.context() as patched:
        patched.setattr(train, "_reports", lambda *given: [*real(*given), end])
        with pytest.raises(Cut):
            train.fit(config, letters, work)


def test_a_training_that_was_cut_off_ends_where_it_would_have(
    letters: Letters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(tiny.CONFIG, epochs=3, calm_epochs=1)
    whole = train.fit(config, letters, tmp_path / "whole")
    cut_off(config, letters, tmp_path / "work", monkeypatch)
    assert checkpoint.epochs_done(tmp_path / "work") == 1
    resumed = train.fit(config, letters, tmp_path / "work")
    assert [row["epoch"] for row in resumed.history] == [0, 1, 2]
    for mine, theirs in zip(resumed.network.get_weights(), whole.network.get_weights(), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)
    for row, same in zip(resumed.history, whole.history, strict=True):
        assert row == pytest.approx(same, abs=1e-3)


def test_one_checkpoint_is_kept_and_nothing_half_written_counts(letters: Letters, tmp_path: Path) -> None:
    train.fit(tiny.CONFIG, letters, tmp_path)
    (tmp_path / "aside.weights.h5").write_text("cut off while it was written")
    assert [path.name for path in tmp_path.glob("epoch*")] == ["epoch2.weights.h5"]
    assert checkpoint.epochs_done(tmp_path) == 2
    again = train.fit(tiny.CONFIG, letters, tmp_path)  # finished: nothing is trained, the same network comes back
    assert [row["epoch"] for row in again.history] == [0, 1]


def test_a_folder_of_another_training_is_refused_by_what_differs(letters: Letters, tmp_path: Path) -> None:
    hold(tmp_path, tiny.CONFIG, letters)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = replace(tiny.CONFIG, epochs=3, augment=replace(tiny.CONFIG.augment, shift=2.5))
    with pytest.raises(checkpoint.BadCheckpoint) as refused:
        train.fit(other, letters, tmp_path)
    assert "augment.shift 1.5 there, 2.5 here; epochs 2 there, 3 here. Name another output" in str(refused.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_of_other_images_is_refused(letters: Letters, tmp_path: Path) -> None:
    hold(tmp_path, tiny.CONFIG, letters)
    with pytest.raises(checkpoint.BadCheckpoint, match=r"another training: training images \w{12} there, \w{12} here"):
        train.fit(tiny.CONFIG, Letters(255 - letters.images, letters.labels), tmp_path)


def test_a_checkpoint_that_does_not_say_of_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latest.weights.h5").write_text("of an earlier version")
    with pytest.raises(checkpoint.BadCheckpoint, match="does not say which"):
        checkpoint.claim(tmp_path, asdict(tiny.CONFIG), {})


def test_a_configuration_may_change_before_the_first_epoch_is_done(tmp_path: Path) -> None:
    checkpoint.claim(tmp_path, {"epochs": 1}, {})
    checkpoint.claim(tmp_path, {"epochs": 2}, {})
    assert checkpoint.epochs_done(tmp_path) == 0


def test_a_row_counts_once_however_often_its_epoch_was_begun(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch,loss\n0,3\n1,9\n1,2\n")
    assert checkpoint.history(tmp_path) == [{"epoch": 0, "loss": 3}, {"epoch": 1, "loss": 2}]


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(letters: Letters, tmp_path: Path) -> None:
    archive = write_letters(tmp_path / "emnist.zip", "tiny", letters, letters)
    arguments = tiny.arguments(tmp_path / "out", EPOCHS)
    started = subprocess.Popen(
        [sys.executable, "-m", "tests.ml.tiny", *arguments],
        cwd=ROOT,
        env=os.environ | {"EMNIST_ARCHIVE": str(archive)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    first = next(line for line in started.stdout if "done" in line)
    started.send_signal(signal.SIGINT)
    rest, said = started.communicate(timeout=120)
    done = checkpoint.epochs_done(tmp_path / "out.work")
    assert f"epoch 1/{EPOCHS} done" in first
    assert "Traceback" not in said
    assert f"Stopped: {done} of {EPOCHS} epochs are kept in {tmp_path / 'out.work'}" in said
    assert f"python -m ml.train {' '.join(arguments)}" in said
    assert started.returncode == 130
    assert 1 <= done < EPOCHS
    assert 1 + rest.count("done") - done in (0, 1)  # what was whole is kept: no more than the epoch under way is lost
    _goes_on(tmp_path, letters, done)


def _goes_on(folder: Path, letters: Letters, done: int) -> None:
    """The checkpoint of the process is one that the same configuration takes up."""
    config, output = train.parse(tiny.arguments(folder / "out", EPOCHS))
    begun: list[int] = []

    def epoch_began(epoch: int, logs: object) -> None:
        begun.append(epoch)
        raise Cut

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(train, "_reports", lambda *_: [keras.callbacks.LambdaCallback(on_epoch_begin=epoch_began)])
        with pytest.raises(Cut):
            train.fit(config, letters, output.with_name("out.work"))
    assert begun == [done]
