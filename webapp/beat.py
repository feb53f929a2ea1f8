"""django-celery-beat's scheduler, but for two faults.

It goes on when the clock of its machine was set back: what last ran in what is the future now would not be due before
that hour comes again, and what was left undone would not be looked after for as long as the clock had been wrong.

And it sends nothing to a queue over its limit: where no worker runs messages would pile up as long as it runs.
"""

from __future__ import annotations

import time
from typing import Any

from django_celery_beat import schedulers

from webapp import messages


class Entry(schedulers.ModelEntry):  # type: ignore[misc]
    """One line of the schedule."""

    def is_due(self) -> Any:
        now = self._default_now()
        if self.last_run_at > now:  # type: ignore[has-type]
            self.last_run_at = now
        return super().is_due()


class Scheduler(schedulers.DatabaseScheduler):  # type: ignore[misc]
    """The schedule that stands in the database."""

    Entry = Entry
    _seen = 0.0  # what the clock showed last

    def tick(self, *arguments: Any, **more: Any) -> Any:
        """Send what is due; the seconds until something may be."""
        now = time.time()
        if now < self._seen:
            self._heap = None  # it says when what comes next is due, by the clock that was wrong
        self._seen = now
        return super().tick(*arguments, **more)

    def apply_async(self, entry: Any, *arguments: Any, **more: Any) -> Any:
        """Send what is due; where it cannot be, it is due again at its next time."""
        from letters import metrics

        if metrics.is_full(entry.options.get("queue") or messages.queue_of(entry.task)):
            return None
        return super().apply_async(entry, *arguments, **more)
