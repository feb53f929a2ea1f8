"""One worker's hold on a training run: claimed, kept alive, and its results of no account once it is lost."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, IntegrityError, close_old_connections, connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from letters.models import ModelVersion, Serving, TrainingRun
from letters.snapshots import Snapshot

log = logging.getLogger(__name__)

State = TrainingRun.State
PULSE = 1.0  # seconds between two writes of a run's progress, and between two looks whether it was cancelled
ATTEMPTS = 3  # workers in a row that may die of a run, none of them farther than the one before, until it is given up
FARTHER = 0.02  # of the whole run: a worker that brought it on by so much did not begin it in vain
LOG_LENGTH = 100_000  # characters; of a longer log the end is kept
CURVE_LENGTH = 300  # points


class Lost(Exception):
    """The run is no longer ours: it was cancelled, or another worker has it."""


def stale_after() -> timedelta:
    """The silence after which a worker counts as dead: by the clock of the database, for those of machines differ."""
    return timedelta(seconds=settings.RUN_STALE_AFTER)


def claim(run_id: uuid.UUID) -> TrainingRun | None:
    """The run, if it could be had: it waits and no other runs, or its worker has died."""
    left = Q(state=State.RUNNING, heartbeat_at__lt=Now() - stale_after(), fruitless__lt=ATTEMPTS)
    free = TrainingRun.objects.filter(Q(state=State.QUEUED) | left, pk=run_id)
    try:
        with transaction.atomic():
            had = free.update(
                state=State.RUNNING,
                claim=uuid.uuid4(),
                worker=f"{socket.gethostname()}, process {os.getpid()}",
                attempts=F("attempts") + 1,
                fruitless=F("fruitless") + 1,
                heartbeat_at=Now(),
                started_at=Coalesce("started_at", Now()),
                message="",
            )
    except IntegrityError:  # another one runs
        return None
    return TrainingRun.objects.get(pk=run_id) if had else None


class Hold:
    """One worker's hold on a run. All that it writes counts only as long as its claim does.

    A thread writes progress and log every second, which is the run's heartbeat too, and sees when the claim is gone.
    """

    def __init__(self, run: TrainingRun) -> None:
        self.run = run
        self.lost = False
        self.child: subprocess.Popen[str] | None = None
        self.child_hung = False  # it was ended because it was silent
        self._heard = 0.0
        self._mine = TrainingRun.objects.filter(pk=run.pk, claim=run.claim, state=State.RUNNING)
        self._progress: dict[str, Any] = {}
        self._before = float(run.progress.get("farthest", 0.0))
        self._log = run.log
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"run {run}", daemon=True)

    def __enter__(self) -> Hold:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        self.end_child()
        if self.child is not None:
            self.child.wait()

    def check(self) -> None:
        """Raises Lost where the run is no longer ours."""
        if self.lost:
            raise Lost

    def reach(self, stage: str, words: str, share: float) -> None:
        """Say what comes now, in the progress and in the log. Raises Lost."""
        self.say(words)
        self.report({"stage": stage, "share": share, "message": words})

    def report(self, progress: dict[str, Any]) -> None:
        """Note how far it is. Raises Lost."""
        self.check()
        with self._guard:
            curve = self._progress.get("curve", [])
            self._progress = {name: _plain(value) for name, value in progress.items() if value is not None}
            if curve:
                self._progress["curve"] = curve
            if progress.get("loss") is not None and progress.get("epoch") is not None:
                point = [_plain(progress.get(name)) for name in ("epoch", "loss", "validation")]
                if curve and curve[-1][0] > point[0]:  # it is fitted once more
                    curve = []
                if not curve or curve[-1][0] != point[0]:
                    self._progress["curve"] = [*curve, point][-CURVE_LENGTH:]

    def say(self, words: str) -> None:
        """Add a line to the log."""
        with self._guard:
            self._log = (self._log + line(words))[-LOG_LENGTH:]

    def write(self, **values: Any) -> None:
        """Write to the run at once. Raises Lost."""
        self.check()
        if not self._mine.update(**values):
            self.lost = True
            raise Lost
        for name, value in values.items():
            setattr(self.run, name, value)

    @contextmanager
    def ending(self) -> Iterator[TrainingRun]:
        """A transaction in which the run is certainly ours; what is set on it is stored, and the run let go.

        Raises Lost. The row that says which model serves is locked first, as a promotion by hand does it.
        """
        with transaction.atomic():
            Serving.objects.select_for_update().first()
            run = self._mine.select_for_update().first()
            if run is None:
                raise Lost
            yield run
            with self._guard:
                run.log = self._log
                run.progress = self._progress | {"share": 1.0 if run.state == State.DONE else self._share()}
            run.progress.pop("seconds_left", None)
            run.claim, run.finished_at = None, timezone.now()
            run.save()

    def look_after(self, child: subprocess.Popen[str]) -> None:
        """End a process with the run, and when nothing is `heard` of it for RUN_SILENT_AFTER seconds."""
        self._heard = time.monotonic()
        self.child = child

    def heard(self) -> None:
        """Note that the child goes on."""
        self._heard = time.monotonic()

    def end_child(self) -> None:
        """Kill the process group that was started for the run."""
        if self.child is not None and self.child.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child.pid, signal.SIGKILL)

    def _share(self) -> float:
        return float(self._progress.get("share", 0.0))

    def _beat(self) -> None:
        try:
            while not self._ended.wait(PULSE) and not self.lost:
                self._write_down()
                self._end_if_silent()
        finally:
            connection.close()  # a thread has a connection of its own
        if self.lost:
            self.end_child()

    def _end_if_silent(self) -> None:
        if self.child is not None and time.monotonic() - self._heard > settings.RUN_SILENT_AFTER:
            self.child_hung = self.child_hung or self.child.poll() is None
            self.end_child()

    def _write_down(self) -> None:
        with self._guard:
            progress, log_ = dict(self._progress), self._log
        farthest = max(self._before, float(progress.get("share", 0.0)))
        values: dict[str, Any] = {"progress": progress | {"farthest": farthest}, "log": log_}
        if farthest > self._before + FARTHER:
            values["fruitless"] = 0
        try:
            close_old_connections()
            self.lost = not self._mine.update(heartbeat_at=Now(), **values)
        except DatabaseError as problem:
            log.warning("the progress of the run %s cannot be written just now: %s", self.run, problem)


def _plain(value: Any) -> Any:
    """A value that every database takes as JSON."""
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    return round(number, 5) if math.isfinite(number) else None


def line(words: str) -> str:
    """A line of a run's log."""
    return f"{timezone.now():%H:%M:%S} {words}\n"


