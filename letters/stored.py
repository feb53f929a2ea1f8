"""What lies in storage: all of it by name, what rows say should be there, what is not, and what can be put back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.apps import apps as installed
from django.apps.registry import Apps
from django.conf import settings
from django.core.files.storage import default_storage

from letters import registry
from letters.models import ModelVersion
from ml import artifact

ROOTS = ("models", "maps", "exports")  # the folders that are ours
AT_ONCE = 1_000  # rows
CHUNK = 1024 * 1024  # bytes


def names() -> list[str]:
    """All that lies there."""
    return [name for root in ROOTS for name in _names_in(root)]


def _names_in(folder: str) -> Iterator[str]:
    try:
        folders, found = default_storage.listdir(folder)
    except FileNotFoundError:
        return
    yield from (f"{folder}/{name}" for name in sorted(filter(None, found)))
    for each in sorted(folders):
        yield from _names_in(f"{folder}/{each}")


def named(apps: Apps = installed) -> Iterator[tuple[str, str]]:
    """What rows say is there, and what it is part of. `apps`: of tables of an earlier release."""
    yield from ((name, of) for name, _, of in _expected(apps))


def _expected(apps: Apps = installed) -> Iterator[tuple[str, int | None, str]]:
    """The same, and between them its bytes, where rows know how many it has."""
    for label, files_of in _FILES_OF.items():
        with suppress(LookupError):  # it had no such table
            for row in apps.get_model("letters", label)._base_manager.iterator(AT_ONCE):
                yield from ((name, size, f"{label} {row.pk}") for name, size in files_of(row))


_FILES_OF: dict[str, Callable[[Any], list[tuple[str, int | None]]]] = {
    "ModelVersion": lambda version: [] if is_discarded(version) else [(f"models/{version.digest}/manifest.json", None)],
    "LetterMap": lambda made: [(name, size) for name, size in made.files.values()],
    "Export": lambda export: [(export.stored, export.size or None)] if export.stored else [],
}


def is_discarded(version: Any) -> bool:
    """Whether its files were deleted on purpose; tables of an earlier release know nothing of that."""
    return getattr(version, "discarded_at", None) is not None


def digest_of(name: str) -> str:
    """SHA-256 of a file in storage. Raises FileNotFoundError."""
    digest = hashlib.sha256()
    with default_storage.open(name) as opened:
        while part := opened.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()


# --- Is it what it should be? ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """What is wrong with something that rows know, and what was or can be done about it."""

    of: str
    what: str
    remedy: str
    mended: bool = False


def faults(*, mend: bool = False) -> Iterator[Fault]:
    """What storage lacks or holds altered. `mend`: put models back that this machine has a good copy of."""
    for version in ModelVersion.objects.filter(discarded_at=None).order_by("number").only("digest", "number"):
        what = _fault_of(version.digest)
        if what:
            yield _mended(version, what) if mend else Fault(str(version), what, _remedy_of(version.digest))
    for name, size, of in _expected():
        if name.startswith("models/"):
            continue
        remedy = f"have the {'map' if name.startswith('maps/') else 'export'} made again"
        found = _size_of(name)
        if found is None:
            yield Fault(of, f"{name} is missing", remedy)
        elif size not in (None, found):
            yield Fault(of, f"{name} is not of the length that was stored", remedy)


def _size_of(name: str) -> int | None:
    """Bytes of a file in storage; None where it is not there."""
    try:
        return default_storage.size(name)
    except FileNotFoundError:
        return None


def _fault_of(digest: str) -> str:
    """By the manifest that the digest is of, whatever release wrote it; nothing where all is as it was registered."""
    folder = f"models/{digest}"
    try:
        if digest_of(f"{folder}/manifest.json") != digest:
            return "its manifest is not the one that was registered"
        with default_storage.open(f"{folder}/manifest.json") as opened:
            files: dict[str, str] = json.loads(opened.read())["files"]
        wrong = [name for name, sum_ in files.items() if digest_of(f"{folder}/{name}") != sum_]
    except FileNotFoundError as error:
        return f"a file of it is missing ({Path(str(error.filename or error)).name})"
    return f"{wrong[0]} is not the file that was registered" if wrong else ""


def _good_copy(digest: str) -> Path | None:
    for folder in (artifact.SHIPPED, Path(settings.MODEL_CACHE_DIR) / digest):
        with suppress(artifact.BadArtifact):
            artifact.verify(folder, digest)
            return folder
    return None


def _remedy_of(digest: str) -> str:
    if _good_copy(digest):
        return "this machine has a good copy: the same command with --mend puts it back"
    return "try --mend on each machine with a worker, which may have a copy; else restore a backup"


def _mended(version: ModelVersion, what: str) -> Fault:
    folder = _good_copy(version.digest)
    if folder is None:
        return Fault(str(version), what, _remedy_of(version.digest))
    registry.upload(folder, version.digest)
    return Fault(str(version), what, "put back from this machine's copy", mended=True)
