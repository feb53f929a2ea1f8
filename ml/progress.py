"""How a training is going, as lines for a person: images a second, time left, what validation says.

In a terminal the line changes in place; in a file there is one a minute, and one after each epoch.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import keras

EVERY = 60.0  # seconds between two lines within an epoch, in a file
EVERY_IN_TERMINAL = 0.5


class Progress(keras.callbacks.Callback):
    """Tells of a training that begins with the epoch `first` (from 0), batches of so many images."""

    def __init__(
        self,
        batch_size: int,
        first: int = 0,
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._batch_size, self._epoch = batch_size, first
        self._out, self._clock = out or sys.stdout, clock
        self._in_terminal = self._out.isatty()
        self._began: float | None = None  # after the first batch, which takes long: the network is compiled in it
        self._batches = 0  # since then
        self._of_epoch: tuple[float, int] = (0.0, 0)  # when counting began in this epoch, and batches since
        self._said = self._pace = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """`epoch` counts from 0."""
        self._epoch, self._of_epoch = epoch, (self._clock(), 0)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """`batch` counts from 0."""
        now = self._clock()
        if self._began is None:
            self._began = self._said = now
            self._of_epoch = (now, 0)
            return
        self._batches += 1
        self._of_epoch = (self._of_epoch[0], self._of_epoch[1] + 1)
        if now - self._said >= (EVERY_IN_TERMINAL if self._in_terminal else EVERY):
            self._say(self._words(f"{(batch + 1) / self.params['steps']:4.0%}", batch + 1, logs or {}), ended=False)
            self._said = now

    def on_test_begin(self, logs: Any = None) -> None:
        """Validation: the epoch's pace is that of learning alone."""
        self._pace = self._images_a_second()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """With what validation says."""
        self._say(self._words("done", self.params["steps"], logs or {}), ended=True)
        self._said = self._clock()

    def _images_a_second(self) -> float:
        began, batches = self._of_epoch
        return batches * self._batch_size / max(self._clock() - began, 1e-9)

    def _words(self, share: str, batch: int, logs: Mapping[str, float]) -> str:
        epochs, steps = self.params["epochs"], self.params["steps"]
        pace = self._pace if "val_accuracy" in logs else self._images_a_second()
        parts = [f"epoch {self._epoch + 1}/{epochs} {share}", f"{pace:,.0f} images/s", *_measured(logs)]
        if self._batches and self._began is not None:
            left = (epochs - self._epoch) * steps - batch
            parts.append(f"{duration(left * (self._clock() - self._began) / self._batches)} left")
        return "  ".join(parts)

    def _say(self, line: str, *, ended: bool) -> None:
        start, end = ("\r\033[K", "\n" if ended else "") if self._in_terminal else ("", "\n")
        self._out.write(start + line + end)
        self._out.flush()


def _measured(logs: Mapping[str, float]) -> list[str]:
    """Of the training, then of the validation, as far as there is any."""
    words = []
    for prefix, name in (("", "training"), ("val_", "validation")):
        if f"{prefix}accuracy" in logs:
            words.append(f"{name} {logs[f'{prefix}accuracy']:.2%} (loss {logs[f'{prefix}loss']:.4f})")
    return words


def duration(seconds: float) -> str:
    """In words, such as `3 h 05 min`, `12 min` or `40 s`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
