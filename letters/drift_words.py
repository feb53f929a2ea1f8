"""What the numbers of a window say of drift, in sentences, and what they cannot say. Plain values in, words out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from letters import drift_tests
from letters.drift import LATELY, Drift, Tally
from letters.model_words import times
from letters.templatetags.shares import percent, points

FEWEST = 50  # letters on each side, before two are compared
TESTS = 8  # that a page makes: four of each of two comparisons
SURE = 0.05 / TESTS  # what chance does less often is called a change; so one page in twenty calls one that is none
SMALL = {"corrected": 0.01, "confidence": 0.01, "mix": 0.05, "strange": 0.01}  # changes that are real, and no matter


@dataclass(frozen=True)
class Said:
    """One sentence, and whether it is a change that somebody should look into."""

    words: str
    notable: bool = False


@dataclass(frozen=True)
class Comparison:
    """Two sets of letters side by side, and what that says."""

    title: str
    first_name: str
    second_name: str
    first: Tally
    second: Tally
    said: list[Said]

    @property
    def notable(self) -> bool:
        """Whether any of it is."""
        return any(each.notable for each in self.said)


def comparisons(drift: Drift) -> list[Comparison]:
    """The last days with the weeks before; the serving version with the one before."""
    found = [
        _compared(
            f"The last {LATELY} days, and the weeks before",
            f"the last {LATELY} days",
            "the weeks before",
            drift.lately(),
            drift.earlier(),
        )
    ]
    if drift.serving is not None and drift.before is not None:
        first, second = drift.of_version(drift.serving), drift.of_version(drift.before)
        title = f"Model {drift.serving}, which serves, and model {drift.before}, which did before"
        found.append(_compared(title, f"model {drift.serving}", f"model {drift.before}", first, second))
    return found


def summary(found: list[Comparison]) -> Said:
    """All of it in one sentence."""
    notable = [each for one in found for each in one.said if each.notable]
    if notable:
        count = "One thing has" if len(notable) == 1 else f"{len(notable)} things have"
        return Said(f"{count} changed by more than chance explains: see below.", notable=True)
    if any(min(one.first.kept, one.second.kept) >= FEWEST for one in found):
        return Said("Nothing has changed by more than chance explains.")
    return Said(f"There are too few letters to say: a comparison takes {FEWEST} kept ones on each side.")


def _compared(title: str, first_name: str, second_name: str, first: Tally, second: Tally) -> Comparison:
    names = (first_name, second_name)
    return Comparison(title, *names, first, second, list(_sentences(names, first, second)))


def _sentences(names: tuple[str, str], first: Tally, second: Tally) -> Iterator[Said]:
    if min(first.kept, second.kept) < FEWEST:
        yield Said(
            f"Too few to say: {first.kept:,} letters were kept of {names[0]} and {second.kept:,} of {names[1]};"
            f" a comparison takes {FEWEST} of each."
        )
    else:
        yield _corrected(names, first, second)
        yield _confidence(names, first, second)
        yield _mix(names, first, second)
    yield from _strange(names, first, second)


def _corrected(names: tuple[str, str], first: Tally, second: Tally) -> Said:
    found = drift_tests.shares((first.corrected, first.kept), (second.corrected, second.kept))
    words = (
        f"Of {names[0]} {percent(first.corrected / first.kept)} of {first.kept:,} kept letters were corrected, of"
        f" {names[1]} {percent(second.corrected / second.kept)} of {second.kept:,}"
    )
    return _judged(
        words + _margin(found), found.value, found.p, "corrected", "more are corrected now", "fewer are corrected now"
    )


def _confidence(names: tuple[str, str], first: Tally, second: Tally) -> Said:
    found = drift_tests.means(
        (first.mean or 0.0, first.deviation, first.kept), (second.mean or 0.0, second.deviation, second.kept)
    )
    words = f"It was {percent(first.mean)} sure on average of {names[0]}, {percent(second.mean)} of {names[1]}"
    return _judged(words + _margin(found), found.value, found.p, "confidence", "it is surer now", "it is less sure now")


def _mix(names: tuple[str, str], first: Tally, second: Tally) -> Said:
    found = drift_tests.mixes(first.labels, second.labels)
    moved = ", ".join(f"{label} ({'more' if change > 0 else 'fewer'})" for label, change in found.moved[:3] if change)
    words = f"Of which letters come {percent(found.distance)} differ between {names[0]} and {names[1]}"
    words += f", most of all {moved}" if moved else ""
    return _judged(words, found.distance, found.p, "mix", "people draw other letters now", "")


def _strange(names: tuple[str, str], first: Tally, second: Tally) -> Iterator[Said]:
    one, other = first.strange(), second.strange()
    if bool(first.read) != bool(second.read):  # then it would compare what was read with what was kept
        one, other = (first.unfamiliar, first.examined), (second.unfamiliar, second.examined)
    if min(one[1], other[1]) < FEWEST:
        return
    what = "drawings that were read" if first.read and second.read else "kept drawings"
    found = drift_tests.shares(one, other)
    words = (
        f"Of {names[0]} {percent(one[0] / one[1])} of {one[1]:,} {what} were like no letter that the model knows, of"
        f" {names[1]} {percent(other[0] / other[1])} of {other[1]:,}"
    )
    more, less = "stranger drawings come now", "fewer strange ones come now"
    yield _judged(words + _margin(found), found.value, found.p, "strange", more, less)


def _margin(found: drift_tests.Difference) -> str:
    low, high = found.interval
    return f" ({points(found.value, 1)} points, 95 % interval {points(low, 1)} to {points(high, 1)})"


def _judged(words: str, change: float, p: float, kind: str, more: str, less: str) -> Said:
    """The sentence with its verdict: chance, a change that is no matter, or one that is."""
    if p >= SURE:
        return Said(f"{words}: chance explains the difference.")
    if abs(change) < SMALL[kind]:
        return Said(f"{words}: a difference that is small, though chance alone would seldom make it.")
    verdict = more if change > 0 else less
    return Said(f"{words}: {verdict}, and chance alone would make so large a difference in {times(p)}.", notable=True)
