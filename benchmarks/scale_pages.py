"""How quick each page and each request is on a site with very many drawings, and what the database does for it.

    DATABASE_URL=postgres://127.0.0.1/letterloop_million VAR_DIR=/tmp/million python -m benchmarks.scale_pages
    ... python -m benchmarks.scale_pages --plans     # what reads a table whole, and which query takes longest

The database is one that `python -m benchmarks.scale` filled. The first form starts gunicorn and an inference worker, as
the Procfile has them, and asks over HTTP, one request after the other; the second asks within this process and has
PostgreSQL explain each query. What a request changes is taken back.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

GOAL = 300.0  # ms
TIMES = 9
PATIENCE = 12.0  # seconds for one case
SLOW = 60.0  # ms: a query that is shown
STAFF, VISITOR, NOBODY = "staff", "visitor", "nobody"
PASSWORD = secrets.token_urlsafe(16)
LIST = "/admin/letters/drawing/"
API = "/api/v1/"
A_LETTER = [[[60, 40, 0], [140, 40, 90], [60, 160, 200], [140, 160, 310]]]
CANVAS = {"width": 200, "height": 200}
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Case:
    """A request: who asks for what."""

    name: str
    who: str
    path: str
    body: dict[str, Any] | None = None  # JSON, by POST


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale_pages", description=__doc__.partition("\n")[0])
    parser.add_argument("--plans", action="store_true", help="explain the queries instead of timing the requests")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--output", type=Path, help="a file for the figures, as JSON")
    asked = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(50))
    import django

    django.setup()
    wanted = [each for each in cases() if asked.only in each.name]
    if asked.plans:
        plans = show_plans(wanted, asked.only)
        if asked.output:
            asked.output.write_text(json.dumps(plans, indent=1) + "\n")
        return
    figures = steps(asked.only) | over_http(wanted, asked.only)
    if asked.output:
        asked.output.write_text(json.dumps(figures, indent=1) + "\n")
    over = [name for name, times in figures.items() if times["median"] > GOAL]
    print(f"{len(figures)} cases, {len(over)} over {GOAL:.0f} ms{': ' if over else ''}{', '.join(over)}")


# --- What is asked -------------------------------------------------------------------------------------------------


def cases() -> list[Case]:
    """Every page and route that only reads, with its filters, orders and depths."""
    from django.utils import timezone

    from letters import collect, maps
    from letters.models import Contributor, Drawing, ModelVersion, TrainingRun

    drawing = Drawing.objects.filter(state="approved")[100]
    heavy = _heavy()
    run = TrainingRun.objects.order_by("-created_at").first()
    shown = maps.current()
    serving, old = ModelVersion.objects.get(number=1), ModelVersion.objects.get(number=2)
    week = timezone.now() - timedelta(days=7)
    year = timezone.now() - timedelta(days=365)
    contributor = Contributor.objects.exclude(pk=heavy).first()
    assert run
    assert contributor
    pages = [
        *("/", "/samples", "/explore/", "/explore/emnist/", "/about", "/privacy", "/mine", "/api/", "/model/"),
        *("/model/compare/", "/model/5/", f"/samples/{drawing.pk}.png", f"/samples/{drawing.pk}"),
        f"/drawings/{drawing.pk}",
    ]
    api = ["models", "models/current", "models/1", "maps", "maps/umap", "maps/pca", "emnist/summary", "deployments"]
    api += ["training-runs", f"training-runs/{run.pk}", "drawings/mine"]
    api += [f"maps/{each.pk}/{kind}" for each in shown[:1] for kind in ("emnist", "collected")]
    lists = {
        "": "",
        "state=pending": "?state__exact=pending",
        "state=approved": "?state__exact=approved",
        "state=rejected": "?state__exact=rejected",
        "read right": "?was=right",
        "read wrong": "?was=wrong",
        "duplicates": "?duplicate=yes",
        "no duplicates": "?duplicate=no",
        "imported": "?source__exact=import",
        "drawn here": "?source__exact=canvas",
        "class T": "?label=T",
        "class q": "?label=q",
        "rejected, wrong, class q": "?state__exact=rejected&was=wrong&label=q",
        "imported, rejected": "?source__exact=import&state__exact=rejected",
        "imported, duplicates": "?source__exact=import&duplicate=yes",
        "pending, wrong": "?state__exact=pending&was=wrong",
        "of the serving model": f"?model__id__exact={serving.pk}",
        "of the oldest model": f"?model__id__exact={old.pk}",
        "of the oldest model, pending": f"?model__id__exact={old.pk}&state__exact=pending",
        "of this week": f"?created_at__gte={week:%Y-%m-%d}+00:00",
        "of three years ago": f"?created_at__lt={year - timedelta(days=600):%Y-%m-%d}",
        "of one contributor": f"?contributor__id__exact={heavy}",
        "search a letter": "?q=q",
        "search an id": f"?q={drawing.pk}",
        "search the start of an id": f"?q={str(drawing.pk)[:8]}",
        "search a contributor": f"?q={heavy}",
        "search nothing there is": "?q=zzzz",
        "half-way down": "?p=" + _place(timezone.now() - timedelta(days=320)),
        "half-way down, and back": "?p=" + _place(timezone.now() - timedelta(days=320), "newer"),
        "the last": "?p=" + _place(timezone.now() - timedelta(days=1090)),
        "class T, half-way down": "?label=T&p=" + _place(timezone.now() - timedelta(days=320)),
    }
    admin = {f"admin drawings {words}".strip(): LIST + query for words, query in lists.items()} | {
        "admin": "/admin/",
        "admin a drawing": f"{LIST}{drawing.pk}/change/",
        "admin review": "/admin/review/",
        "admin contributors": "/admin/letters/contributor/",
        "admin contributors held out": "/admin/letters/contributor/?held_out__exact=1",
        "admin contributors muted": "/admin/letters/contributor/?muted=yes",
        "admin contributors search": f"/admin/letters/contributor/?q={str(contributor.pk)[:8]}",
        "admin contributors half-way down": f"/admin/letters/contributor/?p={_place(year)}",
        "admin a contributor": f"/admin/letters/contributor/{heavy}/change/",
        "admin decisions": "/admin/letters/decision/",
        "admin decisions rejected": "/admin/letters/decision/?action__exact=reject",
        "admin decisions for a reason": "/admin/letters/decision/?reason__exact=offensive",
        "admin decisions search a reviewer": "/admin/letters/decision/?q=reviewer1",
        "admin decisions search nobody": "/admin/letters/decision/?q=nobody",
        "admin decisions search a drawing": f"/admin/letters/decision/?q={drawing.pk}",
        "admin decisions half-way down": f"/admin/letters/decision/?p={_place(year, key='1')}",
        "admin reports": "/admin/letters/report/",
        "admin retrainings": "/admin/letters/trainingrun/",
        "admin a retraining": f"/admin/letters/trainingrun/{run.pk}/change/",
        "admin models": "/admin/letters/modelversion/",
        "admin a model": f"/admin/letters/modelversion/{serving.pk}/change/",
        "admin exports": "/admin/letters/export/",
        "admin maps": "/admin/letters/lettermap/",
        "admin policy": "/admin/letters/policy/",
        "admin deployments": "/admin/letters/deployment/",
        "admin drift": "/admin/drift/",
    }
    wants: dict[str, dict[str, Any]] = {
        "most useful": {},
        "newest": {"order": "newest"},
        "class T": {"label": "T"},
        "class q": {"label": "q"},
        "of one contributor": {"contributor": str(heavy)},
        "imported": {"source": "import"},
        "of this week": {"since": f"{week:%Y-%m-%d}"},
        "of three years ago": {"until": f"{year - timedelta(days=600):%Y-%m-%d}"},
        "duplicates": {"duplicates": True},
        "no duplicates": {"duplicates": False},
        "approved": {"state": "approved"},
        "approved, newest": {"state": "approved", "order": "newest"},
        "rejected, imported": {"state": "rejected", "source": "import"},
        "approved, imported, class q, duplicates": {
            "state": "approved",
            "source": "import",
            "label": "q",
            "duplicates": True,
        },
    }
    return [
        *(Case(f"page {UUID.sub('ID', path)}", VISITOR, path) for path in pages),
        *(Case(f"API {UUID.sub('ID', path)}", VISITOR, API + path) for path in api),
        Case("API drawing by receipt", VISITOR, f"{API}drawings/{drawing.pk}#{collect.receipt_of(drawing.pk)}"),
        *(Case(name, STAFF, path) for name, path in admin.items()),
        *(
            Case(f"queue: {words}", STAFF, API + "review/cards", {"wanted": wanted, "count": 24})
            for words, wanted in wants.items()
        ),
        Case("queue: counted alone", STAFF, API + "review/cards", {"wanted": {}, "count": 0}),
        Case("queue: one card", STAFF, f"{API}review/cards/{drawing.pk}", {}),
        Case("API exports", STAFF, API + "exports"),
    ]


def _place(moment: datetime, way: str = "older", key: str = str(uuid.UUID(int=0))) -> str:
    """A page of a list that begins at a moment, see letters.admin.keyset."""
    return f"{way}.{int(moment.timestamp() * 1e6)}.{key}"


def _heavy() -> uuid.UUID:
    """The contributor who gave most of some thousand drawings."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT contributor_id FROM (SELECT contributor_id FROM letters_drawing ORDER BY id LIMIT 20000) AS seen"
            " GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
        )
        found: uuid.UUID = cursor.fetchone()[0]
        return found


