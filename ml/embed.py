"""The plane of letters: where the reference letters of a model lie, and where a new one lands among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
NEIGHBOURS = 8
SHORT_FIT = 60  # epochs of UMAP that starts from an earlier plane


def fit_umap(features: Floats, seed: int = 0, start: Floats | None = None) -> Floats:
    """UMAP of features (N, D) to the plane (N, 2), scaled into -1..1. A fixed seed gives the same picture again.

    `start`: points (N, 2) to begin from, as those of an earlier model; the fit is then short, and is turned and moved
    so that it lies on them as well as it can. McInnes, Healy, Melville, "UMAP", arXiv:1802.03426.
    """
    from umap import UMAP  # compiles for half a minute: only whoever fits pays for it

    settings = {"n_neighbors": 15, "min_dist": 0.3, "random_state": seed, "n_jobs": 1}
    if start is None:
        return scale_to_unit(np.asarray(UMAP(**settings).fit_transform(features), np.float32))
    plane = np.asarray(UMAP(**settings, init=start, n_epochs=SHORT_FIT).fit_transform(features), np.float32)
    return scale_to_unit(align(plane, start))


def align(plane: Floats, to: Floats) -> Floats:
    """Turn, mirror, scale and move points (N, 2) as one, so that they lie nearest to the points `to` (N, 2).

    Ordinary Procrustes analysis: Gower, "Generalized Procrustes analysis", Psychometrika 40, 1975.
    """
    here, there = plane - plane.mean(axis=0), to - to.mean(axis=0)
    left, stretch, right = np.linalg.svd(here.T @ there)
    aligned: Floats = here @ (left @ right) * (stretch.sum() / (here**2).sum()) + to.mean(axis=0)
    return aligned


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
