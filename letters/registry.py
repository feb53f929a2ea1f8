"""Model versions: register one, say which serves, let another serve, go back, bring one to this machine."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection, transaction
from django.db.models import Max
from django.utils import timezone

from letters.errors import ModelNotFound, ModelUnfit, NoModel, ReasonRequired
from letters.models import Deployment, ModelVersion, Serving, TrainingRun
from ml import artifact, familiarity
from ml.embed import ReferenceMap, reference_points
from ml.familiarity import Known

log = logging.getLogger(__name__)

TRIAL = "import sys; from pathlib import Path; from ml.artifact import smoke_test; smoke_test(Path(sys.argv[1]))"
TRIAL_TIMEOUT = 60.0  # seconds
REASON_LENGTH = 300
SETUP = "setup"  # the actor of what no person did
UNUSED = 86400.0  # seconds after which an earlier model goes from this machine's cache, when another comes
HELD = 4  # models that a process was given last and may still be reading: a retraining reads three
FETCHING, GONE = ".fetching-", ".gone-"  # how folders of the cache begin that are no models
_READ = ("id", "number", "digest", "name", "origin")
_SERVES = (
    "SELECT version.id, version.number, version.digest, version.name, version.origin FROM letters_serving AS serving"
    " JOIN letters_modelversion AS version ON version.id = serving.model_id"
)


def current() -> ModelVersion:
    """The version that serves. Raises NoModel."""
    # Asked with each prediction: the query is written out, for to have Django write it takes as long as all the rest of
    # it; and without metrics and configuration, which are large. What is not in it loads when asked for.
    with connection.cursor() as cursor:
        cursor.execute(_SERVES)
        row = cursor.fetchone()
    if row is None:
        raise NoModel
    return ModelVersion.from_db(connection.alias, _READ, row)


def number(wanted: int) -> ModelVersion:
    """The version of a number. Raises ModelNotFound."""
    version = ModelVersion.objects.filter(number=wanted).first()
    if version is None:
        raise ModelNotFound(wanted)
    return version


def trunk_of(version: ModelVersion) -> str:
    """Names the layers below the last: the same for versions whose last layer alone differs."""
    return str(version.config.get("trunk") or version.digest)


# --- Register ------------------------------------------------------------------------------------------------------


def register(folder: Path, *, name: str, origin: ModelVersion.Origin) -> ModelVersion:
    """Put a verified, working artefact into storage and the register. Registering it again changes nothing.

    Raises ml.artifact.BadArtifact.
    """
    return enter(store(folder), folder, name=name, origin=origin)


def store(folder: Path) -> str:
    """Put a verified, working artefact into storage, where it is not in there; its digest. Raises BadArtifact."""
    digest = artifact.verify(folder)
    if ModelVersion.objects.filter(digest=digest).exists() and default_storage.exists(_stored(digest, "manifest.json")):
        return digest
    artifact.smoke_test(folder)
    upload(folder, digest)
    return digest


@transaction.atomic
def enter(digest: str, folder: Path, *, name: str, origin: ModelVersion.Origin) -> ModelVersion:
    """The version of an artefact that is in storage: a new one, or the one that it is already."""
    _lock_serving()  # so that no two take the same number
    highest = ModelVersion.objects.aggregate(highest=Max("number"))["highest"] or 0
    version, _ = ModelVersion.objects.get_or_create(
        digest=digest,
        defaults={
            "number": highest + 1,
            "name": name,
            "origin": origin,
            "metrics": artifact.read_json(folder, "metrics.json"),
            "config": artifact.read_json(folder, "config.json"),
        },
    )
    if version.discarded_at:
        version.discarded_at = None
        version.save(update_fields=["discarded_at"])
    return version


def register_shipped() -> ModelVersion:
    """Register the model that ships with the code; it serves if nothing does, or if an older shipped one does."""
    version = register(artifact.SHIPPED, name="Shipped", origin=ModelVersion.Origin.SHIPPED)
    serving = Serving.objects.select_related("model").first()
    if serving is None:
        promote(version, actor=SETUP, reason="first model")
    elif serving.model.origin == ModelVersion.Origin.SHIPPED and serving.model.number < version.number:
        promote(version, actor=SETUP, reason="a newer model ships with this release")
    _publish_maps()
    return version


def _publish_maps() -> None:
    """Those that the serving model brings along: who looks at the maps of a fresh site finds some."""
    from letters import maps  # it knows of models, too

    maps.publish_reference(current())


# --- Promote, go back ----------------------------------------------------------------------------------------------


def promote_by_hand(wanted: int, *, actor: str, reason: str) -> ModelVersion:
    """Let a version serve because somebody says so, and says why. What serves already stays, and nothing is recorded.

    Raises ModelNotFound, ReasonRequired, and ModelUnfit for an artefact that is damaged or does not work.
    """
    version = number(wanted)
    if not reason.strip():
        raise ReasonRequired
    _refuse_discarded(version)
    check(version)
    promote(version, actor=actor, reason=reason.strip())
    return version


def roll_back(*, actor: str, reason: str, to: int | None = None) -> ModelVersion:
    """Let an earlier version serve again: `to`, or the one that served before the one that serves now first did.

    Raises what `promote_by_hand` raises.
    """
    if to is None:
        serving = current()
        first = Deployment.objects.filter(model=serving, previous__isnull=False).order_by("created_at", "id").first()
        if first is None or first.previous is None:
            raise ModelNotFound(f"that served before {serving}")
        to = first.previous.number
    return promote_by_hand(to, actor=actor, reason=reason)


@transaction.atomic
def promote(version: ModelVersion, *, actor: str, reason: str, run: TrainingRun | None = None) -> None:
    """Let a version serve, and record it. Every worker follows with the next request."""
    serving = _lock_serving()
    if serving is not None and serving.model == version:
        return
    _refuse_discarded(version)
    Deployment.objects.create(
        previous=serving.model if serving else None,
        model=version,
        actor=actor,
        reason=reason if len(reason) <= REASON_LENGTH else reason[: REASON_LENGTH - 1] + "…",
        run=run,
    )
    Serving.objects.update_or_create(id=1, defaults={"model": version})
    waited = TrainingRun.objects.filter(candidate=version, outcome=TrainingRun.Outcome.PASSED)
    waited.update(outcome=TrainingRun.Outcome.PROMOTED)
    transaction.on_commit(_let_workers_follow)


def _refuse_discarded(version: ModelVersion) -> None:
    """Raises ModelUnfit."""
    since = ModelVersion.objects.values_list("discarded_at", flat=True).get(pk=version.pk)
    if since:
        raise ModelUnfit(f"{version} cannot serve: its files were deleted on {since:%d %B %Y}, as the policy says")


def _let_workers_follow() -> None:
    """They follow by themselves; told, one has the new model at hand when the first visitor comes."""
    from letters import maps, tasks

    tasks.send(tasks.watch)
    maps.after_promotion()


def _lock_serving() -> Serving | None:
    """The row that says which model serves, held until the transaction ends."""
    return Serving.objects.select_for_update().select_related("model").first()


def check(version: ModelVersion) -> None:
    """See that what storage holds of a version is what was registered, and works. Raises ModelUnfit.

    It is fetched anew: that this machine has a good copy would not help the others. It is tried in a process of its
    own, for the web process, which promotes by hand, never loads LiteRT.
    """
    with tempfile.TemporaryDirectory(prefix="letterloop-check-") as name:
        folder = Path(name) / f"model-{version.number}"
        folder.mkdir()
        try:
            _copy(version.digest, folder)
            artifact.verify(folder, version.digest)
            _try(folder)
        except artifact.BadArtifact as problem:
            words = str(problem).replace(str(folder), "in storage")
            log.error("%s is not promoted: %s", version, words)
            raise ModelUnfit(f"{version} cannot serve: {words}") from problem


def _try(folder: Path) -> None:
    command = [sys.executable, "-c", TRIAL, str(folder)]
    try:
        tried = subprocess.run(
            command, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=TRIAL_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise artifact.BadArtifact(f"{folder}: it does not predict within {TRIAL_TIMEOUT:.0f} s") from error
    if tried.returncode:
        last = tried.stderr.strip().splitlines()[-1:] or [f"exit code {tried.returncode}"]
        raise artifact.BadArtifact(last[0].removeprefix("ml.artifact.BadArtifact: "))


def discard(version: ModelVersion) -> bool:
    """Delete the files of a version that does not serve; what is known of it stays. Whether it was there to be."""
    with transaction.atomic():
        serving = _lock_serving()
        if serving is not None and serving.model == version:
            return False
        found = ModelVersion.objects.filter(pk=version.pk, discarded_at=None).update(discarded_at=timezone.now())
    if found:
        for name in ("manifest.json", *artifact.FILES):  # without a manifest it is not there, if this is interrupted
            default_storage.delete(_stored(version.digest, name))
        default_storage.delete(f"models/{version.digest}")  # an empty folder, where storage has folders
    return bool(found)


# --- Bring one to this machine -------------------------------------------------------------------------------------


def fetch(digest: str) -> Path:
    """The folder of a registered artefact on this machine, fetched from storage where it is not here or was damaged.
    It stays while this process lives, or until that has been given HELD others.

    Raises ml.artifact.BadArtifact when storage itself holds another file than was registered.
    """
    folder: Path = settings.MODEL_CACHE_DIR / digest
    _hold(folder)
    try:
        artifact.verify(folder, digest)
    except artifact.BadArtifact as problem:
        if folder.exists():
            log.warning("the model in the cache is damaged, it is fetched again from storage: %s", problem)
        _download(digest, folder)
        _prune(folder.parent)
    return folder


def stamp(digest: str) -> tuple[int, int, int] | None:
    """Changes when the file that a worker reads of an artefact on this machine does; None where it is not here."""
    try:
        found = (settings.MODEL_CACHE_DIR / digest / "model.tflite").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=2)
def reference_map(digest: str) -> ReferenceMap:
    """The reference letters of a registered model."""
    return ReferenceMap(fetch(digest))


@lru_cache(maxsize=2)
def known_letters(digest: str) -> Known:
    """What is usual among the letters that a registered model knows."""
    return familiarity.load(fetch(digest))


@lru_cache(maxsize=2)
def map_points(digest: str, count: int) -> list[tuple[float, float, int]]:
    """(x, y, class) of the first `count` reference letters, a fair sample of all of them."""
    plane, labels = reference_points(fetch(digest))
    return [
        (round(float(x), 3), round(float(y), 3), int(label))
        for (x, y), label in zip(plane[:count], labels[:count], strict=True)
    ]


def _stored(digest: str, name: str) -> str:
    return f"models/{digest}/{name}"


def upload(folder: Path, digest: str) -> None:
    """Put a verified artefact into storage. The manifest goes last: one without it is not there yet."""
    for name in (*artifact.FILES, "manifest.json"):
        stored = _stored(digest, name)
        default_storage.delete(stored)
        with (folder / name).open("rb") as opened:
            default_storage.save(stored, File(opened))


def _download(digest: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=FETCHING))
    try:
        _copy(digest, aside)
        artifact.verify(aside, digest)
        _hold(folder, aside)  # before others find it
        _replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _copy(digest: str, folder: Path) -> None:
    for name in (*artifact.FILES, "manifest.json"):
        try:
            with default_storage.open(_stored(digest, name)) as stored, (folder / name).open("wb") as local:
                shutil.copyfileobj(stored, local)
        except OSError as error:
            raise artifact.BadArtifact(f"the model {digest[:12]} cannot be read from storage ({error})") from error


def _replace(aside: Path, folder: Path) -> None:
    """Another worker of this machine may be doing the same: whoever renames first has done it for both."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        aside.rename(folder)
    except OSError:
        _hold(folder)
        artifact.verify(folder)


