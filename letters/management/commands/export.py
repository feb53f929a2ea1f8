"""The collected data as one file on this machine."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from letters import dataset
from letters.errors import Refusal
from letters.models import Export


class Command(BaseCommand):
    help = "Write the collected drawings, with a data sheet, into one .zip file. See docs/data.md."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("output", type=Path, metavar="OUTPUT", help="the .zip file to write")
        parser.add_argument("--format", choices=Export.Format.values, required=True)
        parser.add_argument(
            "--state",
            choices=dataset.SELECTIONS,
            default="approved",
            help="which drawings: approved ones (as a rule), also rejected ones, or all; `state` tells them apart",
        )
        parser.add_argument("--force", action="store_true", help="replace OUTPUT where there is one")

    def handle(self, *args: Any, output: Path, format: str, state: str, force: bool, **options: Any) -> None:
        if output.is_dir():
            raise CommandError(f"{output} is a folder: name a file in it, such as {output / f'letters-{format}.zip'}")
        if output.exists() and not force:
            raise CommandError(f"{output} exists: name another file, or replace it with --force")
        if not output.parent.is_dir():
            raise CommandError(f"there is no folder {output.parent}: make it first")
        total = dataset.selected(state).count()
        with tqdm(total=total, unit=" drawings", disable=None, leave=False) as bar:  # none where nobody looks

            def report(done: int) -> None:
                bar.update(done - bar.n)

            try:
                written = dataset.write(format, output, selection=state, report=report)
            except Refusal as refusal:
                raise CommandError(refusal.message) from refusal
            except OSError as problem:
                raise CommandError(f"{output} could not be written: {problem}") from problem
        self.stdout.write(f"{written.drawings:,} drawings in {output} ({written.size:,} bytes).")
