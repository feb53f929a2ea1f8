"""The collected data as files: what is in them, what is not, and what they say of themselves."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import emnist
import numpy as np
import pytest
from django.core.management import CommandError, call_command
from pyarrow import parquet

from letters import consent, dataset, errors
from letters.models import Contributor, Decision, Drawing, Import
from ml.emnist import load_letters
from ml.labels import CLASSES, index_of
from tests.letters.collected import a_drawing, somebody

pytestmark = pytest.mark.django_db
FORMATS = ("parquet", "idx", "ndjson")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "letters.zip"


def member(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in member(path, "drawings.ndjson").splitlines()]


def sheet(path: Path) -> str:
    """The data sheet, its lines joined: where they break is of no matter."""
    return " ".join(member(path, "DATASHEET.md").decode().split())


def table_row(path: Path, first: str) -> list[str]:
    """The cells after the first one, of the line of a table in the data sheet."""
    found = re.search(rf"^\| {re.escape(first)} \| (.*) \|$", member(path, "DATASHEET.md").decode(), re.MULTILINE)
    assert found, first
    return found[1].split(" | ")


# --- Formats -------------------------------------------------------------------------------------------------------


def test_ndjson_is_as_quick_draw_has_it(output: Path) -> None:
    drawing = a_drawing("t", strokes=[[[1.5, 2, 0], [3, 4.25, 16]], [[5, 6, 40], [90, 110, 50]]])
    written = dataset.write("ndjson", output)
    (line,) = lines(output)
    assert (line["key_id"], line["word"], line["label"]) == (str(drawing.pk), "t", "t")
    assert line["drawing"] == [[[1.5, 3], [2, 4.25], [0, 16]], [[5, 90], [6, 110], [40, 50]]]
    assert line["timestamp"] == f"{drawing.created_at:%Y-%m-%d %H:%M:%S} UTC"
    assert line["recognized"] is True
    assert line["canvas"] == {"width": 200, "height": 200}
    assert base64.b64decode(line["image"]) == bytes(drawing.image)
    assert (line["predicted"], line["probability"], line["model"]) == ("t", 0.875, "1" * 64)
    assert (line["state"], line["source"], line["consent"], line["preprocess"]) == ("approved", "canvas", "2", "1")
    assert (written.drawings, written.size) == (1, output.stat().st_size)


def test_strokes_of_uneven_points_keep_what_they_have() -> None:
    assert dataset.axes([[1, 2], [3, 4, 5], [6, 7, 8, 0.5]]) == [[1, 3, 6], [2, 4, 7], [None, 5, 8], [None, None, 0.5]]


def test_parquet_has_a_row_of_each(output: Path) -> None:
    right = a_drawing("L", strokes=[[[1, 2, 3, 0.5], [1, 90, 6, 0.75], [70, 90, 9, 1]]])
    wrong = a_drawing("X", predicted="Z", contributor=somebody(held_out=True))
    dataset.write("parquet", output)
    file = parquet.ParquetFile(io.BytesIO(member(output, "drawings.parquet")))
    found = {row["key_id"]: row for row in file.read().to_pylist()}
    assert found[str(right.pk)]["strokes"] == [
        {"x": [1, 1, 70], "y": [2, 90, 90], "t": [3, 6, 9], "pressure": [0.5, 0.75, 1]}
    ]
    assert found[str(wrong.pk)]["strokes"][0]["t"] is None
    assert found[str(wrong.pk)]["image"] == bytes(wrong.image)
    assert (found[str(wrong.pk)]["recognized"], found[str(right.pk)]["recognized"]) == (False, True)
    assert (found[str(wrong.pk)]["held_out"], found[str(right.pk)]["held_out"]) == (True, False)
    assert found[str(wrong.pk)]["class"] == index_of("X")
    assert found[str(right.pk)]["created_at"] == right.created_at.replace(microsecond=0)


def test_parquet_comes_in_row_groups(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "CHUNK", 2)
    monkeypatch.setattr(dataset, "ROW_GROUP", 4)
    for _ in range(7):
        a_drawing()
    dataset.write("parquet", output)
    file = parquet.ParquetFile(io.BytesIO(member(output, "drawings.parquet")))
    assert [file.metadata.row_group(each).num_rows for each in range(file.num_row_groups)] == [4, 3]


def test_idx_is_read_as_emnist_is(output: Path) -> None:
    """By the project's own reader: contributors that are held out are its test images."""
    train = [a_drawing(letter) for letter in ("L", "t", "X", "z")]
    test = a_drawing("V", contributor=somebody(held_out=True))
    dataset.write("idx", output)
    letters = load_letters("letterloop", "train", output)
    by_image = {image.tobytes(): CLASSES[label] for image, label in zip(letters.images, letters.labels, strict=True)}
    assert by_image == {bytes(drawing.image): drawing.label for drawing in train}
    held_out = load_letters("letterloop", "test", output)
    assert held_out.images.tobytes() == bytes(test.image)
    assert [CLASSES[label] for label in held_out.labels] == ["V"]


