"""How each part of the site is, apart from the others, and what that means to a visitor.

`down` of a part that no visitor can be served without makes the site unready: a balancer takes it away. Anything else
that is amiss makes it `degraded`: visitors are served, and somebody should look. So does a database that answers and
takes nothing in, `reads only`: letters are read on, and none is kept, on whichever machine.

Every question is waited for no longer than a while, and asked once a second at most in a process, however many ask.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import redis
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import DatabaseError, OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from letters import collect, errors, metrics, registry
from letters.models import Serving
from letters.probes import Asked, NoAnswer, Probe

OK, DEGRADED, READS_ONLY, DOWN = "ok", "degraded", "reads only", "down"
FRESH = 1.0  # seconds
_last_digest = ""  # of the model that served when the database was last asked: storage is asked for it also without


class Amiss(Exception):
    """A part is there, and not as it should be; says how."""


class ReadsOnly(Amiss):
    """A part answers, and takes nothing in; says why."""


@dataclass(frozen=True)
class Part:
    """One part: its state, how long it took to answer, and in words what it said, which is for staff alone."""

    state: str
    milliseconds: float
    detail: str


@dataclass(frozen=True)
class Health:
    """The parts, and what follows of them."""

    parts: dict[str, Part]

    @property
    def ready(self) -> bool:
        """Whether a visitor can draw a letter and have it read."""
        return not any(part.state == DOWN for part in self.parts.values())

    @property
    def state(self) -> str:
        """In one word: ok, degraded, down."""
        if not self.ready:
            return DOWN
        return OK if all(part.state == OK for part in self.parts.values()) else DEGRADED


@dataclass(frozen=True)
class _Question:
    """What a part is asked; whether visitors can be served without it."""

    probe: Probe[str]
    needed: bool


# --- The questions, each answered in words for staff -----------------------------------------------------------------


def _database() -> str:
    why = takes_nothing_in(connection)
    if why:
        raise ReadsOnly(f"it answers, and takes nothing in: {why}")
    return str(connection.vendor)


def takes_nothing_in(database: BaseDatabaseWrapper) -> str:
    """Why a database that answers takes nothing in; empty where it does. Writes nothing, and waits for nobody."""
    with database.cursor() as cursor:
        if database.vendor == "postgresql":
            cursor.execute("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')")
            is_standby, read_only = cursor.fetchone()
            if is_standby:
                return "it is a standby"
            return "default_transaction_read_only is on" if read_only == "on" else ""
        cursor.execute("PRAGMA busy_timeout = 0")  # of the probe's own connection
        try:
            cursor.execute("UPDATE letters_serving SET id = id WHERE 0 = 1")
        except OperationalError as problem:
            code = getattr(problem.__cause__, "sqlite_errorcode", 0) & 0xFF  # the rest says more of the same
            if code == sqlite3.SQLITE_READONLY:
                return str(problem)
            if code != sqlite3.SQLITE_BUSY:  # somebody else writes, so it takes in
                raise
    return ""


def _broker() -> str:
    metrics.client().ping()
    return "it answers"


def _model() -> str:
    global _last_digest
    model = registry.current()
    _last_digest = model.digest
    return f"{model} serves"


def _inference() -> str:
    reading = collect.read(np.zeros((28, 28), np.uint8))
    return f"a worker answers by {reading.model}"


def _storage() -> str:
    """Looks, and writes nothing."""
    digest = _last_digest or _serving_digest()
    if not default_storage.exists(f"models/{digest or 'none'}/manifest.json") and digest:
        raise Amiss(f"it answers, and lacks the model that serves ({digest[:12]})")
    return f"it holds the model that serves ({digest[:12]})" if digest else "it answers"


def _serving_digest() -> str:
    try:
        return Serving.objects.values_list("model__digest", flat=True).first() or ""
    except DatabaseError:
        return ""


def _queues() -> str:
    depths = metrics.queue_depths()
    words = ", ".join(f"{name} {depth} of {settings.QUEUE_LIMITS[name]}" for name, depth in depths.items())
    over = [name for name, depth in depths.items() if depth > settings.QUEUE_LIMITS[name]]
    if over:
        raise Amiss(f"over the limit: {', '.join(over)} ({words})")
    return words


def _watch() -> str:
    silent = metrics.since_watched()
    if silent is None or silent > settings.WATCH_LIMIT:
        when = "as far as Redis knows" if silent is None else f"for {silent:.0f} s"
        raise Amiss(f"nobody looked after what was left undone {when}")
    return f"it came by {silent:.0f} s ago"


def _heard(*roles: str) -> Callable[[], str]:
    """A question after processes of some kind."""

    def ask() -> str:
        found = [each for each in metrics.processes() if each.role in roles]
        words = "; ".join(map(_in_words, found))
        if not any(each.silent <= settings.WATCH_LIMIT for each in found):
            raise Amiss(f"none was heard in {settings.WATCH_LIMIT:.0f} s" + (f" ({words})" if words else ""))
        return words

    return ask


def _in_words(process: metrics.Seen) -> str:
    worked = "not at work yet" if process.idle is None else f"at work {process.idle:.0f} s ago"
    return f"{process.name}: up {process.age:.0f} s, heard {process.silent:.0f} s ago, {worked}"


_QUESTIONS = {
    "database": _Question(Probe(_database, 2.0), needed=True),
    "broker": _Question(Probe(_broker, 2.0), needed=True),
    "model": _Question(Probe(_model, 2.0), needed=True),
    "inference": _Question(Probe(_inference, settings.PREDICTION_TIMEOUT + 0.3), needed=True),
    "storage": _Question(Probe(_storage, 2.5), needed=False),
    "queues": _Question(Probe(_queues, 2.0), needed=False),
    "workers": _Question(Probe(_heard("worker"), 2.0), needed=False),
    "trainers": _Question(Probe(_heard("trainer"), 2.0), needed=False),
    "beat": _Question(Probe(_heard("beat"), 2.0), needed=False),
    "watch": _Question(Probe(_watch, 2.0), needed=False),
}


# --- The answers -----------------------------------------------------------------------------------------------------

_guard = threading.Lock()
_known: tuple[float, Health] | None = None


def checks() -> Health:
    """How all parts are; as it was a moment ago, where somebody asked then."""
    global _known
    with _guard:
        known = _known
    if known is not None and time.monotonic() - known[0] < FRESH:
        return known[1]
    asked = {name: (question, question.probe.ask()) for name, question in _QUESTIONS.items()}
    found = Health({name: _part(*each) for name, each in asked.items()})
    with _guard:
        _known = time.monotonic(), found
    return found


def _part(question: _Question, asked: Asked[str]) -> Part:
    """Whatever a question raises is an answer."""
    state = DOWN if question.needed else DEGRADED
    try:
        detail, state = question.probe.answer(asked), OK
    except NoAnswer as silence:
        detail = str(silence)
    except errors.NoModel as missing:
        detail = missing.message
    except errors.InferenceUnavailable:
        detail = "no inference worker answers"
    except redis.RedisError as problem:
        detail = f"Redis does not answer: {problem}"
    except DatabaseError as problem:
        detail = f"the database does not answer: {problem}"
    except ReadsOnly as problem:
        detail, state = str(problem), READS_ONLY
    except Amiss as problem:
        detail = str(problem)
    except Exception as problem:  # of a storage it may be anything; a fault of ours must not hide the other parts
        detail = f"{type(problem).__name__}: {problem}"
    waited = asked.took or time.monotonic() - asked.began
    return Part(state, round(waited * 1000, 1), detail.strip())
