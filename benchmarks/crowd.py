"""A crowd at a whole site: many visitors who draw, each at a person's pace, on the machine that serves them.

    python -m benchmarks.crowd --minutes 5            # 200 visitors, then memory, then more and more visitors

Every process of the Procfile runs, over a PostgreSQL: the one that DATABASE_URL names, else one of its own where this
machine has the programs, else SQLite, and the result says which. Each visitor has a connection and a cookie, sends a
drawing every two seconds, and keeps every tenth. What he waits is counted from the moment at which he meant to send.
The generator is one thread and shares the cores with the site; how much of one core it takes stands beside the figures.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import selectors
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import redis

from benchmarks import load, machine
from benchmarks.scale import CANVAS, drawn
from tests.faults.servers import Postgres, own_postgres, postgres_programs
from tests.running import ROOT, Site, running_site, wait_for

VISITORS = 200
EVERY = 2.0  # seconds between two drawings of a visitor
KEEPS = 10  # he keeps every tenth
MINUTES = 5.0
WARM_UP = 10.0  # seconds with all visitors that do not count
LETTERS = 3_000  # different drawings
PREDICTIONS = 100_000  # over which memory is watched
CLIENTS = 32  # that ask for those, each as soon as it is answered
LEGS = 10  # after each of which memory is looked at
SETTLED = 0.1  # of these predictions, after which memory counts
STEP, STEPS = 100, 12  # visitors that come with each step, and how many steps at most
STEP_SECONDS = 20.0
TOO_SLOW = 1_000.0  # ms at the 95th percentile: nobody draws on with that
TOO_WRONG = 0.005  # of the predictions
QUEUES = ("inference", "examination")
RESULT = ROOT / "var" / "bench.json"
COUNTED = "900000000/min"  # as in production a network's requests are counted, and here none is refused for it


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crowd", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long the visitors draw")
    parser.add_argument("--visitors", type=int, default=VISITORS)
    parser.add_argument("--predictions", type=int, default=PREDICTIONS, help="over which memory is watched; 0: not")
    parser.add_argument("--steps", type=int, default=STEPS, help="of more visitors, to the breaking point; 0: none")
    asked = parser.parse_args()
    os.chdir(ROOT)
    described = machine.described()
    figures = measure(asked.minutes, asked.visitors, asked.predictions, asked.steps)
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(known | figures | {"load_machine": described}, indent=1) + "\n")
    print(json.dumps(figures | {"load_machine": described}, indent=1))


def measure(minutes: float, visitors: int, predictions: int, steps: int) -> dict[str, Any]:
    """All figures; what is no number says what it was measured on, or what came first."""
    with crowded_site() as (site, database, postgres):
        watched = Watched(site, postgres)
        say(f"{visitors} visitors for {minutes:g} minutes, on {database}")
        figures = {"load_database": database} | under_load(site, watched, visitors, minutes * 60)
        if predictions:
            say(f"memory over {predictions:,} predictions")
            figures |= memory(site, watched, predictions)
        if steps:
            figures |= breaking_point(site, watched, visitors, steps)
    return figures


def say(words: str) -> None:
    """Progress, apart from the report."""
    print(f"  {words} ...", file=sys.stderr, flush=True)


# --- The site ------------------------------------------------------------------------------------------------------


@contextmanager
def crowded_site() -> Iterator[tuple[Site, str, Postgres | None]]:
    """A site with all that the Procfile names, the words for its database, and that where it is one of our own."""
    with ExitStack() as stack:
        env = {"DRAWINGS_PER_DAY": "100000", "THROTTLE_PREDICTIONS": COUNTED, "THROTTLE_DRAWINGS": COUNTED}
        postgres, database = None, "SQLite"
        if os.environ.get("DATABASE_URL", "").startswith("postgres"):
            database = "PostgreSQL that DATABASE_URL names"
        elif postgres_programs():
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="letterloop-postgres-"))
            postgres = stack.enter_context(own_postgres(Path(folder)))
            env["DATABASE_URL"], database = postgres.url, "PostgreSQL of its own"
        site = stack.enter_context(running_site(own_redis=True, env=env))
        site.trainer.start()
        site.beat.start()
        yield site, database, postgres


@dataclass(frozen=True)
class Watched:
    """The processes of a site."""

    site: Site
    postgres: Postgres | None

    def parts(self) -> dict[str, int]:
        """The pid of each part's first process."""
        found = {part.name: part.pid for part in self.site.parts}
        if self.site.redis is not None:
            found["redis"] = self.site.redis.pid
        return found | ({"postgres": self.postgres.pid} if self.postgres else {})

    def memory(self) -> dict[str, float]:
        """Megabytes that each part has for itself, all its processes together; what two share counts half for each."""
        return {
            name: sum(_pss_mb(each) for each in (pid, *machine.children(pid))) for name, pid in self.parts().items()
        }

    def cpu(self) -> dict[str, float]:
        """Processor seconds of each part so far."""
        return {name: machine.cpu_seconds(pid) for name, pid in self.parts().items()}

    def waiting(self) -> int:
        """Messages in the queues that the visitors fill."""
        with redis.Redis.from_url(self.site.env["REDIS_URL"]) as client:
            return sum(int(client.llen(f"letterloop:{name}")) for name in QUEUES)


