"""The networks: teachers, and the students of `ml.network` with the same arithmetic in PyTorch.

Images (N, 28, 28) in 0..1 in, 37 logits out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

CLASS_COUNT = 37
FEATURES = 128
EPSILON, MOMENTUM = 1e-3, 0.01  # of batch normalisation, as Keras has them


class Reader(nn.Module):
    """A network: a body of images, and the last layers."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Any) -> Any:
        """Images (N, 28, 28) to logits (N, 37)."""
        return self.layers(images[:, None].contiguous(memory_format=torch.channels_last))


# Teachers


def _convolve(into: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


class Add(nn.Module):
    """Two convolutions whose result, weighed by channel, is added to what they were given (He 2015, Hu 2017)."""

    def __init__(self, width: int, weighed: bool = True) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            _convolve(width, width), nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )
        squeezed = max(16, width // 8)
        self.weigh = (
            nn.Sequential(nn.Linear(width, squeezed), nn.ReLU(inplace=True), nn.Linear(squeezed, width), nn.Sigmoid())
            if weighed
            else None
        )

    def forward(self, x: Any) -> Any:
        """(N, width, H, W) to the same."""
        y = self.inner(x)
        if self.weigh is not None:
            y = y * self.weigh(y.mean((2, 3)))[:, :, None, None]
        return F.relu(x + y)


class Mean(nn.Module):
    """(N, C, H, W) or (N, L, C) to (N, C)."""

    def forward(self, x: Any) -> Any:
        """The mean over places."""
        return x.mean((2, 3)) if x.ndim == 4 else x.mean(1)


class Tokens(nn.Module):
    """(N, C, 7, 7) to (N, 49, C), each told its place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(1, 49, width) * 0.02)

    def forward(self, x: Any) -> Any:
        """The tokens."""
        return x.flatten(2).transpose(1, 2) + self.places


class Attend(nn.Module):
    """A layer of a transformer, normalised first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.asked, self.told = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.think = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Any) -> Any:
        """(N, L, width) to the same."""
        n, length, width = x.shape
        parts = self.asked(self.first(x)).view(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(parts[0], parts[1], parts[2]).transpose(1, 2).reshape(n, length, width)
        x = x + self.told(seen)
        return x + self.think(self.second(x))


def wide(width: int = 64) -> nn.Module:
    """A residual network that sees the image in full for five convolutions."""
    a, b, c = width, 2 * width, 4 * width
    return Reader(
        *(_convolve(1, a), Add(a), Add(a)),
        *(_convolve(a, b, 3, 2), Add(b), Add(b)),
        *(_convolve(b, c, 3, 2), Add(c), Add(c)),
        *(Mean(), nn.Dropout(0.3), nn.Linear(c, CLASS_COUNT)),
    )


def plain(width: int = 64) -> nn.Module:
    """Ten convolutions one after the other, the demo's network grown."""
    a, b, c = width, 2 * width, 4 * width
    return Reader(
        *(_convolve(1, a, 5), _convolve(a, a), _convolve(a, b, 5, 2), _convolve(b, b), _convolve(b, b)),
        *(_convolve(b, c, 5, 2), _convolve(c, c), _convolve(c, c), _convolve(c, c, 3, 2), nn.Flatten()),
        *(nn.Dropout(0.4), nn.Linear(16 * c, c, bias=False), nn.BatchNorm1d(c), nn.ReLU(inplace=True)),
        *(nn.Dropout(0.4), nn.Linear(c, CLASS_COUNT)),
    )


def mixed(width: int = 64) -> nn.Module:
    """Convolutions first, then four layers of a transformer over 49 places."""
    a, b, c = width, 2 * width, 4 * width
    return Reader(
        *(_convolve(1, a), _convolve(a, a), _convolve(a, b, 3, 2), Add(b), _convolve(b, c, 3, 2)),
        *(Tokens(c), *(Attend(c, c // 32) for _ in range(4)), nn.LayerNorm(c)),
        *(Mean(), nn.Dropout(0.2), nn.Linear(c, CLASS_COUNT)),
    )


TEACHERS: dict[str, Callable[[int], nn.Module]] = {"wide": wide, "plain": plain, "mixed": mixed}


# Students: layer by layer as ml.network builds them, in its order


class Same(nn.Module):
    """A convolution without bias whose result has the size of TensorFlow's "same": the odd pixel of rim comes last."""

    def __init__(self, into: int, out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(into, out, kernel, stride, 0, bias=False)
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Any) -> Any:
        """(N, into, H, W) to (N, out, H', W')."""
        rims = [max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0) for side in x.shape[2:]]
        (top, down), (left, right) = ((rim // 2, rim - rim // 2) for rim in rims)
        return self.convolution(F.pad(x, (left, right, top, down)))


def _normalise(width: int, flat: bool = False) -> nn.Module:
    kind = nn.BatchNorm1d if flat else nn.BatchNorm2d
    return kind(width, eps=EPSILON, momentum=MOMENTUM)


def _student_convolve(into: int, out: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [Same(into, out, kernel, stride), _normalise(out), nn.ReLU()]


class StudentAdd(nn.Module):
    """`ml.network._add_block`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(*_student_convolve(width, width, 3), Same(width, width, 3), _normalise(width))

    def forward(self, x: Any) -> Any:
        """(N, width, H, W) to the same."""
        return F.relu(x + self.inner(x))


class KerasFlatten(nn.Module):
    """(N, C, H, W) to (N, H * W * C)."""

    def forward(self, x: Any) -> Any:
        """Channels last, as Keras lays them."""
        return x.permute(0, 2, 3, 1).flatten(1)


def _classify(into: int, dropout: float) -> list[nn.Module]:
    return [
        *(KerasFlatten(), nn.Dropout(dropout), nn.Linear(into, FEATURES, bias=False), _normalise(FEATURES, flat=True)),
        *(nn.ReLU(), nn.Dropout(dropout), nn.Linear(FEATURES, CLASS_COUNT)),
    ]


def stride3(dropout: float) -> nn.Module:
    """As in ml.network."""
    widths = [(1, 32, 5, 2), (32, 48, 3, 1), (48, 64, 3, 2), (64, 96, 3, 1), (96, 128, 3, 2), (128, 128, 3, 1)]
    return Reader(*(layer for each in widths for layer in _student_convolve(*each)), *_classify(2048, dropout))


def residual(dropout: float) -> nn.Module:
    """As in ml.network."""
    body = _student_convolve(1, 32, 3)
    for into, out in ((32, 48), (48, 96), (96, 96)):
        body += [*_student_convolve(into, out, 3, 2), StudentAdd(out)]
    return Reader(*body, *_classify(16 * 96, dropout))


def sharp(dropout: float) -> nn.Module:
    """As in ml.network."""
    body = [*_student_convolve(1, 32, 3), StudentAdd(32)]
    for into, out in ((32, 64), (64, 104)):
        body += [*_student_convolve(into, out, 3, 2), StudentAdd(out)]
    body += _student_convolve(104, 120, 3, 2)
    return Reader(*body, *_classify(16 * 120, dropout))


STUDENTS: dict[str, Callable[[float], nn.Module]] = {"stride3": stride3, "residual": residual, "sharp": sharp}


def weights_in_order(network: nn.Module) -> list[Any]:
    """All weights as Keras holds those of the same network: an array each, in the order of its layers."""
    arrays = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            arrays.append(module.weight.permute(2, 3, 1, 0))
        elif isinstance(module, nn.Linear):
            arrays += [module.weight.T, *([] if module.bias is None else [module.bias])]
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            arrays += [module.weight, module.bias, module.running_mean, module.running_var]
    return [each.detach().float().cpu().contiguous().numpy() for each in arrays]
