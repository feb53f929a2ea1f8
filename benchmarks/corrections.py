"""From the approval of the last of 50 corrections to a model that serves them: how long the loop takes.

Real people's way: visitors correct, a reviewer approves, the site retrains the last layer by itself because its policy
says "after 50 drawings", judges the candidate, promotes it, and the next prediction comes from the new model.
"""

from __future__ import annotations

import statistics
import time

from benchmarks import styles
from benchmarks.people import Letter, Maintainer, Visitor, by_writer
from tests.running import Site, wait_for

CORRECTIONS = 50
WRITERS = 10
ROUNDS = 3
PATIENCE = 120.0  # seconds
RETRAIN_AFTER = f"""\
import django; django.setup()
from letters.models import Policy
Policy.objects.update_or_create(id=1, defaults={{"retrain_after": {CORRECTIONS}, "promote_passed": True}})
"""


class NotPromoted(Exception):
    """The loop ended otherwise; the run's own words."""


def loop_seconds(site: Site) -> dict[str, float]:
    """The median of some rounds on a running site, after one that warms its workers up. Raises NotPromoted."""
    site.python(RETRAIN_AFTER)
    if not site.trainer.runs():
        site.trainer.start()
    maintainer = Maintainer(site)
    seconds = [one_round(site, maintainer, seed) for seed in range(ROUNDS + 1)][1:]
    return {"loop_50_corrections_s": statistics.median(seconds), "loop_50_corrections_worst_s": max(seconds)}


def one_round(site: Site, maintainer: Maintainer, seed: int) -> float:
    """Seconds from the last approval to the first prediction by a new model."""
    letters = [Letter(**each) for each in styles.letters(-(-CORRECTIONS // len(styles.STYLES)), WRITERS, seed)]
    given = [
        visitor.give(letter)
        for drawn in by_writer(letters[:CORRECTIONS]).values()
        for visitor in [Visitor(site)]
        for letter in drawn
    ]
    before = maintainer.api("GET", "models/current")["version"]
    maintainer.approve(given[:-1])
    began = time.perf_counter()
    maintainer.approve(given[-1:])
    visitor, letter = Visitor(site), letters[0]

    def serves() -> bool:
        asked = {"strokes": letter.strokes, "canvas": letter.canvas}
        if visitor.api("POST", "predictions", json=asked)["model"]["version"] != before:
            return True
        for newest in maintainer.api("GET", "training-runs")["runs"][:1]:
            if newest["state"] in ("failed", "cancelled") or newest["outcome"] in ("refused", "passed"):
                raise NotPromoted(str(newest))
        return False

    wait_for(serves, "a new model serves", PATIENCE)
    return time.perf_counter() - began
