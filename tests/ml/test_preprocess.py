from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from ml import preprocess
from ml.predictor import Predictor
from ml.preprocess import (
    BlankDrawing,
    InvalidImage,
    InvalidStrokes,
    PreprocessError,
    image_from_file,
    image_from_strokes,
    validate_strokes,
)
from tests.ml.glyphs import GLYPHS, fitted, moved, scaled
from tests.ml.pictures import drawn, encoded

Pixels = npt.NDArray[np.uint8]

STROKES_BOUND = 1.0  # of 255, mean absolute difference: the same strokes moved or scaled
PICTURE_BOUND = 10.0  # the same letter as a picture drawn with a pen 1 to 15 % of its height wide
SMALL_PICTURE_BOUND = 15.0  # down to letters 40 pixels high, whose pixels are larger than ours
THICK_AND_THIN = 12.0  # a letter of uneven strokes; 14.5 where the thin ones are lost
SAME_PREDICTION = 0.98

LETTER = [[[20.0, 20.0], [60.0, 120.0]], [[60.0, 120.0], [100.0, 20.0]]]
glyphs = st.sampled_from(sorted(GLYPHS))


def difference(one: Pixels, other: Pixels) -> float:
    """Mean absolute difference, of 255."""
    return float(np.abs(one.astype(int) - other).mean())


