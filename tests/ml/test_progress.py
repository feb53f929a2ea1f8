from __future__ import annotations

import io

import pytest

from ml.progress import Progress, duration

MEASURED = {"loss": 0.9, "accuracy": 0.92, "val_loss": 0.8, "val_accuracy": 0.93}
SECONDS = 0.1  # a batch


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def told(out: io.StringIO, epochs: int, steps: int, first: int = 0) -> str:
    """What is said of a training: batches of 128 take a tenth of a second, the very first and a validation a minute."""
    clock = Clock()
    progress = Progress(128, first, out, clock)
    progress.set_params({"epochs": epochs, "steps": steps})
    for epoch in range(first, epochs):
        progress.on_epoch_begin(epoch)
        for batch in range(steps):
            clock.now += 60 if (epoch, batch) == (first, 0) else SECONDS
            progress.on_train_batch_end(batch, {"loss": 0.9, "accuracy": 0.92})
        progress.on_test_begin()
        clock.now += 60
        progress.on_epoch_end(epoch, MEASURED)
    return out.getvalue()


def test_a_file_gets_a_line_for_each_epoch() -> None:
    lines = told(io.StringIO(), epochs=2, steps=101).splitlines()
    assert lines[0].startswith("epoch 1/2 done  1,280 images/s  training 92.00% (loss 0.9000)  validation 93.00%")
    assert lines[1].startswith("epoch 2/2 done  1,280 images/s")
    assert len(lines) == 2


def test_time_left_is_by_the_whole_pace_without_the_first_batch() -> None:
    """101 batches take 10 s, and their validation 60. The minute in which the network is compiled is over."""
    first = told(io.StringIO(), epochs=3, steps=101).splitlines()[0]
    assert first.endswith(f"{duration(202 * 70 / 100)} left")


def test_a_file_gets_a_line_a_minute() -> None:
    lines = told(io.StringIO(), epochs=1, steps=1301).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1/1  46%  1,280 images/s  training 92.00% (loss 0.9000)  70 s left")
    assert "\r" not in "".join(lines)


def test_in_a_terminal_one_line_changes() -> None:
    said = told(Terminal(), epochs=1, steps=101)
    assert said.count("\n") == 1
    assert said.count("\r\033[K") > 10


def test_a_training_that_goes_on_counts_on() -> None:
    lines = told(io.StringIO(), epochs=5, steps=101, first=3).splitlines()
    assert [line[:9] for line in lines] == ["epoch 4/5", "epoch 5/5"]


@pytest.mark.parametrize(("seconds", "words"), [(40, "40 s"), (600, "10 min"), (11_100, "3 h 05 min")])
def test_durations_are_short(seconds: float, words: str) -> None:
    assert duration(seconds) == words
