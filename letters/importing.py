"""Bring in drawings from elsewhere: they wait for review like any other, each writer a contributor of its own.

Two kinds of sources: a file with a JSON object a line, and a folder of pictures. docs/data.md describes both.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from django.db import transaction

from letters import collect, consent, errors, registry
from letters.models import Contributor, Drawing, Import, ModelVersion
from ml.labels import CHARACTERS, class_of
from ml.preprocess import (
    PREPROCESS_VERSION,
    PreprocessError,
    image_from_file,
    image_from_strokes,
    validate_strokes,
)

if TYPE_CHECKING:
    from ml.predictor import Predictor

BATCH = 200  # drawings a transaction
LINE_BYTES = 1024 * 1024
PICTURE_BYTES = 2 * 1024 * 1024
PICTURES = (".png", ".jpg", ".jpeg")
SIDE = 28.0
QUICK_DRAW_SIDE = 256.0  # of its simplified drawings
NAMESPACE = uuid.UUID("6c1f0c52-2b58-5d0e-9a43-5f6b2f0f7d11")  # of contributors that came from elsewhere
_LETTER_FOLDER = re.compile("([A-Za-z])(?:_(upper|lower))?")


class BadRecord(Exception):
    """A line or a picture that cannot be a drawing; says why."""


@dataclass(frozen=True)
class Record:
    """A drawing of a source: strokes on a canvas, or a picture's bytes, or an image of 784 bytes."""

    place: str  # "line 3", or the picture's name
    character: str
    writer: str
    strokes: collect.Strokes = field(default_factory=list)
    width: float = SIDE
    height: float = SIDE
    picture: Path | None = None
    pixels: bytes = b""


@dataclass(frozen=True)
class Problem:
    """What was left out, where and why."""

    place: str
    why: str


@dataclass
class Summary:
    """What came of an import."""

    added: int = 0
    known: int = 0
    problems: int = 0
    writers: set[uuid.UUID] = field(default_factory=set)


# --- Take them in --------------------------------------------------------------------------------------------------


def bring_in(
    source: Path,
    *,
    name: str,
    agreed: str,
    dry_run: bool = False,
    complain: Callable[[Problem], None] = lambda problem: None,
    report: Callable[[int], None] = lambda count: None,
) -> Summary:
    """Put the drawings of a source into the review queue; what is there already is not added again.

    `name` and a writer's own name make the contributor; `agreed` says what the contributors agreed to. Each batch is
    added whole or not at all. `complain` is told of what is left out, `report` how many were looked at.

    Raises UnreadableSource, ConsentRequired, ImportDiffers and NoModel before anything is added.
    """
    from ml.predictor import Predictor

    records = read(source)
    if not agreed.strip():
        raise errors.ConsentRequired
    known = Import.objects.filter(name=name).first()
    if known is not None and known.consent != agreed:
        raise errors.ImportDiffers(name, known.consent)
    model = registry.current()
    into = _Into(name, agreed, model, Predictor(registry.fetch(model.digest)), dry_run)
    summary = Summary()
    while batch := list(islice(records, BATCH)):
        for problem in into.add(batch, summary):
            summary.problems += 1
            complain(problem)
        report(len(batch))
    return summary


