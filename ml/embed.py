"""The plane of letters: vectors to places, a new letter among them, and how good and how steady the places are.

Vectors are the features of a model (N, 128) or pixels (N, 784); a plane is (N, 2) within -1..1. docs/maps.md has the
measurements that the numbers here were chosen by.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Report = Callable[[float, str], None]

METHODS = ("umap", "tsne", "pca", "svd", "isomap", "lle")
SPACES = ("features", "pixels")
NEIGHBOURS = 8  # that place a letter, say why it was read so, and judge a map
GRAPH = 15  # neighbours, itself included, that UMAP and LLE build upon
FEWEST = GRAPH + 1  # letters below which these and t-SNE have nothing to work with
LANDMARKS = {"umap": 50_000, "tsne": 10_000, "isomap": 4_000, "lle": 4_000}  # above these the rest are placed
EXPLAINED, COMPONENTS = 200, 16
ROOM = 0.95  # what a first map fills of -1..1: the rest is for letters that come
OUTLIERS = 0.005  # share of the letters
SHORT_FIT, GENTLE = 60, 0.03  # epochs and learning rate of UMAP that starts from earlier places
WAYS = 30  # neighbours in Isomap, whose ways shift with every letter if fewer
LEADING = {"pca": COMPONENTS, "svd": COMPONENTS, "isomap": 32}  # directions within which a refit may stay where it was
HELD = 0.03  # of the width: mean movement up to which a refit by these shows its two first directions and no others
FLAT = 32  # directions of LLE to choose from
SHORT_TSNE = 250  # steps of such a t-SNE, the fewest that scikit-learn takes
SAMPLE = 2_000  # letters that a map is judged by
BLOCK = 1 << 23  # distances that are held at once, 32 MiB


class CannotEmbed(ValueError):
    """Vectors that no map can be made of, in words for people."""


@dataclass(frozen=True)
class Fitted:
    """A map: places (N, 2) float32 within -1..1.

    PCA and SVD also give the cumulative share of the variance that their components explain (K,), K up to 200, and the
    first components as vectors (up to 16, D). K is 0 where all vectors are the same.
    """

    plane: Floats
    explained: Floats | None = None
    components: Floats | None = None


# --- Fit -------------------------------------------------------------------------------------------------------------


def fit(
    method: str,
    vectors: Floats,
    *,
    seed: int = 0,
    start: Floats | None = None,
    report: Report | None = None,
    landmarks: int | None = None,
) -> Fitted:
    """A map of vectors (N, D) by one of METHODS; the same again for the same vectors, seed and library versions.

    `start`: earlier places (N, 2), a row of NaN for a letter that is new. UMAP and t-SNE begin there, a new letter amid
    its neighbours; whatever comes out is turned, moved and scaled as one to lie on the earlier places. Above
    `landmarks` letters, LANDMARKS[method] by default, a sample of so many is fitted and the others are placed among
    it. `report` is told the share that is done and what comes next; what it raises ends the fit.
    Raises CannotEmbed for vectors that are not finite, not (N, D), or too few for the method.
    """
    vectors = _vectors(vectors, "these letters")
    _refuse(method, vectors, start)
    tell = report or (lambda share, words: None)
    if (vectors == vectors[0]).all():
        return _all_the_same(method, vectors)
    tell(0.0, "loading")
    _load(method)  # before the limit, or it escapes that
    with threadpool_limits(1):  # the same sums whatever the machine has; threads that wait for a busy one cost more
        if method in ("pca", "svd"):
            return _linear(vectors, start, method=method, tell=tell)
        chosen = _landmarks(len(vectors), landmarks or LANDMARKS[method], seed)
        return Fitted(_fit_some(method, vectors, chosen, seed, start, tell))


def fit_umap(features: Floats, seed: int = 0, start: Floats | None = None) -> Floats:
    """UMAP of features (N, D) to the plane (N, 2), as an artefact keeps it; it fills -1..1."""
    return scale_to_unit(fit("umap", features, seed=seed, start=start).plane)


def standardise(vectors: Floats) -> Floats:
    """Pixels (N, D) with mean 0 and variance 1 each; one that never changes is 0."""
    spread = vectors.std(axis=0, dtype=np.float64)
    scaled: Floats = ((vectors - vectors.mean(axis=0, dtype=np.float64)) / np.where(spread > 0, spread, 1)).astype(
        np.float32
    )
    return scaled


def _vectors(vectors: npt.ArrayLike, whose: str) -> Floats:
    """As float32 (N, D); CannotEmbed says what is wrong with those of whom."""
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise CannotEmbed(f"the vectors of {whose} have the shape {vectors.shape}: one row each is needed")
    if not len(vectors):
        raise CannotEmbed("there is no letter to make a map of")
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise CannotEmbed(f"{len(broken)} of {whose} have numbers that are not finite, the first is {broken[0]}")
    return vectors


def _refuse(method: str, vectors: Floats, start: Floats | None) -> None:
    if method not in METHODS:
        raise CannotEmbed(f"{method!r} is no method: there are {', '.join(METHODS)}")
    if method not in ("pca", "svd") and len(vectors) < FEWEST:
        raise CannotEmbed(f"{method} needs at least {FEWEST} letters, and there are {len(vectors)}: pca needs one")
    if start is not None and start.shape != (len(vectors), 2):
        raise CannotEmbed(f"the earlier places have the shape {start.shape}: ({len(vectors)}, 2) is needed")


def _all_the_same(method: str, vectors: Floats) -> Fitted:
    """All in the middle: nothing tells one from another."""
    plane = np.zeros((len(vectors), 2), np.float32)
    if method not in ("pca", "svd"):
        return Fitted(plane)
    return Fitted(plane, np.zeros(0, np.float32), np.zeros((0, vectors.shape[1]), np.float32))


def _landmarks(count: int, most: int, seed: int) -> Indices:
    """Which letters are fitted: those of the lowest lots. A letter keeps its lot when others follow it."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.argsort(np.random.default_rng([seed, 5]).random(count), kind="stable")[:most])


