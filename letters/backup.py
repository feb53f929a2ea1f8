"""The whole site as one file and back: every row, and every file in storage, of one moment.

The file is a tar that any tar can list. In it: `letterloop-backup.json` (which migrations the rows have gone through),
`tables/LABEL/NUMBER.jsonl.gz` (a line of column names, then a line a row), `storage/NAME`, `contents.json`, and last
`SHA256SUMS`, as `sha256sum --check` reads it: a file without it is not whole. Rows are written and loaded by the models
of their own migrations, so a backup of an earlier release, or from another kind of database, is restored all the same.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from typing import IO, Any

from django.apps.registry import Apps
from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connection, models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from letters import privacy, stored
from letters.embedded import write_private
from letters.models import Drawing, Withdrawal

FORMAT = 1
HEAD, CONTENTS, SUMS = "letterloop-backup.json", "contents.json", "SHA256SUMS"
TABLES, STORAGE = "tables/", "storage/"
LEFT_BEHIND = {"sessions", "axes"}  # apps of whose tables no row is kept: who is signed in, and who failed to
PART = 4 * 1024 * 1024  # characters of rows that are held in memory at once
AT_ONCE = 500  # rows that are asked for at once
CHUNK = 1024 * 1024
Migration = tuple[str, str]


class BadBackup(Exception):
    """A file that is no whole, unaltered backup, or one that this release cannot read; says which."""


class SiteInUse(Exception):
    """A restore would replace what somebody gave."""


@dataclass
class Contents:
    """What a backup holds: rows by table, files, and the names that rows know and storage did not have."""

    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    missing: list[str] = field(default_factory=list)

    def in_words(self) -> str:
        """For the person who waits for it."""
        return f"{sum(self.rows.values()):,} rows in {len(self.rows)} tables and {self.files:,} files"


# --- Make one ------------------------------------------------------------------------------------------------------


def save(path: Path) -> Contents:
    """Write a backup to `path`, which is there whole or not at all, for its owner alone. Raises OSError."""
    aside = path.with_name(f".{path.name}.partial")
    aside.unlink(missing_ok=True)
    try:
        with aside.open("xb") as opened:
            aside.chmod(0o600)
            contents = write(opened)
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)
    return contents


def write(opened: IO[bytes]) -> Contents:
    """Write a backup into a file or a pipe. The site goes on meanwhile, and nobody waits."""
    contents = Contents()
    with _one_moment(), tarfile.open(fileobj=opened, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        archive = _Writer(tar)
        loader = MigrationLoader(connection)
        applied = _applied(loader)
        archive.add_json(HEAD, {"format": FORMAT, "made_at": timezone.now().isoformat(), "migrations": sorted(applied)})
        apps = _apps(loader, applied)
        for model in _models(apps):
            if model._meta.app_label not in LEFT_BEHIND:
                contents.rows[model._meta.label_lower] = _write_table(archive, model)
        copied = _write_files(archive)
        contents.files = len(copied)
        contents.missing = sorted({name for name, _ in stored.named(apps)} - copied)
        archive.add_json(CONTENTS, vars(contents))
        archive.add(SUMS, "".join(f"{digest}  {name}\n" for name, digest in archive.sums.items()).encode())
    return contents


@contextmanager
def _one_moment() -> Iterator[None]:
    """What is read within is as it was at one moment; whoever writes meanwhile is not kept waiting."""
    connection.ensure_connection()
    usual = getattr(connection, "transaction_mode", None)
    if connection.vendor == "sqlite":
        connection.transaction_mode = "DEFERRED"  # type: ignore[attr-defined] # SQLite's alone; ours is a writer's
    try:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    finally:
        if connection.vendor == "sqlite":
            connection.transaction_mode = usual  # type: ignore[attr-defined]


class _Writer:
    """Adds members to a tar, and keeps their sums."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._now = int(timezone.now().timestamp())
        self.sums: dict[str, str] = {}

    def add(self, name: str, content: bytes) -> None:
        self.add_stream(name, io.BytesIO(content), len(content))

    def add_json(self, name: str, value: Any) -> None:
        self.add(name, json.dumps(value, indent=1).encode())

    def add_stream(self, name: str, content: Any, size: int) -> None:
        """`content` is a file of which `size` bytes are read. Raises OSError where it has less."""
        member = tarfile.TarInfo(name)
        member.size, member.mtime, member.mode = size, self._now, 0o600
        hashed = _Hashed(content)
        self._tar.addfile(member, hashed)
        self.sums[name] = hashed.digest.hexdigest()


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, opened: Any) -> None:
        self._opened = opened
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        content: bytes = self._opened.read(size)
        self.digest.update(content)
        return content


