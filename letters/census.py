"""How many drawings there are of each kind. Counted at once as long as that is quick; where there are very many, as
they were counted a while ago.

To count a million rows takes some hundred milliseconds, and no visitor waits for that: a worker does it now and then
and notes the numbers in one row. A site with fewer drawings than LIMIT never shows a number of earlier.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from letters import consent
from letters.models import Census, Contributor, Drawing

LIMIT = 10_000  # rows that are counted while somebody waits
PERIOD = 60.0  # seconds between two counts, or more:
COST = 0.005  # of the time goes into counting at most
State = Drawing.State


@dataclass(frozen=True)
class Kind:
    """What drawings have in common by which they are counted."""

    state: str
    label: str
    held_out: bool
    muted: bool


@dataclass(frozen=True)
class Counts:
    """The numbers of one count."""

    kinds: dict[Kind, int]
    withheld: dict[str, int]
    contributors: int

    @property
    def is_large(self) -> bool:
        """Whether there are more drawings than are counted while somebody waits."""
        return sum(self.kinds.values()) > LIMIT

    def drawings(self, where: Callable[[Kind], bool]) -> int:
        """How many there are of some kinds."""
        return sum(count for kind, count in self.kinds.items() if where(kind))

    def by_label(self, where: Callable[[Kind], bool]) -> dict[str, int]:
        """How many of some kinds there are in each class that has any."""
        found: Counter[str] = Counter()
        for kind, count in self.kinds.items():
            if where(kind):
                found[kind.label] += count
        return dict(found)


def number(rows: QuerySet[Drawing], of_count: Callable[[Counts], int]) -> int:
    """How many rows there are: counted now, or, where there are more than LIMIT drawings, as they were counted last."""
    noted = latest()
    return of_count(noted) if noted and noted.is_large else rows.order_by().count()


def up_to(rows: QuerySet[Any], limit: int = LIMIT, *, in_order: bool = False) -> int:
    """How many rows there are; one more than `limit` stands for whatever is beyond it.

    `in_order`: for a filter that nearly all rows pass. They are counted along the index of their order then; else
    PostgreSQL hopes to find so many soon, and reads the table from its oldest row on.
    """
    return (rows if in_order else rows.order_by())[: limit + 1].count()


def latest() -> Counts | None:
    """The last count; None where there was none yet."""
    noted = Census.objects.first()
    if noted is None:
        return None
    return Counts({Kind(*kind): count for *kind, count in noted.kinds}, noted.withheld, noted.contributors)


# --- Questions -----------------------------------------------------------------------------------------------------


def collected() -> int:
    """Drawings that are kept and were not rejected."""
    rows = Drawing.objects.filter(state__in=(State.PENDING, State.APPROVED))
    return number(rows, lambda counts: counts.drawings(lambda kind: kind.state != State.REJECTED))


def contributors() -> int:
    """Who has given a drawing that is still here."""
    noted = latest()
    if noted and noted.is_large:
        return noted.contributors
    return Contributor.objects.filter(drawings__isnull=False).distinct().count()


def public_by_label(rows: QuerySet[Drawing]) -> dict[str, int]:
    """How many `rows`, the drawings that the public is shown, there are of each class that has any."""
    noted = latest()
    if noted and noted.is_large:
        return noted.by_label(lambda kind: kind.state == State.APPROVED and not kind.muted)
    return dict(rows.order_by().values_list("label").annotate(count=Count("pk")))


def learnable(rows: QuerySet[Drawing]) -> int:
    """How many drawings may be learned from."""
    return number(rows, lambda counts: counts.drawings(lambda kind: kind.state == State.APPROVED and not kind.held_out))


def judging(rows: QuerySet[Drawing]) -> int:
    """How many drawings there are to judge by."""
    return number(rows, lambda counts: counts.drawings(lambda kind: kind.state == State.APPROVED and kind.held_out))


def withheld(states: tuple[str, ...]) -> int:
    """How many drawings in some states stay here, because their contributors agreed to no more than that."""
    rows = Drawing.objects.filter(state__in=states).exclude(consent__in=consent.PUBLISHABLE)
    return number(rows, lambda counts: sum(counts.withheld.get(state, 0) for state in states))


def publishable(rows: QuerySet[Drawing], states: tuple[str, ...]) -> int:
    """How many `rows`, those in some states that may be published, there are."""

    def of_count(counts: Counts) -> int:
        in_states = counts.drawings(lambda kind: kind.state in states)
        return in_states - sum(counts.withheld.get(state, 0) for state in states)

    return number(rows, of_count)


# --- Count ---------------------------------------------------------------------------------------------------------


def is_due() -> bool:
    """Whether there are so many drawings that they are counted ahead, and the last count is old."""
    noted = Census.objects.values_list("counted_at", "seconds").first()
    if noted is None:
        return up_to(Drawing.objects.filter(state__in=State.values)) > LIMIT
    counted_at, seconds = noted
    return timezone.now() - counted_at > timedelta(seconds=max(PERIOD, seconds / COST))


def count() -> None:
    """Count all that there is, and note it."""
    began = time.perf_counter()
    columns = ("state", "label", "contributor__held_out")
    of_all = Drawing.objects.order_by().values_list(*columns).annotate(number=Count("pk"))
    muted = Q(contributor__muted_at__isnull=False)
    kinds = [
        (*kind, is_muted, found)
        for is_muted, condition in ((False, ~muted), (True, muted))
        for *kind, found in of_all.filter(condition)
    ]
    kept_back = Drawing.objects.order_by().exclude(consent__in=consent.PUBLISHABLE)
    values = {
        "kinds": kinds,
        "withheld": dict(kept_back.values_list("state").annotate(number=Count("pk"))),
        "contributors": Drawing.objects.order_by().values("contributor").distinct().count(),
    }
    with transaction.atomic():
        Census.objects.update_or_create(
            id=1, defaults=values | {"seconds": time.perf_counter() - began, "counted_at": timezone.now()}
        )
