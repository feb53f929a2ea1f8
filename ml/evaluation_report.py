"""What `ml.evaluate` measured, as text for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ml.calibration import overconfidence
from ml.evaluate import CONFUSIONS

SHARES = {
    "accuracy": "right on 37 classes",
    "folded_accuracy": "with case ignored",
    "top2": "among the two likeliest",
}
NAMED = 6  # classes whose confidence is furthest off
SURE = 0.05  # a difference that chance makes less often than this is called one


def report(result: dict[str, Any]) -> str:
    """The whole of it. `result` is that of `ml.evaluate.evaluate`, with or without what the command line adds."""
    return "\n".join(_lines(result))


def _lines(result: dict[str, Any]) -> Iterator[str]:
    shares = ", ".join(f"{result[name]:.2%} {words} {_interval(result, name)}" for name, words in SHARES.items())
    yield f"{result['count']} letters: {shares}; in brackets 95 % intervals"
    yield from _calibration(result["calibration"])
    confusions = ", ".join(f"{each['label']} as {each['read_as']} {each['count']}" for each in result["confusions"])
    yield f"most frequent mistakes: {confusions or 'none'}"
    if result.get("pairs"):
        yield f"most confused pairs: {', '.join(_pair(each) for each in result['pairs'][:CONFUSIONS])}"
    if "comparison" in result:
        yield in_words(result["comparison"], result["count"])
    yield ""
    yield "class  letters  precision   recall       F1"
    for name, row in result["classes"].items():
        shown = "  ".join(f"{_percent(row[each]):>7}" for each in ("recall", "f1"))
        yield f"{name:>5}  {row['count']:>7}  {_percent(row['precision']):>9}  {shown}"


def _interval(result: dict[str, Any], name: str) -> str:
    low, high = result["intervals"][name]
    return f"({100 * low:.2f} to {100 * high:.2f})"


def _calibration(found: dict[str, Any]) -> Iterator[str]:
    off = 100 * overconfidence(found["bins"])
    sides = f"surer than right by {off:.2f} points" if off >= 0 else f"less sure than right by {-off:.2f} points"
    chance = ""
    if "by_chance" in found:
        mean, most = (100 * each for each in found["by_chance"])
        chance = f", where {mean:.2f} would be chance, rarely more than {most:.2f}"
    yield f"calibration error: {100 * found['error']:.2f} points{chance}; {sides}"
    if found.get("classes"):
        rows = sorted(found["classes"], key=lambda row: -abs(row["excess"]))[:NAMED]
        told = ", ".join(
            f"{row['class']} {100 * row['excess']:+.2f} (sure {row['confidence']:.1%}, right {row['accuracy']:.1%})"
            for row in rows
        )
        yield f"most of that where it reads: {told}"


def _pair(each: dict[str, Any]) -> str:
    first, second = each["ways"]
    return f"{'/'.join(each['pair'])} {each['count']} ({first} + {second})"


def in_words(comparison: dict[str, Any], count: int) -> str:
    """Two models on the same letters, as a sentence or two."""
    (first, second), (a, b) = comparison["models"], comparison["accuracies"]
    low, high = (100 * each for each in comparison["interval"])
    alone, other_alone = comparison["alone"]
    return (
        f"of the same {count} letters {first} reads {a:.2%} right, {second} {b:.2%}: "
        f"{100 * comparison['difference']:+.2f} points (95 % interval {low:+.2f} to {high:+.2f})\n"
        f"{alone} are read right by the first alone, {other_alone} by the second alone: {_verdict(comparison)}"
    )


def _verdict(comparison: dict[str, Any]) -> str:
    p, (alone, other_alone) = comparison["p"], comparison["alone"]
    if alone == other_alone:
        return "no difference"
    better = "first" if alone > other_alone else "second"
    told = f"McNemar's exact test, p = {p:.3g}"
    if p > SURE:
        return f"so large a difference may well be chance ({told})"
    return f"the {better} is better by more than chance ({told})"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