@dataclass
class _Into:
    """Where a source's drawings go."""

    name: str
    agreed: str
    model: ModelVersion
    predictor: Predictor
    dry_run: bool

    def add(self, batch: Iterable[Record | Problem], summary: Summary) -> list[Problem]:
        """Add what is new, count all, and hand back what cannot be added."""
        made: dict[tuple[uuid.UUID, str], Drawing] = {}
        problems: list[Problem] = []
        for record in batch:
            if isinstance(record, Problem):
                problems.append(record)
                continue
            try:
                drawing = self._drawing(record)
            except (BadRecord, PreprocessError) as bad:
                problems.append(Problem(record.place, str(bad)))
                continue
            key = (drawing.contributor_id, drawing.idempotency_key)
            summary.known += key in made
            made.setdefault(key, drawing)
        new = self._new(list(made.values()))
        if new and not self.dry_run:
            new = self._store(new)
        summary.known += len(made) - len(new)
        summary.added += len(new)
        summary.writers |= {drawing.contributor_id for drawing in new}
        return problems

    def _drawing(self, record: Record) -> Drawing:
        strokes, image = _image(record)
        canvas = record.width, record.height
        fingerprint = collect.fingerprint_of(strokes, *canvas) if strokes else collect.fingerprint_of_image(image)
        return Drawing(
            contributor_id=uuid.uuid5(NAMESPACE, f"{self.name}\n{record.writer}"),
            source=Drawing.Source.IMPORT,
            character=record.character,
            label=class_of(record.character),
            strokes=strokes,
            canvas_width=record.width,
            canvas_height=record.height,
            image=image.tobytes(),
            image_hash=hashlib.sha256(image.tobytes()).hexdigest(),
            preprocess=PREPROCESS_VERSION,
            model=self.model,
            consent=consent.IMPORTED,
            idempotency_key=hashlib.sha256(f"{fingerprint}{record.character}".encode()).hexdigest(),
            fingerprint=fingerprint,
        )

    def _new(self, drawings: list[Drawing]) -> list[Drawing]:
        """Those that this site does not hold: neither from this import, nor as the original of what it once exported.

        An export that comes back would else be a second contributor, who may train what the first one judges.
        """
        found = Drawing.objects.filter(fingerprint__in=[drawing.fingerprint for drawing in drawings]).values_list(
            "fingerprint", "contributor_id", "idempotency_key", "contributor__imported_from__name"
        )
        ours = {(contributor, key) for _, contributor, key, name in found if name == self.name}
        others = {fingerprint for fingerprint, _, _, name in found if name != self.name}
        return [
            drawing
            for drawing in drawings
            if drawing.fingerprint not in others and (drawing.contributor_id, drawing.idempotency_key) not in ours
        ]

    def _store(self, drawings: list[Drawing]) -> list[Drawing]:
        """Those that were still new once their contributors' rows were held: another import may be doing the same."""
        for drawing in drawings:
            pixels = np.frombuffer(drawing.image, np.uint8).reshape(28, 28)
            prediction = self.predictor.predict(pixels)
            drawing.predicted, drawing.probability = prediction.label, prediction.probability
        with transaction.atomic():
            self._lock_writers({drawing.contributor_id for drawing in drawings})
            return Drawing.objects.bulk_create(self._new(drawings))

    def _lock_writers(self, writers: set[uuid.UUID]) -> None:
        origin, _ = Import.objects.get_or_create(name=self.name, defaults={"consent": self.agreed})
        made = [
            Contributor(id=each, held_out=Contributor.is_held_out(each), imported_from=origin)
            for each in sorted(writers)
        ]
        Contributor.objects.bulk_create(made, ignore_conflicts=True)
        list(Contributor.objects.select_for_update().filter(pk__in=writers).order_by("pk"))


def _image(record: Record) -> tuple[collect.Strokes, npt.NDArray[np.uint8]]:
    """Strokes in order and the image. Raises BadRecord and PreprocessError."""
    if record.picture is not None:
        return [], image_from_file(_picture_bytes(record.picture))
    if record.pixels:
        return [], np.frombuffer(record.pixels, np.uint8).reshape(28, 28)
    canvas = record.width, record.height
    strokes = validate_strokes(record.strokes, canvas)
    return strokes, image_from_strokes(strokes, canvas)


def _picture_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            content = opened.read(PICTURE_BYTES + 1)
    except OSError as problem:
        raise BadRecord(f"it cannot be read ({problem.strerror})") from problem
    if len(content) > PICTURE_BYTES:
        raise BadRecord(f"a picture may take at most {PICTURE_BYTES:,} bytes")
    return content


# --- Read a source -------------------------------------------------------------------------------------------------


def read(source: Path) -> Iterator[Record | Problem]:
    """The drawings of a file or a folder, and what in it is none. Raises UnreadableSource."""
    try:
        if source.is_dir():
            table = source / "labels.csv"
            return _from_table(table) if table.is_file() else _from_folders(source)
        source.open("rb").close()
    except OSError as problem:
        raise errors.UnreadableSource(str(source), problem.strerror or str(problem)) from problem
    return _from_lines(source)


def _from_lines(path: Path) -> Iterator[Record | Problem]:
    with path.open("rb") as file:
        for number, line in enumerate(_bounded_lines(file), start=1):
            place = f"line {number}"
            if line is None:
                yield Problem(place, f"a line may take at most {LINE_BYTES:,} bytes")
            elif line.strip():
                try:
                    yield _record(place, line)
                except (BadRecord, OverflowError) as bad:
                    yield Problem(place, str(bad))


def _bounded_lines(file: Any) -> Iterator[bytes | None]:
    """The lines of a file; None for one that is too long, which is passed over without being held."""
    while line := file.readline(LINE_BYTES):
        if line.endswith(b"\n") or len(line) < LINE_BYTES:
            yield line
            continue
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(LINE_BYTES)
        yield None


def _record(place: str, line: bytes) -> Record:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"this is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise BadRecord("a line must be a JSON object")
    character = _letter(value.get("word", value.get("character")))
    writer = _writer(value.get("contributor", value.get("writer", "")))
    if "drawing" in value and not value["drawing"] and "image" in value:
        return Record(place, character, writer, pixels=_pixels(value["image"]))
    strokes = _points(value["drawing"]) if "drawing" in value else value.get("strokes")
    if not isinstance(strokes, list):
        raise BadRecord("there is neither `drawing` nor `strokes`")
    width, height = _canvas(value.get("canvas"), strokes, quick_draw="drawing" in value)
    return Record(place, character, writer, strokes, width, height)


