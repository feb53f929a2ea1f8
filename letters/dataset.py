"""The collected data as one file: Parquet, idx as EMNIST has it, or ndjson as Quick, Draw! has it, with a data sheet.

Rows come from the database a few at a time by their ids and go straight into the file, so memory does not grow with
them. docs/data.md describes each field.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import os
import secrets
import struct
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache, partial
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from django.conf import settings
from django.db.models import QuerySet

from letters import census, consent, datasheet, errors
from letters.models import Drawing, Export
from ml.labels import CLASSES, index_of

Strokes = list[list[list[float]]]
Report = Callable[[int], None]  # is told now and then how many drawings are written

CHUNK = 200  # drawings at a time; as large as one may be, so many take 150 MB
ROW_GROUP = 5_000  # drawings, of Parquet
ROW_GROUP_BYTES = 32 * 1024 * 1024  # and no more than these where drawings are large
NAMES_KEPT = 10_000  # of contributors
COPIED = 1024 * 1024  # bytes at a time
EMNIST_NAME = "letterloop"  # of the dataset: emnist.extract_training_samples("letterloop")
FIRST_LETTER = 10  # EMNIST's codes 0 to 9 are digits
SELECTIONS: dict[str, tuple[str, ...]] = {
    "approved": (Drawing.State.APPROVED,),
    "reviewed": (Drawing.State.APPROVED, Drawing.State.REJECTED),
    "all": (Drawing.State.APPROVED, Drawing.State.REJECTED, Drawing.State.PENDING),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A drawing as it leaves the site: `contributor` is a name of this export alone, and no id of a cookie."""

    key_id: uuid.UUID
    word: str
    character: str
    label: str
    state: str
    source: str
    contributor: str
    held_out: bool
    strokes: Strokes
    canvas_width: float
    canvas_height: float
    image: bytes
    preprocess: str
    predicted: str
    probability: float
    model: str
    consent: str
    collection: str  # that it was imported with; empty where it was drawn here
    created_at: datetime


@dataclass(frozen=True)
class Written:
    """What an export came to."""

    drawings: int
    size: int


# --- What goes out -------------------------------------------------------------------------------------------------


def selected(selection: str) -> QuerySet[Drawing]:
    """The drawings of a selection whose contributors agreed that they go out."""
    return Drawing.objects.filter(state__in=SELECTIONS[selection], consent__in=consent.PUBLISHABLE)


def withheld(selection: str) -> int:
    """How many drawings of a selection stay here because their contributors agreed to no more than that."""
    return census.withheld(SELECTIONS[selection])


def publishable(selection: str) -> int:
    """How many drawings of a selection may go out."""
    return census.publishable(selected(selection), SELECTIONS[selection])


def rows(selection: str, *, strokes: bool = True) -> Iterator[Row]:
    """The drawings of a selection in the order of their random ids, which says nothing of when each was made.

    Each call names the contributors anew.
    """
    pseudonym = lru_cache(NAMES_KEPT)(partial(_pseudonym, secrets.token_bytes(32)))
    fields = [
        *("id", "corrected_character", "character", "label", "state", "source", "contributor_id"),
        *("contributor__held_out", "canvas_width", "canvas_height", "image", "preprocess", "predicted", "probability"),
        *("model__digest", "consent", "contributor__imported_from__name", "created_at"),
        *(("strokes",) if strokes else ()),
    ]
    # Filtered here and not there: a database that filters by the index of states sorts all of them for each chunk.
    every = Drawing.objects.order_by("id").values(*fields)
    states, last = SELECTIONS[selection], uuid.UUID(int=0)
    while chunk := list(every.filter(id__gt=last)[:CHUNK]):
        for each in chunk:
            if each["state"] in states and each["consent"] in consent.PUBLISHABLE:
                yield _row(each, pseudonym(each["contributor_id"]))
        last = chunk[-1]["id"]


