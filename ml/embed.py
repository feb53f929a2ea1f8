"""The plane of letters: where the reference letters of a model lie, and where a new one lands among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
NEIGHBOURS = 8


def fit_umap(features: Floats, seed: int = 0) -> Floats:
    """UMAP of features (N, D) to the plane (N, 2), scaled into -1..1. A fixed seed gives the same picture again.

    McInnes, Healy, Melville, "UMAP", arXiv:1802.03426.
    """
    from umap import UMAP  # compiles for half a minute: only whoever fits pays for it

    plane = UMAP(n_neighbors=15, min_dist=0.3, random_state=seed, n_jobs=1).fit_transform(features)
    return scale_to_unit(np.asarray(plane, np.float32))


def scale_to_unit(plane: Floats) -> Floats:
    """Centre points (N, 2) and shrink them, both axes alike, into -1..1."""
    middle = (plane.max(axis=0) + plane.min(axis=0)) / 2
    scaled: Floats = (plane - middle) / max(float(np.abs(plane - middle).max()), 1e-9)
    return scaled


def reference_points(folder: Path) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Places (N, 2) and labels (N,) of an artefact's reference letters, without their features."""
    with np.load(folder / "reference.npz", allow_pickle=False) as stored:
        return stored["plane"].astype(np.float32), stored["labels"]


class ReferenceMap:
    """The reference letters of an artefact: features (N, D), labels (N,) and places in the plane (N, 2)."""

    def __init__(self, folder: Path) -> None:
        self.plane, self.labels = reference_points(folder)
        with np.load(folder / "reference.npz", allow_pickle=False) as stored:
            self.features: Floats = stored["features"].astype(np.float32)
        self._squares = np.einsum("nd,nd->n", self.features, self.features)

    def place(self, features: Floats) -> Floats:
        """The point (2,) of a letter with these features (D,): the mean of its nearest letters' points, the nearer
        the heavier. No other point moves."""
        # vecdot, not @: a BLAS product of this shape starts threads that cost more than it does
        distance = self._squares - 2 * np.vecdot(self.features, features) + np.vecdot(features, features)
        nearest = np.argpartition(distance, NEIGHBOURS)[:NEIGHBOURS]
        weight = 1 / (np.sqrt(np.maximum(distance[nearest], 0)) + 1e-6)
        placed: Floats = (weight @ self.plane[nearest] / weight.sum()).astype(np.float32)
        return placed