def test_idx_lies_transposed_and_has_emnists_codes(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the package and everybody else reads it."""
    drawing = a_drawing("t")
    dataset.write("idx", output)
    raw = gzip.decompress(member(output, "gzip/emnist-letterloop-train-images-idx3-ubyte.gz"))
    assert raw[:16] == bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28])
    assert np.frombuffer(raw[16:], np.uint8).reshape(28, 28).T.tobytes() == bytes(drawing.image)
    monkeypatch.setattr(emnist, "CACHE_FILE_PATH", str(output))
    images, labels = emnist.extract_training_samples("letterloop")
    assert images[0].tobytes() == bytes(drawing.image)
    assert labels.tolist() == [46]  # as EMNIST's balanced dataset has the t
    mapping = member(output, "gzip/emnist-letterloop-mapping.txt").decode().splitlines()
    assert (mapping[0], mapping[-1], len(mapping)) == ("10 65", "46 116", 37)


def test_idx_says_which_drawing_an_image_is(output: Path) -> None:
    drawings = [a_drawing("l"), a_drawing("X"), a_drawing("Z", contributor=somebody(held_out=True))]
    dataset.write("idx", output)
    items = list(csv.DictReader(io.StringIO(member(output, "items.csv").decode())))
    for item in items:
        drawing = Drawing.objects.get(pk=item["key_id"])
        letters = load_letters("letterloop", item["usage"], output)  # type: ignore[arg-type]
        assert letters.images[int(item["index"])].tobytes() == bytes(drawing.image)
        assert item["word"] == drawing.letter
    assert len(items) == len(drawings)


def test_no_cell_of_the_table_is_a_formula(output: Path) -> None:
    """Whoever opens it in a spreadsheet runs nothing that somebody else wrote: it has no text of anybody's."""
    brought_in = Import.objects.create(name='=HYPERLINK("https://evil.example")', consent="@SUM(1)")
    writer = somebody()
    Contributor.objects.filter(pk=writer.pk).update(imported_from=brought_in)
    for letter in "lZ":
        a_drawing(letter, contributor=writer)
    dataset.write("idx", output)
    rows = list(csv.reader(io.StringIO(member(output, "items.csv").decode())))
    assert len(rows) == 3
    assert not [cell for row in rows for cell in row if not re.fullmatch(r"[0-9A-Za-z][\w-]*", cell)]


@pytest.mark.parametrize("format", FORMATS)
def test_each_file_has_its_hash_in_the_sheet(format: str, output: Path) -> None:
    a_drawing()
    dataset.write(format, output)
    with zipfile.ZipFile(output) as archive:
        assert archive.testzip() is None
        for name in set(archive.namelist()) - {"DATASHEET.md"}:
            assert table_row(output, f"`{name}`") == [f"`{hashlib.sha256(archive.read(name)).hexdigest()}`"]


# --- What goes out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "states"),
    [("approved", {"approved"}), ("reviewed", {"approved", "rejected"}), ("all", {"approved", "rejected", "pending"})],
)
def test_a_selection_is_what_it_says(selection: str, states: set[str], output: Path) -> None:
    for state in Drawing.State.values:
        a_drawing(state=state)
    dataset.write("ndjson", output, selection=selection)
    assert {line["state"] for line in lines(output)} == states


def test_a_letter_goes_out_as_it_was_reviewed(output: Path) -> None:
    a_drawing("Z", corrected_character="t", label="t")
    dataset.write("ndjson", output)
    (line,) = lines(output)
    assert (line["word"], line["label"], line["character"], line["recognized"]) == ("t", "t", "Z", False)


@pytest.mark.parametrize("format", FORMATS)
def test_what_was_given_under_the_first_wording_stays(format: str, output: Path) -> None:
    """It said nothing of publishing."""
    a_drawing()
    old = a_drawing(consent="1")
    assert dataset.write(format, output).drawings == 1
    assert "1 drawing of this selection stayed behind" in sheet(output)
    with zipfile.ZipFile(output) as archive:
        assert not any(str(old.pk).encode() in archive.read(name) for name in archive.namelist())


def test_nothing_to_export_is_said(output: Path) -> None:
    a_drawing(consent="1")
    with pytest.raises(errors.NothingToExport, match="1 may not be given away"):
        dataset.write("ndjson", output)
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_no_id_of_a_contributor_leaves(format: str, output: Path) -> None:
    author = somebody()
    a_drawing("L", contributor=author)
    a_drawing("X", contributor=author)
    dataset.write(format, output)
    with zipfile.ZipFile(output) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            content = gzip.decompress(content) if name.endswith(".gz") else content
            assert author.pk.bytes not in content
            assert author.pk.hex.encode() not in content.lower().replace(b"-", b"")


def test_a_contributor_has_one_name_in_an_export_and_another_in_the_next(output: Path) -> None:
    author = somebody()
    a_drawing("L", contributor=author)
    a_drawing("X", contributor=author)
    a_drawing("Z")
    names = []
    for _ in range(2):
        dataset.write("ndjson", output)
        names.append({line["word"]: line["contributor"] for line in lines(output)})
        assert names[-1]["L"] == names[-1]["X"] != names[-1]["Z"]
    assert names[0]["L"] != names[1]["L"]