def ink_box(image: Pixels) -> tuple[int, int, int, int]:
    """First and last row and column with ink, half as bright as the brightest."""
    rows, columns = np.flatnonzero((image >= 128).any(axis=1)), np.flatnonzero((image >= 128).any(axis=0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


# --- the recipe


def test_it_works() -> None:
    image = image_from_strokes(GLYPHS["T"])
    assert image.shape == (28, 28)
    assert image.dtype == np.uint8
    assert image.max() == 255
    assert image.min() == 0
    assert image[3, 6:22].min() > 200  # the bar is at the top: upright
    assert image[20:24, 13:15].min() > 200  # the stem in the middle
    assert image[20:24, 5:10].max() == 0


@pytest.mark.parametrize("letter", sorted(GLYPHS))
def test_the_larger_side_spans_24_of_28_pixels_and_the_letter_is_centred(letter: str) -> None:
    top, bottom, left, right = ink_box(image_from_strokes(GLYPHS[letter]))
    assert 22 <= max(bottom - top, right - left) + 1 <= 24
    assert abs((top + bottom) - 27) <= 1
    assert abs((left + right) - 27) <= 1


def test_the_aspect_is_kept() -> None:
    top, bottom, left, right = ink_box(image_from_strokes([[[0, 0], [0, 100]], [[50, 0], [50, 100]]]))
    pen = preprocess.PEN
    assert (right - left + 1 - pen) / (bottom - top + 1 - pen) == pytest.approx(0.5, abs=0.06)


def test_the_edges_are_smooth() -> None:
    image = image_from_strokes(GLYPHS["O"])
    assert len(np.unique(image)) > 50


def test_the_same_letters_are_the_same_images_to_the_bit() -> None:
    """Whoever changes the recipe changes its version, and then the digest here: stored images name their version."""
    golden = {"1": "dd7210789279b5c56dfc3b56e23fe94cc9c5f9da94cea4af378fdf43e8decc2e"}
    digest = hashlib.sha256(b"".join(image_from_strokes(GLYPHS[letter]).tobytes() for letter in sorted(GLYPHS)))
    assert digest.hexdigest() == golden[preprocess.PREPROCESS_VERSION]


def test_what_sums_up_is_exact_in_float32() -> None:
    """Then no order of summation, and so no machine, can change a bit."""
    kernel = preprocess._kernel()
    assert (kernel == np.rint(kernel)).all()
    assert np.abs(kernel).sum(axis=1).max() ** 2 < 2**24


# --- strokes that are the same letter


@given(glyphs, st.floats(0.2, 3), st.floats(-500, 500), st.floats(-500, 500))
def test_moved_and_scaled_strokes_give_the_same_image(letter: str, factor: float, dx: float, dy: float) -> None:
    same = moved(scaled(GLYPHS[letter], factor), dx, dy)
    assert difference(image_from_strokes(same), image_from_strokes(GLYPHS[letter])) < STROKES_BOUND


@given(glyphs, st.floats(1, 3))
def test_the_canvas_and_its_pixel_ratio_do_not_matter(letter: str, ratio: float) -> None:
    dense = scaled(GLYPHS[letter], ratio)
    on_canvas = image_from_strokes(dense, (300 * ratio, 200 * ratio))
    assert difference(on_canvas, image_from_strokes(GLYPHS[letter])) < STROKES_BOUND


@given(glyphs, st.randoms(use_true_random=False))
def test_neither_order_nor_direction_of_strokes_matters(letter: str, random: Any) -> None:
    strokes = [stroke[::-1] if random.random() < 0.5 else stroke for stroke in GLYPHS[letter]]
    random.shuffle(strokes)
    assert difference(image_from_strokes(strokes), image_from_strokes(GLYPHS[letter])) < STROKES_BOUND


def test_time_and_pressure_do_not_matter() -> None:
    with_more = [[[x, y, 16.0 * at, 0.5] for at, (x, y) in enumerate(stroke)] for stroke in LETTER]
    assert (image_from_strokes(with_more) == image_from_strokes(LETTER)).all()


def test_a_pen_resting_at_a_point_does_not_matter() -> None:
    resting = [[point for point in stroke for _ in range(5)] for stroke in LETTER]
    assert (image_from_strokes(resting) == image_from_strokes(LETTER)).all()


# --- strokes that are refused


@pytest.mark.parametrize(
    "strokes",
    [
        None,
        "strokes",
        {"0": [[0, 0]]},
        [1],
        ["ab"],
        [None],
        [[1, 2]],
        [["ab", "cd"]],
        [[[1]]],
        [[[1, 2, 3, 4, 5]]],
        [[["1", "2"]]],
        [[[True, 2]]],
        [[[None, 2]]],
        [[[1, [2]]]],
        [[{"x": 1, "y": 2}]],
        [[[math.nan, 0], [1, 1]]],
        [[[0, math.inf], [1, 1]]],
        [[[0, 0], [1, -math.inf]]],
        [[[0, 0, math.nan], [1, 1, 2]]],
        [[[0, 0, 1, math.inf], [1, 1, 2, 3]]],
        [[[0, 0], [1_000_001, 1]]],
        [[[0, 0], [10**400, 1]]],
        [[[0, 0, 10**400], [1, 1, 2]]],
    ],
)
def test_what_is_no_drawing_is_invalid(strokes: object) -> None:
    for refuse in (validate_strokes, image_from_strokes):
        with pytest.raises(InvalidStrokes) as raised:
            refuse(strokes)
        assert raised.value.code == "invalid"
        assert raised.value.message == str(raised.value) != ""


@pytest.mark.parametrize(
    "canvas",
    [(0, 10), (10, -1), (math.nan, 10), (10, math.inf), ("10", 10), (True, 10), (10,), (1, 2, 3), 10, (10**400, 1), {}],
)
def test_a_canvas_is_two_positive_finite_numbers(canvas: object) -> None:
    with pytest.raises(InvalidStrokes, match="canvas"):
        validate_strokes(LETTER, canvas)


def test_64_strokes_are_drawn_and_65_are_too_many() -> None:
    assert image_from_strokes([[[i, 0], [i, 50]] for i in range(64)]).max() == 255
    with pytest.raises(InvalidStrokes) as raised:
        image_from_strokes([[[i, 0], [i, 50]] for i in range(65)])
    assert raised.value.code == "too_many_strokes"


def test_4096_points_are_drawn_and_4097_are_too_many() -> None:
    points = [[i % 97, i % 89] for i in range(4097)]
    assert image_from_strokes([points[:2000], points[2000:4096]]).max() == 255
    with pytest.raises(InvalidStrokes) as raised:
        image_from_strokes([points[:2000], points[2000:]])
    assert raised.value.code == "too_many_points"


def test_validated_strokes_are_floats_without_empty_strokes() -> None:
    assert validate_strokes([[[1, 2]], [], [[3, 4, 5, 0.5], (6, 7)]]) == [
        [[1.0, 2.0]],
        [[3.0, 4.0, 5.0, 0.5], [6.0, 7.0]],
    ]
    assert validate_strokes([]) == []


@pytest.mark.parametrize(
    ("strokes", "canvas"),
    [
        ([], None),
        ([[]], None),
        ([[], []], (200, 200)),
        ([[[5, 5]]], None),
        ([[[5, 5], [5, 5], [5, 5]]], None),
        ([[[5, 5]], [[5, 5]]], (200, 200)),
        ([[[0.1 + 0.2, 1]], [[0.3, 1]]], None),
        ([[[100, 100], [102, 101], [101, 103]]], (200, 200)),  # a finger put down
    ],
)
def test_no_ink_and_a_dot_are_blank(strokes: object, canvas: object) -> None:
    with pytest.raises(BlankDrawing) as raised:
        image_from_strokes(strokes, canvas)
    assert raised.value.code == "blank_drawing"


def test_a_letter_of_a_twentieth_of_the_canvas_is_none() -> None:
    assert image_from_strokes(scaled(GLYPHS["A"], 0.1), (200, 200)).max() == 255


def test_the_dot_of_an_i_is_ink() -> None:
    stem = [[50.0, 40.0], [50.0, 100.0]]
    with_dot = image_from_strokes([stem, [[50.0, 10.0]]], (200, 200))
    assert with_dot[3:5, 13:15].min() > 128
    assert with_dot[8, 12:16].max() < 128  # the gap under the dot


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=30,
)


@given(json_values, st.none() | st.tuples(st.floats(), st.floats()))
def test_anything_is_an_image_or_a_refusal(strokes: object, canvas: object) -> None:
    assert _image_or_code(image_from_strokes, strokes, canvas) in {"image", "invalid", "blank_drawing"}


def _image_or_code(function: Callable[..., Pixels], *arguments: Any) -> str:
    try:
        image = function(*arguments)
    except PreprocessError as error:
        return error.code
    return "image" if image.max() == 255 else "an image without full contrast"


coordinates = st.floats(-1e6, 1e6)


@pytest.mark.parametrize("canvas", [None, (1e-305, 1e-305)])
def test_what_is_too_small_for_floats_is_blank(canvas: tuple[float, float] | None) -> None:
    with pytest.raises(BlankDrawing):
        image_from_strokes([[[0.0, 0.0], [0.0, 1e-306]]], canvas)


@given(st.lists(st.lists(st.lists(coordinates, min_size=2, max_size=2), max_size=5), max_size=5))
def test_any_finite_strokes_are_an_image_or_blank(strokes: list[list[list[float]]]) -> None:
    try:
        image = image_from_strokes(strokes)
    except BlankDrawing:
        return
    assert image.max() == 255
    for border in (image[0], image[27], image[:, 0], image[:, 27]):
        assert border.max() < 16  # no ink, only what smoothing carries there


# --- pictures that are the same letter


@settings(max_examples=60, deadline=None)
@given(glyphs, st.floats(2, 30), st.floats(1, 3))
def test_the_width_of_the_pen_and_the_pixel_ratio_do_not_matter(letter: str, width: float, ratio: float) -> None:
    picture = encoded(drawn(scaled(GLYPHS[letter], 2), width, ratio))
    assert difference(image_from_file(picture), image_from_strokes(GLYPHS[letter])) < PICTURE_BOUND


@settings(max_examples=30, deadline=None)
@given(glyphs, st.floats(0.2, 3))
def test_the_size_in_a_picture_does_not_matter(letter: str, factor: float) -> None:
    picture = encoded(drawn(scaled(GLYPHS[letter], 2 * factor), 8 * factor))
    assert difference(image_from_file(picture), image_from_strokes(GLYPHS[letter])) < SMALL_PICTURE_BOUND


@settings(max_examples=20, deadline=None)
@given(glyphs, st.integers(0, 150), st.integers(0, 150), st.integers(0, 150), st.integers(0, 150))
def test_the_place_in_a_picture_does_not_matter(letter: str, left: int, top: int, right: int, bottom: int) -> None:
    picture = drawn(scaled(GLYPHS[letter], 2), 8)
    page = Image.new("L", (picture.width + left + right, picture.height + top + bottom), 255)
    page.paste(picture, (left, top))
    assert difference(image_from_file(encoded(page)), image_from_file(encoded(picture))) < STROKES_BOUND


def test_a_hairline_in_a_large_picture_is_kept() -> None:
    picture = encoded(drawn(scaled(GLYPHS["A"], 15), 2))
    assert difference(image_from_file(picture), image_from_strokes(GLYPHS["A"])) < PICTURE_BOUND


def test_a_letter_of_thick_and_thin_strokes_keeps_both() -> None:
    """As a broad nib draws it: moved by one distance, the outline of the thin ones would vanish."""
    page = Image.new("L", (300, 300), 255)
    draw = ImageDraw.Draw(page)
    draw.line((50, 50, 190, 250), fill=0, width=30)
    draw.line((190, 50, 120, 150), fill=0, width=30)
    draw.line((120, 150, 50, 250), fill=0, width=4)
    assert difference(image_from_file(encoded(page)), image_from_strokes(GLYPHS["X"])) < THICK_AND_THIN


def test_a_picture_of_28_pixels_is_read() -> None:
    """An image in EMNIST's own form comes back nearly as it was."""
    image = image_from_strokes(GLYPHS["A"])
    assert difference(image_from_file(encoded(Image.fromarray(image))), image) < PICTURE_BOUND


# --- kinds of pictures

PICTURE = drawn(scaled(GLYPHS["e"], 2), 8)
EXPECTED = image_from_strokes(GLYPHS["e"])
LEVELS = np.asarray(PICTURE).astype(float)


def transparent(colour: tuple[int, int, int]) -> Image.Image:
    """Ink of this colour on nothing; what is transparent is black underneath, as programs save it."""
    alpha = 255 - np.asarray(PICTURE)
    layers = [np.where(alpha > 0, value, 0).astype(np.uint8) for value in colour]
    return Image.fromarray(np.dstack([*layers, alpha]), "RGBA")


def card() -> Image.Image:
    """A white opaque card with dark ink, its corner cut off."""
    alpha = np.full(LEVELS.shape, 255, np.uint8)
    alpha[:14, :14] = 0
    return Image.merge("RGBA", [PICTURE, PICTURE, PICTURE, Image.fromarray(alpha)])


def depth_16(levels: npt.NDArray[np.float64]) -> Image.Image:
    return Image.fromarray((levels * 257).astype(np.uint16))


def palette_with_transparency() -> bytes:
    indexed = Image.fromarray((LEVELS < 128).astype(np.uint8), "P")
    indexed.putpalette([0, 0, 0, 20, 20, 60])
    return encoded(indexed, transparency=0)


def shaded() -> Image.Image:
    """A photograph of pencil on paper: lit from one side, where the pencil is lighter than the paper on the other."""
    light = np.linspace(1, 0.35, LEVELS.shape[1])[None]
    grain = np.random.default_rng(0).normal(0, 3, LEVELS.shape)
    return Image.fromarray(((LEVELS * 0.5 + 127) * light + grain).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encoded(PICTURE), id="dark on light"),
        pytest.param(encoded(Image.fromarray(255 - np.asarray(PICTURE))), id="light on dark"),
        pytest.param(encoded(PICTURE.convert("RGB")), id="RGB"),
        pytest.param(encoded(PICTURE.convert("1")), id="one bit"),
        pytest.param(encoded(PICTURE.convert("LA")), id="grey with alpha"),
        pytest.param(encoded(PICTURE.convert("P")), id="palette"),
        pytest.param(palette_with_transparency(), id="palette with transparency"),
        pytest.param(encoded(depth_16(LEVELS)), id="16 bits"),
        pytest.param(encoded(depth_16(255 - LEVELS)), id="16 bits, light on dark"),
        pytest.param(encoded(depth_16(LEVELS * 0.2 + 180)), id="16 bits, pencil"),
        pytest.param(encoded(transparent((0, 0, 0))), id="black on transparent"),
        pytest.param(encoded(transparent((255, 255, 255))), id="white on transparent"),
        pytest.param(encoded(transparent((200, 60, 60))), id="red on transparent"),
        pytest.param(encoded(card()), id="opaque card with a cut corner"),
        pytest.param(encoded(PICTURE, "JPEG", quality=60), id="JPEG"),
        pytest.param(encoded(PICTURE.convert("RGB"), "JPEG", progressive=True), id="progressive JPEG"),
        pytest.param(encoded(PICTURE.convert("CMYK"), "JPEG", quality=90), id="CMYK JPEG"),
        pytest.param(encoded(PICTURE.convert("RGB"), "MPO"), id="JPEG of a phone, with room for a second picture"),
        pytest.param(encoded(Image.fromarray((LEVELS * 0.2 + 180).astype(np.uint8))), id="pencil"),
        pytest.param(encoded(shaded(), "JPEG"), id="photograph"),
    ],
)
def test_every_kind_of_picture_gives_the_same_image(data: bytes) -> None:
    assert difference(image_from_file(data), EXPECTED) < PICTURE_BOUND


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = PICTURE.transpose(undo[orientation]) if orientation > 1 else PICTURE
    assert difference(image_from_file(encoded(stored, kind, exif=exif)), EXPECTED) < PICTURE_BOUND


