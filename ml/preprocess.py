"""The only way from strokes, or from an uploaded picture, to the 28x28 image that the model reads.

The recipe of the EMNIST paper (Cohen et al., arXiv:1702.05373, section II): crop to the ink, centre it in a square with
its aspect kept and a border around it, smooth, bicubic down to 28x28, stretch to 0..255. Before it every letter is
reduced to its centre line and inked anew with a pen whose width is a fixed share of the letter, so that neither the
size, the place, the pen's width nor the pixel ratio of the screen matters.

The same drawing gives the same image to the bit on any machine: what is not integer arithmetic is exact in float32.
NumPy and Pillow only; importing it is cheap. See docs/preprocessing.md for how the numbers were chosen.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

PREPROCESS_VERSION = "1"
MAX_STROKES = 64
MAX_POINTS = 4096
MAX_PIXELS = 4_000_000
MAX_SCANS = 64  # of a progressive JPEG, which has about ten; each is another pass over all pixels, and takes 14 bytes
MAX_COORDINATE = 1e6
MAX_EXTRA = 1e12  # time in milliseconds, and pressure

SIZE = 28
SCALE = 8  # the letter is inked on a grid of so many pixels a pixel of the result
GRID = SIZE * SCALE
SPAN = 24.0  # pixels of the result that the inked letter's larger side takes
PEN = 2.8  # width of the pen, in pixels of the result
SIGMA = 0.65  # of the Gaussian, in pixels of the result
DOT = 0.02  # what is smaller than this share of the canvas is a dot, and no letter
FINEST = 1e-100  # what is drawn smaller cannot be enlarged: floats end at 1e308
WORKING_SIDE = 1024  # pixels; larger pictures are averaged down before the ink is looked for
CONTRAST = 32  # of 255; less than this between ink and paper is noise
SHADE = 24  # of 255; paper whose border differs by more than this is unevenly lit
SHADE_SIDE = 64  # pixels of the picture in which uneven light is measured
SHADE_WINDOW = 21  # of those pixels; wider than any stroke
THINNER, THICKER = 0.5, 1.9  # pens, of ours, between which a picture's outline is moved rather than its line redrawn
LOST = 0.05  # of a redrawn line's core: more of it without ink, and the ink was too uneven to move its outline
BLOB = 0.6  # ink thicker than this share of its own size is a blob, and no letter

Pixels = npt.NDArray[np.uint8]


class PreprocessError(ValueError):
    """What was handed in cannot become an image; `code` is for programs, `message` for people."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class BlankDrawing(PreprocessError):
    """There is no ink, or no more than a dot."""

    def __init__(self, message: str = "there is no letter here: nothing is drawn, or only a dot") -> None:
        super().__init__(message, "blank_drawing")


class InvalidStrokes(PreprocessError):
    """The strokes are not lists of points, or too many."""

    def __init__(self, message: str, code: str = "invalid") -> None:
        super().__init__(message, code)


class InvalidImage(PreprocessError):
    """The uploaded file is no PNG or JPEG, is damaged, or has too many pixels."""


# --- strokes


def validate_strokes(strokes: object, canvas: object = None) -> list[list[list[float]]]:
    """The strokes as lists of floats, empty strokes left out. Raises InvalidStrokes; an empty drawing is valid here.

    A point has two to four finite numbers: x, y, and optionally time and pressure. `canvas` is (width, height) or None.
    """
    if canvas is not None:
        _check_canvas(canvas)
    if not isinstance(strokes, list | tuple):
        raise InvalidStrokes("strokes must be a list of strokes, each a list of points [x, y]")
    if len(strokes) > MAX_STROKES:
        raise InvalidStrokes(f"{len(strokes)} strokes are too many: at most {MAX_STROKES}", "too_many_strokes")
    if not all(isinstance(stroke, list | tuple) for stroke in strokes):
        raise InvalidStrokes("each stroke must be a list of points [x, y]")
    count = sum(map(len, strokes))
    if count > MAX_POINTS:
        raise InvalidStrokes(f"{count} points are too many: at most {MAX_POINTS} in all strokes", "too_many_points")
    _check_points(list(chain.from_iterable(strokes)))
    return [[list(map(float, point)) for point in stroke] for stroke in strokes if stroke]