def test_an_export_that_fails_leaves_the_old_file(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_drawing()
    output.write_bytes(b"old")

    def full(*_: object, **__: object) -> str:
        raise OSError("no space left on device")

    monkeypatch.setattr("letters.datasheet.text", full)
    with pytest.raises(OSError, match="no space"):
        dataset.write("ndjson", output)
    assert [path.name for path in output.parent.iterdir()] == ["letters.zip"]
    assert output.read_bytes() == b"old"


# --- The data sheet ------------------------------------------------------------------------------------------------


def test_the_sheet_counts(output: Path) -> None:
    author, judge = somebody(), somebody(held_out=True)
    for letter in ("L", "l", "X"):
        a_drawing(letter, contributor=author)
    a_drawing("X", contributor=judge, predicted="Z")
    a_drawing("X", state="rejected")
    dataset.write("ndjson", output, selection="reviewed")
    words = sheet(output)
    assert "5 drawings of 3 contributors" in words
    assert "1 contributor with 1 drawing (`held_out`)" in words
    assert (
        "Drawings of a contributor: 1 to 3, median 1, mean 1.7; the largest part of one contributor is 60.0 %" in words
    )
    assert table_row(output, "X") == ["2", "1", "1"]  # approved, rejected, held out
    assert table_row(output, "L") == ["2", "0", "0"]
    assert table_row(output, "all") == ["4", "1", "1"]
    assert table_row(output, "1") == [f"`{'1' * 12}`", "5", "80.0 %"]  # the model


def test_the_sheet_has_the_words_that_were_agreed_to(output: Path, settings: Any) -> None:
    settings.DATA_LICENCE = "CC0"
    a_drawing()
    dataset.write("ndjson", output)
    words = consent.words_of("2")
    assert "CC0" in words
    assert table_row(output, "`2`") == ["1", f"“{words}”"]
    assert "Licence: CC0." in sheet(output)
    assert "arXiv:1702.05373" in sheet(output)  # EMNIST is to be cited


def test_the_sheet_has_the_words_of_a_collection_that_was_imported(output: Path) -> None:
    origin = Import.objects.create(name="tablets", consent="They signed | a form.")
    author = Contributor.objects.create(id="0" * 32, held_out=False, imported_from=origin)
    a_drawing(contributor=author, consent="import", source="import")
    dataset.write("ndjson", output)
    assert table_row(output, "tablets") == ["1", "“They signed \\| a form.”"]


def decide(drawing: Drawing, action: str, actor: str = "ada", **changes: Any) -> Decision:
    """A decision as the review writes it."""
    state = "rejected" if action == "reject" else "approved"
    letter = {"old_label": drawing.label, "old_character": drawing.character}
    fields = {
        "action": action,
        "actor": actor,
        "old_state": "pending",
        "new_state": state,
        **letter,
        "new_label": drawing.label,
        "new_character": drawing.character,
    }
    return Decision.objects.create(drawing=drawing, **fields | changes)


def test_the_sheet_says_how_far_reviewers_agree(output: Path) -> None:
    confirmed, relabelled, rejected, undone = (a_drawing() for _ in range(4))
    decide(confirmed, "approve")
    decide(confirmed, "approve", "bob")
    decide(relabelled, "approve")
    decide(relabelled, "relabel", "bob", new_label="X", new_character="X")
    decide(rejected, "reject", reason="offensive")
    wrong = decide(undone, "reject", reason="unreadable")
    decide(undone, "undo", undoes=wrong, new_state="pending")
    dataset.write("ndjson", output)
    assert table_row(output, "confirmed") == ["1", "33.3 %"]
    assert table_row(output, "relabelled") == ["1", "33.3 %"]
    assert table_row(output, "rejected: offensive") == ["1", "33.3 %"]
    assert "unreadable" not in sheet(output)
    assert "Of the 2 drawings that two different reviewers decided about, 1 (50.0 %) had the same result" in sheet(
        output
    )


# --- The command ---------------------------------------------------------------------------------------------------


def test_the_command_writes_a_file(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_drawing()
    a_drawing(state="rejected")
    call_command("export", str(output), format="ndjson", state="reviewed")
    assert len(lines(output)) == 2
    assert "2 drawings in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("there.zip", "exists: name another file"), ("", "is a folder"), ("none/x.zip", "there is no folder")],
)
def test_the_command_refuses_what_it_cannot_write(name: str, complaint: str, tmp_path: Path) -> None:
    a_drawing()
    (tmp_path / "there.zip").write_bytes(b"mine")
    with pytest.raises(CommandError, match=complaint):
        call_command("export", str(tmp_path / name), format="idx")
    assert (tmp_path / "there.zip").read_bytes() == b"mine"


def test_the_command_replaces_a_file_when_told_to(output: Path) -> None:
    a_drawing()
    output.write_bytes(b"mine")
    call_command("export", str(output), format="idx", force=True)
    assert zipfile.is_zipfile(output)


def test_the_command_says_that_there_is_nothing(output: Path) -> None:
    with pytest.raises(CommandError, match="approve some in the review first"):
        call_command("export", str(output), format="idx")
