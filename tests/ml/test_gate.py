from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml import artifact
from ml.artifact import SHIPPED
from ml.emnist import Letters
from ml.gate import Answers, Holdout, Limits, Verdict, judge, judge_answers
from ml.labels import CLASS_COUNT, index_of
from ml.predictor import Predictor
from ml.preprocess import image_from_strokes
from tests.ml.archives import write_letters
from tests.ml.glyphs import GLYPHS

PER_CLASS = 200
NOBODY = Holdout(np.empty((0, 28, 28), np.uint8), np.empty(0, np.uint8))


def answers(
    per_class: int = PER_CLASS, lost: dict[str, int] | None = None, gained: dict[str, int] | None = None
) -> Answers:
    """The champion reads nine of ten letters of each class right, sure to 90 %; the candidate loses and gains some."""
    labels = np.repeat(np.arange(CLASS_COUNT, dtype=np.uint8), per_class)
    before = np.tile(np.arange(per_class) >= per_class // 10, CLASS_COUNT)
    after = before.copy()
    for name, count in (lost or {}).items():
        after[np.flatnonzero(before & (labels == index_of(name)))[:count]] = False
    for name, count in (gained or {}).items():
        after[np.flatnonzero(~before & (labels == index_of(name)))[:count]] = True
    return Answers(_sure(labels, before), _sure(labels, after), labels)


def _sure(labels: np.ndarray, right: np.ndarray, confidence: float = 0.9) -> np.ndarray:
    rows = np.full((len(labels), CLASS_COUNT), (1 - confidence) / (CLASS_COUNT - 1), np.float32)
    rows[np.arange(len(labels)), np.where(right, labels, (labels + 1) % CLASS_COUNT)] = confidence
    return rows


def none() -> Answers:
    empty = np.empty((0, CLASS_COUNT), np.float32)
    return Answers(empty, empty, np.empty(0, np.uint8))


def test_of(verdict: Verdict, name: str, where: str) -> dict[str, Any]:
    (found,) = [test for test in verdict.tests if (test["name"], test["set"]) == (name, where)]
    return found


test_of.__test__ = False  # type: ignore[attr-defined]  # it finds a test of a verdict


def test_it_works() -> None:
    verdict = judge_answers(answers(), answers(20, gained={"A": 2, "Z": 1}), Limits())
    assert verdict.passed
    assert verdict.reasons == []
    assert [(test["name"], test["set"], test["passed"]) for test in verdict.tests] == [
        (name, where, True) for where in ("emnist", "collected") for name in ("accuracy", "recall", "calibration")
    ]
    assert json.loads(json.dumps(verdict.to_json())) == verdict.to_json()
    assert verdict.summary == "Passed: +0.00 points on EMNIST, +0.41 points on 740 collected letters held out."


def test_a_collected_holdout_that_does_not_gain_is_a_refusal() -> None:
    verdict = judge_answers(answers(), answers(20), Limits())
    assert not verdict.passed
    assert len(verdict.reasons) == 1
    assert "no gain" in verdict.reasons[0]
    assert test_of(verdict, "accuracy", "collected")["passed"] is False
    assert verdict.summary == (
        "Refused for its accuracy on the collected. In all: +0.00 points on EMNIST, "
        "+0.00 points on 740 collected letters held out."
    )


def test_a_refusal_names_all_that_it_is_for() -> None:
    verdict = judge_answers(answers(lost={"q": 11}, gained={"A": 11}), answers(20), Limits())
    named = "the recall of a class on EMNIST and its accuracy on the collected"
    assert verdict.summary.startswith(f"Refused for {named}. In all: +0.00 points")


def test_too_few_collected_is_said_and_emnist_decides() -> None:
    verdict = judge_answers(answers(), answers(2), Limits())
    assert verdict.passed
    for name in ("accuracy", "calibration"):
        test = test_of(verdict, name, "collected")
        assert test["passed"] is None
        assert "too few" in test["words"]
    assert "too few" in verdict.summary


def test_no_collected_at_all_is_said() -> None:
    verdict = judge_answers(answers(), none(), Limits())
    assert verdict.passed
    assert "no collected letters held out yet" in test_of(verdict, "accuracy", "collected")["words"]


@pytest.mark.parametrize(("net", "passed"), [(14, True), (15, False)])
def test_emnist_must_hold_while_nothing_else_speaks(net: int, passed: bool) -> None:
    """0.2 points of 7,400 are 14.8 letters; beside sixty that are gained so small a loss is within chance."""
    lost = dict.fromkeys("ABCDEFGHIJ", 6) | dict.fromkeys("abdefghnqrt"[:10], 1) | {"t": net - 10}
    emnist = answers(lost=lost, gained=dict.fromkeys("NOPQRSTUVW", 6))
    assert emnist.champion_right.sum() - emnist.candidate_right.sum() == net
    verdict = judge_answers(emnist, none(), Limits())
    assert verdict.passed is passed
    if not passed:
        assert "0.20 points fewer, where at most 0.2 may be lost" in verdict.reasons[0]


def test_a_loss_that_is_hardly_chance_is_a_refusal() -> None:
    verdict = judge_answers(answers(lost=dict.fromkeys("ABCDEFGHIJ", 2)), answers(20, gained={"A": 2}), Limits())
    assert not verdict.passed
    assert "hardly chance" in verdict.reasons[0]
    assert test_of(verdict, "accuracy", "emnist")["numbers"]["p"] < 1e-5


def test_a_few_collected_refuse_where_the_loss_is_plain() -> None:
    verdict = judge_answers(answers(), answers(2, lost=dict.fromkeys("ABCDEF", 2)), Limits())
    assert not verdict.passed
    assert test_of(verdict, "accuracy", "collected")["passed"] is False


@pytest.mark.parametrize(("lost", "passed"), [(10, True), (11, False)])
def test_no_large_class_loses_more_than_the_limit(lost: int, passed: bool) -> None:
    """5 points of 200 letters are 10, whatever chance may say."""
    gained = dict.fromkeys("ABC", 5)
    verdict = judge_answers(answers(lost={"q": lost}, gained=gained), answers(20, gained={"A": 2}), Limits())
    assert test_of(verdict, "recall", "emnist")["passed"] is passed
    assert verdict.passed is passed
    if not passed:
        assert f"q (180 to {180 - lost} of 200)" in verdict.reasons[0]


@pytest.mark.parametrize(("lost", "passed"), [(4, True), (5, False)])
def test_the_loss_of_a_small_class_has_to_be_more_than_chance(lost: int, passed: bool) -> None:
    """Of 20 letters one is 5 points; four lost and none gained is chance in one of 16 cases, five in one of 32."""
    gained = dict.fromkeys("ABCD", 2)
    verdict = judge_answers(answers(), answers(20, lost={"q": lost}, gained=gained), Limits())
    recall = test_of(verdict, "recall", "collected")
    assert recall["passed"] is passed
    assert verdict.passed is passed
    assert "q" in recall["words"]


def test_the_limits_are_those_given() -> None:
    given, collected = answers(lost={"q": 11}, gained={"A": 11}), answers(20, gained={"A": 2})
    assert judge_answers(given, collected, Limits(class_loss=6)).passed
    assert not judge_answers(given, collected, Limits(class_loss=4)).passed
    assert judge_answers(answers(), answers(2), Limits()).passed
    assert not judge_answers(answers(), answers(2), Limits(holdout_minimum=10)).passed  # enough now, and no gain


def test_confidence_that_is_less_to_be_trusted_is_a_refusal() -> None:
    sound = answers()
    boasting = Answers(sound.champion, _sure(sound.labels, sound.candidate_right, 0.99), sound.labels)
    verdict = judge_answers(boasting, answers(20, gained={"A": 2}), Limits())
    assert not verdict.passed
    assert "confidence is off by 9.0 points on average" in verdict.reasons[0]
    assert judge_answers(boasting, answers(20, gained={"A": 2}), Limits(calibration_loss=10)).passed


def test_a_model_against_itself_holds_on_emnist_and_gains_nothing() -> None:
    verdict = judge(SHIPPED, SHIPPED, NOBODY, Limits())
    assert verdict.passed
    numbers = test_of(verdict, "accuracy", "emnist")["numbers"]
    assert (numbers["lost"], numbers["gained"], numbers["p"]) == (0, 0, 1)
    right = artifact.read_json(SHIPPED, "metrics.json")["test"]["accuracy"] * numbers["count"]
    assert numbers["champion_right"] == pytest.approx(right, abs=2)  # features are kept in half precision


@pytest.fixture
def tested_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artefact that was tested on ten letters of a dataset of another archive."""
    letters = Letters(np.stack([image_from_strokes(GLYPHS[name]) for name in "LTVXZ" * 2]), labels_of("LTVXZ" * 2))
    archive = write_letters(tmp_path / "archive.zip", "other", letters, letters)
    monkeypatch.setenv("EMNIST_ARCHIVE", str(archive))
    folder = tmp_path / "elsewhere"
    shutil.copytree(SHIPPED, folder)
    reader = Predictor(SHIPPED)
    features = np.stack([reader.predict(image).features for image in letters.images])
    np.savez(folder / "test.npz", features=features.astype(np.float16), labels=letters.labels)
    metrics = artifact.read_json(SHIPPED, "metrics.json") | {"dataset": "other"}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def labels_of(names: str) -> np.ndarray:
    return np.array([index_of(name) for name in names], np.uint8)


def test_a_model_tested_on_other_letters_is_compared_on_these(tested_elsewhere: Path) -> None:
    numbers = test_of(judge(SHIPPED, tested_elsewhere, NOBODY, Limits()), "accuracy", "emnist")["numbers"]
    assert (numbers["count"], numbers["champion_right"], numbers["candidate_right"]) == (10, 10, 10)


@pytest.mark.usefixtures("tested_elsewhere")
def test_without_the_letters_of_both_they_are_not_compared(tested_elsewhere: Path, tmp_path: Path) -> None:
    (tmp_path / "archive.zip").unlink()
    with pytest.raises(ValueError, match="those of 'other' are not to be had here"):
        judge(SHIPPED, tested_elsewhere, NOBODY, Limits())


def test_other_letters_under_the_same_name_are_noticed(tested_elsewhere: Path) -> None:
    tested = artifact.emnist_test(tested_elsewhere)
    np.savez(tested_elsewhere / "test.npz", features=tested.features[:-1], labels=tested.labels[:-1])
    with pytest.raises(ValueError, match="they are not the 9 that the new model was tested on"):
        judge(SHIPPED, tested_elsewhere, NOBODY, Limits())
