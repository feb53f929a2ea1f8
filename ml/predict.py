"""Predict many letters at once.

    python -m ml.predict FILE [--artifact DIR]

FILE holds JSON lines of {"strokes": [[[x, y], ...], ...]}, perhaps with a "canvas": {"width": w, "height": h},
or is a NumPy file (.npy) of N x 28 x 28 uint8, white ink on black. Out comes one JSON line for each in, in their order:

    {"label": "A", "probability": 0.98, "probabilities": {"A": 0.98, ...}}
    {"error": {"code": "blank_drawing", "message": "..."}}

The exit code is 0 unless FILE or the model cannot be read. Memory stays small however long FILE is.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from ml.artifact import SHIPPED
from ml.labels import CLASSES
from ml.predictor import Predictor
from ml.preprocess import BlankDrawing, InvalidStrokes, PreprocessError, image_from_strokes

MAX_LINE = 262_144  # bytes of one line, the limit of the web too
CHUNK = 128  # letters handed to a process at once
ALONE = 4 * CHUNK  # up to so many letters this process does itself: starting others would take longer
DECIMALS = 6

Task = bytes | npt.NDArray[np.uint8]


class Unreadable(Exception):
    """FILE or the model cannot be read; the message says why."""


class BadLine(PreprocessError):
    """A line that is no JSON object with strokes."""


def answer(predictor: Predictor, task: Task) -> str:
    """The line of JSON for a line of JSON, or for an image (28, 28) uint8."""
    try:
        image = _image_of_line(task) if isinstance(task, bytes) else _checked(task)
    except PreprocessError as error:
        return json.dumps({"error": {"code": error.code, "message": error.message}})
    prediction = predictor.predict(image)
    probabilities = [round(value, DECIMALS) for value in prediction.probabilities.tolist()]
    return json.dumps(
        {
            "label": prediction.label,
            "probability": round(prediction.probability, DECIMALS),
            "probabilities": dict(zip(CLASSES, probabilities, strict=True)),
        }
    )


def _image_of_line(line: bytes) -> npt.NDArray[np.uint8]:
    if len(line) > MAX_LINE:
        raise BadLine(f"the line is longer than {MAX_LINE} bytes", "line_too_long")
    try:
        drawing = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadLine(f"the line is no JSON ({error})", "not_json") from error
    if not isinstance(drawing, dict) or "strokes" not in drawing:
        raise InvalidStrokes('the line must be an object with "strokes"')
    return image_from_strokes(drawing["strokes"], _canvas(drawing.get("canvas")))


def _canvas(canvas: object) -> list[object] | None:
    if canvas is None:
        return None
    if not isinstance(canvas, dict) or not {"width", "height"} <= canvas.keys():
        raise InvalidStrokes('"canvas" must be an object with "width" and "height"')
    return [canvas["width"], canvas["height"]]


def _checked(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if not image.any():
        raise BlankDrawing
    return image


def read_tasks(path: Path) -> Iterator[Task]:
    """What FILE asks for, one by one. Raises Unreadable at once, before the first, where it can be known."""
    try:
        opened = path.open("rb")
        is_numpy = opened.peek(6)[:6] == b"\x93NUMPY"
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}") from error
    if not is_numpy:
        return _lines(opened)
    opened.close()
    return iter(_images(path))


def _lines(opened: IO[bytes]) -> Iterator[bytes]:
    """Lines without their ends; of one that is too long no more than shows it to be is kept."""
    with opened:
        while line := opened.readline(MAX_LINE + 2):
            rest = line
            while not rest.endswith(b"\n") and (rest := opened.readline(MAX_LINE)):
                pass
            yield line.rstrip(b"\r\n")


def _images(path: Path) -> npt.NDArray[np.uint8]:
    try:
        images: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path} is a damaged NumPy file: {error}") from error
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
        raise Unreadable(f"{path} must hold N x 28 x 28 uint8, not {images.shape} {images.dtype}")
    return images


# --- the work, shared among processes

_own: Predictor | None = None  # of a process of the pool, made once


def _start(folder: Path) -> None:
    global _own
    _own = Predictor(folder)


def _answer_chunk(tasks: list[Task]) -> list[str]:
    if _own is None:
        raise RuntimeError("this process was not started with a model")
    return [answer(_own, task) for task in tasks]


def _chunks(tasks: Iterator[Task]) -> Iterator[list[Task]]:
    while chunk := list(islice(tasks, CHUNK)):
        yield chunk


def predict_all(tasks: Iterator[Task], folder: Path, processes: int) -> Iterator[str]:
    """The answers in the order of the tasks. Raises Unreadable when the folder holds no model."""
    try:
        predictor = Predictor(folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise Unreadable(f"there is no usable model in {folder}: {error}") from error
    first = list(islice(tasks, ALONE))
    if processes == 1 or len(first) < ALONE:
        return (answer(predictor, task) for task in chain(first, tasks))
    return _in_processes(chain(first, tasks), folder, processes)


def _in_processes(tasks: Iterator[Task], folder: Path, processes: int) -> Iterator[str]:
    context = multiprocessing.get_context("spawn")  # a fork would copy the interpreter's threads half
    with ProcessPoolExecutor(processes, context, _start, (folder,)) as pool:
        waiting: deque[Future[list[str]]] = deque()
        for chunk in _chunks(tasks):
            waiting.append(pool.submit(_answer_chunk, chunk))
            if len(waiting) > 2 * processes:  # so that a long file is never in memory as a whole
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _write(answers: Iterable[str], out: IO[str]) -> None:
    for number, line in enumerate(answers, start=1):
        out.write(line + "\n")
        if number % CHUNK == 0:
            out.flush()
    out.flush()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ml.predict", description="Predict the letters of a file.")
    parser.add_argument("file", type=Path, metavar="FILE", help="JSON lines of strokes, or .npy of N x 28 x 28 uint8")
    parser.add_argument("--artifact", type=Path, default=SHIPPED, metavar="DIR", help="default: the model that ships")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Print the answers; 1 where FILE or the model cannot be read."""
    parsed = _parse(arguments)
    try:
        _write(predict_all(read_tasks(parsed.file), parsed.artifact, os.cpu_count() or 1), sys.stdout)
    except Unreadable as error:
        print(f"python -m ml.predict: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # who reads has had enough, as `head` does; nothing is left to be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
