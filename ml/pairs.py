"""Less sure of what one letter alone does not tell: F or f, I or L, g or q.

    python -m ml.pairs ARTEFACT OUTPUT    an artefact made without it, with it; EMNIST_ARCHIVE names the archive

A network learns by heart which of two like letters was meant in training, and takes that for knowledge. Its
temperature, one number for all classes, cannot take it back. Here the last layer is refitted to read its reference
letters as it does, but with a smaller difference within each pair. docs/evaluation.md says what that brings.
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ml import artifact, exams
from ml.evaluate import evaluate
from ml.head import Collected, Head, HeadConfig, Replay, put_into, refit_from
from ml.labels import index_of

PAIRS = ("Ff", "IL", "gq")
LEAST = 0.1  # of the difference: less would be no reading
EXACT = 0.005  # how near `within` is found

Floats = npt.NDArray[np.floating[Any]]

_PAIRS = [[index_of(letter) for letter in pair] for pair in PAIRS]


def softened(probabilities: Floats, within: float) -> Floats:
    """Probabilities (N, 37) where the logarithm of the odds within each pair is `within` times as large.

    What the two have together stays, and so does the likelier of them.
    """
    changed = probabilities.astype(float)
    for pair in _PAIRS:
        two = probabilities[:, pair].astype(float)
        shares = np.maximum(two, np.finfo(np.float32).tiny) ** within
        changed[:, pair] = two.sum(axis=1, keepdims=True) * shares / shares.sum(axis=1, keepdims=True)
    return changed


def excess(probabilities: Floats, labels: npt.NDArray[np.integer[Any]]) -> float:
    """How much surer than right, -1 to 1, the letters read as one of the pairs are, as a share of all letters."""
    read = probabilities.argmax(axis=1)
    of = np.isin(read, _PAIRS)
    return float((probabilities[of].max(axis=1).astype(float) - (read[of] == labels[of])).sum() / len(labels))


def soften(head: Head, reference: artifact.FeatureSet, held_out: artifact.FeatureSet) -> tuple[Head, float]:
    """The head that is as sure of the pairs as it is right, on letters that its network did not learn from; `within`.

    The letters of the `reference` teach it how to read all else as before: their own labels teach it nothing. 1, and
    the same head, where it is not too sure. The likeliest labels of `held_out` would ask for less: they weigh most
    the few letters that are far off.
    """
    from scipy.optimize import brentq

    before = head.probabilities(reference.features)
    nothing = Collected(
        np.empty((0, 28, 28), np.uint8), np.empty(0, np.uint8), np.empty(0, np.float32), reference.features[:0]
    )

    @cache
    def fitted(within: float) -> Head:
        if within == 1:
            return head
        read = softened(before, within).astype(np.float32)
        return refit_from(head, Replay(reference.features, reference.labels, read), nothing, HeadConfig()).head

    def surer(within: float) -> float:
        return excess(fitted(within).probabilities(held_out.features), held_out.labels)

    if surer(1.0) <= 0:
        return head, 1.0
    within = LEAST if surer(LEAST) >= 0 else round(float(brentq(surer, LEAST, 1.0, xtol=EXACT)), 3)
    return fitted(within), within


def rewrite(parent: Path, output: Path) -> float:
    """Write `parent`, an artefact of ml.train, with its last layer softened, as a whole artefact; `within`.

    The layers below stay to the byte. The test images are scored by what will serve, and have no say. Raises
    ml.artifact.BadArtifact, ValueError where the parent does not say what its training held out.
    """
    artifact.verify(parent)
    config, metrics = artifact.read_json(parent, "config.json"), artifact.read_json(parent, "metrics.json")
    held_out = exams.of_validation(metrics["dataset"], parent)
    old = artifact.load_head(parent)
    features = artifact.features_of(parent, cast(npt.NDArray[np.uint8], held_out.images))
    seen = artifact.FeatureSet(features, held_out.labels.astype(np.uint8))
    new, within = soften(old, artifact.emnist_reference(parent), seen)
    with artifact.made_whole(output) as aside:
        put_into(aside, parent, old, new)
        for name, exam in (("test", exams.of_dataset(metrics["dataset"])), ("validation", held_out)):
            metrics[name] = evaluate(exam.answers(aside), exam.labels)
        artifact.dump(aside / "config.json", config | {"within_pairs": within})
        artifact.dump(aside / "metrics.json", metrics)
        (aside / "card.md").write_text(artifact.card(artifact.how_trained(config["train"]), metrics))
    return within


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m ml.pairs", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("artefact", type=Path)
    parser.add_argument("output", type=Path)
    parsed = parser.parse_args(arguments)
    print(f"within the pairs {rewrite(parsed.artefact, parsed.output):.3f} of the difference is left")


if __name__ == "__main__":
    main()
