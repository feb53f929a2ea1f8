"""The Celery application; its settings are the ones that begin with CELERY_ in webapp/settings.py."""

import contextlib
import os
from importlib import import_module
from typing import Any

from celery import Celery
from celery.signals import worker_process_init, worker_ready
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")

TRANSPORT_ALIASES |= dict.fromkeys(("redis", "rediss"), "webapp.broker:Transport")

app = Celery("letterloop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# A quick retraining takes a few seconds, and to load these takes two more: a trainer has them loaded when it comes.
FOR_TRAINING = ("scipy.optimize", "ai_edge_litert.interpreter", "ml.head", "ml.gate", "letters.examine")


@worker_process_init.connect
def load_ahead(**_: Any) -> None:
    """In each process that will train; those that predict stay small."""
    if "training" in app.amqp.queues.consume_from:
        for name in FOR_TRAINING:
            import_module(name)


@worker_ready.connect
def look_after(**_: Any) -> None:
    """Whoever starts may be the first after a breakdown: what was left undone is not to wait for the schedule."""
    from letters import tasks

    with contextlib.suppress(Exception):
        tasks.send(tasks.watch, expires=60.0)