# --- Keep the cache small ------------------------------------------------------------------------------------------

_held: dict[Path, int] = {}  # descriptors of folders, locked; the last is the one that was given last
_turn = threading.Lock()


def _hold(folder: Path, now_at: Path | None = None) -> None:
    """Lock a folder for reading, so that no process of this machine prunes it, and note that it was used."""
    with _turn:
        if folder in _held:
            os.close(_held.pop(folder))
        try:
            opened = os.open(now_at or folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:  # it is not here
            return
        _held[folder] = opened
        with contextlib.suppress(OSError):  # where nothing can be locked nothing is pruned either
            fcntl.flock(opened, fcntl.LOCK_SH)  # somebody who prunes has it for a moment
            os.utime(opened)
        for oldest in list(_held)[:-HELD]:
            os.close(_held.pop(oldest))


def _prune(cache: Path) -> None:
    """Delete from this machine what nobody reads and nobody was given for a day, but for the model that serves and the
    one that did before, which may serve again at any moment."""
    try:
        kept = _last_two()
    except DatabaseError as problem:  # a prediction needs the model, and no database
        log.warning("earlier models stay in the cache: %s", problem)
        return
    for folder in cache.iterdir():
        with contextlib.suppress(OSError):  # another process was quicker
            if folder.name not in kept and time.time() - folder.stat().st_mtime > UNUSED:
                _delete(folder)


def _last_two() -> set[str]:
    """Digests."""
    deployed = Deployment.objects.order_by("-created_at", "-id").values_list("model__digest", "previous__digest")
    return {*(deployed.first() or ()), *Serving.objects.values_list("model__digest", flat=True)}


def _delete(folder: Path) -> None:
    """Raises OSError where a process holds it. What a killed process left behind nobody holds."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        gone = folder if folder.name.startswith(GONE) else folder.with_name(f"{GONE}{folder.name}")
        folder.rename(gone)  # at once, and whole: who comes now finds none, and fetches it
        shutil.rmtree(gone, ignore_errors=True)
    finally:
        os.close(opened)
