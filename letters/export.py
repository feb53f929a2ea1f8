"""Take the collected data away: an export is asked for, made by a worker into storage, handed out, and refused again
once a drawing in it is withdrawn."""

from __future__ import annotations

import logging
import shutil
import time
import uuid
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from letters import consent, dataset, errors
from letters.models import Drawing, Export

log = logging.getLogger(__name__)

SELECTION = "approved"  # what an export of the site is of; the command knows others
BEAT = 1.0  # seconds between two signs of life
STALE = timedelta(seconds=30)  # without one, by the database's clock, the worker is taken for dead
CLOCKS_DIFFER = timedelta(minutes=15)  # at most, those of the web process and the trainer
ATTEMPTS = 3  # workers that may die over an export, and times that one is begun again because of a withdrawal
State = Export.State


class Superseded(Exception):
    """The export was taken from this worker, or deleted."""


# --- Ask for one ---------------------------------------------------------------------------------------------------


def request(format: str, requested_by: str) -> Export:
    """Have an export made; where one of the same format is on its way already, that one.

    Raises NothingToExport.
    """
    if not dataset.selected(SELECTION).exists():
        raise errors.NothingToExport(dataset.withheld(SELECTION))
    with transaction.atomic():
        waiting = Export.objects.filter(format=Export.Format(format), state__in=(State.QUEUED, State.RUNNING)).first()
        if waiting is not None:
            return waiting
        made = Export.objects.create(format=Export.Format(format), requested_by=requested_by, heartbeat_at=Now())
        transaction.on_commit(partial(_send, made.pk))
    return made


def _send(export_id: uuid.UUID) -> None:
    from letters import tasks

    tasks.send(tasks.export, str(export_id))


def stale() -> list[uuid.UUID]:
    """Exports to be sent again: their message was lost, or their worker died.

    One that has cost three workers is not tried any more.
    """
    silent = Export.objects.filter(state=State.RUNNING, heartbeat_at__lt=Now() - STALE)
    silent.filter(attempts__gte=ATTEMPTS).update(
        state=State.FAILED,
        claim=None,
        finished_at=timezone.now(),
        message=f"{ATTEMPTS} workers ended while they made it; the last lines of the trainer's log may say why. "
        "It can be started again.",
    )
    taken_back = list(silent.values_list("pk", flat=True))
    silent.update(state=State.QUEUED, claim=None)
    asked_long_ago = Q(heartbeat_at=None) | Q(heartbeat_at__lt=Now() - STALE)
    lost = Export.objects.filter(asked_long_ago, state=State.QUEUED).values_list("pk", flat=True)
    return list({*taken_back, *lost})


# --- Make it -------------------------------------------------------------------------------------------------------


def make(export_id: uuid.UUID) -> None:
    """Make an export that waits; one that another worker has, or that is over, is left alone."""
    claim = _claim(export_id)
    if claim is None:
        return
    work = _Work(export_id, claim)
    try:
        work.do()
    except Superseded:
        log.info("export %s was taken over or deleted", export_id)
    except errors.Refusal as refusal:
        work.fail(refusal.message)
    except OSError as problem:
        log.exception("export %s", export_id)
        work.fail(f"its file could not be written ({problem}): see to the disk or the storage, then start it again")
    except Exception as problem:
        log.exception("export %s", export_id)
        work.fail(f"{type(problem).__name__}: {problem} (the trainer's log says more)")
    finally:
        shutil.rmtree(work.folder, ignore_errors=True)
        clear_folders()


def _claim(export_id: uuid.UUID) -> uuid.UUID | None:
    """A token for whoever alone works on it now; None where somebody does already."""
    claim = uuid.uuid4()
    export = Export.objects.filter(pk=export_id, state=State.QUEUED)
    attempts = export.values_list("attempts", flat=True).first()
    if attempts is None:
        return None
    claimed = export.update(
        state=State.RUNNING,
        claim=claim,
        attempts=attempts + 1,
        heartbeat_at=Now(),
        withdrawn_at=None,
        done=0,
        total=dataset.selected(SELECTION).count(),
        message="",
    )
    return claim if claimed == 1 else None


