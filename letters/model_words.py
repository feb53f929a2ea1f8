"""What the figures of a model say, in sentences. Plain values in, words out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from letters.templatetags.shares import percent, points

if TYPE_CHECKING:
    from ml.paired import Paired

SURE = 0.05  # a difference that chance makes less often than this is called one
ENOUGH = 30  # letters of a bin before a sentence is made of it
NAMED = 6  # classes that are called hard


def calibration(found: dict[str, Any] | None) -> list[str]:
    """How far its confidence can be believed; no sentence where that was not measured."""
    if not found:
        return []
    filled = [each for each in found["bins"] if each["count"]]
    said = [_believed(each) for each in (_nearest(filled, 0.9), _nearest(filled, 0.6)) if each]
    off = f"On average its confidence is {100 * found['error']:.1f} points away from how often it is right"
    return [*dict.fromkeys(said), f"{off} (expected calibration error, {len(found['bins'])} bins)."]


def _nearest(bins: Sequence[dict[str, Any]], confidence: float) -> dict[str, Any] | None:
    """The bin with enough letters whose confidence is the nearest."""
    known = [each for each in bins if each["count"] >= ENOUGH]
    return min(known, key=lambda each: abs(each["confidence"] - confidence), default=None)


def _believed(each: dict[str, Any]) -> str:
    sure, right = round(100 * each["confidence"]), round(100 * each["accuracy"])
    return f"When it says about {sure} %, it is right in {right} of 100."


def hardest(rows: Sequence[dict[str, Any]], pairs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The classes of which it reads the smallest share right, and what each is most often taken for."""
    measured = [row for row in rows if row["recall"] is not None]
    return [
        row | {"taken_for": next((pair for pair in pairs if pair["label"] == row["label"]), None)}
        for row in sorted(measured, key=lambda row: row["recall"])[:NAMED]
    ]


def paired(found: Paired, first: int, second: int) -> list[str]:
    """Whether one of two versions, by their numbers, is better on the same letters, or chance may have made it."""
    counts = (
        f"Of the same {found.count:,} letters both read {found.both:,} right and {found.neither:,} wrong; "
        f"{found.first_alone:,} only model {first} reads right, {found.second_alone:,} only model {second}."
    )
    if found.first_alone == found.second_alone:
        return [counts, "So neither is ahead."]
    ahead = first if found.first_alone > found.second_alone else second
    chance = f"were they equally good, chance alone would bring so large a difference in {times(found.p)}"
    verdict = "is better" if found.p < SURE else "is ahead, but that may be chance"
    return [counts, f"Model {ahead} {verdict}: {chance}.", _margin(found, ahead, is_first=ahead == first)]


def times(p: float) -> str:
    """A probability as a count of comparisons."""
    if p >= 0.995:
        return "nearly every comparison"
    if p >= 0.01:
        return f"{round(100 * p)} of 100 comparisons"
    return f"{max(1, round(1000 * p))} of 1,000 comparisons" if p >= 0.001 else "fewer than 1 of 1,000 comparisons"


def _margin(found: Paired, ahead: int, *, is_first: bool) -> str:
    low, high = found.interval if is_first else (-found.interval[1], -found.interval[0])
    more = 100 * abs(found.difference)
    return f"Model {ahead} reads {more:.2f} points more of them right (95 % interval {points(low)} to {points(high)})."


def interval(bounds: Sequence[float] | None) -> str:
    """An interval of a share, as one reads it."""
    return f"{percent(bounds[0]).removesuffix('%').strip()} to {percent(bounds[1])}" if bounds else ""
