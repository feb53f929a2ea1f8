"""Another last layer in a model's files, by their bytes: no TensorFlow, and the layers below stay as they are.

LiteRT keeps a dense layer's kernel transposed, (37, 128), and its bias, (37,), as little-endian float32, each in one
piece.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ml.head import Head

KERAS_WEIGHTS = "model.weights.h5"  # within the zip archive that a .keras file is


class GraftError(ValueError):
    """The last layer was not found exactly once in a file; the message says what was found."""


def into_litert(model: bytes, old: Head, new: Head) -> bytes:
    """`model.tflite` with the last layer `new` where `old` was. Raises GraftError."""
    changed = bytearray(model)
    for name, before, after in zip(("kernel", "bias"), _constants(old), _constants(new), strict=True):
        count = model.count(before)
        if count != 1:
            raise GraftError(f"the {name} of head.npz is {count} times in model.tflite, not once")
        start = model.index(before)
        changed[start : start + len(before)] = after
    return bytes(changed)


def trunk_digest(model: bytes, head: Head) -> str:
    """SHA-256 of `model.tflite` without its last layer: the same for models that differ in that alone.

    Raises GraftError.
    """
    from ml.head import Head

    blank = Head(np.zeros_like(head.kernel), np.zeros_like(head.bias))
    return hashlib.sha256(into_litert(model, head, blank)).hexdigest()


def into_keras(model: bytes, old: Head, new: Head) -> bytes:
    """`model.keras` with the last layer `new` where `old` was. Raises GraftError."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(model)) as before, zipfile.ZipFile(changed, "w") as after:
        for entry in before.infolist():
            content = before.read(entry)
            after.writestr(entry, _weights(content, old, new) if entry.filename == KERAS_WEIGHTS else content)
    return changed.getvalue()


def _constants(head: Head) -> tuple[bytes, bytes]:
    return np.ascontiguousarray(head.kernel.T, "<f4").tobytes(), np.ascontiguousarray(head.bias, "<f4").tobytes()


def _weights(content: bytes, old: Head, new: Head) -> bytes:
    import h5py

    opened = io.BytesIO(content)
    with h5py.File(opened, "r+") as file:
        arrays: list[h5py.Dataset] = []
        file.visititems(lambda _, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
        for name, before, after in (("kernel", old.kernel, new.kernel), ("bias", old.bias, new.bias)):
            found = [each for each in arrays if _same(each, before)]
            if len(found) != 1:
                raise GraftError(f"the {name} of head.npz is {len(found)} times in model.keras, not once")
            found[0][...] = after
    return opened.getvalue()


def _same(stored: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> bool:
    return stored.shape == wanted.shape and bool((stored[...] == wanted).all())
