"""Let a registered model serve."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from letters import registry
from letters.errors import Refusal


class Command(BaseCommand):
    help = "Let a registered model serve, once it was fetched from storage, verified and tried."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("number", type=int, help="of the model")
        parser.add_argument("--reason", required=True, help="why; it stands in the history, which anybody may read")
        parser.add_argument("--by", default="", metavar="NAME", help="who; the name of the account if not given")

    def handle(self, *args: Any, number: int, reason: str, by: str, **options: Any) -> None:
        try:
            version = registry.promote_by_hand(number, actor=by or getpass.getuser(), reason=reason)
        except Refusal as refusal:
            raise CommandError(refusal.message) from refusal
        self.stdout.write(f"{version} ({version.digest[:12]}) serves.")