def _pss_mb(pid: int) -> float:
    try:
        return float(psutil.Process(pid).memory_full_info().pss / 1e6)
    except psutil.NoSuchProcess:
        return 0.0


# --- Visitors ------------------------------------------------------------------------------------------------------


@dataclass
class Came:
    """What came of a crowd: milliseconds of each right answer, and what went wrong."""

    predictions: list[float] = field(default_factory=list)
    keeps: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)  # answers with 503
    seconds: float = 0.0
    own_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Predictions a second."""
        return len(self.predictions) / self.seconds


class Visitor:
    """Somebody who draws: on one connection, with a cookie from the first answer on."""

    def __init__(self, port: int, bodies: list[bytes], number: int, due: float) -> None:
        self._port, self._bodies, self._number, self._at, self._cookie = port, bodies, number, number * 7, ""
        self.client = load.Client(port, b"")
        self.due = due
        self.drawn = 0
        self.keeps = False  # waits for the answer to a drawing that he keeps

    @property
    def likes_it(self) -> bool:
        """Whether he keeps this one: each visitor another one of ten, for a crowd does not do it in unison."""
        return (self.drawn + self._number) % KEEPS == 0

    def draw(self) -> None:
        """Send another letter."""
        self.drawn += 1
        self._at = (self._at + 1) % len(self._bodies)
        self.keeps = False
        self.client.ask(load.post(self._port, self._bodies[self._at], self._cookie))

    def read(self, answer: bytes) -> None:
        """Take the cookie of a first answer."""
        if not self._cookie:
            self._cookie = f"Cookie: {load.cookie_of(answer)}\r\n"

    def keep(self, answer: bytes) -> None:
        """Say that it is a Z, and give it."""
        token = answer[answer.index(b'"token":"') + 9 :]
        token = token[: token.index(b'"')]
        agreed = b',"character":"Z","consent":true,"token":"' + token + b'"}'
        self.keeps = True
        self.client.ask(load.post(self._port, self._bodies[self._at][:-1] + agreed, self._cookie, "drawings"))


class Crowd:
    """Visitors for a while: an event loop of their answers and of the moments at which they mean to draw."""

    def __init__(self, port: int, visitors: int, bodies: list[bytes]) -> None:
        start = time.perf_counter()
        self._came, self._numbers = Came(), count()
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Visitor]] = []
        self._busy: set[Visitor] = set()
        for number in range(visitors):
            visitor = Visitor(port, bodies, number, start + EVERY * number / visitors)
            self._selector.register(visitor.client.socket, selectors.EVENT_READ, visitor)
            self._wait(visitor)

    def draw(self, seconds: float) -> Came:
        """What comes of so many seconds; it can be called again, and they go on."""
        self._came, own, started = Came(), time.process_time(), time.perf_counter()
        end, checked = started + seconds, started
        while (now := time.perf_counter()) < end:
            while self._due and self._due[0][0] <= now:
                visitor = heapq.heappop(self._due)[2]
                self._busy.add(visitor)
                visitor.draw()
            until = min(end, self._due[0][0] if self._due else end)
            for key, _ in self._selector.select(timeout=max(0.0, until - time.perf_counter())):
                self._take(key.data)
            if now - checked > 1:
                checked = now
                self._lose(now)
        self._came.seconds = time.perf_counter() - started
        self._came.own_seconds = time.process_time() - own
        return self._came

    def leave(self) -> None:
        """Wait for what is on its way, and hang up."""
        end = time.perf_counter() + load.PATIENCE
        while self._busy and time.perf_counter() < end:
            for key, _ in self._selector.select(timeout=0.1):
                self._take(key.data)
        for key in list(self._selector.get_map().values()):
            key.data.client.close()
        self._selector.close()

    def _wait(self, visitor: Visitor) -> None:
        heapq.heappush(self._due, (visitor.due, next(self._numbers), visitor))

    def _take(self, visitor: Visitor) -> None:
        try:
            answer = visitor.client.take()
        except OSError as error:
            if visitor in self._busy:
                self._fail(visitor, f"{type(error).__name__}: {error}")
            else:  # who was refused is left, too
                self._reconnect(visitor)
            return
        if answer is None:
            return
        now = time.perf_counter()
        if visitor.keeps:
            self._note(answer, b"201", self._came.keeps, (now - visitor.client.asked) * 1000)
            self._rest(visitor, now)
            return
        right = self._note(answer, b"200", self._came.predictions, (now - visitor.due) * 1000)
        if right:
            visitor.read(answer)
        if right and visitor.likes_it:
            visitor.keep(answer)
        else:
            self._rest(visitor, now)

    def _note(self, answer: bytes, wanted: bytes, times: list[float], took: float) -> bool:
        status = answer[9:12]
        if status == wanted:
            times.append(took)
            return True
        body = answer.partition(b"\r\n\r\n")[2]
        self._came.errors.append(f"{status.decode()} {body[:200].decode(errors='replace')}")
        if status == b"503":
            self._came.refused.append(answer)
        return False

    def _rest(self, visitor: Visitor, now: float) -> None:
        """Until the next letter: at the visitor's pace, or at once where the answer took longer."""
        visitor.due = max(visitor.due + EVERY, now)
        self._busy.discard(visitor)
        self._wait(visitor)

    def _lose(self, now: float) -> None:
        """An answer that does not come."""
        for visitor in [each for each in self._busy if now - each.client.asked > load.PATIENCE]:
            self._fail(visitor, f"no answer within {load.PATIENCE:.0f} s")

    def _fail(self, visitor: Visitor, words: str) -> None:
        self._came.errors.append(words)
        self._reconnect(visitor)
        self._rest(visitor, time.perf_counter())

    def _reconnect(self, visitor: Visitor) -> None:
        self._selector.unregister(visitor.client.socket)
        visitor.client.reconnect()
        self._selector.register(visitor.client.socket, selectors.EVENT_READ, visitor)