def _check_canvas(canvas: object) -> None:
    if not isinstance(canvas, list | tuple) or len(canvas) != 2 or not {int, float}.issuperset(map(type, canvas)):
        raise InvalidStrokes("canvas must be two numbers, its width and its height")
    if not all(0 < side <= MAX_COORDINATE for side in canvas):
        raise InvalidStrokes(f"width and height of the canvas must be above 0 and at most {MAX_COORDINATE:.0f}")


def _check_points(points: list[Any]) -> None:
    if not {list, tuple}.issuperset(map(type, points)) or not {2, 3, 4}.issuperset(map(len, points)):
        raise InvalidStrokes("a point must be a list of 2 to 4 numbers: x, y, time, pressure")
    if not {int, float}.issuperset(map(type, chain.from_iterable(points))):
        raise InvalidStrokes("the coordinates of a point must be numbers")
    if not _all_within(map(itemgetter(0, 1), points), MAX_COORDINATE):
        raise InvalidStrokes(f"coordinates must be finite and at most {MAX_COORDINATE:.0f} from 0")
    if not _all_within(map(itemgetter(slice(2, None)), points), MAX_EXTRA):
        raise InvalidStrokes("time and pressure must be finite")


def _all_within(values: Iterable[Iterable[float]], limit: float) -> bool:
    try:
        array = np.fromiter(chain.from_iterable(values), float)
    except OverflowError:  # an integer that is no float
        return False
    return bool((np.abs(array) <= limit).all())  # false for a NaN too


def image_from_strokes(strokes: object, canvas: object = None) -> Pixels:
    """(28, 28) uint8, white ink on black, upright, of strokes as `validate_strokes` takes them.

    `canvas` (width, height) only tells a dot from a small letter. Raises InvalidStrokes and BlankDrawing.
    """
    valid = validate_strokes(strokes, canvas)
    if not valid:
        raise BlankDrawing
    coordinates = chain.from_iterable(map(itemgetter(0, 1), chain.from_iterable(valid)))
    points = np.fromiter(coordinates, float).reshape(-1, 2)
    if _extent(points) <= _dot_extent(canvas, float(np.abs(points).max())):
        raise BlankDrawing
    return _shrink(_ink(_draw(_fit(points), [len(stroke) for stroke in valid]), PEN * SCALE / 2))


def _extent(points: npt.NDArray[Any]) -> float:
    """The larger side of the points' box."""
    return float((points.max(axis=0) - points.min(axis=0)).max())


def _dot_extent(canvas: Any, farthest: float) -> float:
    side = max(canvas) if canvas is not None else 0.0
    # the second: what rounding of floats alone can make of one point
    return max(DOT * side, 1e-9 * farthest, FINEST)


