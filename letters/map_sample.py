"""What a map is made of: the EMNIST letters of a model, its reference first, and the drawings that were approved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml import artifact

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Report = Callable[[float, str], None]

SAME = 0.05  # features of one image by the same layers differ less, whatever machine computed them
COMPARED = 16  # reference letters that are looked up in the archive before it is taken for the model's own
READ_AT_ONCE = 500  # drawings
TOLD_EVERY = 200  # images
OTHERS = ("balanced", "bymerge", "byclass")  # datasets to take where the model's own is not in the archive


@dataclass(frozen=True)
class Emnist:
    """EMNIST letters that a model read: labels (N,), probabilities (N, 37), features (N, 128), images where known.

    The rest is as in letters.map_files.Letters.
    """

    labels: Bytes
    probabilities: Floats
    features: Floats
    images: Bytes | None
    reference: int
    reference_of: str
    indices: npt.NDArray[np.int32]
    archive: str

    def __len__(self) -> int:
        return len(self.labels)


# --- EMNIST --------------------------------------------------------------------------------------------------------


def reference(folder: Path) -> Emnist:
    """The reference letters that an artefact brings along, without images."""
    letters = artifact.emnist_reference(folder)
    return Emnist(
        labels=letters.labels,
        probabilities=artifact.load_head(folder).probabilities(letters.features),
        features=letters.features,
        images=None,
        reference=len(letters),
        reference_of=hashlib.sha256(letters.labels.tobytes()).hexdigest()[:16],
        indices=np.full(len(letters), -1, np.int32),
        archive="",
    )
