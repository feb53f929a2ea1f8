"""The Celery application; its settings are the ones that begin with CELERY_ in webapp/settings.py."""

import contextlib
import logging
import os
import time
from importlib import import_module
from typing import Any

from billiard import current_process
from celery import Celery
from celery.signals import (
    beat_init,
    before_task_publish,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
)
from kombu.transport import TRANSPORT_ALIASES

from webapp import logs, messages

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")

TRANSPORT_ALIASES |= dict.fromkeys(("redis", "rediss"), "webapp.broker:Transport")

app = Celery("letterloop", task_cls="webapp.messages:Task")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# A quick retraining takes a few seconds, and to load these takes two more: a trainer has them loaded when it comes.
FOR_TRAINING = ("scipy.optimize", "ai_edge_litert.interpreter", "ml.head", "ml.gate", "letters.examine")


@before_task_publish.connect
def say_when_it_expires(headers: dict[str, Any], **_: Any) -> None:
    """By the clock that all machines have in common."""
    messages.stamp(headers)


@worker_process_init.connect
def load_ahead(**_: Any) -> None:
    """In each process that will train; those that predict stay small."""
    from letters import metrics

    if current_process().name != "MainProcess":  # as which a pool of one does its work
        metrics.start(f"{_role()}-process")
    if "training" in app.amqp.queues.consume_from:
        for name in FOR_TRAINING:
            import_module(name)


@worker_ready.connect
def look_after(**_: Any) -> None:
    """Whoever starts may be the first after a breakdown: what was left undone is not to wait for the schedule."""
    from letters import metrics, tasks

    metrics.start(_role())
    with contextlib.suppress(Exception):
        tasks.send(tasks.watch, expires=60.0)


QUIET = 0.5  # seconds without a question, and nobody waits any more


@worker_shutdown.connect
def answer_the_rest(**_: Any) -> None:
    """Whoever asked before it was told to end still waits, and where a platform ends all at once for nobody else."""
    from django.conf import settings

    if "inference" not in app.amqp.queues.consume_from:
        return
    deadline = time.monotonic() + settings.PREDICTION_TIMEOUT
    with contextlib.suppress(Exception), app.connection_for_read() as connection:  # Empty, as a rule
        connection.ensure_connection(max_retries=1)
        waiting = connection.SimpleQueue(app.amqp.queues["inference"], no_ack=True)  # type: ignore[arg-type] # it may
        while time.monotonic() < deadline:
            message = waiting.get(timeout=QUIET)
            arguments, named, _rest = message.payload
            app.tasks[message.headers["task"]].run(*arguments, **named)


@worker_process_shutdown.connect
def take_leave(**_: Any) -> None:
    """A process of a pool ends without Python's farewell."""
    from letters import metrics

    metrics.end()


@beat_init.connect
def be_seen(**_: Any) -> None:
    """The schedule is a part of the site, and /readyz misses it when it is gone."""
    from letters import metrics

    metrics.start("beat")


def _role() -> str:
    return "trainer" if "training" in app.amqp.queues.consume_from else "worker"


# --- What is logged ------------------------------------------------------------------------------------------------

_each = logging.getLogger(logs.EACH)
_began: dict[str, float] = {}  # by id of a task; a process does one at a time


@setup_logging.connect
def keep_logging(**_: Any) -> None:
    """The settings say how a line looks: where nobody listens to this, Celery makes a form of its own."""


@before_task_publish.connect
def name_the_request(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """A task carries the id of the request that it is sent for; one that is sent for none has one of its own."""
    if headers is not None:
        known = logs.request_id()
        headers["request_id"] = logs.new_request_id() if known == logs.NONE else known


@task_prerun.connect
def begin_task(task_id: str, task: Any, **_: Any) -> None:
    """Lines of the worker belong to the request from now on."""
    given = str(task.request.get("request_id") or "")
    logs.begin(given if logs.REQUEST_ID.fullmatch(given) else logs.new_request_id(), task.name)
    _began[task_id] = time.perf_counter()


@task_postrun.connect
def end_task(task_id: str, task: Any, state: str | None = None, **_: Any) -> None:
    """Count what was done, and say so."""
    from letters import metrics

    seconds = time.perf_counter() - _began.pop(task_id, time.perf_counter())
    outcome = (state or "lost").lower()
    metrics.worked()
    metrics.count(metrics.TASKS, task.name, outcome)
    metrics.measure(metrics.TASK_SECONDS, seconds, task.name)
    milliseconds = round(seconds * 1000, 2)
    _each.info(
        "%s %s, %s ms", task.name, outcome, milliseconds, extra={"status": outcome, "milliseconds": milliseconds}
    )
    logs.end()
