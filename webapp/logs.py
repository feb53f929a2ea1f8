"""What processes write about themselves: one line for each event, as JSON in production. All processes write the same.

A line names the request that it belongs to. The id goes with a task to its worker, so that what went wrong there is
found by what a visitor quotes. No address, cookie, stroke or receipt is in a line: what libraries would write of them
is left out here.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from webapp.environment import Reader

EACH = "letters.each"  # the logger of the line that each request has, and each task
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{7,63}")
NONE = "-"
NO_ROUTE = "(no address of ours)"
FIELDS = {"asctime": "time", "levelname": "level", "name": "logger", "request_id": "request", "task": "task"}
EXTRA = ("method", "route", "status", "milliseconds")  # of a request; of a task the last two
ALSO = ("message", "exc_info", "stack_info")
ROW = re.compile(r"DETAIL: .*")
SENDER = re.compile(r"from ip=\S+")  # in what gunicorn says of a request that it cannot read

_request_id: ContextVar[str] = ContextVar("request_id", default=NONE)
_task: ContextVar[str] = ContextVar("task", default=NONE)


# --- What a line belongs to ----------------------------------------------------------------------------------------


def new_request_id() -> str:
    """A fresh one."""
    return secrets.token_hex(8)


def request_id() -> str:
    """Of the request that this thread answers, or whose task this worker does; `-` where there is none."""
    return _request_id.get()


def begin(request: str, task: str = NONE) -> None:
    """From now on lines of this thread belong to a request, and to a task."""
    _request_id.set(request)
    _task.set(task)


def end() -> None:
    """Lines of this thread belong to nothing any more."""
    begin(NONE)


# --- How a line looks ----------------------------------------------------------------------------------------------


class Context(logging.Filter):
    """Adds to a record what it belongs to, and takes away what must not stand in a log."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = _request_id.get()
        record.task = _task.get()
        request = getattr(record, "request", None)
        if request is not None and isinstance(record.args, tuple):  # Django names the path: it may hold an id
            path, route = getattr(request, "path", None), route_of(request)
            record.args = tuple(route if each == path else each for each in record.args)
        if record.name.startswith("gunicorn") and isinstance(record.msg, str):
            record.msg = SENDER.sub("that cannot be read", record.msg)
        return True


def route_of(request: Any) -> str:
    """The pattern of a request's address, with no id in it."""
    match = getattr(request, "resolver_match", None)
    return str(match.route) if match else NO_ROUTE


class Plain(logging.Formatter):
    """A short line, for the terminal of whoever runs the site at home."""

    def formatException(self, ei: Any) -> str:
        return without_rows(super().formatException(ei))


class Json(JsonFormatter):
    """One object a line, of the fields that are named here: a library's extras may hold a task's arguments."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"
    _known = frozenset((*FIELDS.values(), *EXTRA, *ALSO))

    def __init__(self) -> None:
        reserved = [*RESERVED_ATTRS, "request"]  # Django's own, in whose words the path stands
        super().__init__([*FIELDS, "message"], rename_fields=FIELDS, reserved_attrs=reserved)

    def formatException(self, ei: Any) -> str:
        return without_rows(str(super().formatException(ei)))

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in log_data.items() if name in self._known and value not in (NONE, None)}


def without_rows(words: str) -> str:
    """An error of PostgreSQL without the row that it is about, which may be a drawing."""
    return ROW.sub("DETAIL: left out", words)


# --- The configuration ----------------------------------------------------------------------------------------------


def configuration(read: Reader, *, production: bool) -> dict[str, Any]:
    """For logging.config.dictConfig: what Django, Celery and gunicorn write, all of it to the standard error."""
    form = read.choice("LOG_FORMAT", "how log lines look", ("plain", "json"), "json" if production else "plain")
    level = read.choice("LOG_LEVEL", "what is logged, and what is worse", LEVELS, "INFO")
    requests = read.flag("LOG_REQUESTS", "whether each request and each task has a line of its own", production)
    plain = {"()": Plain, "fmt": "{levelname} {name}: {message}", "style": "{"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"context": {"()": Context}},
        "formatters": {"plain": plain, "json": {"()": Json}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": form, "filters": ["context"]}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "axes": {"level": "WARNING"},  # wrong passwords and who is locked out; not each sign-in in four lines
            "celery": {"level": "WARNING"},
            "kombu": {"level": "WARNING"},
            "django.request": {"level": "ERROR"},  # a refused request is the visitor's to read, not the log's
            "gunicorn.error": {"level": "WARNING", "handlers": ["console"], "propagate": False},
            EACH: {"level": "INFO" if requests else "WARNING"},
        },
    }
