from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml import artifact
from ml.artifact import SHIPPED, BadArtifact
from ml.head import Collected, Head, HeadConfig, Replay, contributor_weights, refit_from, retrain_head
from ml.labels import index_of
from ml.predictor import Predictor
from ml.preprocess import image_from_strokes
from tests.ml.conftest import ROOT
from tests.ml.glyphs import GLYPHS

SLASHED_Z = [*GLYPHS["Z"], [[25.0, 50.0], [75.0, 50.0]]] if "Z" in GLYPHS else [[[0, 0], [80, 0], [0, 100], [80, 100]]]
QUICK = HeadConfig(iterations=15, replay_per_class=60)


def odd_letters(count: int) -> Collected:
    """Triangles that their contributors call Z: no network trained on letters reads them so."""
    random = np.random.default_rng(0)
    corners = np.array([[50, 0], [100, 90], [0, 90], [50, 0]])
    strokes = [[(corners + random.normal(0, 3, (4, 2))).tolist()] for _ in range(count)]
    images = np.stack([image_from_strokes(each) for each in strokes])
    labels = np.full(count, index_of("Z"), np.uint8)
    return Collected(images, labels, np.full(count, 10, np.float32))


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("retrained") / "artefact"
    retrain_head(SHIPPED, output, odd_letters(20), QUICK, seed=0)
    return output


def test_it_works(retrained: Path) -> None:
    """It learns what it was shown, and is a whole artefact that names where it came from."""
    seen = odd_letters(20).images[7]
    assert Predictor(SHIPPED).predict(seen).label != "Z"
    assert Predictor(retrained).predict(seen).label == "Z"
    digest = artifact.verify(retrained)
    artifact.smoke_test(retrained)
    assert digest != artifact.digest_of(SHIPPED)
    assert artifact.trunk_of(retrained) == artifact.trunk_of(SHIPPED)
    config = artifact.read_json(retrained, "config.json")
    assert config["parent"] == artifact.digest_of(SHIPPED)
    assert config["head"]["drawings"] == 20
    metrics = artifact.read_json(retrained, "metrics.json")
    assert metrics["test"]["count"] == len(artifact.emnist_test(SHIPPED))
    assert artifact.digest_of(SHIPPED)[:12] in (retrained / "card.md").read_text()


def test_the_files_that_no_head_changes_are_the_parents(retrained: Path) -> None:
    for name in ("reference.npz", "test.npz"):
        assert (retrained / name).read_bytes() == (SHIPPED / name).read_bytes()


@pytest.mark.slow
def test_keras_litert_and_the_head_say_the_same(retrained: Path) -> None:
    import keras

    images = odd_letters(3).images
    by_keras, features = keras.models.load_model(retrained / "model.keras").predict(
        images[..., None].astype(np.float32) / 255, verbose=0
    )
    by_litert = np.stack([Predictor(retrained).predict(image).probabilities for image in images])
    by_head = artifact.load_head(retrained).probabilities(features)
    assert np.abs(by_litert - by_keras).max() < 1e-4
    assert np.abs(by_head - by_keras).max() < 1e-4


def test_features_given_are_those_computed(tmp_path: Path, retrained: Path) -> None:
    drawings = odd_letters(20)
    features = np.stack([Predictor(SHIPPED).predict(image).features for image in drawings.images])
    retrain_head(SHIPPED, tmp_path / "again", replace(drawings, features=features), QUICK, seed=0)
    again, before = artifact.load_head(tmp_path / "again"), artifact.load_head(retrained)
    assert np.allclose(again.kernel, before.kernel, atol=1e-4)


def test_weightless_drawings_teach_nothing(tmp_path: Path) -> None:
    """What is replayed then pulls to where the head already is, but for what its labels say."""
    nothing = replace(odd_letters(5), weights=np.zeros(5, np.float32))
    retrain_head(SHIPPED, tmp_path / "same", nothing, replace(QUICK, keep=1.0), seed=0)
    assert np.allclose(artifact.load_head(tmp_path / "same").kernel, artifact.load_head(SHIPPED).kernel, atol=1e-3)


