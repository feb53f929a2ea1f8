"""Whether a drawing looks like the letters that a model knows, by how near the nearest of them is.

    python -m ml.familiarity ARTEFACT                   what share of letters, digits and scribbles it does not know
    python -m ml.familiarity ARTEFACT --strokes FILE    and of letters drawn on a screen, JSON lines of drawings
    ... --json                                          the same as JSON

The strangeness of features is their distance to those of the nearest reference letter, as a share of their own length:
Sun, Ming, Zhu, Li, "Out-of-distribution detection with deep nearest neighbors", arXiv:2204.06507. It is judged by that
of validation letters, which no training saw: the share of these that are at least as strange is the score, and below
REFUSED a drawing is not known. docs/familiarity.md has what else was tried. NumPy, and LiteRT for the command.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml import artifact, scribbles

if TYPE_CHECKING:
    from ml.predictor import Predictor

Floats = npt.NDArray[np.floating[Any]]
Images = npt.NDArray[np.uint8]

REFUSED = 0.05  # share of letters that may be taken for none
STEPS = 101  # quantiles that are kept of the validation letters' strangeness
ITSELF = 0.005  # less strange than this to the reference is a letter that is in it
SEEN = 1.16  # how much stranger letters are that no training saw; measured on the shipped model
SAMPLED = 512  # reference letters by which an artefact without a measure of its own is judged
TAUGHT_BY = 10  # drawings alike that make what was strange before known
COMPARED = 4_000  # strange drawings that are compared with each other, the first of them
BLOCK = 1 << 22  # distances that are held at once
JUDGED, JUDGED_SEED = 50, 2  # scribbles of each kind in an artefact's metrics, and their seed


@dataclass(frozen=True)
class Known:
    """What is usual among letters: `quantiles` (101,) of the strangeness of validation letters, ascending.

    `taught` (K, D): directions of features that collected drawings taught beside the reference, of length 1.
    """

    quantiles: Floats
    taught: Floats

    @property
    def threshold(self) -> float:
        """The strangeness above which a drawing is not known."""
        return float(np.interp(1 - REFUSED, np.linspace(0, 1, len(self.quantiles)), self.quantiles))

    def strangeness(self, features: Floats, nearest: Floats) -> Floats:
        """(N,) of features (N, D) whose nearest reference letters are `nearest` (N,) away; 0 and above."""
        lengths = np.maximum(np.linalg.norm(features, axis=1), 1e-9)
        strange: Floats = nearest / lengths
        if not len(self.taught):
            return strange
        alike = np.clip((features @ self.taught.T).max(axis=1) / lengths, -1, 1)
        nearer: Floats = np.minimum(strange, np.sqrt(2 - 2 * alike))
        return nearer

    def scores(self, strange: Floats) -> Floats:
        """(N,), 0 to 1: the share of validation letters that are at least as strange."""
        found: Floats = 1 - np.interp(strange, self.quantiles, np.linspace(0, 1, len(self.quantiles)))
        return found

    def judge(self, features: Floats, nearest: float) -> tuple[float, bool]:
        """Score of one drawing's features (D,), and whether it is known, by the distance of its nearest letter."""
        strange = self.strangeness(features[None], np.array([nearest]))
        return float(self.scores(strange)[0]), bool(strange[0] <= self.threshold)

    def values(self) -> dict[str, Any]:
        """Fit for JSON, and for `known_from`."""
        return {
            "refused": REFUSED,
            "threshold": round(self.threshold, 5),
            "quantiles": np.round(self.quantiles, 5).tolist(),
            "taught": np.round(self.taught, 4).tolist(),
        }


def known_from(values: dict[str, Any]) -> Known:
    """What `Known.values` gave. Raises ValueError for what it cannot have given."""
    try:
        quantiles = np.asarray(values["quantiles"], np.float64)
        taught = np.asarray(values["taught"], np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"familiarity has no quantiles, or no taught directions ({error!r})") from error
    if quantiles.shape != (STEPS,) or not np.isfinite(quantiles).all():
        raise ValueError(f"familiarity needs {STEPS} finite quantiles, not {quantiles.shape}")
    if quantiles[0] < 0 or (np.diff(quantiles) < 0).any():
        raise ValueError("the quantiles of familiarity begin below 0, or do not ascend")
    if taught.size and (taught.ndim != 2 or not np.allclose(np.linalg.norm(taught, axis=1), 1, atol=0.01)):
        raise ValueError("the taught directions of familiarity are not of length 1")
    return Known(quantiles, taught)