def _fit(points: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """(N, 2) whole places on the grid: centred, and as large as leaves room for the pen.

    The middle is a whole place: were it between two, the axis of a symmetric letter would fall on either by chance.
    """
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    scale = (SPAN - PEN) * SCALE / _extent(points)
    places: npt.NDArray[np.float64] = np.rint((points - middle) * scale + GRID // 2)
    return places.astype(np.int64)


def _draw(points: npt.NDArray[np.int64], lengths: list[int]) -> int:
    """The strokes as lines one pixel wide on the grid."""
    picture = Image.new("1", (GRID, GRID))
    draw = ImageDraw.Draw(picture)
    flat = points.ravel().tolist()
    start = 0
    for length in lengths:
        stroke = flat[start : start + 2 * length]
        draw.line(stroke if length > 1 else stroke * 2, fill=1)
        start += 2 * length
    return int.from_bytes(picture.tobytes(), "big")


# --- the grid as one integer of GRID x GRID bits: a shift moves the whole picture, and a step on it takes under 1 us.
# Ink never comes near the border, so no shift carries it over a row's end.

_ALL = (1 << GRID * GRID) - 1


def _ink(line: int, radius: float) -> int:
    """A picture's ink, grown by a disc."""
    grown, wide, reach = 0, line, 0
    for row in range(int(radius), -1, -1):  # a disc is wider the nearer its row is to its centre
        while (reach + 1) ** 2 + row**2 <= radius**2:
            reach += 1
            wide |= line << reach | line >> reach
        grown |= wide << GRID * row | wide >> GRID * row
    return grown & _ALL


def _erode(ink: int, radius: float) -> int:
    """What is left of the ink when its paper grows by a disc."""
    return _ALL & ~_ink(_ALL & ~ink, radius)


@lru_cache(maxsize=1)
def _kernel() -> npt.NDArray[np.float32]:
    """(28, GRID): Gaussian smoothing, then bicubic reduction (a = -1/2, as Pillow's), along one axis.

    Its weights are integers that sum to 2048: products and sums stay below 2**24, so float32 holds them exactly and
    no order of summation, which differs between machines, can change a bit.
    """
    centres = (np.arange(SIZE) + 0.5) * SCALE  # a place on the grid is a point, see _fit
    distance = (np.arange(-GRID, 2 * GRID)[None, :] - centres[:, None]) / SCALE
    bicubic = _cubic(np.abs(distance))
    reach = int(4 * SIGMA * SCALE) + 1
    gauss = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (SIGMA * SCALE)) ** 2)
    smooth = np.stack([np.convolve(row, gauss, mode="same") for row in bicubic])
    weights: npt.NDArray[np.float64] = np.rint(smooth * (2048 / smooth.sum(axis=1, keepdims=True)))
    return weights[:, GRID : 2 * GRID].astype(np.float32)


