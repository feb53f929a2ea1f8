"""Drawings from elsewhere wait for review like any other; what cannot be read is named and left out."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError

from letters import dataset, errors, importing
from letters.models import Contributor, Drawing, Import, ModelVersion, Serving
from ml import artifact
from ml.preprocess import image_from_file, image_from_strokes
from tests.letters.collected import a_drawing, somebody
from tests.letters.visitor import LETTERS, Z, picture, scaled

pytestmark = pytest.mark.django_db
AGREED = "They agreed that their letters are kept and published."
TABLET = {"character": "z", "writer": 7, "strokes": Z}
QUICK_DRAW = {
    "key_id": "5891796615823360",
    "word": "Z",
    "countrycode": "AE",
    "timestamp": "2017-03-01 20:41:36.70725 UTC",
    "recognized": True,
    "drawing": [[[60, 140, 60, 140], [40, 40, 160, 160], [0, 20, 40, 60]]],
}


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The digest of the shipped model, and a cache of models that has it."""
    digest = artifact.verify(artifact.SHIPPED)
    cache = tmp_path_factory.mktemp("models")
    shutil.copytree(artifact.SHIPPED, cache / digest)
    return digest, cache


@pytest.fixture(autouse=True)
def serving(shipped: tuple[str, Path], settings: Any, db: None) -> ModelVersion:
    """The model that serves."""
    digest, settings.MODEL_CACHE_DIR = shipped
    model = ModelVersion.objects.create(number=7, digest=digest, name="Shipped", origin="shipped")
    Serving.objects.create(model=model)
    return model


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "letters.ndjson"


def bring_in(path: Path, *lines: Any, name: str = "tablets", **options: Any) -> tuple[importing.Summary, list[str]]:
    """What comes of these lines, or of what is there already, and the complaints."""
    if lines:
        texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        path.write_bytes(b"\n".join(texts))
    complaints: list[str] = []
    summary = importing.bring_in(
        path,
        name=name,
        agreed=AGREED,
        complain=lambda problem: complaints.append(f"{problem.place}: {problem.why}"),
        **options,
    )
    return summary, complaints


# --- A file of lines -----------------------------------------------------------------------------------------------


def test_letters_of_a_tablet(source: Path, serving: ModelVersion) -> None:
    summary, complaints = bring_in(source, TABLET)
    assert (summary.added, summary.known, complaints) == (1, 0, [])
    drawing = Drawing.objects.get()
    assert (drawing.character, drawing.label, drawing.state, drawing.source) == ("z", "Z", "pending", "import")
    assert drawing.strokes == [[[float(x), float(y)] for x, y in stroke] for stroke in Z]
    assert (drawing.canvas_width, drawing.canvas_height) == (160, 160)  # as far as it reaches
    assert bytes(drawing.image) == image_from_strokes(Z, (160, 160)).tobytes()
    assert (drawing.model, drawing.predicted, drawing.consent) == (serving, "Z", "import")
    assert 0.5 < drawing.probability <= 1
    assert drawing.contributor.imported_from == Import.objects.get(name="tablets", consent=AGREED)


def test_lines_of_quick_draw(source: Path) -> None:
    """Raw ones have times, simplified ones do not and are 256 pixels wide."""
    simplified = QUICK_DRAW | {"word": "z", "drawing": [QUICK_DRAW["drawing"][0][:2]]}  # type: ignore[index]
    assert bring_in(source, QUICK_DRAW, simplified)[0].added == 2
    raw, plain = Drawing.objects.order_by("character")
    assert raw.strokes == [[[60, 40, 0], [140, 40, 20], [60, 160, 40], [140, 160, 60]]]
    assert plain.strokes == [[[60, 40], [140, 40], [60, 160], [140, 160]]]
    assert plain.canvas_width == 256


def test_each_writer_is_a_contributor(source: Path) -> None:
    lines = [
        TABLET | {"writer": writer, "strokes": LETTERS[letter], "character": letter}
        for writer in (1, 2)
        for letter in "LT"
    ]
    bring_in(source, *lines, TABLET | {"writer": "1", "character": "Z"})
    assert sorted(each.drawings.count() for each in Contributor.objects.all()) == [2, 3]


def test_the_same_writer_of_another_collection_is_somebody_else(source: Path) -> None:
    bring_in(source, TABLET, name="one")
    bring_in(source, TABLET | {"strokes": scaled(Z, 0.5)}, name="two")
    assert Contributor.objects.count() == 2


def test_a_writer_is_held_out_by_the_same_hash_as_a_visitor(source: Path, settings: Any) -> None:
    settings.HOLDOUT_SHARE = 0.5
    bring_in(source, *(TABLET | {"writer": number} for number in range(20)))
    found = {each.held_out for each in Contributor.objects.all()}
    assert found == {True, False}
    assert all(each.held_out == Contributor.is_held_out(each.pk) for each in Contributor.objects.all())


