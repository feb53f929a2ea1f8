"""Whether what the model reads, and how well, changes with the days: counted by day and version, compared in numbers.

Of drawings that were kept a day's numbers are counted by a worker, now and then anew: what was reviewed, corrected or
withdrawn since is in them within a day. Of drawings that were read and not kept nothing is stored; how many there were
of a kind is in Redis for a hundred days (letters.metrics), as long as that forgets nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from math import sqrt
from typing import Any

import redis
from django.db.models import Count, F, IntegerField, Q, Sum
from django.db.models.functions import Cast, Floor, Least
from django.utils import timezone

from letters import metrics
from letters.metrics import BINS
from letters.models import Deployment, Drawing, DriftDay, Examination, Serving

DAYS = 84  # that are counted, today among them
LATELY = 7  # days that are compared with those before
TODAY_ANEW = 300.0  # seconds after which a day is counted again: today,
YESTERDAY_ANEW = 3600.0  # yesterday,
ANEW = 86400.0  # and the days before
AT_ONCE = 5.0  # seconds of counting in one go


@dataclass(frozen=True)
class Tally:
    """What is counted of drawings; two of them add up.

    `kept`, of which `corrected`: what it was read as is not what it is. Rejected ones are counted apart and nowhere
    else. `probability`: the sum, and that of the `squares`. `read` and `unknown`: drawings that were read, kept or not,
    and those of them that were like no letter the model knows.
    """

    kept: int = 0
    corrected: int = 0
    rejected: int = 0
    probability: float = 0.0
    squares: float = 0.0
    confidence: Counter[int] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    predicted: Counter[str] = field(default_factory=Counter)
    examined: int = 0
    unfamiliar: int = 0
    read: int = 0
    unknown: int = 0
    read_as: Counter[str] = field(default_factory=Counter)
    read_confidence: Counter[int] = field(default_factory=Counter)

    def __add__(self, other: Tally) -> Tally:
        names = self.__dataclass_fields__
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def mean(self) -> float | None:
        """How sure the model was on average of those that were kept, 0 to 1."""
        return self.probability / self.kept if self.kept else None

    @property
    def deviation(self) -> float:
        """Of the probabilities of those that were kept."""
        if self.kept < 2:
            return 0.0
        return sqrt(max(0.0, self.squares - self.probability**2 / self.kept) / (self.kept - 1))

    def strange(self) -> tuple[int, int]:
        """How many were like no letter that the model knows, of how many: of all that were read where that is known,
        else of those that were kept and examined."""
        return (self.unknown, self.read) if self.read else (self.unfamiliar, self.examined)

    def stored(self) -> dict[str, Any]:
        """As a row holds it."""
        return {name: getattr(self, name) for name in STORED}

    @staticmethod
    def of_stored(values: dict[str, Any]) -> Tally:
        """What a row holds; JSON has no numbers as keys."""
        bins = Counter({int(number): count for number, count in values.get("confidence", {}).items()})
        labels, predicted = Counter(values.get("labels", {})), Counter(values.get("predicted", {}))
        numbers: dict[str, Any] = {name: values.get(name, 0) for name in NUMBERS}
        return Tally(confidence=bins, labels=labels, predicted=predicted, **numbers)


NUMBERS = ("kept", "corrected", "rejected", "probability", "squares", "examined", "unfamiliar")
STORED = (*NUMBERS, "confidence", "labels", "predicted")


# --- Count -----------------------------------------------------------------------------------------------------------


def is_due(now: datetime | None = None) -> bool:
    """Whether a day should be counted, or counted again."""
    return bool(_due(now or timezone.now()))


def count(now: datetime | None = None) -> int:
    """Count the days that are due, the latest first, for a few seconds at most; how many there were."""
    now = now or timezone.now()
    began, done = time.monotonic(), 0
    for day in _due(now):
        versions = {str(number): tally.stored() for number, tally in _tallies(day).items()}
        DriftDay.objects.update_or_create(day=day, defaults={"versions": versions, "counted_at": now})
        done += 1
        if time.monotonic() - began > AT_ONCE:
            break
    DriftDay.objects.filter(day__lte=_first(now) - timedelta(days=1)).delete()
    return done


def _first(now: datetime) -> date:
    return now.astimezone(UTC).date() - timedelta(days=DAYS - 1)


def _due(now: datetime) -> list[date]:
    today = now.astimezone(UTC).date()
    counted = dict(DriftDay.objects.filter(day__gte=_first(now)).values_list("day", "counted_at"))
    days = [today - timedelta(days=ago) for ago in range(DAYS)]
    return [
        day for ago, day in enumerate(days) if day not in counted or (now - counted[day]).total_seconds() >= _anew(ago)
    ]


def _anew(ago: int) -> float:
    return TODAY_ANEW if ago == 0 else YESTERDAY_ANEW if ago == 1 else ANEW


def _tallies(day: date) -> dict[int, Tally]:
    """By number of the version that read them when they were drawn. Imported drawings were read by none then."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    within = {"created_at__gte": begin, "created_at__lt": begin + timedelta(days=1), "source": Drawing.Source.CANVAS}
    found: dict[int, Tally] = {}
    sure = Least(Cast(Floor(F("probability") * BINS), IntegerField()), BINS - 1)
    rows = (
        Drawing.objects.filter(**within)
        .order_by()
        .annotate(bin=sure)
        .values_list("model__number", "state", "label", "predicted", "bin")
        .annotate(times=Count("pk"), sum=Sum("probability"), squares=Sum(F("probability") * F("probability")))
    )
    for number, state, label, predicted, bin_, times, probability, squares in rows:
        more = (
            Tally(rejected=times)
            if state == Drawing.State.REJECTED
            else Tally(
                kept=times,
                corrected=times * (label != predicted),
                probability=probability,
                squares=squares,
                confidence=Counter({bin_: times}),
                labels=Counter({label: times}),
                predicted=Counter({predicted: times}),
            )
        )
        found[number] = found.get(number, Tally()) + more
    for number, examined, unfamiliar in _examined(within):
        found[number] = found.get(number, Tally()) + Tally(examined=examined, unfamiliar=unfamiliar)
    return found


