"""What is kept no longer than the policy says, and what nobody misses: looked for, counted, deleted a few at a time.

Two purges at once, or one that is ended half way, do no harm: what is gone is not found again. A drawing whose time is
over leaves the exports that hold it and the next training; that models learned from it is not held against them, as it
is with one that was withdrawn.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.core.files.storage import default_storage
from django.db import DatabaseError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from letters import export, hold, influence, map_files, privacy, registry
from letters.models import Contributor, Drawing, Export, Import, LetterMap, ModelVersion, Policy, Purge, Serving
from letters.models import TrainingRun as Run

log = logging.getLogger(__name__)

AT_ONCE = 200  # rows of a transaction
EMPTY = timedelta(days=30)  # that a contributor stays who has nothing here, and a collection nobody is of
LEFT_OVER = timedelta(days=7)  # that a file in storage stays which no row knows of: it may be on its way into one
NOTES = timedelta(days=400)  # that it is known what was purged when


@dataclass(frozen=True)
class Limits:
    """The policy, and the moment by which it is judged."""

    policy: Policy
    now: datetime

    def ago(self, days: int) -> datetime | None:
        """So many days before that moment; None where 0 days say for ever."""
        return self.now - timedelta(days=days) if days else None


@dataclass(frozen=True)
class Kind:
    """One kind of what has its time: how it is called, what of it is due, and how to delete some; how many were."""

    name: str
    words: str
    due: Callable[[Limits], Any]
    delete: Callable[[list[Any]], int]


# --- What is due ---------------------------------------------------------------------------------------------------


def _in_state_since(state: str, before: datetime | None) -> QuerySet[Drawing]:
    if before is None:
        return Drawing.objects.none()
    return Drawing.objects.filter(state=state, state_since__lt=before)


def _rejected(limits: Limits) -> QuerySet[Drawing]:
    return _in_state_since(Drawing.State.REJECTED, limits.ago(limits.policy.rejected_days))


def _pending(limits: Limits) -> QuerySet[Drawing]:
    return _in_state_since(Drawing.State.PENDING, limits.ago(limits.policy.pending_days))


def _old(limits: Limits) -> QuerySet[Drawing]:
    before = limits.ago(limits.policy.drawings_days)
    return Drawing.objects.filter(created_at__lt=before) if before else Drawing.objects.none()


def _exports(limits: Limits) -> QuerySet[Export]:
    before = limits.ago(limits.policy.exports_days)
    over = Export.objects.filter(state__in=(Export.State.DONE, Export.State.FAILED))
    return over.filter(finished_at__lt=before) if before else over.none()


def _models(limits: Limits) -> list[ModelVersion]:
    """Trained here, do not serve, and never did, or learned from what was withdrawn since; not those that wait for a
    maintainer's word."""
    before = limits.ago(limits.policy.models_days)
    if before is None:
        return []
    old = ModelVersion.objects.filter(
        origin=ModelVersion.Origin.TRAINED, discarded_at=None, created_at__lt=before
    ).exclude(pk__in=Serving.objects.values("model"))
    waiting = Run.objects.filter(outcome=Run.Outcome.PASSED).values("candidate")
    never_served = list(old.filter(deployments=None).exclude(pk__in=waiting))
    served = old.exclude(deployments=None).distinct()
    return never_served + [each for each in served if influence.withdrawn_from(each)]


def _staff_log(limits: Limits) -> QuerySet[LogEntry]:
    before = limits.ago(limits.policy.log_days)
    return LogEntry.objects.filter(action_time__lt=before) if before else LogEntry.objects.none()


def _sessions(limits: Limits) -> QuerySet[Session]:
    return Session.objects.filter(expire_date__lt=limits.now)


def _contributors(limits: Limits) -> QuerySet[Contributor]:
    """Who has nothing here. Who is muted stays, so that the next drawing is muted too."""
    own = Drawing.objects.filter(contributor=OuterRef("pk"))
    return Contributor.objects.filter(~Exists(own), muted_at=None, created_at__lt=limits.now - EMPTY)


def _imports(limits: Limits) -> QuerySet[Import]:
    return Import.objects.filter(contributors=None, created_at__lt=limits.now - EMPTY)


def _notes(limits: Limits) -> QuerySet[Purge]:
    return Purge.objects.filter(created_at__lt=limits.now - NOTES)


def _left_in_storage(limits: Limits) -> list[str]:
    """Folders of exports, maps and models that no row knows of."""
    models = set(ModelVersion.objects.filter(discarded_at=None).values_list("digest", flat=True))
    known = {
        "exports": {str(pk) for pk in Export.objects.values_list("pk", flat=True)},
        map_files.ROOT: {str(pk) for pk in LetterMap.objects.values_list("pk", flat=True)},
        "models": models,
    }
    return [
        folder
        for root, names in known.items()
        for folder in _folders(root)
        if folder.rpartition("/")[2] not in names and _untouched(folder, limits.now - LEFT_OVER)
    ]