def test_the_same_file_again_adds_nothing(source: Path) -> None:
    bring_in(source, TABLET, QUICK_DRAW)
    Drawing.objects.update(state="approved")
    summary, _ = bring_in(source)
    assert (summary.added, summary.known) == (0, 2)
    assert set(Drawing.objects.values_list("state", flat=True)) == {"approved"}


def test_a_line_twice_is_one_drawing(source: Path) -> None:
    summary, _ = bring_in(source, TABLET, TABLET)
    assert (summary.added, summary.known, Drawing.objects.count()) == (1, 1, 1)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{", "this is no JSON"),
        (b"\xff\xfe", "this is no JSON"),
        (b"[" * 100_000, "this is no JSON"),
        (b"[1]", "must be a JSON object"),
        (TABLET | {"character": "5"}, '"5" is not one of the letters'),
        (QUICK_DRAW | {"word": "cat"}, '"cat" is not one of the letters'),
        ({"strokes": Z}, "null is not one of the letters"),
        ({"word": "Z"}, "neither `drawing` nor `strokes`"),
        (TABLET | {"writer": [1]}, "neither a name nor a number"),
        (TABLET | {"strokes": []}, "there is no letter here"),
        (TABLET | {"strokes": [[[1, 1]]]}, "there is no letter here"),
        (TABLET | {"strokes": [[["a", 1]]]}, "point"),
        (TABLET | {"strokes": [[[1, 10**400], [5, 5]]]}, ""),
        (TABLET | {"strokes": [[[1, float("nan")], [5, 5]]]}, ""),
        (TABLET | {"strokes": [[[x, x] for x in range(5000)]]}, "points are too many"),
        (QUICK_DRAW | {"drawing": 5}, "must be a list of strokes"),
        (QUICK_DRAW | {"drawing": [[[1, 2], [3]]]}, "as many of one as of the other"),
        (TABLET | {"canvas": {"width": 0, "height": 5}}, "`canvas` must have"),
        ({"word": "Z", "drawing": [], "image": "AAAA"}, "28x28"),
        ({"word": "Z", "drawing": [], "image": 5}, "no base64"),
        (b'"' + b"x" * 2_500_000 + b'"', "a line may take at most"),
    ],
    ids=lambda value: (value if isinstance(value, str) else repr(value))[:40],
)
def test_a_bad_line_is_named_and_left_out(source: Path, line: Any, complaint: str) -> None:
    summary, complaints = bring_in(source, TABLET, line, b"", QUICK_DRAW)
    assert len(complaints) == 1
    assert complaints[0].startswith("line 2: ")
    assert complaint in complaints[0]
    assert (summary.added, summary.problems, Drawing.objects.count()) == (2, 1, 2)


def test_a_dry_run_adds_nothing(source: Path) -> None:
    summary, complaints = bring_in(source, TABLET, b"{", dry_run=True)
    assert (summary.added, len(complaints)) == (1, 1)
    assert (Drawing.objects.count(), Contributor.objects.count(), Import.objects.count()) == (0, 0, 0)


