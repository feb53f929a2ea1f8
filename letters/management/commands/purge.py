"""Delete what is kept no longer, or say what that would be."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from letters import retention


class Command(BaseCommand):
    help = "Delete what is kept no longer than the policy says (in the admin), as the schedule does it every night."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say how much of what would go; delete nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        note = None if dry_run else retention.purge()
        counts = note.counts if note else retention.due()
        for kind in retention.KINDS:
            self.stdout.write(f"{counts.get(kind.name, 0):9,} {kind.words}")
        if note and note.message:
            raise CommandError(note.message.strip())
        self.stdout.write("Nothing was deleted." if dry_run else "Deleted.")