def load(folder: Path) -> Known:
    """Of an artefact. Raises ml.artifact.BadArtifact for numbers that cannot be.

    Of one that was made before there was a measure: by how near reference letters, which training saw, lie to others.
    """
    values = artifact.read_json(folder, "config.json").get("familiarity")
    if values is None:
        reference = artifact.emnist_reference(folder).features
        sample = reference[:: max(1, len(reference) // SAMPLED)]
        return Known(SEEN * _quantiles(strangeness(sample, reference)), _nothing(reference))
    try:
        return known_from(values)
    except (ValueError, AttributeError) as error:
        raise artifact.BadArtifact(f"{folder}: {error}") from error


def strangeness(features: Floats, reference: Floats) -> Floats:
    """(N,) of features (N, D) beside those of reference letters (M, D). A letter of the reference is not its own
    neighbour."""
    squares = np.einsum("md,md->m", reference, reference)
    lengths = np.maximum(np.linalg.norm(features, axis=1), 1e-9)
    found = np.empty(len(features))
    rows = max(1, BLOCK // len(reference))
    for first in range(0, len(features), rows):
        part = features[first : first + rows]
        away = squares - 2 * part @ reference.T
        two = np.argpartition(away, min(1, len(reference) - 1), axis=1)[:, :2]
        exact = np.sort(np.linalg.norm(reference[two] - part[:, None], axis=2), axis=1)  # squares cancel where close
        exact /= lengths[first : first + rows, None]
        found[first : first + rows] = np.where(exact[:, 0] < ITSELF, exact[:, -1], exact[:, 0])
    return found


def calibrate(validation: Floats, reference: Floats) -> Known:
    """What is usual, by features of letters that no training saw (N, D) beside those of the reference (M, D).

    Validation letters are in the reference too, which is drawn from all; there they are not their own neighbours.
    """
    return Known(_quantiles(strangeness(validation, reference)), _nothing(reference))


def learn(known: Known, features: Floats, weights: Floats, reference: Floats) -> Known:
    """Known as well: what many of the collected drawings' features (N, D) are like, while each alone would be strange.

    Their mean direction is kept where at least TAUGHT_BY that count (`weights` (N,) above 0) lie as near to one of them
    as a letter that is known does to its neighbour. What was taught before goes, or comes again from these drawings.
    """
    fresh = replace(known, taught=_nothing(reference))
    strange = strangeness(features, reference) > known.threshold
    left = _directions(features[strange & (weights > 0)][:COMPARED])
    taught = []
    while len(left) >= TAUGHT_BY:
        alike = left @ left.T > 1 - known.threshold**2 / 2
        members = alike[alike.sum(axis=1).argmax()]
        if members.sum() < TAUGHT_BY:
            break
        taught.append(_directions(left[members].mean(axis=0, keepdims=True))[0])
        left = left[~members]
    return replace(fresh, taught=np.array(taught, np.float32)) if taught else fresh


def _quantiles(strange: Floats) -> Floats:
    found: Floats = np.quantile(strange, np.linspace(0, 1, STEPS))
    return found


def _directions(features: Floats) -> Floats:
    directions: Floats = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    return directions


def _nothing(reference: Floats) -> Floats:
    return np.empty((0, reference.shape[1]), np.float32)


# --- Judge -----------------------------------------------------------------------------------------------------------


def auroc(letters: Floats, others: Floats) -> float:
    """The share of pairs in which the other (M,) is stranger than the letter (N,); half a pair where they are equal.

    The area under the receiver operating characteristic, by ranks: Hanley and McNeil, Radiology 143, 1982.
    """
    ordered = np.sort(letters)
    below, upto = (np.searchsorted(ordered, others, side) for side in ("left", "right"))
    return float((below + upto).mean() / 2 / len(letters))


@dataclass(frozen=True)
class Judge:
    """How strange images are to a model."""

    predictor: Predictor
    known: Known
    reference: Floats

    def features(self, images: Images) -> Floats:
        """(N, D) of images (N, 28, 28)."""
        return np.stack([self.predictor.predict(image).features for image in images])

    def strangeness(self, features: Floats) -> Floats:
        """(N,) of features (N, D), whatever was taught included."""
        lengths = np.linalg.norm(features, axis=1)
        return self.known.strangeness(features, strangeness(features, self.reference) * lengths)

    def refused(self, strange: Floats) -> float:
        """The share that is not known."""
        return float((strange > self.known.threshold).mean())

    def scribbles(self, letters: Floats, each: int, seed: int) -> dict[str, Any]:
        """Letters of this strangeness (N,) beside `each` scribbles of every kind that the score was not chosen by."""
        found = {
            kind: self.strangeness(self.features(scribbles.images(kind, each, seed))) for kind in scribbles.JUDGED_ON
        }
        return {
            "threshold": round(self.known.threshold, 5),
            "letters_refused": self.refused(letters),
            "auroc_scribbles": auroc(letters, np.concatenate(list(found.values()))),
            "scribbles_refused": float(np.mean([self.refused(each) for each in found.values()])),
            "kinds": {kind: self.refused(strange) for kind, strange in found.items()},
        }


def judged(predictor: Predictor, known: Known, reference: Floats, test: Floats) -> dict[str, Any]:
    """The block `familiarity` of an artefact's metrics, by the features (N, D) of its test letters."""
    judge = Judge(predictor, known, reference)
    return judge.scribbles(judge.strangeness(test), JUDGED, JUDGED_SEED)


def measure(folder: Path, strokes: Path | None, each: int, seed: int) -> dict[str, Any]:
    """What the command prints."""
    from ml.predictor import Predictor

    judge = Judge(Predictor(folder), load(folder), artifact.emnist_reference(folder).features)
    letters = judge.strangeness(artifact.emnist_test(folder).features)
    result = judge.scribbles(letters, each, seed)
    if strokes:
        result |= _drawn(judge, strokes)
    return result | _digits(judge, letters)


def _drawn(judge: Judge, strokes: Path) -> dict[str, Any]:
    from ml.exams import read_drawings

    with strokes.open(encoding="utf-8") as lines:
        images, labels = zip(*read_drawings(lines), strict=True)
    read = [judge.predictor.predict(image) for image in images]
    strange = judge.strangeness(np.stack([each.features for each in read]))
    right = np.array([each.probabilities.argmax() for each in read]) == np.array(labels)
    return {
        "drawn_refused": judge.refused(strange),
        "drawn_refused_of_right": judge.refused(strange[right]),
        "drawn_refused_of_wrong": judge.refused(strange[~right]) if (~right).any() else None,
    }


def _digits(judge: Judge, letters: Floats) -> dict[str, Any]:
    """Each digit apart: 0 is an O, 1 an I, and 2, 5 and 9 are much like Z, S and g."""
    from ml import emnist  # only here: the package brings a network client along

    if not emnist.archive_path().is_file() or "opendigits" not in emnist.datasets():
        return {}  # a download would be large, and the official archive has its digits elsewhere
    digits = emnist.load_digits("opendigits", "test")
    strange = judge.strangeness(judge.features(digits.images))
    unlike = np.isin(digits.labels, (3, 4, 6, 7, 8))
    return {
        "auroc_digits": auroc(letters, strange[unlike]),
        "digits": {str(digit): judge.refused(strange[digits.labels == digit]) for digit in range(10)},
    }


def report(result: dict[str, Any]) -> str:
    """What `measure` found, as text for people."""
    shares = {
        "letters on paper": result["letters_refused"],
        "letters drawn on a screen": result.get("drawn_refused"),
        "  those read right": result.get("drawn_refused_of_right"),
        "  those read wrong": result.get("drawn_refused_of_wrong"),
        "scribbles": result["scribbles_refused"],
        **{f"  {kind}": share for kind, share in result["kinds"].items()},
        **{f"  digit {digit}": share for digit, share in result.get("digits", {}).items()},
    }
    lines = [f"{name:<28}{share:7.1%}" for name, share in shares.items() if share is not None]
    areas = f"AUROC {result['auroc_scribbles']:.4f} on scribbles"
    if "auroc_digits" in result:
        areas += f", {result['auroc_digits']:.4f} on the digits 3 4 6 7 8"
    return "\n".join([f"not known, of            strangeness above {result['threshold']:.3f}", *lines, areas])


def main(arguments: list[str] | None = None) -> int:
    """Print what was measured; 1 where the model or the letters cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m ml.familiarity", description=__doc__.partition("\n")[0])
    parser.add_argument("artefact", type=Path, help="its folder")
    parser.add_argument("--strokes", type=Path, help="JSON lines of drawings with their character")
    parser.add_argument("--each", type=int, default=200, help="scribbles of each kind")
    parser.add_argument("--seed", type=int, default=JUDGED_SEED, help="of the scribbles")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(arguments)
    try:
        result = measure(parsed.artefact, parsed.strokes, parsed.each, parsed.seed)
    except Exception as error:  # a command line answers in words, whatever went wrong
        print(f"python -m ml.familiarity: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=1) if parsed.json else report(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
