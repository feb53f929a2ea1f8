"""Let somebody sign in again who was locked out."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from letters import logins


class Command(BaseCommand):
    help = (
        "Forget the wrong passwords that were given for an account, or for all: who was locked out may sign in again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("name", nargs="?", help="of the account, as it was typed")
        whose.add_argument("--all", action="store_true", help="accounts and networks")

    def handle(self, *args: Any, name: str | None, **options: Any) -> None:
        count = logins.unlock(name)
        whose = f"for {name}" if name else "in all"
        self.stdout.write(f"{count} wrong password{'' if count == 1 else 's'} {whose} forgotten.")