def test_progress_is_told_and_rises(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    retrain_head(SHIPPED, tmp_path / "out", odd_letters(3), QUICK, 0, told.append)
    assert list(dict.fromkeys(row["stage"] for row in told)) == [
        "features",
        "fitting",
        "testing",
        "writing",
    ]
    fitting = [row for row in told if row["stage"] == "fitting"]
    assert fitting[0]["loss"] > fitting[-1]["loss"]
    shares = [row["share"] for row in told]
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1


def test_what_the_listener_raises_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    def cancel(progress: dict[str, Any]) -> None:
        if progress["stage"] == "writing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retrain_head(SHIPPED, tmp_path / "out", odd_letters(3), QUICK, 0, cancel)
    assert list(tmp_path.iterdir()) == []


def test_no_drawings_are_refused(tmp_path: Path) -> None:
    nothing = Collected(np.empty((0, 28, 28), np.uint8), np.empty(0, np.uint8), np.empty(0, np.float32))
    with pytest.raises(ValueError, match="nothing to learn from"):
        retrain_head(SHIPPED, tmp_path / "out", nothing, QUICK, 0)


def with_other_head(folder: Path) -> Path:
    """An artefact whose hashes are right and whose head.npz is not the last layer of its model."""
    import shutil

    shutil.copytree(SHIPPED, folder)
    true = artifact.load_head(SHIPPED)
    artifact.write_head(folder, Head(true.kernel + 1, true.bias))
    names = {name: artifact._sha256(folder / name) for name in artifact.FILES}
    artifact.dump(folder / "manifest.json", {"files": names})
    return folder


def test_a_head_that_is_not_in_the_model_is_refused(tmp_path: Path) -> None:
    parent = with_other_head(tmp_path / "parent")
    artifact.verify(parent)
    with pytest.raises(BadArtifact, match=r"kernel of head.npz is 0 times in model.tflite, not once"):
        retrain_head(parent, tmp_path / "out", odd_letters(3), replace(QUICK, iterations=1), 0)
    assert not (tmp_path / "out").exists()


def test_a_damaged_parent_is_refused(tmp_path: Path) -> None:
    parent = with_other_head(tmp_path / "parent")
    (parent / "test.npz").write_bytes(b"")
    with pytest.raises(BadArtifact, match=r"test\.npz is not the file"):
        retrain_head(parent, tmp_path / "out", odd_letters(3), QUICK, 0)


def test_it_loads_no_tensorflow(tmp_path: Path) -> None:
    script = f"""
import sys, numpy as np
from pathlib import Path
from ml.artifact import SHIPPED
from ml.head import Collected, HeadConfig, retrain_head
drawings = Collected(np.zeros((2, 28, 28), np.uint8), np.zeros(2, np.uint8), np.ones(2, np.float32))
retrain_head(SHIPPED, Path({str(tmp_path / "out")!r}), drawings, HeadConfig(iterations=2, replay_per_class=5), 0)
print("loaded", *{{name.partition(".")[0] for name in sys.modules}})
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("loaded")[2].split())
    assert "scipy" in loaded
    assert not loaded & {"tensorflow", "keras", "umap", "numba", "emnist"}


def test_probabilities_sum_to_one() -> None:
    features = np.random.default_rng(0).normal(0, 100, (5, 128)).astype(np.float32)
    found = artifact.load_head(SHIPPED).probabilities(features)
    assert found.shape == (5, 37)
    assert found.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)


# --- contributor_weights


def weights_of(contributors: str, base: float, share: float) -> dict[str, float]:
    """What each contributor weighs in all in one class, where a drawing weighs 10."""
    weights = contributor_weights(np.zeros(len(contributors), np.uint8), contributors, base, 10, share)
    return {
        each: float(sum(w for w, c in zip(weights, contributors, strict=True) if c == each)) for each in contributors
    }


def test_nobody_is_weighed_down_without_need() -> None:
    assert weights_of("aabbc", base=400, share=0.2) == {"a": 20, "b": 20, "c": 10}


def test_one_that_floods_is_weighed_down_to_the_share() -> None:
    found = weights_of("a" * 1000 + "b", base=400, share=0.2)
    assert found["b"] == 10
    assert found["a"] / (400 + found["a"] + found["b"]) == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("base", [1.0, 400.0])
def test_no_contributor_exceeds_the_share(base: float, share: float) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 300).astype(np.uint8)
    people = random.choice(6, 300, p=[0.5, 0.3, 0.1, 0.05, 0.03, 0.02])
    weights = contributor_weights(labels, people.tolist(), base, 10, share)
    assert weights.max() <= 10
    assert weights.min() >= 0
    for label in range(5):
        of = labels == label
        given = np.bincount(people[of], weights[of])
        assert given.max() <= share * (base + given.sum()) * (1 + 1e-5)


def test_classes_are_weighed_by_themselves() -> None:
    weights = contributor_weights(np.array([0] * 99 + [1]), ["a"] * 100, [10.0] * 37, 10, 0.5)
    assert weights[:99].sum() == pytest.approx(10, rel=1e-5)
    assert weights[99] == 10


def test_where_no_share_can_be_small_enough_nothing_weighs() -> None:
    assert weights_of("aab", base=0, share=0.2) == {"a": 0, "b": 0}


def test_no_drawings_have_no_weights() -> None:
    assert len(contributor_weights(np.empty(0, np.uint8), [], 400, 10, 0.2)) == 0


# --- the guard


def i_called_l() -> tuple[Replay, Collected]:
    """The reference letters as the shipped model reads them, and a hundred letters I of them that are called L."""
    reference = artifact.emnist_reference(SHIPPED)
    read = artifact.load_head(SHIPPED).probabilities(reference.features)
    i = np.flatnonzero(reference.labels == index_of("I"))[:100]
    called = Collected(
        np.empty((0, 28, 28), np.uint8),
        np.full(100, index_of("L"), np.uint8),
        np.full(100, 10, np.float32),
        reference.features[i],
    )
    return Replay(reference.features, reference.labels, read), called


def recall_of_i(read: np.ndarray, replay: Replay) -> float:
    of = replay.labels == index_of("I")
    return float((read[of].argmax(axis=1) == index_of("I")).mean())


def test_a_class_that_pays_for_another_is_held() -> None:
    """Every I is called L: without the guard most of the letters I of the replay are read as L afterwards."""
    replay, called = i_called_l()
    config = HeadConfig(iterations=30)
    kept, lost = (
        recall_of_i(replay.read, replay)
        - recall_of_i(
            refit_from(artifact.load_head(SHIPPED), replay, called, each).head.probabilities(replay.features), replay
        )
        for each in (config, replace(config, class_guard=100.0))
    )
    assert kept < lost / 2


def test_a_class_is_held_to_what_the_serving_model_reads_of_it_also_where_the_fit_starts_below() -> None:
    """A head that reads no I at all has none to lose: what serves does."""
    replay, called = i_called_l()
    shipped = artifact.load_head(SHIPPED)
    blind = Head(shipped.kernel, shipped.bias - 20 * np.eye(37, dtype=np.float32)[index_of("I")])
    assert recall_of_i(blind.probabilities(replay.features), replay) == 0
    config = HeadConfig(iterations=30)
    kept, lost = (
        recall_of_i(replay.read, replay)
        - recall_of_i(refit_from(blind, replay, called, each).head.probabilities(replay.features), replay)
        for each in (config, replace(config, class_guard=100.0))
    )
    assert kept < lost / 2
