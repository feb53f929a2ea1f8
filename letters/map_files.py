"""The files of a map: its points as columns of bytes, thumbnails on sheets, and what a later fit begins from."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

TILE, TILES_ACROSS, TILES_DOWN = 28, 32, 32
ON_A_SHEET = TILES_ACROSS * TILES_DOWN
PLANE = 32_767  # a place on the wire is a whole number in -PLANE..PLANE
COLLECTED, SUSPECTED = 1, 2  # flags
DOUBTED, SURE = 0.05, 0.9  # a label is suspected below the one, where another class is above the other
POINTS, LETTERS = "points.bin.gz", "letters.npz"
ROOT = "maps"


# --- Points --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Readings:
    """What a model reads in letters: classes (N,) uint8, how likely it says they are (N,), and their labels (N,)."""

    predicted: Bytes
    probability: Floats
    label_probability: Floats

    @classmethod
    def of(cls, probabilities: Floats, labels: Bytes) -> Readings:
        """From probabilities (N, 37)."""
        rows = np.arange(len(labels))
        best = probabilities.argmax(axis=1)
        return cls(best.astype(np.uint8), probabilities[rows, best], probabilities[rows, labels])


def packed(plane: Floats, labels: Bytes, readings: Readings, *, collected: bool, ids: bytes = b"") -> bytes:
    """Columns, one after the other, little-endian: places int16 (x, y of each), label, predicted, probability, flags
    u8, and the ids of collected drawings, 16 bytes each."""
    doubted = (readings.label_probability < DOUBTED) & (readings.probability > SURE) & (readings.predicted != labels)
    columns = (
        np.rint(np.clip(plane, -1, 1) * PLANE).astype("<i2"),
        labels.astype(np.uint8),
        readings.predicted,
        np.rint(np.clip(readings.probability, 0, 1) * 255).astype(np.uint8),
        (COLLECTED * collected + SUSPECTED * doubted).astype(np.uint8),
    )
    return b"".join(each.tobytes() for each in columns) + ids


def compressed(content: bytes, level: int = 9) -> bytes:
    """gzip, the same content always as the same bytes."""
    return gzip.compress(content, level, mtime=0)


# --- Thumbnails ----------------------------------------------------------------------------------------------------


def sheets(images: Bytes) -> Iterator[bytes]:
    """PNGs with the images (N, 28, 28) in order, 32x32 on each; what the last does not need stays black."""
    for first in range(0, len(images), ON_A_SHEET):
        some = images[first : first + ON_A_SHEET]
        tiles = np.zeros((ON_A_SHEET, TILE, TILE), np.uint8)
        tiles[: len(some)] = some
        yield png(side_by_side(tiles, TILES_ACROSS))


def side_by_side(tiles: Bytes, across: int) -> Bytes:
    """Tiles (N, H, W) as one picture, N a multiple of `across`."""
    count, height, width = tiles.shape
    rows = tiles.reshape(count // across, across, height, width).swapaxes(1, 2)
    return np.ascontiguousarray(rows).reshape(count // across * height, across * width)


def png(picture: Bytes) -> bytes:
    """A PNG of grey values (H, W)."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=6)  # 9 takes seven times as long for 2 % less
    return buffer.getvalue()


# --- What a later fit begins from ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Letters:
    """The EMNIST letters of a map, in the order of its points.

    The first `reference` of them are the reference letters of an artefact, `reference_of` says of which; `indices` (N,)
    are their numbers in the archive's dataset `archive`, -1 where none is known. `vectors`: features (N, 128) float16,
    or images as grey values (N, 784) uint8.
    """

    labels: Bytes
    vectors: npt.NDArray[Any]
    plane: Floats
    reference: int
    reference_of: str
    indices: npt.NDArray[np.int32]
    archive: str

    def dump(self) -> bytes:
        """As a file without pickles, which every version of NumPy reads."""
        buffer = io.BytesIO()
        save = np.savez_compressed if self.vectors.dtype == np.uint8 else np.savez  # features hardly shrink
        save(
            buffer,
            labels=self.labels,
            vectors=self.vectors,
            plane=self.plane.astype(np.float32),
            reference=np.int64(self.reference),
            reference_of=np.frombuffer(self.reference_of.encode(), np.uint8),
            indices=self.indices.astype(np.int32),
            archive=np.frombuffer(self.archive.encode(), np.uint8),
        )
        return buffer.getvalue()

    @classmethod
    def load(cls, file: IO[bytes]) -> Letters:
        """Raises ValueError and KeyError for anything else."""
        with np.load(file, allow_pickle=False) as stored:
            return cls(
                labels=stored["labels"],
                vectors=stored["vectors"],
                plane=stored["plane"],
                reference=int(stored["reference"]),
                reference_of=stored["reference_of"].tobytes().decode(),
                indices=stored["indices"],
                archive=stored["archive"].tobytes().decode(),
            )


def digest_of(vectors: npt.NDArray[Any]) -> str:
    """SHA-256 of vectors: maps that have it in common show the same letters."""
    return hashlib.sha256(vectors.tobytes()).hexdigest()


# --- Storage -------------------------------------------------------------------------------------------------------

Stored = dict[str, tuple[str, int]]
"""By name: the name in storage, and the size in bytes."""


def store(folder: str, contents: Iterable[tuple[str, bytes]]) -> Stored:
    """Write files into a folder of storage that nobody knows of yet."""
    stored: Stored = {}
    for name, content in contents:
        stored[name] = default_storage.save(f"{folder}/{name}", ContentFile(content)), len(content)
    return stored


def opened(files: Mapping[str, Any], name: str) -> IO[bytes]:
    """A file of a map. Raises FileNotFoundError where it has none of that name."""
    if name not in files:
        raise FileNotFoundError(name)
    file: IO[bytes] = default_storage.open(files[name][0])
    return file


def read(files: Mapping[str, Any], name: str) -> bytes:
    """The content of a file of a map. Raises FileNotFoundError."""
    with opened(files, name) as file:
        return file.read()


def delete(files: Mapping[str, Any]) -> None:
    """Delete files of a map."""
    for stored, _ in files.values():
        default_storage.delete(stored)


def delete_folder(folder: str) -> None:
    """Delete whatever storage holds in a folder."""
    try:
        folders, names = default_storage.listdir(folder)
    except FileNotFoundError:
        return
    for name in folders:
        delete_folder(f"{folder}/{name}")
    for name in names:
        default_storage.delete(f"{folder}/{name}")
    default_storage.delete(folder)  # an empty folder, where storage has folders