def test_a_batch_is_added_whole_or_not_at_all(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the third of four drawings cannot be stored, in batches of two."""
    monkeypatch.setattr(importing, "BATCH", 2)
    monkeypatch.setattr(importing, "class_of", lambda letter: "?" if letter == "V" else letter)
    lines = [TABLET | {"character": letter, "strokes": LETTERS[letter], "writer": letter} for letter in "LTVX"]
    with pytest.raises(IntegrityError, match="drawing_label_is_class"):
        bring_in(source, *lines)
    monkeypatch.undo()
    assert bring_in(source)[0].added == 2


def test_consent_is_needed(source: Path) -> None:
    source.write_text(json.dumps(TABLET))
    with pytest.raises(errors.ConsentRequired):
        importing.bring_in(source, name="tablets", agreed=" ")
    bring_in(source)
    with pytest.raises(errors.ImportDiffers, match="give the same words, or another --name"):
        importing.bring_in(source, name="tablets", agreed="Something else.")


# --- There and back ------------------------------------------------------------------------------------------------


def test_what_was_exported_comes_back_the_same(tmp_path: Path) -> None:
    authors = [somebody(), somebody()]
    a_drawing(
        "Z", contributor=authors[0], strokes=[[[1.25, 2, 3, 0.5], [90, 2.5, 7, 0.75]], [[90, 2], [1, 110.125, 9]]]
    )
    a_drawing("L", contributor=authors[0], corrected_character="t", label="t")
    a_drawing("x", contributor=authors[1])
    pixels = image_from_file(picture(LETTERS["V"])).tobytes()
    a_drawing("V", contributor=authors[1], image=pixels, canvas_width=28, canvas_height=28)
    Drawing.objects.filter(character="V").update(strokes=[])
    output = tmp_path / "letters.zip"
    dataset.write("ndjson", output)
    before = sorted(_content(each) for each in Drawing.objects.all())
    Contributor.objects.all().delete()
    assert Drawing.objects.count() == 0

    with zipfile.ZipFile(output) as archive:
        archive.extract("drawings.ndjson", tmp_path)
    assert bring_in(tmp_path / "drawings.ndjson")[1] == []
    assert sorted(_content(each) for each in Drawing.objects.all()) == before
    assert sorted(each.drawings.count() for each in Contributor.objects.all()) == [2, 2]


def _content(drawing: Drawing) -> tuple[object, ...]:
    canvas = drawing.canvas_width, drawing.canvas_height
    return drawing.letter, drawing.label, drawing.strokes, *canvas, bytes(drawing.image)


def test_an_export_of_this_site_adds_nothing_to_it(tmp_path: Path) -> None:
    """Its contributors would come back under other ids, and train what they are held out to judge."""
    a_drawing("Z")
    dataset.write("ndjson", tmp_path / "letters.zip")
    with zipfile.ZipFile(tmp_path / "letters.zip") as archive:
        archive.extract("drawings.ndjson", tmp_path)
    fingerprint = importing.collect.fingerprint_of(Drawing.objects.get().strokes, 200.0, 200.0)
    Drawing.objects.update(fingerprint=fingerprint)  # as collect.keep_drawing has it
    summary, _ = bring_in(tmp_path / "drawings.ndjson")
    assert (summary.added, summary.known, Drawing.objects.count()) == (0, 1, 1)


# --- A folder of pictures ------------------------------------------------------------------------------------------


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_a_folder_of_letters(tmp_path: Path) -> None:
    put(tmp_path / "L_upper" / "1.png", picture(LETTERS["L"]))
    put(tmp_path / "t_lower" / "1.jpg", picture(LETTERS["T"], kind="JPEG"))
    put(tmp_path / "V" / "ada" / "1.PNG", picture(LETTERS["V"]))
    put(tmp_path / "V" / "bob" / "1.png", picture(LETTERS["V"]))
    put(tmp_path / "V" / "bob" / ".hidden", b"")
    put(tmp_path / "V" / "bob" / "notes.txt", b"")
    put(tmp_path / "X_upper" / "broken.png", b"\x89PNG\r\n\x1a\n")
    put(tmp_path / "5" / "1.png", picture())
    summary, complaints = bring_in(tmp_path)
    assert summary.added == 4
    assert sorted(Drawing.objects.values_list("character", flat=True)) == ["L", "V", "V", "t"]
    assert Contributor.objects.count() == 3  # whoever is not named, ada, bob
    drawing = Drawing.objects.get(character="L")
    assert (drawing.strokes, bytes(drawing.image)) == ([], image_from_file(picture(LETTERS["L"])).tobytes())
    assert [complaint.partition(":")[0] for complaint in complaints] == ["5", "V/bob/notes.txt", "X_upper/broken.png"]
    assert bring_in(tmp_path)[0].added == 0


def test_a_folder_with_a_table(tmp_path: Path) -> None:
    put(tmp_path / "scans" / "a.png", picture(LETTERS["L"]))
    put(tmp_path / "scans" / "b.png", picture(LETTERS["T"]))
    put(tmp_path.parent / "outside.png", picture(LETTERS["X"]))
    table = "file,character,writer\nscans/a.png,L,ada\nscans/b.png,t,bob\n../outside.png,X,eve\nscans/c.png,X,eve\n"
    put(tmp_path / "labels.csv", table.encode())
    summary, complaints = bring_in(tmp_path)
    assert (summary.added, len(summary.writers)) == (2, 2)
    assert complaints == [
        "labels.csv, line 4: '../outside.png' lies outside the folder",
        "labels.csv, line 5: there is no file 'scans/c.png'",
    ]


def test_a_table_without_its_columns_is_named(tmp_path: Path) -> None:
    put(tmp_path / "labels.csv", b"picture;letter\n")
    _, complaints = bring_in(tmp_path)
    assert "must name the columns file, character" in complaints[0]


# --- The command ---------------------------------------------------------------------------------------------------


def test_the_command_sums_up(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source.write_text(f"{json.dumps(TABLET)}\nnonsense\n")
    call_command("import", str(source), consent=AGREED)
    said = capsys.readouterr()
    assert "1 drawings of 1 writers added, waiting for review; 0 were here already; 1 could not be read." in said.out
    assert "line 2: this is no JSON" in said.err
    assert Import.objects.get().name == "letters"


def test_the_command_says_what_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file or directory"):
        call_command("import", str(tmp_path / "none.ndjson"), consent=AGREED)


def test_the_command_says_that_no_model_serves(source: Path) -> None:
    source.write_text(json.dumps(TABLET))
    Serving.objects.all().delete()
    with pytest.raises(CommandError, match="register_shipped"):
        call_command("import", str(source), consent=AGREED)
