"""Questions to other parts of the site whose answer is waited for no longer than a while, whatever becomes of them.

A database, a storage or a Redis that never answers holds the thread that asked it. So each question has a thread of
its own, and while that one hangs nobody asks again: who comes meanwhile is told how long it hangs already.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from django.db import connections

Answer = TypeVar("Answer")


class NoAnswer(Exception):
    """None came within the time that there was."""


class Asked(Generic[Answer]):
    """A question that was asked, and since when."""

    def __init__(self, call: Callable[[], Answer]) -> None:
        self.began = time.monotonic()
        self.future: Future[Answer] = Future()
        self.took = 0.0  # seconds, once there is an answer
        threading.Thread(target=self._ask, args=(call,), name="probe", daemon=True).start()

    def _ask(self, call: Callable[[], Answer]) -> None:
        try:
            answer = call()
        except BaseException as problem:
            self.took = time.monotonic() - self.began
            self.future.set_exception(problem)
        else:
            self.took = time.monotonic() - self.began
            self.future.set_result(answer)
        finally:
            connections.close_all()  # a thread has connections of its own


class Probe(Generic[Answer]):
    """One question; threads that ask it at the same time share the answer."""

    def __init__(self, call: Callable[[], Answer], limit: float) -> None:
        self._call = call
        self.limit = limit  # seconds
        self._asked: Asked[Answer] | None = None
        self._guard = threading.Lock()

    def ask(self) -> Asked[Answer]:
        """Begin, or join who is waiting already."""
        with self._guard:
            if self._asked is None or self._asked.future.done():
                self._asked = Asked(self._call)
            return self._asked

    def answer(self, asked: Asked[Answer] | None = None) -> Answer:
        """What the call returned or raised. Raises NoAnswer."""
        asked = asked or self.ask()
        left = self.limit - (time.monotonic() - asked.began)
        try:
            return asked.future.result(timeout=max(0.0, left))
        except TimeoutError as late:
            if asked.future.done():
                raise  # of the call itself
            raise NoAnswer(f"nothing for {time.monotonic() - asked.began:.0f} s") from late
