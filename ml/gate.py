"""The verdict between the model that serves, the champion, and one that would replace it, the candidate.

Both answer the same images: the EMNIST test, from the features that each artefact carries, and the collected holdout,
reviewed drawings of contributors who are never trained on, by LiteRT. Nothing here promotes. See docs/gate.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from ml import artifact
from ml.calibration import binned_error, calibration_error
from ml.labels import CLASS_COUNT, CLASSES
from ml.paired import lost_by_chance, two_sided

LARGE_CLASS = 100  # a class with fewer images can lose some points by chance: its loss has to be more than that
RESAMPLES = 400  # of the images, to see how far calibration moves by chance

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Test = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """What a candidate may cost."""

    significance: float = 0.05  # a loss that chance brings about less often than this is a loss
    class_loss: float = 5.0  # percentage points of a class's recall
    holdout_minimum: int = 100  # with fewer collected drawings to judge by, they are too few to say
    calibration_loss: float = 2.0  # percentage points of the expected calibration error
    emnist_loss: float = 0.2  # percentage points on EMNIST while the collected drawings are too few to say


@dataclass(frozen=True)
class Holdout:
    """Reviewed drawings of contributors who are never trained on: images (N, 28, 28) uint8, labels (N,) uint8."""

    images: npt.NDArray[np.uint8]
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Answers:
    """What both models answered to one set of images: probabilities (N, 37) each, and the labels (N,)."""

    champion: Floats
    candidate: Floats
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def champion_right(self) -> Bools:
        """Which images the champion reads right, (N,)."""
        right: Bools = self.champion.argmax(axis=1) == self.labels
        return right

    @property
    def candidate_right(self) -> Bools:
        """The same of the candidate."""
        right: Bools = self.candidate.argmax(axis=1) == self.labels
        return right


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate may serve: `tests` in full, `reasons` why not (none when it passed)."""

    passed: bool
    summary: str
    reasons: list[str]
    tests: list[Test]

    def to_json(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {"passed": self.passed, "summary": self.summary, "reasons": self.reasons, "tests": self.tests}


def judge(champion: Path, candidate: Path, holdout: Holdout, limits: Limits) -> Verdict:
    """Compare two artefacts on the EMNIST test and on the collected holdout.

    Each is asked with its own trunk's features. Raises ValueError where there is no test that both can take.
    """
    with threadpool_limits(1, "blas"):  # threads that wait for each other took a minute on a busy machine
        emnist = emnist_answers(champion, candidate)
        collected = holdout_answers(champion, candidate, holdout)
    return judge_answers(emnist, collected, limits)


def judge_answers(emnist: Answers, collected: Answers, limits: Limits) -> Verdict:
    """The verdict on answers that are already there."""
    few = len(collected) < limits.holdout_minimum
    tests = [
        _accuracy("emnist", emnist, limits, few),
        *_set_tests("emnist", emnist, limits, few=False),
        _accuracy("collected", collected, limits, few),
        *_set_tests("collected", collected, limits, few),
    ]
    failed = [test for test in tests if test["passed"] is False]
    reasons = [test["words"] for test in failed]
    return Verdict(not failed, _summary(failed, emnist, collected, few), reasons, tests)


def emnist_answers(champion: Path, candidate: Path) -> Answers:
    """From the test features and heads of both, which need no image.

    Where they were tested on different letters, the champion reads the candidate's, which takes the archive. Raises
    ValueError where that does not hold them.
    """
    before, after = artifact.emnist_test(champion), artifact.emnist_test(candidate)
    if np.array_equal(before.labels, after.labels):
        read = artifact.load_head(champion).probabilities(before.features)
    else:
        read = _read_test_of(candidate, champion, after.labels)
    return Answers(read, artifact.load_head(candidate).probabilities(after.features), after.labels)


def _read_test_of(candidate: Path, champion: Path, labels: Labels) -> Floats:
    """What the champion reads in the test images of the candidate's dataset, (T, 37)."""
    from ml import emnist
    from ml.exams import predict_all
    from ml.predictor import Predictor

    dataset = artifact.read_json(candidate, "metrics.json")["dataset"]
    try:
        letters = emnist.load_letters(dataset, "test")
    except (emnist.ArchiveError, OSError) as error:
        raise ValueError(
            f"the two models cannot be compared: they were tested on different letters, and those of {dataset!r} are "
            f"not to be had here ({error})"
        ) from error
    if not np.array_equal(letters.labels, labels):
        raise ValueError(
            f"the two models cannot be compared: {dataset!r} in the archive here has {len(letters)} test letters, and "
            f"they are not the {len(labels)} that the new model was tested on"
        )
    return predict_all(Predictor(champion), letters.images)


def holdout_answers(champion: Path, candidate: Path, holdout: Holdout) -> Answers:
    """By LiteRT of both; where they share the trunk, its features are computed once."""
    from ml.predictor import Predictor

    if not len(holdout):
        none = np.empty((0, CLASS_COUNT), np.float32)
        return Answers(none, none, holdout.labels)
    before = Predictor(champion)
    first = [before.predict(image) for image in holdout.images]
    probabilities = np.stack([each.probabilities for each in first])
    if artifact.trunk_of(champion) == artifact.trunk_of(candidate):
        features = np.stack([each.features for each in first])
        return Answers(probabilities, artifact.load_head(candidate).probabilities(features), holdout.labels)
    after = Predictor(candidate)
    second = np.stack([after.predict(image).probabilities for image in holdout.images])
    return Answers(probabilities, second, holdout.labels)


def _accuracy(name: str, answers: Answers, limits: Limits, few: bool) -> Test:
    """Is the candidate significantly worse; and does the collected holdout gain or, while it is small, EMNIST hold?"""
    numbers = _paired(answers)
    test = {"name": "accuracy", "set": name, "numbers": numbers}
    where = _WHERE[name]
    if not len(answers):
        return test | {"passed": None, "words": f"There are no {where} yet."}
    told = (
        f"Of {len(answers)} {where} the new model reads {numbers['candidate_right']} right, the old one "
        f"{numbers['champion_right']}"
    )
    # two-sided significance, as always with McNemar's test: half of it on the side of a loss
    if numbers["p"] <= limits.significance and numbers["lost"] > numbers["gained"]:
        return test | {"passed": False, "words": f"{told}: a loss that is hardly chance (p = {numbers['p']:.3g})."}
    loss = numbers["champion_right"] - numbers["candidate_right"]
    if name == "collected" and few:
        words = f"{told}; fewer than {limits.holdout_minimum} are too few to say whether it is better."
        return test | {"passed": None, "words": words}
    if name == "collected" and loss >= 0:
        return test | {"passed": False, "words": f"{told}: no gain, so there is no reason to change."}
    if name == "emnist" and few and 100 * loss / len(answers) > limits.emnist_loss:
        words = (
            f"{told}: {100 * loss / len(answers):.2f} points fewer, where at most {limits.emnist_loss:g} may be lost "
            "while there are too few collected letters to judge by."
        )
        return test | {"passed": False, "words": words}
    return test | {"passed": True, "words": f"{told}{_compared(loss)}."}


def _set_tests(name: str, answers: Answers, limits: Limits, few: bool) -> Iterator[Test]:
    yield _recall(name, answers, limits)
    yield _calibration(name, answers, limits, few)


def _recall(name: str, answers: Answers, limits: Limits) -> Test:
    """Does any class lose more than the limit?"""
    test: Test = {"name": "recall", "set": name}
    where = _WHERE[name]
    rows = [_class_row(answers, label) for label in range(CLASS_COUNT)]
    rows = [row for row in rows if row["count"]]
    test["numbers"] = {"limit": limits.class_loss, "classes": rows}
    if not rows:
        return test | {"passed": None, "words": f"There are no {where} yet."}
    worse = [row for row in rows if _class_worse(row, limits)]
    if worse:
        named = ", ".join(
            f"{row['class']} ({row['champion_right']} to {row['candidate_right']} of {row['count']})" for row in worse
        )
        words = (
            f"On {where} the new model reads these classes worse by more than {limits.class_loss:g} points: {named}."
        )
        return test | {"passed": False, "words": words}
    unsure = [row["class"] for row in rows if row["loss"] > limits.class_loss]
    said = f"On {where} no class loses more than {limits.class_loss:g} points of what is read right"
    if unsure:
        said += f", but for {', '.join(unsure)}, of which there are too few letters for that to be more than chance"
    return test | {"passed": True, "words": f"{said}."}


def _class_row(answers: Answers, label: int) -> dict[str, Any]:
    of = answers.labels == label
    before, after = answers.champion_right[of], answers.candidate_right[of]
    count, lost, gained = len(before), int((before & ~after).sum()), int((after & ~before).sum())
    return {
        "class": CLASSES[label],
        "count": count,
        "champion_right": int(before.sum()),
        "candidate_right": int(after.sum()),
        "loss": 100 * (lost - gained) / count if count else 0.0,
        "chance": lost_by_chance(lost, gained),
    }


def _class_worse(row: dict[str, Any], limits: Limits) -> bool:
    if row["loss"] <= limits.class_loss:
        return False
    return bool(row["count"] >= LARGE_CLASS or row["chance"] <= limits.significance)


def _calibration(name: str, answers: Answers, limits: Limits, few: bool) -> Test:
    """Can the candidate's confidence be trusted as much as the champion's?"""
    test: Test = {"name": "calibration", "set": name, "numbers": {"limit": limits.calibration_loss}}
    where = _WHERE[name]
    if not len(answers):
        return test | {"passed": None, "words": f"There are no {where} yet."}
    before = 100 * calibration_error(answers.champion, answers.labels)
    after = 100 * calibration_error(answers.candidate, answers.labels)
    least = _least_worsening(answers)
    test["numbers"] |= {"champion": before, "candidate": after, "at_least": least}
    told = (
        f"On {where} the new model's confidence is off by {after:.1f} points on average, the old one's by {before:.1f}"
    )
    if few:
        return test | {"passed": None, "words": f"{told}; they are too few to say."}
    if after - before > limits.calibration_loss and least > 0:
        words = f"{told}: worse by more than {limits.calibration_loss:g} points."
        return test | {"passed": False, "words": words}
    return test | {"passed": True, "words": f"{told}."}


def _least_worsening(answers: Answers) -> float:
    """Points by which calibration worsens in all but one of twenty resamples of the images."""
    random = np.random.default_rng(0)
    champion, candidate = answers.champion.max(axis=1), answers.candidate.max(axis=1)
    before, after = answers.champion_right, answers.candidate_right
    drawn = (random.integers(0, len(answers), len(answers)) for _ in range(RESAMPLES))
    worse = [binned_error(candidate[rows], after[rows]) - binned_error(champion[rows], before[rows]) for rows in drawn]
    return float(100 * np.quantile(worse, 0.05))


def _paired(answers: Answers) -> dict[str, Any]:
    """Both models on the same images; `p` of the exact two-sided McNemar test."""
    before, after = answers.champion_right, answers.candidate_right
    lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
    return {
        "count": len(answers),
        "champion_right": int(before.sum()),
        "candidate_right": int(after.sum()),
        "lost": lost,
        "gained": gained,
        "p": two_sided(lost, gained),
    }


_WHERE = {"emnist": "EMNIST test letters", "collected": "collected letters held out"}
_SETS = {"emnist": "EMNIST", "collected": "the collected"}
_TESTED = {"accuracy": "its accuracy", "recall": "the recall of a class", "calibration": "its calibration"}


def _compared(loss: int) -> str:
    if loss > 0:
        return f": {loss} fewer, within chance"
    return f": {-loss} more" if loss < 0 else ", as many"


def _summary(failed: list[Test], emnist: Answers, collected: Answers, few: bool) -> str:
    changes = f"{_points(emnist)} on EMNIST"
    if len(collected):
        changes += f", {_points(collected)} on {len(collected)} collected letters held out"
    if failed:
        named = " and ".join(f"{_TESTED[test['name']]} on {_SETS[test['set']]}" for test in failed)
        return f"Refused for {named}. In all: {changes}."
    held = "; too few of them to say more than that EMNIST holds" if few else ""
    return f"Passed: {changes}{held}."


def _points(answers: Answers) -> str:
    change = 100 * (float(answers.candidate_right.mean()) - float(answers.champion_right.mean()))
    return f"{change:+.2f} points"