def _write_table(archive: _Writer, model: type[models.Model]) -> int:
    columns = [each.attname for each in model._meta.concrete_fields]
    rows = model._base_manager.order_by("pk").values_list(*columns).iterator(AT_ONCE)
    count = 0
    for number, lines in enumerate(_parts(json.dumps(each, default=_plain) for each in rows)):
        content = gzip.compress("\n".join([json.dumps(columns), *lines]).encode(), 6, mtime=0)
        archive.add(f"{TABLES}{model._meta.label_lower}/{number:06}.jsonl.gz", content)
        count += len(lines)
    return count


def _parts(lines: Iterator[str]) -> Iterator[list[str]]:
    """What is held in memory at once: drawings may be large."""
    part: list[str] = []
    size = 0
    for each in lines:
        part.append(each)
        size += len(each)
        if size >= PART:
            yield part
            part, size = [], 0
    if part:
        yield part


def _plain(value: Any) -> str:
    """What JSON has no word for, as `to_python` of its field reads it."""
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime | date | time) else str(value)


def _write_files(archive: _Writer) -> set[str]:
    """The names of all that was in storage. What is deleted while they are copied was no longer wanted."""
    written = set()
    for name in stored.names():
        try:
            size = default_storage.size(name)
            content = default_storage.open(name)
        except FileNotFoundError:
            continue
        with content:
            archive.add_stream(f"{STORAGE}{name}", content, size)
        written.add(name)
    return written


# --- What rows and migrations there are ------------------------------------------------------------------------------


def _applied(loader: MigrationLoader) -> set[Migration]:
    """The migrations that the database has gone through. Raises BadBackup where this release does not know one."""
    applied = set(loader.applied_migrations)
    _refuse_unknown(loader, applied, "the database")
    return applied


def _refuse_unknown(loader: MigrationLoader, migrations: Iterable[Migration], what: str) -> None:
    unknown = sorted(set(migrations) - set(loader.disk_migrations))
    if unknown:
        names = ", ".join(".".join(each) for each in unknown)
        raise BadBackup(f"{what} is of a later release, with {names}: install that release, and do the same again")


def _apps(loader: MigrationLoader, applied: set[Migration]) -> Apps:
    """The models as these migrations left them."""
    nodes = [each for each in applied if each in loader.graph.nodes]
    state = loader.project_state(nodes) if nodes else None
    return state.apps if state else Apps()


def _models(apps: Apps) -> list[type[models.Model]]:
    every = apps.get_models(include_auto_created=True)
    return [each for each in every if each._meta.managed and not each._meta.proxy]


# --- Read one ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Backup:
    """A backup that was found to be whole: the migrations of its rows, its files by name with their SHA-256."""

    path: Path
    made_at: str
    migrations: set[Migration]
    sums: dict[str, str]
    contents: Contents


def verify(path: Path) -> Backup:
    """Read all of a backup and compare it with its sums. Raises BadBackup, and OSError where it cannot be read."""
    found: dict[str, str] = {}
    kept: dict[str, bytes] = {}
    try:
        for name, opened in _members(path):
            hashed = _Hashed(opened)
            if name in (HEAD, CONTENTS, SUMS):
                kept[name] = hashed.read()
            while hashed.read(CHUNK):
                pass
            found[name] = hashed.digest.hexdigest()
    except (tarfile.TarError, EOFError, UnicodeError) as problem:
        raise BadBackup(f"{path} is no backup, or a damaged one ({problem})") from problem
    if SUMS not in kept:
        raise BadBackup(f"{path} is no backup, or not a whole one: it has no {SUMS}, which comes last")
    sums = _sums(path, kept[SUMS])
    del found[SUMS]
    for name in sorted(sums.keys() | found.keys()):
        if sums.get(name) != found.get(name):
            raise BadBackup(f"{path} is damaged: {name} is not what was written")
    return _understood(path, kept, sums)


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            opened = tar.extractfile(member)
            if opened is None:
                raise tarfile.ReadError(f"{member.name} is no file")
            yield member.name, opened


