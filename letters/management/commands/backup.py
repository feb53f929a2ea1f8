"""The whole site as one file."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from letters import backup


class Command(BaseCommand):
    help = "Write every row and every stored file into one file, while the site runs. See docs/deploy.md."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("output", metavar="FILE", help="the .tar file to write; - for standard output")

    def handle(self, *args: Any, output: str, **options: Any) -> None:
        try:
            contents = backup.write(sys.stdout.buffer) if output == "-" else self.save(Path(output))
        except backup.BadBackup as problem:
            raise CommandError(str(problem)) from problem
        except (OSError, DatabaseError) as problem:
            raise CommandError(f"no backup was made: {problem}") from problem
        for name in contents.missing:
            self.stderr.write(f"storage has no {name}, which a row names: manage.py verify_storage says what to do")
        self.stderr.write(f"{contents.in_words()} in {'standard output' if output == '-' else output}.")

    def save(self, path: Path) -> backup.Contents:
        if path.exists():
            raise CommandError(f"{path} exists: name another file. A backup replaces no other.")
        if not path.parent.is_dir():
            raise CommandError(f"there is no folder {path.parent}: make it first")
        return backup.save(path)
