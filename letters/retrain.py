"""From approved drawings to a model that serves, or to the reason why it does not: start, work, judge, finish."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from letters.models import TrainingRun


@dataclass(frozen=True)
class Started:
    """A run that was asked for; `joined` where one that was waiting already stands for it."""

    run: TrainingRun
    joined: bool


def start(*, kind: str, trigger: str, requested_by: str, config: dict[str, Any] | None = None) -> Started:
    """Ask for a retraining. Raises NothingToLearn and BadConfiguration."""
    raise NotImplementedError


def work(run_id: uuid.UUID) -> None:
    """Do a run that waits, if no other runs."""
    raise NotImplementedError


def cancel(run_id: uuid.UUID, *, by: str) -> bool:
    """End a run that waits or runs; whether it was not over yet."""
    raise NotImplementedError


def resume_stalled() -> None:
    """Send again what waits, and what stands still."""


def after_approval() -> None:
    """Start a retraining where as many drawings were approved as the policy asks for."""
