"""Processes killed at random under load, and what must be true afterwards. For tests/faults and benchmarks.faults."""

from __future__ import annotations

import contextlib
import random
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.faults.crowd import Crowd, Notes
from tests.faults.servers import own_postgres, own_redis
from tests.faults.supervisor import Supervisor, kill_hard
from tests.letters.training import tiny_archive
from tests.running import Part, Site, SiteError, running_site, wait_for

KINDS = ("web", "worker", "trainer", "beat", "redis", "postgres")
HAS_CHILDREN = ("web", "trainer", "postgres")  # of which one process alone may be killed as well
ONE_OF_MANY = 0.25
PROBE_PATIENCE = 90.0  # seconds
ENV = {
    "DRAWINGS_PER_DAY": "100000",
    "HOLDOUT_SHARE": "0",
}


@dataclass
class Town:
    """A whole site with servers of its own."""

    site: Site
    parts: dict[str, Part]  # by kind, all that may be killed
    supervisor: Supervisor


@contextlib.contextmanager
def town(folder: Path, env: Mapping[str, str] | None = None, *, appendonly: bool = False) -> Iterator[Town]:
    """All processes of the Procfile, on a PostgreSQL and a Redis of their own."""
    archive = tiny_archive(folder / "emnist.zip")
    with own_postgres(folder / "postgres") as postgres, own_redis(folder / "redis", appendonly=appendonly) as redis:
        settings = ENV | {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url, "EMNIST_ARCHIVE": str(archive)}
        with running_site(processes=2, threads=8, env=settings | dict(env or {})) as site:
            site.trainer.start()
            site.beat.start()
            parts = {"web": site.web, "worker": site.worker, "trainer": site.trainer, "beat": site.beat}
            parts |= {"redis": redis, "postgres": postgres}
            with Supervisor(list(parts.values())) as supervisor:
                yield Town(site, parts, supervisor)


# --- Kill ----------------------------------------------------------------------------------------------------------


@dataclass
class Kill:
    """One round; `at` by time.monotonic(), `clock` by time.time()."""

    kind: str
    whole: bool
    at: float
    clock: float
    recovered: float | None = None  # seconds until the next good answer


@dataclass
class Outcome:
    """What became of it: `problems` is empty where all that was promised held."""

    kills: list[Kill]
    notes: Notes
    problems: list[str]
    ended: dict[str, dict[str, int]] = field(default_factory=dict)  # runs, exports and maps by state
    seconds: float = 0.0
    settled: float = 0.0  # seconds from the last kill until nothing was left to do
    restarts: dict[str, int] = field(default_factory=dict)

    def recoveries(self, kind: str, *, whole: bool = True) -> list[float]:
        """Seconds, in order."""
        some = [each.recovered for each in self.kills if each.kind == kind and each.whole == whole]
        return sorted(each for each in some if each is not None)


def rage(
    there: Town,
    *,
    rounds: int,
    seed: int,
    visitors: int,
    between_kills: float,
    pause: float,
    patience: float,
    one_by_one: bool = False,
) -> Outcome:
    """Kill `rounds` times, `between_kills` seconds apart on the mean, under load; then let it settle, and look.

    `one_by_one`: each when a letter was kept again after the one before. `patience`: seconds within which all that was
    begun must have ended by itself.
    """
    chance = random.Random(seed)
    crowd = Crowd(there.site, visitors=visitors, seed=seed, pause=pause)
    kills: list[Kill] = []
    probes: list[threading.Thread] = []
    crowd.start()
    began = time.monotonic()
    wait_for(lambda: len(crowd.notes.kept) >= visitors, "the first letters are kept", 60)
    for kind in _order(rounds, chance):
        time.sleep(min(max(chance.expovariate(1 / between_kills), 0.2), 3 * between_kills))
        kill = _kill(there, kind, chance)
        kills.append(kill)
        if kind == "beat":
            probes.append(threading.Thread(target=_probe_beat, args=(there.site, crowd.notes, kill), daemon=True))
            probes[-1].start()
        if one_by_one:
            wait_for(lambda at=kill.at: _next(crowd.notes.keeps, at) is not None, "a letter is kept again", 120)
    lasted = time.monotonic() - began
    with contextlib.suppress(SiteError):  # what does not come back is seen below
        wait_for(lambda: _is_back(there.site, crowd.notes, kills), "all that was killed does its work again", patience)
    crowd.stop()
    for each in probes:
        each.join()
    problems = [*dict.fromkeys(crowd.notes.odd)]
    problems += _settle(there, patience)
    settled = time.monotonic() - kills[-1].at
    _measure(there.site, crowd.notes, kills)
    problems += check(there.site, crowd.notes)
    ended = {name: _states(there.site, name) for name in ("trainingrun", "export", "lettermap")}
    return Outcome(kills, crowd.notes, problems, ended, lasted, settled, there.supervisor.restarts)


