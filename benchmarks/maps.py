"""`python -m benchmarks.maps`: what a map of letters costs, in a process that has compiled umap already.

    python -m benchmarks.maps --sizes 5000 20000 50000 100000     time and memory of UMAP, and of placing one letter
    python -m benchmarks.maps --compare                           three ways to place letters that come later
    python -m benchmarks.maps --methods 4000                      all methods: time, quality, movement at a refit
    python -m benchmarks.maps --landmarks 300000                  a map beyond what is fitted as a whole
    python -m benchmarks.maps --pixels 5000 20000                 UMAP, t-SNE and PCA of pixels (needs EMNIST_ARCHIVE)

Features are those of the shipped artefact's reference and test letters. Beyond these 22,200 they are made: each is a
blend of two letters of a class. Processor seconds are given too: they depend less on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks import machine
from ml import embed, emnist
from ml.artifact import SHIPPED

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]

SIZE = 20_000
PLACED = 200
LATER = 400  # letters that come later, in the comparisons


def figures() -> dict[str, float]:
    """What `make bench` says of maps."""
    vectors, _ = letters(SIZE)
    warm_up(vectors)
    seconds, plane = timed(lambda: embed.fit("umap", vectors).plane)
    return {"map_umap_20000_s": seconds["wall"], "map_place_ms": place_ms(vectors, plane)}


def letters(count: int) -> tuple[Floats, Labels]:
    """Features (N, 128) and labels (N,), real ones first."""
    parts = []
    for name in ("reference.npz", "test.npz"):
        with np.load(SHIPPED / name, allow_pickle=False) as stored:
            parts.append((stored["features"].astype(np.float32), stored["labels"]))
    vectors, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
    if count > len(vectors):
        made, their = blended(vectors, labels, count - len(vectors))
        vectors, labels = np.concatenate([vectors, made]), np.concatenate([labels, their])
    return vectors[:count], labels[:count]


def blended(vectors: Floats, labels: Labels, count: int) -> tuple[Floats, Labels]:
    """Letters between two of a class, with as much noise as keeps them from lying on a line."""
    random = np.random.default_rng(0)
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    first = random.integers(0, len(labels), count)
    other = order[(np.cumsum(sizes) - sizes)[labels[first]] + random.integers(0, sizes[labels[first]])]
    share = random.uniform(0, 0.5, (count, 1)).astype(np.float32)
    noise = random.normal(0, 0.1 * float(vectors.std()), (count, vectors.shape[1])).astype(np.float32)
    return vectors[first] * (1 - share) + vectors[other] * share + noise, labels[first]


def warm_up(vectors: Floats) -> None:
    """Compile what UMAP needs."""
    embed.fit("umap", vectors[:500])


def timed(work: Callable[[], Floats]) -> tuple[dict[str, float], Floats]:
    """Wall and processor seconds, the peak memory of this process in MB, and what came of it."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak, from here on
    wall, cpu = time.perf_counter(), time.process_time()
    came = work()
    taken = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    return taken | {"peak_mb": peak_mb()}, came


