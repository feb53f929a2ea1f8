"""The quick retraining: the last layer alone, refitted on stored features. NumPy and SciPy, never TensorFlow."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from ml import artifact, familiarity, graft
from ml.labels import CLASS_COUNT

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Report = Callable[[dict[str, Any]], None]

GUARD_ROUNDS = 4
GUARD_ITERATIONS = 25  # from a fit that is nearly right already
FITTING, GUARDED = (0.1, 0.7), 0.9  # shares of the whole


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
    """How a head is refitted; kept with its artefact. docs/gate.md has the table that the values were chosen by."""

    collected_weight: float = 20.0  # of one drawing, beside one replayed EMNIST letter
    replay_per_class: int = 400  # reference letters of each class
    keep: float = 1.0  # how far a replayed letter is to be read as the serving head reads it, not as it is labelled
    pull: float = 1.0  # towards the serving head: the squared distance counts as half so many letters' surprise
    iterations: int = 100  # of L-BFGS, at most
    tolerance: float = 1e-7  # relative gain of an iteration below which the fit ends
    class_guard: float = 1.0  # percentage points of its replay that a class may lose before its letters weigh more


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


def _cap(given: npt.NDArray[np.floating[Any]], base: float, share: float) -> float:
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
    """Refit the last layer of `parent` on its reference letters and the collected drawings; write a whole artefact.

    All else of the parent is kept to the byte. `report` is told the progress; what it raises ends the run, and leaves
    what was at `output`. Raises ml.artifact.BadArtifact for a parent that is damaged or whose last layer is not found,
    ValueError for no drawings.
    """
    if not len(collected):
        raise ValueError("there is nothing to learn from: no drawings")
    tell = report or (lambda _: None)
    digest = artifact.verify(parent)
    features = collected.features if collected.features is not None else _features(parent, collected.images, tell)
    fitted = refit(parent, replace(collected, features=features), config, seed, tell)
    known = familiarity.learn(
        familiarity.load(parent), features, collected.weights, artifact.emnist_reference(parent).features
    )
    tell({"stage": "testing", "share": 0.9})
    metrics = _metrics(parent, fitted, len(collected))
    tell({"stage": "writing", "share": 0.95})
    changes = {
        "parent": digest,
        "head": asdict(config) | {"seed": seed, "drawings": len(collected)},
        "familiarity": known.values(),
    }
    _write(
        parent,
        output,
        artifact.load_head(parent),
        fitted.head,
        metrics,
        artifact.read_json(parent, "config.json") | changes,
    )


@dataclass(frozen=True)
class Lessons:
    """`features` (N, 128), what each is to be read as, `expected` (N, 37), and its weight, `weights` (N,)."""

    features: Floats
    expected: Floats
    weights: Floats


@dataclass(frozen=True)
class Replay:
    """Letters that a fit goes through again, and is not to unlearn.

    `features` (R, 128) by the trunk that the head is for, `labels` (R,), and `read` (R, 37): the probabilities by the
    model that serves, whose own trunk may be another.
    """

    features: Floats
    labels: Bytes
    read: Floats

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Fitted:
    """A refitted head, and how the loss fell."""

    head: Head
    loss_before: float
    loss_after: float
    iterations: int


def refit(parent: Path, collected: Collected, config: HeadConfig, seed: int, tell: Report = lambda _: None) -> Fitted:
    """The head that `retrain_head` would write, from drawings whose features are there. Writes nothing."""
    old = artifact.load_head(parent)
    chosen = _replay(artifact.emnist_reference(parent), config.replay_per_class, seed)
    replay = Replay(chosen.features, chosen.labels, old.probabilities(chosen.features))
    return refit_from(old, replay, collected, config, tell)


def refit_from(
    old: Head, replay: Replay, collected: Collected, config: HeadConfig, tell: Report = lambda _: None
) -> Fitted:
    """The head fitted anew from `old`, on letters and drawings whose features are by one trunk."""
    if collected.features is None:
        raise ValueError("the drawings have no features")
    import scipy.optimize  # noqa: F401 - it brings a BLAS of its own, which the limit below must find loaded

    # BLAS threads that wait for each other on a busy machine made this fit twenty times slower than one thread is
    with threadpool_limits(1, "blas"):
        lessons = _lessons(replay, collected.features, collected, config.keep)
        return _fit_guarded(lessons, replay, old, config, tell)


def _features(parent: Path, images: Bytes, tell: Report) -> Floats:
    from ml.predictor import Predictor

    predictor = Predictor(parent)
    rows = []
    for number, image in enumerate(images):
        if number % 100 == 0:
            tell({"stage": "features", "share": 0.1 * number / len(images)})
        rows.append(predictor.predict(image).features)
    return np.stack(rows)


def _replay(reference: artifact.FeatureSet, per_class: int, seed: int) -> artifact.FeatureSet:
    random = np.random.default_rng([seed, 4])
    chosen = np.concatenate(
        [random.permutation(np.flatnonzero(reference.labels == label))[:per_class] for label in range(CLASS_COUNT)]
    )
    return artifact.FeatureSet(reference.features[chosen], reference.labels[chosen])


def _lessons(replay: Replay, features: Floats, collected: Collected, keep: float) -> Lessons:
    """A drawing is to be read as its label; a replayed letter so in part, and in part as it is read now.

    Labels alone cost L a tenth of its recall on EMNIST, whatever was collected: there I and l look alike. Li and
    Hoiem, "Learning without forgetting", arXiv:1606.09282.
    """
    one_hot = np.eye(CLASS_COUNT, dtype=np.float32)
    replayed = (1 - keep) * one_hot[replay.labels] + keep * replay.read
    return Lessons(
        np.concatenate([replay.features, features]).astype(np.float32, copy=False),
        np.concatenate([replayed, one_hot[collected.labels]]).astype(np.float32, copy=False),
        np.concatenate([np.ones(len(replay), np.float32), collected.weights]),
    )


def _fit_guarded(lessons: Lessons, replay: Replay, old: Head, config: HeadConfig, tell: Report) -> Fitted:
    """Fit; while a class loses more of its replay than it may, let its letters weigh twice as much and fit on."""
    before = _recall(replay.read, replay.labels)
    fitted = _fit(lessons, old, old, config, _within(tell, *FITTING))
    low, high = FITTING[1], GUARDED
    for at in range(GUARD_ROUNDS):
        after = _recall(fitted.head.probabilities(replay.features), replay.labels)
        losing = 100 * (before - after) > config.class_guard
        if not losing.any():
            break
        weights = lessons.weights.copy()
        weights[: len(replay)] *= np.where(losing[replay.labels], 2, 1)
        lessons = replace(lessons, weights=weights)
        part = _within(tell, *(low + (high - low) * n / GUARD_ROUNDS for n in (at, at + 1)))
        more = _fit(lessons, old, fitted.head, replace(config, iterations=GUARD_ITERATIONS), part)
        fitted = replace(more, loss_before=fitted.loss_before, iterations=fitted.iterations + more.iterations)
    return fitted


def _within(tell: Report, low: float, high: float) -> Report:
    """Tells a share of 0 to 1 as one from `low` to `high`."""

    def told(progress: dict[str, Any]) -> None:
        tell(progress | {"share": low + (high - low) * progress["share"]})

    return told


def _recall(read: Floats, labels: Bytes) -> npt.NDArray[np.float64]:
    """Of each class, (37,): the share read right, from probabilities (N, 37) and labels (N,)."""
    right = read.argmax(axis=1) == labels
    counts = np.bincount(labels, minlength=CLASS_COUNT)
    recall: npt.NDArray[np.float64] = np.bincount(labels, right, CLASS_COUNT) / np.maximum(counts, 1)
    return recall


def _fit(lessons: Lessons, anchored: Head, start: Head, config: HeadConfig, tell: Report) -> Fitted:
    """Weighted softmax regression by L-BFGS, with a penalty on the squared distance to the head `anchored`."""
    rows = np.concatenate([lessons.features, np.ones((len(lessons.features), 1), np.float32)], axis=1)
    expected, total_weight = lessons.expected, float(lessons.weights.sum())
    heavy = (lessons.weights / total_weight)[:, None].astype(np.float32)
    pull = config.pull / total_weight
    anchor, first = (np.concatenate([head.kernel, head.bias[None]]).astype(np.float32) for head in (anchored, start))
    losses: list[float] = []

    def surprise(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        """The loss and its gradient."""
        layer = flat.reshape(anchor.shape).astype(np.float32)
        logits = rows @ layer
        logits -= logits.max(axis=1, keepdims=True)
        likelihood = np.exp(logits)
        total = likelihood.sum(axis=1, keepdims=True)
        away = layer - anchor
        log_likelihood = np.einsum("nc,nc->n", expected, logits) - np.log(total[:, 0])
        loss = -float(heavy[:, 0] @ log_likelihood) + pull / 2 * float((away**2).sum())
        gradient = rows.T @ ((likelihood / total - expected) * heavy) + pull * away
        losses.append(loss)
        return loss, gradient.ravel().astype(np.float64)

    done = itertools.count(1)

    def told(_: npt.NDArray[np.float64]) -> None:
        iteration = next(done)
        tell(
            {
                "stage": "fitting",
                "epoch": iteration,
                "epochs": config.iterations,
                "loss": losses[-1],
                "share": iteration / config.iterations,
            }
        )

    from scipy.optimize import minimize

    found = minimize(
        surprise,
        first.ravel().astype(np.float64),
        jac=True,
        method="L-BFGS-B",
        callback=told,
        options={"maxiter": config.iterations, "ftol": config.tolerance},
    )
    layer = found.x.reshape(anchor.shape).astype(np.float32)
    return Fitted(Head(layer[:-1].copy(), layer[-1].copy()), losses[0], float(found.fun), int(found.nit))


def _metrics(parent: Path, fitted: Fitted, drawings: int) -> dict[str, Any]:
    from ml.evaluate import evaluate

    test, of_parent = artifact.emnist_test(parent), artifact.read_json(parent, "metrics.json")
    same = {name: of_parent[name] for name in ("dataset", "familiarity") if name in of_parent}  # the features are
    return same | {
        "test": evaluate(fitted.head.probabilities(test.features), test.labels),
        "history": [],
        "head": {
            "drawings": drawings,
            "iterations": fitted.iterations,
            "loss_before": fitted.loss_before,
            "loss_after": fitted.loss_after,
        },
    }


def _write(parent: Path, output: Path, old: Head, new: Head, metrics: dict[str, Any], settings: dict[str, Any]) -> None:
    how = (
        f"The last layer of the model {settings['parent'][:12]}, refitted on reference letters of EMNIST and "
        f"{metrics['head']['drawings']} collected drawings."
    )
    with artifact.made_whole(output) as aside:
        put_into(aside, parent, old, new)
        artifact.dump(aside / "config.json", settings)
        artifact.dump(aside / "metrics.json", metrics)
        (aside / "card.md").write_text(artifact.card(how, metrics, artifact.TAUGHT_NOTHING))


def put_into(aside: Path, parent: Path, old: Head, new: Head) -> None:
    """Write what an artefact has of its network: the parent's, with another last layer.

    Raises ml.artifact.BadArtifact.
    """
    for name in ("reference.npz", "test.npz"):
        shutil.copyfile(parent / name, aside / name)
    try:
        (aside / "model.tflite").write_bytes(graft.into_litert((parent / "model.tflite").read_bytes(), old, new))
        (aside / "model.keras").write_bytes(graft.into_keras((parent / "model.keras").read_bytes(), old, new))
    except graft.GraftError as error:
        raise artifact.BadArtifact(f"{parent}: {error}") from error
    artifact.write_head(aside, new)
