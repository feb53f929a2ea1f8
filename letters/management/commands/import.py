"""Drawings from elsewhere, into the review queue."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from letters import importing
from letters.errors import Refusal
from ml.artifact import BadArtifact


class Command(BaseCommand):
    help = "Bring drawings into the review queue: an ndjson file, or a folder of labelled pictures. See docs/data.md."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path, metavar="PATH", help="a .ndjson file or a folder")
        parser.add_argument(
            "--consent", required=True, metavar="WORDS", help="what their writers agreed to; it goes into data sheets"
        )
        parser.add_argument("--name", help="of the collection, as a rule that of PATH; a writer is told apart by it")
        parser.add_argument("--dry-run", action="store_true", help="look at all, add nothing")

    def handle(self, *args: Any, path: Path, consent: str, name: str | None, dry_run: bool, **options: Any) -> None:
        with tqdm(unit=" drawings", disable=None, leave=False) as bar:

            def report(count: int) -> None:
                bar.update(count)

            try:
                summary = importing.bring_in(
                    path,
                    name=(name or path.resolve().stem)[:100],
                    agreed=consent,
                    dry_run=dry_run,
                    complain=self.complain,
                    report=report,
                )
            except Refusal as refusal:
                raise CommandError(refusal.message) from refusal
            except BadArtifact as problem:
                raise CommandError(str(problem)) from problem
        self.stdout.write(self.sum_up(summary, dry_run))

    def complain(self, problem: importing.Problem) -> None:
        """On its own line, so that it can be found again."""
        self.stderr.write(f"{problem.place}: {problem.why}")

    def sum_up(self, summary: importing.Summary, dry_run: bool) -> str:
        """What came of it, in one line."""
        added = "would be added" if dry_run else "added, waiting for review"
        return (
            f"{summary.added:,} drawings of {len(summary.writers):,} writers {added}; "
            f"{summary.known:,} were here already; {summary.problems:,} could not be read."
        )
