"""`make bench`: how fast and how large the site is on this machine, as a table, and as var/bench.json.

It starts a whole site of its own beside whatever else runs: private Redis, database and files, one inference worker,
gunicorn as the Procfile starts it; and the same site once more with LiteRT inside the view. The two are measured in
turns, so that a machine that grows busy meanwhile is no advantage to either; of the turns the medians count. Nothing
but 127.0.0.1 is ever asked. A third site shows the loop: 50 corrections, approved, learned from, served. Then comes
a map of 20,000 letters, in this process. That takes about three minutes. Last comes a crowd: 200 visitors for five
minutes (`--minutes`), 100,000 predictions in the same processes, and more and more visitors until it breaks; that takes
some twenty minutes, and `--minutes 0` leaves it out.

The processor times a prediction (`cpu_ms_*`) do not depend on what else the machine does; all other times do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks import corrections, crowd, letter, load, machine, maps, report
from ml.artifact import SHIPPED
from ml.predictor import Predictor
from ml.preprocess import image_from_strokes
from tests.running import ROOT, Part, Site, free_port, running_site, wait_for

ONE_AT_A_TIME = 400  # predictions
CLIENTS = 32
ROUNDS = 3
ROUND = 4.0  # seconds, for each of the two sites
WARM_UP = 2.0  # seconds under load: threads, connections and the model are there after that
PAUSE = 0.5  # seconds in which a site comes to rest
LITERT_COUNT = 500
RESULT = ROOT / "var" / "bench.json"


@dataclass(frozen=True)
class Server:
    """A web server with what works for it."""

    port: int
    web: int  # pid of gunicorn's master
    helpers: tuple[int, ...] = ()  # pids of worker and Redis


@dataclass(frozen=True)
class Turn:
    """What came of 32 clients at one of the two servers."""

    load: load.Load
    web_cpu: float  # seconds
    helpers_cpu: float


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=crowd.MINUTES, help="of the crowd; 0: without it")
    asked = parser.parse_args()
    described = machine.described()
    say("LiteRT and Keras, each in a process by itself")
    figures: dict[str, Any] = {"predict_litert_median_ms": litert_median(), "predict_keras_median_ms": keras_median()}
    say("the network that ships beside the demo's, one image on one core")
    figures |= json.loads(_printed_by("benchmarks.networks"))
    with running_site(own_redis=True) as site, inprocess_site(site) as inside:
        figures |= measure(celery_server(site), inside, site)
    say(f"{corrections.CORRECTIONS} corrections, from approval to a model that serves, {corrections.ROUNDS} times")
    with running_site(own_redis=True, env={"HOLDOUT_SHARE": "0"}) as site:
        figures |= corrections.loop_seconds(site)
    say("a map of 20,000 letters by UMAP, and a letter placed on it")
    figures |= maps.figures()
    figures = {name: round(value, 3) for name, value in figures.items()}
    if asked.minutes:
        figures |= crowd.measure(asked.minutes, crowd.VISITORS, crowd.PREDICTIONS, crowd.STEPS)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(figures | {"machine": described}, indent=1) + "\n")
    print(report.table(figures, described))
    if figures["throughput_errors"] or figures.get("load_errors"):
        sys.exit("There were errors: the numbers above mean little.")


def say(words: str) -> None:
    """Progress, apart from the report."""
    print(f"  {words} ...", file=sys.stderr, flush=True)


# --- One process -----------------------------------------------------------------------------------------------------


def litert_median() -> float:
    """One image through LiteRT here, in ms: the limit of what any site around it can reach."""
    predictor, image = Predictor(SHIPPED), image_from_strokes(letter.strokes())
    times = []
    for _ in range(LITERT_COUNT):
        started = time.perf_counter()
        predictor.predict(image)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def keras_median() -> float:
    """One image through `model.predict`, in ms."""
    return float(_printed_by("benchmarks.keras_inprocess").split()[-1])


def _printed_by(module: str) -> str:
    """The last line of a measurement that has a process of its own."""
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        sys.exit(f"{module} could not be measured:\n{done.stderr}")
    return done.stdout.strip().splitlines()[-1]


# --- Whole sites -----------------------------------------------------------------------------------------------------


def celery_server(site: Site) -> Server:
    """The site as it is."""
    assert site.redis is not None  # own_redis=True
    return Server(int(site.env["PORT"]), site.web.pid, (site.worker.pid, site.redis.pid))


@contextmanager
def inprocess_site(site: Site) -> Iterator[Server]:
    """A second web server over the same database and files, which asks no worker."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "gunicorn"), "benchmarks.inprocess_wsgi", "-c", "webapp/gunicorn.py"]
    part = Part("inprocess", command, site.env | {"PORT": str(port)}, site.folder / "inprocess.log")
    part.start()
    server = Server(port, part.pid)
    try:
        wait_for(lambda: part.ended() or _answers(port), "the second web server answers")
        if part.ended():
            sys.exit(f"The second web server ended by itself:\n{part.log()}")
        yield server
    finally:
        part.end()


