from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml import predict
from ml.artifact import SHIPPED
from ml.labels import CLASSES
from ml.predictor import Predictor
from ml.preprocess import image_from_strokes
from tests.ml.conftest import ROOT
from tests.ml.glyphs import GLYPHS

LETTERS = sorted(GLYPHS)


def run(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ml.predict", str(file), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def answers(file: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """In this process: starting one takes longer than predicting."""
    assert predict.main([str(file)]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def letters_file(tmp_path: Path) -> Path:
    file = tmp_path / "letters.jsonl"
    file.write_text("".join(json.dumps({"strokes": GLYPHS[letter]}) + "\n" for letter in LETTERS))
    return file


def test_it_works(letters_file: Path) -> None:
    done = run(letters_file)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["label"] for line in lines] == LETTERS
    for line in lines:
        assert list(line) == ["label", "probability", "probabilities"]
        assert list(line["probabilities"]) == list(CLASSES)
        assert sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert line["probability"] == max(line["probabilities"].values()) == line["probabilities"][line["label"]]


def test_a_numpy_file_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "images.npy"
    np.save(file, np.stack([image_from_strokes(GLYPHS[letter]) for letter in LETTERS]))
    assert [line["label"] for line in answers(file, capsys)] == LETTERS


def test_an_image_without_ink_is_blank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "images.npy"
    np.save(file, np.stack([np.zeros((28, 28), np.uint8), image_from_strokes(GLYPHS["A"])]))
    first, second = answers(file, capsys)
    assert first["error"]["code"] == "blank_drawing"
    assert second["label"] == "A"


GOOD = json.dumps({"strokes": GLYPHS["A"]}).encode()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", "not_json"),
        (b"   ", "not_json"),
        (b"hello", "not_json"),
        (b"\xff\xfe\x00", "not_json"),
        (GOOD[:-1], "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"strokes": ' + b"9" * 5000 + b"}", "not_json"),
        (b"[]", "invalid"),
        (b"null", "invalid"),
        (b"{}", "invalid"),
        (b'{"strokes": null}', "invalid"),
        (b'{"strokes": [[[NaN, 0], [1, 1]]]}', "invalid"),
        (b'{"strokes": [[[1e999, 0], [1, 1]]]}', "invalid"),
        (b'{"strokes": [[["0", 0], [1, 1]]]}', "invalid"),
        (b'{"strokes": [[[0, 0], [1, 1]]], "canvas": [10, 10]}', "invalid"),
        (b'{"strokes": [[[0, 0], [1, 1]]], "canvas": {"width": 10}}', "invalid"),
        (b'{"strokes": [[[0, 0], [1, 1]]], "canvas": {"width": 0, "height": 10}}', "invalid"),
        (b'{"strokes": []}', "blank_drawing"),
        (b'{"strokes": [[[3, 3]]]}', "blank_drawing"),
        (b'{"strokes": [[[0, 0], [1, 1]]], "canvas": {"width": 500, "height": 500}}', "blank_drawing"),
        (json.dumps({"strokes": [[[0, 0], [1, 1]]] * 65}).encode(), "too_many_strokes"),
        (json.dumps({"strokes": [[[0, 0], [1, 1]] * 2049]}).encode(), "too_many_points"),
        (GOOD + b" " * 300_000, "line_too_long"),
    ],
)
def test_a_bad_line_is_an_error_object_in_its_place(
    line: bytes, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "letters.jsonl"
    file.write_bytes(GOOD + b"\n" + line + b"\n" + GOOD + b"\n")
    first, bad, last = answers(file, capsys)
    assert first["label"] == last["label"] == "A"
    assert list(bad) == ["error"]
    assert bad["error"]["code"] == code
    assert bad["error"]["message"]


@pytest.mark.parametrize("content", [GOOD, GOOD + b"\n", GOOD + b"\r\n", b"\xef\xbb\xbf" + GOOD + b"\n"])
def test_ends_of_lines_and_byte_order_marks_are_understood(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "letters.jsonl"
    file.write_bytes(content)
    assert [line["label"] for line in answers(file, capsys)] == ["A"]


def test_an_empty_file_has_no_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").touch()
    assert answers(tmp_path / "empty", capsys) == []


def test_the_order_is_kept_among_processes(tmp_path: Path) -> None:
    """More lines than one process does alone, of very different cost."""
    lines = []
    for number in range(2 * predict.ALONE):
        letter = LETTERS[number % len(LETTERS)]
        strokes = [
            [point for point in stroke for _ in range(60 if number % 5 == 0 else 1)] for stroke in GLYPHS[letter]
        ]
        lines.append(b"bad" if number % 7 == 0 else json.dumps({"strokes": strokes}).encode())
    found = predict.predict_all(iter(lines), SHIPPED, processes=2)
    for number, line in enumerate(map(json.loads, found)):
        assert ("error" in line) == (number % 7 == 0)
        assert "error" in line or line["label"] == LETTERS[number % len(LETTERS)]
    assert number == len(lines) - 1


def test_a_long_input_is_never_read_as_a_whole() -> None:
    """Were it, this one would never give an answer: it has no end."""
    found = predict.predict_all(itertools.repeat(GOOD), SHIPPED, processes=2)
    assert {json.loads(line)["label"] for line in itertools.islice(found, 300)} == {"A"}
    found.close()  # type: ignore[attr-defined]


def test_the_lines_before_the_end_of_a_pipe_are_enough(tmp_path: Path) -> None:
    """`| head -1` closes the pipe: no traceback, and the exit code of success."""
    file = tmp_path / "letters.jsonl"
    file.write_bytes((GOOD + b"\n") * 400)
    command = [sys.executable, "-m", "ml.predict", str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(60) == 0


def _npy(tmp_path: Path, array: Any) -> Path:
    np.save(tmp_path / "images.npy", array, allow_pickle=True)
    return tmp_path / "images.npy"


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 28, 28)), np.zeros((28, 28), np.uint8), np.zeros((2, 20, 28), np.uint8), np.array([{}], object)],
)
def test_a_numpy_file_of_something_else_cannot_be_read(
    array: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.main([str(_npy(tmp_path, array))]) == 1
    assert "NumPy file" in (error := capsys.readouterr().err) or "28 x 28" in error


def test_a_truncated_numpy_file_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _npy(tmp_path, np.zeros((10, 28, 28), np.uint8))
    file.write_bytes(file.read_bytes()[:-100])
    assert predict.main([str(file)]) == 1
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_a_file_that_cannot_be_opened_is_named(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.main([str(tmp_path / name)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(tmp_path / name) in captured.err


def test_a_folder_without_a_model_is_named(
    letters_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.main([str(letters_file), "--artifact", str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err


def test_another_artefact_may_be_asked(letters_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.tflite").write_bytes((SHIPPED / "model.tflite").read_bytes())
    assert predict.main([str(letters_file), "--artifact", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(LETTERS)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_a_pipe_is_read_too(fifo: Path) -> None:
    command = [sys.executable, "-m", "ml.predict", str(fifo)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        fifo.write_bytes(GOOD + b"\n" + GOOD + b"\n")
        out, _ = process.communicate(timeout=60)
    assert [json.loads(line)["label"] for line in out.splitlines()] == ["A", "A"]


def test_predictions_are_those_of_the_predictor(predictor: Predictor) -> None:
    prediction = predictor.predict(image_from_strokes(GLYPHS["e"]))
    line = json.loads(predict.answer(predictor, json.dumps({"strokes": GLYPHS["e"]}).encode()))
    assert list(line["probabilities"].values()) == pytest.approx(prediction.probabilities.tolist(), abs=1e-6)
