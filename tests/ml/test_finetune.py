"""The thorough retraining as the site starts it: a process of its own, that may die at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml import artifact, familiarity, finetune, scribbles, train
from ml.artifact import SHIPPED
from ml.emnist import Letters
from ml.head import Collected, HeadConfig
from ml.labels import CLASSES, index_of
from ml.predictor import Predictor
from ml.preprocess import image_from_strokes
from ml.train import TrainConfig
from tests.ml.archives import write_letters
from tests.ml.conftest import ROOT
from tests.ml.glyphs import GLYPHS


def few_letters(of_each: int = 55) -> Letters:
    """As many images of each class; the classes without a letter of ours are stripes."""
    images = []
    for index, label in enumerate(CLASSES):
        stripes = np.zeros((28, 28), np.uint8)
        stripes[4:24, 4 + index % 20] = stripes[4 + index // 2, 4:24] = 255
        images.append(image_from_strokes(GLYPHS[label]) if label in GLYPHS else stripes)
    return Letters(np.repeat(np.stack(images), of_each, axis=0), np.repeat(np.arange(37, dtype=np.uint8), of_each))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "emnist.zip"
    return write_letters(path, "open37", few_letters(), few_letters(2))


def work_folder(folder: Path, **job: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "job.json").write_text(json.dumps({"parent": str(SHIPPED), "seed": 3, **job}))
    letters = few_letters(1)
    np.savez(folder / "collected.npz", images=letters.images, labels=letters.labels, weights=np.ones(37, np.float32))
    return folder


TRIANGLE = image_from_strokes([[[50, 0], [100, 90], [0, 90], [50, 0]]])


def with_a_triangle_called_z(work: Path) -> Path:
    """The drawings of a work folder, the last of them one that no network trained on letters reads so."""
    letters = few_letters(1)
    images = np.concatenate([letters.images[:-1], TRIANGLE[None]])
    labels = np.append(letters.labels[:-1], np.uint8(index_of("Z")))
    np.savez(work / "collected.npz", images=images, labels=labels, weights=np.ones(37, np.float32))
    return work


def start(work: Path, archive: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ml.finetune", str(work)],
        cwd=ROOT,
        env=os.environ | {"EMNIST_ARCHIVE": str(archive)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def follow(child: subprocess.Popen[str], enough: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """The progress until there is enough of it, or to the end."""
    told: list[dict[str, Any]] = []
    assert child.stdout
    for line in child.stdout:
        if line.startswith("{"):
            told.append(json.loads(line))
            if enough(told[-1]):
                break
    return told


@pytest.mark.long
def test_killed_in_mid_run_it_goes_on_and_makes_one_whole_artefact(
    tmp_path: Path, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = work_folder(tmp_path / "work", epochs=3, batch_size=64, checkpoint_seconds=0.1, blend=0.01)
    with_a_triangle_called_z(work)
    child = start(work, archive)
    follow(child, lambda _: bool(finetune._checkpoints(work)))
    child.send_signal(signal.SIGKILL)
    child.communicate()
    done = finetune._checkpoints(work)[-1]
    assert not (work / "artefact").exists()

    child = start(work, archive)
    told = follow(child, lambda _: False)
    _, said = child.communicate()
    assert child.returncode == 0, said
    assert any(f"going on from {done.name}" in row.get("message", "") for row in told)
    training = [row for row in told if row["stage"] == "training" and "loss" in row]
    assert all(row["epoch"] <= row["epochs"] for row in training)
    assert [row["share"] for row in told] == sorted(row["share"] for row in told)

    artefact = work / "artefact"
    artifact.verify(artefact)
    artifact.smoke_test(artefact)
    history = artifact.read_json(artefact, "metrics.json")["history"]
    assert [round(row["epoch"]) for row in history] == list(range(1, len(history) + 1))
    assert history[-1]["epoch"] == pytest.approx(3, abs=0.1)
    config = artifact.read_json(artefact, "config.json")
    assert config["parent"] == artifact.digest_of(SHIPPED)
    assert config["trunk"] != artifact.trunk_of(SHIPPED)
    assert config["finetune"]["drawings"] == 37
    assert len(artifact.emnist_test(artefact)) == 37 * 2
    assert config["familiarity"]["quantiles"] == pytest.approx(familiarity.load(artefact).quantiles.tolist())
    judged = artifact.read_json(artefact, "metrics.json")["familiarity"]
    assert judged["auroc_scribbles"] > 0.9
    assert set(judged["kinds"]) == set(scribbles.JUDGED_ON)

    assert 0 < difference(artefact, SHIPPED) < 0.02  # it went a hundredth of the way
    assert Predictor(SHIPPED).predict(TRIANGLE).label != "Z"
    assert Predictor(artefact).predict(TRIANGLE).label == "Z"  # by the last layer, which was fitted to what it sees now

    assert finetune.main([str(work)]) == 0  # there is nothing left to do
    assert '"stage": "training"' not in capsys.readouterr().out


def difference(one: Path, other: Path) -> float:
    """How far the features that two models see in a letter lie apart, as a share of their length."""
    image = image_from_strokes(GLYPHS["A"])
    seen = [Predictor(each).predict(image).features for each in (one, other)]
    return float(np.linalg.norm(seen[0] - seen[1]) / np.linalg.norm(seen[1]))


@pytest.mark.slow
def test_a_class_that_the_training_lost_is_read_again_as_the_parent_reads_it(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a fine-tuning that came to call each O a C."""
    monkeypatch.setenv("EMNIST_ARCHIVE", str(archive))
    drawn = Collected(TRIANGLE[None], np.array([index_of("Z")], np.uint8), np.ones(1, np.float32))
    task = replace(finetune.prepare(work_folder(tmp_path / "work")), collected=drawn)
    network, _ = finetune.build(task)
    letters = np.stack([image_from_strokes(strokes) for strokes in GLYPHS.values()])

    def read(images: np.ndarray) -> list[str]:
        return [CLASSES[at] for at in train.predict_all(network, images).argmax(axis=1)]

    by_the_parent = read(letters)
    logits = network.get_layer("logits")
    kernel, bias = logits.get_weights()
    lost, taken = index_of("O"), index_of("C")
    kernel[:, lost], bias[lost] = kernel[:, taken], bias[taken] - 1
    logits.set_weights([kernel, bias])
    assert "O" in by_the_parent
    assert "O" not in read(letters)
    finetune.refit(network, task, finetune.Progress())
    assert read(letters) == by_the_parent
    assert read(TRIANGLE[None]) == ["Z"]


