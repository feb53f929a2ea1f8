"""Start a retraining from a terminal or a script, and see how it goes."""

from __future__ import annotations

import getpass
import json
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from letters import retrain
from letters.errors import NothingToLearn, Refusal
from letters.models import TrainingRun

POLL = 0.5  # seconds
REFUSED, NOTHING_NEW, CANCELLED = 3, 4, 5  # exit statuses; 1 is failed, 2 a mistake in the command line


class Command(BaseCommand):
    help = (
        "Start a retraining with what was approved. A trainer does it (`make run` has one). With --wait, exits with 0"
        " where the model passed, 3 where the gate refused it, 4 where there was nothing new to learn from, 5 where the"
        " run was cancelled and 1 where it failed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--kind", choices=TrainingRun.Kind.values, default=TrainingRun.Kind.HEAD)
        parser.add_argument("--wait", action="store_true", help="print how it goes, until it is over")
        parser.add_argument("--config", default="{}", metavar="JSON", help='such as \'{"epochs": 3, "seed": 1}\'')
        parser.add_argument("--by", default="", metavar="NAME", help="who asks; the name of the account if not given")

    def handle(self, *args: Any, kind: str, wait: bool, config: str, by: str, **options: Any) -> None:
        try:
            started = retrain.start(kind, TrainingRun.Trigger.COMMAND, by or getpass.getuser(), config=_parsed(config))
        except NothingToLearn as refusal:
            raise CommandError(refusal.message, returncode=NOTHING_NEW) from refusal
        except Refusal as refusal:
            raise CommandError(refusal.message) from refusal
        how = "joins a run that waits already" if started.joined else started.run.message
        self.stdout.write(f"{started.run.pk}: {how}")
        if wait:
            self._report(self._follow(started.run))

    def _follow(self, run: TrainingRun) -> TrainingRun:
        """Print what is new in its log and progress until it is over."""
        told, last = len(run.log), ""
        while True:
            run.refresh_from_db()
            new = run.log[told:]
            told += len(new)
            self.stdout.write(new, ending="")
            line = _in_words(run.progress)
            if line != last and not run.is_over:
                self.stdout.write(line)
                last = line
            self.stdout.flush()
            if run.is_over:
                return run
            time.sleep(POLL)

    def _report(self, run: TrainingRun) -> None:
        words = f"{run.get_outcome_display() or run.get_state_display()}: {run.message}"
        if run.state == TrainingRun.State.FAILED:
            raise CommandError(words)
        if run.state == TrainingRun.State.CANCELLED:
            raise CommandError(f"cancelled by {run.cancel_requested_by}", returncode=CANCELLED)
        if run.outcome == TrainingRun.Outcome.REFUSED:
            raise CommandError(words, returncode=REFUSED)
        if not run.outcome:
            raise CommandError(run.message, returncode=NOTHING_NEW)
        self.stdout.write(f"{run.candidate}: {words}")


def _parsed(config: str) -> dict[str, Any]:
    try:
        value = json.loads(config)
    except ValueError as error:
        raise CommandError(f"--config is not JSON: {error}", returncode=2) from error
    if not isinstance(value, dict):
        raise CommandError("--config is a JSON object", returncode=2)
    return value


def _in_words(progress: dict[str, Any]) -> str:
    parts = [f"{100 * progress.get('share', 0):3.0f} %", str(progress.get("stage", "waits"))]
    if "epoch" in progress:
        parts.append(f"epoch {progress['epoch']} of {progress.get('epochs', '?')}")
    parts += [f"{name} {progress[name]}" for name in ("loss", "validation") if name in progress]
    if "seconds_left" in progress:
        parts.append(f"{progress['seconds_left']:.0f} s left")
    return ", ".join(parts)