def _cookie(contributor: uuid.UUID) -> str:
    from django.http import HttpRequest, HttpResponse

    from letters import contributors

    response = HttpResponse()
    contributors.remember(HttpRequest(), response, contributor)
    return response.cookies["letterloop_contributor"].value


def _staff() -> Any:
    """Somebody with every right, for as long as this runs."""
    from django.contrib.auth.models import User

    name = f"measures{secrets.token_hex(4)}"
    return User.objects.create_superuser(name, password=PASSWORD)


# --- Over HTTP -----------------------------------------------------------------------------------------------------


def over_http(wanted: list[Case], only: str) -> dict[str, dict[str, float]]:
    """Milliseconds of each case, from the request to the last byte of the answer."""
    import requests
    from django.conf import settings

    from tests.running import Site, free_port

    found: dict[str, dict[str, float]] = {}
    staff = _staff()
    with ExitStack() as stack:
        stack.callback(staff.delete)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="letterloop-scale-")))
        env = os.environ | {
            "PORT": str(free_port()),
            "VAR_DIR": str(settings.VAR_DIR),
            "THROTTLE_PREDICTIONS": "none",
            "THROTTLE_DRAWINGS": "none",
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        }
        site = Site(folder, env, None)
        stack.callback(site.end)
        site.start()
        people = {STAFF: requests.Session(), VISITOR: requests.Session(), NOBODY: requests.Session()}
        people[VISITOR].cookies.set("letterloop_contributor", _cookie(_heavy()))
        for each in people.values():
            each.trust_env = False
        login = site.base_url + "/admin/login/"
        people[STAFF].get(login)
        token = people[STAFF].cookies["csrftoken"]
        form = {"username": staff.username, "password": PASSWORD, "csrfmiddlewaretoken": token, "next": "/admin/"}
        people[STAFF].post(login, data=form, headers={"Referer": login}).raise_for_status()
        for case in wanted:
            found[case.name] = _timed(case.name, partial(_ask, people[case.who], site.base_url, case))
        found |= _changing(people, site.base_url, only)
    return found


