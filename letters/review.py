"""What staff decide about the drawings that were collected."""

from __future__ import annotations

from django.db.models import QuerySet

from letters.models import Drawing


def approve(drawings: QuerySet[Drawing]) -> int:
    """Let drawings be shown and learned from; how many were not so before."""
    return _decide(drawings, Drawing.State.APPROVED)


def reject(drawings: QuerySet[Drawing]) -> int:
    """Keep drawings from being shown or learned from; how many were not so before."""
    return _decide(drawings, Drawing.State.REJECTED)


def _decide(drawings: QuerySet[Drawing], state: Drawing.State) -> int:
    return drawings.exclude(state=state).order_by().update(state=state)
