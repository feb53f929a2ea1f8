from __future__ import annotations

import zipfile
from pathlib import Path

import emnist as package
import numpy as np
import pytest
import requests

from ml import emnist
from ml.labels import CLASSES
from tests.ml.archives import UPRIGHT, idx, write_archive

BALANCED = list(range(47))
BY_CLASS = list(range(62))


@pytest.fixture(autouse=True)
def no_archive_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EMNIST_ARCHIVE", raising=False)
    monkeypatch.setattr(package, "CACHE_FILE_PATH", str(tmp_path / "cache" / "emnist.zip"))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    datasets = {"balanced": BALANCED, "byclass": BY_CLASS, "letters": [1, 26], "opendigits": list(range(10))}
    return write_archive(tmp_path / "emnist.zip", datasets)


def test_it_works(archive: Path) -> None:
    letters = emnist.load_letters("balanced", "train", archive)
    assert letters.images.shape == (37, 28, 28)
    assert letters.images.dtype == letters.labels.dtype == np.uint8
    assert letters.labels.tolist() == list(range(37))
    assert letters.counts().tolist() == [1] * 37
    assert len(letters) == 37


def test_images_are_upright_and_stay_with_their_labels(archive: Path) -> None:
    letters = emnist.load_letters("balanced", "test", archive)
    assert (letters.images[:, :27] == UPRIGHT[:27]).all()
    assert letters.images[:, 27, 27].tolist() == list(range(10, 47))


def test_by_class_is_merged_to_the_37_classes(archive: Path) -> None:
    letters = emnist.load_letters("byclass", "train", archive)
    assert "".join(CLASSES[label] for label in letters.labels) == (
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + "abCdefghIJKLMnOPqrStUVWXYZ"
    )


def test_digits_are_read_by_themselves(archive: Path) -> None:
    assert emnist.load_digits("opendigits", "test", archive).labels.tolist() == list(range(10))
    assert emnist.load_digits("balanced", "test", archive).labels.tolist() == list(range(10))


def test_letters_are_never_taken_for_digits(archive: Path) -> None:
    with pytest.raises(emnist.ArchiveError, match="no digits"):
        emnist.load_digits("letters", "test", archive)


def test_datasets_names_them(archive: Path) -> None:
    assert emnist.datasets(archive) == ["balanced", "byclass", "letters", "opendigits"]


def test_a_dataset_of_digits_has_no_letters(archive: Path) -> None:
    with pytest.raises(emnist.ArchiveError, match="holds no letters"):
        emnist.load_letters("opendigits", "test", archive)


def test_a_dataset_that_merges_too_much_is_refused(archive: Path) -> None:
    with pytest.raises(emnist.ArchiveError, match="use balanced, bymerge or byclass"):
        emnist.load_letters("letters", "train", archive)


def test_a_missing_dataset_is_answered_with_those_there_are(archive: Path) -> None:
    with pytest.raises(emnist.ArchiveError, match=r"bymerge.*: balanced, byclass, letters, opendigits"):
        emnist.load_letters("bymerge", "train", archive)


def test_labels_outside_the_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(emnist.ArchiveError, match="label 47"):
        emnist.load_letters("balanced", "train", write_archive(tmp_path / "odd.zip", {"balanced": [*BALANCED, 47]}))


def test_the_environment_names_the_archive(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMNIST_ARCHIVE", str(archive))
    assert emnist.archive_path() == archive
    assert len(emnist.load_letters("balanced", "train")) == 37


def test_reading_one_archive_does_not_change_the_default(archive: Path) -> None:
    before = emnist.archive_path()
    emnist.load_letters("balanced", "train", archive)
    assert emnist.archive_path() == before


def test_a_named_archive_that_is_missing_is_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "get", _must_not_be_called)
    monkeypatch.setattr(requests, "session", _must_not_be_called)
    with pytest.raises(emnist.ArchiveError, match=r"there is no EMNIST archive at .*nowhere\.zip"):
        emnist.ensure_archive(tmp_path / "nowhere.zip")


def test_a_named_archive_that_is_empty_is_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "get", _must_not_be_called)
    monkeypatch.setattr(requests, "session", _must_not_be_called)
    (tmp_path / "empty.zip").touch()
    with pytest.raises(emnist.ArchiveError, match="not a readable EMNIST archive"):
        emnist.ensure_archive(tmp_path / "empty.zip")


def _must_not_be_called(*args: object, **kwargs: object) -> None:
    raise AssertionError("a download was begun")


def test_a_download_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(package, "SOURCE_URLS", ["http://127.0.0.1:9/gzip.zip"])  # nobody listens there
    with pytest.raises(emnist.ArchiveError) as raised:
        emnist.ensure_archive()
    message = str(raised.value)
    assert emnist.OFFICIAL_PAGE in message
    assert str(tmp_path / "cache" / "emnist.zip") in message
    assert "EMNIST_ARCHIVE" in message
    assert not (tmp_path / "cache" / "emnist.zip").exists()


@pytest.mark.parametrize("content", [b"", b"<html>not today</html>", b"PK\x03\x04 cut short"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "emnist.zip"
    path.write_bytes(content)
    with pytest.raises(emnist.ArchiveError, match="delete it and fetch it again"):
        emnist.ensure_archive(path)


def test_a_truncated_archive_is_refused(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(emnist.ArchiveError, match="not a readable EMNIST archive"):
        emnist.load_letters("balanced", "train", archive)


def test_a_damaged_member_is_refused(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[120:140] = bytes(20)  # within the first member, the training images of balanced
    archive.write_bytes(content)
    with pytest.raises(emnist.ArchiveError, match=r"'balanced' \(train\) cannot be read"):
        emnist.load_letters("balanced", "train", archive)


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("readme.txt", "holiday pictures")
    with pytest.raises(emnist.ArchiveError, match="holds no EMNIST dataset"):
        emnist.ensure_archive(tmp_path / "other.zip")


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as odd:
        odd.writestr("gzip/emnist-balanced-test-images-idx3-ubyte.gz", idx(np.zeros((2, 20, 20), np.uint8)))
        odd.writestr("gzip/emnist-balanced-test-labels-idx1-ubyte.gz", idx(np.array([10, 11], np.uint8)))
    with pytest.raises(emnist.ArchiveError, match="2 labels for images of shape"):
        emnist.load_letters("balanced", "test", tmp_path / "odd.zip")


def test_sha256_is_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert emnist.sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.emnist
def test_the_real_archive_has_its_counts(emnist_archive: Path) -> None:
    train = emnist.load_letters("open37", "train", emnist_archive)
    test = emnist.load_letters("open37", "test", emnist_archive)
    assert len(train) == 108_547
    assert train.counts().min() == 717
    assert test.counts().tolist() == [200] * 37
    assert len(emnist.load_digits("opendigits", "test", emnist_archive)) == 5_000


@pytest.mark.emnist
def test_the_real_letters_are_upright(emnist_archive: Path) -> None:
    """A T has its bar at the top; a transposed one would have it at the left, a turned one at the bottom."""
    letters = emnist.load_letters("open37", "test", emnist_archive)
    mean = letters.images[letters.labels == CLASSES.index("T")].mean(axis=0)
    assert mean[:10].sum() > 2 * mean[18:].sum()
    assert mean[:10].sum() > 1.5 * mean[:, :10].sum()