class _Work:
    """One worker's work on one export, for as long as it is this one's."""

    def __init__(self, export_id: uuid.UUID, claim: uuid.UUID) -> None:
        self._id = export_id
        self._mine = Export.objects.filter(pk=export_id, claim=claim, state=State.RUNNING)
        self._told = time.monotonic()
        self.folder: Path = settings.VAR_DIR / "cache" / "exports" / f"{export_id}-{claim.hex[:8]}"

    def do(self) -> None:
        """Write and publish it; again where a drawing that it may hold was withdrawn meanwhile."""
        self._sweep()
        for _ in range(ATTEMPTS):
            written, stored = self._write()
            if self._publish(written, stored):
                return
            default_storage.delete(stored)
            self._update(withdrawn_at=None, done=0)
        self.fail("drawings were withdrawn while it was made, again and again: start it again at a quieter time")

    def _sweep(self) -> None:
        """What a worker that died over it left behind."""
        for left in self.folder.parent.glob(f"{self._id}-*"):
            shutil.rmtree(left, ignore_errors=True)
        delete_files(self._id)
        self.folder.mkdir(parents=True)

    def _write(self) -> tuple[dataset.Written, str]:
        export = self._mine.first()
        if export is None:
            raise Superseded
        name = f"letterloop-{export.format}-{timezone.now():%Y-%m-%d-%H%M}.zip"
        path = self.folder / name
        written = dataset.write(export.format, path, selection=SELECTION, report=self.report)
        with path.open("rb") as opened:
            content = _Watched(opened, lambda: self.report(written.drawings))
            stored = default_storage.save(f"exports/{self._id}/{name}", content)
        path.unlink()
        return written, stored

    def _publish(self, written: dataset.Written, stored: str) -> bool:
        """Whether it is done now: not where a withdrawal came in between."""
        published = self._mine.filter(withdrawn_at=None).update(
            state=State.DONE,
            claim=None,
            stored=stored,
            size=written.size,
            done=written.drawings,
            total=written.drawings,
            finished_at=Now(),
        )
        return published == 1

    def report(self, done: int) -> None:
        """A sign of life, at most one a second. Raises Superseded."""
        if time.monotonic() - self._told >= BEAT:
            self._update(done=done)
            self._told = time.monotonic()

    def fail(self, message: str) -> None:
        """Say why there is no file."""
        self._mine.update(state=State.FAILED, claim=None, message=message, finished_at=timezone.now())

    def _update(self, **values: Any) -> None:
        if self._mine.update(heartbeat_at=Now(), **values) != 1:
            raise Superseded


class _Watched(File):  # type: ignore[type-arg] # generic in the stubs alone
    """A file that tells of each piece that is read from it: a slow storage is no dead worker."""

    def __init__(self, file: Any, told: Any) -> None:
        super().__init__(file)
        self._file, self._told = file, told

    def read(self, size: int = -1) -> bytes:
        self._told()
        content: bytes = self._file.read(size)
        return content


def clear_folders() -> None:
    """Remove what workers that died left on this machine of exports that nobody makes any more."""
    at_work = {str(pk) for pk in Export.objects.filter(state=State.RUNNING).values_list("pk", flat=True)}
    for left in (settings.VAR_DIR / "cache" / "exports").glob("*-*"):
        if left.name.rpartition("-")[0] not in at_work:
            shutil.rmtree(left, ignore_errors=True)


def delete_files(export_id: uuid.UUID) -> None:
    """Delete whatever lies in storage for an export."""
    folder = f"exports/{export_id}"
    try:
        names = default_storage.listdir(folder)[1]
    except FileNotFoundError:
        return
    for name in names:
        default_storage.delete(f"{folder}/{name}")
    default_storage.delete(folder)  # an empty folder, where storage has folders


# --- Hand it out, or not any more ----------------------------------------------------------------------------------


def open_file(export_id: uuid.UUID) -> tuple[File[bytes], str]:
    """The file of an export, to be read, and its name. Raises ExportNotFound and ExportWithdrawn."""
    export = Export.objects.filter(pk=export_id, state=State.DONE).first()
    if export is None:
        raise errors.ExportNotFound
    if export.withdrawn_at is not None:
        raise errors.ExportWithdrawn
    try:
        return default_storage.open(export.stored), Path(export.stored).name
    except FileNotFoundError as error:
        raise errors.ExportNotFound from error


def discard(export_ids: Iterable[uuid.UUID]) -> None:
    """Delete exports, file and all. Whoever works on one notices and stops."""
    ids = list(export_ids)
    with transaction.atomic():
        Export.objects.filter(pk__in=ids).delete()
        for each in ids:
            transaction.on_commit(partial(delete_files, each))


def refuse_exports_of(drawings: Iterable[Drawing]) -> None:
    """Drawings go: what was made with them is handed out no more, and its file is deleted."""
    made = [each.created_at for each in drawings if _may_be_in_one(each)]
    if not made:
        return
    refuse = partial(_refuse_exports_since, min(made))
    refuse()
    # Once more when the drawings are gone for all to see: an export may have begun, and read them, in between.
    transaction.on_commit(lambda: _refuse_and_delete(refuse), robust=True)  # no partial: Django asks its name


def _may_be_in_one(drawing: Drawing) -> bool:
    never_reviewed = drawing.state == Drawing.State.PENDING and drawing.revision == 0
    return not never_reviewed and drawing.consent in consent.PUBLISHABLE


def _refuse_exports_since(made: Any) -> None:
    """What was finished before the drawing was made cannot hold it; the clocks of two machines said when."""
    holding = Q(state=State.RUNNING) | Q(state=State.DONE, finished_at__gte=made - CLOCKS_DIFFER)
    Export.objects.filter(holding, withdrawn_at=None).update(withdrawn_at=timezone.now())


def _refuse_and_delete(refuse: Any) -> None:
    refuse()
    for export in Export.objects.filter(state=State.DONE, withdrawn_at__isnull=False).exclude(stored=""):
        delete_files(export.pk)
        Export.objects.filter(pk=export.pk).update(stored="", size=0)
