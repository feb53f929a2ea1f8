"""What a maintainer's program does: start a retraining, wait for its end, cancel, promote. Over HTTP, logged in."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from ml.emnist import Letters
from ml.labels import CLASS_COUNT
from tests.letters.visitor import Visitor
from tests.ml.archives import write_letters
from tests.running import Site, wait_for

PASSWORD = "a-long-password-1"
PATIENCE = 240.0  # seconds; a machine that trains a model at the same time is slow
MAKE_USER = """
import django; django.setup()
from django.contrib.auth.models import Group, User
user, _ = User.objects.get_or_create(username={name!r}, defaults={{"is_staff": True}})
user.set_password({password!r}); user.save()
user.groups.set(Group.objects.filter(name={group!r}))
"""
APPROVE = """
import django; django.setup()
from tests.letters.collected import a_drawing, somebody
people = [somebody(held_out={held_out}) for _ in range(4)]
for number in range({count}):
    a_drawing("LTVXZ"[number % 5], contributor=people[number % 4])
"""
WATCH = """
import django; django.setup()
from letters import tasks
tasks.send(tasks.watch)
"""
WATCH_EVERY = 1.0  # seconds
GO = ("queued", "running")
_watched: dict[str, float] = {}  # when, by site


class Maintainer(Visitor):
    """Somebody of a group, logged in."""

    def __init__(self, site: Site, name: str = "ada", group: str = "maintainers") -> None:
        super().__init__(site)
        site.python(MAKE_USER.format(name=name, password=PASSWORD, group=group))
        self.get("/admin/login/")
        form = {"username": name, "password": PASSWORD, "csrfmiddlewaretoken": self.cookies["csrftoken"]}
        assert self.post("/admin/login/", data=form).status_code == 302
        self.headers["X-CSRFToken"] = self.cookies["csrftoken"]

    def start(self, kind: str = "head", **config: Any) -> dict[str, Any]:
        """The answer to a start that is in order: the run, and whether it joined one."""
        response = self.post("/api/v1/training-runs", json={"kind": kind, "config": config})
        assert response.status_code in (200, 202), response.text
        return response.json()

    def run(self, run_id: str) -> dict[str, Any]:
        """How it stands."""
        response = self.get(f"/api/v1/training-runs/{run_id}")
        assert response.status_code == 200, response.text
        return response.json()

    def cancel(self, run_id: str) -> dict[str, Any]:
        """The answer to a cancel."""
        response = self.post(f"/api/v1/training-runs/{run_id}/cancel")
        assert response.status_code == 200, response.text
        return response.json()

    def promote(self, number: int, reason: str = "I say so") -> Any:
        """Whatever comes of it."""
        return self.post(f"/api/v1/models/{number}/promote", json={"reason": reason})

    def wait_until(self, run_id: str, what: str, condition: Any, timeout: float = PATIENCE) -> dict[str, Any]:
        """The run, once the condition holds of it."""

        def holds() -> Any:
            found = self.run(run_id)
            return found if condition(found) else None

        return wait_for(holds, f"the run {what}", timeout)

    def wait_over(self, run_id: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """The run, once it is over."""
        return self.wait_until(run_id, "is over", lambda run: run["state"] not in GO, timeout)


def approve(site: Site, count: int, *, held_out: bool = False) -> None:
    """So many drawings, reviewed."""
    site.python(APPROVE.format(count=count, held_out=held_out))


def watch(site: Site) -> None:
    """As the schedule does it every ten seconds; here every second, however often a test that waits calls this."""
    now = time.monotonic()
    if now - _watched.get(site.base_url, float("-inf")) >= WATCH_EVERY:
        _watched[site.base_url] = now
        site.python(WATCH)


def silence(site: Site, table: str) -> None:
    """Let whoever runs what stands in a table have said nothing for longer than a worker may before it is taken for
    dead."""
    site.rows(f"UPDATE {table} SET heartbeat_at = '2026-01-01 00:00:00+00:00' WHERE state = 'running'")


def children(run_id: str) -> list[int]:
    """Processes that train all layers for a run."""
    listed = subprocess.run(["ps", "-eww", "-o", "pid,stat,args"], capture_output=True, text=True, check=True).stdout
    found = re.findall(rf"^ *(\d+) +([A-Z])\S* .*ml\.finetune \S*{run_id}", listed, re.MULTILINE)
    return [int(pid) for pid, state in found if state != "Z"]


def left_over(site: Site) -> list[str]:
    """What retrainings have in their folder."""
    folder = site.folder / "runs"
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


def tiny_archive(path: Path, per_class: int = 130) -> Path:
    """An archive with the dataset `open37`: for each class a pattern of its own, in noise."""
    random = np.random.default_rng(0)
    patterns = random.integers(0, 2, (CLASS_COUNT, 7, 7)).repeat(4, axis=1).repeat(4, axis=2) * 160

    def letters(count: int) -> Letters:
        labels = np.repeat(np.arange(CLASS_COUNT, dtype=np.uint8), count)
        noise = random.integers(0, 80, (len(labels), 28, 28))
        return Letters((patterns[labels] + noise).astype(np.uint8), labels)

    return write_letters(path, "open37", letters(per_class), letters(5))