def _fit_some(method: str, vectors: Floats, chosen: Indices, seed: int, start: Floats | None, tell: Report) -> Floats:
    """Fit the chosen letters, place the others among them."""
    every = len(chosen) == len(vectors)
    sample = vectors if every else vectors[chosen]
    before = None if start is None else _begin(sample, start[chosen])
    fitted = _FITS[method](sample, seed, before, _part(tell, 0, 1 if every else 0.6))
    if not np.isfinite(fitted).all():
        raise CannotEmbed(f"{method} found no place for some of these letters: too many of them are the same")
    fitted = _framed(fitted, None if start is None else start[chosen])
    if every:
        return fitted
    plane = np.empty((len(vectors), 2), np.float32)
    plane[chosen] = fitted
    rest = np.setdiff1d(np.arange(len(vectors)), chosen, assume_unique=True)
    plane[rest] = _placed(vectors[rest], sample, fitted, _part(tell, 0.6, 1))
    return plane


def _begin(vectors: Floats, start: Floats) -> Floats | None:
    """The earlier places, and for a new letter the mean of its neighbours'. None where all are new."""
    old = np.isfinite(start).all(axis=1)
    if not old.any():
        return None
    filled: Floats = start.astype(np.float32)
    filled[~old] = _placed(vectors[~old], vectors[old], filled[old])
    return filled


def _part(tell: Report, first: float, last: float) -> Report:
    """Whose 0 to 1 are `first` to `last` of the whole."""
    return lambda share, words: tell(first + share * (last - first), words)


# --- Methods ---------------------------------------------------------------------------------------------------------


def _linear(vectors: Floats, start: Floats | None, *, method: str, tell: Report) -> Fitted:
    """PCA, or truncated SVD, by the (D, D) covariance: exact, and seconds for 300,000 letters. From earlier places on
    the plane is that of `_held`; what is explained, and the components, are always those of the textbook."""
    tell(0.0, "variance")
    mean = vectors.mean(axis=0, dtype=np.float64) if method == "pca" else np.zeros(vectors.shape[1])
    products = sum(np.asarray(block, np.float64).T @ block for block in _blocks(vectors, mean))
    values, across = np.linalg.eigh(products)
    components = _signs_fixed(across.T[::-1][values[::-1] > 1e-9 * max(values[-1], 1e-30)])
    tell(0.6, "places")
    kept = components[:EXPLAINED]
    scores = np.concatenate([block @ kept.T for block in _blocks(vectors, mean)])
    explained = np.cumsum(scores.var(axis=0)) / vectors.var(axis=0, dtype=np.float64).sum()
    flat = np.zeros((len(vectors), 2))
    flat[:, : len(kept)] = scores[:, :2]
    held = _held(flat, scores[:, : LEADING[method]], start)
    return Fitted(
        _framed(held.astype(np.float32), start),
        np.minimum(explained, 1).astype(np.float32),
        kept[:COMPONENTS].astype(np.float32),
    )


