"""Whether storage holds what the database says."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from letters import stored


class Command(BaseCommand):
    help = "Compare storage with the database: models by their hashes, maps and exports by their names and lengths."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--mend", action="store_true", help="put back the models that this machine has copies of")

    def handle(self, *args: Any, mend: bool, **options: Any) -> None:
        left = 0
        try:
            for fault in stored.faults(mend=mend):
                self.stdout.write(f"{fault.of}: {fault.what}: {fault.remedy}.")
                left += not fault.mended
        except OSError as problem:
            raise CommandError(f"the storage cannot be read: {problem}") from problem
        if left:
            raise CommandError(f"{left} of them are not as they should be.")
        self.stdout.write("Storage holds all that the database says.")