def letters(seed: int = 0) -> list[bytes]:
    """What pages would send for different letters."""
    chance = random.Random(seed)
    canvas = {"width": CANVAS, "height": CANVAS}
    return [
        json.dumps({"strokes": drawn(chance.choice("AELMOPSTVWXZegh"), chance), "canvas": canvas}).encode()
        for _ in range(LETTERS)
    ]


# --- Figures -------------------------------------------------------------------------------------------------------


def under_load(site: Site, watched: Watched, visitors: int, seconds: float) -> dict[str, Any]:
    """So many visitors for so long."""
    crowd = Crowd(int(site.env["PORT"]), visitors, letters())
    crowd.draw(min(WARM_UP, seconds))
    before, cpu, kept = watched.memory(), watched.cpu(), site.count("drawing")
    load_average = os.getloadavg()[0]
    came = crowd.draw(seconds)
    took = {name: value - cpu[name] for name, value in watched.cpu().items()}
    after = watched.memory()
    crowd.leave()
    for problem in sorted(set(came.errors))[:5]:
        print(f"error: {problem}", file=sys.stderr)
    wait_for(lambda: watched.waiting() == 0, "the queues are empty", 60)
    figures: dict[str, Any] = {
        "load_visitors": visitors,
        "load_seconds": round(came.seconds, 1),
        "load_errors": len(came.errors),
        "load_p50_ms": percentile(came.predictions, 0.5),
        "load_p95_ms": percentile(came.predictions, 0.95),
        "load_p99_ms": percentile(came.predictions, 0.99),
        "load_rate": round(came.rate, 1),
        "load_keep_p95_ms": percentile(came.keeps, 0.95),
        "load_kept": len(came.keeps),
        "load_stored": site.count("drawing") - kept,
        "load_queue_end": watched.waiting(),
        "load_average_before": round(load_average, 2),
        "load_generator_cores": round(came.own_seconds / came.seconds, 3),
    }
    figures |= {f"load_{name}_cores": round(value / came.seconds, 3) for name, value in took.items()}
    figures |= {f"load_{name}_mb": [round(before[name], 1), round(value, 1)] for name, value in after.items()}
    return figures


