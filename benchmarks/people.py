"""The people of a simulated loop: visitors who draw, see, correct and consent; one of the staff who reviews and trains.

All of it goes through the site's own API, with cookies, as a browser or a program of theirs would do it.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from ml.labels import class_of, index_of
from ml.preprocess import Pixels, image_from_strokes
from tests.running import Site, wait_for

Strokes = list[list[list[float]]]
APPROVED_AT_ONCE = 100  # drawings a request


@dataclass(frozen=True)
class Letter:
    """One letter that somebody drew: what it is, who drew it, how."""

    character: str
    writer: str
    strokes: Strokes

    @property
    def canvas(self) -> dict[str, float]:
        """A canvas that just holds the strokes."""
        xs, ys = zip(*(point[:2] for stroke in self.strokes for point in stroke), strict=True)
        return {"width": max(1.0, max(xs) + 1), "height": max(1.0, max(ys) + 1)}

    @property
    def image(self) -> Pixels:
        """(28, 28) uint8, as a model sees it."""
        return image_from_strokes(self.strokes)

    @property
    def label(self) -> int:
        """Of its class."""
        return index_of(class_of(self.character))


def read_letters(path: Path) -> list[Letter]:
    """The letters of a file: JSON lines of {"character", "writer", "strokes"}. Raises ValueError naming the line."""
    letters = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            value = json.loads(line)
            letters.append(Letter(value["character"], str(value["writer"]), value["strokes"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: no letter with its writer and strokes ({error})") from error
    if not letters:
        raise ValueError(f"{path} holds no letters")
    return letters


def by_writer(letters: Iterable[Letter]) -> dict[str, list[Letter]]:
    """The letters of each writer, in the order of the file."""
    writers: dict[str, list[Letter]] = {}
    for letter in letters:
        writers.setdefault(letter.writer, []).append(letter)
    return writers


class Person(requests.Session):
    """Somebody with a cookie jar at a site."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site
        self.trust_env = False  # a proxy of the machine has no part in this

    def api(self, method: str, path: str, **options: Any) -> Any:
        """The JSON that a path of the API answers. Raises RuntimeError with the site's words."""
        headers = {"X-CSRFToken": self.cookies.get("csrftoken", "")}
        answer = self.request(method, f"{self.site.base_url}/api/v1/{path}", headers=headers, timeout=60, **options)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None


class Visitor(Person):
    """A contributor."""

    def give(self, letter: Letter, meant: str | None = None) -> str:
        """Draw a letter, see what is read, say what it is (`meant`, or the truth), consent; the id of the drawing."""
        drawing = {"strokes": letter.strokes, "canvas": letter.canvas}
        token = self.api("POST", "predictions", json=drawing)["token"]
        confirmed = {"character": meant or letter.character, "token": token, "consent": True}
        return str(self.api("POST", "drawings", json=drawing | confirmed)["id"])


class Maintainer(Person):
    """One of the staff, signed in, with the rights of both groups."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        name, password = "maintainer", secrets.token_urlsafe(16)
        site.python(
            "import django; django.setup()\n"
            "from django.contrib.auth.models import Group, User\n"
            f"user = User.objects.create_user({name!r}, password={password!r}, is_staff=True)\n"
            "user.groups.set(Group.objects.filter(name__in=('reviewers', 'maintainers')))\n"
        )
        login = site.base_url + "/admin/login/"
        self.get(login, timeout=60)
        form = {
            "username": name,
            "password": password,
            "csrfmiddlewaretoken": self.cookies["csrftoken"],
            "next": "/admin/",
        }
        self.post(login, data=form, headers={"Referer": login}, timeout=60).raise_for_status()

    def approve(self, drawings: list[str]) -> None:
        """Approve drawings, as a reviewer does with a selection."""
        for first in range(0, len(drawings), APPROVED_AT_ONCE):
            some = drawings[first : first + APPROVED_AT_ONCE]
            cards = [{"drawing": each, "revision": 0} for each in some]
            self.api("POST", "review/decisions/bulk", json={"action": "approve", "cards": cards})

    def retrain(self, kind: str, timeout: float, **config: Any) -> dict[str, Any]:
        """Start a retraining and wait for its end; the run as the API tells it, and `seconds` that it took."""
        began = time.monotonic()
        started = self.api("POST", "training-runs", json={"kind": kind} | ({"config": config} if config else {}))
        path = f"training-runs/{started['run']['id']}"

        def ended() -> Any:
            run = self.api("GET", path)
            return run if run["state"] in ("done", "failed", "cancelled") else None

        run: dict[str, Any] = wait_for(ended, f"the {kind} retraining ends", timeout)
        return run | {"seconds": time.monotonic() - began}

    def promote(self, number: int, reason: str) -> None:
        """Let a version serve."""
        self.api("POST", f"models/{number}/promote", json={"reason": reason})
