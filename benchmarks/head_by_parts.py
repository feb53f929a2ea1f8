"""What a refitted last layer learns from people, judged on others of them: in parts, each read by a fit to the rest.

    python -m benchmarks.head_by_parts FILE ARTEFACT [ARTEFACT ...]      FILE of the form of benchmarks.loop's

For choosing a network or a setting of ml.head without asking those who judge in the end. Writers are dealt into parts
in the order of the file, and nobody is read by a fit that saw a letter of his. What the fit costs is asked of the
letters that the artefact's training held out (EMNIST_ARCHIVE names the archive); the test is never read here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.calibration import surprise
from benchmarks.people import read_letters
from ml import artifact, exams
from ml.head import Collected, Head, HeadConfig, refit


def by_parts(folder: Path, drawn: Collected, part: np.ndarray) -> tuple[np.ndarray, list[Head]]:
    """Probabilities (N, 37) of all drawings, each by the head that was fitted without its part; and those heads."""
    config, read, heads = HeadConfig(), np.empty((len(drawn), 37), np.float32), []
    assert drawn.features is not None
    for asked in np.unique(part):
        rest = part != asked
        weights = np.full(int(rest.sum()), config.collected_weight, np.float32)
        learned = Collected(drawn.images[rest], drawn.labels[rest], weights, drawn.features[rest])
        heads.append(refit(folder, learned, config, seed=0).head)
        read[~rest] = heads[-1].probabilities(drawn.features[~rest])
    return read, heads


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.head_by_parts", description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("artefacts", type=Path, nargs="+", metavar="artefact")
    parser.add_argument("--parts", type=int, default=5)
    parsed = parser.parse_args(arguments)
    letters = read_letters(parsed.file)
    writers = list(dict.fromkeys(letter.writer for letter in letters))
    part = np.array([writers.index(letter.writer) % parsed.parts for letter in letters])
    images = np.stack([letter.image for letter in letters])
    labels = np.array([letter.label for letter in letters], np.uint8)
    print("| artefact | right before | after | surprise before | after | validation before | after |")
    print("|---|---|---|---|---|---|---|")
    for folder in parsed.artefacts:
        features = artifact.features_of(folder, images)
        drawn = Collected(images, labels, np.ones(len(labels), np.float32), features)
        serving = artifact.load_head(folder)
        before = serving.probabilities(features)
        after, heads = by_parts(folder, drawn, part)
        right = [int((read.argmax(axis=1) == labels).sum()) for read in (before, after)]
        held_out = exams.of_validation(artifact.read_json(folder, "metrics.json")["dataset"], folder)
        seen = artifact.features_of(folder, np.asarray(held_out.images, np.uint8))
        emnist = [
            np.mean([(head.probabilities(seen).argmax(axis=1) == held_out.labels).mean() for head in each])
            for each in ([serving], heads)
        ]
        surprises = f"{surprise(before, labels):.3f} | {surprise(after, labels):.3f}"
        print(
            f"| {folder} | {right[0]} of {len(labels)} | {right[1]} | {surprises} | {emnist[0]:.2%} | {emnist[1]:.2%} |"
        )


if __name__ == "__main__":
    main()
