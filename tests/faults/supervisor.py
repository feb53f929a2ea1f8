"""What a deployment's supervisor does (systemd, Docker, Heroku): what ended is started anew."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Sequence
from types import TracebackType

import psutil

from tests.running import Part

RESTART_AFTER = 0.1  # seconds, as systemd has it


class Supervisor:
    """Looks after parts while it is entered; they run when it begins.

    What it started ends with its thread, which the kernel takes for the parent: it outlives all that asks the parts.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = list(parts)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.restarts = dict.fromkeys((each.name for each in parts), 0)

    def __enter__(self) -> Supervisor:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(RESTART_AFTER):
            for part in self._parts:
                if part.ended():
                    part.kill()  # what it left of its group
                    part.start()
                    self.restarts[part.name] += 1


def kill_hard(part: Part, chance: random.Random, *, one_of_many: bool = False) -> bool:
    """SIGKILL to a part with all that it started, or to one process of those. Whether it was there to be killed."""
    if not part.runs():
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        main = psutil.Process(part.pid)
        children = main.children(recursive=True)
        victims = [chance.choice(children)] if one_of_many and children else [main, *children]
        for each in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        return True
    return False