def memory(site: Site, watched: Watched, predictions: int) -> dict[str, Any]:
    """How much each part grows over so many predictions, as fast as they can be had, once it has settled."""
    port = int(site.env["PORT"])
    load.many_at_once(port, CLIENTS, 3600, most=int(SETTLED * predictions))
    seen, legs = [watched.memory()], []
    for _ in range(LEGS):
        legs.append(load.many_at_once(port, CLIENTS, 3600, most=predictions // LEGS))
        seen.append(watched.memory())
    # what a process has goes up and down by ten megabytes from one leg to the next: the medians of either end
    ends = [
        {name: statistics.median(each[name] for each in some) for name in seen[0]} for some in (seen[:3], seen[-3:])
    ]
    grown = {name: ends[1][name] - ends[0][name] for name in seen[0]}
    return (
        {
            "memory_predictions": sum(len(leg.latencies) for leg in legs),
            "memory_errors": sum(len(leg.errors) for leg in legs),
            "memory_rate": round(statistics.median(leg.rate for leg in legs), 1),
            "memory_grown_mb": round(sum(grown[name] for name in ("web", "worker", "redis")), 1),
        }
        | {f"memory_{name}_grown_mb": round(value, 1) for name, value in grown.items()}
        | {f"memory_{name}_mb": [round(each[name], 1) for each in seen] for name in ("web", "worker", "redis")}
    )


def breaking_point(site: Site, watched: Watched, visitors: int, steps: int) -> dict[str, Any]:
    """More and more visitors until it is too slow or wrong; what is busiest then; and whether it recovers."""
    port, bodies, table = int(site.env["PORT"]), letters(1), []
    refused: list[bytes] = []
    for number in range(steps):
        many = visitors + STEP * (number + 1)
        say(f"{many} visitors")
        step = _one_step(port, watched, many, bodies)
        refused += step.pop("refused")
        table.append(step)
        if step["p95_ms"] > TOO_SLOW or step["errors"] > TOO_WRONG * max(1, step["predictions"]):
            break
    say("and as many as before")
    back = _one_step(port, watched, visitors, bodies)
    refused += back.pop("refused")
    return {
        "breaking_steps": table,
        "breaking_visitors": table[-1]["visitors"],
        "breaking_busiest": max(table[-1]["cores"], key=lambda name: table[-1]["cores"][name]),
        "breaking_503": refused[0].decode("latin-1") if refused else "",
        "breaking_recovered_p95_ms": back["p95_ms"],
        "breaking_recovered_errors": back["errors"],
    }


def _one_step(port: int, watched: Watched, visitors: int, bodies: list[bytes]) -> dict[str, Any]:
    crowd = Crowd(port, visitors, bodies)
    crowd.draw(EVERY * 2)  # they come
    cpu = watched.cpu()
    came = crowd.draw(STEP_SECONDS)
    cores = {name: round((value - cpu[name]) / came.seconds, 2) for name, value in watched.cpu().items()}
    waiting = watched.waiting()
    crowd.leave()
    return {
        "visitors": visitors,
        "predictions": len(came.predictions),
        "rate": round(came.rate, 1),
        "p50_ms": percentile(came.predictions, 0.5),
        "p95_ms": percentile(came.predictions, 0.95),
        "errors": len(came.errors),
        "kinds": sorted({each[:60] for each in came.errors})[:3],
        "waiting": waiting,
        "cores": cores | {"generator": round(came.own_seconds / came.seconds, 2)},
        "refused": came.refused[:1],
    }


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed; 0 of none."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else 0.0


if __name__ == "__main__":
    main()
