from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ml import evaluate
from ml.artifact import SHIPPED
from ml.labels import CLASSES, index_of
from tests.ml.archives import write_archive
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