def _sums(path: Path, content: bytes) -> dict[str, str]:
    try:
        pairs = (line.split("  ", 1) for line in content.decode().splitlines())
        return {name: digest for digest, name in pairs}
    except ValueError as error:
        raise BadBackup(f"{path} is damaged: {SUMS} cannot be read") from error


def _understood(path: Path, kept: dict[str, bytes], sums: dict[str, str]) -> Backup:
    try:
        head, contents = json.loads(kept[HEAD]), Contents(**json.loads(kept[CONTENTS]))
        migrations = {(app, name) for app, name in head["migrations"]}
        if head["format"] != FORMAT:
            raise BadBackup(f"{path} is of format {head['format']}, this release reads {FORMAT}: install a later one")
        return Backup(path, head["made_at"], migrations, sums, contents)
    except (KeyError, TypeError, ValueError) as error:
        raise BadBackup(f"{path} was not made by manage.py backup ({type(error).__name__}: {error})") from error


# --- Restore one ---------------------------------------------------------------------------------------------------


def restore(path: Path, *, force: bool = False, without: Iterable[uuid.UUID] = ()) -> Backup:
    """Make the site what it was, in place of what is there, and bring it to this release.

    Nothing is changed before the backup was read and found whole. Files come first, then all rows in one transaction;
    an interrupted one is begun again by the same call. Drawings that were taken back since, as far as this site knows
    of it or `without` names them, do not come back.

    Raises BadBackup, OSError, DatabaseError, and SiteInUse where drawings or trained models would go without `force`.
    """
    backup = verify(path)
    loader = MigrationLoader(connection)
    _refuse_unknown(loader, backup.migrations, str(path))
    begun = _begun()
    if not (force or begun.exists()) and _is_in_use():
        raise SiteInUse("this site holds drawings or models of its own; --force replaces them, and they are gone")
    withdrawn = _note_withdrawn(begun, without)
    _restore_files(backup)
    if set(loader.applied_migrations) != backup.migrations:
        _rebuild_tables(loader, backup.migrations)
    _load_rows(backup, _apps(MigrationLoader(connection), backup.migrations))
    call_command("migrate", interactive=False, verbosity=0)
    _delete_files_of_before(backup)
    privacy.delete_drawings(list(Drawing.objects.filter(pk__in=withdrawn).values_list("pk", flat=True)))
    Withdrawal.objects.bulk_create([Withdrawal(pk=each) for each in withdrawn], ignore_conflicts=True)
    begun.unlink()
    return backup


def _begun() -> Path:
    """The file that says that a restore has begun and not ended, with what must not be forgotten meanwhile."""
    return Path(settings.VAR_DIR) / "cache" / "restoring"


