"""What a retraining and the gate make of contributors, honest or not, on features alone: seconds, and no image.

The test letters of an artefact are dealt out to contributors and to holdouts. All who contribute write in one made
style, a shift of the features that costs the champion some points, so that there is something to learn from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml import artifact, gate
from ml.artifact import FeatureSet
from ml.evaluate import accuracy
from ml.head import Collected, Head, HeadConfig, contributor_weights, refit
from ml.labels import CLASS_COUNT, index_of

Labels = npt.NDArray[np.uint8]
Random = np.random.Generator


@dataclass(frozen=True)
class Contributions:
    """Approved drawings as they come: features (N, 128), the labels given (N,), and who gave each (N,)."""

    letters: FeatureSet
    contributors: npt.NDArray[np.intp]


@dataclass(frozen=True)
class Stage:
    """Where a simulation plays: what is contributed, what the gate judges by, and what it never sees (`clean`)."""

    contributed: Contributions
    emnist: FeatureSet
    collected: FeatureSet
    clean_emnist: FeatureSet
    clean_collected: FeatureSet


@dataclass(frozen=True)
class Outcome:
    """The verdict, and the accuracy (0 to 1) of the champion before and after it on letters that the gate never saw."""

    verdict: gate.Verdict
    emnist_before: float
    emnist_after: float
    collected_before: float
    collected_after: float


Deed = Callable[[Contributions, Random], Contributions]


def set_stage(parent: Path, seed: int = 0, drawings: int = 800, people: int = 15, style: float = 2.0) -> Stage:
    """Deal out an artefact's test letters. `style`: how far the contributors' hand is from EMNIST's.

    Contributors write letters that the champion would read in a plain hand: which of I and l an EMNIST letter was meant
    as nobody could tell, and learning that would be learning by heart.
    """
    random = np.random.default_rng([seed, 7])
    letters = artifact.emnist_test(parent)
    clear = artifact.load_head(parent).probabilities(letters.features).argmax(axis=1) == letters.labels
    halves = np.array_split(random.permutation(len(letters)), 2)
    theirs = halves[0][clear[halves[0]]]
    shift = random.normal(size=letters.features.shape[1]) * letters.features.std() * style

    def styled(rows: npt.NDArray[np.intp]) -> FeatureSet:
        return FeatureSet(
            np.maximum(letters.features[rows] + shift, 0).astype(np.float32),
            letters.labels[rows],
        )

    def plain(rows: npt.NDArray[np.intp]) -> FeatureSet:
        return FeatureSet(letters.features[rows], letters.labels[rows])

    given = Contributions(styled(theirs[:drawings]), random.integers(people, size=len(theirs[:drawings])))
    judged, seen_by_nobody = np.array_split(theirs[drawings:], 2)
    emnist, clean = np.array_split(halves[1], 2)
    return Stage(given, plain(emnist), styled(judged), plain(clean), styled(seen_by_nobody))


def honest(given: Contributions, random: Random) -> Contributions:
    """Each labels as it is."""
    return given


def flipped(share: float) -> Deed:
    """A share of the labels is another one, at random."""

    def deed(given: Contributions, random: Random) -> Contributions:
        labels = given.letters.labels.copy()
        wrong = np.flatnonzero(random.random(len(labels)) < share)
        labels[wrong] = (labels[wrong] + random.integers(1, CLASS_COUNT, len(wrong))) % CLASS_COUNT
        return replace(given, letters=replace(given.letters, labels=labels))

    return deed


def flooding(times: int, label: str = "O") -> Deed:
    """One more contributor sends everybody's letters so many times over, and calls them all by one label."""

    def deed(given: Contributions, random: Random) -> Contributions:
        count = len(given.letters) * times
        features = np.concatenate([given.letters.features, *[given.letters.features] * times])
        labels = np.concatenate([given.letters.labels, np.full(count, index_of(label), np.uint8)])
        who = np.concatenate([given.contributors, np.full(count, given.contributors.max() + 1)])
        return Contributions(FeatureSet(features, labels), who)

    return deed


def renamed(label: str, to: str) -> Deed:
    """All call the letters of one class by the name of another."""

    def deed(given: Contributions, random: Random) -> Contributions:
        labels = np.where(given.letters.labels == index_of(label), index_of(to), given.letters.labels)
        return replace(given, letters=replace(given.letters, labels=labels.astype(np.uint8)))

    return deed


SCENES: dict[str, Deed] = {
    "honest": honest,
    "5 % of the labels flipped": flipped(0.05),
    "20 % of the labels flipped": flipped(0.2),
    "50 % of the labels flipped": flipped(0.5),
    "one contributor floods": flooding(5),
    "a class renamed": renamed("Z", "E"),
}


def play(
    parent: Path,
    deed: Deed,
    stage: Stage,
    limits: gate.Limits | None = None,
    config: HeadConfig | None = None,
    share: float = 0.2,
    seed: int = 0,
) -> Outcome:
    """Retrain the head of `parent` on what was contributed after the deed, judge it, and see what then serves."""
    config = config or HeadConfig()
    given = deed(stage.contributed, np.random.default_rng([seed, 8]))
    weights = contributor_weights(
        given.letters.labels,
        given.contributors.tolist(),
        config.replay_per_class,
        config.collected_weight,
        share,
    )
    images = np.empty((0, 28, 28), np.uint8)
    candidate = refit(parent, Collected(images, given.letters.labels, weights, given.letters.features), config, seed)
    champion = artifact.load_head(parent)
    verdict = gate.judge_answers(
        _answers(champion, candidate.head, stage.emnist),
        _answers(champion, candidate.head, stage.collected),
        limits or gate.Limits(),
    )
    serving = candidate.head if verdict.passed else champion
    return Outcome(
        verdict,
        _accuracy(champion, stage.clean_emnist),
        _accuracy(serving, stage.clean_emnist),
        _accuracy(champion, stage.clean_collected),
        _accuracy(serving, stage.clean_collected),
    )


def _answers(champion: Head, candidate: Head, letters: FeatureSet) -> gate.Answers:
    return gate.Answers(
        champion.probabilities(letters.features), candidate.probabilities(letters.features), letters.labels
    )


def _accuracy(head: Head, letters: FeatureSet) -> float:
    return accuracy(head.probabilities(letters.features), letters.labels)
