"""Let an earlier model serve again."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from letters import registry
from letters.errors import Refusal


class Command(BaseCommand):
    help = "Let an earlier model serve again: the one of a number, or else the one before the model that serves."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("number", type=int, nargs="?", help="of the model")
        parser.add_argument(
            "--reason", default="rolled back", help="why; it stands in the history, for anybody to read"
        )
        parser.add_argument("--by", default="", metavar="NAME", help="who; the name of the account if not given")

    def handle(self, *args: Any, number: int | None, reason: str, by: str, **options: Any) -> None:
        try:
            version = registry.roll_back(actor=by or getpass.getuser(), reason=reason, to=number)
        except Refusal as refusal:
            raise CommandError(refusal.message) from refusal
        self.stdout.write(f"{version} ({version.digest[:12]}) serves again.")