def _row(value: dict[str, Any], contributor: str) -> Row:
    return Row(
        key_id=value["id"],
        word=value["corrected_character"] or value["character"],
        character=value["character"],
        label=value["label"],
        state=value["state"],
        source=value["source"],
        contributor=contributor,
        held_out=value["contributor__held_out"],
        strokes=value.get("strokes", []),
        canvas_width=value["canvas_width"],
        canvas_height=value["canvas_height"],
        image=bytes(value["image"]),
        preprocess=value["preprocess"],
        predicted=value["predicted"],
        probability=value["probability"],
        model=value["model__digest"],
        consent=value["consent"],
        collection=value["contributor__imported_from__name"] or "",
        created_at=value["created_at"].replace(microsecond=0),
    )


def _pseudonym(salt: bytes, contributor: uuid.UUID) -> str:
    """The salt is forgotten with the export, so nobody can find out whose id a name stands for, nor can we."""
    return hmac.digest(salt, contributor.bytes, "sha256").hex()[:16]


def axes(stroke: list[list[float]]) -> list[list[float | None]]:
    """A stroke of points [x, y, t?, pressure?] as Quick, Draw! has it: all x, all y, all t, all pressures.

    The last two are there only if a point has them; null stands where another one has none.
    """
    return [list(axis) for axis in zip_longest(*stroke)]


# --- The file ------------------------------------------------------------------------------------------------------


def write(format: str, output: Path, *, selection: str = "approved", report: Report = lambda done: None) -> Written:
    """Make the file of a format, there only once it is whole. `output` is replaced.

    Raises NothingToExport.
    """
    if not selected(selection).exists():
        raise errors.NothingToExport(withheld(selection))
    aside = output.with_name(f".{output.name}.{secrets.token_hex(4)}.part")
    try:
        drawings = _pack(format, aside, selection, report)
        os.replace(aside, output)
    finally:
        aside.unlink(missing_ok=True)
    return Written(drawings, output.stat().st_size)


def _pack(format: str, path: Path, selection: str, report: Report) -> int:
    tally = datasheet.Tally()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        members = Members(archive, path.parent)
        with _WRITERS[Export.Format(format)](members, report) as writer:
            for row in rows(selection, strokes=format != Export.Format.IDX):
                writer.add(row)
                tally.add(row)
                if tally.drawings % CHUNK == 0:
                    report(tally.drawings)
        if not tally.drawings:  # the last were withdrawn just now
            raise errors.NothingToExport(withheld(selection))
        sheet = datasheet.text(
            tally, format=format, selection=selection, withheld=withheld(selection), members=members.hashes
        )
        archive.writestr("DATASHEET.md", sheet)
    report(tally.drawings)
    return tally.drawings


class Members:
    """The files in an archive, and the SHA-256 of each; `folder` is where there is room for what goes into it."""

    def __init__(self, archive: zipfile.ZipFile, folder: Path) -> None:
        self._archive = archive
        self.folder = folder
        self.hashes: dict[str, str] = {}

    @contextmanager
    def open(self, name: str, *, compressed: bool = False) -> Iterator[Member]:
        """A file to write; `compressed`: already, so that it is not tried again."""
        info = zipfile.ZipInfo(name, time.gmtime()[:6])
        info.compress_type = zipfile.ZIP_STORED if compressed else zipfile.ZIP_DEFLATED
        with self._archive.open(info, "w", force_zip64=True) as handle:
            member = Member(handle)
            yield member
        self.hashes[name] = member.sha256.hexdigest()


class Member:
    """What pyarrow and gzip ask of a file that they write into one after the other."""

    closed = False

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._position = 0
        self.sha256 = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.sha256.update(content)
        self._position += len(content)
        return self._handle.write(content)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        self._handle.flush()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """Whoever opened it closes it."""


class Writer(Protocol):
    """Takes one drawing after the other."""

    def add(self, row: Row) -> None: ...


# --- ndjson --------------------------------------------------------------------------------------------------------


