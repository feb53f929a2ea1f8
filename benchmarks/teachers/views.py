"""`ml.augment` for PyTorch: random changes of a letter's image that leave it the same letter. Never a mirror.

Images (N, 28, 28) float32 in 0..1. `move` and `distort` are one reading between pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

SIDE, CENTRE = 28, 13.5
KNOTS, REACH, PEN = 6, 4.0, 0.8  # as in ml.augment


@dataclass(frozen=True)
class Changes:
    """How far each change goes; what the names mean is in ml.augment."""

    rotation: float = 0.2
    shear: float = 0.25
    stretch: float = 0.12
    shift: float = 1.5
    thickness: float = 0.9
    elastic: float = 0.0
    redraw: float = 0.0
    cut_out: float = 0.0


def views(images: Any, changes: Changes, strength: Any = 1.0) -> Any:
    """Each image changed in every way, stretched to full contrast again. `strength`: 0 to 1, how much of each."""
    if changes.redraw:
        images = _redrawn(images, changes.redraw * strength)
    if changes.thickness:
        images = _thickened(images, changes.thickness * strength)
    images = _moved(images, changes, strength)
    if changes.cut_out:
        images = _cut(images, changes.cut_out * strength)
    return _full_contrast(images)


def _full_contrast(images: Any) -> Any:
    return images / images.amax((1, 2), keepdim=True).clamp(min=0.25)


def _drawn(like: Any, limit: Any, *shape: int, signed: bool = True) -> Any:
    """(N, *shape) numbers drawn evenly from minus (or 0) to plus the limit."""
    drawn = torch.rand((len(like), *shape), device=like.device)
    return (2 * drawn - 1 if signed else drawn) * limit


def _redrawn(images: Any, amount: Any) -> Any:
    ink = ((images - 0.5 - _drawn(images, 0.15, 1, 1)) * 5.0 + 0.5).clamp(0, 1)
    profile = torch.exp(-((torch.arange(-1.0, 2.0, device=images.device) / PEN) ** 2) / 2)
    spot = profile[:, None] * profile
    smooth = F.conv2d(ink[:, None], (spot / spot.sum())[None, None], padding=1)[:, 0]
    return images + _drawn(images, amount, 1, 1, signed=False) * (_full_contrast(smooth) - images)


def _thickened(images: Any, amount: Any) -> Any:
    drawn = _drawn(images, amount, 1, 1)
    sign = 1 - 2 * (drawn < 0).float()
    spread = sign * F.max_pool2d((sign * images)[:, None], 3, 1, 1)[:, 0]
    return images + drawn.abs() * (spread - images)


def _moved(images: Any, changes: Changes, strength: Any) -> Any:
    angle, shear = _drawn(images, changes.rotation * strength), _drawn(images, changes.shear * strength)
    wide, high = (torch.exp(_drawn(images, changes.stretch * strength)) for _ in range(2))
    cos, sin = torch.cos(angle), torch.sin(angle)
    maps = torch.stack([wide * cos, wide * (shear * cos - sin), high * sin, high * (shear * sin + cos)], 1)
    places = torch.arange(SIDE, device=images.device, dtype=torch.float32) - CENTRE
    x, y = places[None, None, :], places[None, :, None]
    xx, xy, yx, yy = (each[:, None, None] for each in maps.unbind(1))
    columns = xx * x + xy * y + _drawn(images, changes.shift * strength, 1, 1)
    rows = yx * x + yy * y + _drawn(images, changes.shift * strength, 1, 1)
    if changes.elastic:
        dents = _dents(images.device)
        ways = dents @ torch.randn((len(images), 2, KNOTS, KNOTS), device=images.device) @ dents.T
        ways = ways * (changes.elastic * strength)
        rows, columns = rows + ways[:, 0], columns + ways[:, 1]
    grid = torch.stack([columns, rows], -1) / (SIDE / 2)  # of 28 pixels, their edges at -1 and 1
    return F.grid_sample(images[:, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[:, 0]


def _dents(device: Any) -> Any:
    knots = torch.linspace(0, SIDE - 1, KNOTS, device=device)
    dents = torch.exp(-(((torch.arange(SIDE, device=device)[:, None] - knots) / REACH) ** 2) / 2)
    return dents / dents.norm(dim=1, keepdim=True)


def _cut(images: Any, amount: Any) -> Any:
    half = _drawn(images, amount, 1, signed=False) / 2
    places = torch.arange(SIDE, device=images.device) + 0.5
    down, right = ((places - _drawn(images, 1.0, 1, signed=False) * SIDE).abs() < half for _ in range(2))
    return images * ~(down[:, :, None] & right[:, None, :])
