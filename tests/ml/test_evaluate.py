from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ml import artifact, evaluate, figures
from ml.artifact import SHIPPED
from ml.emnist import Letters
from ml.evaluation_report import in_words
from ml.labels import CLASSES, index_of
from tests.ml.archives import write_archive, write_letters
from tests.ml.glyphs import GLYPHS


def probabilities_of(read_as: str) -> np.ndarray:
    """A row for each letter, sure of it."""
    return np.eye(37, dtype=np.float32)[[index_of(label) for label in read_as]]


def labels_of(letters: str) -> np.ndarray:
    return np.array([index_of(label) for label in letters])


def test_it_works() -> None:
    result = evaluate.evaluate(probabilities_of("AaLLb"), labels_of("AALIB"))
    assert result["count"] == 5
    assert result["accuracy"] == pytest.approx(2 / 5)
    assert result["folded_accuracy"] == pytest.approx(4 / 5)
    assert result["recall"]["A"] == 0.5
    assert result["recall"]["L"] == 1.0
    assert result["recall"]["I"] == 0.0
    assert result["recall"]["a"] is None
    assert list(result["recall"]) == list(CLASSES)
    assert json.loads(json.dumps(result)) == result


def test_the_commonest_confusion_comes_first() -> None:
    confusions = evaluate.evaluate(probabilities_of("LLFA"), labels_of("IIfA"))["confusions"]
    assert confusions == [{"label": "I", "read_as": "L", "count": 2}, {"label": "f", "read_as": "F", "count": 1}]


def test_accuracy_is_of_37_classes_and_folded_accuracy_of_26() -> None:
    assert evaluate.accuracy(probabilities_of("fQ"), labels_of("Fq")) == 0
    assert evaluate.folded_accuracy(probabilities_of("fQ"), labels_of("Fq")) == 1


