"""Faults beneath a step that pass: a database or a storage that is away, full or read-only, as a refusal.

Whatever else goes wrong in them is a fault of ours, and stays one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from django.db import Error as DjangoDatabaseError

from letters.errors import DatabaseUnavailable, Refusal, StorageUnavailable
from ml.artifact import BadArtifact

# SQLSTATE: lost connections; no room, memory or connection left; shut down or starting; a disk that fails.
PASSING_CLASSES = ("08", "53", "57P", "58")
READ_ONLY, NO_LOCK, DEADLOCK = "25006", "55P03", "40P01"
PASSING_IN_SQLITE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}


def refusal_of(error: BaseException | None) -> Refusal | None:
    """What to tell whoever asked, where the same request may succeed a little later."""
    if isinstance(error, DjangoDatabaseError):
        return DatabaseUnavailable() if any(_passes(each) for each in _causes(error)) else None
    if isinstance(error, BadArtifact):
        error = error.__cause__  # one that could not be read, not one that is damaged
    return StorageUnavailable() if isinstance(error, OSError) else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """What went wrong first is often behind it: that a transaction cannot go on, because its connection is gone."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _passes(cause: BaseException) -> bool:
    """Whether what a driver raised does."""
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in PASSING_IN_SQLITE  # the rest says more of the same
    if not type(cause).__module__.startswith("psycopg"):
        return False
    state = getattr(cause, "sqlstate", None)
    if state is None:  # a connection that could not be made, or is gone
        return type(cause).__name__ in ("OperationalError", "InterfaceError")
    return state.startswith(PASSING_CLASSES) or state in (READ_ONLY, NO_LOCK, DEADLOCK)
