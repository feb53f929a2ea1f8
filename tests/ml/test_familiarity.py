from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.styles import letters as styled
from ml import artifact, familiarity, scribbles
from ml.artifact import SHIPPED, BadArtifact
from ml.emnist import Letters, load_digits
from ml.familiarity import Known, calibrate, known_from, learn, load, strangeness
from ml.glyphs import GLYPHS
from ml.head import Collected, HeadConfig, retrain_head
from ml.predictor import Predictor
from ml.preprocess import image_from_strokes

GOOD = {"quantiles": np.linspace(0, 1, 101).tolist(), "taught": []}


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    return artifact.emnist_reference(SHIPPED).features


def features_of(predictor: Predictor, strokes: list[Any]) -> np.ndarray:
    return np.stack([predictor.predict(image_from_strokes(each)).features for each in strokes])


# --- Scribbles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", scribbles.KINDS)
def test_a_scribble_is_an_image_and_the_same_for_the_same_seed(kind: str) -> None:
    images = scribbles.images(kind, 3, seed=5)
    assert images.shape == (3, 28, 28)
    assert (images.max(axis=(1, 2)) == 255).all()
    assert (images == scribbles.images(kind, 3, seed=5)).all()
    assert (images != scribbles.images(kind, 3, seed=6)).any()


def test_kinds_that_judge_are_not_those_that_chose() -> None:
    assert not set(scribbles.CHOSEN_ON) & set(scribbles.JUDGED_ON)