_as_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class _Ndjson:
    def __init__(self, member: Member) -> None:
        self._member = member

    def add(self, row: Row) -> None:
        self._member.write(_as_json(ndjson_value(row)).encode() + b"\n")


@contextmanager
def _ndjson(members: Members, report: Report) -> Iterator[Writer]:
    with members.open("drawings.ndjson") as member:
        yield _Ndjson(member)


def ndjson_value(row: Row) -> dict[str, Any]:
    """A drawing as a line: first what Quick, Draw! has, then what is ours."""
    return {
        "key_id": str(row.key_id),
        "word": row.word,
        "countrycode": "",  # nobody is asked for it; readers of Quick, Draw! look for it
        "timestamp": f"{row.created_at:%Y-%m-%d %H:%M:%S} UTC",
        "recognized": row.predicted == row.label,
        "drawing": [axes(stroke) for stroke in row.strokes],
        "canvas": {"width": row.canvas_width, "height": row.canvas_height},
        "label": row.label,
        "character": row.character,
        "state": row.state,
        "source": row.source,
        "contributor": row.contributor,
        "held_out": row.held_out,
        "predicted": row.predicted,
        "probability": row.probability,
        "model": row.model,
        "preprocess": row.preprocess,
        "consent": row.consent,
        "image": base64.b64encode(row.image).decode(),
    }


# --- Parquet -------------------------------------------------------------------------------------------------------


@cache
def _schema() -> Any:
    import pyarrow as pa

    numbers = pa.list_(pa.float64())
    stroke = pa.struct([(name, numbers) for name in ("x", "y", "t", "pressure")])
    words = ("key_id", "word", "character", "label", "state", "source", "contributor")
    return pa.schema(
        [
            *((name, pa.string()) for name in words),
            ("class", pa.int8()),
            ("held_out", pa.bool_()),
            ("strokes", pa.list_(stroke)),
            ("canvas_width", pa.float64()),
            ("canvas_height", pa.float64()),
            ("image", pa.binary(784)),
            ("preprocess", pa.string()),
            ("predicted", pa.string()),
            ("probability", pa.float64()),
            ("recognized", pa.bool_()),
            ("model", pa.string()),
            ("consent", pa.string()),
            ("created_at", pa.timestamp("ms", tz="UTC")),
        ]
    )