def _folders(root: str) -> list[str]:
    try:
        return [f"{root}/{name}" for name in default_storage.listdir(root)[0]]
    except FileNotFoundError:
        return []


def _untouched(folder: str, since: datetime) -> bool:
    return all(default_storage.get_modified_time(name) < since for name in _files(folder))


def _files(folder: str) -> Iterator[str]:
    folders, names = default_storage.listdir(folder)
    yield from (f"{folder}/{name}" for name in names)
    for each in folders:
        yield from _files(f"{folder}/{each}")


# --- Delete some ---------------------------------------------------------------------------------------------------


def _delete_drawings(drawings: list[Drawing]) -> int:
    return privacy.delete_drawings([each.pk for each in drawings], withdrawn=False)


def _delete_exports(exports: list[Export]) -> int:
    export.discard([each.pk for each in exports])
    return len(exports)


def _delete_models(models: list[ModelVersion]) -> int:
    return sum(registry.discard(each) for each in models)


@transaction.atomic
def _delete_contributors(contributors: list[Contributor]) -> int:
    """Locked as whoever keeps a drawing locks them: a first one that comes at this moment is not lost."""
    ids = [each.pk for each in contributors]
    locked = Contributor.objects.select_for_update().filter(pk__in=ids).order_by("pk")
    own = Drawing.objects.filter(contributor__in=ids).values_list("contributor_id", flat=True)
    empty = {each.pk for each in locked} - set(own.distinct())
    return _count(Contributor.objects.filter(pk__in=empty), Contributor)


def _delete_rows(rows: list[Any]) -> int:
    model = type(rows[0])
    return _count(model._default_manager.filter(pk__in=[each.pk for each in rows]), model)


def _count(rows: QuerySet[Any], model: type[Any]) -> int:
    return rows.delete()[1].get(model._meta.label, 0)


def _delete_folders(folders: list[str]) -> int:
    for each in folders:
        map_files.delete_folder(each)
    return len(folders)


KINDS = (
    Kind("rejected", "rejected drawings", _rejected, _delete_drawings),
    Kind("pending", "drawings that nobody reviewed", _pending, _delete_drawings),
    Kind("drawings", "drawings whose time is over", _old, _delete_drawings),
    Kind("exports", "exports", _exports, _delete_exports),
    Kind("models", "files of models", _models, _delete_models),
    Kind("contributors", "contributors of whom nothing is left", _contributors, _delete_contributors),
    Kind("imports", "collections of which nothing is left", _imports, _delete_rows),
    Kind("log", "lines of the staff's log", _staff_log, _delete_rows),
    Kind("sessions", "sessions that are over", _sessions, _delete_rows),
    Kind("storage", "folders in storage that belong to nothing", _left_in_storage, _delete_folders),
    Kind("notes", "notes of earlier purges", _notes, _delete_rows),
)


# --- Do it ---------------------------------------------------------------------------------------------------------


def due(now: datetime | None = None) -> dict[str, int]:
    """How much of each kind a purge would delete at this moment. A drawing may be due for two reasons."""
    limits = _limits(now)
    return {kind.name: _length(kind.due(limits)) for kind in KINDS}


def purge(now: datetime | None = None) -> Purge:
    """Delete what is due. Where something cannot be deleted the rest goes all the same, and the note says so."""
    note = Purge.objects.create()
    limits = _limits(now)
    for kind in KINDS:
        with _noted(note, kind.words):
            note.counts[kind.name] = _purge(kind, limits)
    with _noted(note, "what is left on this machine"):
        clear_machine()
    note.finished_at = timezone.now()
    note.save()
    return note


@contextmanager
def _noted(note: Purge, words: str) -> Iterator[None]:
    try:
        yield
    except (OSError, DatabaseError) as problem:
        log.exception("a purge could not delete %s", words)
        note.message += f"{words} could not all be deleted: {problem}\n"


def _purge(kind: Kind, limits: Limits) -> int:
    deleted = 0
    while some := list(kind.due(limits)[:AT_ONCE]):
        done = kind.delete(some)
        deleted += done
        if not done:  # somebody else is at it
            break
    return deleted


def _limits(now: datetime | None) -> Limits:
    return Limits(Policy.objects.first() or Policy(), now or timezone.now())


def _length(found: Sequence[Any] | QuerySet[Any]) -> int:
    return found.count() if isinstance(found, QuerySet) else len(found)


def clear_machine() -> None:
    """Remove from this machine what workers left behind, and models that are in use nowhere any more."""
    hold.clear_folders()
    export.clear_folders()
    known = set(ModelVersion.objects.filter(discarded_at=None).values_list("digest", flat=True))
    cached: Path = settings.MODEL_CACHE_DIR
    for folder in cached.iterdir() if cached.is_dir() else ():
        if not folder.name.startswith(".") and folder.name not in known:
            shutil.rmtree(folder, ignore_errors=True)