def _examined(within: dict[str, Any]) -> Iterable[tuple[int, int, int]]:
    """By version: how many were examined since, and how many of them are like no letter that is known."""
    examined = Examination.objects.filter(**{f"drawing__{name}": value for name, value in within.items()})
    counted = examined.exclude(drawing__state=Drawing.State.REJECTED).order_by().values_list("drawing__model__number")
    return counted.annotate(examined=Count("pk"), unfamiliar=Count("pk", filter=Q(unfamiliarity__gt=1)))


# --- What there is ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Day:
    """A day: what each version read on it."""

    day: date
    versions: dict[int, Tally]

    @property
    def all(self) -> Tally:
        """Of all versions."""
        return sum(self.versions.values(), Tally())


@dataclass(frozen=True)
class Drift:
    """The days of a window, oldest first; which version serves, which did before it, and since when."""

    days: list[Day]
    serving: int | None
    before: int | None
    changes: list[tuple[date, int]]  # of the serving model, within the window
    counted_at: datetime | None
    readings_known: bool  # whether Redis could be asked for what was read and not kept

    def of_version(self, number: int | None) -> Tally:
        """All that a version read in the window."""
        return sum((day.versions[number] for day in self.days if number in day.versions), Tally())

    def lately(self) -> Tally:
        """The last days."""
        return sum((day.all for day in self.days[-LATELY:]), Tally())

    def earlier(self) -> Tally:
        """The days before those."""
        return sum((day.all for day in self.days[:-LATELY]), Tally())


def window(days: int, now: datetime | None = None) -> Drift:
    """What was counted of the last days, DAYS at most."""
    now = now or timezone.now()
    today = now.astimezone(UTC).date()
    dates = [today - timedelta(days=ago) for ago in reversed(range(min(days, DAYS)))]
    rows = {row.day: row for row in DriftDay.objects.filter(day__gte=dates[0])}
    readings, known = _readings(dates)
    serving = Serving.objects.values_list("model__number", flat=True).first()
    changed = Deployment.objects.filter(created_at__date__gte=dates[0]).order_by("created_at", "id")
    return Drift(
        days=[Day(day, _merged(rows.get(day), readings.get(day, {}))) for day in dates],
        serving=serving,
        before=_before(serving),
        changes=[
            (at.astimezone(UTC).date(), number) for at, number in changed.values_list("created_at", "model__number")
        ],
        counted_at=max((row.counted_at for row in rows.values()), default=None),
        readings_known=known,
    )


def _before(serving: int | None) -> int | None:
    """Which version the one that serves took over from, when it did last."""
    if serving is None:
        return None
    changes = Deployment.objects.filter(model__number=serving).order_by("-created_at", "-id")
    return changes.values_list("previous__number", flat=True).first()


def _merged(row: DriftDay | None, readings: dict[int, Tally]) -> dict[int, Tally]:
    stored = {int(number): Tally.of_stored(values) for number, values in row.versions.items()} if row else {}
    numbers = sorted({*stored, *readings})
    return {number: stored.get(number, Tally()) + readings.get(number, Tally()) for number in numbers}


def _readings(days: list[date]) -> tuple[dict[date, dict[int, Tally]], bool]:
    counts: dict[tuple[date, int], dict[str, Counter[Any]]] = {}
    try:
        for each in metrics.readings(days):
            of = counts.setdefault((each.day, each.version), {"as": Counter(), "bin": Counter(), "known": Counter()})
            of["as"][each.label] += each.count
            of["bin"][each.confidence] += each.count
            of["known"][each.known] += each.count
    except redis.RedisError:
        return {}, False
    found: dict[date, dict[int, Tally]] = {}
    for (day, version), of in counts.items():
        found.setdefault(day, {})[version] = Tally(
            read=of["known"].total(), unknown=of["known"][False], read_as=of["as"], read_confidence=of["bin"]
        )
    return found, True