def _blocks(vectors: Floats, mean: npt.NDArray[np.float64]) -> Iterator[npt.NDArray[np.float64]]:
    """The rows less the mean, some thousands at a time, as float64."""
    rows = max(1, BLOCK // vectors.shape[1] // 2)
    return (vectors[first : first + rows] - mean for first in range(0, len(vectors), rows))


def _signs_fixed(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each row with its largest entry positive: an eigenvector's sign is the solver's whim."""
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    fixed: npt.NDArray[np.float64] = rows * np.where(largest < 0, -1.0, 1.0)
    return fixed


def _umap(vectors: Floats, seed: int, start: Floats | None, tell: Report) -> Floats:
    """McInnes, Healy, Melville, "UMAP", arXiv:1802.03426. It begins from the two main components, or from `start`."""
    from umap import UMAP

    begin = _spread(_main_plane(vectors, tell) if start is None else start, seed)
    indices, distances = _graph(vectors, _part(tell, 0.05, 0.4))
    tell(0.4, "layout")
    settings: dict[str, Any] = {"n_neighbors": GRAPH, "min_dist": 0.3, "random_state": seed, "n_jobs": 1, "init": begin}
    if start is not None:
        settings |= {"n_epochs": SHORT_FIT, "learning_rate": GENTLE}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "precomputed_knn")  # it cannot transform then: we place by neighbours
        fitted = UMAP(**settings, precomputed_knn=(indices, distances)).fit_transform(vectors)
    # umap stretched what it began with to a square; undone, or each refit would move all by that
    plane: Floats = (fitted * (np.ptp(begin, axis=0) if start is not None else 1)).astype(np.float32)
    return plane


def _graph(vectors: Floats, tell: Report) -> tuple[Indices, Floats]:
    """Each letter's GRAPH nearest, itself the first, as UMAP asks for them."""
    indices, distances = _nearest(vectors, vectors, GRAPH - 1, tell, own=True)
    itself = np.arange(len(vectors))[:, None]
    return np.hstack([itself, indices]), np.hstack([np.zeros_like(itself, np.float32), distances])


def _spread(plane: Floats, seed: int) -> Floats:
    """With a breath of noise: an axis on which all lie at one place cannot be scaled."""
    noise = np.random.default_rng([seed, 6]).normal(0, 1e-4, plane.shape)
    return (plane + noise).astype(np.float32)


def _tsne(vectors: Floats, seed: int, start: Floats | None, tell: Report) -> Floats:
    """van der Maaten, "Accelerating t-SNE using tree-based algorithms", JMLR 15, 2014. It begins as `_umap` does."""
    from sklearn.manifold import TSNE

    count = len(vectors)
    settings: dict[str, Any] = {"perplexity": min(30.0, (count - 1) / 3), "random_state": seed, "n_jobs": 1}
    if start is None:
        settings |= {"init": _main_plane(vectors, tell) * 1e-4}
    else:  # as wide as it ended, or it would burst apart and forget where everything was
        settings |= {"init": start * 11 * count**0.22, "early_exaggeration": 1.0, "max_iter": SHORT_TSNE}
    tell(0.1, "layout")
    fitted = TSNE(**settings, learning_rate=max(count / 48, 50.0)).fit_transform(vectors)
    return np.asarray(fitted, np.float32)


def _isomap(vectors: Floats, seed: int, start: Floats | None, tell: Report) -> Floats:
    """Tenenbaum, de Silva, Langford, "A global geometric framework", Science 290, 2000. From earlier places on it is
    the plane of `_held`."""
    from sklearn.manifold import Isomap

    tell(0.0, "ways from letter to letter")
    settings: dict[str, Any] = {"n_neighbors": min(WAYS, len(vectors) - 1), "eigen_solver": "dense"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # heaps that no neighbour joins are joined by their nearest letters
        fitted = Isomap(**settings, n_components=2 if start is None else LEADING["isomap"]).fit_transform(vectors)
    return _held(_turned(fitted[:, :2]), fitted, start)


def _lle(vectors: Floats, seed: int, start: Floats | None, tell: Report) -> Floats:
    """Roweis, Saul, "Nonlinear dimensionality reduction by locally linear embedding", Science 290, 2000.

    Letters fall into heaps that no neighbours join. As many directions are then equally good, and a solver's two of
    them are a whim: it is the plane within FLAT that is nearest to the earlier places, or to that of PCA.
    """
    from sklearn.manifold import LocallyLinearEmbedding

    tell(0.0, "neighbours that make up each letter")
    settings: dict[str, Any] = {"n_neighbors": GRAPH, "eigen_solver": "dense"}
    fitted = LocallyLinearEmbedding(**settings, n_components=min(FLAT, len(vectors) - 2)).fit_transform(vectors)
    return _towards(fitted, _main_plane(vectors, tell) if start is None else start)


def _held(
    plane: npt.NDArray[np.floating[Any]], directions: npt.NDArray[np.floating[Any]], start: Floats | None
) -> Floats:
    """The plane (N, 2) of the two first directions, held back where its letters would go far from the places `start`.

    Which two directions lead is a close race: the third and fourth explain nearly as much, and some letters more or
    less turn the plane out of itself, which no turn within it can undo. Beyond HELD it is mixed with that plane within
    all of `directions` (N, K) which is nearest to the earlier places. With each refit it comes nearer to its own.
    """
    plane = plane.astype(np.float32)
    if start is None or not np.isfinite(start).all(axis=1).any():
        return plane
    own, near = align(plane, start), align(_towards(directions, start), start)
    far, least = (moved(start, each)["mean"] for each in (own, near))
    if far <= max(HELD, least):
        return own
    share = max(0.0, (HELD - least) / (far - least))  # the mean way of a mixture is at most the mixture of the ways
    mixed: Floats = near + np.float32(share) * (own - near)
    return mixed


def _towards(directions: npt.NDArray[np.floating[Any]], start: Floats) -> Floats:
    """Of all planes within these directions (N, K) the one that is nearest to the places `start` (N, 2), as far as
    those are known."""
    known, old = np.asarray(directions, np.float64), np.isfinite(start).all(axis=1)
    known = np.hstack([known / np.maximum(np.abs(known).max(axis=0), 1e-12), np.ones((len(known), 1))])
    plane: Floats = (known @ np.linalg.lstsq(known[old], start[old], rcond=None)[0]).astype(np.float32)
    return plane


def _main_plane(vectors: Floats, tell: Report) -> Floats:
    """The two main components: where a method begins that nothing came before."""
    return _linear(vectors, None, method="pca", tell=lambda share, words: tell(0.0, words)).plane


def _turned(plane: npt.NDArray[np.floating[Any]]) -> Floats:
    """Each axis with its farthest letter on the positive side."""
    return _signs_fixed(np.asarray(plane, np.float64).T).T.astype(np.float32)


def _load(method: str) -> None:
    """Import what a method needs: only whoever fits pays for it.

    umap-learn loads TensorFlow for its parametric kind, which is not used here: 480 MB, and four of its six seconds.
    """
    if method == "umap":
        sys.modules.setdefault("umap.parametric_umap", cast(Any, None))
    with warnings.catch_warnings(action="ignore", category=ImportWarning):  # that there is none
        importlib.import_module(_LIBRARIES[method])


_LIBRARIES = {"pca": "numpy", "svd": "numpy", "umap": "umap"} | dict.fromkeys(
    ("tsne", "isomap", "lle"), "sklearn.manifold"
)
_Fit = Callable[[Floats, int, Floats | None, Report], Floats]
_FITS: dict[str, _Fit] = {"umap": _umap, "tsne": _tsne, "isomap": _isomap, "lle": _lle}


# --- Frame -----------------------------------------------------------------------------------------------------------


def align(plane: Floats, to: Floats) -> Floats:
    """Turn, mirror, scale and move points (N, 2) as one, to lie on the points `to` (N, 2). Rows of NaN in `to` have no
    say, and go where the rest goes.

    Procrustes analysis: Gower, "Generalized Procrustes analysis", Psychometrika 40, 1975. The scale makes both as wide:
    the least-squares one is smaller by whatever differs, and would shrink a map a little with each fit.
    """
    old = np.isfinite(to).all(axis=1)
    if not old.any():
        return plane
    middle, there = plane[old].mean(axis=0), to[old].mean(axis=0)
    here = plane[old] - middle
    left, _, right = np.linalg.svd(here.T @ (to[old] - there))
    width = np.sqrt((here**2).sum())
    scale = np.sqrt(((to[old] - there) ** 2).sum()) / width if width > 0 else 1.0
    aligned: Floats = ((plane - middle) @ (left @ right) * (scale or 1.0) + there).astype(np.float32)
    return aligned


def scale_to_unit(plane: Floats) -> Floats:
    """Centre points (N, 2) and scale them, both axes alike, to fill -1..1."""
    middle = (plane.max(axis=0) + plane.min(axis=0)) / 2
    scaled: Floats = (plane - middle) / max(float(np.abs(plane - middle).max()), 1e-9)
    return scaled


def _framed(plane: Floats, start: Floats | None) -> Floats:
    """Within -1..1. A first map has ROOM around it. A later one is aligned to the earlier places; should it stick out,
    it is shrunk until no more than OUTLIERS do, which then stand at the edge: one far letter must not move all."""
    if start is None or not np.isfinite(start).all(axis=1).any():
        return (scale_to_unit(plane) * ROOM).astype(np.float32)
    aligned = align(plane, start)
    width = max(1.0, float(np.quantile(np.abs(aligned).max(axis=1), 1 - OUTLIERS)))
    return np.clip(aligned / width, -1, 1).astype(np.float32)


# --- Place -----------------------------------------------------------------------------------------------------------


def place(new: Floats, vectors: Floats, plane: Floats) -> Floats:
    """Places (M, 2) of new letters (M, D) on the map of vectors (N, D) and plane (N, 2): each the mean of its nearest
    letters' places, the nearer the heavier. No other letter moves. Raises CannotEmbed like `fit`."""
    new, vectors = np.asarray(new, np.float32), _vectors(vectors, "the letters of the map")
    if not len(new):
        return np.empty((0, 2), np.float32)
    return _placed(_vectors(new, "the new letters"), vectors, plane)


def nearest(new: Floats, vectors: Floats) -> tuple[Indices, Floats]:
    """The letters among vectors (N, D) that are nearest to a new one (D,), and their distances; the nearest first."""
    vectors = _vectors(vectors, "the letters of the map")
    indices, distances = _nearest(_vectors(new[None], "the new letter"), vectors, NEIGHBOURS)
    return indices[0], distances[0]


def _placed(new: Floats, vectors: Floats, plane: Floats, tell: Report | None = None) -> Floats:
    indices, distances = _nearest(new, vectors, NEIGHBOURS, tell)
    return _mean_place(plane[indices], distances)


def _mean_place(places: Floats, distances: Floats) -> Floats:
    """(..., k, 2) and (..., k) to (..., 2): a letter that lies on another goes where that is."""
    weight = 1 / (distances + 1e-6)
    mean: Floats = ((places * weight[..., None]).sum(axis=-2) / weight.sum(axis=-1)[..., None]).astype(np.float32)
    return mean


def _nearest(
    queries: Floats, vectors: Floats, count: int, tell: Report | None = None, *, own: bool = False
) -> tuple[Indices, Floats]:
    """The nearest among vectors (N, D) of each query (M, D): indices (M, k) and distances, the nearest first.

    `own`: the queries are the vectors, and none is its own neighbour.
    """
    count = min(count, len(vectors) - own)
    squares = np.einsum("nd,nd->n", vectors, vectors)
    indices, rows = np.empty((len(queries), count), np.intp), max(1, BLOCK // len(vectors))
    distances = np.empty((len(queries), count), np.float32)
    for first in range(0, len(queries), rows):
        if tell:
            tell(first / len(queries), "neighbours")
        part = slice(first, min(first + rows, len(queries)))
        # less the query's own square, which changes no order
        away = squares - 2 * _products(queries[part], vectors)
        if own:
            away[np.arange(len(away)), np.arange(part.start, part.stop)] = np.inf
        indices[part], distances[part] = _least(away, count, queries[part], vectors)
    return indices, distances


def _products(queries: Floats, vectors: Floats) -> Floats:
    """(M, D) by (N, D) to (M, N). For a single letter a BLAS product starts threads that cost more than it does."""
    products: Floats = queries @ vectors.T if len(queries) > 1 else np.vecdot(vectors, queries[0])[None]
    return products


def _least(away: Floats, count: int, queries: Floats, vectors: Floats) -> tuple[Indices, Floats]:
    """The least of each row, and how far they are: by their differences, as squares cancel where letters are close."""
    found = np.argpartition(away, min(count, away.shape[1] - 1), axis=1)[:, :count]
    exact = np.linalg.norm(vectors[found] - queries[:, None], axis=2)
    order = np.lexsort((found, exact), axis=1)
    return np.take_along_axis(found, order, 1), np.take_along_axis(exact, order, 1).astype(np.float32)


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
        return self.locate(features)[0]

    def nearest(self, features: Floats) -> Indices:
        """Numbers of the letters that are nearest to these features (D,), the nearest first."""
        return self.locate(features)[1]

    def locate(self, features: Floats) -> tuple[Floats, Indices, Floats]:
        """Both at once, for a prediction: the point (2,), the nearest letters and their distances."""
        # vecdot, not @: a BLAS product of this shape starts threads that cost more than it does
        away = self._squares - 2 * np.vecdot(self.features, features)
        indices, distances = _least(away[None], NEIGHBOURS, features[None], self.features)
        return _mean_place(self.plane[indices[0]], distances[0]), indices[0], distances[0]


# --- Judge -----------------------------------------------------------------------------------------------------------


def moved(before: Floats, after: Floats) -> dict[str, float]:
    """How far letters went from places (N, 2) to others: `mean` and `largest`, as shares of the earlier map's width.

    Rows that are NaN in either are new or gone, and do not count.
    """
    both = np.isfinite(before).all(axis=1) & np.isfinite(after).all(axis=1)
    if not both.any():
        return {"mean": 0.0, "largest": 0.0}
    width = max(float(np.ptp(before[both], axis=0).max()), 1e-9)
    way = np.linalg.norm(after[both] - before[both], axis=1) / width
    return {"mean": float(way.mean()), "largest": float(way.max())}


def quality(
    vectors: Floats, plane: Floats, labels: npt.NDArray[np.integer[Any]], *, seed: int = 0
) -> dict[str, float | None]:
    """How true a map of vectors (N, D) with labels (N,) is, asked of a `sample` of at most 2,000 of its letters.

    `trustworthiness`, 0 to 1: whether those who are neighbours on the map are neighbours (Venna and Kaski, "Local
    multidimensional scaling", Neural Networks 19, 2006). `knn_plane` and `knn_space`: the share of letters that
    NEIGHBOURS others, by vote, say right, on the map and among the vectors: what the map loses. None below 4 letters.
    """
    sample = np.sort(np.random.default_rng([seed, 7]).permutation(len(vectors))[:SAMPLE])
    count = min(NEIGHBOURS, (len(vectors) - 1) // 2)
    if count < 1 or len(vectors) < 4:
        return {"trustworthiness": None, "knn_plane": None, "knn_space": None, "sample": len(sample)}
    vectors, plane = np.asarray(vectors, np.float32), np.asarray(plane, np.float32)
    on_map, in_space = _others(plane, sample, count), _others(vectors, sample, count)
    return {
        "trustworthiness": _trustworthiness(vectors, sample, on_map),
        "knn_plane": float((_votes(labels[on_map]) == labels[sample]).mean()),
        "knn_space": float((_votes(labels[in_space]) == labels[sample]).mean()),
        "sample": len(sample),
    }


def _others(vectors: Floats, sample: Indices, count: int) -> Indices:
    """The nearest (M, k) of each of the sample, among all but itself."""
    found, _ = _nearest(vectors[sample], vectors, count + 1)
    itself = found == sample[:, None]
    itself[~itself.any(axis=1), -1] = True  # where so many lie at its place that it is not among them
    others: Indices = found[~itself].reshape(len(sample), count)
    return others


def _trustworthiness(vectors: Floats, sample: Indices, on_map: Indices) -> float:
    """1 less what letters that are neighbours on the map (M, k) are beyond the k nearest in space, by rank."""
    count, beyond = int(on_map.shape[1]), 0
    squares, rows = np.einsum("nd,nd->n", vectors, vectors), max(1, BLOCK // len(vectors))
    for first in range(0, len(sample), rows):
        part, neighbours = sample[first : first + rows], on_map[first : first + rows]
        away = squares - 2 * (vectors[part] @ vectors.T)
        away[np.arange(len(part)), part] = np.inf
        for column in neighbours.T:
            rank = 1 + (away < np.take_along_axis(away, column[:, None], axis=1)).sum(axis=1)
            beyond += int(np.maximum(rank - count, 0).sum())
    return 1.0 - 2 * beyond / (len(sample) * count * (2 * len(vectors) - 3 * count - 1))


def _votes(labels: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.integer[Any]]:
    """The label that most of each row (M, k) have; of equally many, that of the nearest."""
    counts = (labels[:, :, None] == labels[:, None, :]).sum(axis=2)
    winner: npt.NDArray[np.integer[Any]] = np.take_along_axis(labels, counts.argmax(axis=1)[:, None], axis=1)[:, 0]
    return winner
