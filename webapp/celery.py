"""The Celery application; its settings are the ones that begin with CELERY_ in webapp/settings.py."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")

app = Celery("letterloop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
