"""Maps as pictures for slides and for readers without WebGL, and what all figures share: matplotlib, without a screen.

Nothing is told by colour alone: each class has its letter written where most of it lies, and collected letters are
rings. The eight colours are those of Okabe and Ito, "Color Universal Design", 2008, which the colour-blind tell apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.labels import CLASSES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float32]

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C7A00", "#5A5A5A")
INK, PALE, FAINT = "#1d1d1f", "#6e6e73", "#c7c7cc"
DPI = 200
SIDE = 28  # pixels of a letter's image
LIKE = 300  # letters of a class that are asked where most of it lies


def map_figure(
    plane: Floats,
    labels: npt.NDArray[np.integer[Any]],
    collected: npt.NDArray[np.bool_],
    *,
    title: str,
    subtitle: str,
) -> Figure:
    """Letters at places (N, 2) within -1..1, coloured and named by class (N,) 0 to 36, rings where collected (N,)."""
    figure, axes = page(8.0, 8.75, title, subtitle)
    axes.set(xlim=(-1.04, 1.04), ylim=(-1.04, 1.04), aspect="equal", xticks=[], yticks=[])
    colours = np.array(COLOURS)[labels % len(COLOURS)] if len(labels) else np.array([], str)
    emnist = ~collected
    size = float(np.clip(20_000 / max(len(plane), 1), 1.5, 14))
    axes.scatter(
        plane[emnist, 0], plane[emnist, 1], s=size, c=colours[emnist], alpha=0.55, linewidths=0, rasterized=True
    )
    rings: Any = ((INK, 2.4), (colours[collected], 1.2))  # hollow, so that what lies under them can be read
    for edge, width in rings:
        look: dict[str, Any] = {"s": 30, "c": "none", "edgecolors": edge, "linewidths": width, "zorder": 3}
        axes.scatter(plane[collected, 0], plane[collected, 1], rasterized=True, **look)
    for label in np.unique(labels):
        axes.annotate(CLASSES[label], tuple(_thickest(plane[labels == label])), **_NAME)
    _legend(axes, int(emnist.sum()), int(collected.sum()))
    return figure


def explained_figure(explained: Floats, *, title: str = "Variance explained", subtitle: str = "") -> Figure:
    """The cumulative share of the variance (K,), 0 to 1, over the number of components."""
    figure, axes = page(7.0, 5.2, title, subtitle)
    numbers = np.arange(1, len(explained) + 1)
    axes.plot(numbers, explained * 100, color=COLOURS[0], linewidth=2)
    axes.set(xlabel="components", ylabel="variance explained, %", ylim=(0, 102))
    axes.set_xlim(0, max(len(explained), 1) * 1.02)
    axes.grid(color="#e5e5ea", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    for share in (0.5, 0.8, 0.95):
        if len(explained) and explained[-1] >= share:
            _mark(axes, explained, int(np.argmax(explained >= share)))
    return figure


def components_figure(components: Floats, *, title: str = "Components", subtitle: str = "") -> Figure:
    """Components (K, 784) as images: orange where it adds ink, purple where it takes ink away.

    Raises ValueError for vectors that are no pixels.
    """
    if components.ndim != 2 or components.shape[1] != SIDE * SIDE:
        raise ValueError(f"components of pixels have the shape (K, {SIDE * SIDE}), not {components.shape}")
    rows = max(1, -(-len(components) // 4))
    figure, axes = page(7.0, 1.4 + 1.75 * rows, title, subtitle)
    axes.set_axis_off()
    for number, component in enumerate(components):
        _component(axes, component.reshape(SIDE, SIDE), number, rows)
    return figure


def page(width: float, height: float, title: str, subtitle: str) -> tuple[Figure, Axes]:
    """A figure in inches with its headings, and the axes to draw on."""
    figure, (axes,) = stacked(width, height, (1.0,), title, subtitle)
    return figure, axes


def stacked(
    width: float, height: float, heights: tuple[float, ...], title: str, subtitle: str
) -> tuple[Figure, tuple[Axes, ...]]:
    """The same with axes of these relative heights, one above the other, that share what is from left to right."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # without pyplot, which would keep it for ever
    figure = Figure(figsize=(width, height), facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.2, h_pad=0.2))
    parts = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    parts[0].set_title(subtitle, loc="left", fontsize=9.5, color=PALE)
    above: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (0, 24), "textcoords": "offset points"}
    parts[0].annotate(title, (0, 1), fontsize=15, fontweight="bold", color=INK, **above)
    for axes in parts:
        axes.spines[:].set_color(FAINT)
    return figure, tuple(parts)


def write(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """The figure as `stem`.png, 200 dpi, and `stem`.svg, whose text is text and whose many points are one picture.

    The same figure gives the same bytes: neither holds a date or a random id.
    """
    import matplotlib

    svg = stem.with_name(f"{stem.name}.svg")
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "letterloop"}):
        png = write_png(figure, stem.with_name(f"{stem.name}.png"))
        figure.savefig(svg, dpi=DPI, metadata={"Date": None, "Creator": None})
    return png, svg


def write_png(figure: Figure, path: Path) -> Path:
    """The figure as a PNG, 200 dpi; its path."""
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path


_NAME: dict[str, Any] = {
    "ha": "center",
    "va": "center",
    "fontsize": 12,
    "fontweight": "bold",
    "color": INK,
    "zorder": 4,
    "xytext": (0, 12),  # above, or the rings of the letters there would strike it out
    "textcoords": "offset points",
    # an outline would turn the letter into a path
    "bbox": {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.6},
}


def _thickest(places: Floats) -> Floats:
    """Where most letters of a class lie: the one of them with its nearest quarter closest. A class may be in two
    heaps, and its middle between them."""
    some = places[:: max(1, len(places) // LIKE)]
    apart = np.linalg.norm(some[:, None] - some[None], axis=2)
    quarter = len(some) // 4
    thickest: Floats = some[np.partition(apart, quarter, axis=1)[:, quarter].argmin()]
    return thickest


def _legend(axes: Axes, emnist: int, collected: int) -> None:
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {"linestyle": "none", "marker": "o"}
    handles = [
        Line2D([], [], markersize=4, markeredgewidth=0, color=COLOURS[-1], label=f"EMNIST: {emnist:,}", **look),
        Line2D(
            [], [], markersize=6, markerfacecolor="none", color=INK, label=f"collected, ringed: {collected:,}", **look
        ),
        Line2D([], [], linestyle="none", label="each letter stands by most of its class"),
    ]
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.01),
        ncols=3,
        frameon=False,
        fontsize=9.5,
        columnspacing=1.2,
    )


def _mark(axes: Axes, explained: Floats, index: int) -> None:
    point = (index + 1, float(explained[index]) * 100)
    axes.plot(*point, "o", color=INK, markersize=5)
    words = f"{explained[index]:.1%} with {index + 1}"
    axes.annotate(words, point, xytext=(8, -12), textcoords="offset points", fontsize=9.5)


def _component(axes: Axes, image: Floats, number: int, rows: int) -> None:
    row, column = divmod(number, 4)
    part = axes.inset_axes((column / 4, 1 - (row + 1) / rows, 0.23, 0.86 / rows))
    most = float(np.abs(image).max()) or 1.0
    part.imshow(image, cmap="PuOr_r", vmin=-most, vmax=most, interpolation="nearest")
    part.set(xticks=[], yticks=[])
    part.spines[:].set_color(FAINT)
    part.set_title(str(number + 1), fontsize=9, color=PALE, pad=3)