def _order(rounds: int, chance: random.Random) -> list[str]:
    """Each kind as often as the others, in no order."""
    order: list[str] = []
    while len(order) < rounds:
        order += chance.sample(KINDS, len(KINDS))
    return order[:rounds]


def _kill(there: Town, kind: str, chance: random.Random) -> Kill:
    part = there.parts[kind]
    one_of_many = kind in HAS_CHILDREN and chance.random() < ONE_OF_MANY
    wait_for(part.runs, f"{kind} runs", 30)  # what was killed a moment ago is started in another
    kill = Kill(kind, not one_of_many, time.monotonic(), time.time())
    kill_hard(part, chance, one_of_many=one_of_many)
    return kill


def _probe_beat(site: Site, notes: Notes, kill: Kill) -> None:
    """What was left undone is looked after again: here that a drawing is not examined."""
    forget = "DELETE FROM letters_examination WHERE drawing_id = %s RETURNING drawing_id"
    look = "SELECT d.id, e.drawing_id AS examined FROM letters_drawing d LEFT JOIN letters_examination e"
    look += " ON e.drawing_id = d.id WHERE d.id = %s"
    for pk in random.Random(kill.at).sample(list(notes.kept), len(notes.kept)):
        drawing = uuid.UUID(pk)
        if not _insisted(lambda drawing=drawing: site.rows(forget, drawing)):
            continue  # it was withdrawn, or is not examined yet

        def examined(drawing: uuid.UUID = drawing) -> bool:
            rows = _insisted(lambda: site.rows(look, drawing))
            return not rows or rows[0]["examined"] is not None

        with contextlib.suppress(SiteError):
            wait_for(examined, "it is examined again", PROBE_PATIENCE)
            kill.recovered = time.monotonic() - kill.at
        return