# --- pictures that are refused


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG by hand: its header, and the chunks given."""
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", "image_format", id="nothing"),
        pytest.param(b"not a picture at all", "image_format", id="text"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image_format", id="SVG"),
        pytest.param(encoded(PICTURE, "TIFF"), "image_format", id="TIFF"),
        pytest.param(encoded(PICTURE, "GIF"), "image_format", id="GIF"),
        pytest.param(encoded(PICTURE, "BMP"), "image_format", id="BMP"),
        pytest.param(encoded(PICTURE, "WEBP"), "image_format", id="WebP"),
        pytest.param(encoded(PICTURE)[:-200], "image_unreadable", id="PNG without its end"),
        pytest.param(encoded(PICTURE)[:20], "image_unreadable", id="PNG of 20 bytes"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "image_unreadable", id="PNG signature"),
        pytest.param(encoded(PICTURE, "JPEG")[:-700], "image_unreadable", id="JPEG without its end"),
        pytest.param(b"\xff\xd8\xff", "image_unreadable", id="JPEG signature"),
        pytest.param(png(20, 20, chunk(b"IDAT", b"no zlib")), "image_unreadable", id="PNG of rubbish"),
        pytest.param(png(20, 20), "image_unreadable", id="PNG without data"),
        pytest.param(png(0, 20), "image_unreadable", id="PNG of no width"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(InvalidImage) as raised:
        image_from_file(data)
    assert raised.value.code == code
    assert raised.value.message


@pytest.mark.parametrize(("width", "height"), [(2001, 2000), (4_000_001, 1), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_before_one_is_decoded(width: int, height: int) -> None:
    """The data is rubbish: had it been decoded, the picture would be unreadable, not too large."""
    with pytest.raises(InvalidImage) as raised:
        image_from_file(png(width, height, chunk(b"IDAT", b"no zlib")))
    assert raised.value.code == "image_too_large"


def test_four_megapixels_are_read() -> None:
    page = Image.new("L", (2000, 2000), 255)
    page.paste(PICTURE, (1500, 900))
    assert difference(image_from_file(encoded(page)), EXPECTED) < PICTURE_BOUND


def test_a_bomb_of_zeros_is_refused() -> None:
    """Ten megapixels in ten kilobytes."""
    bomb = png(4000, 2500, chunk(b"IDAT", zlib.compress(bytes(4001 * 2500))))
    assert len(bomb) < 20_000
    with pytest.raises(InvalidImage) as raised:
        image_from_file(bomb)
    assert raised.value.code == "image_too_large"


def spot(radius: int) -> Image.Image:
    page = Image.new("L", (200, 200), 255)
    disc = Image.fromarray(np.hypot(*np.mgrid[-60:61, -60:61]) <= radius)
    page.paste(0, (40, 40), disc)
    return page


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(Image.new("L", (50, 50), 255), id="white"),
        pytest.param(Image.new("L", (50, 50), 0), id="black"),
        pytest.param(Image.new("RGBA", (50, 50), (0, 0, 0, 0)), id="transparent"),
        pytest.param(Image.new("RGBA", (50, 50), (90, 90, 90, 255)), id="grey"),
        pytest.param(Image.new("L", (1, 1), 0), id="one pixel"),
        pytest.param(spot(1), id="a dot"),
        pytest.param(spot(8), id="a fat dot"),
        pytest.param(spot(50), id="a disc"),
        pytest.param(
            Image.fromarray(np.random.default_rng(0).integers(225, 256, (80, 80)).astype(np.uint8)), id="rough paper"
        ),
    ],
)
def test_pictures_without_a_letter_are_blank(picture: Image.Image) -> None:
    with pytest.raises(BlankDrawing):
        image_from_file(encoded(picture))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([encoded(PICTURE), encoded(PICTURE, "JPEG")]), st.data())
def test_damaged_bytes_are_an_image_or_a_refusal(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole)
    for at in data.draw(st.lists(st.integers(3, len(whole) - 1), min_size=1, max_size=8)):
        damaged[at] = data.draw(st.integers(0, 255))
    allowed = {"image", "image_unreadable", "image_format", "image_too_large", "blank_drawing"}
    assert _image_or_code(image_from_file, bytes(damaged)) in allowed


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_any_pixels_are_an_image_or_blank(width: int, height: int, data: st.DataObject) -> None:
    levels = data.draw(st.binary(min_size=width * height, max_size=width * height))
    picture = Image.frombytes("L", (width, height), levels)
    assert _image_or_code(image_from_file, encoded(picture)) in {"image", "blank_drawing"}


# --- letters that people drew


def _labels(predictor: Predictor, images: list[Pixels]) -> list[str]:
    return [predictor.predict(image).label for image in images]


def _share_same(one: list[str], other: list[str]) -> float:
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


@pytest.fixture(scope="module")
def people(drawn_letters: list[dict[str, Any]]) -> list[list[list[list[float]]]]:
    """Their strokes, 200 pixels in the larger side."""
    return [fitted(letter["strokes"], 200) for letter in drawn_letters]


@pytest.mark.strokes
@pytest.mark.parametrize("factor", [0.2, 3.0])
def test_drawn_letters_moved_and_scaled_are_read_the_same(
    people: list[list[list[list[float]]]], predictor: Predictor, factor: float
) -> None:
    plain = [image_from_strokes(strokes, (300, 300)) for strokes in people]
    same = [image_from_strokes(moved(scaled(strokes, factor), 31.7, -12.3), (900, 900)) for strokes in people]
    assert max(map(difference, plain, same)) < STROKES_BOUND
    assert _share_same(_labels(predictor, plain), _labels(predictor, same)) >= SAME_PREDICTION


@pytest.mark.strokes
@pytest.mark.parametrize(
    ("width", "ratio", "factor"),
    [(2, 1, 1), (2, 3, 1), (8, 1.5, 1), (16, 1, 1), (30, 1, 1), (30, 2, 1), (4, 1, 0.2), (24, 1, 3)],
)
def test_pictures_of_drawn_letters_are_read_as_their_strokes(
    people: list[list[list[list[float]]]], predictor: Predictor, width: float, ratio: float, factor: float
) -> None:
    some = people[::7]
    plain = [image_from_strokes(strokes) for strokes in some]
    same = [image_from_file(encoded(drawn(scaled(strokes, factor), width, ratio))) for strokes in some]
    assert float(np.mean(list(map(difference, plain, same)))) < PICTURE_BOUND
    assert _share_same(_labels(predictor, plain), _labels(predictor, same)) >= SAME_PREDICTION


@pytest.mark.strokes
def test_drawn_letters_are_read_right(drawn_letters: list[dict[str, Any]], predictor: Predictor) -> None:
    """The goal of the whole way from the pen to the answer, 37 classes."""
    from ml.labels import class_of

    read = _labels(predictor, [image_from_strokes(letter["strokes"]) for letter in drawn_letters])
    assert _share_same(read, [class_of(letter["character"]) for letter in drawn_letters]) >= 0.93


@pytest.mark.parametrize("letter", sorted(GLYPHS))
def test_plain_letters_are_read_right(letter: str, predictor: Predictor) -> None:
    prediction = predictor.predict(image_from_strokes(GLYPHS[letter]))
    assert prediction.label == letter, json.dumps(prediction.probabilities.round(2).tolist())