# --- Folders of runs ------------------------------------------------------------------------------------------------


def work_folder(run: TrainingRun, snapshot: Snapshot, base: ModelVersion) -> Path:
    """Where an attempt works: what the attempt before left there, where it learned from the same, from the same start.

    It is renamed for each attempt: a worker that was taken for dead, and is not, no longer finds it.
    """
    folder: Path = settings.RUNS_DIR / f"{run.pk}-{run.attempts}"
    settings.RUNS_DIR.mkdir(parents=True, exist_ok=True)
    for earlier in sorted(settings.RUNS_DIR.glob(f"{run.pk}-*")):
        shutil.rmtree(folder, ignore_errors=True)
        earlier.rename(folder)
    learns_from = f"{snapshot.digest} {base.pk}"
    if folder.exists() and (folder / "learns-from").read_text() != learns_from:
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    (folder / "learns-from").write_text(learns_from)
    return folder


def clear_folders() -> None:
    """Remove what runs that are over left on this machine."""
    for folder in settings.RUNS_DIR.glob("*-*") if settings.RUNS_DIR.is_dir() else ():
        run = TrainingRun.objects.filter(pk=folder.name.rpartition("-")[0]).first()
        if run is None or run.is_over:
            shutil.rmtree(folder, ignore_errors=True)
