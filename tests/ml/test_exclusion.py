from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml import emnist, label_issues, network, train
from ml.emnist import Letters
from ml.exclusion import BadExclusion, excluded_mask
from tests.ml import tiny
from tests.ml.archives import write_letters


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of the tiny letters, each with a number of its own in its corner."""
    letters = tiny.letters()
    letters.images[:, 0, 0] = np.arange(len(letters))
    path = write_letters(tmp_path / "emnist.zip", "tiny", letters, letters)
    monkeypatch.setenv("EMNIST_ARCHIVE", str(path))
    monkeypatch.setitem(network.NETWORKS, "tiny", tiny.tiny)
    return path


def write(path: Path, archive: Path, excluded: object = (3, 5)) -> Path:
    np.savez(path, excluded=np.asarray(excluded), archive_sha256=np.array(emnist.sha256_of(archive)))
    return path


def test_excluded_images_are_not_learned_and_validation_stays(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also an image that validates: it goes on doing so."""
    letters = emnist.load_letters("tiny", "train")
    plain = train.split_validation(letters, 1, seed=0)
    validating, learned = plain[1].images[0, 0, 0], plain[0].images[:3, 0, 0]
    file = write(tmp_path / "wrong.npz", archive, [validating, *learned])
    seen: list[Letters] = []

    def noted(kept: Letters, *others: object) -> train.Batches:
        seen.append(kept)
        return real(kept, *others)  # type: ignore[arg-type]

    real = train.Batches
    monkeypatch.setattr(train, "Batches", noted)
    result = train.fit(replace(tiny.CONFIG, epochs=1, exclude=str(file)), letters)
    assert (result.validation.images == plain[1].images).all()
    assert set(seen[0].images[:, 0, 0]) == set(plain[0].images[:, 0, 0]) - set(learned)


def test_a_file_of_another_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.npz"
    np.savez(file, excluded=np.array([3]), archive_sha256=np.array("ab" * 32))
    with pytest.raises(BadExclusion, match=r"made for the archive abababababab, and .*emnist\.zip is "):
        excluded_mask(file, 222)


@pytest.mark.parametrize("excluded", [[222], [-1]])
def test_an_image_that_is_not_there_is_refused(archive: Path, tmp_path: Path, excluded: list[int]) -> None:
    with pytest.raises(BadExclusion, match="the dataset has 222"):
        excluded_mask(write(tmp_path / "wrong.npz", archive, excluded), 222)


@pytest.mark.parametrize("excluded", [[True, False], [[1]], [0.5]])
def test_what_are_no_positions_is_refused(archive: Path, tmp_path: Path, excluded: object) -> None:
    with pytest.raises(BadExclusion, match="a row of whole numbers"):
        excluded_mask(write(tmp_path / "wrong.npz", archive, excluded), 222)


def test_nothing_excluded_is_fine(archive: Path, tmp_path: Path) -> None:
    assert not excluded_mask(write(tmp_path / "none.npz", archive, np.array([], np.int64)), 222).any()


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wrong.npz").write_text("no archive")
    with pytest.raises(BadExclusion, match="no file of excluded images"):
        excluded_mask(tmp_path / "wrong.npz", 222)


def test_what_the_search_for_wrong_labels_writes_can_be_left_out(archive: Path, tmp_path: Path) -> None:
    issue = label_issues.Issue(
        position=7, label="A", likely="B", label_probability=0.1, likely_probability=0.9, score=0.1, fold=0
    )
    label_issues.write_excluded(tmp_path / "wrong.npz", [issue], emnist.sha256_of(archive))
    assert np.flatnonzero(excluded_mask(tmp_path / "wrong.npz", 222)).tolist() == [7]
