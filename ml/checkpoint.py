"""What a training leaves in its work folder, so that it can be stopped at any moment and goes on.

    run.json  epoch12.weights.h5  history.csv

`run.json` says what is being trained; a folder of anything else is refused, so that two trainings never mix. The
weights hold the optimizer too. They are written aside and renamed into place: whatever happens, the folder has those of
the last whole epoch.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import keras

ABSENT = "unset"
RECORD = "run.json"
NAME = re.compile(r"epoch(\d+)\.weights\.h5")


class BadCheckpoint(ValueError):
    """The work folder holds another training; the message says what differs and what to do."""


class Checkpoint(keras.callbacks.Callback):
    """After each epoch, the state of the model in the work folder, in place of the one before."""

    def __init__(self, work: Path) -> None:
        super().__init__()
        self._work = work

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """`epoch` counts from 0."""
        aside, before = self._work / "aside.weights.h5", _checkpoints(self._work)
        self.model.save_weights(aside, overwrite=True)
        aside.replace(self._work / f"epoch{epoch + 1}.weights.h5")
        for number, path in before.items():
            if number != epoch + 1:
                path.unlink()


def epochs_done(work: Path | None) -> int:
    """Whole epochs that a work folder holds."""
    return max(_checkpoints(work), default=0) if work else 0


def restore(model: keras.Model, work: Path | None) -> None:
    """Put the last whole epoch of a work folder into a compiled model; none, and nothing happens."""
    done = epochs_done(work)
    if not done or work is None:
        return
    model.optimizer.build(model.trainable_variables)
    model.load_weights(_checkpoints(work)[done])


def _checkpoints(work: Path) -> dict[int, Path]:
    found = ((NAME.fullmatch(path.name), path) for path in work.glob("epoch*.weights.h5"))
    return {int(match[1]): path for match, path in found if match}


def claim(work: Path, config: dict[str, Any], learned_from: dict[str, str]) -> None:
    """Make the work folder that of this training. Raises BadCheckpoint where it holds another one.

    `learned_from`: digests of the images, and of what else the configuration names by path alone.
    """
    work.mkdir(parents=True, exist_ok=True)
    wanted = json.loads(json.dumps(config)) | {name: digest[:12] for name, digest in learned_from.items()}
    if any(work.glob("*.weights.h5")):
        _refuse_another(work, wanted)
    aside = work / "run.partial.json"
    aside.write_text(json.dumps(wanted, indent=1, sort_keys=True) + "\n")
    aside.replace(work / RECORD)


def _refuse_another(work: Path, wanted: dict[str, Any]) -> None:
    begin = f"Name another output, or remove {work} to begin anew."
    try:
        held = _flat(json.loads((work / RECORD).read_text()))
    except (OSError, ValueError) as error:
        raise BadCheckpoint(f"{work} holds a training, and does not say which. {begin}") from error
    asked = _flat(wanted)
    differs = [
        f"{name} {held.get(name, ABSENT)} there, {asked.get(name, ABSENT)} here"
        for name in sorted(held | asked)
        if held.get(name, ABSENT) != asked.get(name, ABSENT)
    ]
    if differs:
        raise BadCheckpoint(f"{work} holds another training: {'; '.join(differs)}. {begin}")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"augment": {"shift": 1}} as {"augment.shift": 1}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def history(work: Path) -> list[dict[str, float]]:
    """A row for each epoch, also those before a restart; an epoch that was cut off and repeated counts once."""
    with (work / "history.csv").open(newline="") as table:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(table)]
    return list({row["epoch"]: row for row in rows}.values())