def _ask(person: Any, base: str, case: Case) -> Any:
    path, _, receipt = case.path.partition("#")
    headers = {"X-CSRFToken": person.cookies.get("csrftoken", "")} | ({"X-Receipt": receipt} if receipt else {})
    if case.body is None:
        answer = person.get(base + path, headers=headers, timeout=120)
    else:
        answer = person.post(base + path, json=case.body, headers=headers, timeout=120)
    return answer


class _Changes:
    """What a visitor and a reviewer change, and take back."""

    def __init__(self, visitor: Any, reviewer: Any, base: str) -> None:
        self._visitor, self._reviewer, self._base = visitor, reviewer, base
        self._token = self.predict().json()["token"]
        wanted = {"wanted": {}, "count": 1}
        self._card = _ask(reviewer, base, Case("", STAFF, API + "review/cards", wanted)).json()["cards"][0]
        self.kept: list[tuple[str, str]] = []
        self._decisions: list[int] = []

    def predict(self) -> Any:
        """Read a letter."""
        return self._visitor.post(self._base + API + "predictions", json={"strokes": A_LETTER, "canvas": CANVAS})

    def keep(self) -> Any:
        """Give it."""
        body = {"strokes": A_LETTER, "canvas": CANVAS, "character": "Z", "consent": True, "token": self._token}
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        answer = self._visitor.post(self._base + API + "drawings", json=body, headers=headers)
        if answer.ok:
            self.kept.append((answer.json()["id"], answer.json()["receipt"]))
        return answer

    def withdraw(self) -> Any:
        """Take one back."""
        drawing, receipt = self.kept.pop()
        return self._visitor.delete(f"{self._base}{API}drawings/{drawing}", headers={"X-Receipt": receipt})

    def decide(self) -> Any:
        """Approve a card."""
        body = {"drawing": self._card["id"], "revision": self._card["revision"], "action": "approve"}
        answer = _ask(self._reviewer, self._base, Case("", STAFF, API + "review/decisions", body))
        self._decisions.append(answer.json().get("decision", 0))
        return answer

    def undo(self) -> Any:
        """Take that back."""
        body = {"decision": self._decisions.pop()}
        answer = _ask(self._reviewer, self._base, Case("", STAFF, API + "review/undo", body))
        self._card = answer.json()["card"]
        return answer


