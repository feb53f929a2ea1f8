"""Tiny archives in the layout of the official EMNIST one."""

from __future__ import annotations

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

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
                stem = f"gzip/emnist-{name}-{usage}"
                archive.writestr(f"{stem}-images-idx3-ubyte.gz", idx(images_of(codes).swapaxes(1, 2)))
                archive.writestr(f"{stem}-labels-idx1-ubyte.gz", idx(np.array(codes, np.uint8)))
    return path
