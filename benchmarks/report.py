"""The measurements as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GOALS = {  # figure: (whether smaller is better, goal)
    "network_shipped_ms": (True, 1.0),
    "predict_http_median_ms": (True, 15.0),
    "predict_http_p99_ms": (True, 60.0),
    "throughput_32_ratio": (False, 0.5),
    "throughput_errors": (True, 0.0),
    "web_rss_mb": (True, 150.0),
    "inference_rss_mb": (True, 250.0),
    "loop_50_corrections_s": (True, 10.0),
    "map_umap_20000_s": (True, 30.0),
    "map_place_ms": (True, 50.0),
    "load_errors": (True, 0.0),
    "load_p95_ms": (True, 150.0),
}
WIDTHS = (50, 12, 13, 11)


def table(figures: Mapping[str, Any], machine: str) -> str:
    """All of it, with ratios and goals."""
    rule = "  " + "─" * (sum(WIDTHS) + 6)
    lines = ["", f"  {machine}", rule, _row("one prediction", "median ms", "to LiteRT", "goal"), rule]
    lines += [_speed(figures, *each) for each in _ALONE]
    lines += [rule, _row("one image by LiteRT on one core", "median ms", "to what ships", "goal"), rule]
    lines += [_network(figures, *each) for each in _NETWORKS]
    lines += [rule, _row("32 clients at once", "a second", "to in process", "goal"), rule]
    lines += [_rate(figures, *each) for each in _TOGETHER]
    lines += [rule, _row("processor time a prediction", "ms", "to in process", ""), rule]
    lines += [_cost(figures, *each) for each in _COSTS]
    lines += [rule, _row("memory", "MB", "", "goal"), rule]
    lines += [_plain(figures, *each) for each in _MEMORY]
    lines += [rule, _row("the loop: 50 corrections, approved", "s", "", "goal"), rule]
    lines += [_precise(figures, *each) for each in _LOOP]
    lines += [rule, _row("maps of 20,000 letters, umap compiled", "", "", "goal"), rule]
    lines += [_precise(figures, *each) for each in _MAPS]
    if "load_visitors" in figures:
        lines += [
            rule,
            _row(f"a crowd of {figures['load_visitors']}, on {figures['load_database']}", "", "", "goal"),
            rule,
        ]
        lines += [_precise(figures, *each) for each in _CROWD if each[1] in figures]
    return "\n".join([*lines, rule, ""])


_ALONE = (
    ("LiteRT in process: the limit", "predict_litert_median_ms"),
    ("over HTTP, through web and worker", "predict_http_median_ms"),
    ("    its 99th percentile", "predict_http_p99_ms"),
    ("model.predict in process: the old demo", "predict_keras_median_ms"),
)
_NETWORKS = (("the network that ships", "shipped"), ("the original demo's, cdeotte", "cdeotte"))
_TOGETHER = (
    ("through web and worker", "throughput_32"),
    ("the same view with LiteRT in process", "throughput_32_inprocess"),
)
_COSTS = (
    ("web", "cpu_ms_web"),
    ("worker and Redis", "cpu_ms_worker"),
    ("the same view with LiteRT in process", "cpu_ms_inprocess"),
    ("this load generator, beside them", "cpu_ms_generator"),
)
_MEMORY = (("largest web process", "web_rss_mb"), ("inference worker", "inference_rss_mb"))
_LOOP = (
    ("from the last approval to a new model that serves", "loop_50_corrections_s"),
    ("    the slowest round", "loop_50_corrections_worst_s"),
)
_CROWD = (
    ("a prediction, 95th percentile, in ms", "load_p95_ms"),
    ("    its median", "load_p50_ms"),
    ("errors", "load_errors"),
    ("predictions a second", "load_rate"),
    ("memory grown over 100,000 predictions, in MB", "memory_grown_mb"),
    ("visitors at which it breaks", "breaking_visitors"),
)
_MAPS = (("by UMAP, in s", "map_umap_20000_s"), ("one letter placed, in ms", "map_place_ms"))


def _row(*cells: str) -> str:
    first, *others = cells
    numbers = "  ".join(cell.rjust(width) for cell, width in zip(others, WIDTHS[1:], strict=True))
    return f"  {first.ljust(WIDTHS[0])}  {numbers}".rstrip()


def _speed(figures: Mapping[str, float], words: str, name: str) -> str:
    times = figures[name] / figures["predict_litert_median_ms"]
    return _row(words, f"{figures[name]:.2f}", f"{times:.1f} x", _goal(figures, name))


def _network(figures: Mapping[str, float], words: str, name: str) -> str:
    ratio = 1.0 if name == "shipped" else figures["network_cdeotte_ratio"]
    milliseconds = f"network_{name}_ms"
    return _row(words, f"{figures[milliseconds]:.2f}", f"{ratio:.1f} x", _goal(figures, milliseconds))


def _rate(figures: Mapping[str, float], words: str, name: str) -> str:
    share = figures[name] / figures["throughput_32_inprocess"]
    goal = _goal(figures, "throughput_32_ratio") if name == "throughput_32" else ""
    return _row(words, f"{figures[name]:.0f}", f"{share:.2f} x", goal)


def _cost(figures: Mapping[str, float], words: str, name: str) -> str:
    return _row(words, f"{figures[name]:.2f}", f"{figures[name] / figures['cpu_ms_inprocess']:.2f} x", "")


def _plain(figures: Mapping[str, float], words: str, name: str) -> str:
    return _row(words, f"{figures[name]:.0f}", "", _goal(figures, name))


def _precise(figures: Mapping[str, float], words: str, name: str) -> str:
    return _row(words, f"{figures[name]:.2f}", "", _goal(figures, name))


def _goal(figures: Mapping[str, float], name: str) -> str:
    if name not in GOALS:
        return ""
    is_less, goal = GOALS[name]
    met = figures[name] <= goal if is_less else figures[name] >= goal
    return f"{'≤' if is_less else '≥'} {goal:g} {'✓' if met else '✗'}"
