"""Whether how large a letter was drawn, and where, would help to read it: the image that the model sees has lost both.

    python -m benchmarks.size FILE [ARTEFACT]      FILE of the form of benchmarks.loop's, with all letters of a writer

First, for pairs of letters, how often one of the first is the higher, of all pairs of one and one: half is chance. By
itself, and as a share of what its writer's letters have at the median, which a site cannot know of a visitor. Then what
the model reads with that: to the logarithm of its probabilities that of a normal distribution of each letter's height,
or of where its top and bottom are, is added, times a weight. It is fitted to the other writers, for each in turn.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from benchmarks.people import Letter, read_letters
from ml.artifact import SHIPPED
from ml.exams import predict_all
from ml.labels import CLASS_COUNT, class_of, index_of
from ml.predictor import Predictor

ASKED = ("Ff", "Il", "LI", "gq", "Gg", "Tt", "Ee", "Nn", "Rr", "Cc", "Oo", "Ss")
WEIGHTS = (0.1, 0.25, 0.5, 1.0)
HEIGHT, ENDS = [0], [1, 2]
TINY = 1e-9  # a probability is at least that much

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Written:
    """Of N letters: which, by whom, and their classes."""

    characters: npt.NDArray[np.str_]
    writers: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]

    @classmethod
    def of(cls, letters: list[Letter]) -> Written:
        """As a file has them."""
        each = ((letter.character, letter.writer, letter.label) for letter in letters)
        return cls(*map(np.array, zip(*each, strict=True)))


def extents(letters: list[Letter]) -> Floats:
    """Height, top and bottom (N, 3) of the strokes, as they were drawn."""
    ys = [[point[1] for stroke in letter.strokes for point in stroke] for letter in letters]
    return np.array([(max(each) - min(each), min(each), max(each)) for each in ys], float)


def by_own_measure(drawn: Floats, writers: npt.NDArray[np.str_]) -> Floats:
    """The same from the median of the writer's letters, in heights of the median one."""
    measured = drawn.copy()
    for writer in np.unique(writers):
        own = drawn[writers == writer]
        measured[writers == writer] = (own - np.median(own, axis=0)) / np.median(own[:, 0])
    return measured


def share_higher(some: Floats, others: Floats) -> float:
    """How often one of `some` is larger than one of `others`; ties count half."""
    return float(((some[:, None] > others).mean() + (some[:, None] >= others).mean()) / 2)


def likelihood(known: Floats, characters: npt.NDArray[np.str_], asked: Floats) -> Floats:
    """(N, 37): how the logarithm of the density of each class is at what is `asked`; a letter is like its own kind.

    One variance for all letters; a class of two letters is both of them, half and half.
    """
    kinds = np.unique(characters)
    variance = np.mean([known[characters == kind].var(axis=0) for kind in kinds], axis=0)
    found = np.full((len(asked), CLASS_COUNT), -np.inf)
    for index in range(CLASS_COUNT):
        own = [kind for kind in kinds if index_of(class_of(str(kind))) == index]
        each = [-((asked - known[characters == kind].mean(axis=0)) ** 2 / variance).sum(axis=1) / 2 for kind in own]
        if each:
            found[:, index] = logsumexp(each, axis=0) - np.log(len(own))
    return found


def print_who_is_higher(characters: npt.NDArray[np.str_], measures: dict[str, Floats]) -> None:
    """A table of the pairs that are asked for."""
    print(f"| the first is the higher | {' | '.join(measures)} |\n|---|---|---|")
    for pair in ASKED:
        first, second = (characters == letter for letter in pair)
        shares = [share_higher(each[first, 0], each[second, 0]) for each in measures.values()]
        print(f"| {', '.join(pair)} | {' | '.join(f'{share:.2f}' for share in shares)} |")


def print_what_is_gained(read: Floats, people: Written, measures: dict[str, Floats]) -> None:
    """A table of the letters that `read`, probabilities (N, 37), and a measure together get right and wrong."""
    before = read.argmax(axis=1) == people.labels
    print(f"\nright of {len(before)}: {before.sum()}\n")
    print("| with | weight | right | gained | lost |\n|---|---|---|---|---|")
    for name, measured in measures.items():
        for words, columns in (("height", HEIGHT), ("top and bottom", ENDS)):
            added = said_by_others(people, measured[:, columns])
            for weight in WEIGHTS:
                after = (np.log(read + TINY) + weight * added).argmax(axis=1) == people.labels
                gained, lost = (after & ~before).sum(), (before & ~after).sum()
                print(f"| {words}, {name} | {weight} | {after.sum()} | {gained} | {lost} |")


def said_by_others(people: Written, measured: Floats) -> Floats:
    """(N, 37): `likelihood` of each letter's measure (N, M), by the letters of all writers but its own."""
    found = np.empty((len(measured), CLASS_COUNT))
    for writer in np.unique(people.writers):
        one, rest = people.writers == writer, people.writers != writer
        found[one] = likelihood(measured[rest], people.characters[rest], measured[one])
    return found


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.size", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("artefact", type=Path, nargs="?", default=SHIPPED)
    parsed = parser.parse_args(arguments)
    letters = read_letters(parsed.file)
    people = Written.of(letters)
    drawn = extents(letters)
    measures = {"as drawn": drawn, "by the writer's own": by_own_measure(drawn, people.writers)}
    print_who_is_higher(people.characters, measures)
    read = predict_all(Predictor(parsed.artefact), [letter.image for letter in letters])
    print_what_is_gained(read.astype(float), people, measures)


if __name__ == "__main__":
    main()