def _answers(port: int) -> bool:
    request = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    try:
        return load.ask_once(port, request).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def measure(celery: Server, inside: Server, site: Site) -> dict[str, float]:
    """All figures of the two running sites."""
    say("warming up")
    for server in (celery, inside):
        load.many_at_once(server.port, CLIENTS, WARM_UP)
    time.sleep(PAUSE)
    say(f"{ONE_AT_A_TIME} predictions, one after the other")
    alone = load.one_at_a_time(celery.port, ONE_AT_A_TIME)
    say(f"{CLIENTS} clients at once, {ROUNDS} times each way")
    turns = [(turn(celery), turn(inside)) for _ in range(ROUNDS)]
    through, within = [a for a, _ in turns], [b for _, b in turns]
    return (
        latencies(alone, [each.load for each in through])
        | throughputs(through, within)
        | processor_times(through, within)
        | {
            "throughput_errors": len(alone.errors) + sum(len(each.load.errors) for each in (*through, *within)),
            "web_rss_mb": max(map(machine.rss_mb, machine.children(celery.web))),
            "inference_rss_mb": machine.rss_mb(site.worker.pid),
        }
    )


def turn(server: Server) -> Turn:
    """Load one server for a while, and see what it took."""
    web, helpers = machine.cpu_seconds(server.web), sum(map(machine.cpu_seconds, server.helpers))
    came = load.many_at_once(server.port, CLIENTS, ROUND)
    for problem in sorted(set(came.errors))[:5]:
        print(f"error: {problem}", file=sys.stderr)
    time.sleep(PAUSE)
    return Turn(came, machine.cpu_seconds(server.web) - web, sum(map(machine.cpu_seconds, server.helpers)) - helpers)


def latencies(alone: load.Load, through: list[load.Load]) -> dict[str, float]:
    """Of one visitor alone, and of each of the many."""
    return {
        "predict_http_median_ms": statistics.median(alone.latencies),
        "predict_http_p99_ms": percentile(alone.latencies, 0.99),
        "throughput_32_median_ms": statistics.median(chain.from_iterable(each.latencies for each in through)),
    }


def throughputs(through: list[Turn], within: list[Turn]) -> dict[str, float]:
    """Predictions a second, and what part of the in-process rate is left with Celery, turn by turn."""
    return {
        "throughput_32": statistics.median(each.load.rate for each in through),
        "throughput_32_inprocess": statistics.median(each.load.rate for each in within),
        "throughput_32_ratio": statistics.median(
            a.load.rate / b.load.rate for a, b in zip(through, within, strict=True)
        ),
    }


def processor_times(through: list[Turn], within: list[Turn]) -> dict[str, float]:
    """Processor time a prediction, in ms."""
    return {
        "cpu_ms_web": statistics.median(each.web_cpu * 1000 / len(each.load.latencies) for each in through),
        "cpu_ms_worker": statistics.median(each.helpers_cpu * 1000 / len(each.load.latencies) for each in through),
        "cpu_ms_inprocess": statistics.median(each.web_cpu * 1000 / len(each.load.latencies) for each in within),
        "cpu_ms_generator": statistics.median(
            each.load.own_seconds * 1000 / len(each.load.latencies) for each in (*through, *within)
        ),
    }


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
