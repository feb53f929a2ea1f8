"""Training images that are not to be learned from: a file of their positions, good for one archive.

An .npz with `excluded` (K,), positions in the training images of a dataset in the archive's order, and
`archive_sha256`, the archive's SHA-256 in hexadecimal.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml import emnist


class BadExclusion(ValueError):
    """A file of excluded images cannot be used; the message says why."""


def excluded_mask(path: Path, count: int) -> npt.NDArray[np.bool_]:
    """Which of `count` training images (N,) the file excludes. Raises BadExclusion, also for another archive's file."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            positions, archive = stored["excluded"], str(stored["archive_sha256"])
    except (OSError, ValueError, KeyError) as error:
        raise BadExclusion(f"{path} is no file of excluded images ({error})") from error
    if positions.ndim != 1 or not np.issubdtype(positions.dtype, np.integer):
        raise BadExclusion(f"{path}: `excluded` is a row of whole numbers, not {positions.dtype} {positions.shape}")
    _refuse_another_archive(path, archive)
    if len(positions) and not 0 <= positions.min() <= positions.max() < count:
        raise BadExclusion(f"{path} names images from {positions.min()} to {positions.max()}, the dataset has {count}")
    mask = np.zeros(count, bool)
    mask[positions] = True
    return mask


def _refuse_another_archive(path: Path, archive: str) -> None:
    used = emnist.sha256_of(emnist.ensure_archive())
    if archive != used:
        raise BadExclusion(
            f"{path} was made for the archive {archive[:12]}, and {emnist.archive_path()} is {used[:12]}: "
            "positions in one say nothing of the other"
        )