class _Parquet:
    """Collects rows into batches, which take a tenth of their objects' memory, and batches into row groups."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._rows: list[dict[str, Any]] = []
        self._batches: list[Any] = []

    def add(self, row: Row) -> None:
        self._rows.append(_parquet_value(row))
        if len(self._rows) == CHUNK:
            self._make_batch()
            big = sum(batch.nbytes for batch in self._batches) > ROW_GROUP_BYTES
            if big or sum(batch.num_rows for batch in self._batches) >= ROW_GROUP:
                self.flush()

    def flush(self) -> None:
        """Write what is held as a row group."""
        import pyarrow as pa

        self._make_batch()
        if self._batches:
            self._file.write_table(pa.Table.from_batches(self._batches))
        self._batches = []

    def _make_batch(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._batches.append(pa.RecordBatch.from_pylist(self._rows, schema=_schema()))
        self._rows = []


@contextmanager
def _parquet(members: Members, report: Report) -> Iterator[Writer]:
    from pyarrow import parquet

    schema = _schema().with_metadata({"licence": settings.DATA_LICENCE, "description": "DATASHEET.md beside this file"})
    with (
        members.open("drawings.parquet", compressed=True) as member,
        parquet.ParquetWriter(member, schema, compression="zstd") as file,
    ):
        writer = _Parquet(file)
        yield writer
        writer.flush()


def _parquet_value(row: Row) -> dict[str, Any]:
    return {
        "key_id": str(row.key_id),
        "word": row.word,
        "character": row.character,
        "label": row.label,
        "state": row.state,
        "source": row.source,
        "contributor": row.contributor,
        "class": index_of(row.label),
        "held_out": row.held_out,
        "strokes": [dict(zip(("x", "y", "t", "pressure"), axes(stroke), strict=False)) for stroke in row.strokes],
        "canvas_width": row.canvas_width,
        "canvas_height": row.canvas_height,
        "image": row.image,
        "preprocess": row.preprocess,
        "predicted": row.predicted,
        "probability": row.probability,
        "recognized": row.predicted == row.label,
        "model": row.model,
        "consent": row.consent,
        "created_at": row.created_at,
    }


# --- idx, as EMNIST has it -----------------------------------------------------------------------------------------


class _Usage:
    """One half of a dataset of EMNIST, `train` or `test`, gathered in files: their headers need the count."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.count = 0
        self._images = (folder / f"{name}-images").open("w+b")
        self._labels = (folder / f"{name}-labels").open("w+b")
        self._items = (folder / f"{name}-items").open("w+", encoding="utf-8", newline="")

    def add(self, row: Row) -> None:
        self._images.write(np.frombuffer(row.image, np.uint8).reshape(28, 28).T.tobytes())  # EMNIST's lie on their side
        self._labels.write(bytes([FIRST_LETTER + index_of(row.label)]))
        self._items.write(f"{self.name},{self.count},{row.key_id},{row.word},{row.contributor},{row.state}\n")
        self.count += 1

    def pack(self, members: Members, pause: Callable[[], None]) -> None:
        """Into the archive, under the names that EMNIST's own has; `pause` is called now and then."""
        for kind, file, shape in (("images", self._images, (28, 28)), ("labels", self._labels, ())):
            dimensions = 1 + len(shape)
            name = f"gzip/emnist-{EMNIST_NAME}-{self.name}-{kind}-idx{dimensions}-ubyte.gz"
            with (
                members.open(name, compressed=True) as member,
                gzip.GzipFile("", "wb", compresslevel=6, fileobj=member, mtime=0) as packed,
            ):
                packed.write(struct.pack(f">4B{dimensions}I", 0, 0, 8, dimensions, self.count, *shape))
                _copy(file, packed, pause)

    def items(self) -> IO[str]:
        """Lines that say which drawing each image is, from their beginning."""
        self._items.seek(0)
        return self._items

    def close(self) -> None:
        for file in (self._images, self._labels, self._items):
            file.close()


def _copy(source: IO[bytes], target: IO[bytes] | gzip.GzipFile, pause: Callable[[], None]) -> None:
    source.seek(0)
    while block := source.read(COPIED):
        target.write(block)
        pause()


class _Idx:
    def __init__(self, folder: Path) -> None:
        self.train = _Usage(folder, "train")
        self.test = _Usage(folder, "test")

    def add(self, row: Row) -> None:
        (self.test if row.held_out else self.train).add(row)


@contextmanager
def _idx(members: Members, report: Report) -> Iterator[Writer]:
    """Beside the archive, where there is room: /tmp may be memory."""
    with tempfile.TemporaryDirectory(prefix="letterloop-idx-", dir=members.folder) as folder:
        writer = _Idx(Path(folder))
        try:
            yield writer
            _pack_idx(writer, members, report)
        finally:
            writer.train.close()
            writer.test.close()


def _pack_idx(writer: _Idx, members: Members, report: Report) -> None:
    done = writer.train.count + writer.test.count
    for usage in (writer.train, writer.test):
        usage.pack(members, lambda: report(done))
    with members.open(f"gzip/emnist-{EMNIST_NAME}-mapping.txt") as member:
        member.write("".join(f"{FIRST_LETTER + index_of(each)} {ord(each)}\n" for each in CLASSES).encode())
    with members.open("items.csv") as member:
        member.write(b"usage,index,key_id,word,contributor,state\n")
        for usage in (writer.train, writer.test):
            for line in usage.items():
                member.write(line.encode())


_WRITERS = {Export.Format.PARQUET: _parquet, Export.Format.IDX: _idx, Export.Format.NDJSON: _ndjson}