def _cubic(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _shrink(grid: int) -> Pixels:
    """Smooth, reduce to 28x28, stretch to 0..255."""
    bits = np.frombuffer(grid.to_bytes(GRID * GRID // 8, "big"), np.uint8)
    # In slices of 28 rows: small enough that the BLAS starts no threads, which cost 20 ms on a busy machine.
    ink = np.unpackbits(bits).reshape(SCALE, SIZE, GRID).astype(np.float32)
    kernel = _kernel()
    rows = np.matmul(ink, kernel.T).reshape(GRID, SIZE)
    grey: npt.NDArray[np.int64] = np.maximum(kernel @ rows, 0).astype(np.int64)
    return ((grey * 255 + int(grey.max()) // 2) // int(grey.max())).astype(np.uint8)


# --- pictures


def image_from_file(data: bytes) -> Pixels:
    """(28, 28) uint8, white ink on black, upright, of a PNG or JPEG file's bytes, at most 4 megapixels.

    Light paper or dark, opaque or transparent, any depth; the file's EXIF orientation is applied. The ink's own width
    does not matter. Raises InvalidImage and BlankDrawing.
    """
    ink = _find_ink(_greyscale(_decode(data)))
    return _image_from_ink(ink)


def _decode(data: bytes) -> Image.Image:
    """The first picture of the file. Its size is read from the header and judged before a pixel is decoded."""
    if not data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        raise InvalidImage("only PNG and JPEG pictures are read", "image_format")
    if not data.startswith(b"\x89PNG") and data.count(b"\xff\xda") > MAX_SCANS:
        raise InvalidImage(f"the picture is stored in too many scans: at most {MAX_SCANS}", "image_too_large")
    try:
        picture = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        if picture.width * picture.height <= MAX_PIXELS:
            picture.load()
            return ImageOps.exif_transpose(picture)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        pass
    except Exception as error:  # Pillow raises some ten kinds on damaged files
        raise InvalidImage(f"the picture is damaged and cannot be read ({error})", "image_unreadable") from error
    raise InvalidImage(f"the picture has too many pixels: at most {MAX_PIXELS:,}", "image_too_large")


def _greyscale(picture: Image.Image) -> Image.Image:
    """Mode L, transparent parts filled with what is taken for the paper."""
    if picture.mode.startswith("I"):  # 16 bits; Pillow's own conversion clips instead of scaling
        return Image.fromarray((np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if not picture.has_transparency_data:
        return picture.convert("RGB").convert("L") if picture.mode == "P" else picture.convert("L")
    layered = picture.convert("RGBA")
    alpha = layered.getchannel("A")
    grey = layered.convert("RGB").convert("L")
    paper = Image.new("L", picture.size, _paper_behind(np.asarray(grey), np.asarray(alpha)))
    paper.paste(grey, mask=alpha)
    return paper


def _paper_behind(grey: Pixels, alpha: Pixels) -> int:
    """The grey that stands in for transparency.

    Where most of the picture is opaque the paper is in the picture itself: its most common grey. Where it is not, the
    opaque part is ink, and the paper is whatever stands out against it.
    """
    visible = grey[alpha >= 128]
    if not visible.size:
        raise BlankDrawing
    middle = int(np.median(visible))
    return middle if visible.size * 2 > grey.size else 255 * (middle < 128)


def _find_ink(grey: Image.Image) -> Image.Image:
    """Mode L, cropped to the ink: black where there is paper, lighter the more ink; at most 1024 pixels a side."""
    grey = grey.reduce(max(1, -(-max(grey.size) // WORKING_SIDE)))
    levels = np.asarray(grey)
    light_paper = float(np.median(_border(levels))) * 2 > int(levels.min()) + int(levels.max())
    ink = ImageOps.invert(grey) if light_paper else grey
    ink = ImageChops.subtract(ink, _paper_under(ink))
    if int(np.asarray(ink).max()) < CONTRAST:
        raise BlankDrawing
    level = _threshold(ink)
    box = ink.point(_above(level)).getbbox()
    if box is None:
        raise BlankDrawing
    return ink.crop(box).point([min(255, value * 128 // level) for value in range(256)])


def _border(levels: Pixels) -> Pixels:
    return np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])


def _paper_under(ink: Image.Image) -> Image.Image:
    """The level of the paper at each pixel; all the same unless the border shows that light fell on it unevenly."""
    border = _border(np.asarray(ink))
    if np.subtract(*np.percentile(border, (90, 10))) < SHADE:
        return Image.new("L", ink.size, int(np.median(border)))
    small = ink.resize((SHADE_SIDE, SHADE_SIDE), Image.Resampling.BOX)
    opened = small.filter(ImageFilter.MinFilter(SHADE_WINDOW)).filter(ImageFilter.MaxFilter(SHADE_WINDOW))
    return opened.filter(ImageFilter.GaussianBlur(2)).resize(ink.size, Image.Resampling.BICUBIC)


def _threshold(ink: Image.Image) -> int:
    """The level halfway between the paper and the ink, at least a third of the darkest ink's.

    Otsu, "A threshold selection method from gray-level histograms", 1979; where there is little ink on rough paper his
    level falls among the paper's own, so it has a floor.
    """
    counts = np.array(ink.histogram(), float)
    levels = np.arange(256)
    below, mass = counts.cumsum(), (counts * levels).cumsum()
    above = below[-1] - below
    parted = (below > 0) & (above > 0)
    dark, light = mass / np.maximum(below, 1), (mass[-1] - mass) / np.maximum(above, 1)
    best = int(np.where(parted, below * above * (dark - light) ** 2, -1).argmax())
    return max(int((dark[best] + light[best]) / 2), int(counts.nonzero()[0].max()) // 3)


def _above(level: int) -> list[int]:
    return [255 * (value > level) for value in range(256)]


def _image_from_ink(ink: Image.Image) -> Pixels:
    """Bring cropped ink to the standard size and pen.

    Ink of about the pen's width has its outline moved in or out, which leaves corners and gaps as our pen would have.
    Thin ink, ink far too thick, and ink that is thick in one place and thin in another is thinned to its centre
    line and redrawn.
    """
    side, pen = SPAN * SCALE, PEN * SCALE / 2
    mask = _mask(ink, side)
    thinned = _thin(mask)
    line = _redrawn(thinned)
    radius = _radius(mask, thinned)
    if not THINNER <= radius / pen <= THICKER:
        return _shrink(_ink(line, pen))
    factor = (side - 2 * pen) / (side - 2 * radius)
    outline, change = _mask(ink, side * factor), pen - radius * factor
    moved = _ink(outline, change) if change > 0 else _erode(outline, -change)
    core = _ink(line, pen / 2)
    lost = (core & ~moved).bit_count() / core.bit_count()
    return _shrink(moved if lost < LOST else _ink(line, pen))


def _redrawn(thinned: int) -> int:
    """A centre line brought to the standard size; its gaps from enlarging are narrower than the pen."""
    places = _fit(_coordinates(thinned))
    grid = np.zeros((GRID, GRID), np.uint8)
    grid[places[:, 1], places[:, 0]] = 1
    return int.from_bytes(np.packbits(grid).tobytes(), "big")


def _radius(mask: int, line: int) -> float:
    """Half the ink's width: half of its centre line lies deeper than this within it."""
    low, high = 0.0, THICKER * PEN * SCALE
    while high - low > 0.25:
        middle = (low + high) / 2
        if 2 * (line & _erode(mask, middle)).bit_count() > line.bit_count():
            low = middle
        else:
            high = middle
    return (low + high) / 2 - 0.15  # what a disc on a grid errs by, measured on strokes of known width


def _mask(ink: Image.Image, side: float) -> int:
    """The ink as bits, its larger side at `side`, in the middle of the grid."""
    factor = side / max(ink.size)
    size = max(1, round(ink.width * factor)), max(1, round(ink.height * factor))
    mask = _thicken(ink, int(1 / factor)).resize(size, Image.Resampling.BICUBIC).point(_above(127), "1")
    grid = Image.new("1", (GRID, GRID))
    grid.paste(mask, ((GRID - size[0] + 1) // 2, (GRID - size[1] + 1) // 2))
    return int.from_bytes(grid.tobytes(), "big")


def _thicken(ink: Image.Image, factor: int) -> Image.Image:
    """Reduced by a whole factor, each pixel the most inked of those it stands for: a thin line must not fade."""
    if factor < 2:
        return ink
    levels = np.asarray(ink)
    padding = [(0, -length % factor) for length in levels.shape]
    padded = np.pad(levels, padding)
    blocks = padded.reshape(padded.shape[0] // factor, factor, padded.shape[1] // factor, factor)
    return Image.fromarray(blocks.max(axis=(1, 3)))


def _coordinates(grid: int) -> npt.NDArray[np.int64]:
    """(N, 2): x and y of each pixel of ink."""
    bits = np.unpackbits(np.frombuffer(grid.to_bytes(GRID * GRID // 8, "big"), np.uint8)).reshape(GRID, GRID)
    return np.argwhere(bits)[:, ::-1]


def _thin(ink: int) -> int:
    """The centre line, one pixel wide: Guo and Hall, "Parallel thinning with two-subiteration algorithms", 1989.

    Each round takes one layer off, so the rounds tell how thick the ink is. Raises BlankDrawing for a blob.
    """
    for _ in range(int(BLOB * SPAN * SCALE / 2)):
        before = ink
        ink &= ~_removable(ink, odd=True)
        ink &= ~_removable(ink, odd=False)
        if ink == before:
            return ink
    raise BlankDrawing


def _removable(ink: int, *, odd: bool) -> int:
    # Neighbours clockwise from north; a picture's bit is its most significant first, so >> moves it right.
    n, s, w, e = ink >> GRID, ink << GRID, ink >> 1, ink << 1
    nw, ne, sw, se = n >> 1, n << 1, s >> 1, s << 1
    n_ne, e_se, s_sw, w_nw = n | ne, e | se, s | sw, w | nw
    ne_e, se_s, sw_w, nw_n = ne | e, se | s, sw | w, nw | n
    crossings = (ne_e & ~n, se_s & ~e, sw_w & ~s, nw_n & ~w)
    once = (crossings[0] ^ crossings[1] ^ crossings[2] ^ crossings[3]) & ~_two_of(*crossings)
    enough = _two_of(nw_n, ne_e, se_s, sw_w) & _two_of(n_ne, e_se, s_sw, w_nw)
    inside = nw_n & ne_e & se_s & sw_w & n_ne & e_se & s_sw & w_nw
    kept_side = (s_sw | ~nw) & w if odd else (n_ne | ~se) & e
    return ink & once & enough & ~inside & ~kept_side


def _two_of(a: int, b: int, c: int, d: int) -> int:
    """Bits set in at least two of four."""
    return a & b | c & d | (a | b) & (c | d)
