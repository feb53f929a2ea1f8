"""Ways to tell what is no letter, each at the threshold where 5 % of validation letters are refused.

    python -m benchmarks.familiarity ml/shipped             on the scribbles that a way is chosen by
    python -m benchmarks.familiarity ml/shipped --judge     on those it is judged by
    python -m benchmarks.familiarity ml/shipped --taught    what drawings in a new style teach: refused before, after

To choose: validation letters cut from the training images, kinds and seed of scribbles of their own, and the even
digits of `opendigits` by their place. To judge: the test letters, the other kinds and another seed, the odd ones.
Letters drawn on a screen (LETTERLOOP_STROKES) are shown beside both and choose nothing.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.styles import STYLES
from benchmarks.styles import letters as styled
from ml import artifact, emnist, scribbles
from ml.exams import read_drawings
from ml.familiarity import ITSELF, REFUSED, Judge, auroc, learn, load
from ml.predictor import Predictor
from ml.preprocess import image_from_strokes
from ml.train import split_validation

SEEDS = {"choose": 1, "judge": 2}
COUNT = 20  # nearest letters that are looked up


class Read:
    """Features (N, 128) and probabilities (N, 37) of images, and their nearest reference letters' distances."""

    def __init__(self, predictor: Predictor, images: np.ndarray, reference: np.ndarray) -> None:
        read = [predictor.predict(image) for image in images]
        self.features = np.stack([each.features for each in read])
        self.probabilities = np.stack([each.probabilities for each in read])
        self.lengths = np.linalg.norm(self.features, axis=1)
        self.near = nearest(self.features, reference)
        self.near_turned = nearest(unit(self.features), unit(reference))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Each row at the length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def nearest(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Distances (N, 20) to the nearest of the reference, without itself."""
    squares, found = (reference**2).sum(axis=1), []
    for part in np.array_split(features, max(1, len(features) // 200)):
        least = np.argpartition(squares - 2 * part @ reference.T, COUNT, axis=1)[:, : COUNT + 1]
        exact = np.sort(np.linalg.norm(reference[least] - part[:, None], axis=2), axis=1)
        itself = exact[:, 0] < ITSELF * np.linalg.norm(part, axis=1)
        found.append(np.where(itself[:, None], exact[:, 1:], exact[:, :-1]))
    return np.concatenate(found)


def mahalanobis(reference: artifact.FeatureSet) -> Callable[[Read], np.ndarray]:
    """To the nearest class mean, by the covariance within classes: Lee et al., arXiv:1807.03888."""
    means = np.stack([reference.features[reference.labels == each].mean(axis=0) for each in range(37)])
    within = reference.features - means[reference.labels]
    precision = np.linalg.inv(within.T @ within / len(within) + 1e-3 * np.eye(within.shape[1]))

    def score(read: Read) -> np.ndarray:
        away = read.features[:, None] - means
        return np.sqrt(np.einsum("ncd,de,nce->nc", away, precision, away, optimize=True).min(axis=1))

    return score


def ways(reference: artifact.FeatureSet, head: artifact.Head, usual: Read) -> dict[str, Callable[[Read], np.ndarray]]:
    """By name: the larger, the stranger. `usual`: the letters by which two scores are brought to one scale."""

    def energy(read: Read) -> np.ndarray:
        """Liu, Wang, Owens, Li, "Energy-based out-of-distribution detection", arXiv:2010.03759."""
        return -np.logaddexp.reduce(read.features @ head.kernel + head.bias, axis=1)

    def both(one: Callable[[Read], np.ndarray], other: Callable[[Read], np.ndarray], share: float):
        def scaled(way: Callable[[Read], np.ndarray], read: Read) -> np.ndarray:
            return (way(read) - way(usual).mean()) / way(usual).std()

        return lambda read: scaled(one, read) + share * scaled(other, read)

    found = {
        "maximum probability": lambda read: -read.probabilities.max(axis=1),
        "energy": energy,
        "Mahalanobis": mahalanobis(reference),
    }
    for count in (1, 2, 5, 20):
        found[f"distance to number {count}"] = lambda read, at=count - 1: read.near[:, at]
        found[f"the same, normalised, {count}"] = lambda read, at=count - 1: read.near_turned[:, at]
    chosen = found["distance / own length"] = lambda read: read.near[:, 0] / read.lengths
    found["... + 1/4 energy"] = both(chosen, energy, 0.25)
    found["... + 1/4 maximum probability"] = both(chosen, found["maximum probability"], 0.25)
    found["... + 1/4 Mahalanobis"] = both(chosen, found["Mahalanobis"], 0.25)
    return found


def print_taught(predictor: Predictor, folder: Path, reference: np.ndarray) -> None:
    """60 drawings of a made style by five hands teach, 60 by five others are asked; and so are all scribbles."""
    known = load(folder)

    def features(images: list[np.ndarray]) -> np.ndarray:
        return np.stack([predictor.predict(image).features for image in images])

    noise = features([image for kind in scribbles.KINDS for image in scribbles.images(kind, 40, SEEDS["judge"])])
    print("| style | refused before | after | scribbles before | after |\n|---|---|---|---|---|")
    for style in STYLES:
        shown, asked = (
            features([image_from_strokes(each["strokes"]) for each in styled(60, 5, seed, [style])]) for seed in (1, 2)
        )
        after = learn(known, shown, np.ones(len(shown)), reference)
        judges = [Judge(predictor, each, reference) for each in (known, after)]
        shares = [each.refused(each.strangeness(of)) for of in (asked, noise) for each in judges]
        print(f"| {style} | " + " | ".join(f"{100 * share:.1f} %" for share in shares) + " |")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.familiarity", description=__doc__.partition("\n")[0])
    parser.add_argument("artefact", type=Path)
    parser.add_argument("--judge", action="store_true", help="on what chose nothing")
    parser.add_argument("--taught", action="store_true", help="what drawings teach")
    parser.add_argument("--each", type=int, default=200, help="scribbles of each kind")
    parsed = parser.parse_args()
    part = "judge" if parsed.judge else "choose"
    predictor, reference = Predictor(parsed.artefact), artifact.emnist_reference(parsed.artefact)
    if parsed.taught:
        print_taught(predictor, parsed.artefact, reference.features)
        return

    def read(images: np.ndarray) -> Read:
        return Read(predictor, images, reference.features)

    settings = artifact.read_json(parsed.artefact, "config.json")["train"]
    train = emnist.load_letters(settings["dataset"], "train")
    validation = read(split_validation(train, settings["validation_per_class"], settings["seed"])[1].images)
    letters = read(emnist.load_letters(settings["dataset"], "test").images) if parsed.judge else validation
    kinds = scribbles.JUDGED_ON if parsed.judge else scribbles.CHOSEN_ON
    drawn = {kind: read(scribbles.images(kind, parsed.each, SEEDS[part])) for kind in kinds}
    digits = emnist.load_digits("opendigits", "test")
    half = slice(int(parsed.judge), None, 2)
    counted = {digit: read(digits.images[half][digits.labels[half] == digit]) for digit in range(10)}
    strokes = os.environ.get("LETTERLOOP_STROKES")
    screen = None
    if strokes:
        with open(strokes, encoding="utf-8") as lines:
            screen = read(np.stack([image for image, _ in read_drawings(lines)]))

    names = ["AUROC", "refused", *kinds, *(f"digit {digit}" for digit in counted), "letters", "on a screen"]
    print("| score | " + " | ".join(names) + " |\n|---" + "|---" * len(names) + "|")
    for name, way in ways(reference, artifact.load_head(parsed.artefact), validation).items():
        threshold = np.quantile(way(validation), 1 - REFUSED)
        strange = [way(each) for each in drawn.values()]
        shares = [(each > threshold).mean() for each in strange]
        beside = [*counted.values(), letters, *([screen] if screen else [])]
        others = [(way(each) > threshold).mean() for each in beside]
        area = auroc(way(letters), np.concatenate(strange))
        row = [f"{100 * share:.0f}" for share in (*shares, *others[:10])]
        row += [f"{100 * share:.1f}" for share in others[10:]]
        print(f"| {name} | {area:.4f} | {100 * np.mean(shares):.1f} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