def weight_of(drawings: int, **job: Any) -> float:
    return finetune._weight(task(np.ones(drawings, np.float32), **job), 14_800)


def test_a_drawing_counts_no_more_in_the_fit_than_by_its_share_of_a_batch() -> None:
    """By that share the site knows what one contributor is of a class; few drawings weigh as in a quick retraining."""
    assert weight_of(7400, collected_share=0.2) == pytest.approx(0.5)
    assert weight_of(10) == HeadConfig().collected_weight


def test_a_missing_archive_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMNIST_ARCHIVE", str(tmp_path / "nowhere.zip"))
    assert finetune.main([str(work_folder(tmp_path / "work"))]) == finetune.CANNOT
    said = capsys.readouterr().err
    assert said.strip().splitlines()[-1].startswith(f"there is no EMNIST archive at {tmp_path}/nowhere.zip: point")


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"mode": "dream"}, "there is no mode 'dream'; there are finetune, scratch"),
        ({"epoch": 3}, "unknown settings: epoch"),
        ({"collected_share": 1.5}, "collected_share is 1.5"),
        ({"blend": 0}, "blend is 0, not from above 0 to 1"),
        ({"parent": "/nowhere"}, "no readable manifest.json"),
    ],
)
def test_a_job_that_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], job: dict[str, Any], words: str
) -> None:
    assert finetune.main([str(work_folder(tmp_path / "work", **job))]) == finetune.CANNOT
    assert words in capsys.readouterr().err


def test_a_dataset_that_the_archive_lacks_is_named(
    tmp_path: Path, archive: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMNIST_ARCHIVE", str(archive))
    assert finetune.main([str(work_folder(tmp_path / "work", dataset="letters"))]) == finetune.CANNOT
    assert "letters" in capsys.readouterr().err


def task(weights: np.ndarray, **job: Any) -> finetune.Task:
    letters = few_letters(10)
    drawn = Collected(np.full((len(weights), 28, 28), 7, np.uint8), np.zeros(len(weights), np.uint8), weights)
    return finetune.Task(finetune.Job("", **job), TrainConfig(batch_size=256), letters, letters, drawn)


def share_of_collected(mixed: finetune.Mixed) -> float:
    return float(np.mean([(mixed.batch(step)[0][:, 0, 0] == 7).mean() for step in range(50)]))


def test_drawings_that_count_in_full_have_their_share_of_a_batch() -> None:
    assert share_of_collected(finetune.Mixed(task(np.ones(500, np.float32)), 0.0)) == pytest.approx(40 / 256)


def test_drawings_that_were_weighed_down_have_as_much_less() -> None:
    """A tenth of the weight beside the same EMNIST letters."""
    found = share_of_collected(finetune.Mixed(task(np.full(500, 0.1, np.float32)), 0.0))
    assert found == pytest.approx(4 / (4 + 216), abs=0.004)


def test_a_batch_depends_on_the_seed_and_its_number_alone() -> None:
    one, other = (finetune.Mixed(task(np.ones(9, np.float32)), 0.0) for _ in range(2))
    for step in (5, 0, 3):
        one.batch(step)
    assert all((a == b).all() for a, b in zip(one.batch(7), other.batch(7), strict=True))


def test_every_letter_is_replayed_in_an_epoch() -> None:
    all_of = task(np.ones(9, np.float32))
    mixed = finetune.Mixed(all_of, 1.0)
    seen = np.concatenate([mixed._in_order(step * 37, 37) for step in range(10)])
    assert sorted(seen.tolist()) == list(range(370))


def test_emnist_letters_are_to_be_read_as_set_and_drawings_as_labelled() -> None:
    mixed = finetune.Mixed(task(np.ones(500, np.float32)), 0.0)
    mixed.targets = np.full_like(mixed.targets, 1 / 37)
    images, targets = mixed.batch(0)
    ours = images[:, 0, 0] == 7
    assert (targets[ours, 0] == 1).all()
    assert targets[~ours] == pytest.approx(1 / 37)
