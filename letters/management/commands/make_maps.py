"""Have maps made from a terminal or a script, and see how it goes."""

from __future__ import annotations

import getpass
import time
from argparse import ArgumentParser
from itertools import product
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from letters import maps
from letters.models import LetterMap

POLL = 0.5  # seconds


class Command(BaseCommand):
    help = (
        "Have maps of the letters made: all methods in the space of the model's features, unless told otherwise. A"
        " trainer makes them, one after the other (`make run` has one). With --wait, exits with 1 where not all were."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--method", choices=LetterMap.Method.values, action="append", help="may be given twice")
        parser.add_argument("--space", choices=LetterMap.Space.values, action="append", help="pixels need the archive")
        parser.add_argument("--wait", action="store_true", help="print how it goes, until all are made")
        parser.add_argument("--by", default="", metavar="NAME", help="who asks; the name of the account if not given")

    def handle(self, *args: Any, **options: Any) -> None:
        spaces = options["space"] or [LetterMap.Space.FEATURES]
        methods = options["method"] or LetterMap.Method.values
        by = options["by"] or getpass.getuser()
        asked = [
            maps.request(method, space, LetterMap.Trigger.COMMAND, by) for space, method in product(spaces, methods)
        ]
        for each in asked:
            self.stdout.write(f"{each.map.pk}: {each.map}{', waits already' if each.joined else ''}")
        if options["wait"] and sum(self._failed(each.map) for each in asked):  # not any, which would not wait for all
            raise CommandError("not all were made; what was there before stays")

    def _failed(self, made: LetterMap) -> bool:
        """Whether nothing came of it, once it is over; what is new is printed until then."""
        last = ""
        while True:
            made.refresh_from_db()
            line = f"{made}: {100 * made.progress.get('share', 0):3.0f} %, {made.progress.get('message', 'waits')}"
            if line != last and not made.is_over:
                self.stdout.write(line)
                self.stdout.flush()
                last = line
            if made.is_over:
                self.stdout.write(f"{made}: {made.get_state_display()}. {made.message}")
                return made.state != LetterMap.State.DONE
            time.sleep(POLL)