def _insisted(ask: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    while True:
        try:
            return ask()
        except psycopg.OperationalError:
            time.sleep(0.1)


# --- Afterwards ----------------------------------------------------------------------------------------------------

UNDONE = {
    "a run": "SELECT id FROM letters_trainingrun WHERE state IN ('queued', 'running')",
    "an export": "SELECT id FROM letters_export WHERE state IN ('queued', 'running')",
    "a map": "SELECT id FROM letters_lettermap WHERE state IN ('queued', 'running') OR finished_at IS NULL",
    "an examination": "SELECT d.id FROM letters_drawing d LEFT JOIN letters_examination e ON e.drawing_id = d.id"
    " WHERE e.drawing_id IS NULL OR e.model_id != (SELECT model_id FROM letters_serving)",
}


def _settle(there: Town, patience: float) -> list[str]:
    """Wait until nothing is left to do, and say what never ended."""
    there.site.wait_until_ready()
    until = time.monotonic() + patience
    stuck = []
    for what, query in UNDONE.items():
        with contextlib.suppress(SiteError):
            wait_for(
                lambda query=query: not _insisted(lambda: there.site.rows(query)),
                what,
                max(1.0, until - time.monotonic()),
            )
            continue
        stuck.append(f"{what} is stuck: {there.site.rows(query)[:3]}")
    return stuck


def check(site: Site, notes: Notes) -> list[str]:
    """What of all that was confirmed does not hold."""
    rows = {
        str(row["id"]): row for row in site.rows("SELECT id, idempotency_key, character, state FROM letters_drawing")
    }
    expected = {pk: value for pk, value in notes.kept.items() if pk not in notes.withdrawn}
    problems = [f"{pk} was kept and is not there" for pk in expected if pk not in rows]
    problems += [f"{pk} was withdrawn and is there" for pk in notes.withdrawn if pk in rows]
    problems += [f"{pk} is there, and nobody was told so" for pk in rows if pk not in notes.kept]
    for pk, (key, character) in expected.items():
        row = rows.get(pk, {"idempotency_key": key, "character": character})
        if (row["idempotency_key"], row["character"]) != (key, character):
            problems.append(f"{pk} is not what was kept")
    keys = [row["idempotency_key"] for row in rows.values()]
    problems += [f"{key} is there {keys.count(key)} times" for key in set(keys) if keys.count(key) > 1]
    problems += [f"a letter under the key {key} was sent and never answered" for key in notes.keys - _answered(notes)]
    for pk, state in notes.decided.items():
        if pk in rows and rows[pk]["state"] != state:
            problems.append(f"{pk} was decided to be {state} and is {rows[pk]['state']}")
    problems += [f"{count} models serve" for count in [site.count("serving")] if count != 1]
    problems += _broken_models(site)
    return problems


def _answered(notes: Notes) -> set[str]:
    return {key for key, _ in notes.kept.values()}


def _broken_models(site: Site) -> list[str]:
    """Registered versions that are not whole in storage, to the last hash."""
    code = (
        "import django; django.setup()\nfrom letters import registry\nfrom letters.models import ModelVersion\n"
        "for each in ModelVersion.objects.all():\n    registry.check(each)\n"
    )
    try:
        site.python(code)
    except SiteError as error:
        return [f"a registered model is broken: {str(error).strip().splitlines()[-1]}"]
    return []


def _states(site: Site, table: str) -> dict[str, int]:
    rows = site.rows(f"SELECT state, count(*) AS n FROM letters_{table} GROUP BY state")
    return {str(row["state"]): int(row["n"]) for row in rows}


# --- How long it took ----------------------------------------------------------------------------------------------


def _measure(site: Site, notes: Notes, kills: Sequence[Kill]) -> None:
    """From each kill to the next good answer of what it took away, to a request that was made after it."""
    finished = _finished(site)
    for kill in kills:
        if kill.kind in ("web", "worker", "redis"):
            kill.recovered = _next(notes.predictions, kill.at)
        elif kill.kind == "postgres":
            kill.recovered = _next(notes.keeps, kill.at)
        elif kill.kind == "trainer":
            later = [each - kill.clock for each in finished if each > kill.clock]
            kill.recovered = min(later, default=None)


def _is_back(site: Site, notes: Notes, kills: Sequence[Kill]) -> bool:
    """Whether all but beat did again what they are there for; each beat's kill has somebody who waits for that."""
    _measure(site, notes, kills)
    return all(each.recovered is not None for each in kills if each.kind != "beat")


def _next(answers: Sequence[tuple[float, float]], at: float) -> float | None:
    return min((answered - at for asked, answered in answers if asked > at), default=None)


def _finished(site: Site) -> list[float]:
    """When runs, exports and maps came to a good end."""
    tables = ("trainingrun", "export", "lettermap")
    queries = [f"SELECT finished_at FROM letters_{table} WHERE state = 'done'" for table in tables]
    rows = [row for query in queries for row in _insisted(lambda query=query: site.rows(query))]
    return [row["finished_at"].timestamp() for row in rows if row["finished_at"]]


def table(outcome: Outcome) -> str:
    """The figures for people."""
    lines = [f"{'killed':<22}{'rounds':>7}{'median s':>10}{'max s':>8}"]
    for kind in KINDS:
        for whole in (True, False):
            times = outcome.recoveries(kind, whole=whole)
            if times:
                name = kind if whole else f"one process of {kind}"
                lines.append(f"{name:<22}{len(times):>7}{statistics.median(times):>10.1f}{max(times):>8.1f}")
    return "\n".join(lines)
