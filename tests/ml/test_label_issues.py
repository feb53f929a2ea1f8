from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml import crossfit, emnist, figures, label_issues
from ml.emnist import Letters
from ml.exclusion import excluded_mask
from ml.label_issues import Issue, find, parse_pairs, weighted_by_count, without_pairs
from ml.labels import CLASS_COUNT, CLASSES, index_of
from tests.ml.archives import write_letters

PER_CLASS = 20
TRUE = np.repeat(np.arange(CLASS_COUNT, dtype=np.uint8), PER_CLASS)
WRONG = {45: "q", 7: "I", 300: "Z"}  # position: the label given to it; the surest is first
SURE = {45: 0.99, 7: 0.97, 300: 0.95}


def given() -> np.ndarray:
    labels = TRUE.copy()
    for position, label in WRONG.items():
        labels[position] = index_of(label)
    return labels


def read() -> crossfit.Crossfit:
    """Networks that see every image for what it is, and are not sure of all alike."""
    sure = np.full(len(TRUE), 0.9)
    for position, probability in SURE.items():
        sure[position] = probability
    rows = np.repeat(((1 - sure) / (CLASS_COUNT - 1))[:, None], CLASS_COUNT, axis=1)
    rows[np.arange(len(TRUE)), TRUE] = sure
    return crossfit.Crossfit(rows.astype(np.float32), (np.arange(len(TRUE)) % 3).astype(np.int8), {"folds": 3})


def test_it_works() -> None:
    found = find(given(), read())
    assert [issue.position for issue in found] == list(WRONG)
    first = found[0]
    assert (first.label, first.likely, first.fold) == ("q", CLASSES[TRUE[45]], 0)
    assert first.likely_probability == pytest.approx(0.99, abs=0.01)
    assert first.score == pytest.approx((first.label_probability - first.likely_probability + 1) / 2)
    assert [issue.score for issue in found] == sorted(issue.score for issue in found)


def test_labels_that_are_read_as_they_are_given_are_not_doubted() -> None:
    assert find(TRUE, read()) == []


def test_a_rare_class_is_rare() -> None:
    """Three A and one B, and an image that could as well be either: it is three times as likely an A."""
    even = np.zeros((1, CLASS_COUNT))
    even[0, :2] = 0.5
    rows = weighted_by_count(np.repeat(even, 4, axis=0), np.array([0, 0, 0, 1]))
    assert rows[:, :2] == pytest.approx(np.repeat([[0.75, 0.25]], 4, axis=0))


def issue(label: str, likely: str, position: int = 0) -> Issue:
    return Issue(position, label, likely, 0.1, 0.8, 0.15, 0)


def test_pairs_are_left_alone_either_way() -> None:
    issues = [issue("I", "L"), issue("L", "I"), issue("I", "J"), issue("f", "F")]
    assert without_pairs(issues, parse_pairs("I/L,F/f")) == [issue("I", "J")]
    assert without_pairs(issues, parse_pairs("")) == issues


