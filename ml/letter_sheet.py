"""Letters side by side, each with a caption: a sheet that a person looks through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.figures import FAINT, INK, SIDE, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREEN, RED = "#1a7f37", "#b3261e"
GAP = 8  # pixels of a letter's image between two of them
INCHES = 0.58  # from one image to the next
PAPER = 255


@dataclass(frozen=True)
class Caption:
    """The words under an image. `marked`: bold, and with a frame around the image, whatever the colour."""

    text: str
    colour: str = INK
    marked: bool = False


def letter_sheet(
    images: npt.NDArray[np.uint8],
    captions: Sequence[Caption],
    *,
    columns: int,
    title: str,
    subtitle: str,
    lines: int = 1,
) -> Figure:
    """Images (N, 28, 28) uint8, white ink on black, shown as ink on paper, row by row; captions of so many lines.

    Raises ValueError where there is not one caption for each image.
    """
    if len(images) != len(captions):
        raise ValueError(f"{len(captions)} captions for {len(images)} images")
    rows = max(1, -(-len(images) // columns))
    across, down = SIDE + GAP, SIDE + GAP + 8 * lines
    figure, axes = page(0.4 + INCHES * columns, 1.1 + INCHES * rows * down / across, title, subtitle)
    axes.set_axis_off()
    corners = [(number % columns * across, number // columns * down) for number in range(len(images))]
    paper = _laid_out(images, corners, (rows * down, columns * across))
    axes.imshow(paper, cmap="gray", vmin=0, vmax=255, extent=(0, paper.shape[1], paper.shape[0], 0))
    axes.set(xlim=(-1, paper.shape[1] - GAP + 1), ylim=(paper.shape[0], -1))  # room for the frames
    for corner, caption in zip(corners, captions, strict=True):
        _write_caption(axes, corner, caption)
    return figure


def _laid_out(
    images: npt.NDArray[np.uint8], corners: list[tuple[int, int]], shape: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """One picture of all: a figure of hundreds of pictures takes many seconds to draw."""
    paper = np.full(shape, PAPER, np.uint8)
    for image, (left, top) in zip(images, corners, strict=True):
        paper[top : top + SIDE, left : left + SIDE] = PAPER - image
    return paper


def _write_caption(axes: Axes, corner: tuple[int, int], caption: Caption) -> None:
    from matplotlib.patches import Rectangle

    left, top = corner
    look: dict[str, Any] = {"fontweight": "bold" if caption.marked else "normal", "color": caption.colour}
    axes.text(left + SIDE / 2, top + SIDE + 2, caption.text, ha="center", va="top", fontsize=8.5, **look)
    edge, width = (caption.colour, 1.6) if caption.marked else (FAINT, 0.6)
    axes.add_patch(Rectangle((left, top), SIDE, SIDE, fill=False, edgecolor=edge, linewidth=width))
