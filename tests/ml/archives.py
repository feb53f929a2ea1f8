"""Tiny archives in the layout of the official EMNIST one."""

from __future__ import annotations

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml.emnist import DIGITS, Letters

UPRIGHT = np.zeros((28, 28), np.uint8)
UPRIGHT[2, 20] = 200  # one pixel at the top right: where it is afterwards shows whether an image is upright


def images_of(codes: list[int]) -> npt.NDArray[np.uint8]:
    """One upright image for each code; its pixel at the bottom right holds the code, so that pairs can be checked."""
    images = np.repeat(UPRIGHT[None], len(codes), axis=0)
    images[:, 27, 27] = codes
    return images


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    """The IDX format of http://yann.lecun.com/exdb/mnist/, compressed."""
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes())


def write_archive(path: Path, datasets: dict[str, list[int]]) -> Path:
    """An archive whose datasets have these codes, the same for train and test; images lie transposed, as in EMNIST."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, codes in datasets.items():
            for usage in ("train", "test"):
                _add(archive, f"{name}-{usage}", images_of(codes), codes)
    return path


def write_letters(path: Path, name: str, train: Letters, test: Letters) -> Path:
    """An archive with one dataset of these letters."""
    with zipfile.ZipFile(path, "w") as archive:
        for usage, letters in (("train", train), ("test", test)):
            _add(archive, f"{name}-{usage}", letters.images, (letters.labels + DIGITS).tolist())
    return path


def _add(archive: zipfile.ZipFile, name: str, images: npt.NDArray[np.uint8], codes: list[int]) -> None:
    archive.writestr(f"gzip/emnist-{name}-images-idx3-ubyte.gz", idx(images.swapaxes(1, 2)))
    archive.writestr(f"gzip/emnist-{name}-labels-idx1-ubyte.gz", idx(np.array(codes, np.uint8)))