@pytest.mark.parametrize("text", ["IL", "I/I", "I/1", "I/L/J", "I/L,F/c"])
def test_what_is_no_pair_of_classes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no list of pairs"):
        parse_pairs(text)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of these labels, and the file of probabilities; each image holds its position."""
    images = np.zeros((len(TRUE), 28, 28), np.uint8)
    images[:, 5, 5], images[:, 5, 6] = np.arange(len(TRUE)) // 256, np.arange(len(TRUE)) % 256
    letters = Letters(images, given())
    archive = write_letters(tmp_path / "emnist.zip", "open37", letters, Letters(images[:1], letters.labels[:1]))
    monkeypatch.setenv("EMNIST_ARCHIVE", str(archive))
    crossfit.save(tmp_path / "crossfit.npz", read())
    return tmp_path


def test_the_table_counts_by_class_and_by_pair(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert label_issues.main([str(data / "crossfit.npz")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"3 of {len(TRUE)} labels are doubted (0.41%)"
    assert out[1] == "by label: q 1, I 1, Z 1"
    assert out[2] == "by label and likely class: q -> C 1, I -> A 1, Z -> P 1"
    assert out[-3].split()[:4] == ["1", "45", "q", "C"]


def test_without_an_issue_that_is_said(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert label_issues.main([str(data / "crossfit.npz"), "--without", "q/C,I/A,Z/P"]) == 0
    assert capsys.readouterr().out == f"0 of {len(TRUE)} labels are doubted (0.00%)\n"


def test_the_list_as_csv_and_json(data: Path) -> None:
    command = [str(data / "crossfit.npz"), "--limit", "2", "--output"]
    assert label_issues.main([*command, str(data / "issues.csv")]) == 0
    with (data / "issues.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [(int(row["position"]), row["label"], row["likely"]) for row in rows] == [(45, "q", "C"), (7, "I", "A")]
    assert label_issues.main([*command, str(data / "issues.json")]) == 0
    told = json.loads((data / "issues.json").read_text())
    assert [each["position"] for each in told["issues"]] == [45, 7]
    assert told["archive_sha256"] == emnist.sha256_of(data / "emnist.zip")
    assert (told["dataset"], told["crossfit"]) == ("open37", {"folds": 3})


def test_a_training_can_leave_them_out(data: Path) -> None:
    assert label_issues.main([str(data / "crossfit.npz"), "--exclude", str(data / "excluded.npz")]) == 0
    with np.load(data / "excluded.npz", allow_pickle=False) as stored:
        assert stored["excluded"].tolist() == [7, 45, 300]
        assert str(stored["archive_sha256"]) == emnist.sha256_of(data / "emnist.zip")
    assert np.flatnonzero(excluded_mask(data / "excluded.npz", len(TRUE))).tolist() == [7, 45, 300]


def test_sheets_show_them_in_order(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "DPI", 20)
    monkeypatch.setattr(label_issues, "PER_PAGE", 2)
    assert label_issues.main([str(data / "crossfit.npz"), "--figures", str(data / "sheets")]) == 0
    written = sorted((data / "sheets").iterdir())
    assert [path.name for path in written] == ["issues-001.png", "issues-002.png"]
    assert all(Image.open(path).size[0] > 10 for path in written)
    said = capsys.readouterr().err
    assert all(str(path) in said for path in written)
    few = label_issues.write_sheets(data / "few", find(given(), read()), np.zeros((len(TRUE), 28, 28), np.uint8), 1)
    assert len(few) == 1


def test_a_sheet_names_the_label_what_is_likely_and_the_position() -> None:
    issues = [issue("I", "L", 3), issue("q", "g", 1)]
    images = np.zeros((4, 28, 28), np.uint8)
    images[3, 0, 0], images[1, 0, 0] = 30, 10
    (axes,) = label_issues.sheet(issues, images, first=1, total=2).axes
    assert [text.get_text() for text in axes.texts if "→" in text.get_text()] == ["I → L\n3", "q → g\n1"]
    paper = axes.images[0].get_array()
    assert [int(paper[0, left]) for left in (0, 36)] == [255 - 30, 255 - 10]
    assert axes.get_title(loc="left").startswith("1 to 2 of 2")


def test_probabilities_of_other_images_are_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = read()
    crossfit.save(data / "short.npz", crossfit.Crossfit(made.probabilities[:9], made.folds[:9], {}))
    assert label_issues.main([str(data / "short.npz")]) == 1
    assert "is of 9 images" in capsys.readouterr().err


def test_what_is_missing_is_said(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert label_issues.main([str(data / "none.npz")]) == 1
    assert "none.npz is no file of out-of-fold probabilities" in capsys.readouterr().err
    assert label_issues.main([str(data / "crossfit.npz"), "--dataset", "byclass"]) == 1
    assert "there are: open37" in capsys.readouterr().err


def test_without_cleanlab_it_says_where_it_is_from(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    assert label_issues.main([str(data / "crossfit.npz")]) == 1
    assert "requirements-dev.txt" in capsys.readouterr().err
