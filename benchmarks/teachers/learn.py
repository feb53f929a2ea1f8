"""How one network is trained: AdamW, a warm-up and a cosine, an average of the weights, classes evened out.

As `ml.train` does it, on a GPU: a step, its augmentation included, is recorded once and played again.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.teachers.nets import CLASS_COUNT
from benchmarks.teachers.views import Changes, views

GRAPHS = True
WARM_UP_STEPS = 3  # before a step is recorded


@dataclass(frozen=True)
class Recipe:
    """How to train; what the names mean is in ml.train.TrainConfig. Calm is the last share of all epochs."""

    epochs: int
    batch_size: int = 512
    peak_learning_rate: float = 2e-3
    warm_up: float = 0.1
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    balance: float = 0.5
    ema: float = 0.998
    calm_share: float = 0.15
    calm: float = 0.3
    changes: Changes = field(default_factory=Changes)


@dataclass(frozen=True)
class Pool:
    """Images seen `count` times over, each time another view, and what teachers that did not know it read there.

    `images` (V, N, 28, 28) uint8 and `read` (V, N, 37) float16 on the device; the last `calm` views are changed little.
    """

    images: Any
    read: Any
    calm: int


def class_quota(counts: np.ndarray, balance: float) -> np.ndarray:
    """As ml.train.class_quota, which this machine may be without Keras to import."""
    weight = counts.astype(float) ** balance * (counts > 0)
    return np.rint(counts.sum() * weight / weight.sum()).astype(np.int64)


def order_of(labels: np.ndarray, quota: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """What an epoch learns from, positions among the labels (N,)."""
    members = [np.flatnonzero(labels == label) for label in range(CLASS_COUNT)]
    drawn = [np.resize(random.permutation(of), n) for of, n in zip(members, quota, strict=True) if n]
    return random.permutation(np.concatenate(drawn))


class Step:
    """One step of a training, on fixed places in memory."""

    def __init__(self, network: nn.Module, recipe: Recipe, log_prior: Any, steps: int, augmented: bool) -> None:
        device = log_prior.device
        self.network, self._recipe, self._log_prior, self._steps = network, recipe, log_prior, steps
        self._augmented, self._on_gpu = augmented, device.type == "cuda"
        self.images = torch.zeros((recipe.batch_size, 28, 28), dtype=torch.uint8, device=device)
        self.targets = torch.zeros((recipe.batch_size, CLASS_COUNT), device=device)
        self._rate = torch.tensor(0.0, device=device)
        self._strength = torch.tensor(1.0, device=device)
        self.loss = torch.zeros((), device=device)
        kept = [each for each in network.parameters() if each.requires_grad]
        groups = [
            {"params": [each for each in kept if each.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [each for each in kept if each.ndim <= 1], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(
            groups, lr=self._rate, betas=(0.9, 0.99), fused=self._on_gpu, capturable=self._on_gpu
        )
        self._weights = kept
        self._averaged = [each.detach().clone() for each in kept]
        self._momentum = max(0.0, min(recipe.ema, 1 - 10 / steps))
        self._done, self._graph = 0, None

    def __call__(self) -> None:
        """Learn from `images` and `targets`."""
        warm = max(1, int(self._recipe.warm_up * self._steps))
        at = self._done
        share = at / warm if at < warm else 0.5 * (1 + math.cos(math.pi * (at - warm) / max(1, self._steps - warm)))
        self._rate.fill_(self._recipe.peak_learning_rate * share)
        calm = at >= self._steps * (1 - self._recipe.calm_share)
        self._strength.fill_(self._recipe.calm if calm else 1.0)
        self._done += 1
        if self._graph is not None:
            self._graph.replay()
        elif not (self._on_gpu and GRAPHS) or at < WARM_UP_STEPS:
            self._aside(self._learn)
        else:
            self._record()

    def _aside(self, work: Callable[[], None]) -> None:
        if not self._on_gpu:
            return work()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            work()
        torch.cuda.current_stream().wait_stream(stream)
        return None

    def _record(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._learn()
        self._graph.replay()

    def _learn(self) -> None:
        with torch.no_grad():
            images = self.images.float() / 255
            if self._augmented:
                images = views(images, self._recipe.changes, self._strength)
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.images.device.type, torch.bfloat16, enabled=self._on_gpu, cache_enabled=False):
            logits = self.network(images)
        loss = F.cross_entropy(logits.float() + self._log_prior, self.targets)
        loss.backward()
        self._optimizer.step()
        with torch.no_grad():
            self.loss.copy_(loss)
            torch._foreach_lerp_(self._averaged, self._weights, 1 - self._momentum)

    def finish(self) -> None:
        """Give the network its averaged weights."""
        self._graph = None
        with torch.no_grad():
            for each, averaged in zip(self._weights, self._averaged, strict=True):
                each.copy_(averaged)


def fit(
    network: nn.Module,
    recipe: Recipe,
    images: Any,
    labels: np.ndarray,
    *,
    seed: int,
    pool: Pool | None = None,
    chosen: np.ndarray | None = None,
    weight: float = 0.8,
    averaged: bool = False,
    steps: int | None = None,
    watch: Callable[[int, float], None] | None = None,
) -> float:
    """Train in place, on images (N, 28, 28) uint8 on the device, or the views of a pool; the seconds that it took.

    `chosen`: positions (N,) in the pool of the labels (N,). `weight`: of what teachers read there, beside the labels.
    `averaged`: they read all views of an image together, not the one that is seen. `steps`: no more than so many, to
    time them. `watch` is told of each epoch, counted from 0, its number and mean loss.
    """
    device = (pool.images if pool is not None else images).device
    quota = class_quota(np.bincount(labels, minlength=CLASS_COUNT), recipe.balance)
    prior = torch.tensor(quota / quota.sum(), dtype=torch.float32, device=device)
    log_prior = prior.clamp(min=1e-9).log()
    per_epoch = int(quota.sum()) // recipe.batch_size
    step = Step(network.train(), recipe, log_prior, per_epoch * recipe.epochs, augmented=pool is None)
    one_hot = torch.eye(CLASS_COUNT, device=device)
    known = torch.from_numpy(labels.astype(np.int64)).to(device)
    random = np.random.default_rng([seed, 2])
    offsets = torch.from_numpy(random.integers(0, 1 << 20, len(labels))).to(device)
    places = None if pool is None else torch.from_numpy(chosen.astype(np.int64)).to(device)  # type: ignore[union-attr]
    mean = _over_views(pool) if pool is not None and averaged else None
    began, done = time.monotonic(), 0
    for epoch in range(recipe.epochs):
        order = torch.from_numpy(order_of(labels, quota, random)).to(device)
        calm = epoch >= recipe.epochs * (1 - recipe.calm_share)
        total = torch.zeros((), device=device)
        for first in range(0, per_epoch * recipe.batch_size, recipe.batch_size):
            at = order[first : first + recipe.batch_size]
            targets = one_hot[known[at]] * (1 - recipe.label_smoothing) + recipe.label_smoothing / CLASS_COUNT
            if pool is None:
                step.images.copy_(images[at])
            else:
                count = len(pool.images)
                view = (epoch + offsets[at]) % (count - pool.calm)
                if calm and pool.calm:
                    view = count - pool.calm + (epoch + offsets[at]) % pool.calm
                step.images.copy_(pool.images[view, places[at]])  # type: ignore[index]
                read = (pool.read[view, places[at]] if mean is None else mean[places[at]]).float() * prior  # type: ignore[index]
                targets = (1 - weight) * targets + weight * read / read.sum(1, keepdim=True)
            step.targets.copy_(targets)
            step()
            total += step.loss
            done += 1
            if steps is not None and done == steps:
                _wait(device)
                return time.monotonic() - began
        if watch is not None:
            watch(epoch, float(total) / per_epoch)
    step.finish()
    settle(network, recipe, images, pool, places)
    _wait(device)
    return time.monotonic() - began


def _over_views(pool: Pool) -> Any:
    """(N, 37): what was read in all views of an image, together."""
    total = torch.zeros(pool.read.shape[1:], device=pool.read.device)
    for each in pool.read:
        total += each.float().clamp(min=1e-6).log()
    return (total / len(pool.read)).softmax(1)


def _wait(device: Any) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


@torch.no_grad()
def settle(network: nn.Module, recipe: Recipe, images: Any, pool: Pool | None, places: Any, batches: int = 60) -> None:
    """Measure batch normalisation anew for the averaged weights, see ml.train.settle."""
    layers = [each for each in network.modules() if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d)]
    before = [each.momentum for each in layers]
    for each in layers:
        each.reset_running_stats()
        each.momentum = None  # the plain mean of all batches
    network.train()
    count = len(images) if pool is None else len(places)
    device = (images if pool is None else pool.images).device
    for _ in range(min(batches, max(1, count // 1024))):
        at = torch.randint(0, count, (1024,), device=device)
        if pool is None:
            seen = views(images[at].float() / 255, recipe.changes, recipe.calm)
        else:
            seen = (
                pool.images[-1 - torch.randint(0, max(1, pool.calm), (1024,), device=device), places[at]].float() / 255
            )
        network(seen)
    for each, momentum in zip(layers, before, strict=True):
        each.momentum = momentum
    network.eval()


@torch.no_grad()
def read(network: nn.Module, images: Any, exact: bool = False) -> Any:
    """(N, 37) logarithms of probabilities, float32, of images (N, 28, 28) uint8 on the device."""
    was = network.training
    network.eval()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=images.device.type == "cuda" and not exact):
        logits = [network(part.float() / 255).float() for part in images.split(4096)]
    network.train(was)
    return F.log_softmax(torch.cat(logits), dim=1)


def say(text: str) -> None:
    """A line for whoever watches."""
    print(text, file=sys.stderr, flush=True)
