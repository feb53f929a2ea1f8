"""The site as a backup has it."""

from __future__ import annotations

import uuid
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from letters import backup


class Command(BaseCommand):
    help = "Make the site what it was when a backup was made. End all its processes first. See docs/deploy.md."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("input", type=Path, metavar="FILE", help="what manage.py backup wrote")
        parser.add_argument("--force", action="store_true", help="replace what this site holds; it is gone then")
        parser.add_argument("--check", action="store_true", help="only read the file, and say whether it is whole")
        parser.add_argument(
            "--without",
            type=Path,
            metavar="IDS",
            help="a file of drawings withdrawn since, an id a line: they stay away",
        )

    def handle(self, *args: Any, input: Path, force: bool, check: bool, without: Path | None, **options: Any) -> None:
        withdrawn = self.ids(without) if without else []
        try:
            done = backup.verify(input) if check else backup.restore(input, force=force, without=withdrawn)
        except (backup.BadBackup, backup.SiteInUse) as problem:
            raise CommandError(f"{problem}. Nothing was changed.") from problem
        except (OSError, DatabaseError) as problem:
            again = "" if check else " Mend that, and do the same again."
            raise CommandError(
                f"{input} could not be {'read' if check else 'restored'}: {problem}.{again}"
            ) from problem
        for name in done.contents.missing:
            self.stderr.write(
                f"storage had no {name} when the backup was made: manage.py verify_storage says what to do"
            )
        what = "is whole" if check else "is restored"
        self.stdout.write(f"The backup of {done.made_at[:16]} {what}: {done.contents.in_words()}.")

    def ids(self, path: Path) -> list[uuid.UUID]:
        try:
            return [uuid.UUID(line) for line in path.read_text().split()]
        except (OSError, ValueError) as problem:
            raise CommandError(f"{path} is no list of drawings: {problem}") from problem