def peak_mb() -> float:
    """VmHWM of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def place_ms(vectors: Floats, plane: Floats) -> float:
    """One letter placed on a map, the median of many."""
    random, times = np.random.default_rng(1), []
    for index in random.integers(0, len(vectors), PLACED):
        new = vectors[index : index + 1] + np.float32(0.01)
        started = time.perf_counter()
        embed.place(new, vectors, plane)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def sizes(counts: list[int], landmarks: int | None = None) -> None:
    """UMAP of so many letters, without landmarks unless told."""
    for count in counts:
        vectors, labels = letters(count)
        taken, plane = timed(lambda v=vectors, n=count: embed.fit("umap", v, landmarks=landmarks or n).plane)
        say(letters=count, **taken, place_ms=place_ms(vectors, plane), **embed.quality(vectors, plane, labels))


def methods(count: int) -> None:
    """Each method on so many letters, and again with LATER more from the places of the first."""
    vectors, labels = letters(count + LATER)
    for method in embed.METHODS:
        taken, plane = timed(lambda m=method: embed.fit(m, vectors[:count]).plane)
        start = np.vstack([plane, np.full((LATER, 2), np.nan, np.float32)])
        again, later = timed(lambda m=method, s=start: embed.fit(m, vectors, start=s, seed=1).plane)
        say(method=method, letters=count, **taken, **embed.quality(vectors[:count], plane, labels[:count]))
        say(method=method, refit_cpu=again["cpu"], **embed.moved(plane, later[:count]))


def compare(count: int) -> None:
    """Three ways to place letters that come later on a map by UMAP."""
    from umap import UMAP

    vectors, labels = letters(count + LATER)
    known, new, theirs = vectors[:count], vectors[count:], labels[count:]
    model = UMAP(n_neighbors=15, min_dist=0.3, random_state=0, n_jobs=1)
    plane = np.asarray(model.fit_transform(known), np.float32)
    # the same frame for all three; places are shares of the map's width from here on
    middle, half = plane.mean(axis=0), float(np.ptp(plane, axis=0).max()) / 2
    framed = (plane - middle) / half
    model.transform(new[:2])  # compiles
    ways: dict[str, Callable[[], Floats]] = {
        "transform": lambda: (np.asarray(model.transform(new), np.float32) - middle) / half,
        "neighbours": lambda: embed.place(new, known, framed),
        "refit": lambda: embed.fit("umap", vectors, start=np.vstack([framed, np.full((LATER, 2), np.nan)])).plane,
    }
    came = {}
    for name, way in ways.items():
        taken, places = timed(way)
        came[name] = places[-LATER:]
        right = (embed._votes(labels[embed._nearest(came[name], framed, 8)[0]]) == theirs).mean()
        say(way=name, letters=LATER, **taken, knn_plane=float(right))
    say(fitted_model_mb=len(pickle.dumps(model)) / 1e6, features_and_places_mb=(known.nbytes + framed.nbytes) / 1e6)
    for name in ("transform", "neighbours"):
        say(way=name, from_the_refit=embed.moved(came["refit"], came[name]))
    alone: dict[str, Callable[[], Floats]] = {
        "transform": lambda: model.transform(new[:1]),
        "neighbours": lambda: embed.place(new[:1], known, framed),
    }
    for name, way in alone.items():
        took = [timed(way)[0] for _ in range(20)]
        say(
            way=name,
            **{f"one_letter_{kind}_ms": 1000 * statistics.median(t[kind] for t in took) for kind in ("wall", "cpu")},
        )


def pixels(counts: list[int]) -> None:
    """Maps of so many training letters of `open37` as standardised pixels."""
    known = emnist.load_letters("open37", "train")
    for count in counts:
        chosen = evenly(known.labels, count)
        grey = known.images[chosen].reshape(len(chosen), -1).astype(np.float32)
        vectors, labels = embed.standardise(grey), known.labels[chosen]
        for method in ("pca", "umap", "tsne"):
            taken, plane = timed(lambda m=method, v=vectors: embed.fit(m, v).plane)
            say(method=method, pixels_of=count, **taken, **embed.quality(vectors, plane, labels))


def evenly(labels: Labels, count: int) -> npt.NDArray[np.intp]:
    """Positions of about `count` letters, as many of each class, chosen at random."""
    order = np.random.default_rng(0).permutation(len(labels))
    each = count // len(np.unique(labels))
    return np.concatenate([order[labels[order] == label][:each] for label in np.unique(labels)])


def say(**numbers: object) -> None:
    """A line of JSON."""
    print(json.dumps(numbers, default=float), flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[])
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--methods", type=int)
    parser.add_argument("--landmarks", type=int)
    parser.add_argument("--pixels", type=int, nargs="+", default=[])
    asked = parser.parse_args()
    print(machine.described())
    warm_up(letters(500)[0])
    sizes(asked.sizes)
    if asked.compare:
        compare(5_000)
    if asked.methods:
        methods(asked.methods)
    if asked.landmarks:
        sizes([asked.landmarks], embed.LANDMARKS["umap"])
    if asked.pixels:
        pixels(asked.pixels)
    if not (asked.sizes or asked.compare or asked.methods or asked.landmarks or asked.pixels):
        say(**figures())


if __name__ == "__main__":
    main()