def test_precision_recall_and_f1_of_each_class() -> None:
    """A is read right twice and once as B; one B is read as A, and one as Z, of which there is no letter."""
    classes = evaluate.evaluate(probabilities_of("AABAZ"), labels_of("AAABB"))["classes"]
    assert classes["A"] == {"count": 3, "precision": 2 / 3, "recall": 2 / 3, "f1": pytest.approx(2 / 3)}
    assert classes["B"] == {"count": 2, "precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert classes["Z"] == {"count": 0, "precision": 0.0, "recall": None, "f1": None}
    assert classes["a"] == {"count": 0, "precision": None, "recall": None, "f1": None}
    assert list(classes) == list(CLASSES)


def test_precision_and_recall_are_not_each_other() -> None:
    row = evaluate.evaluate(probabilities_of("AAAAB"), labels_of("AAaaA"))["classes"]["A"]
    assert (row["precision"], row["recall"], row["f1"]) == (2 / 4, 2 / 3, pytest.approx(4 / 7))


def test_a_class_that_is_never_read_has_no_precision() -> None:
    row = evaluate.evaluate(probabilities_of("L"), labels_of("I"))["classes"]["I"]
    assert row == {"count": 1, "precision": None, "recall": 0.0, "f1": 0.0}


def test_the_matrix_has_labels_in_rows_and_what_was_read_in_columns() -> None:
    matrix = np.array(evaluate.evaluate(probabilities_of("LLFA"), labels_of("IIfA"))["matrix"])
    assert matrix.shape == (37, 37)
    assert matrix.sum() == 4
    assert matrix[index_of("I"), index_of("L")] == 2
    assert matrix[index_of("f"), index_of("F")] == 1
    assert matrix[index_of("A"), index_of("A")] == 1


def test_a_pair_counts_both_ways_together() -> None:
    """I and L are confused three times, F and f twice in one way: L as I alone would come second."""
    result = evaluate.evaluate(probabilities_of("LIIFFA"), labels_of("ILLffA"))
    pairs = evaluate.confused_pairs(result["matrix"])
    assert pairs == [
        {"pair": ["I", "L"], "count": 3, "ways": [1, 2]},
        {"pair": ["F", "f"], "count": 2, "ways": [0, 2]},
    ]


def test_among_the_two_likeliest() -> None:
    rows = np.zeros((4, 37))
    rows[:, :3] = [0.5, 0.3, 0.2]
    result = evaluate.evaluate(rows, np.array([0, 1, 2, 3]))
    assert (result["accuracy"], result["top2"]) == (1 / 4, 2 / 4)


def test_of_equally_likely_classes_the_first_is_read() -> None:
    result = evaluate.evaluate(np.full((3, 37), 1 / 37), np.array([0, 1, 2]))
    assert (result["accuracy"], result["top2"]) == (1 / 3, 2 / 3)


def test_each_share_has_its_interval() -> None:
    result = evaluate.evaluate(probabilities_of("A" * 10), labels_of("AAAAAaaaaa"))
    assert result["intervals"]["accuracy"] == pytest.approx([0.2366, 0.7634], abs=1e-4)
    assert result["intervals"]["folded_accuracy"] == pytest.approx([0.7225, 1.0], abs=1e-4)
    assert set(result["intervals"]) == {"accuracy", "folded_accuracy", "top2"}


def test_calibration_is_measured_too() -> None:
    found = evaluate.evaluate(probabilities_of("AB"), labels_of("AA"))["calibration"]
    assert found["error"] == 0.5
    assert [each["count"] for each in found["bins"]] == [0] * 14 + [2]


def test_what_an_artefact_is_told_has_these_names() -> None:
    names = {"count", "accuracy", "folded_accuracy", "top2", "intervals", "recall", "classes", "confusions", "matrix"}
    assert set(evaluate.evaluate(probabilities_of("A"), labels_of("A"))) == names | {"calibration"}


@pytest.mark.parametrize(("rows", "columns", "labels"), [(2, 37, 3), (2, 26, 2), (0, 37, 0)])
def test_what_does_not_fit_together_is_refused(rows: int, columns: int, labels: int) -> None:
    with pytest.raises(ValueError, match="labels"):
        evaluate.accuracy(np.zeros((rows, columns)), np.zeros(labels, int))


@pytest.fixture
def drawings(tmp_path: Path) -> Path:
    file = tmp_path / "drawings.jsonl"
    file.write_text("".join(json.dumps({"character": c, "strokes": s}) + "\n" for c, s in GLYPHS.items()))
    return file


def test_drawings_are_measured(drawings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main([str(SHIPPED), "--strokes", str(drawings), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["count"], result["accuracy"]) == (len(GLYPHS), 1.0)


def test_the_report_is_text(drawings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main([str(SHIPPED), "--strokes", str(drawings)]) == 0
    out = capsys.readouterr().out
    assert f"{len(GLYPHS)} letters: 100.00% right on 37 classes" in out
    assert "most frequent mistakes: none" in out
    assert "surer than right by" in out or "less sure than right by" in out
    (row,) = [line.split() for line in out.splitlines() if line.split()[:1] == ["A"]]
    assert row == ["A", "1", "100.0%", "100.0%", "100.0%"]


def test_a_dataset_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = write_archive(tmp_path / "emnist.zip", {"balanced": [3, 10, 11, 46]})
    monkeypatch.setenv("EMNIST_ARCHIVE", str(archive))
    assert evaluate.main([str(SHIPPED), "--dataset", "balanced", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "line 2"),
        ("[]", "line 2 is no object"),
        ('{"character": "A"}', "line 2 is no object"),
        ('{"character": "ä", "strokes": [[[0, 0], [1, 1]]]}', "line 2: 'ä' is not one of the letters"),
        ('{"character": "A", "strokes": []}', "line 2: there is no letter here"),
    ],
)
def test_a_bad_line_stops_the_measuring(
    line: str, said: str, drawings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = drawings.read_text().splitlines()[0]
    drawings.write_text(f"{first}\n{line}\n", encoding="utf-8")
    assert evaluate.main([str(SHIPPED), "--strokes", str(drawings)]) == 1
    assert said in capsys.readouterr().err


def test_a_missing_model_is_said(drawings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main([str(tmp_path), "--strokes", str(drawings)]) == 1
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize("source", [[], ["--dataset", "balanced", "--strokes", "x"]])
def test_one_source_of_letters_is_needed(source: list[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate.main([str(SHIPPED), *source])


def test_what_is_stored_gives_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main([str(SHIPPED), "--stored", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    told = artifact.read_json(SHIPPED, "metrics.json")["test"]
    # features are kept as float16, so a letter on the edge may fall to the other side
    for name in ("count", "accuracy", "folded_accuracy"):
        assert result[name] == pytest.approx(told[name], abs=5e-4)
    assert result["pairs"][0]["count"] == sum(result["pairs"][0]["ways"])
    assert 0 < result["calibration"]["by_chance"][0] < result["calibration"]["by_chance"][1]


def other_head(folder: Path, swapped: str) -> Path:
    """A copy of the shipped artefact whose last layer takes two classes for each other."""
    shutil.copytree(SHIPPED, folder)
    head = artifact.load_head(SHIPPED)
    order = np.arange(37)
    first, second = (index_of(each) for each in swapped)
    order[[first, second]] = second, first
    np.savez(folder / "head.npz", kernel=head.kernel[:, order], bias=head.bias[order])
    return folder


def test_two_models_are_compared_letter_by_letter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = other_head(tmp_path / "other", swapped="SZ")
    assert evaluate.main([str(SHIPPED), "--stored", "--compare", str(other), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    found = result["comparison"]
    matrix = np.array(result["matrix"])
    s, z = index_of("S"), index_of("Z")
    assert found["models"] == [str(SHIPPED), str(other)]
    assert found["alone"] == [matrix[s, s] + matrix[z, z], matrix[s, z] + matrix[z, s]]
    assert sum(found["alone"]) + found["both"] + found["neither"] == result["count"]
    assert found["difference"] == pytest.approx(found["accuracies"][0] - found["accuracies"][1])
    assert found["interval"][0] < found["difference"] < found["interval"][1]
    assert found["p"] < 1e-50


def test_a_comparison_is_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = other_head(tmp_path / "other", swapped="SZ")
    assert evaluate.main([str(other), "--stored", "--compare", str(SHIPPED)]) == 0
    out = capsys.readouterr().out
    assert f"of the same 7400 letters {other} reads" in out
    assert "the second is better by more than chance (McNemar's exact test, p = " in out
    assert evaluate.main([str(SHIPPED), "--stored", "--compare", str(other)]) == 0
    assert "the first is better by more than chance" in capsys.readouterr().out
    assert evaluate.main([str(SHIPPED), "--stored", "--compare", str(SHIPPED)]) == 0
    assert "0 are read right by the first alone, 0 by the second alone: no difference" in capsys.readouterr().out


def test_models_that_carry_other_letters_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(SHIPPED, tmp_path / "other")
    test = artifact.emnist_test(SHIPPED)
    np.savez(tmp_path / "other" / "test.npz", features=test.features[:100], labels=test.labels[:100])
    assert evaluate.main([str(SHIPPED), "--stored", "--compare", str(tmp_path / "other")]) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path / 'other'} carries other test letters (100)" in said
    assert "--dataset or --strokes" in said


@pytest.mark.parametrize("more", [[], ["--compare"]])
def test_a_folder_without_a_model_is_said(
    more: list[str], drawings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [str(SHIPPED), *more, str(tmp_path)] if more else [str(tmp_path)]
    assert evaluate.main([*models, "--strokes", str(drawings)]) == 1
    assert f"{tmp_path} is no artefact: there is no model.tflite in it" in capsys.readouterr().err
    assert evaluate.main([*models, "--stored"]) == 1
    assert f"{tmp_path} carries no test as features" in capsys.readouterr().err


def test_a_dataset_that_the_archive_lacks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = write_archive(tmp_path / "emnist.zip", {"balanced": [3, 10, 11, 46]})
    monkeypatch.setenv("EMNIST_ARCHIVE", str(archive))
    assert evaluate.main([str(SHIPPED), "--dataset", "byclass"]) == 1
    said = capsys.readouterr().err
    assert "'byclass'" in said
    assert "there are: balanced" in said


def test_validation_is_what_the_training_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three letters of each class, two of which the training of this model would have held out."""
    shutil.copytree(SHIPPED, tmp_path / "model")
    config = artifact.read_json(SHIPPED, "config.json")
    config["train"]["validation_per_class"] = 2
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    labels = np.repeat(np.arange(37, dtype=np.uint8), 3)
    letters = Letters(np.zeros((len(labels), 28, 28), np.uint8), labels)
    test = Letters(letters.images[:3], labels[:3])
    monkeypatch.setenv("EMNIST_ARCHIVE", str(write_letters(tmp_path / "emnist.zip", "open37", letters, test)))
    assert evaluate.main([str(tmp_path / "model"), "--dataset", "open37", "--validation", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["letters"] == "open37, validation"
    assert {row["count"] for row in result["classes"].values()} == {2}


def test_validation_is_of_a_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate.main([str(SHIPPED), "--stored", "--validation"])
    assert "--validation goes with --dataset" in capsys.readouterr().err


@pytest.fixture
def small_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few pixels, which are written fast."""
    monkeypatch.setattr(figures, "DPI", 20)


@pytest.mark.usefixtures("small_figures")
def test_figures_are_written_beside_the_numbers(
    drawings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "figures"
    assert evaluate.main([str(SHIPPED), "--strokes", str(drawings), "--figures", str(folder), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["count"] == len(GLYPHS)
    stems = ("confusion", "examples", "reliability", "training")
    named = [f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")]
    assert sorted(path.name for path in folder.iterdir()) == named
    assert all(str(folder / name) in captured.err for name in named)


@pytest.mark.usefixtures("small_figures")
def test_what_cannot_be_drawn_is_left_out(tmp_path: Path) -> None:
    """Features are no images, and an artefact without a history had no training to show."""
    shutil.copytree(SHIPPED, tmp_path / "model")
    metrics = artifact.read_json(SHIPPED, "metrics.json") | {"history": []}
    (tmp_path / "model" / "metrics.json").write_text(json.dumps(metrics))
    assert evaluate.main([str(tmp_path / "model"), "--stored", "--figures", str(tmp_path / "figures")]) == 0
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"confusion", "reliability"}


def test_a_difference_that_may_be_chance_is_called_so() -> None:
    compared = {"models": ["a", "b"], "accuracies": [0.52, 0.5], "alone": [6, 4], "difference": 0.02, "p": 0.75}
    said = in_words(compared | {"interval": [-0.05, 0.09]}, 100)
    assert "+2.00 points (95 % interval -5.00 to +9.00)" in said
    assert "so large a difference may well be chance (McNemar's exact test, p = 0.75)" in said