def _note_withdrawn(begun: Path, without: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    """Drawings that were taken back, as this site, an interrupted restore or somebody knows; noted before tables go."""
    known = set(without)
    if Withdrawal._meta.db_table in connection.introspection.table_names():
        known |= set(Withdrawal.objects.values_list("pk", flat=True))
    if begun.exists():
        known |= {uuid.UUID(line) for line in begun.read_text().split()}
    begun.parent.mkdir(parents=True, exist_ok=True)
    write_private(begun, "".join(f"{each}\n" for each in sorted(known)))
    return known


def _delete_files_of_before(backup: Backup) -> None:
    """Those that neither the backup has nor a row names, be it that storage lacked them when the backup was made."""
    kept = {name.rpartition("/")[0] for name, _ in stored.named()}
    for name in set(stored.names()) - {each.removeprefix(STORAGE) for each in backup.sums}:
        if name.rpartition("/")[0] not in kept:
            default_storage.delete(name)


def _is_in_use() -> bool:
    """Whether there is what a fresh set-up does not make; of whatever release the tables are."""
    tables = set(connection.introspection.table_names())
    asked = {
        "letters_contributor": "SELECT 1 FROM letters_contributor LIMIT 1",
        "letters_modelversion": "SELECT 1 FROM letters_modelversion WHERE origin <> 'shipped' LIMIT 1",
    }
    with connection.cursor() as cursor:
        for table in asked.keys() & tables:
            cursor.execute(asked[table])
            if cursor.fetchone():
                return True
    return False


def _restore_files(backup: Backup) -> None:
    for member, opened in _members(backup.path):
        if not member.startswith(STORAGE):
            continue
        name = member.removeprefix(STORAGE)
        if _has(name, backup.sums[member]):
            continue
        default_storage.delete(name)
        taken_as = default_storage.save(name, File(opened))
        if taken_as != name:
            raise OSError(f"the storage took {name} as {taken_as}: somebody else writes to it")


def _has(name: str, digest: str) -> bool:
    try:
        return stored.digest_of(name) == digest
    except FileNotFoundError:
        return False


def _rebuild_tables(loader: MigrationLoader, migrations: set[Migration]) -> None:
    """Tables as these migrations make them, in place of those that there are."""
    present = set(connection.introspection.table_names())
    known = set(loader.applied_migrations) & set(loader.disk_migrations)
    ours = {each._meta.db_table for each in _models(_apps(loader, known))} | {"django_migrations"}
    of_a_later_release = {each for each in present if each.startswith("letters_")}
    _drop(sorted(present & (ours | of_a_later_release)))
    executor = MigrationExecutor(connection)
    executor.migrate(_last_of(executor.loader, migrations))


def _drop(tables: list[str]) -> None:
    if not tables:
        return
    with connection.constraint_checks_disabled(), connection.cursor() as cursor:
        names = [connection.ops.quote_name(each) for each in tables]
        if connection.vendor == "postgresql":
            cursor.execute(f"DROP TABLE {', '.join(names)} CASCADE")
        else:
            for each in names:
                cursor.execute(f"DROP TABLE {each}")


def _last_of(loader: MigrationLoader, migrations: set[Migration]) -> list[Migration]:
    """Of each app the migration that all its others lead to."""
    nodes = [loader.graph.node_map[each] for each in migrations]
    followed = {parent.key for node in nodes for parent in node.parents if parent.key[0] == node.key[0]}
    return sorted(migrations - followed)


def _load_rows(backup: Backup, apps: Apps) -> None:
    every = _models(apps)
    by_label = {each._meta.label_lower: each for each in every}
    with transaction.atomic():
        flush = connection.ops.sql_flush(no_style(), [each._meta.db_table for each in every])
        connection.ops.execute_sql_flush(flush)
        for name, opened in _members(backup.path):
            if name.startswith(TABLES):
                _load_part(by_label[name.split("/")[1]], opened)
        connection.check_constraints()
        with connection.cursor() as cursor:
            for statement in connection.ops.sequence_reset_sql(no_style(), every):
                cursor.execute(statement)


def _load_part(model: type[models.Model], opened: IO[bytes]) -> None:
    """By the fields' own words, and past the models: those put the present moment where a row was made or changed."""
    columns, *rows = map(json.loads, gzip.decompress(opened.read()).decode().split("\n"))
    fields: list[Any] = [model._meta.get_field(name) for name in columns]  # a foreign key is found by its column, too
    quoted = ", ".join(connection.ops.quote_name(each.column) for each in fields)
    marks = ", ".join(["%s"] * len(fields))
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table} ({quoted}) VALUES ({marks})",  # noqa: S608 - names are quoted
            [[_stored(*each) for each in zip(fields, row, strict=True)] for row in rows],
        )


def _stored(column: Any, value: Any) -> Any:
    return column.get_db_prep_save(column.to_python(value), connection)