def _changing(people: dict[str, Any], base: str, only: str) -> dict[str, dict[str, float]]:
    changes, found = _Changes(people[NOBODY], people[STAFF], base), {}
    if only in "predict":
        found["predict"] = _timed("predict", changes.predict)
    if only in "keep a drawing":
        found["keep a drawing"] = _timed("keep a drawing", changes.keep)
        found["withdraw a drawing"] = _timed("withdraw a drawing", changes.withdraw, len(changes.kept))
    if only in "decide about a drawing":
        times = [(_once(changes.decide), _once(changes.undo)) for _ in range(TIMES + 1)]
        for name, column in (("decide about a drawing", 0), ("undo a decision", 1)):
            found[name] = _summed(name, [each[column] for each in times[1:]])
    return found


# --- Steps ---------------------------------------------------------------------------------------------------------


def steps(only: str) -> dict[str, dict[str, float]]:
    """What workers ask of the database every few seconds, and with each retraining, map and export."""
    found = {}
    for name, step in _steps().items():
        if only in name:
            found[name] = _timed(name, step)
    return found


def _steps() -> dict[str, Callable[[], Any]]:
    from letters import dataset, examine, export, maps, placing, retrain, snapshots
    from letters.models import Drawing

    drawing = Drawing.objects.filter(state="pending").order_by("-created_at").first()
    assert drawing is not None
    taken = snapshots.Snapshot.take()
    return {
        "watch: runs": retrain.resume_stalled,
        "watch: exports": export.stale,
        "watch: unexamined": lambda: examine.unexamined(20),
        "watch: maps": maps.look_after,
        "watch: to place": lambda: [placing.lacking(space) for space in ("features", "pixels")],
        "duplicates' search": lambda: examine._find_original(drawing),
        "newly approved": retrain.approved_since_the_last,
        "newly approved for maps": maps.approved_since_the_last,
        "training snapshot": snapshots.Snapshot.take,
        "snapshot's digest": lambda: (taken.digest, taken.counts, len(taken.packed)),
        "held-out drawings": snapshots.holdout,
        "export: 2,000 drawings": lambda: list(islice(dataset.rows("approved"), 2_000)),
    }


