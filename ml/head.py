"""The quick retraining: the last layer alone, refitted on stored features. NumPy and SciPy, never TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.labels import CLASS_COUNT

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Head:
    """The last layer as served: `kernel` (128, 37) and `bias` (37,), float32, the temperature folded in."""

    kernel: Floats
    bias: Floats

    def probabilities(self, features: Floats) -> Floats:
        """(N, 128) features to (N, 37) probabilities."""
        logits = features.astype(np.float32, copy=False) @ self.kernel + self.bias
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        probabilities: Floats = logits / logits.sum(axis=1, keepdims=True)
        return probabilities


@dataclass(frozen=True)
class Collected:
    """Approved drawings to learn from: `images` (N, 28, 28) uint8, `labels` (N,) uint8, `weights` (N,) float32.

    `features` (N, 128) float32 by the parent's trunk, or None to have them computed from the images.
    """

    images: Bytes
    labels: Bytes
    weights: Floats
    features: Floats | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class HeadConfig:
    """How a head is refitted; kept with its artefact."""

    collected_weight: float = 10.0  # of one drawing, beside one replayed EMNIST letter
    replay_per_class: int = 400  # reference letters of each class
    pull: float = 10.0  # towards the serving head
    iterations: int = 100  # of L-BFGS, at most


def contributor_weights(
    labels: npt.NDArray[np.integer[Any]],
    contributors: Sequence[Hashable],
    base: npt.ArrayLike,
    weight: float,
    share: float,
) -> Floats:
    """How much each drawing weighs, (N,): `weight`, or less where its contributor would dominate its class.

    No contributor's drawings of a class weigh more than `share` (0 to 1) of all that weighs in that class: `base`, the
    weight of its EMNIST letters (one number, or 37), and all drawings of it, these already scaled down. A class where
    the EMNIST letters weigh nothing and too few contributed for such a share weighs nothing.
    """
    weights = np.zeros(len(labels), np.float32)
    total = np.broadcast_to(np.asarray(base, float), (CLASS_COUNT,))
    people = {each: number for number, each in enumerate(dict.fromkeys(contributors))}
    person = np.array([people[each] for each in contributors], int)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        given = np.bincount(person[members], minlength=len(people)) * float(weight)
        cap = _cap(given, float(total[label]), share)
        scale = np.divide(np.minimum(given, cap), given, out=np.zeros_like(given), where=given > 0)
        weights[members] = weight * scale[person[members]]
    return weights


def _cap(given: npt.NDArray[np.float64], base: float, share: float) -> float:
    """The most that one contributor may weigh: `share` of `base` and of what all weigh once nobody weighs more."""
    ordered = np.sort(given)[::-1]
    rest = base + ordered.sum()
    for capped, largest in enumerate(ordered):  # suppose that so many are capped
        room = 1 - share * capped
        if room > 0 and largest <= share * rest / room:
            return float(share * rest / room)
        rest -= largest
    return float(share * base / (1 - share * len(ordered)))


def retrain_head(
    parent: Path,
    output: Path,
    collected: Collected,
    config: HeadConfig,
    seed: int,
    report: Report | None = None,
) -> None:
    """Refit the last layer of `parent` on its reference letters and the collected drawings; write the artefact."""
    raise NotImplementedError