def _letter(word: Any) -> str:
    if not isinstance(word, str) or word not in CHARACTERS:
        raise BadRecord(f"{_shown(word)} is not one of the letters A-Z and a-z")
    return word


def _writer(name: Any) -> str:
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise BadRecord(f"the writer {_shown(name)} is neither a name nor a number")
    return str(name)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:40] + "…"


def _points(drawing: Any) -> collect.Strokes:
    """Strokes of points, of strokes of axes: [[x, ...], [y, ...], [t, ...]?, [pressure, ...]?]."""
    try:
        return [_stroke(axes) for axes in drawing]
    except TypeError as error:
        raise BadRecord("`drawing` must be a list of strokes, each [[x, ...], [y, ...]] or with times too") from error


def _stroke(axes: list[list[float | None]]) -> list[list[float]]:
    if not 2 <= len(axes) <= 4 or len({len(axis) for axis in axes}) != 1:
        raise BadRecord("each stroke of `drawing` must have x, y and perhaps times, as many of one as of the other")
    return [list(_until_missing(point)) for point in zip(*axes, strict=True)]


def _until_missing(point: tuple[float | None, ...]) -> Iterator[float]:
    """The numbers of a point up to the first that it does not have."""
    for number in point:
        if number is None:
            return
        yield number


def _pixels(image: Any) -> bytes:
    try:
        pixels = base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise BadRecord("`image` is no base64") from error
    if len(pixels) != 784 or not any(pixels):
        raise BadRecord("`image` must be 28x28 grey values that are not all black")
    return pixels


def _canvas(canvas: Any, strokes: list[Any], *, quick_draw: bool) -> tuple[float, float]:
    """As it is said, or else as far as the drawing reaches."""
    if isinstance(canvas, dict):
        return _side(canvas.get("width")), _side(canvas.get("height"))
    numbers = [
        number
        for stroke in strokes
        if isinstance(stroke, list)
        for point in stroke
        if isinstance(point, list)
        for number in point[:2]
        if isinstance(number, int | float)
    ]
    side = float(max([1.0, *numbers]))
    side = QUICK_DRAW_SIDE if quick_draw and side <= QUICK_DRAW_SIDE else side
    return side, side


def _side(length: Any) -> float:
    if isinstance(length, bool) or not isinstance(length, int | float) or not length >= 1:
        raise BadRecord("`canvas` must have a width and a height of at least 1")
    return float(length)


# --- A folder of pictures ------------------------------------------------------------------------------------------


def _from_table(table: Path) -> Iterator[Record | Problem]:
    """By labels.csv: columns file, character and perhaps writer."""
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        lines = csv.DictReader(file)
        if not {"file", "character"} <= set(lines.fieldnames or ()):
            yield Problem("labels.csv", "its first line must name the columns file, character and perhaps writer")
            return
        for line in lines:
            place = f"labels.csv, line {lines.line_num}"
            try:
                yield Record(
                    place,
                    _letter(line["character"]),
                    line.get("writer") or "",
                    picture=_inside(table.parent, line["file"] or ""),
                )
            except BadRecord as bad:
                yield Problem(place, str(bad))


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise BadRecord(f"{name!r} lies outside the folder")
    if not path.is_file():
        raise BadRecord(f"there is no file {name!r}")
    return path


def _from_folders(folder: Path) -> Iterator[Record | Problem]:
    """By sub-folders: A, A_upper or a_lower, in it pictures, or a folder of pictures for each writer."""
    for letter_folder in sorted(_visible(folder)):
        named = _LETTER_FOLDER.fullmatch(letter_folder.name)
        if not letter_folder.is_dir() or not named:
            yield Problem(letter_folder.name, "not a folder of a letter, such as A_upper or a_lower")
            continue
        letter, case = named.groups()
        character = letter if case is None else letter.upper() if case == "upper" else letter.lower()
        yield from _pictures(folder, letter_folder, character)


def _pictures(folder: Path, letter_folder: Path, character: str) -> Iterator[Record | Problem]:
    for path in sorted(each for each in letter_folder.rglob("*") if not each.is_dir() and not _hidden(each, folder)):
        place = str(path.relative_to(folder))
        if path.suffix.lower() not in PICTURES:
            yield Problem(place, "only PNG and JPEG pictures are read")
            continue
        writer = path.parent.name if path.parent != letter_folder else ""
        yield Record(place, character, writer, picture=path)


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not _hidden(path, folder))


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") or part == "Thumbs.db" for part in path.relative_to(folder).parts)