def test_scribbles_can_be_had_as_strokes(capsys: pytest.CaptureFixture[str]) -> None:
    scribbles.main(["--each", "1"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["kind"] for each in lines] == list(scribbles.KINDS)
    assert image_from_strokes(lines[0]["strokes"]).shape == (28, 28)


# --- Strangeness ---------------------------------------------------------------------------------------------------


def test_strangeness_is_the_distance_as_a_share_of_the_own_length() -> None:
    known = np.array([[3.0, 4.0], [30.0, 0.0]])
    found = strangeness(np.array([[3.0, 3.0], [40.0, 0.0]]), known)
    assert found == pytest.approx([1 / np.sqrt(18), 10 / 40])


def test_a_letter_of_the_reference_is_not_its_own_neighbour() -> None:
    known = np.array([[3.0, 4.0], [3.0, 3.0], [90.0, 0.0]])
    assert strangeness(known[:1], known.astype(np.float16).astype(float)) == pytest.approx([1 / 5])


def test_the_threshold_refuses_a_twentieth_of_the_letters() -> None:
    random = np.random.default_rng(0)
    reference, validation = (random.normal(size=(count, 8)) for count in (500, 1000))
    known = calibrate(validation, reference)
    strange = strangeness(validation, reference)
    assert (strange > known.threshold).mean() == pytest.approx(0.05, abs=0.001)
    scores = known.scores(strange)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (np.diff(scores[np.argsort(strange)]) <= 0).all(), "the stranger, the lower"
    assert ((scores < familiarity.REFUSED) == (strange > known.threshold)).mean() > 0.998
    assert known.scores(np.array([1e9]))[0] == 0


def test_all_ink_and_none_are_answered(reference: np.ndarray) -> None:
    """Also features of no length, as a network may give."""
    known = load(SHIPPED)
    strange = known.strangeness(np.zeros((1, 128), np.float32), np.ones(1))
    assert np.isfinite(known.scores(strange)).all()
    assert strange[0] > known.threshold


# --- The shipped model ---------------------------------------------------------------------------------------------


def test_made_letters_come_before_scribbles(predictor: Predictor, reference: np.ndarray) -> None:
    """None of our letters is stranger than most of any kind of scribbles, and few of these are known."""
    known = load(SHIPPED)
    letters = strangeness(features_of(predictor, list(GLYPHS.values())), reference)
    kinds = {}
    for kind in scribbles.KINDS:
        features = np.stack([predictor.predict(image).features for image in scribbles.images(kind, 12, seed=3)])
        kinds[kind] = strangeness(features, reference)
    drawn = np.concatenate(list(kinds.values()))
    assert (letters <= known.threshold).all()
    assert familiarity.auroc(letters, drawn) > 0.97
    assert (drawn > known.threshold).mean() > 0.85
    assert {kind: np.median(each) > letters.max() for kind, each in kinds.items()} == dict.fromkeys(kinds, True)


def test_of_its_test_letters_about_a_twentieth_is_refused(reference: np.ndarray) -> None:
    features = artifact.emnist_test(SHIPPED).features[::10]
    assert (strangeness(features, reference) > load(SHIPPED).threshold).mean() == pytest.approx(0.05, abs=0.025)


def test_the_area_under_the_curve_counts_pairs() -> None:
    assert familiarity.auroc(np.array([1.0, 2.0]), np.array([2.0, 3.0, 0.0])) == pytest.approx((2 + 1.5 + 0) / 3 / 2)


@pytest.fixture
def few_test_letters(tmp_path: Path) -> Path:
    """The shipped artefact, with a tenth of its test letters."""
    folder = tmp_path / "artefact"
    shutil.copytree(SHIPPED, folder)
    kept = artifact.emnist_test(SHIPPED)
    np.savez(folder / "test.npz", features=kept.features[::10].astype(np.float16), labels=kept.labels[::10])
    return folder


def test_the_command_prints_a_table(
    few_test_letters: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMNIST_ARCHIVE", "there is none")
    assert familiarity.main([str(few_test_letters), "--each", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["kinds"]) == set(scribbles.JUDGED_ON)
    assert found["auroc_scribbles"] > 0.95
    assert familiarity.main([str(few_test_letters), "--each", "3"]) == 0
    text = capsys.readouterr().out
    assert f"{found['scribbles_refused']:.1%}" in text
    assert f"AUROC {found['auroc_scribbles']:.4f}" in text


@pytest.mark.emnist
def test_digits_are_judged_where_there_are_some(
    predictor: Predictor, emnist_archive: Path, monkeypatch: pytest.MonkeyPatch, reference: np.ndarray
) -> None:
    """A 3 is like no letter; a 0 is an O."""
    monkeypatch.setenv("EMNIST_ARCHIVE", str(emnist_archive))
    digits = load_digits("opendigits", "test")
    monkeypatch.setattr("ml.emnist.load_digits", lambda *_: Letters(digits.images[:300], digits.labels[:300]))
    judge = familiarity.Judge(predictor, load(SHIPPED), reference)
    found = familiarity._digits(judge, judge.strangeness(artifact.emnist_test(SHIPPED).features[::20]))
    assert found["digits"]["3"] > 0.6 > 0.2 > found["digits"]["0"]
    assert found["auroc_digits"] > 0.85


def test_a_folder_that_is_no_artefact_is_answered_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert familiarity.main([str(tmp_path)]) == 1
    assert "python -m ml.familiarity:" in capsys.readouterr().err


# --- With the artefact ---------------------------------------------------------------------------------------------


def test_what_is_written_is_what_is_read() -> None:
    known = Known(np.sort(np.random.default_rng(0).random(101)), np.eye(3, 128, dtype=np.float32))
    again = known_from(json.loads(json.dumps(known.values())))
    assert again.quantiles == pytest.approx(known.quantiles, abs=1e-5)
    assert (again.taught == known.taught).all()
    assert known.values()["threshold"] == pytest.approx(again.threshold, abs=1e-5)


BAD: dict[str, Any] = {
    "no quantiles": {"taught": []},
    "words": GOOD | {"quantiles": ["a"] * 101},
    "too few": GOOD | {"quantiles": [0.1, 0.2]},
    "no number": GOOD | {"quantiles": [*GOOD["quantiles"][:-1], float("nan")]},
    "falling": GOOD | {"quantiles": GOOD["quantiles"][::-1]},
    "below nothing": GOOD | {"quantiles": [-1, *GOOD["quantiles"][1:]]},
    "no direction": GOOD | {"taught": [[2.0] * 128]},
    "one row": GOOD | {"taught": [1.0, 0.0]},
    "a list": [1, 2],
}


def with_familiarity(folder: Path, values: Any) -> Path:
    """A copy of the shipped artefact; manifest and all are not those of an artefact that may serve."""
    shutil.copytree(SHIPPED, folder)
    config = artifact.read_json(SHIPPED, "config.json") | {"familiarity": values}
    artifact.dump(folder / "config.json", config)
    return folder


@pytest.mark.parametrize("values", BAD.values(), ids=BAD)
def test_bad_numbers_are_refused_when_the_artefact_is_tried(tmp_path: Path, values: Any) -> None:
    with pytest.raises(BadArtifact, match=r"familiarity|taught"):
        artifact.smoke_test(with_familiarity(tmp_path / "bad", values))


def test_an_artefact_may_carry_it_or_not(tmp_path: Path, reference: np.ndarray) -> None:
    assert load(with_familiarity(tmp_path / "with", GOOD)).threshold == pytest.approx(0.95)
    config = artifact.read_json(SHIPPED, "config.json")
    config.pop("familiarity", None)
    old = tmp_path / "with"
    artifact.dump(old / "config.json", config)
    by_itself = load(old)
    unseen = strangeness(artifact.emnist_test(SHIPPED).features[::10], reference)
    assert (unseen > by_itself.threshold).mean() == pytest.approx(0.05, abs=0.025)


# --- What is taught ------------------------------------------------------------------------------------------------


def as_by_beginners(count: int, seed: int) -> list[Any]:
    """An E of three bars, which no letter that the model was trained on is like."""
    return [each["strokes"] for each in styled(count, 5, seed, ["barred-e"])]


def test_many_drawings_alike_make_a_style_known(predictor: Predictor, reference: np.ndarray) -> None:
    before = load(SHIPPED)
    shown, others = (features_of(predictor, as_by_beginners(15, seed)) for seed in (1, 2))
    after = learn(before, shown, np.ones(15), reference)

    def refused(known: Known, features: np.ndarray) -> float:
        nearest = strangeness(features, reference) * np.linalg.norm(features, axis=1)
        return float((known.strangeness(features, nearest) > known.threshold).mean())

    assert refused(before, others) > 0.8
    assert refused(after, others) < 0.1
    noise = np.stack([predictor.predict(image).features for image in scribbles.images("scribble", 30, seed=4)])
    assert refused(after, noise) == refused(before, noise), "that, and nothing else"
    assert len(learn(after, noise[:9], np.ones(9), reference).taught) == 0, "what taught it is gone"


def test_few_and_weightless_drawings_make_nothing_known(predictor: Predictor, reference: np.ndarray) -> None:
    shown = features_of(predictor, as_by_beginners(15, 1))
    assert len(learn(load(SHIPPED), shown[:9], np.ones(9), reference).taught) == 0
    assert len(learn(load(SHIPPED), shown, np.zeros(15), reference).taught) == 0


def test_drawings_that_are_not_alike_make_nothing_known(predictor: Predictor, reference: np.ndarray) -> None:
    noise = np.stack([predictor.predict(image).features for image in scribbles.images("scribble", 25, seed=4)])
    assert len(learn(load(SHIPPED), noise, np.ones(25), reference).taught) == 0


def test_a_quick_retraining_hands_it_on(tmp_path: Path) -> None:
    images = np.stack([image_from_strokes(each) for each in as_by_beginners(12, 1)])
    collected = Collected(images, np.full(12, 4, np.uint8), np.ones(12, np.float32))
    retrain_head(SHIPPED, tmp_path / "new", collected, HeadConfig(iterations=2, replay_per_class=20), seed=0)
    made = load(tmp_path / "new")
    assert made.quantiles == pytest.approx(load(SHIPPED).quantiles, abs=1e-4)
    assert made.taught.shape == (1, 128)
    of_parent = artifact.read_json(SHIPPED, "metrics.json").get("familiarity")
    assert artifact.read_json(tmp_path / "new", "metrics.json").get("familiarity") == of_parent
