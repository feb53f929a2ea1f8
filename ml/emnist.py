"""EMNIST letters through the `emnist` package: one archive, any of its datasets, letters only, 37 classes.

The archive has the layout of the official `gzip.zip` (Cohen et al., arXiv:1702.05373). `EMNIST_ARCHIVE` in the
environment, or the argument `archive`, names it; without one the package's own cache is used, and filled by a download.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import emnist
import numpy as np
import numpy.typing as npt

from ml.labels import CLASS_COUNT, CLASSES, class_of, index_of

Usage = Literal["train", "test"]
OFFICIAL_PAGE = "https://www.nist.gov/itl/products-and-services/emnist-dataset"
DIGITS = 10

_MERGED_CODES = tuple(range(DIGITS, DIGITS + CLASS_COUNT))
_BY_CLASS_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class ArchiveError(Exception):
    """The archive is missing, damaged or not what was asked for; the message says which, and what to do."""


@dataclass(frozen=True)
class Letters:
    """Images (N, 28, 28) uint8, white ink on black and upright, and labels (N,) uint8, positions in `CLASSES`."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> npt.NDArray[np.int64]:
        """How many images each of the 37 classes has, (37,)."""
        return np.bincount(self.labels, minlength=CLASS_COUNT)


def archive_path(archive: str | os.PathLike[str] | None = None) -> Path:
    """Where the archive is, or would be after a download."""
    chosen = archive or os.environ.get("EMNIST_ARCHIVE") or emnist.CACHE_FILE_PATH
    return Path(chosen).expanduser()


def ensure_archive(archive: str | os.PathLike[str] | None = None) -> Path:
    """The verified archive; the official one is downloaded (with a progress bar) when none is named and none is cached.

    An interrupted download leaves no archive behind and is begun again. Raises ArchiveError.
    """
    path = archive_path(archive)
    named = archive or os.environ.get("EMNIST_ARCHIVE")
    if not path.is_file() and named:
        raise ArchiveError(f"there is no EMNIST archive at {path}: correct EMNIST_ARCHIVE, or unset it to download one")
    if not named and (not path.is_file() or path.stat().st_size == 0):
        _download(path)
    verify_archive(path)
    return path


def _download(path: Path) -> None:
    try:
        emnist.ensure_cached_data()
    except Exception as error:
        raise ArchiveError(
            f"the EMNIST archive could not be downloaded ({error}). Fetch gzip.zip by hand from {OFFICIAL_PAGE}, "
            f"save it as {path}, or point EMNIST_ARCHIVE at it"
        ) from error


def verify_archive(path: Path) -> None:
    """Raise ArchiveError unless the file is a whole zip archive that holds at least one EMNIST dataset."""
    try:
        with zipfile.ZipFile(path) as opened:
            names = opened.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise ArchiveError(
            f"{path} is not a readable EMNIST archive ({error}): delete it and fetch it again"
        ) from error
    if not _datasets_in(names):
        raise ArchiveError(f"{path} holds no EMNIST dataset (no gzip/emnist-*-test-images-idx3-ubyte.gz in it)")


def _datasets_in(names: list[str]) -> list[str]:
    return sorted(match[1] for name in names if (match := emnist.DATASET_ZIP_PATH_REGEX.match(name)))


def datasets(archive: str | os.PathLike[str] | None = None) -> list[str]:
    """Names of the datasets in the archive, such as `balanced`."""
    with zipfile.ZipFile(ensure_archive(archive)) as opened:
        return _datasets_in(opened.namelist())


def load_letters(
    dataset: str = "balanced", usage: Usage = "train", archive: str | os.PathLike[str] | None = None
) -> Letters:
    """The letters of a dataset; digits in it are left out.

    Raises ArchiveError when the archive or the dataset cannot be read, and for `letters`, `digits` and `mnist`, whose
    labels do not tell the 37 classes.
    """
    images, codes = _read(dataset, usage, archive)
    to_class = _class_of_code(dataset, int(codes.max(initial=0)))
    known = to_class[codes] >= 0
    if not known.any():
        raise ArchiveError(f"the dataset {dataset!r} holds no letters")
    return Letters(images[known], to_class[codes[known]].astype(np.uint8))


def load_digits(dataset: str, usage: Usage = "test", archive: str | os.PathLike[str] | None = None) -> Letters:
    """The digits of a dataset, labels 0 to 9: for measuring what a model does with what is no letter."""
    if dataset == "letters":
        raise ArchiveError("the labels 1 to 26 of 'letters' are letters: it holds no digits")
    images, codes = _read(dataset, usage, archive)
    digits = codes < DIGITS
    return Letters(images[digits], codes[digits].astype(np.uint8))


def _read(dataset: str, usage: Usage, archive: str | os.PathLike[str] | None) -> tuple[np.ndarray, np.ndarray]:
    path = ensure_archive(archive)
    try:
        with _as_the_package_cache(path):
            images, codes = emnist.extract_samples(dataset, usage)
    except Exception as error:
        raise ArchiveError(
            f"the dataset {dataset!r} ({usage}) cannot be read from {path} ({error}); "
            f"there are: {', '.join(datasets(path))}"
        ) from error
    if images.shape != (len(codes), 28, 28):
        raise ArchiveError(f"{dataset!r} in {path} has {len(codes)} labels for images of shape {images.shape}")
    return np.ascontiguousarray(images), codes


@contextmanager
def _as_the_package_cache(path: Path) -> Iterator[None]:
    """The package knows one archive, by a global; it is put back, or the next default would be this archive."""
    before = emnist.CACHE_FILE_PATH
    emnist.CACHE_FILE_PATH = str(path)
    try:
        yield
    finally:
        emnist.CACHE_FILE_PATH = before


def _class_of_code(dataset: str, highest: int) -> npt.NDArray[np.int16]:
    if dataset in {"letters", "digits", "mnist"}:
        raise ArchiveError(
            f"the labels of {dataset!r} do not tell the 37 classes apart: use balanced, bymerge or byclass"
        )
    table = np.full(256, -1, np.int16)
    if dataset == "byclass":
        for offset, character in enumerate(_BY_CLASS_LETTERS):
            table[DIGITS + offset] = index_of(class_of(character))
    else:
        table[list(_MERGED_CODES)] = np.arange(CLASS_COUNT)
    if highest >= DIGITS and table[highest] < 0:
        raise ArchiveError(f"{dataset!r} has the label {highest}, which is no code of {', '.join(CLASSES)}")
    return table


def sha256_of(path: Path) -> str:
    """SHA-256 of an archive, in hexadecimal: kept with what is trained on it."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
