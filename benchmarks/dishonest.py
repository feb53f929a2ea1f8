"""What becomes of the model when contributors are dishonest and review lets it pass: `python -m benchmarks.dishonest`.

The scenes of ml.simulate, each with several seeds: retrain the last layer on what was contributed, let the gate judge,
and look at letters that the gate never saw. A table, and one JSON object last.
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

from ml import gate, simulate
from ml.artifact import SHIPPED

WIDTH = 28


def measure(seeds: int) -> dict[str, dict[str, Any]]:
    """For each scene: how many candidates passed, what their letters lost or gained, and why others were refused."""
    found: dict[str, dict[str, Any]] = {}
    for name, deed in simulate.SCENES.items():
        outcomes = [simulate.play(SHIPPED, deed, simulate.set_stage(SHIPPED, seed), seed=seed) for seed in range(seeds)]
        emnist = [100 * (each.emnist_after - each.emnist_before) for each in outcomes]
        collected = [100 * (each.collected_after - each.collected_before) for each in outcomes]
        found[name] = {
            "passed": sum(each.verdict.passed for each in outcomes),
            "emnist_worst": round(min(emnist), 2),
            "emnist_median": round(statistics.median(emnist), 2),
            "collected_worst": round(min(collected), 2),
            "collected_median": round(statistics.median(collected), 2),
            "refused_for": sorted({failed for each in outcomes for failed in _failed(each.verdict)}),
        }
    return found


def _failed(verdict: gate.Verdict) -> list[str]:
    return [f"{test['name']} on {test['set']}" for test in verdict.tests if test["passed"] is False]


def table(found: dict[str, dict[str, Any]], seeds: int) -> str:
    """For people."""
    head = f"{'contributors':<{WIDTH}} passed   EMNIST worst, median   collected worst, median   refused for"
    rows = [
        f"{name:<{WIDTH}} {each['passed']:>2} of {seeds}"
        f"      {each['emnist_worst']:+6.2f}  {each['emnist_median']:+6.2f}"
        f"           {each['collected_worst']:+6.2f}  {each['collected_median']:+6.2f}"
        f"       {', '.join(map(str, each['refused_for'])) or '-'}"
        for name, each in found.items()
    ]
    return "\n".join([head, *rows, "points of accuracy of the model that serves, on letters that the gate never saw"])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dishonest", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    found = measure(seeds)
    print(table(found, seeds))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