# --- Times ---------------------------------------------------------------------------------------------------------


def _once(step: Callable[[], Any]) -> float:
    began = time.perf_counter()
    answer = step()
    took = (time.perf_counter() - began) * 1000
    if getattr(answer, "status_code", 200) >= 400 and answer.status_code not in (404, 409):
        raise RuntimeError(f"{answer.status_code} {answer.url}: {answer.text[:300]}")
    return -1.0 if getattr(answer, "status_code", 200) == 404 else took


def _timed(name: str, step: Callable[[], Any], times: int = TIMES) -> dict[str, float]:
    """After one that does not count, where there are several."""
    took, began = [], time.monotonic()
    for _ in range(times):
        took.append(_once(step))
        if time.monotonic() - began > PATIENCE:
            break
    return _summed(name, took[1:] or took)


def _summed(name: str, took: list[float]) -> dict[str, float]:
    ordered = sorted(took)
    figures = {"median": statistics.median(took), "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]}
    words = "" if figures["median"] >= 0 else "  not there"
    print(f"{name:46} {figures['median']:9.1f} {figures['p95']:9.1f} ms{words}", flush=True)
    return {key: round(value, 1) for key, value in figures.items()}


# --- Plans ---------------------------------------------------------------------------------------------------------


def show_plans(wanted: list[Case], only: str = "") -> dict[str, dict[str, Any]]:
    """For each case: its queries, those that read a large table whole, and the one that takes longest."""
    found = {}
    with _inside() as ask:
        for case in wanted:
            found[case.name] = _plans_of(case.name, partial(ask, case))
        for name, step in _steps().items():
            if only in name:
                found[name] = _plans_of(name, step)
    return found


@contextmanager
def _inside() -> Iterator[Callable[[Case], Any]]:
    """Ask within this process."""
    from django.test import Client
    from django.test.utils import override_settings

    staff = _staff()
    people = {who: Client(SERVER_NAME="127.0.0.1") for who in (STAFF, VISITOR, NOBODY)}
    people[STAFF].force_login(staff)
    people[VISITOR].cookies["letterloop_contributor"] = _cookie(_heavy())

    def ask(case: Case) -> Any:
        path, _, receipt = case.path.partition("#")
        headers = {"X-Receipt": receipt} if receipt else {}
        if case.body is None:
            answer = people[case.who].get(path, headers=headers)
        else:
            answer = people[case.who].post(path, json.dumps(case.body), "application/json", headers=headers)
        return b"".join(answer) if answer.streaming else answer.content

    storage = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    from django.conf import settings

    with override_settings(STORAGES=settings.STORAGES | storage):
        try:
            yield ask
        finally:
            staff.delete()


def _plans_of(name: str, step: Callable[[], Any]) -> dict[str, Any]:
    from benchmarks.plans import explained
    from benchmarks.scale import BIG

    with explained() as queries:
        step()
    whole = sorted({table for each in queries for table in each.read_whole() if table in BIG})
    rows = max((each.rows_read() for each in queries), default=0)
    slowest = max((each.milliseconds for each in queries), default=0.0)
    words = f"READS WHOLE {', '.join(whole)}" if whole else ""
    print(f"{name:46} {len(queries):3} queries, of {rows:7} rows, of {slowest:7.1f} ms  {words}")
    for each in queries:
        if each.milliseconds > SLOW or set(each.read_whole()) & set(BIG):
            print(f"      {each.milliseconds:.0f} ms, {each.rows_read()} rows: {each.sql[:700]}")
    return {"queries": len(queries), "rows": rows, "milliseconds": slowest, "whole": whole}


if __name__ == "__main__":
    main()
